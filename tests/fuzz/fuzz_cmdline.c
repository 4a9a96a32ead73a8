/*
 * The flags of `televm run`, and of the forms without a command, made of any bytes: arguments are
 * what lies between NULs, and some bytes stand for whole words, which chance would not find. What
 * parses and validates must keep the limits. Nothing is opened: that is left to who gets the
 * configuration.
 */
#include "cli/cli.h"
#include "cli/server_flags.h"
#include "config/config_json.h"
#include "util/assert.h"
#include "util/bits.h"

#include <stdlib.h>

enum { ARGS_MAX = 64, FIRST_WORD = 0x80 };

/* clang-format off: it gives each word a line. */
static const char *const words[] = {
	"--kernel",
	"--initrd",
	"--disk=",
	"--net=",
	"--vsock=",
	"--balloon=",
	"--rng=",
	"--append",
	"--cmdline",
	"--cpus",
	"--memory",
	"--irqchip",
	"--console",
	"--log-level",
	"--copy-kernel",
	"--huge-pages",
	"--print-config",
	"--api-sock",
	"--id",
	"--config-file",
	"--no-api",
	"--mmds-size-limit",
	"--start-time-us",
	"--version",
	"host",
	"vhost",
	"plic",
	"root",
	"ro",
	"partuuid=",
	"id=",
	"engine=",
	"cache=",
	"bandwidth=",
	"ops=",
	"tap=",
	"user",
	"mac=",
	"mtu=",
	"cid=",
	"path=",
	"size=",
	"stats=",
	"deflate-on-oom",
	"reporting",
	"on",
	"off",
	"virtio",
	"sync",
	"uring",
	"unsafe",
	"writeback",
	"root=",
	"02:00:00:00:00:01",
	"0123456789",
	"K",
	"M",
	"G",
	",",
	"=",
	",,",
};
/* clang-format on */
static_assert(FIRST_WORD + ARRAY_SIZE(words) < 0xc0, "UTF-8 is still there");

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The argument that the bytes up to \p len stand for. */
static char *expand(const uint8_t *data, size_t len)
{
	char *arg = calloc(1, len * 32 + 1);
	char *to = arg;

	ASSERT(arg != NULL);
	for (size_t i = 0; i < len; i++) {
		size_t word = (size_t)data[i] - FIRST_WORD;

		if (data[i] >= FIRST_WORD && word < ARRAY_SIZE(words))
			to = stpcpy(to, words[word]);
		else
			*to++ = (char)data[i];
	}
	/* Not a byte more than it has, so that reading past its end is seen. */
	return realloc(arg, (size_t)(to - arg) + 1);
}

static int split(const uint8_t *data, size_t size, char *argv[ARGS_MAX])
{
	int argc = 0;

	while (size > 0 && argc < ARGS_MAX) {
		size_t len = strnlen((const char *)data, size);

		argv[argc++] = expand(data, len);
		len = MIN(len + 1, size);
		data += len;
		size -= len;
	}
	return argc;
}

static void check_disks(const struct vm_config *config)
{
	ASSERT(config->n_disks <= CONFIG_DISKS_MAX);
	for (unsigned int i = 0; i < config->n_disks; i++) {
		const struct config_disk *disk = &config->disks[i];

		ASSERT(disk->path != NULL && disk->path[0] != '\0');
		ASSERT(disk->id != NULL && strlen(disk->id) <= CONFIG_ID_MAX);
		ASSERT(!disk->is_root || i == 0);
		ASSERT(disk->partuuid == NULL || strlen(disk->partuuid) <= CONFIG_PARTUUID_MAX);
	}
	/* A root disk is told to the guest, one way or another. */
	ASSERT(config_root_disk(config) == NULL || strstr(config->cmdline, "root=") != NULL);
}

static void check_others(const struct vm_config *config)
{
	ASSERT(config->n_nets <= CONFIG_NETS_MAX);
	for (unsigned int i = 0; i < config->n_nets; i++) {
		const struct config_net *net = &config->nets[i];

		ASSERT(net->kind == CONFIG_NET_USER || net->kind == CONFIG_NET_TAP);
		ASSERT((net->kind == CONFIG_NET_TAP) == (net->tap != NULL));
		ASSERT(net->mtu == 0 || net->mtu >= 68);
		ASSERT(!net->has_mac || (net->mac[0] & 1) == 0);
	}
	ASSERT((config->vsock.path == NULL) == (config->vsock.guest_cid == 0));
	ASSERT(!config->balloon.is_wanted ||
	       config->balloon.options.target_mib * MIB <= config->mem_bytes);
}

/* What --print-config says can be fed in, and then says the same. */
static void check_printed(const struct vm_config *config)
{
	json_t *first = vm_config_to_json(config);
	struct json_notes notes = { 0 };
	struct vm_config again;
	struct err err = { 0 };
	json_t *second;

	vm_config_init_api(&again);
	ASSERT(vm_config_load(&again, first, &notes, &err) == 0);
	ASSERT(vm_config_complete(&again, &err) == 0);
	ASSERT(strcmp(config->cmdline, again.cmdline) == 0);
	second = vm_config_to_json(&again);
	ASSERT(json_equal(first, second));
	json_decref(first);
	json_decref(second);
	vm_config_deinit(&again);
}

static void check(struct vm_config *config, bool is_utf8)
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
	check_disks(config);
	check_others(config);
	if (is_utf8)
		check_printed(config);
}

static void try_server(int argc, char **argv)
{
	struct server_options options;
	struct err err = { 0 };
	int ret = server_options_parse(&options, argc, argv, &err);

	ASSERT(ret >= 0 || (err.code == ret && err.text[0] != '\0'));
	if (ret != 0)
		return;
	ASSERT(options.sock != NULL && strlen(options.id) >= 1 && strlen(options.id) <= 64);
	ASSERT(!options.has_no_api || options.config_path != NULL);
	ASSERT(options.mmds_limit >= 1 || options.max_payload == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run_options options = { 0 };
	char *argv[ARGS_MAX];
	int argc = split(data, size, argv);
	struct err err = { 0 };
	int ret;

	vm_config_init(&options.config);
	ret = cli_parse_run(argc, argv, &options, &err);
	ASSERT(ret >= 0 || (err.code == ret && err.text[0] != '\0'));
	if (ret == 0)
		check(&options.config, cli_is_utf8(argc, argv));
	vm_config_deinit(&options.config);
	try_server(argc, argv);
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	return 0;
}
