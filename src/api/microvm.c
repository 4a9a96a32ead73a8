#include "api/microvm.h"

#include "api/mmds.h"
#include "api/server.h"
#include "util/assert.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/metrics.h"
#include "vm/resources.h"
#include "vm/update.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct microvm {
	char *id;
	struct vm_env env;
	struct vm_config config;
	struct vm_resources *resources;
	struct mmds mmds;
	struct vm *vm; /* NULL before the start */
	bool is_boot_path;
};

static int init_microvm(struct microvm *microvm, const struct microvm_options *options)
{
	vm_config_init_api(&microvm->config);
	microvm->config.has_boot_timer = options->has_boot_timer;
	microvm->config.has_power_key = true;
	microvm->env = (struct vm_env){
		.base = options->base,
		.ended = options->ended,
		.ctx = options->ctx,
	};
	mmds_init(&microvm->mmds, options->mmds_limit > 0 ? options->mmds_limit : API_MAX_PAYLOAD);
	microvm->id = strdup(options->id);
	microvm->resources = vm_resources_new();
	return microvm->id == NULL || microvm->resources == NULL ? -ENOMEM : 0;
}

int microvm_new(struct microvm **microvmp, const struct microvm_options *options, struct err *err)
{
	struct microvm *microvm = calloc(1, sizeof(*microvm));

	*microvmp = NULL;
	if (microvm == NULL || init_microvm(microvm, options) != 0) {
		microvm_free(microvm);
		return err_set(err, -ENOMEM, "no memory for the microVM");
	}
	*microvmp = microvm;
	return 0;
}

void microvm_free(struct microvm *microvm)
{
	if (microvm == NULL)
		return;
	if (microvm->vm != NULL)
		vm_close(microvm->vm);
	metrics_close();
	vm_free(microvm->vm);
	vm_resources_free(microvm->resources);
	mmds_deinit(&microvm->mmds);
	vm_config_deinit(&microvm->config);
	free(microvm->id);
	free(microvm);
}

enum vm_state microvm_get_state(const struct microvm *microvm)
{
	return microvm->vm == NULL ? VM_STATE_NOT_STARTED : vm_get_state(microvm->vm);
}

const struct vm_config *microvm_get_config(const struct microvm *microvm)
{
	return &microvm->config;
}

struct vm *microvm_get_vm(struct microvm *microvm)
{
	return microvm->vm;
}

const char *microvm_get_id(const struct microvm *microvm)
{
	return microvm->id;
}

struct mmds *microvm_get_mmds(struct microvm *microvm)
{
	return &microvm->mmds;
}

bool microvm_is_boot_path(const struct microvm *microvm)
{
	return microvm->is_boot_path;
}

/* ---- before the start ---- */

int microvm_put_boot_source(struct microvm *microvm, struct config_boot_source *boot,
			    struct err *err)
{
	/* How a kernel is opened depends on other parts; only the names are the new ones. */
	struct vm_config config = microvm->config;
	int ret = vm_config_check_boot_source(&microvm->config, boot, err);

	microvm->is_boot_path = true;
	config.kernel_path = boot->kernel_path;
	config.initrd_path = boot->initrd_path;
	if (ret == 0)
		ret = vm_resources_open_kernel(microvm->resources, &config, err);
	if (ret != 0) {
		config_boot_source_deinit(boot);
		return ret;
	}
	return vm_config_put_boot_source(&microvm->config, boot, err);
}

static void warn_of_smt(const struct microvm *microvm)
{
	if (microvm->config.smt)
		log_warn("smt is accepted and means nothing: RISC-V vCPUs have one thread each");
}

int microvm_put_machine(struct microvm *microvm, const struct config_machine *machine,
			struct err *err)
{
	int ret;

	microvm->is_boot_path = true;
	ret = vm_config_put_machine(&microvm->config, machine, err);
	if (ret == 0)
		warn_of_smt(microvm);
	return ret;
}

int microvm_put_disk(struct microvm *microvm, struct config_disk *disk, struct err *err)
{
	int ret = vm_config_check_disk(&microvm->config, disk, err);

	microvm->is_boot_path = true;
	if (ret == 0)
		ret = vm_resources_open_disk(microvm->resources, disk, err);
	if (ret != 0) {
		config_disk_deinit(disk);
		return ret;
	}
	return vm_config_put_disk(&microvm->config, disk, err);
}

