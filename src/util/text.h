/*
 * Text put together in a buffer of the caller's, with nothing but what a signal handler may use: no
 * heap, no stdio, no locale. What does not fit is cut at the buffer's end, and `is_cut` tells.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
	char *bytes; /**< not ended by a NUL */
	size_t size;
	size_t len;
	bool is_cut;
};

void text_add_bytes(struct text *text, const char *bytes, size_t len);

/** Add a string. */
void text_add(struct text *text, const char *string);

/** Add a decimal number, with zeros in front if it has fewer than \p min_digits (at most 20). */
void text_add_number(struct text *text, uint64_t number, unsigned int min_digits);

/** Add a string as JSON has it, in quotes. What is no UTF-8 is passed on as it is. */
void text_add_json(struct text *text, const char *string);
