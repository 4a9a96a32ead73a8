/*
 * JSON of any bytes, as a configuration file or as the body that the first byte chooses. What is
 * taken must keep the limits, and be given back so that it is taken again and is the same.
 */
#include "config/config_json.h"
#include "util/assert.h"
#include "util/bits.h"
#include "util/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const struct vm_config *config)
{
	json_t *first = vm_config_to_json(config);
	struct json_notes notes = { 0 };
	struct vm_config again;
	struct err err = { 0 };
	json_t *second;

	ASSERT(first != NULL);
	vm_config_init_api(&again);
	ASSERT(vm_config_load(&again, first, &notes, &err) == 0);
	second = vm_config_to_json(&again);
	ASSERT(json_equal(first, second));
	json_decref(first);
	json_decref(second);
	vm_config_deinit(&again);
}

static void check_complete(struct vm_config *config)
{
	struct err err = { 0 };

	if (vm_config_complete(config, &err) != 0) {
		ASSERT(err.code == -EINVAL && err.text[0] != '\0');
		return;
	}
	ASSERT(strlen(config->cmdline) < VM_CONFIG_CMDLINE_SIZE);
	ASSERT(config->n_disks <= CONFIG_DISKS_MAX && config->n_nets <= CONFIG_NETS_MAX);
	ASSERT(config->mem_bytes >= VM_CONFIG_MEM_MIN && config->mem_bytes <= VM_CONFIG_MEM_MAX);
	ASSERT(config->vcpu_count >= 1 && config->vcpu_count <= VM_CONFIG_VCPUS_MAX);
}

/* ---- bodies ---- */

/* Begin with what a file needs, and what some bodies refer to. */
static void init(struct vm_config *config)
{
	struct config_boot_source boot = { .kernel_path = strdup("k") };
	struct config_net net = { .kind = CONFIG_NET_USER, .id = strdup("n") };
	struct err err;

	vm_config_init_api(config);
	ASSERT(vm_config_put_boot_source(config, &boot, &err) == 0);
	ASSERT(vm_config_put_net(config, &net, &err) == 0);
}

static int put_file(struct vm_config *config, const json_t *body, struct json_notes *notes,
		    struct err *err)
{
	json_t *copy = json_deep_copy(body);
	int ret;

	/* It may be the name of a file, and any file would be opened. */
	if (json_is_string(json_object_get(copy, "cpu-config")))
		json_object_del(copy, "cpu-config");
	vm_config_deinit(config);
	vm_config_init_api(config);
	ret = vm_config_load(config, copy, notes, err);
	json_decref(copy);
	return ret;
}

#define PUT(part, type, read, put)                                                                 \
	({                                                                                         \
		struct type part = { 0 };                                                          \
		int ret_ = read;                                                                   \
		ret_ == 0 ? put(config, &part, err) : ret_;                                        \
	})

static int patch_machine(struct vm_config *config, const json_t *body, struct json_notes *notes,
			 struct err *err)
{
	struct config_machine machine;
	int ret;

	vm_config_get_machine(config, &machine);
	ret = machine_from_json(&machine, body, true, notes, err);
	return ret == 0 ? vm_config_put_machine(config, &machine, err) : ret;
}

static int patch_disk(const json_t *body, struct err *err)
{
	struct rate_limiter_config limits = { 0 };
	char *path;
	int ret = disk_patch_from_json("d", &path, &limits, body, err);

	ASSERT(ret == 0 || path == NULL);
	free(path);
	return ret;
}

static int patch_net(const json_t *body, struct err *err)
{
	struct rate_limiter_config rx = { 0 };
	struct rate_limiter_config tx = { 0 };

	return net_patch_from_json("n", &rx, &tx, body, err);
}

enum kind {
	FILE_OF_ALL,
	BOOT_SOURCE,
	MACHINE,
	MACHINE_PATCH,
	DISK,
	DISK_PATCH,
	NET,
	NET_PATCH,
	VSOCK,
	BALLOON,
	HINTING,
	RNG,
	SERIAL,
	LOGGER,
	METRICS,
	MMDS,
	CPU,
	N_KINDS,
};

static int put(struct vm_config *config, enum kind kind, const json_t *body,
	       struct json_notes *notes, struct err *err)
{
	bool acknowledge;

	switch (kind) {
	case FILE_OF_ALL:
		return put_file(config, body, notes, err);
	case BOOT_SOURCE:
		return PUT(boot, config_boot_source, boot_source_from_json(&boot, body, err),
			   vm_config_put_boot_source);
	case MACHINE:
		return PUT(machine, config_machine,
			   machine_from_json(&machine, body, false, notes, err),
			   vm_config_put_machine);
	case MACHINE_PATCH:
		return patch_machine(config, body, notes, err);
	case DISK:
		return PUT(disk, config_disk, disk_from_json(&disk, body, err), vm_config_put_disk);
	case DISK_PATCH:
		return patch_disk(body, err);
	case NET:
		return PUT(net, config_net, net_from_json(&net, body, err), vm_config_put_net);
	case NET_PATCH:
		return patch_net(body, err);
	case VSOCK:
		return PUT(vsock, config_vsock, vsock_from_json(&vsock, body, notes, err),
			   vm_config_put_vsock);
	case BALLOON:
		return PUT(balloon, config_balloon, balloon_from_json(&balloon, body, err),
			   vm_config_put_balloon);
	case HINTING:
		return hinting_from_json(&acknowledge, body, err);
	case RNG:
		return PUT(rng, config_rng, rng_from_json(&rng, body, err), vm_config_put_rng);
	case SERIAL:
		return PUT(serial, config_serial, serial_from_json(&serial, body, err),
			   vm_config_put_serial);
	case LOGGER:
		return PUT(logger, config_logger, logger_from_json(&logger, body, err),
			   vm_config_put_logger);
	case METRICS:
		return PUT(part, config_metrics, metrics_from_json(&part, body, err),
			   vm_config_put_metrics);
	case MMDS:
		return PUT(mmds, config_mmds, mmds_from_json(&mmds, body, notes, err),
			   vm_config_put_mmds);
	default:
		return PUT(cpu, config_cpu, cpu_from_json(&cpu, body, err), vm_config_put_cpu);
	}
}

static void try_body(enum kind kind, const json_t *body)
{
	struct json_notes notes = { 0 };
	struct vm_config config;
	struct err err = { 0 };
	int ret;

	init(&config);
	ret = put(&config, kind, body, &notes, &err);
	ASSERT(ret == 0 || (err.code == ret && err.text[0] != '\0'));
	ASSERT(ret == 0 || ret == -EINVAL || ret == -ENODATA || ret == -ESRCH);
	if (ret == 0 || kind != FILE_OF_ALL) {
		check_round_trip(&config);
		check_complete(&config);
	}
	vm_config_deinit(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *body = NULL;
	struct err err = { 0 };
	int ret;

	if (size == 0)
		return 0;
	log_set_level(LOG_OFF);
	ret = json_parse_object((const char *)data + 1, size - 1, NULL, &body, &err);
	ASSERT(ret == 0 || (ret == -EINVAL && err.text[0] != '\0'));
	if (ret == 0)
		try_body((enum kind)((uint8_t)(data[0] - 'A') % N_KINDS), body);
	json_decref(body);
	return 0;
}
