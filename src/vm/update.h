/*
 * Changes of a machine that runs or is paused, and what can be asked of it. On the I/O thread.
 *
 * Devices are named by their ids. Every function that fails leaves all as it was.
 */
#pragma once

#include "backend/rate_limiter.h"
#include "util/err.h"
#include "virtio/balloon.h"

struct vm;

/**
 * Put a file in the place of a disk's, or open the same one again, and tell the guest its size; and
 * set other limits.
 * \param path NULL: the file stays
 * \param limits NULL: they stay
 */
__attribute__((warn_unused_result)) int vm_update_disk(struct vm *vm, const char *id,
						       const char *path,
						       const struct rate_limiter_change *limits,
						       struct err *err);

__attribute__((warn_unused_result)) int vm_set_net_limits(struct vm *vm, const char *id,
							  const struct rate_limiter_change *rx,
							  const struct rate_limiter_change *tx,
							  struct err *err);

/** The balloon, for the functions of virtio/balloon.h; NULL when the machine has none. */
struct balloon *vm_get_balloon(struct vm *vm);

/**
 * Have the guest shut down in order, as by a key of its keyboard.
 * \return 0; -ENODEV: the machine was made without the key, or the guest's driver is not there
 */
__attribute__((warn_unused_result)) int vm_press_power_key(struct vm *vm, struct err *err);
