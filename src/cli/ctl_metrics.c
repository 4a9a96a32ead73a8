/*
 * `televm ctl SOCK metrics`: counters since the start of the process, as a table of those that are
 * not zero, as JSON, or as Prometheus's text.
 *
 * In the answer each group of counters is an object, with those of one device in a group of its own
 * beside the sum of all: "block", "block_rootfs". For Prometheus the devices are a label, and sums
 * are left out, since it makes them itself:
 *
 *	televm_block_read_bytes{instance="vm1",id="rootfs"} 4096
 */
#include "cli/ctl.h"
#include "util/bits.h"
#include "util/cleanup.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { NAME_MAX_BYTES = 128, LABEL_MAX = 160 };

/* ---- a table ---- */

static bool is_zero(const json_t *value)
{
	return json_is_integer(value) && json_integer_value(value) == 0;
}

static int show_group(struct ctl *ctl, const char *name, json_t *group)
{
	char prefix[NAME_MAX_BYTES];
	const char *key;
	json_t *value;
	int status = 0;

	json_object_foreach(group, key, value)
	{
		if (status != 0 || (is_zero(value) && !ctl->has_all))
			continue;
		snprintf(prefix, sizeof(prefix), "%.40s.%.80s", name, key);
		if (json_is_object(value))
			status = show_group(ctl, prefix, value);
		else
			status = ctl_row(ctl, prefix, "%lld", (long long)json_integer_value(value));
	}
	return status;
}

static int show_table(struct ctl *ctl, json_t *metrics)
{
	const char *key;
	json_t *value;
	int status = 0;

	json_object_foreach(metrics, key, value)
	{
		if (json_is_object(value) && status == 0)
			status = show_group(ctl, key, value);
	}
	return status;
}

/* ---- Prometheus ---- */

/* Groups of which each device has one; the longer name stands first. */
static const char *const device_groups[] = { "vhost_user_block", "block", "net" };

/* \return the device's id in a group's name like "block_rootfs", or NULL. \p kind: its group */
static const char *device_of(const char *group, const char **kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(device_groups); i++) {
		size_t len = strlen(device_groups[i]);

		*kind = device_groups[i];
		if (strncmp(group, *kind, len) == 0 && group[len] == '_')
			return group + len + 1;
	}
	return NULL;
}

static bool is_sum(const char *group)
{
	for (size_t i = 0; i < ARRAY_SIZE(device_groups); i++) {
		if (strcmp(group, device_groups[i]) == 0)
			return true;
	}
	return false;
}

/* Values that are not counted up: times of one thing, and the extremes of many. */
static const char *type_of(const char *name)
{
	static const char *const gauges[] = { "televm_latencies_us_",
					      "televm_api_server_process_startup_time" };
	size_t len = strlen(name);

	for (size_t i = 0; i < ARRAY_SIZE(gauges); i++) {
		if (strncmp(name, gauges[i], strlen(gauges[i])) == 0)
			return "gauge";
	}
	if (len > 7 &&
	    (strcmp(name + len - 7, "_min_us") == 0 || strcmp(name + len - 7, "_max_us") == 0))
		return "gauge";
	return "counter";
}

static void add_name(char *name, const char *part)
{
	size_t len = strlen(name);

	snprintf(name + len, NAME_MAX_BYTES - len, "_%.60s", part);
	for (char *at = name + len; *at != '\0'; at++) {
		if (!isalnum((unsigned char)*at))
			*at = '_';
	}
}

/* Ids are letters, digits and a few marks; of what else may come, nothing ends the quotes. */
static void add_label(char *labels, const char *name, const char *value)
{
	size_t len = strlen(labels);

	snprintf(labels + len, LABEL_MAX - len, "%s%s=\"%.64s", len == 0 ? "" : ",", name, value);
	for (char *at = labels + len + (len == 0 ? 0 : 1) + strlen(name) + 2; *at != '\0'; at++) {
		if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ')
			*at = '_';
	}
	len = strlen(labels);
	snprintf(labels + len, LABEL_MAX - len, "\"");
}

