/* Bodies of the machine and its devices. What is said of the rest: json_services.c, json_cpu.c. */
#include "config/config_json.h"
#include "config/json_fields.h"
#include "config/json_names.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ---- */

int json_parse_object(const char *text, size_t len, const char *what, json_t **object,
		      struct err *err)
{
	json_error_t error;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);

	if (root == NULL && json_error_code(&error) == json_error_out_of_memory)
		return err_set(err, -ENOMEM, "no memory for JSON of %zu bytes", len);
	if (root == NULL)
		return err_set(err, -EINVAL, "%s%s%s at line %d column %d",
			       what == NULL ? "" : what, what == NULL ? "" : ": ", error.text,
			       error.line, error.column);
	if (!json_is_object(root)) {
		json_refuse_type(root, "an object", err);
		if (what != NULL)
			err_prefix(err, "%s", what);
		json_decref(root);
		return -EINVAL;
	}
	*object = root;
	return 0;
}

int json_read_file(const char *path, uint64_t max, json_t **object, struct err *err)
{
	cleanup_free char *text = NULL;
	uint64_t size = 0;
	cleanup_close int fd = open_regular(path, &size, err);
	ssize_t len;

	if (fd < 0)
		return fd;
	if (size > max)
		return err_set(err, -EINVAL, "'%s' has %llu bytes, %llu at most", path,
			       (unsigned long long)size, (unsigned long long)max);
	text = malloc(size + 1);
	if (text == NULL)
		return err_set(err, -ENOMEM, "no memory for '%s'", path);
	len = pread_all(fd, text, size, 0);
	if (len < 0)
		return err_set(err, (int)len, "read '%s': %s", path, strerror((int)-len));
	return json_parse_object(text, (size_t)len, path, object, err);
}

/* ---- /boot-source ---- */

int boot_source_from_json(struct config_boot_source *boot, const json_t *body, struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "kernel_image_path",
		  .read = json_read_text,
		  JSON_AT(struct config_boot_source, kernel_path),
		  .is_required = true },
		{ .name = "initrd_path",
		  .read = json_read_text,
		  JSON_AT(struct config_boot_source, initrd_path) },
		{ .name = "boot_args",
		  .read = json_read_text,
		  JSON_AT(struct config_boot_source, boot_args) },
		{ 0 },
	};
	int ret = json_read_object(fields, FIELDS_STRICT, boot, body, NULL, err);

	if (ret != 0)
		config_boot_source_deinit(boot);
	return ret;
}

/* ---- /drives ---- */

static int refuse_vhost(const struct json_field *field, void *at, const json_t *value,
			struct err *err)
{
	(void)field;
	(void)at;
	(void)value;
	return err_set(err, -EINVAL,
		       "vhost-user disks are not supported; `path_on_host` is needed");
}

int disk_from_json(struct config_disk *disk, const json_t *body, struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "drive_id",
		  .read = json_read_text,
		  JSON_AT(struct config_disk, id),
		  .is_required = true },
		{ .name = "partuuid",
		  .read = json_read_text,
		  JSON_AT(struct config_disk, partuuid) },
		{ .name = "is_root_device",
		  .read = json_read_bool,
		  JSON_AT(struct config_disk, is_root),
		  .is_required = true },
		{ .name = "cache_type",
		  .read = json_read_choice,
		  JSON_AT(struct config_disk, cache),
		  JSON_NAMES(json_cache_names) },
		{ .name = "is_read_only",
		  .read = json_read_bool,
		  JSON_AT(struct config_disk, is_read_only) },
		{ .name = "path_on_host",
		  .read = json_read_text,
		  JSON_AT(struct config_disk, path),
		  .is_required = true },
		{ .name = "rate_limiter",
		  .read = json_read_limits,
		  JSON_AT(struct config_disk, limits) },
		{ .name = "io_engine",
		  .read = json_read_choice,
		  JSON_AT(struct config_disk, engine),
		  JSON_NAMES(json_engine_names) },
		{ .name = "socket", .read = refuse_vhost },
		{ 0 },
	};
	int ret = json_read_object(fields, FIELDS_STRICT, disk, body, NULL, err);

	if (ret != 0)
		config_disk_deinit(disk);
	return ret;
}

