#include "config/json_fields.h"

#include "backend/rate_limiter.h"
#include "util/assert.h"
#include "util/bits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_MAX = 64, LIST_SIZE = 384 };

/* ---- sentences ---- */

int json_cut(const char *text, size_t max)
{
	size_t len = strnlen(text, max + 1);

	if (len > max) {
		len = max;
		while (len > 0 && (text[len] & 0xc0) == 0x80)
			len--;
	}
	return (int)len;
}

struct shown {
	char text[SHOWN_MAX + 32];
};

static struct shown show(const json_t *value)
{
	struct shown shown;
	const char *string = json_string_value(value);
	int size = sizeof(shown.text);

	switch (json_typeof(value)) {
	case JSON_STRING:
		snprintf(shown.text, size, "string \"%.*s\"", json_cut(string, SHOWN_MAX), string);
		break;
	case JSON_INTEGER:
		snprintf(shown.text, size, "integer `%lld`", (long long)json_integer_value(value));
		break;
	case JSON_REAL:
		snprintf(shown.text, size, "floating point `%g`", json_real_value(value));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		snprintf(shown.text, size, "boolean `%s`", json_is_true(value) ? "true" : "false");
		break;
	case JSON_ARRAY:
		snprintf(shown.text, size, "sequence");
		break;
	case JSON_OBJECT:
		snprintf(shown.text, size, "map");
		break;
	default:
		snprintf(shown.text, size, "null");
		break;
	}
	return shown;
}

int json_refuse_type(const json_t *value, const char *expected, struct err *err)
{
	err_set(err, -EINVAL, "invalid type: %s, expected %s", show(value).text, expected);
	return -EINVAL;
}

/* "`a` or `b`", "one of `a`, `b`, `c`" */
static void add_to_list(char list[LIST_SIZE], unsigned int i, unsigned int n, const char *name)
{
	const char *before = i == 0 ? (n > 2 ? "one of " : "") : n == 2 ? " or " : ", ";
	size_t len = strlen(list);

	snprintf(list + len, LIST_SIZE - len, "%s`%s`", before, name);
}

int json_refuse_choice(const struct json_field *field, const char *name, struct err *err)
{
	char list[LIST_SIZE] = "";

	for (unsigned int i = 0; i < field->n_names; i++)
		add_to_list(list, i, field->n_names, field->names[i]);
	return err_set(err, -EINVAL, "unknown variant `%.*s`, expected %s",
		       json_cut(name, SHOWN_MAX), name, list);
}

static unsigned int count(const struct json_field *fields)
{
	unsigned int n = 0;

	while (fields[n].name != NULL)
		n++;
	ASSERT(n <= JSON_FIELDS_MAX);
	return n;
}

static int refuse_field(const struct json_field *fields, const char *name, struct err *err)
{
	char list[LIST_SIZE] = "";
	unsigned int n = count(fields);

	for (unsigned int i = 0; i < n; i++)
		add_to_list(list, i, n, fields[i].name);
	return err_set(err, -EINVAL, "unknown field `%.*s`, expected %s", json_cut(name, SHOWN_MAX),
		       name, list);
}

/* ---- objects ---- */

static const struct json_field *find(const struct json_field *fields, const char *name)
{
	for (; fields->name != NULL; fields++) {
		if (strcmp(fields->name, name) == 0)
			return fields;
	}
	return NULL;
}

json_t *json_iterable(const json_t *object)
{
	union {
		const json_t *in;
		json_t *out;
	} pointer = { .in = object };

	return pointer.out;
}

static int read_fields(const struct json_field *fields, bool is_open, void *target,
		       const json_t *object, uint32_t *seen, struct err *err)
{
	const char *name;
	json_t *value;

	json_object_foreach(json_iterable(object), name, value)
	{
		const struct json_field *field = find(fields, name);
		int ret;

		if (field == NULL && !is_open)
			return refuse_field(fields, name, err);
		if (field == NULL || (json_is_null(value) && !field->is_required))
			continue;
		ret = field->read(field, (char *)target + field->offset, value, err);
		if (ret != 0) {
			err_prefix(err, "%s", name);
			return ret;
		}
		*seen |= (uint32_t)BIT(field - fields);
	}
	return 0;
}

