/*
 * Parts into a configuration. A part is first put into a copy of it, which borrows all strings, and
 * the copy is judged; so a check sees just what will be.
 */
#include "config/config_json.h"
#include "config/parts.h"
#include "util/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void config_boot_source_deinit(struct config_boot_source *boot)
{
	free(boot->kernel_path);
	free(boot->initrd_path);
	free(boot->boot_args);
	*boot = (struct config_boot_source){ 0 };
}

/* ---- the boot source ---- */

int vm_config_check_boot_source(const struct vm_config *config,
				const struct config_boot_source *boot, struct err *err)
{
	struct vm_config copy = *config;

	copy.kernel_path = boot->kernel_path;
	copy.initrd_path = boot->initrd_path;
	copy.boot_args = boot->boot_args;
	return config_validate_boot(&copy, err);
}

int vm_config_put_boot_source(struct vm_config *config, struct config_boot_source *boot,
			      struct err *err)
{
	struct config_boot_source old = { config->kernel_path, config->initrd_path,
					  config->boot_args };
	int ret = vm_config_check_boot_source(config, boot, err);

	if (ret != 0) {
		config_boot_source_deinit(boot);
		return ret;
	}
	config->kernel_path = boot->kernel_path;
	config->initrd_path = boot->initrd_path;
	config->boot_args = boot->boot_args;
	config_boot_source_deinit(&old);
	*boot = (struct config_boot_source){ 0 };
	return 0;
}

/* ---- the machine ---- */

void vm_config_get_machine(const struct vm_config *config, struct config_machine *machine)
{
	*machine = (struct config_machine){
		.vcpu_count = config->vcpu_count,
		.mem_mib = config->mem_bytes / MIB,
		.smt = config->smt,
		.track_dirty_pages = config->track_dirty_pages,
		.pages = config->pages,
	};
}

static void place_machine(struct vm_config *config, const struct config_machine *machine)
{
	config->vcpu_count = (unsigned int)MIN(machine->vcpu_count, (uint64_t)UINT32_MAX);
	config->mem_bytes = MIN(machine->mem_mib, UINT64_MAX / MIB) * MIB;
	config->smt = machine->smt;
	config->track_dirty_pages = machine->track_dirty_pages;
	config->pages = machine->pages;
}

int vm_config_put_machine(struct vm_config *config, const struct config_machine *machine,
			  struct err *err)
{
	struct vm_config copy = *config;
	int ret;

	place_machine(&copy, machine);
	ret = config_validate_rest(&copy, err);
	if (ret == 0)
		place_machine(config, machine);
	return ret;
}

/* ---- disks ---- */

/* \return what was there, zeroed if nothing was */
static struct config_disk place_disk(struct vm_config *config, unsigned int place,
				     const struct config_disk *disk)
{
	struct config_disk old = { 0 };

	if (place < config->n_disks)
		old = config->disks[place];
	config->disks[place] = *disk;
	config->n_disks = MAX(config->n_disks, place + 1);
	return old;
}

int vm_config_check_disk(const struct vm_config *config, const struct config_disk *disk,
			 struct err *err)
{
	struct vm_config copy = *config;
	unsigned int place = vm_config_find_disk(config, disk->id);

	if (place == CONFIG_DISKS_MAX)
		return err_set(err, -EINVAL, "more than %d disks", CONFIG_DISKS_MAX);
	place_disk(&copy, place, disk);
	return config_validate_rest(&copy, err);
}

int vm_config_put_disk(struct vm_config *config, struct config_disk *disk, struct err *err)
{
	struct config_disk old;
	int ret = vm_config_check_disk(config, disk, err);

	if (ret != 0) {
		config_disk_deinit(disk);
		return ret;
	}
	old = place_disk(config, vm_config_find_disk(config, disk->id), disk);
	config_put_root_first(config);
	config_disk_deinit(&old);
	*disk = (struct config_disk){ 0 };
	return 0;
}

/* ---- networks ---- */

