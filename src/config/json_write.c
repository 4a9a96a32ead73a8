/* The configuration in Firecracker's form, and under "televm" what has no place there. */
#include "config/json_write.h"

#include "config/config_json.h"
#include "config/json_cpu.h"
#include "config/json_names.h"
#include "util/bits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void hide_other_bytes(char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text >= 0x80)
			*text = '?';
	}
}

json_t *json_from_text(const char *text)
{
	json_t *string;
	char *copy;

	if (text == NULL)
		return json_null();
	string = json_string(text);
	if (string != NULL)
		return string;
	copy = strdup(text);
	if (copy == NULL)
		return NULL;
	hide_other_bytes(copy);
	string = json_string(copy);
	free(copy);
	return string;
}

void json_add(json_t **list, json_t *item)
{
	if (*list != NULL && json_array_append_new(*list, item) == 0)
		return;
	if (*list == NULL)
		json_decref(item);
	json_decref(*list);
	*list = NULL;
}

/* jansson has 63 bits; no bucket holds more (backend/rate_limiter.c). */
static json_t *from_uint(uint64_t number)
{
	return json_integer((json_int_t)MIN(number, (uint64_t)INT64_MAX));
}

static json_t *bucket_to_json(const struct token_bucket_config *bucket)
{
	if (bucket->size == 0)
		return json_null();
	return json_pack("{s:o, s:o, s:o}", "size", from_uint(bucket->size), "one_time_burst",
			 bucket->one_time_burst == 0 ? json_null()
						     : from_uint(bucket->one_time_burst),
			 "refill_time", from_uint(bucket->refill_ms));
}

static json_t *limits_to_json(const struct rate_limiter_config *limits)
{
	if (!rate_limiter_config_has_limit(limits))
		return json_null();
	return json_pack("{s:o, s:o}", "bandwidth", bucket_to_json(&limits->bandwidth), "ops",
			 bucket_to_json(&limits->ops));
}

/* ---- the machine ---- */

static json_t *boot_source_to_json(const struct vm_config *config)
{
	const char *args = config->is_api_form ? config->boot_args : config->cmdline;

	if (config->kernel_path == NULL)
		return json_null();
	return json_pack("{s:o, s:o, s:o}", "kernel_image_path",
			 json_from_text(config->kernel_path), "initrd_path",
			 json_from_text(config->initrd_path), "boot_args", json_from_text(args));
}

json_t *machine_to_json(const struct vm_config *config)
{
	return json_pack("{s:o, s:o, s:b, s:b, s:s}", "vcpu_count", from_uint(config->vcpu_count),
			 "mem_size_mib", from_uint(config->mem_bytes / MIB), "smt", config->smt,
			 "track_dirty_pages", config->track_dirty_pages, "huge_pages",
			 json_pages_names[config->pages]);
}

/* ---- devices ---- */

static json_t *disk_to_json(const struct config_disk *disk)
{
	return json_pack("{s:o, s:o, s:b, s:s, s:b, s:o, s:o, s:s, s:n}", "drive_id",
			 json_from_text(disk->id), "partuuid", json_from_text(disk->partuuid),
			 "is_root_device", disk->is_root, "cache_type",
			 json_cache_names[disk->cache], "is_read_only", disk->is_read_only,
			 "path_on_host", json_from_text(disk->path), "rate_limiter",
			 limits_to_json(&disk->limits), "io_engine",
			 json_engine_names[disk->engine], "socket");
}

static json_t *disks_to_json(const struct vm_config *config)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < config->n_disks; i++)
		json_add(&list, disk_to_json(&config->disks[i]));
	return list;
}

static json_t *mac_to_json(const struct config_net *net)
{
	const uint8_t *mac = net->mac;
	char text[18];

	if (!net->has_mac)
		return json_null();
	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		 mac[3], mac[4], mac[5]);
	return json_string(text);
}

/* \param object becomes NULL when there is no memory */
static void set_own(json_t **object, const char *name, bool value)
{
	if (json_object_set_new(*object, name, json_boolean(value)) == 0)
		return;
	json_decref(*object);
	*object = NULL;
}

/* What Firecracker does not know is there only where it says something. */
static json_t *net_to_json(const struct config_net *net)
{
	json_t *object = json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o}", "iface_id", json_from_text(net->id),
		"host_dev_name", json_from_text(net->tap), "guest_mac", mac_to_json(net), "mtu",
		net->mtu == 0 ? json_null() : from_uint(net->mtu), "rx_rate_limiter",
		limits_to_json(&net->rx), "tx_rate_limiter", limits_to_json(&net->tx));

	if (net->kind == CONFIG_NET_USER) {
		set_own(&object, "user", true);
		set_own(&object, "reaches_host", net->reaches_host);
	}
	if (net->has_vhost)
		set_own(&object, "vhost", true);
	return object;
}

static json_t *nets_to_json(const struct vm_config *config)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < config->n_nets; i++)
		json_add(&list, net_to_json(&config->nets[i]));
	return list;
}

static json_t *vsock_to_json(const struct config_vsock *vsock)
{
	if (vsock->path == NULL)
		return json_null();
	return json_pack("{s:o, s:o}", "guest_cid", from_uint(vsock->guest_cid), "uds_path",
			 json_from_text(vsock->path));
}

