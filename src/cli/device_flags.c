#include "cli/device_flags.h"

#include "cli/options.h"
#include "cli/values.h"
#include "config/config.h"
#include "util/cleanup.h"
#include "util/parse.h"

#include <errno.h>
#include <string.h>

/* ---- values ---- */

static int set_bandwidth(struct rate_limiter_config *limits, const char *value, struct err *err)
{
	limits->bandwidth.refill_ms = VALUE_REFILL_MS;
	return value_bandwidth(value, "", &limits->bandwidth.size, err);
}

static int set_ops(struct rate_limiter_config *limits, const char *value, struct err *err)
{
	limits->ops.refill_ms = VALUE_REFILL_MS;
	return value_ops(value, "", &limits->ops.size, err);
}

/* ---- disks ---- */

static int disk_partuuid(void *target, const char *value, struct err *err)
{
	struct config_disk *disk = target;

	disk->is_root = true;
	return vm_config_set_string(&disk->partuuid, value, err);
}

static int disk_engine(void *target, const char *value, struct err *err)
{
	return config_set_engine(target, value, err);
}

static int disk_cache(void *target, const char *value, struct err *err)
{
	return config_set_cache(target, value, err);
}

static int disk_bandwidth(void *target, const char *value, struct err *err)
{
	return set_bandwidth(&((struct config_disk *)target)->limits, value, err);
}

static int disk_ops(void *target, const char *value, struct err *err)
{
	return set_ops(&((struct config_disk *)target)->limits, value, err);
}

static const struct option_row disk_keys[] = {
	{ .name = "ro",
	  .set = option_set_true,
	  .offset = offsetof(struct config_disk, is_read_only) },
	{ .name = "root", .set = option_set_true, .offset = offsetof(struct config_disk, is_root) },
	{ .name = "partuuid", .value_name = "UUID", .set = disk_partuuid },
	{ .name = "id",
	  .value_name = "NAME",
	  .set = option_set_string,
	  .offset = offsetof(struct config_disk, id) },
	{ .name = "engine", .value_name = "sync|uring", .set = disk_engine },
	{ .name = "cache", .value_name = "writeback|unsafe", .set = disk_cache },
	{ .name = "bandwidth", .value_name = "SIZE", .set = disk_bandwidth },
	{ .name = "ops", .value_name = "N", .set = disk_ops },
	{ 0 },
};

static int parse_keys(const char *flag, const struct option_row *rows, char *keys, void *target,
		      struct err *err)
{
	int ret = options_parse_keys(rows, keys, target, err);

	if (ret < 0)
		err_prefix(err, "%s", flag);
	return ret;
}

int set_disk_flag(void *target, const char *value, struct err *err)
{
	struct vm_config *config = target;
	cleanup_free char *path = strdup(value);
	char *keys = path;
	struct config_disk *disk;
	int ret;

	if (path == NULL)
		return err_sys(err, "--disk");
	if (options_cut_item(&keys)[0] == '\0')
		return err_set(err, -EINVAL, "--disk: no file is given, it stands before the keys");
	if (config->n_disks == CONFIG_DISKS_MAX)
		return err_set(err, -EINVAL, "--disk: more than %d disks", CONFIG_DISKS_MAX);
	disk = &config->disks[config->n_disks++];
	*disk = (struct config_disk){ .cache = BLK_CACHE_WRITEBACK };
	ret = vm_config_set_string(&disk->path, path, err);
	return ret != 0 || keys == NULL ? ret : parse_keys("--disk", disk_keys, keys, disk, err);
}

/* ---- networks ---- */

static int set_kind(struct config_net *net, enum config_net_kind kind, struct err *err)
{
	if (net->kind != CONFIG_NET_NONE)
		return err_set(err, -EINVAL, "'tap' and 'user' exclude each other");
	net->kind = kind;
	return 0;
}

static int net_tap(void *target, const char *value, struct err *err)
{
	struct config_net *net = target;
	int ret = set_kind(net, CONFIG_NET_TAP, err);

	return ret != 0 ? ret : vm_config_set_string(&net->tap, value, err);
}

static int net_user(void *target, const char *value, struct err *err)
{
	(void)value;
	return set_kind(target, CONFIG_NET_USER, err);
}

static int net_mac(void *target, const char *value, struct err *err)
{
	int ret = config_set_mac(target, value, err);

	if (ret < 0)
		err_prefix(err, "mac");
	return ret;
}

static int net_mtu(void *target, const char *value, struct err *err)
{
	uint64_t mtu;

	/* 0 would mean that none is told. */
	if (parse_uint(value, UINT16_MAX, &mtu) != 0 || mtu == 0)
		return err_set(err, -EINVAL, "mtu: '%.64s' is not a number of bytes", value);
	((struct config_net *)target)->mtu = (uint16_t)mtu;
	return 0;
}

static int net_bandwidth(void *target, const char *value, struct err *err)
{
	struct config_net *net = target;
	int ret = set_bandwidth(&net->rx, value, err);

	net->tx.bandwidth = net->rx.bandwidth;
	return ret;
}

static int net_ops(void *target, const char *value, struct err *err)
{
	struct config_net *net = target;
	int ret = set_ops(&net->rx, value, err);

	net->tx.ops = net->rx.ops;
	return ret;
}