static int print_sample(struct ctl *ctl, const char *name, const char *labels, const json_t *value,
			bool is_first)
{
	char text[512];
	size_t len = 0;

	if (is_first)
		len = (size_t)snprintf(text, sizeof(text), "# TYPE %s %s\n", name, type_of(name));
	snprintf(text + len, sizeof(text) - len, "%s%s%s%s %lld\n", name,
		 labels[0] == '\0' ? "" : "{", labels, labels[0] == '\0' ? "" : "}",
		 (long long)json_integer_value(value));
	return ctl_print(ctl, text);
}

/* Members of an object within a group have its name before theirs. */
static int print_group(struct ctl *ctl, const char *prefix, const char *labels, json_t *group)
{
	const char *key;
	json_t *value;
	int status = 0;

	json_object_foreach(group, key, value)
	{
		char name[NAME_MAX_BYTES];

		if (status != 0)
			continue;
		snprintf(name, sizeof(name), "%s", prefix);
		add_name(name, key);
		if (json_is_object(value))
			status = print_group(ctl, name, labels, value);
		else if (json_is_integer(value))
			status = print_sample(ctl, name, labels, value, true);
	}
	return status;
}

/* All devices of a kind have the same members, and all samples of a name stand together. */
static int print_member(struct ctl *ctl, json_t *metrics, const char *wanted, const char *member,
			const char *instance)
{
	char name[NAME_MAX_BYTES] = "televm";
	bool is_first = true;
	const char *key;
	json_t *group;
	int status = 0;

	add_name(name, wanted);
	add_name(name, member);
	json_object_foreach(metrics, key, group)
	{
		const char *kind;
		const char *id = device_of(key, &kind);
		const json_t *value = json_object_get(group, member);
		char labels[LABEL_MAX];

		if (id == NULL || strcmp(kind, wanted) != 0 || !json_is_integer(value) ||
		    status != 0)
			continue;
		snprintf(labels, sizeof(labels), "%s", instance);
		add_label(labels, "id", id);
		status = print_sample(ctl, name, labels, value, is_first);
		is_first = false;
	}
	return status;
}

/* The sum tells which members there are. */
static int print_devices(struct ctl *ctl, json_t *metrics, const char *kind, const char *instance)
{
	json_t *sum = json_object_get(metrics, kind);
	const char *member;
	json_t *value;
	int status = 0;

	json_object_foreach(sum, member, value)
	{
		if (json_is_integer(value) && status == 0)
			status = print_member(ctl, metrics, kind, member, instance);
	}
	return status;
}

static int print_prometheus(struct ctl *ctl, json_t *metrics, const char *instance)
{
	const char *key;
	json_t *group;
	int status = 0;

	json_object_foreach(metrics, key, group)
	{
		char name[NAME_MAX_BYTES] = "televm";
		const char *kind;

		if (status != 0 || device_of(key, &kind) != NULL || is_sum(key) ||
		    !json_is_object(group))
			continue;
		add_name(name, key);
		status = print_group(ctl, name, instance, group);
	}
	for (size_t i = 0; i < ARRAY_SIZE(device_groups) && status == 0; i++)
		status = print_devices(ctl, metrics, device_groups[i], instance);
	return status;
}

static int show_prometheus(struct ctl *ctl, json_t *metrics)
{
	cleanup_json json_t *instance = NULL;
	char labels[LABEL_MAX] = "";
	int status = ctl_get(ctl, "/", &instance);
	const char *id = json_string_value(json_object_get(instance, "id"));

	if (status != 0)
		return status;
	if (id != NULL)
		add_label(labels, "instance", id);
	return print_prometheus(ctl, metrics, labels);
}

int ctl_metrics(struct ctl *ctl, int argc, char **argv)
{
	cleanup_json json_t *metrics = NULL;
	int status = ctl_get(ctl, "/metrics", &metrics);

	(void)argc;
	(void)argv;
	if (status != 0)
		return status;
	if (ctl->is_prometheus)
		return show_prometheus(ctl, metrics);
	return ctl->is_json ? ctl_print_json(ctl, metrics) : show_table(ctl, metrics);
}