int microvm_put_net(struct microvm *microvm, struct config_net *net, struct err *err)
{
	int ret = vm_config_check_net(&microvm->config, net, err);

	microvm->is_boot_path = true;
	if (ret == 0)
		ret = vm_resources_open_net(microvm->resources, net, err);
	if (ret != 0) {
		config_net_deinit(net);
		return ret;
	}
	return vm_config_put_net(&microvm->config, net, err);
}

int microvm_put_vsock(struct microvm *microvm, struct config_vsock *vsock, struct err *err)
{
	int ret = vm_config_check_vsock(&microvm->config, vsock, err);

	microvm->is_boot_path = true;
	if (ret == 0)
		ret = vm_resources_open_vsock(microvm->resources, vsock, err);
	if (ret != 0) {
		config_vsock_deinit(vsock);
		return ret;
	}
	return vm_config_put_vsock(&microvm->config, vsock, err);
}

int microvm_put_balloon(struct microvm *microvm, const struct config_balloon *balloon,
			struct err *err)
{
	microvm->is_boot_path = true;
	return vm_config_put_balloon(&microvm->config, balloon, err);
}

int microvm_put_rng(struct microvm *microvm, const struct config_rng *rng, struct err *err)
{
	microvm->is_boot_path = true;
	return vm_config_put_rng(&microvm->config, rng, err);
}

int microvm_put_serial(struct microvm *microvm, struct config_serial *serial, struct err *err)
{
	int ret = vm_config_check_serial(&microvm->config, serial, err);

	if (ret == 0)
		ret = vm_resources_open_serial(microvm->resources, serial, err);
	if (ret != 0) {
		config_serial_deinit(serial);
		return ret;
	}
	return vm_config_put_serial(&microvm->config, serial, err);
}

int microvm_put_cpu(struct microvm *microvm, struct config_cpu *cpu, struct err *err)
{
	return vm_config_put_cpu(&microvm->config, cpu, err);
}

int microvm_put_mmds(struct microvm *microvm, struct config_mmds *mmds, struct err *err)
{
	microvm->is_boot_path = true;
	return vm_config_put_mmds(&microvm->config, mmds, err);
}

static int use_logger(const struct config_logger *logger, struct err *err)
{
	int ret = logger->path == NULL ? 0 : log_open(logger->path, err);

	if (ret != 0)
		return ret;
	if (logger->has_level)
		log_set_level(logger->level);
	log_show(logger->show_level, logger->show_origin);
	log_set_module(logger->module);
	return 0;
}

int microvm_put_logger(struct microvm *microvm, struct config_logger *logger, struct err *err)
{
	int ret = use_logger(logger, err);

	if (ret != 0) {
		config_logger_deinit(logger);
		return ret;
	}
	return vm_config_put_logger(&microvm->config, logger, err);
}

static int use_metrics(const struct microvm *microvm, const struct config_metrics *config,
		       struct err *err)
{
	struct metrics_property properties[CONFIG_PROPERTIES_MAX];

	for (unsigned int i = 0; i < config->n_properties; i++) {
		properties[i] = (struct metrics_property){
			.name = config->properties[i].name,
			.value = config->properties[i].value,
		};
	}
	return metrics_open(config->path, config->emit_id ? microvm->id : NULL, properties,
			    config->n_properties, err);
}

int microvm_put_metrics(struct microvm *microvm, struct config_metrics *config, struct err *err)
{
	int ret = use_metrics(microvm, config, err);

	if (ret == -EALREADY)
		err_set(err, ret, "Reinitialization of metrics not allowed.");
	if (ret != 0) {
		config_metrics_deinit(config);
		return ret;
	}
	return vm_config_put_metrics(&microvm->config, config, err);
}

/* What is there for the process and not the machine begins at once; metrics may be there already.
 */
static int use_services(const struct microvm *microvm, bool has_metrics, struct err *err)
{
	int ret = use_logger(&microvm->config.logger, err);

	if (ret != 0)
		return err_prefix(err, "Logger error");
	if (microvm->config.metrics.path == NULL || has_metrics)
		return 0;
	ret = use_metrics(microvm, &microvm->config.metrics, err);
	return ret == 0 ? 0 : err_prefix(err, "Metrics error");
}

int microvm_put_config(struct microvm *microvm, struct vm_config *config, struct err *err)
{
	microvm->is_boot_path = true;
	vm_config_deinit(&microvm->config);
	microvm->config = *config;
	*config = (struct vm_config){ 0 };
	return use_services(microvm, false, err);
}

