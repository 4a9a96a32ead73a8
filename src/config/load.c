/*
 * A configuration file: one JSON object with a part for each body of the API. Parts are taken in an
 * order in which each finds what it is judged by; a file's own order means nothing.
 */
#include "config/config_json.h"
#include "config/json_fields.h"
#include "util/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 20 };

static int read_file(const char *path, json_t **object, struct err *err)
{
	return json_read_file(path, FILE_MAX, object, err);
}

/* ---- parts; each takes a value that is not null ---- */

typedef int load_part(struct vm_config *config, const json_t *value, struct json_notes *notes,
		      struct err *err);

static int load_machine(struct vm_config *config, const json_t *value, struct json_notes *notes,
			struct err *err)
{
	struct config_machine machine = { 0 };
	int ret = machine_from_json(&machine, value, false, notes, err);

	return ret != 0 ? ret : vm_config_put_machine(config, &machine, err);
}

static int load_boot_source(struct vm_config *config, const json_t *value, struct json_notes *notes,
			    struct err *err)
{
	struct config_boot_source boot = { 0 };
	int ret = boot_source_from_json(&boot, value, err);

	(void)notes;
	return ret != 0 ? ret : vm_config_put_boot_source(config, &boot, err);
}

/* The part itself, or the name of a file that has it. */
static int load_cpu(struct vm_config *config, const json_t *value, struct json_notes *notes,
		    struct err *err)
{
	struct config_cpu cpu = { 0 };
	json_t *in_file = NULL;
	int ret = 0;

	(void)notes;
	if (json_is_string(value)) {
		ret = read_file(json_string_value(value), &in_file, err);
		value = in_file;
	}
	if (ret == 0)
		ret = cpu_from_json(&cpu, value, err);
	json_decref(in_file);
	return ret != 0 ? ret : vm_config_put_cpu(config, &cpu, err);
}

static int load_disk(struct vm_config *config, const json_t *value, struct json_notes *notes,
		     struct err *err)
{
	struct config_disk disk = { 0 };
	int ret = disk_from_json(&disk, value, err);

	(void)notes;
	return ret != 0 ? ret : vm_config_put_disk(config, &disk, err);
}

static int load_net(struct vm_config *config, const json_t *value, struct json_notes *notes,
		    struct err *err)
{
	struct config_net net = { 0 };
	int ret = net_from_json(&net, value, err);

	(void)notes;
	return ret != 0 ? ret : vm_config_put_net(config, &net, err);
}

static int load_list(struct vm_config *config, const json_t *value, load_part *load,
		     struct json_notes *notes, struct err *err)
{
	size_t i;
	json_t *item;

	if (!json_is_array(value))
		return json_refuse_type(value, "a sequence", err);
	json_array_foreach(value, i, item)
	{
		int ret = load(config, item, notes, err);

		if (ret != 0) {
			err_prefix(err, "%zu", i);
			return ret;
		}
	}
	return 0;
}

static int load_disks(struct vm_config *config, const json_t *value, struct json_notes *notes,
		      struct err *err)
{
	return load_list(config, value, load_disk, notes, err);
}

static int load_nets(struct vm_config *config, const json_t *value, struct json_notes *notes,
		     struct err *err)
{
	return load_list(config, value, load_net, notes, err);
}

static int load_vsock(struct vm_config *config, const json_t *value, struct json_notes *notes,
		      struct err *err)
{
	struct config_vsock vsock = { 0 };
	int ret = vsock_from_json(&vsock, value, notes, err);

	return ret != 0 ? ret : vm_config_put_vsock(config, &vsock, err);
}

static int load_balloon(struct vm_config *config, const json_t *value, struct json_notes *notes,
			struct err *err)
{
	struct config_balloon balloon = { 0 };
	int ret = balloon_from_json(&balloon, value, err);

	(void)notes;
	return ret != 0 ? ret : vm_config_put_balloon(config, &balloon, err);
}

static int load_rng(struct vm_config *config, const json_t *value, struct json_notes *notes,
		    struct err *err)
{
	struct config_rng rng = { 0 };
	int ret = rng_from_json(&rng, value, err);

	(void)notes;
	return ret != 0 ? ret : vm_config_put_rng(config, &rng, err);
}

static int load_mmds(struct vm_config *config, const json_t *value, struct json_notes *notes,
		     struct err *err)
{
	struct config_mmds mmds = { 0 };
	int ret = mmds_from_json(&mmds, value, notes, err);

	return ret != 0 ? ret : vm_config_put_mmds(config, &mmds, err);
}

