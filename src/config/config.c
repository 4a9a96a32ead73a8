#include "config/config.h"

#include "config/names.h"
#include "config/parts.h"
#include "util/assert.h"
#include "util/bits.h"
#include "util/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const irqchip_names[] = {
	[CONFIG_IRQCHIP_AUTO] = "auto",
	[CONFIG_IRQCHIP_PLIC] = "plic",
	[CONFIG_IRQCHIP_AIA] = "aia",
};
static_assert(ARRAY_SIZE(irqchip_names) == CONFIG_IRQCHIP_AIA + 1, "a name for each");

static const char *const console_names[] = {
	[CONFIG_CONSOLE_SERIAL] = "serial",
	[CONFIG_CONSOLE_VIRTIO] = "virtio",
	[CONFIG_CONSOLE_OFF] = "off",
};
static_assert(ARRAY_SIZE(console_names) == CONFIG_CONSOLE_OFF + 1, "a name for each");

static const char *const log_level_names[] = {
	[LOG_OFF] = "off",   [LOG_ERROR] = "error", [LOG_WARN] = "warn",
	[LOG_INFO] = "info", [LOG_DEBUG] = "debug", [LOG_TRACE] = "trace",
};
static_assert(ARRAY_SIZE(log_level_names) == LOG_TRACE + 1, "a name for each");

/* Firecracker's. Words that mean nothing here do no harm; who wants the serial console asks for it
 * with a line of his own. */
static const char default_boot_args[] =
	"reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux i8042.dumbkbd "
	"swiotlb=noforce";

/* Some callers have it on the stack. */
static_assert(sizeof(struct vm_config) <= (size_t)8 * KIB, "moderate");

void vm_config_init(struct vm_config *config)
{
	*config = (struct vm_config){
		.vcpu_count = 1,
		.mem_bytes = 256 * MIB,
		.logger = { .level = LOG_INFO },
		.rng = { .is_wanted = true },
	};
}

void vm_config_init_api(struct vm_config *config)
{
	*config = (struct vm_config){
		.vcpu_count = 1,
		.mem_bytes = 128 * MIB,
		.logger = { .level = LOG_INFO },
		.is_api_form = true,
		.has_power_key = true,
	};
}

void vm_config_deinit(struct vm_config *config)
{
	free(config->kernel_path);
	free(config->initrd_path);
	free(config->cmdline);
	free(config->append);
	free(config->boot_args);
	config_cpu_deinit(&config->cpu);
	config_devices_deinit(config);
	config_services_deinit(config);
	*config = (struct vm_config){ 0 };
}

/* One that flags have just begun has no id yet. */
static bool has_id(const char *own, const char *id)
{
	return own != NULL && strcmp(own, id) == 0;
}

unsigned int vm_config_find_disk(const struct vm_config *config, const char *id)
{
	unsigned int i = 0;

	while (i < config->n_disks && !has_id(config->disks[i].id, id))
		i++;
	return i;
}

unsigned int vm_config_find_net(const struct vm_config *config, const char *id)
{
	unsigned int i = 0;

	while (i < config->n_nets && !has_id(config->nets[i].id, id))
		i++;
	return i;
}

int vm_config_set_string(char **field, const char *text, struct err *err)
{
	char *copy = strdup(text);

	if (copy == NULL)
		return err_sys(err, "copy '%.32s'", text);
	free(*field);
	*field = copy;
	return 0;
}

int vm_config_set_irqchip(struct vm_config *config, const char *name, struct err *err)
{
	int found = find_name("the interrupt controller", irqchip_names, ARRAY_SIZE(irqchip_names),
			      name, err);

	if (found < 0)
		return found;
	config->irqchip = (enum config_irqchip)found;
	return 0;
}

int vm_config_set_console(struct vm_config *config, const char *name, struct err *err)
{
	int found = find_name("the console", console_names, ARRAY_SIZE(console_names), name, err);

	if (found < 0)
		return found;
	config->console = (enum config_console)found;
	return 0;
}

