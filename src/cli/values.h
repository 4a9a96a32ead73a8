/*
 * Values of flags and operands that mean the same wherever they stand. Pure functions.
 */
#pragma once

#include "util/err.h"

#include <stdint.h>

/** Limits are given by the second: the time in which a bucket is full again. */
enum { VALUE_REFILL_MS = 1000 };

/**
 * Bytes a second, like 10M: 1 to what JSON has numbers for.
 * \param or_else what else may stand there, like ", or off"; ""
 * \return 0; -EINVAL with a sentence that begins with "bandwidth"
 */
__attribute__((warn_unused_result)) int value_bandwidth(const char *value, const char *or_else,
							uint64_t *bytes, struct err *err);

/** Operations a second, from 1 on; likewise. */
__attribute__((warn_unused_result)) int value_ops(const char *value, const char *or_else,
						  uint64_t *n, struct err *err);

/**
 * A size in whole MiB, like 64M; a bare number counts MiB.
 * \param what the sentence begins with it
 * \return 0 or -EINVAL
 */
__attribute__((warn_unused_result)) int value_mib(const char *what, const char *value,
						  uint64_t *mib, struct err *err);
