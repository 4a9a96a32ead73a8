/*
 * Interrupts as a device sees them: a line that it raises and lowers.
 *
 * Behind the two functions stands one interrupt controller: the PLIC in user space, where a line is
 * a level, or the in-kernel AIA, where it is an edge: there raise() sends one interrupt and lower()
 * does nothing. A device that raises when its condition becomes true, lowers when it becomes false
 * and raises again for each new condition is right on both.
 *
 * Both functions may be called from any thread and never block.
 */
#pragma once

#include "util/metrics.h"

#include <stdint.h>

struct irq_sink {
	void (*raise)(struct irq_sink *sink, uint32_t source);
	void (*lower)(struct irq_sink *sink, uint32_t source);
};

/** One wired source of an interrupt controller: what a device is given. */
struct irq_line {
	struct irq_sink *sink;
	uint32_t source; /**< 1 and up, as in the device tree */
};

static inline void irq_raise(const struct irq_line *line)
{
	metrics_inc(&metrics.interrupts.triggers);
	line->sink->raise(line->sink, line->source);
}

static inline void irq_lower(const struct irq_line *line)
{
	line->sink->lower(line->sink, line->source);
}
