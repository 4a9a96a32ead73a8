#include "cli/server_flags.h"

#include "util/parse.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

enum { ID_MAX = 64 };

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

#define AT(member) offsetof(struct server_options, member)

const struct option_row server_flags[] = {
	{ "--api-sock", "FILE", "the API's Unix socket (default " SERVER_SOCK ")", option_set_text,
	  false, AT(sock) },
	{ "--id", "NAME", "of the machine: letters, digits, dashes", set_id, false, 0 },
	{ "--config-file", "FILE", "configure the machine by a JSON file and start it",
	  option_set_text, false, AT(config_path) },
	{ "--no-api", NULL, "with --config-file: no socket", option_set_true, false,
	  AT(has_no_api) },
	{ "--metadata", "FILE", "JSON for the metadata store (/mmds)", option_set_text, false,
	  AT(metadata_path) },
	{ "--log-path", "FILE", "log to a file or FIFO (default: standard error)", option_set_text,
	  false, AT(log_path) },
	{ "--level", "Off|Error|Warn|Info|Debug|Trace", "how much is logged (default Info)",
	  option_set_text, false, AT(log_level) },
	{ "--module", "PREFIX", "log only what comes from there, like virtio/blk", option_set_text,
	  false, AT(log_module) },
	{ "--show-level", NULL, "log each line's level", option_set_true, false,
	  AT(show_log_level) },
	{ "--show-log-origin", NULL, "log each line's place in the source", option_set_true, false,
	  AT(show_log_origin) },
	{ "--metrics-path", "FILE", "write metrics to a file or FIFO", option_set_text, false,
	  AT(metrics_path) },
	{ "--boot-timer", NULL, "log when the guest is up: it writes 123 to a device",
	  option_set_true, false, AT(has_boot_timer) },
	{ "--http-api-max-payload-size", "BYTES", "limit of a request's body (default 51200)",
	  set_max_payload, false, 0 },
	{ "--mmds-size-limit", "BYTES", "limit of the metadata (default: as the above)",
	  set_mmds_limit, false, 0 },
	{ "--no-seccomp", NULL, "accepted; there is no filter yet", set_no_seccomp, false, 0 },
	{ "--seccomp-filter", "FILE", "refused; there is no filter yet", refuse_seccomp_filter,
	  false, 0 },
	{ "--enable-pci", NULL, "refused; devices are over MMIO", refuse_pci, false, 0 },
	{ "--start-time-us", "N", "when the process was started, for the metrics", set_start_time,
	  false, 0 },
	{ "--start-time-cpu-us", "N", "the CPU time that it had then", set_start_time_cpu, false,
	  0 },
	{ "--parent-cpu-time-us", "N", "the CPU time of who started it", set_parent_cpu_time, false,
	  0 },
	{ "--snapshot-version", NULL, "refused; there are no snapshots yet",
	  refuse_snapshot_version, false, 0 },
	{ "--describe-snapshot", "FILE", "refused; there are no snapshots yet",
	  refuse_describe_snapshot, false, 0 },
	{ "--version", NULL, "show the version", option_set_true, false, AT(wants_version) },
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