static const struct option_row net_keys[] = {
	{ .name = "tap", .value_name = "NAME", .set = net_tap },
	{ .name = "user", .set = net_user },
	{ .name = "host",
	  .set = option_set_true,
	  .offset = offsetof(struct config_net, reaches_host) },
	{ .name = "vhost",
	  .set = option_set_true,
	  .offset = offsetof(struct config_net, has_vhost) },
	{ .name = "id",
	  .value_name = "NAME",
	  .set = option_set_string,
	  .offset = offsetof(struct config_net, id) },
	{ .name = "mac", .value_name = "ADDRESS", .set = net_mac },
	{ .name = "mtu", .value_name = "BYTES", .set = net_mtu },
	{ .name = "bandwidth", .value_name = "SIZE", .set = net_bandwidth },
	{ .name = "ops", .value_name = "N", .set = net_ops },
	{ 0 },
};

int set_net_flag(void *target, const char *value, struct err *err)
{
	struct vm_config *config = target;
	cleanup_free char *keys = NULL;

	if (config->n_nets == CONFIG_NETS_MAX)
		return err_set(err, -EINVAL, "--net: more than %d networks", CONFIG_NETS_MAX);
	keys = strdup(value);
	if (keys == NULL)
		return err_sys(err, "--net");
	return parse_keys("--net", net_keys, keys, &config->nets[config->n_nets++], err);
}

/* ---- vsock ---- */

static int vsock_cid(void *target, const char *value, struct err *err)
{
	struct config_vsock *vsock = target;

	if (parse_uint(value, UINT64_MAX, &vsock->guest_cid) != 0)
		return err_set(err, -EINVAL, "cid: '%.64s' is not a number", value);
	return 0;
}

static const struct option_row vsock_keys[] = {
	{ .name = "cid", .value_name = "N", .set = vsock_cid },
	{ .name = "path",
	  .value_name = "FILE",
	  .set = option_set_string,
	  .offset = offsetof(struct config_vsock, path) },
	{ 0 },
};

int set_vsock_flag(void *target, const char *value, struct err *err)
{
	struct vm_config *config = target;
	cleanup_free char *keys = strdup(value);
	int ret;

	if (keys == NULL)
		return err_sys(err, "--vsock");
	ret = parse_keys("--vsock", vsock_keys, keys, &config->vsock, err);
	/* Without a path there would be no device, and nobody told. */
	if (ret == 0 && config->vsock.path == NULL)
		return err_set(err, -EINVAL, "--vsock: 'path' is missing: cid=N,path=FILE");
	if (ret == 0 && config->vsock.guest_cid == 0)
		return err_set(err, -EINVAL,
			       "--vsock: a 'cid' from 3 on is missing: cid=N,path=FILE");
	return ret;
}

/* ---- balloon ---- */

static int balloon_size(void *target, const char *value, struct err *err)
{
	return value_mib("size", value, &((struct balloon_config *)target)->target_mib, err);
}

static int balloon_stats(void *target, const char *value, struct err *err)
{
	uint64_t seconds;

	if (parse_uint(value, UINT16_MAX, &seconds) != 0)
		return err_set(err, -EINVAL, "stats: '%.64s' is not a number of seconds", value);
	((struct balloon_config *)target)->stats_interval_s = (unsigned int)seconds;
	return 0;
}

static const struct option_row balloon_keys[] = {
	{ .name = "size", .value_name = "SIZE", .set = balloon_size },
	{ .name = "stats", .value_name = "SECONDS", .set = balloon_stats },
	{ .name = "deflate-on-oom",
	  .set = option_set_true,
	  .offset = offsetof(struct balloon_config, deflate_on_oom) },
	{ .name = "reporting",
	  .set = option_set_true,
	  .offset = offsetof(struct balloon_config, reporting) },
	{ 0 },
};

int set_balloon_flag(void *target, const char *value, struct err *err)
{
	struct vm_config *config = target;
	cleanup_free char *keys = strdup(value);

	if (keys == NULL)
		return err_sys(err, "--balloon");
	config->balloon.is_wanted = true;
	return parse_keys("--balloon", balloon_keys, keys, &config->balloon.options, err);
}

/* ---- rng ---- */

/* What the keys of --rng say, which may contradict each other. */
struct rng_words {
	struct config_rng *rng;
	bool is_on;
	bool is_off;
};

static int rng_bandwidth(void *target, const char *value, struct err *err)
{
	return set_bandwidth(&((struct rng_words *)target)->rng->limits, value, err);
}

static const struct option_row rng_keys[] = {
	{ .name = "on", .set = option_set_true, .offset = offsetof(struct rng_words, is_on) },
	{ .name = "off", .set = option_set_true, .offset = offsetof(struct rng_words, is_off) },
	{ .name = "bandwidth", .value_name = "SIZE", .set = rng_bandwidth },
	{ 0 },
};

int set_rng_flag(void *target, const char *value, struct err *err)
{
	struct vm_config *config = target;
	cleanup_free char *keys = strdup(value);
	struct rng_words words = { .rng = &config->rng };
	int ret;

	if (keys == NULL)
		return err_sys(err, "--rng");
	ret = parse_keys("--rng", rng_keys, keys, &words, err);
	if (ret != 0)
		return ret;
	if (words.is_off && (words.is_on || config->rng.limits.bandwidth.size != 0))
		return err_set(err, -EINVAL, "--rng: 'off' goes with no other key");
	config->rng.is_wanted = !words.is_off;
	return 0;
}