static struct config_net place_net(struct vm_config *config, unsigned int place,
				   const struct config_net *net)
{
	struct config_net old = { 0 };

	if (place < config->n_nets)
		old = config->nets[place];
	config->nets[place] = *net;
	config->n_nets = MAX(config->n_nets, place + 1);
	return old;
}

int vm_config_check_net(const struct vm_config *config, const struct config_net *net,
			struct err *err)
{
	struct vm_config copy = *config;
	unsigned int place = vm_config_find_net(config, net->id);

	if (place == CONFIG_NETS_MAX)
		return err_set(err, -EINVAL, "more than %d network interfaces", CONFIG_NETS_MAX);
	place_net(&copy, place, net);
	return config_validate_rest(&copy, err);
}

int vm_config_put_net(struct vm_config *config, struct config_net *net, struct err *err)
{
	struct config_net old;
	int ret = vm_config_check_net(config, net, err);

	if (ret != 0) {
		config_net_deinit(net);
		return ret;
	}
	old = place_net(config, vm_config_find_net(config, net->id), net);
	config_net_deinit(&old);
	*net = (struct config_net){ 0 };
	return 0;
}

/* ---- what there is one of ---- */

int vm_config_check_vsock(const struct vm_config *config, const struct config_vsock *vsock,
			  struct err *err)
{
	struct vm_config copy = *config;

	copy.vsock = *vsock;
	return config_validate_rest(&copy, err);
}

int vm_config_check_serial(const struct vm_config *config, const struct config_serial *serial,
			   struct err *err)
{
	struct vm_config copy = *config;

	copy.serial = *serial;
	return config_validate_rest(&copy, err);
}

int vm_config_put_balloon(struct vm_config *config, const struct config_balloon *balloon,
			  struct err *err)
{
	struct vm_config copy = *config;
	int ret;

	copy.balloon = *balloon;
	ret = config_validate_rest(&copy, err);
	if (ret == 0)
		config->balloon = *balloon;
	return ret;
}

int vm_config_put_rng(struct vm_config *config, const struct config_rng *rng, struct err *err)
{
	(void)err;
	config->rng = *rng;
	return 0;
}

/* Exchange the part when the check was passed, and free what is not in the configuration then. */
#define PUT_PART(config, member, part, deinit, err)                                                \
	({                                                                                         \
		struct vm_config copy_ = *(config);                                                \
		__typeof__(copy_.member) old_ = (config)->member;                                  \
		int ret_;                                                                          \
		copy_.member = *(part);                                                            \
		ret_ = config_validate_rest(&copy_, err);                                          \
		if (ret_ == 0) {                                                                   \
			(config)->member = *(part);                                                \
			*(part) = old_;                                                            \
		}                                                                                  \
		deinit(part);                                                                      \
		ret_;                                                                              \
	})

int vm_config_put_vsock(struct vm_config *config, struct config_vsock *vsock, struct err *err)
{
	return PUT_PART(config, vsock, vsock, config_vsock_deinit, err);
}

int vm_config_put_serial(struct vm_config *config, struct config_serial *serial, struct err *err)
{
	return PUT_PART(config, serial, serial, config_serial_deinit, err);
}

int vm_config_put_cpu(struct vm_config *config, struct config_cpu *cpu, struct err *err)
{
	return PUT_PART(config, cpu, cpu, config_cpu_deinit, err);
}

int vm_config_put_mmds(struct vm_config *config, struct config_mmds *mmds, struct err *err)
{
	return PUT_PART(config, mmds, mmds, config_mmds_deinit, err);
}

int vm_config_put_logger(struct vm_config *config, struct config_logger *logger, struct err *err)
{
	return PUT_PART(config, logger, logger, config_logger_deinit, err);
}

int vm_config_put_metrics(struct vm_config *config, struct config_metrics *part, struct err *err)
{
	/* Who reads them would miss what was counted so far. */
	if (config->metrics.path != NULL) {
		config_metrics_deinit(part);
		return err_set(err, -EALREADY, "Reinitialization of metrics not allowed.");
	}
	return PUT_PART(config, metrics, part, config_metrics_deinit, err);
}
