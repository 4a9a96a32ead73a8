/*
 * The real-time clock with its timer: a goldfish RTC whose alarm is a timerfd on the event base.
 * The timerfd can be set from any vCPU thread, which a timer of the event library could not.
 */
#pragma once

#include "bus/irq.h"
#include "platform/goldfish_rtc.h"
#include "util/err.h"

#include <stdbool.h>

struct event;
struct event_base;
struct mmio_bus;

struct rtc_device {
	bool is_init;
	struct goldfish_rtc rtc;
	int timer_fd;
	struct event *event;
};

/** Create the clock and put it on the bus. */
__attribute__((warn_unused_result)) int rtc_device_init(struct rtc_device *device,
							struct event_base *base,
							struct mmio_bus *bus,
							const struct irq_line *irq,
							struct err *err);

/** Legal on a zeroed object, and twice. */
void rtc_device_deinit(struct rtc_device *device);
