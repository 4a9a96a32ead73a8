/*
 * The paravirtual panic device ("qemu,pvpanic-mmio"): one register through which a guest kernel
 * says that it panicked, or that it did and hands over to a crash kernel.
 *
 * Reading tells which events are supported, writing reports them. The register is a byte; wider
 * accesses at offset 0 mean the same. Elsewhere reads give 0 and writes do nothing.
 *
 * Each event is told to the host once: a guest that repeats itself costs nothing but its own exits.
 *
 * Accesses may come from any thread. There is no lock, as one atomic holds all of the state.
 */
#pragma once

#include "bus/mmio_bus.h"

#include <stdatomic.h>
#include <stdint.h>

enum {
	PVPANIC_PANICKED = 1,     /**< the guest panicked */
	PVPANIC_CRASH_LOADED = 2, /**< it did, and a crash kernel will take over */
};

/** Told of events that were not told before. Any thread; must not block. */
typedef void pvpanic_handler(void *ctx, unsigned int events);

struct pvpanic {
	pvpanic_handler *on_panic;
	void *ctx;
	_Atomic unsigned int told; /**< events that were handed to \p on_panic */
};

/** Register access, for the MMIO bus; the device is a struct pvpanic. */
extern const struct mmio_ops pvpanic_mmio_ops;

/** Set up the device. \param ctx handed to \p on_panic */
void pvpanic_init(struct pvpanic *pvpanic, pvpanic_handler *on_panic, void *ctx);
