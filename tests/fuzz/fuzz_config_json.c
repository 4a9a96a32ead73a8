/*
 * JSON of any bytes, as a configuration file or as the body that the first byte chooses. What is
 * taken must keep the limits, and be given back so that it is taken again and is the same.
 */
#include "bodies.h"
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

/* What the first byte chooses: this, or one of enum kind and 1. */
enum { FILE_OF_ALL, N_KINDS = N_BODIES + 1 };

static int put(struct vm_config *config, unsigned int kind, const json_t *body,
	       struct json_notes *notes, struct err *err)
{
	if (kind == FILE_OF_ALL)
		return put_file(config, body, notes, err);
	return put_body(config, (enum kind)(kind - 1), body, notes, err);
}

static void try_body(unsigned int kind, const json_t *body)
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
		try_body((uint8_t)(data[0] - 'A') % N_KINDS, body);
	json_decref(body);
	return 0;
}