int json_read_object(const struct json_field *fields, enum json_strictness strictness, void *target,
		     const json_t *object, uint32_t *seen, struct err *err)
{
	unsigned int n = count(fields);
	uint32_t found = 0;
	int ret;

	if (!json_is_object(object))
		return json_refuse_type(object, "an object", err);
	ret = read_fields(fields, strictness == FIELDS_OPEN, target, object, &found, err);
	if (ret != 0)
		return ret;
	for (unsigned int i = 0; i < n && strictness != FIELDS_PARTIAL; i++) {
		if (fields[i].is_required && (found & BIT(i)) == 0)
			return err_set(err, -EINVAL, "missing field `%s`", fields[i].name);
	}
	if (seen != NULL)
		*seen = found;
	return 0;
}

/* ---- values ---- */

int json_read_bool(const struct json_field *field, void *at, const json_t *value, struct err *err)
{
	(void)field;
	if (!json_is_boolean(value))
		return json_refuse_type(value, "a boolean", err);
	*(bool *)at = json_is_true(value);
	return 0;
}

static void store(const struct json_field *field, void *at, uint64_t number)
{
	switch (field->size) {
	case sizeof(uint16_t):
		*(uint16_t *)at = (uint16_t)number;
		break;
	case sizeof(uint32_t):
		*(uint32_t *)at = (uint32_t)number;
		break;
	default:
		ASSERT(field->size == sizeof(uint64_t));
		*(uint64_t *)at = number;
		break;
	}
}

int json_read_uint(const struct json_field *field, void *at, const json_t *value, struct err *err)
{
	json_int_t number = json_integer_value(value);
	char type[8];

	ASSERT(field->bits <= 64 && field->bits <= field->size * 8);
	snprintf(type, sizeof(type), "u%u", field->bits);
	if (!json_is_integer(value))
		return json_refuse_type(value, type, err);
	if (number < 0 || (field->bits < 64 && number >> field->bits != 0))
		return err_set(err, -EINVAL, "invalid value: %s, expected %s", show(value).text,
			       type);
	store(field, at, (uint64_t)number);
	return 0;
}

int json_get_text(const json_t *value, const char **text, struct err *err)
{
	if (!json_is_string(value))
		return json_refuse_type(value, "a string", err);
	/* jansson lets no NUL in, so this is all of it. */
	*text = json_string_value(value);
	return 0;
}

int json_read_text(const struct json_field *field, void *at, const json_t *value, struct err *err)
{
	const char *text;
	char **to = at;
	char *copy;
	int ret = json_get_text(value, &text, err);

	(void)field;
	if (ret != 0)
		return ret;
	copy = strdup(text);
	if (copy == NULL)
		return err_set(err, -ENOMEM, "no memory for a string");
	free(*to);
	*to = copy;
	return 0;
}

int json_read_choice(const struct json_field *field, void *at, const json_t *value, struct err *err)
{
	const char *name;
	int ret = json_get_text(value, &name, err);

	if (ret != 0)
		return ret;
	for (unsigned int i = 0; i < field->n_names; i++) {
		if (strcmp(field->names[i], name) == 0) {
			store(field, at, i);
			return 0;
		}
	}
	return json_refuse_choice(field, name, err);
}

/* ---- limits ---- */

int json_read_bucket(const struct json_field *field, void *at, const json_t *value, struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "size",
		  .read = json_read_uint,
		  JSON_AT(struct token_bucket_config, size),
		  .bits = 64,
		  .is_required = true },
		{ .name = "refill_time",
		  .read = json_read_uint,
		  JSON_AT(struct token_bucket_config, refill_ms),
		  .bits = 64,
		  .is_required = true },
		{ .name = "one_time_burst",
		  .read = json_read_uint,
		  JSON_AT(struct token_bucket_config, one_time_burst),
		  .bits = 64 },
		{ 0 },
	};
	struct token_bucket_config bucket = { 0 };
	int ret = json_read_object(fields, FIELDS_OPEN, &bucket, value, NULL, err);

	(void)field;
	if (ret != 0)
		return ret;
	if (bucket.size == 0 || bucket.refill_ms == 0)
		bucket = (struct token_bucket_config){ 0 };
	*(struct token_bucket_config *)at = bucket;
	return 0;
}

int json_read_limits(const struct json_field *field, void *at, const json_t *value, struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "bandwidth",
		  .read = json_read_bucket,
		  JSON_AT(struct rate_limiter_config, bandwidth) },
		{ .name = "ops",
		  .read = json_read_bucket,
		  JSON_AT(struct rate_limiter_config, ops) },
		{ 0 },
	};

	(void)field;
	return json_read_object(fields, FIELDS_STRICT, at, value, NULL, err);
}