struct disk_patch {
	char *id;
	char *path;
	struct rate_limiter_config limits;
};

int disk_patch_from_json(const char *id, char **path, struct rate_limiter_config *limits,
			 const json_t *body, struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "drive_id",
		  .read = json_read_text,
		  JSON_AT(struct disk_patch, id),
		  .is_required = true },
		{ .name = "path_on_host",
		  .read = json_read_text,
		  JSON_AT(struct disk_patch, path) },
		{ .name = "rate_limiter",
		  .read = json_read_limits,
		  JSON_AT(struct disk_patch, limits) },
		{ 0 },
	};
	struct disk_patch patch = { .limits = *limits };
	int ret = json_read_object(fields, FIELDS_STRICT, &patch, body, NULL, err);

	*path = NULL;
	if (ret == 0 && strcmp(patch.id, id) != 0)
		ret = err_set(err, -ESRCH,
			      "The id from the path does not match the id from the body!");
	if (ret == 0) {
		*path = take_ptr(patch.path);
		*limits = patch.limits;
	}
	free(patch.path);
	free(patch.id);
	return ret;
}

/* ---- /network-interfaces ---- */

struct net_body {
	struct config_net net;
	bool is_user;
};

static int read_mac(const struct json_field *field, void *at, const json_t *value, struct err *err)
{
	const char *text;
	int ret = json_get_text(value, &text, err);

	(void)field;
	return ret != 0 ? ret : config_set_mac(at, text, err);
}

/* 0 would mean that none is told. */
static int read_mtu(const struct json_field *field, void *at, const json_t *value, struct err *err)
{
	int ret = json_read_uint(field, at, value, err);

	if (ret == 0 && *(uint16_t *)at == 0)
		return err_set(err, -EINVAL, "invalid value: integer `0`, expected 68 to 65535");
	return ret;
}

static int complete_net(struct net_body *body, struct err *err)
{
	if (body->is_user && body->net.tap != NULL)
		return err_set(err, -EINVAL, "`host_dev_name` and `user` exclude each other");
	if (!body->is_user && body->net.tap == NULL)
		return err_set(err, -EINVAL, "missing field `host_dev_name`");
	body->net.kind = body->is_user ? CONFIG_NET_USER : CONFIG_NET_TAP;
	return 0;
}

int net_from_json(struct config_net *net, const json_t *body, struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "iface_id",
		  .read = json_read_text,
		  JSON_AT(struct net_body, net.id),
		  .is_required = true },
		{ .name = "host_dev_name",
		  .read = json_read_text,
		  JSON_AT(struct net_body, net.tap) },
		{ .name = "guest_mac", .read = read_mac, JSON_AT(struct net_body, net) },
		{ .name = "mtu", .read = read_mtu, JSON_AT(struct net_body, net.mtu), .bits = 16 },
		{ .name = "rx_rate_limiter",
		  .read = json_read_limits,
		  JSON_AT(struct net_body, net.rx) },
		{ .name = "tx_rate_limiter",
		  .read = json_read_limits,
		  JSON_AT(struct net_body, net.tx) },
		{ .name = "user", .read = json_read_bool, JSON_AT(struct net_body, is_user) },
		{ .name = "reaches_host",
		  .read = json_read_bool,
		  JSON_AT(struct net_body, net.reaches_host) },
		{ .name = "vhost",
		  .read = json_read_bool,
		  JSON_AT(struct net_body, net.has_vhost) },
		{ 0 },
	};
	struct net_body parsed = { 0 };
	int ret = json_read_object(fields, FIELDS_STRICT, &parsed, body, NULL, err);

	if (ret == 0)
		ret = complete_net(&parsed, err);
	if (ret != 0)
		config_net_deinit(&parsed.net);
	*net = parsed.net;
	return ret;
}

struct net_patch {
	char *id;
	struct rate_limiter_config rx, tx;
};

