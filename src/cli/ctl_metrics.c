/*
 * `televm ctl SOCK metrics`: counters since the start of the process, as a table of those that are
 * not zero, as JSON, or as Prometheus's text.
 */
#include "cli/ctl.h"
#include "cli/prometheus.h"
#include "config/exit_status.h"
#include "util/cleanup.h"

#include <errno.h>
#include <stdio.h>

enum { NAME_MAX_BYTES = 128 };

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

static int show_table(struct ctl *ctl, json_t *all)
{
	const char *key;
	json_t *value;
	int status = 0;

	json_object_foreach(all, key, value)
	{
		if (json_is_object(value) && status == 0)
			status = show_group(ctl, key, value);
	}
	return status;
}

static int show_prometheus(struct ctl *ctl, const json_t *all)
{
	cleanup_json json_t *instance = NULL;
	cleanup_free char *text = NULL;
	int status = ctl_get(ctl, "/", &instance);

	if (status != 0)
		return status;
	text = prometheus_from_metrics(all, json_string_value(json_object_get(instance, "id")));
	if (text == NULL) {
		err_set(&ctl->err, -ENOMEM, "no memory");
		return CTL_REFUSED;
	}
	return ctl_print(ctl, text);
}

int ctl_metrics(struct ctl *ctl, int argc, char **argv)
{
	cleanup_json json_t *all = NULL;
	int status;

	(void)argc;
	(void)argv;
	if (ctl->is_json && ctl->is_prometheus) {
		err_set(&ctl->err, -EINVAL, "--json and --prometheus exclude each other");
		return EXIT_STATUS_BAD_ARGUMENTS;
	}
	status = ctl_get(ctl, "/metrics", &all);
	if (status != 0)
		return status;
	if (ctl->is_prometheus)
		return show_prometheus(ctl, all);
	return ctl->is_json ? ctl_print_json(ctl, all) : show_table(ctl, all);
}