json_t *balloon_to_json(const struct config_balloon *balloon)
{
	const struct balloon_config *options = &balloon->options;

	if (!balloon->is_wanted)
		return json_null();
	return json_pack("{s:o, s:b, s:o, s:b, s:b}", "amount_mib", from_uint(options->target_mib),
			 "deflate_on_oom", options->deflate_on_oom, "stats_polling_interval_s",
			 from_uint(options->stats_interval_s), "free_page_hinting",
			 options->hinting, "free_page_reporting", options->reporting);
}

static json_t *rng_to_json(const struct config_rng *rng)
{
	if (!rng->is_wanted)
		return json_null();
	return json_pack("{s:o}", "rate_limiter", limits_to_json(&rng->limits));
}

/* ---- services ---- */

static json_t *serial_to_json(const struct config_serial *serial)
{
	if (serial->out_path == NULL && serial->limit.size == 0)
		return json_null();
	return json_pack("{s:o, s:o}", "serial_out_path", json_from_text(serial->out_path),
			 "rate_limiter", bucket_to_json(&serial->limit));
}

static json_t *mmds_to_json(const struct config_mmds *mmds)
{
	json_t *nets;
	char ipv4[16];

	if (!mmds->is_set)
		return json_null();
	nets = json_array();
	for (unsigned int i = 0; i < mmds->n_nets; i++)
		json_add(&nets, json_from_text(mmds->nets[i]));
	snprintf(ipv4, sizeof(ipv4), "%u.%u.%u.%u", mmds->ipv4 >> 24, mmds->ipv4 >> 16 & 0xff,
		 mmds->ipv4 >> 8 & 0xff, mmds->ipv4 & 0xff);
	return json_pack("{s:s, s:o, s:s, s:b}", "version", mmds->version == 2 ? "V2" : "V1",
			 "network_interfaces", nets, "ipv4_address", ipv4, "imds_compat",
			 mmds->imds_compat);
}

static json_t *logger_to_json(const struct config_logger *logger)
{
	bool is_set = logger->path != NULL || logger->has_level || logger->module != NULL ||
		      logger->show_level || logger->show_origin;

	if (!is_set)
		return json_null();
	return json_pack(
		"{s:o, s:o, s:b, s:b, s:o}", "log_path", json_from_text(logger->path), "level",
		logger->has_level ? json_string(json_level_names[logger->level]) : json_null(),
		"show_level", logger->show_level, "show_log_origin", logger->show_origin, "module",
		json_from_text(logger->module));
}

static json_t *properties_to_json(const struct config_metrics *config)
{
	json_t *object;

	if (config->n_properties == 0)
		return json_null();
	object = json_object();
	for (unsigned int i = 0; i < config->n_properties && object != NULL; i++) {
		const struct config_property *property = &config->properties[i];

		if (json_object_set_new(object, property->name, json_from_text(property->value)) !=
		    0) {
			json_decref(object);
			object = NULL;
		}
	}
	return object;
}

static json_t *metrics_config_to_json(const struct config_metrics *config)
{
	if (config->path == NULL)
		return json_null();
	return json_pack("{s:o, s:b, s:o}", "metrics_path", json_from_text(config->path), "emit_id",
			 config->emit_id, "properties", properties_to_json(config));
}

/* ---- all ---- */

/* Put \p item, which is given away, beside what a default configuration does not say. */
static bool add_unless(bool is_default, json_t *object, const char *name, json_t *item)
{
	if (!is_default)
		return json_object_set_new(object, name, item) == 0;
	json_decref(item);
	return true;
}

static json_t *televm_to_json(const struct vm_config *config)
{
	bool is_exact = !config->is_api_form || config->has_exact_cmdline;
	json_t *serial = serial_to_json(&config->serial);
	json_t *object = json_object();
	bool is_done;

	is_done = add_unless(config->irqchip == CONFIG_IRQCHIP_AUTO, object, "irqchip",
			     json_string(vm_config_irqchip_name(config->irqchip)));
	is_done &= add_unless(config->console == CONFIG_CONSOLE_SERIAL, object, "console",
			      json_string(vm_config_console_name(config->console)));
	is_done &= add_unless(!config->copy_kernel, object, "copy_kernel", json_true());
	is_done &= add_unless(!is_exact, object, "exact_cmdline", json_true());
	is_done &= add_unless(!config->has_boot_timer, object, "boot_timer", json_true());
	is_done &= add_unless(json_is_null(serial), object, "serial", serial);
	if (is_done && object != NULL)
		return object;
	json_decref(object);
	return NULL;
}

json_t *vm_config_to_json(const struct vm_config *config)
{
	json_t *own = televm_to_json(config);
	json_t *root;

	if (own == NULL)
		return NULL;
	root = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:[], s:n}",
			 "boot-source", boot_source_to_json(config), "machine-config",
			 machine_to_json(config), "cpu-config", cpu_to_json(&config->cpu), "drives",
			 disks_to_json(config), "network-interfaces", nets_to_json(config), "vsock",
			 vsock_to_json(&config->vsock), "balloon",
			 balloon_to_json(&config->balloon), "entropy", rng_to_json(&config->rng),
			 "mmds-config", mmds_to_json(&config->mmds), "logger",
			 logger_to_json(&config->logger), "metrics",
			 metrics_config_to_json(&config->metrics), "pmem", "memory-hotplug");
	if (root != NULL && json_object_size(own) > 0) {
		if (json_object_set_new(root, "televm", own) == 0)
			return root;
		json_decref(root);
		return NULL;
	}
	json_decref(own);
	return root;
}