int net_patch_from_json(const char *id, struct rate_limiter_config *rx,
			struct rate_limiter_config *tx, const json_t *body, struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "iface_id",
		  .read = json_read_text,
		  JSON_AT(struct net_patch, id),
		  .is_required = true },
		{ .name = "rx_rate_limiter",
		  .read = json_read_limits,
		  JSON_AT(struct net_patch, rx) },
		{ .name = "tx_rate_limiter",
		  .read = json_read_limits,
		  JSON_AT(struct net_patch, tx) },
		{ 0 },
	};
	struct net_patch patch = { .rx = *rx, .tx = *tx };
	int ret = json_read_object(fields, FIELDS_STRICT, &patch, body, NULL, err);

	if (ret == 0 && strcmp(patch.id, id) != 0)
		ret = err_set(err, -ESRCH,
			      "The id from the path [%s] does not match the id from the body "
			      "[%.*s]!",
			      id, json_cut(patch.id, CONFIG_ID_MAX), patch.id);
	if (ret == 0) {
		*rx = patch.rx;
		*tx = patch.tx;
	}
	free(patch.id);
	return ret;
}

/* ---- /vsock ---- */

struct vsock_body {
	struct config_vsock vsock;
	char *id;
};

int vsock_from_json(struct config_vsock *vsock, const json_t *body, struct json_notes *notes,
		    struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "guest_cid",
		  .read = json_read_uint,
		  JSON_AT(struct vsock_body, vsock.guest_cid),
		  .bits = 32,
		  .is_required = true },
		{ .name = "uds_path",
		  .read = json_read_text,
		  JSON_AT(struct vsock_body, vsock.path),
		  .is_required = true },
		{ .name = "vsock_id", .read = json_read_text, JSON_AT(struct vsock_body, id) },
		{ 0 },
	};
	struct vsock_body parsed = { 0 };
	int ret = json_read_object(fields, FIELDS_STRICT, &parsed, body, NULL, err);

	if (ret != 0)
		config_vsock_deinit(&parsed.vsock);
	else if (parsed.id != NULL)
		notes->is_deprecated = true;
	free(parsed.id);
	*vsock = parsed.vsock;
	return ret;
}

/* ---- /balloon ---- */

int balloon_from_json(struct config_balloon *balloon, const json_t *body, struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "amount_mib",
		  .read = json_read_uint,
		  JSON_AT(struct config_balloon, options.target_mib),
		  .bits = 32,
		  .is_required = true },
		{ .name = "deflate_on_oom",
		  .read = json_read_bool,
		  JSON_AT(struct config_balloon, options.deflate_on_oom),
		  .is_required = true },
		{ .name = "stats_polling_interval_s",
		  .read = json_read_uint,
		  JSON_AT(struct config_balloon, options.stats_interval_s),
		  .bits = 16 },
		{ .name = "free_page_hinting",
		  .read = json_read_bool,
		  JSON_AT(struct config_balloon, options.hinting) },
		{ .name = "free_page_reporting",
		  .read = json_read_bool,
		  JSON_AT(struct config_balloon, options.reporting) },
		{ 0 },
	};
	int ret = json_read_object(fields, FIELDS_STRICT, balloon, body, NULL, err);

	if (ret != 0)
		*balloon = (struct config_balloon){ 0 };
	balloon->is_wanted = ret == 0;
	return ret;
}

int hinting_from_json(bool *acknowledge_on_stop, const json_t *body, struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "acknowledge_on_stop", .read = json_read_bool },
		{ 0 },
	};

	*acknowledge_on_stop = true;
	return body == NULL ? 0
			    : json_read_object(fields, FIELDS_STRICT, acknowledge_on_stop, body,
					       NULL, err);
}

/* ---- /entropy, /serial ---- */

int rng_from_json(struct config_rng *rng, const json_t *body, struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "rate_limiter",
		  .read = json_read_limits,
		  JSON_AT(struct config_rng, limits) },
		{ 0 },
	};
	int ret = json_read_object(fields, FIELDS_STRICT, rng, body, NULL, err);

	if (ret != 0)
		*rng = (struct config_rng){ 0 };
	rng->is_wanted = ret == 0;
	return ret;
}

