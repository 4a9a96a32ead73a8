/*
 * The entropy device (virtio 1.2, section 5.4): one queue, into whose buffers the host's
 * getrandom(2) writes.
 *
 * A request gets as many bytes as its buffers hold, but at most RNG_REQUEST_MAX, and never none. A
 * driver must not offer buffers to read (5.4.6.1), nor can a byte be put into a chain that has no
 * room: both break the device. When the host has no random bytes to give, which happens only to
 * one that is itself still starting, requests wait for a timer that tries again, and the log tells.
 *
 * Everything runs on the I/O thread, under the device's lock.
 */
#pragma once

#include "backend/rate_limiter.h"
#include "virtio/device.h"

enum { RNG_REQUEST_MAX = 65536 };

struct rng {
	struct virtio_dev dev;
	struct rate_limiter limiter; /**< the I/O thread's own, as is: */
	struct event *retry_event;
};

/**
 * \param rng zeroed storage
 * \param id borrowed; names it in messages
 * \param limits of bytes and requests; copied
 * \param mem borrowed, as is what \p irq points to
 * \param base whose loop's thread is the I/O thread; virtio_dev_start() is the caller's
 */
__attribute__((warn_unused_result)) int rng_init(struct rng *rng, const char *id,
						 const struct rate_limiter_config *limits,
						 const struct guest_mem *mem,
						 const struct irq_line *irq,
						 struct event_base *base, struct err *err);

/** On the I/O thread, after the vCPUs have ended. Legal on a zeroed object, and twice. */
void rng_deinit(struct rng *rng);
