/*
 * A keyboard (virtio 1.2, section 5.8) with four keys, for one purpose: to ask the guest to shut
 * down. input_press_power() presses the power key, which is what systemd-logind, acpid and their
 * like watch, and then Ctrl+Alt+Del, which a Linux with virtual terminals hands to its init.
 * docs/decisions/0009 says why this and nothing else.
 *
 * What it tells of itself is asked for by `select` and `subsel` in the configuration: name,
 * numbers, and the bitmap of its keys.
 *
 * Queues. Number 0 has buffers for events, 8 bytes each, which rest there until a key is pressed.
 * Events that find no buffer wait for one; while any wait, no key can be pressed again, so what is
 * kept is bounded. Number 1 has states of lights, of which there are none: they are given back.
 *
 * Everything runs on the I/O thread, under the device's lock; reset and the configuration on a
 * vCPU's.
 */
#pragma once

#include "virtio/device.h"

enum input_queue { INPUT_EVENTS, INPUT_STATUS, INPUT_N_QUEUES };

struct input {
	struct virtio_dev dev;
	uint8_t select;
	uint8_t subsel;
	unsigned int n_sent; /**< of the events of a press; all of them when none waits */
};

/**
 * \param input zeroed storage
 * \param id borrowed; names it in messages
 * \param mem borrowed, as is what \p irq points to. virtio_dev_start() is the caller's
 */
__attribute__((warn_unused_result)) int input_init(struct input *input, const char *id,
						   const struct guest_mem *mem,
						   const struct irq_line *irq, struct err *err);

/** On the I/O thread, after the vCPUs have ended. Legal on a zeroed object, and twice. */
void input_deinit(struct input *input);

/**
 * Press the power key, and Ctrl+Alt+Del.
 * \return 0; -ENODEV: no driver, or one that gives no buffers or has not taken the last ones yet
 */
__attribute__((warn_unused_result)) int input_press_power(struct input *input, struct err *err);
