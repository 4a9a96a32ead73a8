/*
 * Numbers as people type them, and the nearest word to a mistyped one. Pure functions.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/**
 * Parse a decimal number: digits only, nothing before or after.
 * \return 0; -EINVAL if it is not a number; -ERANGE if it is above \p max
 */
__attribute__((warn_unused_result)) int parse_uint(const char *text, uint64_t max, uint64_t *value);

/**
 * Parse a size in bytes: a decimal number with an optional suffix K, M, G or T (powers of 1024,
 * either case, "i" and "B" may follow as in 128MiB). A bare number counts \p default_unit bytes.
 * \return 0; -EINVAL if it is not a size; -ERANGE if it does not fit 64 bits
 */
__attribute__((warn_unused_result)) int parse_size(const char *text, uint64_t default_unit,
						   uint64_t *bytes);

/**
 * The word of \p words (NULL-terminated) most like \p text, for "did you mean".
 * \return one of \p words, or NULL when none is close
 */
const char *nearest_word(const char *text, const char *const words[]);
