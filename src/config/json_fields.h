/*
 * Strict reading of JSON objects by tables: a row for each field says its name, what it may be and
 * where it goes.
 *
 *	static const struct json_field fields[] = {
 *		{ .name = "guest_cid", .read = json_read_uint, JSON_AT(struct config_vsock,
 *guest_cid), .bits = 32, .is_required = true }, { 0 },
 *	};
 *
 * Sentences are those of Rust's serde, which clients of Firecracker know: "missing field `x`",
 * "unknown field `x`, expected `a` or `b`", "invalid type: string "a", expected u32"; the field's
 * name stands before the ones that do not have it.
 *
 * A target that is half filled when reading fails is its owner's to free. Pure functions.
 */
#pragma once

#include "util/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_field {
	const char *name; /**< NULL ends the table */
	/** \param at where the value goes \return 0 or a negative errno with a sentence */
	int (*read)(const struct json_field *field, void *at, const json_t *value, struct err *err);
	size_t offset;            /**< of the value's place in the target */
	size_t size;              /**< of the place of a number or choice */
	unsigned int bits;        /**< of a number: how many may be used */
	const char *const *names; /**< of a choice, in the order of its enumerators */
	unsigned int n_names;
	bool is_required;
};

#define JSON_AT(type, member)                                                                      \
	.offset = offsetof(type, member), .size = sizeof(((type *)NULL)->member)
#define JSON_NAMES(list) .names = (list), .n_names = ARRAY_SIZE(list)

enum { JSON_FIELDS_MAX = 32 };

/** How an object is read, beside its table. */
enum json_strictness {
	FIELDS_STRICT,
	FIELDS_PARTIAL, /**< no field is required */
	FIELDS_OPEN,    /**< unknown fields are passed over */
};

/**
 * Read \p object into \p target. null is the same as a field that is not there, unless it is
 * required.
 * \param seen set to a bit for each row whose field is there; may be NULL
 * \return 0; -EINVAL with a sentence; -ENOMEM
 */
__attribute__((warn_unused_result)) int json_read_object(const struct json_field *fields,
							 enum json_strictness strictness,
							 void *target, const json_t *object,
							 uint32_t *seen, struct err *err);

/* ---- for the rows; what is at the place of a string is freed ---- */

int json_read_bool(const struct json_field *field, void *at, const json_t *value, struct err *err);
int json_read_uint(const struct json_field *field, void *at, const json_t *value, struct err *err);
int json_read_text(const struct json_field *field, void *at, const json_t *value, struct err *err);
int json_read_choice(const struct json_field *field, void *at, const json_t *value,
		     struct err *err);

/** struct token_bucket_config: a size or time of 0 is no limit. */
int json_read_bucket(const struct json_field *field, void *at, const json_t *value,
		     struct err *err);

/** struct rate_limiter_config: a bucket that is not there stays as it is. */
int json_read_limits(const struct json_field *field, void *at, const json_t *value,
		     struct err *err);

/* ---- for readers of one's own ---- */

/** \return -EINVAL, "invalid type: \p value, expected \p expected" */
int json_refuse_type(const json_t *value, const char *expected, struct err *err);

/** \return -EINVAL, "unknown variant `\p name`, expected one of" the names of \p field */
int json_refuse_choice(const struct json_field *field, const char *name, struct err *err);

/** Set \p *text to the string that \p value holds, borrowed. \return 0; -EINVAL */
int json_get_text(const json_t *value, const char **text, struct err *err);

/** \p object for json_object_foreach(), which changes nothing but does not say so. */
json_t *json_iterable(const json_t *object);

/** How many bytes of \p text are not more than \p max and end where a character ends. */
int json_cut(const char *text, size_t max);
