#include "cli/prometheus.h"

#include "util/bits.h"
#include "util/metrics.h"
#include "util/text.h"

#include <stdlib.h>
#include <string.h>

/* All groups, and 20 devices with names as long as can be, have less than 200 KiB. */
enum { TEXT_MAX_BYTES = 512 * 1024 };

/* The groups that each device has its own of, and the label that tells whose. */
static const struct device_kind {
	const char *group;
	const char *label;
} device_kinds[] = { { "block", "drive" }, { "net", "interface" } };

/* One metric: `vcpu.failures`, or `vcpu.exit_io_in_agg.sum_us` where there is a member. */
struct metric {
	const char *group;
	const char *key;
	const char *member; /* NULL: none */
	enum metrics_kind kind;
	const char *vm; /* its id; NULL: not told */
};

static bool ends_with(const char *string, const char *end)
{
	size_t len = strlen(string);

	return len >= strlen(end) && strcmp(string + len - strlen(end), end) == 0;
}

static void add_name(struct text *text, const struct metric *metric)
{
	static const char count[] = "_count";
	size_t len = strlen(metric->key);

	if (metric->kind == METRICS_COUNTER && ends_with(metric->key, count))
		len -= strlen(count);
	text_add(text, "televm_");
	text_add(text, metric->group);
	text_add(text, "_");
	text_add_bytes(text, metric->key, len);
	if (metric->member != NULL) {
		text_add(text, "_");
		text_add(text, metric->member);
	}
	if (metric->kind == METRICS_COUNTER)
		text_add(text, "_total");
}

static const char *type_of(const struct metric *metric)
{
	return metric->kind == METRICS_COUNTER ? "counter" : "gauge";
}

static void add_head(struct text *text, const struct metric *metric)
{
	text_add(text, "# HELP ");
	add_name(text, metric);
	text_add(text, " ");
	text_add(text, metric->group);
	text_add(text, ".");
	text_add(text, metric->key);
	if (metric->member != NULL) {
		text_add(text, ".");
		text_add(text, metric->member);
	}
	text_add(text, " of Firecracker's metrics\n# TYPE ");
	add_name(text, metric);
	text_add(text, " ");
	text_add(text, type_of(metric));
	text_add(text, "\n");
}

/* \param before "{" or "," */
static void add_label(struct text *text, const char *before, const char *name, const char *value)
{
	text_add(text, before);
	text_add(text, name);
	text_add(text, "=\"");
	for (; *value != '\0'; value++) {
		if (*value == '\\' || *value == '"')
			text_add(text, "\\");
		/* No id has one, but who answers may send anything. */
		text_add_bytes(text, (unsigned char)*value < ' ' ? "?" : value, 1);
	}
	text_add(text, "\"");
}

/* \param id of the device, NULL: it is of none */
static void add_sample(struct text *text, const struct metric *metric, const char *label,
		       const char *id, const json_t *value)
{
	add_name(text, metric);
	if (metric->vm != NULL)
		add_label(text, "{", "vm", metric->vm);
	if (id != NULL)
		add_label(text, metric->vm != NULL ? "," : "{", label, id);
	text_add(text, metric->vm != NULL || id != NULL ? "} " : " ");
	text_add_number(text, (uint64_t)json_integer_value(value), 1);
	text_add(text, "\n");
}

/* \param keys what belongs to one group, or one device */
static const json_t *value_of(const json_t *keys, const struct metric *metric)
{
	const json_t *value = json_object_get(keys, metric->key);

	return metric->member != NULL ? json_object_get(value, metric->member) : value;
}

static const struct device_kind *find_kind(const char *group)
{
	for (size_t i = 0; i < ARRAY_SIZE(device_kinds); i++) {
		if (strcmp(device_kinds[i].group, group) == 0)
			return &device_kinds[i];
	}
	return NULL;
}

/* \return the device's id, where the key is that of a device of this kind; or NULL */
static const char *device_id(const char *key, const struct device_kind *kind)
{
	size_t len = strlen(kind->group);

	return strncmp(key, kind->group, len) == 0 && key[len] == '_' ? key + len + 1 : NULL;
}

static void add_devices(struct text *text, const json_t *all, const struct metric *metric,
			const struct device_kind *kind)
{
	bool has_head = false;
	const char *key;
	json_t *keys;

	json_object_foreach((json_t *)(uintptr_t)all, key, keys)
	{
		const char *id = device_id(key, kind);
		const json_t *value = id != NULL ? value_of(keys, metric) : NULL;

		if (!json_is_integer(value))
			continue;
		if (!has_head)
			add_head(text, metric);
		has_head = true;
		add_sample(text, metric, kind->label, id, value);
	}
}

static void add_metric(struct text *text, const json_t *all, const struct metric *metric)
{
	const struct device_kind *kind = find_kind(metric->group);
	const json_t *value = value_of(json_object_get(all, metric->group), metric);

	if (kind != NULL) {
		add_devices(text, all, metric, kind);
	} else if (json_is_integer(value)) {
		add_head(text, metric);
		add_sample(text, metric, NULL, NULL, value);
	}
}

static void add_times(struct text *text, const json_t *all, const struct metric *metric)
{
	static const struct {
		const char *member;
		enum metrics_kind kind;
	} members[] = {
		{ "min_us", METRICS_STORED },
		{ "max_us", METRICS_STORED },
		{ "sum_us", METRICS_COUNTER },
	};

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		struct metric one = *metric;

		one.member = members[i].member;
		one.kind = members[i].kind;
		add_metric(text, all, &one);
	}
}

static void add_group(struct text *text, const json_t *all, const char *group, const json_t *keys,
		      const char *vm)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)keys, key, value)
	{
		const struct metric metric = {
			.group = group, .key = key, .kind = metrics_kind_of(group, key), .vm = vm
		};

		/* A name that we do not know may be no name. */
		if (metric.kind == METRICS_NONE)
			continue;
		if (json_is_object(value))
			add_times(text, all, &metric);
		else
			add_metric(text, all, &metric);
	}
}

static bool is_of_a_device(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(device_kinds); i++) {
		if (device_id(key, &device_kinds[i]) != NULL)
			return true;
	}
	return false;
}

char *prometheus_from_metrics(const json_t *all, const char *vm)
{
	struct text text = { .bytes = malloc(TEXT_MAX_BYTES), .size = TEXT_MAX_BYTES - 1 };
	const char *key;
	json_t *keys;

	if (text.bytes == NULL)
		return NULL;
	/* A device's metrics stand with those of the others of its kind. */
	json_object_foreach((json_t *)(uintptr_t)all, key, keys)
	{
		if (json_is_object(keys) && !is_of_a_device(key) && strcmp(key, "properties") != 0)
			add_group(&text, all, key, keys, vm);
	}
	text.bytes[text.len] = '\0';
	return text.bytes;
}
