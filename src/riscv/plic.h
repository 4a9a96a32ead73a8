/*
 * A platform-level interrupt controller (PLIC) in user space, for hosts without an in-kernel one:
 * "sifive,plic-1.0.0", register map and behaviour of the RISC-V PLIC specification 1.0.0.
 *
 * There is one context per hart, its S-mode one: context n is hart n's. A guest's machine mode does
 * not exist, so neither do contexts for it, and the device tree must list S-mode's only. Source 0
 * does not exist either. Priorities and thresholds have three bits, as on SiFive's chips.
 *
 * The gateways are those of level-triggered sources (specification, chapter 8): while a source is
 * high and nobody serves it, it is pending. A claim ends "pending" and begins service; completion
 * ends service, and a source that is high still is pending again at once. Hence, between accesses:
 *
 *	is_high(s) and not in_service(s)  =>  pending(s)
 *
 * A source that goes low before it is claimed remains pending, as the specification says: the
 * request has left the gateway. So a short pulse is an interrupt, even if nobody enabled the source
 * yet, where QEMU's model would drop it; the price is that a handler may find nothing to do. A
 * pulse while the source is in service is lost, as it is on any level-triggered line.
 *
 * Pending is one bit a source, whatever the contexts enable: whoever claims first gets it. The
 * threshold masks the notification of a hart, not its claims. A completion for a source that the
 * context does not enable, or that is not in service, is ignored.
 *
 * Registers are 32 bits wide. Other accesses, unaligned ones, and those to sources and contexts
 * that do not exist read 0 and write nothing.
 *
 * A hart that is stopped and started again has forgotten its interrupt: KVM resets the vCPU. Nobody
 * tells the PLIC, but the hart's software sets up its context then. So each write to a context's
 * enables and threshold, and each claim, tells an asserted interrupt once more.
 *
 * All functions may be called from any thread; set_hart() is called with the PLIC's lock held.
 */
#pragma once

#include "bus/irq.h"
#include "bus/mmio_bus.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	PLIC_MAX_HARTS = 32,
	PLIC_MAX_SOURCES = 1023, /**< numbered from 1 */
	PLIC_MAX_PRIORITY = 7,
	PLIC_MAX_WORDS = (PLIC_MAX_SOURCES + 1) / 32,
};

/**
 * A hart's external interrupt changed, first from "not asserted", or is still asserted. Any thread;
 * must not block or call the PLIC.
 */
typedef void plic_hart_setter(void *ctx, unsigned int hart, bool asserted);

struct plic_context {
	uint32_t enabled[PLIC_MAX_WORDS];
	uint8_t threshold; /**< only higher priorities assert the hart's interrupt */
	bool asserted;     /**< what set_hart() was told last */
};

struct plic {
	struct irq_sink sink; /**< where devices raise and lower their sources */
	plic_hart_setter *set_hart;
	void *ctx;
	unsigned int n_harts;
	unsigned int n_sources;
	unsigned int n_words; /**< 32-bit words that hold a bit for each source, and for source 0 */
	pthread_mutex_t lock; /**< guards all that follows */
	uint32_t high[PLIC_MAX_WORDS];          /**< the sources' lines */
	uint32_t pending[PLIC_MAX_WORDS];       /**< asking for service */
	uint32_t in_service[PLIC_MAX_WORDS];    /**< claimed, not completed */
	uint8_t priority[PLIC_MAX_SOURCES + 1]; /**< 0: never */
	struct plic_context contexts[PLIC_MAX_HARTS];
};

/** Register access, for the MMIO bus; the device is a struct plic. */
extern const struct mmio_ops plic_mmio_ops;

/**
 * Set up a PLIC with all sources low, disabled and of priority 0. It does not move afterwards.
 * \param n_harts 1 to PLIC_MAX_HARTS
 * \param n_sources highest source number, 1 to PLIC_MAX_SOURCES ("riscv,ndev")
 * \param ctx handed to \p set_hart
 */
void plic_init(struct plic *plic, unsigned int n_harts, unsigned int n_sources,
	       plic_hart_setter *set_hart, void *ctx);

/** Nobody may use the PLIC or its sink any more. */
void plic_deinit(struct plic *plic);

/** Bytes of address space that the registers for \p n_harts take. */
uint64_t plic_window_size(unsigned int n_harts);