int vm_config_set_log_level(struct vm_config *config, const char *name, struct err *err)
{
	int found =
		find_name("the log level", log_level_names, ARRAY_SIZE(log_level_names), name, err);

	if (found < 0)
		return found;
	config->logger.level = (enum log_level)found;
	config->logger.has_level = true;
	return 0;
}

const char *vm_config_irqchip_name(enum config_irqchip irqchip)
{
	return irqchip_names[irqchip];
}

const char *vm_config_console_name(enum config_console console)
{
	return console_names[console];
}

static const char *default_cmdline(const struct vm_config *config)
{
	switch (config->console) {
	case CONFIG_CONSOLE_SERIAL:
		return "console=ttyS0 panic=1";
	case CONFIG_CONSOLE_VIRTIO:
		return "console=hvc0 panic=1";
	default:
		return "panic=1";
	}
}

static int add_to_cmdline(struct vm_config *config, const char *text, struct err *err)
{
	char *joined;

	ASSERT(config->cmdline != NULL);
	if (asprintf(&joined, "%s%s%s", config->cmdline, config->cmdline[0] == '\0' ? "" : " ",
		     text) < 0)
		return err_set(err, -ENOMEM, "no memory for the kernel command line");
	free(config->cmdline);
	config->cmdline = joined;
	return 0;
}

static bool has_word(const char *text, const char *start)
{
	const char *at = strstr(text, start);

	while (at != NULL && at != text && at[-1] != ' ')
		at = strstr(at + 1, start);
	return at != NULL;
}

static int add_root(struct vm_config *config, const struct config_disk *root, struct err *err)
{
	cleanup_free char *text = NULL;

	if (asprintf(&text, "root=%s%s %s", root->partuuid != NULL ? "PARTUUID=" : "/dev/vda",
		     root->partuuid != NULL ? root->partuuid : "",
		     root->is_read_only ? "ro" : "rw") < 0) {
		text = NULL;
		return err_set(err, -ENOMEM, "no memory for the kernel command line");
	}
	return add_to_cmdline(config, text, err);
}

/*
 * A disk without an initramfs is there to be booted from. Who names a root on the command line
 * knows better.
 */
static int choose_root(struct vm_config *config, struct err *err)
{
	struct config_disk *first = &config->disks[0];

	if (config->n_disks == 0 || has_word(config->cmdline, "root="))
		return 0;
	if (config_root_disk(config) == NULL) {
		if (config->initrd_path != NULL)
			return 0;
		first->is_root = true;
	}
	return add_root(config, first, err);
}

static int complete_cmdline(struct vm_config *config, struct err *err)
{
	int ret = 0;

	if (config->cmdline == NULL)
		ret = vm_config_set_string(&config->cmdline, default_cmdline(config), err);
	if (ret == 0 && config->append != NULL)
		ret = add_to_cmdline(config, config->append, err);
	free(config->append);
	config->append = NULL;
	return ret;
}

/* As Firecracker does it: what it adds comes last, and so wins, whatever was asked for. */
static int make_api_cmdline(struct vm_config *config, struct err *err)
{
	const char *args = config->boot_args != NULL ? config->boot_args : default_boot_args;
	const struct config_disk *root = config_root_disk(config);
	int ret = vm_config_set_string(&config->cmdline, args, err);

	if (ret != 0 || config->has_exact_cmdline)
		return ret;
	ret = add_to_cmdline(config, "pci=off", err);
	return ret != 0 || root == NULL ? ret : add_root(config, root, err);
}

int vm_config_complete(struct vm_config *config, struct err *err)
{
	int ret = config_devices_complete(config, err);

	if (ret == 0 && config->is_api_form)
		ret = make_api_cmdline(config, err);
	else if (ret == 0)
		ret = complete_cmdline(config, err);
	if (ret == 0 && !config->is_api_form)
		ret = choose_root(config, err);
	return ret != 0 ? ret : vm_config_validate(config, err);
}

