/* `televm ctl SOCK limits`: rate limits of a device, from keys to the body of a PATCH. */
#include "cli/ctl.h"
#include "cli/values.h"
#include "config/exit_status.h"

#include <errno.h>
#include <string.h>

/* An object of an object, made where it is not there. */
static json_t *make_member(json_t *object, const char *name)
{
	json_t *member = json_object_get(object, name);

	if (member == NULL && json_object_set_new(object, name, json_object()) == 0)
		member = json_object_get(object, name);
	return member;
}

/* "off" is a bucket without a size. */
static int set_bucket(json_t *limiter, const char *kind, uint64_t size, struct err *err)
{
	json_t *bucket = make_member(limiter, kind);

	if (json_object_set_new(bucket, "size", json_integer((json_int_t)size)) != 0 ||
	    json_object_set_new(bucket, "refill_time",
				json_integer(size == 0 ? 0 : VALUE_REFILL_MS)) != 0)
		return err_set(err, -ENOMEM, "no memory");
	return 0;
}

static int set_bandwidth(json_t *limiter, const char *value, struct err *err)
{
	uint64_t bytes = 0;
	int ret = 0;

	if (strcmp(value, "off") != 0)
		ret = value_bandwidth(value, ", or off", &bytes, err);
	return ret != 0 ? ret : set_bucket(limiter, "bandwidth", bytes, err);
}

static int set_ops(json_t *limiter, const char *value, struct err *err)
{
	uint64_t n = 0;
	int ret = 0;

	if (strcmp(value, "off") != 0)
		ret = value_ops(value, ", or off", &n, err);
	return ret != 0 ? ret : set_bucket(limiter, "ops", n, err);
}

static int disk_bandwidth(void *target, const char *value, struct err *err)
{
	return set_bandwidth(make_member(target, "rate_limiter"), value, err);
}

static int disk_ops(void *target, const char *value, struct err *err)
{
	return set_ops(make_member(target, "rate_limiter"), value, err);
}

static int rx_bandwidth(void *target, const char *value, struct err *err)
{
	return set_bandwidth(make_member(target, "rx_rate_limiter"), value, err);
}

static int rx_ops(void *target, const char *value, struct err *err)
{
	return set_ops(make_member(target, "rx_rate_limiter"), value, err);
}

static int tx_bandwidth(void *target, const char *value, struct err *err)
{
	return set_bandwidth(make_member(target, "tx_rate_limiter"), value, err);
}

static int tx_ops(void *target, const char *value, struct err *err)
{
	return set_ops(make_member(target, "tx_rate_limiter"), value, err);
}

static int net_bandwidth(void *target, const char *value, struct err *err)
{
	int ret = rx_bandwidth(target, value, err);

	return ret != 0 ? ret : tx_bandwidth(target, value, err);
}

static int net_ops(void *target, const char *value, struct err *err)
{
	int ret = rx_ops(target, value, err);

	return ret != 0 ? ret : tx_ops(target, value, err);
}

static const struct option_row disk_limits[] = {
	{ .name = "bandwidth", .value_name = "SIZE", .set = disk_bandwidth },
	{ .name = "ops", .value_name = "N", .set = disk_ops },
	{ 0 },
};

static const struct option_row net_limits[] = {
	{ .name = "bandwidth", .value_name = "SIZE", .set = net_bandwidth },
	{ .name = "ops", .value_name = "N", .set = net_ops },
	{ .name = "rx-bandwidth", .value_name = "SIZE", .set = rx_bandwidth },
	{ .name = "rx-ops", .value_name = "N", .set = rx_ops },
	{ .name = "tx-bandwidth", .value_name = "SIZE", .set = tx_bandwidth },
	{ .name = "tx-ops", .value_name = "N", .set = tx_ops },
	{ 0 },
};

int ctl_limits(struct ctl *ctl, int argc, char **argv)
{
	bool is_disk = strcmp(argv[0], "disk") == 0;
	json_t *body;

	(void)argc;
	if (!is_disk && strcmp(argv[0], "net") != 0)
		return ctl_bad_argument(ctl, "limits", argv[0], "disk or net");
	body = json_object();
	if (options_parse_keys(is_disk ? disk_limits : net_limits, argv[2], body, &ctl->err) != 0) {
		json_decref(body);
		return EXIT_STATUS_BAD_ARGUMENTS;
	}
	return is_disk ? ctl_patch_device(ctl, "/drives", "drive_id", argv[1], body)
		       : ctl_patch_device(ctl, "/network-interfaces", "iface_id", argv[1], body);
}