static int load_logger(struct vm_config *config, const json_t *value, struct json_notes *notes,
		       struct err *err)
{
	int ret = logger_from_json(&config->logger, value, err);

	(void)notes;
	return ret != 0 ? ret : config_services_validate(config, err);
}

static int load_metrics(struct vm_config *config, const json_t *value, struct json_notes *notes,
			struct err *err)
{
	struct config_metrics target = { 0 };
	int ret = metrics_from_json(&target, value, err);

	(void)notes;
	return ret != 0 ? ret : vm_config_put_metrics(config, &target, err);
}

/* ---- our own part ---- */

static int read_irqchip(const struct json_field *field, void *at, const json_t *value,
			struct err *err)
{
	const char *name;
	int ret = json_get_text(value, &name, err);

	(void)field;
	return ret != 0 ? ret : vm_config_set_irqchip(at, name, err);
}

static int read_console(const struct json_field *field, void *at, const json_t *value,
			struct err *err)
{
	const char *name;
	int ret = json_get_text(value, &name, err);

	(void)field;
	return ret != 0 ? ret : vm_config_set_console(at, name, err);
}

static int read_serial(const struct json_field *field, void *at, const json_t *value,
		       struct err *err)
{
	struct config_serial serial = { 0 };
	int ret = serial_from_json(&serial, value, err);

	(void)field;
	return ret != 0 ? ret : vm_config_put_serial(at, &serial, err);
}

static int load_televm(struct vm_config *config, const json_t *value, struct json_notes *notes,
		       struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "irqchip", .read = read_irqchip },
		{ .name = "console", .read = read_console },
		{ .name = "copy_kernel",
		  .read = json_read_bool,
		  JSON_AT(struct vm_config, copy_kernel) },
		{ .name = "exact_cmdline",
		  .read = json_read_bool,
		  JSON_AT(struct vm_config, has_exact_cmdline) },
		{ .name = "boot_timer",
		  .read = json_read_bool,
		  JSON_AT(struct vm_config, has_boot_timer) },
		{ .name = "serial", .read = read_serial },
		{ 0 },
	};

	(void)notes;
	return json_read_object(fields, FIELDS_STRICT, config, value, NULL, err);
}

/* ---- what there is not yet ---- */

static int refuse_unless_empty(const json_t *value, const char *what, struct err *err)
{
	return json_array_size(value) == 0 && json_is_array(value)
		       ? 0
		       : err_set(err, -EINVAL, "%s is not supported", what);
}

static int load_pmem(struct vm_config *config, const json_t *value, struct json_notes *notes,
		     struct err *err)
{
	(void)config;
	(void)notes;
	return refuse_unless_empty(value, "persistent memory", err);
}

static int load_hotplug(struct vm_config *config, const json_t *value, struct json_notes *notes,
			struct err *err)
{
	(void)config;
	(void)notes;
	return refuse_unless_empty(value, "memory hotplug", err);
}

/* ---- all ---- */

static const struct part {
	const char *name;
	load_part *load;
	bool is_required;
} parts[] = {
	{ "machine-config", load_machine, false },  { "cpu-config", load_cpu, false },
	{ "boot-source", load_boot_source, true },  { "drives", load_disks, true },
	{ "network-interfaces", load_nets, false }, { "vsock", load_vsock, false },
	{ "balloon", load_balloon, false },         { "entropy", load_rng, false },
	{ "mmds-config", load_mmds, false },        { "logger", load_logger, false },
	{ "metrics", load_metrics, false },         { "pmem", load_pmem, false },
	{ "memory-hotplug", load_hotplug, false },  { "televm", load_televm, false },
};

int vm_config_load(struct vm_config *config, const json_t *object, struct json_notes *notes,
		   struct err *err)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(parts); i++) {
		const json_t *value = json_object_get(object, parts[i].name);
		int ret;

		if (value == NULL && parts[i].is_required)
			return err_set(err, -EINVAL, "missing field `%s`", parts[i].name);
		if (value == NULL || (json_is_null(value) && !parts[i].is_required))
			continue;
		ret = parts[i].load(config, value, notes, err);
		if (ret != 0) {
			err_prefix(err, "%s", parts[i].name);
			return ret;
		}
	}
	return 0;
}

int vm_config_load_file(struct vm_config *config, const char *path, struct json_notes *notes,
			struct err *err)
{
	json_t *object = NULL;
	int ret = read_file(path, &object, err);

	if (ret != 0)
		return ret;
	ret = vm_config_load(config, object, notes, err);
	if (ret != 0)
		err_prefix(err, "%s", path);
	json_decref(object);
	return ret;
}