static int validate_files(const struct vm_config *config, struct err *err)
{
	if (config->kernel_path == NULL || config->kernel_path[0] == '\0')
		return err_set(err, -EINVAL, "no kernel is given");
	if (config->initrd_path != NULL && config->initrd_path[0] == '\0')
		return err_set(err, -EINVAL, "the name of the initrd is empty");
	return 0;
}

/* What Linux would cut off without a word is refused. */
static int validate_cmdline(const char *cmdline, struct err *err)
{
	size_t len;

	if (cmdline == NULL)
		return err_set(err, -EINVAL, "no kernel command line is given");
	len = strlen(cmdline);
	if (len >= VM_CONFIG_CMDLINE_SIZE)
		return err_set(err, -EINVAL,
			       "the kernel command line has %zu characters, Linux reads at most %d",
			       len, VM_CONFIG_CMDLINE_SIZE - 1);
	for (const char *at = cmdline; *at != '\0'; at++) {
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			return err_set(err, -EINVAL,
				       "the kernel command line has a control character (0x%02x) "
				       "at position %zu",
				       (unsigned int)*at, (size_t)(at - cmdline) + 1);
	}
	return 0;
}

struct size_text {
	char text[32];
};

static struct size_text size_text(uint64_t bytes)
{
	bool is_whole = is_aligned(bytes, MIB);
	struct size_text size;

	snprintf(size.text, sizeof(size.text), "%llu %s",
		 (unsigned long long)(bytes / (is_whole ? MIB : KIB)), is_whole ? "MiB" : "KiB");
	return size;
}

static int validate_memory(uint64_t bytes, struct err *err)
{
	struct size_text asked = size_text(bytes);

	if (bytes < VM_CONFIG_MEM_MIN)
		return err_set(err, -EINVAL, "%s of memory are too little, %s at least", asked.text,
			       size_text(VM_CONFIG_MEM_MIN).text);
	if (bytes > VM_CONFIG_MEM_MAX)
		return err_set(err, -EINVAL, "%s of memory are too much, %s at most", asked.text,
			       size_text(VM_CONFIG_MEM_MAX).text);
	if (!is_aligned(bytes, VM_CONFIG_MEM_UNIT))
		return err_set(err, -EINVAL, "%s of memory are not a multiple of %s", asked.text,
			       size_text(VM_CONFIG_MEM_UNIT).text);
	return 0;
}

static int validate_vcpus(unsigned int count, struct err *err)
{
	if (count < 1 || count > VM_CONFIG_VCPUS_MAX)
		return err_set(err, -EINVAL, "%u vCPUs are asked for, 1 to %d can be had", count,
			       VM_CONFIG_VCPUS_MAX);
	return 0;
}

int config_validate_boot(const struct vm_config *config, struct err *err)
{
	int ret = validate_files(config, err);

	return ret != 0 || config->boot_args == NULL ? ret
						     : validate_cmdline(config->boot_args, err);
}

int config_validate_rest(const struct vm_config *config, struct err *err)
{
	int ret = validate_vcpus(config->vcpu_count, err);

	if (ret == 0)
		ret = validate_memory(config->mem_bytes, err);
	if (ret == 0)
		ret = config_cpu_validate(&config->cpu, err);
	if (ret == 0)
		ret = config_devices_validate(config, err);
	if (ret == 0)
		ret = config_services_validate(config, err);
	return ret;
}

int vm_config_validate(const struct vm_config *config, struct err *err)
{
	int ret = config_validate_boot(config, err);

	if (ret == 0)
		ret = config_validate_rest(config, err);
	/* Last: what it says of the devices has been judged. */
	if (ret == 0)
		ret = validate_cmdline(config->cmdline, err);
	return ret;
}
