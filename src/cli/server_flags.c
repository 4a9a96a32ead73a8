#include "cli/server_flags.h"

#include "util/parse.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

enum { ID_MAX = 64 };

static int set_sock(void *target, const char *value, struct err *err)
{
	(void)err;
	((struct server_options *)target)->sock = value;
	return 0;
}

static int set_id(void *target, const char *value, struct err *err)
{
	size_t len = strlen(value);

	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)value[i]) && value[i] != '-')
			return err_set(err, -EINVAL,
				       "--id: '%.64s' has something else than letters, digits "
				       "and dashes",
				       value);
	}
	if (len == 0 || len > ID_MAX)
		return err_set(err, -EINVAL, "--id: %zu characters, 1 to %d are allowed", len,
			       ID_MAX);
	((struct server_options *)target)->id = value;
	return 0;
}

static int set_config_path(void *target, const char *value, struct err *err)
{
	(void)err;
	((struct server_options *)target)->config_path = value;
	return 0;
}

static int set_no_api(void *target, const char *value, struct err *err)
{
	(void)value;
	(void)err;
	((struct server_options *)target)->has_no_api = true;
	return 0;
}

static int set_metadata_path(void *target, const char *value, struct err *err)
{
	(void)err;
	((struct server_options *)target)->metadata_path = value;
	return 0;
}

static int set_boot_timer(void *target, const char *value, struct err *err)
{
	(void)value;
	(void)err;
	((struct server_options *)target)->has_boot_timer = true;
	return 0;
}

static int set_log_path(void *target, const char *value, struct err *err)
{
	(void)err;
	((struct server_options *)target)->log_path = value;
	return 0;
}

static int set_log_level(void *target, const char *value, struct err *err)
{
	(void)err;
	((struct server_options *)target)->log_level = value;
	return 0;
}

static int set_log_module(void *target, const char *value, struct err *err)
{
	(void)err;
	((struct server_options *)target)->log_module = value;
	return 0;
}

static int set_show_level(void *target, const char *value, struct err *err)
{
	(void)value;
	(void)err;
	((struct server_options *)target)->show_log_level = true;
	return 0;
}

static int set_show_origin(void *target, const char *value, struct err *err)
{
	(void)value;
	(void)err;
	((struct server_options *)target)->show_log_origin = true;
	return 0;
}

static int set_metrics_path(void *target, const char *value, struct err *err)
{
	(void)err;
	((struct server_options *)target)->metrics_path = value;
	return 0;
}

static int set_bytes(const char *flag, size_t *bytes, const char *value, struct err *err)
{
	uint64_t n;

	/* A limit is also a promise to hold so much in memory. */
	if (parse_uint(value, UINT32_MAX, &n) != 0 || n == 0)
		return err_set(err, -EINVAL, "%s: '%.64s' is not a number of bytes", flag, value);
	*bytes = (size_t)n;
	return 0;
}

static int set_max_payload(void *target, const char *value, struct err *err)
{
	return set_bytes("--http-api-max-payload-size",
			 &((struct server_options *)target)->max_payload, value, err);
}

static int set_mmds_limit(void *target, const char *value, struct err *err)
{
	return set_bytes("--mmds-size-limit", &((struct server_options *)target)->mmds_limit, value,
			 err);
}

static int set_time(const char *flag, uint64_t *time_us, const char *value, struct err *err)
{
	if (parse_uint(value, UINT64_MAX, time_us) != 0)
		return err_set(err, -EINVAL, "%s: '%.64s' is not a number of microseconds", flag,
			       value);
	return 0;
}

static int set_start_time(void *target, const char *value, struct err *err)
{
	struct server_options *options = target;

	options->has_start_time = true;
	return set_time("--start-time-us", &options->start_time_us, value, err);
}

static int set_start_time_cpu(void *target, const char *value, struct err *err)
{
	struct server_options *options = target;

	options->has_start_time_cpu = true;
	return set_time("--start-time-cpu-us", &options->start_time_cpu_us, value, err);
}

static int set_parent_cpu_time(void *target, const char *value, struct err *err)
{
	return set_time("--parent-cpu-time-us",
			&((struct server_options *)target)->parent_cpu_time_us, value, err);
}

