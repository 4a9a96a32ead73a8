/*
 * The boot timer: a byte that a guest writes when it is up, and how long that took is in the log.
 * As Firecracker has it, so that its benchmarks find their line; no driver of Linux knows it.
 *
 * Reads give 0, other writes do nothing, and so does all that comes after the first one: a guest
 * cannot fill the log.
 *
 * Accesses may come from any thread. There is no lock, as one atomic holds all of the state.
 */
#pragma once

#include "bus/mmio_bus.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { BOOT_TIMER_UP = 123 };

struct boot_timer {
	uint64_t start_us;     /**< monotonic */
	uint64_t cpu_start_us; /**< of the process */
	_Atomic bool is_up;
};

/** Register access, for the MMIO bus; the device is a struct boot_timer. */
extern const struct mmio_ops boot_timer_mmio_ops;

/** Time runs from now on. */
void boot_timer_init(struct boot_timer *timer);
