/*
 * The real-time clock "google,goldfish-rtc": wall-clock time in nanoseconds since 1970, one alarm.
 *
 * The guest's clock is the host's plus an offset. Reading TIME_LOW latches the high half for
 * TIME_HIGH, so that the two belong together. Setting the time is the other way round: TIME_HIGH
 * is kept until TIME_LOW is written. So are ALARM_HIGH and ALARM_LOW, which arms the alarm.
 *
 * An alarm that is due makes an interrupt pending until CLEAR_INTERRUPT is written; IRQ_ENABLED
 * lets it through to the line. The device has no timer itself: it asks for one with ops->set_timer
 * and is called back by goldfish_rtc_alarm(). Being called early, late or in vain does no harm: the
 * clock decides whether the alarm is due.
 *
 * Registers are 32 bits wide; other accesses, unaligned ones and those past the last register read
 * 0 and write nothing.
 *
 * All functions may be called from any thread. The callbacks, and the interrupt line, are called
 * with the clock's lock held.
 */
#pragma once

#include "bus/irq.h"
#include "bus/mmio_bus.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/** No timer wanted. */
#define GOLDFISH_RTC_NO_TIMER UINT64_MAX

/** What the clock needs of its surroundings. Neither function may block or call the clock. */
struct goldfish_rtc_ops {
	/** \return nanoseconds since 1970; the whole member may be NULL: CLOCK_REALTIME */
	uint64_t (*now_ns)(void *ctx);
	/**
	 * Call goldfish_rtc_alarm() when now_ns() is \p deadline_ns (which may have passed), or
	 * never for GOLDFISH_RTC_NO_TIMER. It replaces what was asked before.
	 */
	void (*set_timer)(void *ctx, uint64_t deadline_ns);
};

struct goldfish_rtc {
	pthread_mutex_t lock; /**< guards all that follows, but for the constant next three */
	struct irq_line irq;
	const struct goldfish_rtc_ops *ops;
	void *ctx;
	uint64_t offset_ns;  /**< guest's time minus the host's, modulo 2^64 */
	uint32_t time_high;  /**< latched by reading TIME_LOW */
	uint32_t set_high;   /**< written to TIME_HIGH, for the next write to TIME_LOW */
	bool has_set_high;   /**< otherwise that write leaves the high half as it is */
	uint64_t alarm_ns;   /**< in the guest's time */
	bool is_armed;       /**< waiting for \p alarm_ns */
	bool is_pending;     /**< the alarm was due and the guest did not clear that */
	bool is_irq_enabled; /**< what is pending raises the line */
	bool is_raised;      /**< the line */
};

/** Register access, for the MMIO bus; the device is a struct goldfish_rtc. */
extern const struct mmio_ops goldfish_rtc_mmio_ops;

/**
 * Set up a clock that tells the host's time and has no alarm.
 * \param irq copied; its sink is borrowed
 * \param ops borrowed
 * \param ctx handed to \p ops
 */
void goldfish_rtc_init(struct goldfish_rtc *rtc, const struct irq_line *irq,
		       const struct goldfish_rtc_ops *ops, void *ctx);

/** Nobody may use the clock any more; a timer it asked for is the caller's to stop. */
void goldfish_rtc_deinit(struct goldfish_rtc *rtc);

/** The timer asked for has fired. To be called without any lock that the callbacks take. */
void goldfish_rtc_alarm(struct goldfish_rtc *rtc);
