#include "cli/run_flags.h"

#include "cli/cli.h"
#include "cli/device_flags.h"
#include "util/bits.h"
#include "util/parse.h"

#include <errno.h>
#include <stddef.h>

static int set_cpus(void *target, const char *value, struct err *err)
{
	struct vm_config *config = target;
	uint64_t count;

	/* Whether so many can be had is the validator's to say. */
	if (parse_uint(value, UINT32_MAX, &count) != 0)
		return err_set(err, -EINVAL, "--cpus: '%.64s' is not a number of vCPUs", value);
	config->vcpu_count = (unsigned int)count;
	return 0;
}

static int set_memory(void *target, const char *value, struct err *err)
{
	struct vm_config *config = target;

	if (parse_size(value, MIB, &config->mem_bytes) != 0)
		return err_set(err, -EINVAL, "--memory: '%.64s' is not a size like 128M or 2G",
			       value);
	return 0;
}

static int set_irqchip(void *target, const char *value, struct err *err)
{
	return vm_config_set_irqchip(target, value, err);
}

static int set_console(void *target, const char *value, struct err *err)
{
	return vm_config_set_console(target, value, err);
}

static int set_huge_pages(void *target, const char *value, struct err *err)
{
	struct vm_config *config = target;

	(void)value;
	(void)err;
	config->pages = CONFIG_PAGES_2M;
	return 0;
}

static int set_log_level(void *target, const char *value, struct err *err)
{
	return vm_config_set_log_level(target, value, err);
}

/* Some setters are handed the options and take them for the configuration. */
static_assert(offsetof(struct run_options, config) == 0, "it is at the same place");

#define AT(member) offsetof(struct run_options, member)

const struct option_row run_flags[] = {
	{ "--kernel", "FILE", "RISC-V Linux Image, also gzipped or with an EFI stub",
	  option_set_string, false, AT(config.kernel_path) },
	{ "--initrd", "FILE", "initial RAM file system", option_set_string, false,
	  AT(config.initrd_path) },
	{ "--disk", "FILE[,KEY...]",
	  "a disk: a raw file or block device; up to 12. Keys:\n"
	  "ro, root, partuuid=UUID, id=NAME, engine=sync|uring,\n"
	  "cache=writeback|unsafe, bandwidth=SIZE, ops=N\n"
	  "(limits are by the second)",
	  set_disk_flag, true, 0 },
	{ "--net", "KEY[,...]",
	  "a network: tap=NAME, or user (by passt, without\n"
	  "root); up to 8. More keys: host (user reaches this\n"
	  "host's loopback), vhost (the host's kernel moves the\n"
	  "frames of a tap), mac=ADDRESS, mtu=BYTES, id=NAME,\n"
	  "bandwidth=SIZE, ops=N (each direction)",
	  set_net_flag, true, 0 },
	{ "--vsock", "KEY,KEY", "sockets between guest and host: cid=N,path=FILE", set_vsock_flag,
	  false, 0 },
	{ "--balloon", "KEY[,...]",
	  "take memory back: size=SIZE, stats=SECONDS,\ndeflate-on-oom, reporting",
	  set_balloon_flag, false, 0 },
	{ "--rng", "KEY[,...]", "random numbers for the guest: on (default), off,\nbandwidth=SIZE",
	  set_rng_flag, false, 0 },
	{ "--append", "TEXT", "add to the kernel command line 'console=ttyS0 panic=1'",
	  option_set_string, false, AT(config.append) },
	{ "--cmdline", "TEXT", "replace the kernel command line", option_set_string, false,
	  AT(config.cmdline) },
	{ "--cpus", "N", "vCPUs, 1 to 32 (default 1)", set_cpus, false, 0 },
	{ "--memory", "SIZE", "RAM like 128M or 2G, 16M at least (default 256M)", set_memory, false,
	  0 },
	{ "--irqchip", "auto|plic|aia",
	  "interrupt controller: plic in user space, aia in the\nkernel (default auto)",
	  set_irqchip, false, 0 },
	{ "--console", "serial|virtio|off", "on the terminal (default serial)", set_console, false,
	  0 },
	{ "--copy-kernel", NULL, "read the kernel's file instead of mapping it", option_set_true,
	  false, AT(config.copy_kernel) },
	{ "--huge-pages", NULL,
	  "guest memory in 2 MiB pages that the host has reserved:\nfaster, takes all of it at "
	  "once",
	  set_huge_pages, false, 0 },
	{ "--api-sock", "FILE", "serve the API on this Unix socket, as for 'televm ctl'",
	  option_set_text, false, AT(api_sock) },
	{ "--log-level", "off|error|warn|info|debug|trace",
	  "how much is logged to standard error (default info)", set_log_level, false, 0 },
	{ "--print-config", NULL, "print all this as JSON for --config-file, run nothing",
	  option_set_true, false, AT(prints_config) },
	{ 0 },
};

int cli_parse_run(int argc, char **argv, struct run_options *options, struct err *err)
{
	int ret = options_parse(run_flags, argc, argv, options, err);

	if (ret == 0 && options->config.kernel_path == NULL)
		return err_set(err, -EINVAL, "which kernel? --kernel FILE is needed");
	return ret;
}