static int set_no_seccomp(void *target, const char *value, struct err *err)
{
	(void)target;
	(void)value;
	(void)err;
	return 0;
}

static int set_version(void *target, const char *value, struct err *err)
{
	(void)value;
	(void)err;
	((struct server_options *)target)->wants_version = true;
	return 0;
}

/* ---- what there is not yet: refused, so that nobody believes to have it ---- */

static int refuse_seccomp_filter(void *target, const char *value, struct err *err)
{
	(void)target;
	(void)value;
	return err_set(err, -EINVAL,
		       "--seccomp-filter: there is no sandbox yet that would take a filter");
}

static int refuse_pci(void *target, const char *value, struct err *err)
{
	(void)target;
	(void)value;
	return err_set(err, -EINVAL, "--enable-pci: there is no PCI yet, devices are over MMIO");
}

static int refuse_snapshot_version(void *target, const char *value, struct err *err)
{
	(void)target;
	(void)value;
	return err_set(err, -EINVAL, "--snapshot-version: there are no snapshots yet");
}

static int refuse_describe_snapshot(void *target, const char *value, struct err *err)
{
	(void)target;
	(void)value;
	return err_set(err, -EINVAL, "--describe-snapshot: there are no snapshots yet");
}

const struct option_row server_flags[] = {
	{ "--api-sock", "FILE", "the API's Unix socket (default " SERVER_SOCK ")", set_sock,
	  false },
	{ "--id", "NAME", "of the machine: letters, digits, dashes", set_id, false },
	{ "--config-file", "FILE", "configure the machine by a JSON file and start it",
	  set_config_path, false },
	{ "--no-api", NULL, "with --config-file: no socket", set_no_api, false },
	{ "--metadata", "FILE", "JSON for the metadata store (/mmds)", set_metadata_path, false },
	{ "--log-path", "FILE", "log to a file or FIFO (default: standard error)", set_log_path,
	  false },
	{ "--level", "Off|Error|Warn|Info|Debug|Trace", "how much is logged (default Info)",
	  set_log_level, false },
	{ "--module", "PREFIX", "log only what comes from there, like virtio/blk", set_log_module,
	  false },
	{ "--show-level", NULL, "log each line's level", set_show_level, false },
	{ "--show-log-origin", NULL, "log each line's place in the source", set_show_origin,
	  false },
	{ "--metrics-path", "FILE", "write metrics to a file or FIFO", set_metrics_path, false },
	{ "--boot-timer", NULL, "log when the guest is up: it writes 123 to a device",
	  set_boot_timer, false },
	{ "--http-api-max-payload-size", "BYTES", "limit of a request's body (default 51200)",
	  set_max_payload, false },
	{ "--mmds-size-limit", "BYTES", "limit of the metadata (default: as the above)",
	  set_mmds_limit, false },
	{ "--no-seccomp", NULL, "accepted; there is no filter yet", set_no_seccomp, false },
	{ "--seccomp-filter", "FILE", "refused; there is no filter yet", refuse_seccomp_filter,
	  false },
	{ "--enable-pci", NULL, "refused; devices are over MMIO", refuse_pci, false },
	{ "--start-time-us", "N", "when the process was started, for the metrics", set_start_time,
	  false },
	{ "--start-time-cpu-us", "N", "the CPU time that it had then", set_start_time_cpu, false },
	{ "--parent-cpu-time-us", "N", "the CPU time of who started it", set_parent_cpu_time,
	  false },
	{ "--snapshot-version", NULL, "refused; there are no snapshots yet",
	  refuse_snapshot_version, false },
	{ "--describe-snapshot", "FILE", "refused; there are no snapshots yet",
	  refuse_describe_snapshot, false },
	{ "--version", NULL, "show the version", set_version, false },
	{ 0 },
};

int server_options_parse(struct server_options *options, int argc, char **argv, struct err *err)
{
	int ret;

	*options = (struct server_options){ .sock = SERVER_SOCK, .id = "anonymous-instance" };
	ret = options_parse(server_flags, argc, argv, options, err);
	if (ret == 0 && options->has_no_api && options->config_path == NULL)
		return err_set(err, -EINVAL,
			       "--no-api needs --config-file: nobody could start the machine");
	if (options->mmds_limit == 0)
		options->mmds_limit = options->max_payload;
	return ret;
}
