/*
 * What tests share: an interrupt sink that keeps count, register access, arguments of a program.
 */
#pragma once

#include "bus/irq.h"
#include "bus/mmio_bus.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/** A sink for one source: a level and an edge at once. Any thread. */
struct rig_irq {
	struct irq_sink sink;
	struct irq_line line;
	_Atomic unsigned int n_raised;
	_Atomic unsigned int n_lowered;
	_Atomic bool is_high; /**< as a level-triggered controller sees it */
	_Atomic bool edge;    /**< as an edge-triggered one: set by raise, until taken */
};

/** The source number that the sink expects. */
enum { RIG_IRQ_SOURCE = 7 };

void rig_irq_init(struct rig_irq *irq);

/** Was there a raise since the last call? */
bool rig_irq_take_edge(struct rig_irq *irq);

/** A device's registers, without a bus. */
struct rig_mmio {
	const struct mmio_ops *ops;
	void *device;
};

uint64_t rig_read(const struct rig_mmio *mmio, uint64_t offset, unsigned int len);
void rig_write(const struct rig_mmio *mmio, uint64_t offset, unsigned int len, uint64_t value);

/** One-byte registers. */
uint8_t rig_read8(const struct rig_mmio *mmio, uint64_t offset);
void rig_write8(const struct rig_mmio *mmio, uint64_t offset, uint8_t value);

/** 32-bit registers. */
uint32_t rig_read32(const struct rig_mmio *mmio, uint64_t offset);
void rig_write32(const struct rig_mmio *mmio, uint64_t offset, uint32_t value);

/** The next of a fixed sequence of pseudo-random numbers. \param state not 0 */
uint32_t rig_random(uint32_t *state);

/** Some hosts, and some sandboxes for tests, have no io_uring: that is printed. */
bool rig_has_io_uring(void);

enum { RIG_ARGS_MAX = 24 };

/** Arguments as main() has them: copies, since they may be written to. */
struct rig_args {
	int argc;
	char *argv[RIG_ARGS_MAX + 1];
};

/** \param words at most RIG_ARGS_MAX, and NULL */
struct rig_args rig_args_make(const char *const words[]);

void rig_args_free(struct rig_args *args);