int serial_from_json(struct config_serial *serial, const json_t *body, struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "serial_out_path",
		  .read = json_read_text,
		  JSON_AT(struct config_serial, out_path) },
		{ .name = "rate_limiter",
		  .read = json_read_bucket,
		  JSON_AT(struct config_serial, limit) },
		{ 0 },
	};
	int ret = json_read_object(fields, FIELDS_STRICT, serial, body, NULL, err);

	if (ret != 0)
		config_serial_deinit(serial);
	return ret;
}

/* ---- /machine-config ---- */

enum { MACHINE_CPU_TEMPLATE = 3 }; /* its row */

static const char *const template_names[] = { "C3", "T2", "T2S", "T2CL", "T2A", "V1N1", "None" };

static int read_template(const struct json_field *field, void *at, const json_t *value,
			 struct err *err)
{
	unsigned int place;
	struct json_field choice = *field;
	int ret;

	(void)at;
	choice.size = sizeof(place);
	ret = json_read_choice(&choice, &place, value, err);
	if (ret != 0 || strcmp(template_names[place], "None") == 0)
		return ret;
	return err_set(err, -EINVAL, "the template `%s` is for %s hosts; on RISC-V use /cpu-config",
		       template_names[place],
		       strcmp(template_names[place], "V1N1") == 0 ? "ARM" : "x86");
}

int machine_from_json(struct config_machine *machine, const json_t *body, bool is_patch,
		      struct json_notes *notes, struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "vcpu_count",
		  .read = json_read_uint,
		  JSON_AT(struct config_machine, vcpu_count),
		  .bits = 8,
		  .is_required = true },
		{ .name = "mem_size_mib",
		  .read = json_read_uint,
		  JSON_AT(struct config_machine, mem_mib),
		  .bits = 64,
		  .is_required = true },
		{ .name = "smt", .read = json_read_bool, JSON_AT(struct config_machine, smt) },
		[MACHINE_CPU_TEMPLATE] = { .name = "cpu_template",
					   .read = read_template,
					   JSON_NAMES(template_names) },
		{ .name = "track_dirty_pages",
		  .read = json_read_bool,
		  JSON_AT(struct config_machine, track_dirty_pages) },
		{ .name = "huge_pages",
		  .read = json_read_choice,
		  JSON_AT(struct config_machine, pages),
		  JSON_NAMES(json_pages_names) },
		{ 0 },
	};
	struct config_machine parsed = is_patch ? *machine : (struct config_machine){ 0 };
	uint32_t seen;
	int ret = json_read_object(fields, is_patch ? FIELDS_PARTIAL : FIELDS_STRICT, &parsed, body,
				   &seen, err);

	if (ret != 0)
		return ret;
	if (seen == 0)
		return err_set(err, -ENODATA, "Empty PATCH request.");
	if ((seen & BIT(MACHINE_CPU_TEMPLATE)) != 0)
		notes->is_deprecated = true;
	*machine = parsed;
	return 0;
}

/* ---- bodies of one field ---- */

int json_one_uint(const json_t *body, const char *name, uint64_t max, uint64_t *value,
		  struct err *err)
{
	const struct json_field fields[] = {
		{ .name = name,
		  .read = json_read_uint,
		  .size = sizeof(*value),
		  .bits = 64 - (unsigned int)__builtin_clzll(max),
		  .is_required = true },
		{ 0 },
	};

	return json_read_object(fields, FIELDS_STRICT, value, body, NULL, err);
}

int json_one_name(const json_t *body, const char *name, const char *const names[],
		  unsigned int n_names, unsigned int *value, struct err *err)
{
	const struct json_field fields[] = {
		{ .name = name,
		  .read = json_read_choice,
		  .size = sizeof(*value),
		  .names = names,
		  .n_names = n_names,
		  .is_required = true },
		{ 0 },
	};

	return json_read_object(fields, FIELDS_STRICT, value, body, NULL, err);
}
