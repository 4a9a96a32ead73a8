/*
 * The flags of `televm run` made of any bytes: arguments are what lies between NULs. What parses
 * and validates must keep the limits.
 */
#include "cli/cli.h"
#include "util/assert.h"
#include "util/bits.h"

#include <stdlib.h>

enum { ARGS_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each argument in an allocation of its own, so that reading past its end is seen. */
static int split(const uint8_t *data, size_t size, char *argv[ARGS_MAX])
{
	int argc = 0;

	while (size > 0 && argc < ARGS_MAX) {
		size_t len = strnlen((const char *)data, size);

		argv[argc++] = strndup((const char *)data, len);
		len = MIN(len + 1, size);
		data += len;
		size -= len;
	}
	return argc;
}

static void check(struct vm_config *config)
{
	struct err err = { 0 };

	if (vm_config_complete(config, &err) != 0) {
		ASSERT(err.code < 0 && err.text[0] != '\0');
		return;
	}
	ASSERT(config->kernel_path != NULL && config->append == NULL);
	ASSERT(config->vcpu_count >= 1 && config->vcpu_count <= VM_CONFIG_VCPUS_MAX);
	ASSERT(config->mem_bytes >= VM_CONFIG_MEM_MIN && config->mem_bytes <= VM_CONFIG_MEM_MAX);
	ASSERT(strlen(config->cmdline) < VM_CONFIG_CMDLINE_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vm_config config;
	char *argv[ARGS_MAX];
	int argc = split(data, size, argv);
	struct err err = { 0 };
	int ret;

	vm_config_init(&config);
	ret = cli_parse_run(argc, argv, &config, &err);
	ASSERT(ret >= 0 || (err.code == ret && err.text[0] != '\0'));
	if (ret == 0)
		check(&config);
	vm_config_deinit(&config);
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	return 0;
}