int microvm_load_file(struct microvm *microvm, const char *path, struct json_notes *notes,
		      struct err *err)
{
	const bool has_metrics = microvm->config.metrics.path != NULL;
	int ret;

	microvm->is_boot_path = true;
	ret = vm_config_load_file(&microvm->config, path, notes, err);
	if (ret == 0)
		ret = use_services(microvm, has_metrics, err);
	if (ret == 0)
		warn_of_smt(microvm);
	return ret;
}

int microvm_start(struct microvm *microvm, enum vm_fault *fault, struct err *err)
{
	int ret;

	ASSERT(microvm->vm == NULL);
	*fault = VM_FAULT_CONFIG;
	if (microvm->config.kernel_path == NULL)
		return err_set(err, -EINVAL, "Cannot start microvm without kernel configuration.");
	ret = vm_config_complete(&microvm->config, err);
	if (ret != 0)
		return ret;
	ret = vm_new(&microvm->vm, &microvm->config, microvm->resources, &microvm->env, fault, err);
	if (ret != 0)
		return ret;
	*fault = VM_FAULT_HOST;
	ret = vm_start(microvm->vm, err);
	if (ret == 0)
		ret = metrics_start(microvm->env.base, err);
	if (ret != 0)
		vm_free(take_ptr(microvm->vm));
	return ret;
}

/* ---- afterwards ---- */

static struct config_disk *find_disk(struct microvm *microvm, const char *id, struct err *err)
{
	unsigned int i = vm_config_find_disk(&microvm->config, id);

	if (i < microvm->config.n_disks)
		return &microvm->config.disks[i];
	err_set(err, -ENOENT, "there is no disk '%s'", id);
	return NULL;
}

static struct config_net *find_net(struct microvm *microvm, const char *id, struct err *err)
{
	unsigned int i = vm_config_find_net(&microvm->config, id);

	if (i < microvm->config.n_nets)
		return &microvm->config.nets[i];
	err_set(err, -ENOENT, "there is no network '%s'", id);
	return NULL;
}

int microvm_patch_disk(struct microvm *microvm, const char *id, const char *path,
		       const struct rate_limiter_change *limits, struct err *err)
{
	struct config_disk *disk = find_disk(microvm, id, err);
	cleanup_free char *kept = NULL;
	int ret = 0;

	if (disk == NULL)
		return -ENOENT;
	if (path != NULL)
		ret = vm_config_set_string(&kept, path, err);
	if (ret == 0)
		ret = vm_update_disk(microvm->vm, id, path, limits, err);
	if (ret != 0)
		return ret;
	if (kept != NULL) {
		free(disk->path);
		disk->path = take_ptr(kept);
	}
	if (limits != NULL)
		rate_limiter_config_change(&disk->limits, limits);
	return 0;
}

int microvm_patch_net(struct microvm *microvm, const char *id, const struct rate_limiter_change *rx,
		      const struct rate_limiter_change *tx, struct err *err)
{
	struct config_net *net = find_net(microvm, id, err);
	int ret;

	if (net == NULL)
		return -ENOENT;
	ret = vm_set_net_limits(microvm->vm, id, rx, tx, err);
	if (ret != 0)
		return ret;
	rate_limiter_config_change(&net->rx, rx);
	rate_limiter_config_change(&net->tx, tx);
	return 0;
}

void microvm_pause(struct microvm *microvm)
{
	vm_pause(microvm->vm);
}

void microvm_resume(struct microvm *microvm)
{
	vm_resume(microvm->vm);
}

struct balloon *microvm_get_balloon(struct microvm *microvm, struct err *err)
{
	struct balloon *balloon = vm_get_balloon(microvm->vm);

	if (balloon == NULL)
		err_set(err, -ENODEV, "the microVM has no balloon");
	return balloon;
}

int microvm_set_balloon_target(struct microvm *microvm, uint64_t mib, struct err *err)
{
	struct balloon *balloon = microvm_get_balloon(microvm, err);
	int ret = balloon == NULL ? -ENODEV : balloon_set_target(balloon, mib, err);

	if (ret == 0)
		microvm->config.balloon.options.target_mib = mib;
	return ret;
}

int microvm_set_balloon_interval(struct microvm *microvm, unsigned int interval_s, struct err *err)
{
	struct balloon *balloon = microvm_get_balloon(microvm, err);
	int ret = balloon == NULL ? -ENODEV : balloon_set_stats_interval(balloon, interval_s, err);

	if (ret == 0)
		microvm->config.balloon.options.stats_interval_s = interval_s;
	return ret;
}
