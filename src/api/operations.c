/* Operations on what is there before the start too, and the table of all. */
#include "api/operations.h"

#include "api/microvm.h"
#include "api/mmds.h"
#include "api/version.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/metrics.h"
#include "vm/update.h"

#include <errno.h>
#include <string.h>

int call_refuse_body(struct call *call, int ret)
{
	call->quotes_body = true;
	/* Those two come with Firecracker's whole sentence. */
	if (ret == -ESRCH || ret == -ENODATA)
		return ret;
	return err_prefix(&call->err, CALL_BAD_BODY);
}

int call_answer(struct call *call, json_t *answer)
{
	if (answer == NULL)
		return err_set(&call->err, -ENOMEM, "Internal VMM error: no memory for an answer");
	call->answer = answer;
	return 0;
}

/* \return \p ret, of which the sentence is told to belong to \p what */
static int judge(struct call *call, int ret, const char *what)
{
	if (ret != 0)
		err_prefix(&call->err, "%s", what);
	return ret;
}

/* ---- what can be asked ---- */

static int get_instance(struct call *call)
{
	static const char *const states[] = {
		[VM_STATE_NOT_STARTED] = "Not started",
		[VM_STATE_RUNNING] = "Running",
		[VM_STATE_PAUSED] = "Paused",
		[VM_STATE_ENDED] = "Running", /* for the moment that the process still has */
	};

	return call_answer(call, json_pack("{ss ss ss ss}", "app_name", "Firecracker", "id",
					   microvm_get_id(call->microvm), "state",
					   states[microvm_get_state(call->microvm)], "vmm_version",
					   FIRECRACKER_VERSION));
}

static int get_version(struct call *call)
{
	return call_answer(call, json_pack("{ss}", "firecracker_version", FIRECRACKER_VERSION));
}

static int get_config(struct call *call)
{
	return call_answer(call, vm_config_to_json(microvm_get_config(call->microvm)));
}

static int get_machine(struct call *call)
{
	return call_answer(call, machine_to_json(microvm_get_config(call->microvm)));
}

static int get_metrics(struct call *call)
{
	cleanup_free char *text = metrics_to_json();

	return call_answer(call, text == NULL ? NULL : json_loads(text, 0, NULL));
}

/* ---- what the machine shall be ---- */

static int put_boot_source(struct call *call)
{
	struct config_boot_source boot = { 0 };
	int ret = boot_source_from_json(&boot, call->body, &call->err);

	if (ret != 0)
		return call_refuse_body(call, ret);
	return judge(call, microvm_put_boot_source(call->microvm, &boot, &call->err),
		     "Boot source error");
}

static int put_machine(struct call *call)
{
	struct config_machine machine;
	int ret;

	vm_config_get_machine(microvm_get_config(call->microvm), &machine);
	ret = machine_from_json(&machine, call->body, false, &call->notes, &call->err);
	if (ret != 0)
		return call_refuse_body(call, ret);
	return judge(call, microvm_put_machine(call->microvm, &machine, &call->err),
		     "Machine config error");
}

static int patch_machine(struct call *call)
{
	struct config_machine machine;
	int ret;

	vm_config_get_machine(microvm_get_config(call->microvm), &machine);
	ret = machine_from_json(&machine, call->body, true, &call->notes, &call->err);
	if (ret != 0)
		return call_refuse_body(call, ret);
	return judge(call, microvm_put_machine(call->microvm, &machine, &call->err),
		     "Machine config error");
}

static int put_cpu(struct call *call)
{
	struct config_cpu *cpu = calloc(1, sizeof(*cpu));
	int ret;

	if (cpu == NULL)
		return err_set(&call->err, -ENOMEM, "Configure CPU error: no memory");
	ret = cpu_from_json(cpu, call->body, &call->err);
	if (ret != 0)
		call_refuse_body(call, ret);
	else
		ret = judge(call, microvm_put_cpu(call->microvm, cpu, &call->err),
			    "Configure CPU error");
	free(cpu);
	return ret;
}

static bool is_started(const struct call *call)
{
	return microvm_get_state(call->microvm) != VM_STATE_NOT_STARTED;
}

static int refuse_plugging(struct call *call)
{
	return err_set(&call->err, -ENOTSUP,
		       "PCI is not enabled: devices cannot be added or removed once the microVM "
		       "was started");
}

/* \param name of the field that is the body's own id */
static bool has_same_id(const struct call *call, const char *name)
{
	const char *id = json_string_value(json_object_get(call->body, name));

	return id == NULL || strcmp(id, call->id) == 0;
}

static int put_drive(struct call *call)
{
	struct config_disk disk = { 0 };
	int ret;

	if (is_started(call))
		return refuse_plugging(call);
	ret = disk_from_json(&disk, call->body, &call->err);
	if (ret != 0)
		return call_refuse_body(call, ret);
	if (!has_same_id(call, "drive_id")) {
		config_disk_deinit(&disk);
		return err_set(&call->err, -EINVAL,
			       "The id from the path does not match the id from the body!");
	}
	return judge(call, microvm_put_disk(call->microvm, &disk, &call->err),
		     "Drive config error");
}

static int put_net(struct call *call)
{
	struct config_net net = { 0 };
	int ret;

	if (is_started(call))
		return refuse_plugging(call);
	ret = net_from_json(&net, call->body, &call->err);
	if (ret != 0)
		return call_refuse_body(call, ret);
	if (!has_same_id(call, "iface_id")) {
		err_set(&call->err, -EINVAL,
			"The id from the path [%s] does not match the id from the body [%s]!",
			call->id, net.id);
		config_net_deinit(&net);
		return -EINVAL;
	}
	return judge(call, microvm_put_net(call->microvm, &net, &call->err),
		     "Network config error");
}

static int put_vsock(struct call *call)
{
	struct config_vsock vsock = { 0 };
	int ret = vsock_from_json(&vsock, call->body, &call->notes, &call->err);

	if (ret != 0)
		return call_refuse_body(call, ret);
	return judge(call, microvm_put_vsock(call->microvm, &vsock, &call->err),
		     "Vsock config error");
}

static int put_balloon(struct call *call)
{
	struct config_balloon balloon = { 0 };
	int ret = balloon_from_json(&balloon, call->body, &call->err);

	if (ret != 0)
		return call_refuse_body(call, ret);
	return judge(call, microvm_put_balloon(call->microvm, &balloon, &call->err),
		     "Balloon config error");
}

static int put_entropy(struct call *call)
{
	struct config_rng rng = { 0 };
	int ret = rng_from_json(&rng, call->body, &call->err);

	if (ret != 0)
		return call_refuse_body(call, ret);
	return judge(call, microvm_put_rng(call->microvm, &rng, &call->err),
		     "Entropy config error");
}

static int put_serial(struct call *call)
{
	struct config_serial serial = { 0 };
	int ret = serial_from_json(&serial, call->body, &call->err);

	if (ret != 0)
		return call_refuse_body(call, ret);
	return judge(call, microvm_put_serial(call->microvm, &serial, &call->err),
		     "Serial config error");
}

/* ---- what is of the process ---- */

static int put_logger(struct call *call)
{
	struct config_logger logger;
	int ret =
		config_logger_dup(&logger, &microvm_get_config(call->microvm)->logger, &call->err);

	if (ret != 0)
		return judge(call, ret, "Logger error");
	ret = logger_from_json(&logger, call->body, &call->err);
	if (ret != 0) {
		config_logger_deinit(&logger);
		return call_refuse_body(call, ret);
	}
	return judge(call, microvm_put_logger(call->microvm, &logger, &call->err), "Logger error");
}

static int put_metrics(struct call *call)
{
	struct config_metrics config = { 0 };
	int ret = metrics_from_json(&config, call->body, &call->err);

	if (ret != 0)
		return call_refuse_body(call, ret);
	return judge(call, microvm_put_metrics(call->microvm, &config, &call->err),
		     "Metrics error");
}

/* ---- metadata ---- */

static int put_mmds_config(struct call *call)
{
	struct config_mmds mmds = { 0 };
	int ret = mmds_from_json(&mmds, call->body, &call->notes, &call->err);

	if (ret != 0)
		return call_refuse_body(call, ret);
	return judge(call, microvm_put_mmds(call->microvm, &mmds, &call->err),
		     "MMMDS config error"); /* spelled so in Firecracker */
}

static int judge_mmds(struct call *call, int ret)
{
	if (ret == -EFBIG)
		call->refusal = 413;
	return judge(call, ret, ret == -EFBIG ? "MMDS limit exceeded error" : "MMDS error");
}

static int put_mmds(struct call *call)
{
	struct mmds *mmds = microvm_get_mmds(call->microvm);

	if (is_started(call) && mmds_get(mmds) == NULL &&
	    !microvm_get_config(call->microvm)->mmds.is_set)
		return judge_mmds(call, err_set(&call->err, -ENODATA,
						"The MMDS data store is not initialized."));
	return judge_mmds(call, mmds_put(mmds, call->body, &call->err));
}

static int patch_mmds(struct call *call)
{
	return judge_mmds(call,
			  mmds_patch(microvm_get_mmds(call->microvm), call->body, &call->err));
}

static int get_mmds(struct call *call)
{
	const json_t *data = mmds_get(microvm_get_mmds(call->microvm));

	return call_answer(call, data == NULL ? json_object() : json_deep_copy(data));
}

/* ---- actions ---- */

static int start_instance(struct call *call)
{
	enum vm_fault fault;

	if (is_started(call))
		return err_set(&call->err, -EINVAL,
			       "The requested operation is not supported after starting the "
			       "microVM.");
	return judge(call, microvm_start(call->microvm, &fault, &call->err), "Start microvm error");
}

static int press_keys(struct call *call)
{
	return judge(call, vm_press_power_key(microvm_get_vm(call->microvm), &call->err),
		     "Internal VMM error");
}

static int put_action(struct call *call)
{
	enum action { FLUSH_METRICS, INSTANCE_START, SEND_CTRL_ALT_DEL };
	static const char *const names[] = {
		[FLUSH_METRICS] = "FlushMetrics",
		[INSTANCE_START] = "InstanceStart",
		[SEND_CTRL_ALT_DEL] = "SendCtrlAltDel",
	};
	unsigned int action = 0;
	int ret = json_one_name(call->body, "action_type", names, ARRAY_SIZE(names), &action,
				&call->err);

	if (ret != 0)
		return call_refuse_body(call, ret);
	if (action == INSTANCE_START)
		return start_instance(call);
	if (!is_started(call))
		return err_set(&call->err, -EINVAL,
			       "The requested operation is not supported before starting the "
			       "microVM.");
	if (action == SEND_CTRL_ALT_DEL)
		return press_keys(call);
	return judge(call, metrics_flush(&call->err), "Internal VMM error");
}

/* ---- what there is not ---- */

static int refuse_pmem(struct call *call)
{
	return err_set(&call->err, -ENOTSUP,
		       "Pmem config error: TeleVM has no persistent memory devices");
}

static int refuse_memory_hotplug(struct call *call)
{
	return err_set(&call->err, -ENOTSUP,
		       "Memory hotplug config error: TeleVM cannot add memory to a microVM");
}

static int refuse_memory_update(struct call *call)
{
	return err_set(&call->err, -ENOTSUP,
		       "Memory hotplug update error: TeleVM cannot add memory to a microVM");
}

static int refuse_snapshot(struct call *call)
{
	return err_set(&call->err, -ENOTSUP,
		       "Create snapshot error: TeleVM cannot write snapshots");
}

static int refuse_loading(struct call *call)
{
	if (microvm_is_boot_path(call->microvm))
		return err_set(&call->err, -ENOTSUP,
			       "Load snapshot error: Loading a microVM snapshot not allowed after "
			       "configuring boot-specific resources.");
	return err_set(&call->err, -ENOTSUP, "Load snapshot error: TeleVM cannot read snapshots");
}

/* ---- the table ---- */

/* clang-format off */

#define ROW(method_, path_, when_, handle_, ...) \
	{ .method = HTTP_##method_, .path = path_, .when = WHEN_##when_, .handle = handle_, \
	  __VA_ARGS__ }

#define COUNT_GET(name) .n_calls = (&metrics.get_api_requests.name##_count)
#define COUNT_PUT(name) .n_calls = (&metrics.put_api_requests.name##_count), \
	.n_fails = (&metrics.put_api_requests.name##_fails)
#define COUNT_PATCH(name) .n_calls = (&metrics.patch_api_requests.name##_count), \
	.n_fails = (&metrics.patch_api_requests.name##_fails)

const struct operation operations[] = {
	ROW(GET,    "",                       EVER,         get_instance, COUNT_GET(instance_info)),
	ROW(GET,    "version",                EVER,         get_version, COUNT_GET(vmm_version)),
	ROW(GET,    "vm/config",              EVER,         get_config),
	ROW(GET,    "metrics",                EVER,         get_metrics), /* TeleVM's own */
	ROW(PUT,    "actions",                EVER,         put_action, COUNT_PUT(actions)),
	ROW(PUT,    "boot-source",            BEFORE_START, put_boot_source, COUNT_PUT(boot_source)),
	ROW(GET,    "machine-config",         EVER,         get_machine, COUNT_GET(machine_cfg)),
	ROW(PUT,    "machine-config",         BEFORE_START, put_machine, COUNT_PUT(machine_cfg)),
	ROW(PATCH,  "machine-config",         BEFORE_START, patch_machine, COUNT_PATCH(machine_cfg)),
	ROW(PUT,    "cpu-config",             BEFORE_START, put_cpu, COUNT_PUT(cpu_cfg), .is_long = true),
	ROW(PUT,    "drives/*",               EVER,         put_drive, COUNT_PUT(drive)),
	ROW(PATCH,  "drives/*",               AFTER_START,  patch_drive, COUNT_PATCH(drive)),
	ROW(DELETE, "drives/*",               AFTER_START,  refuse_plugging),
	ROW(PUT,    "pmem/*",                 EVER,         refuse_pmem, COUNT_PUT(pmem)),
	ROW(PATCH,  "pmem/*",                 AFTER_START,  refuse_pmem, COUNT_PATCH(pmem)),
	ROW(DELETE, "pmem/*",                 AFTER_START,  refuse_plugging),
	ROW(PUT,    "network-interfaces/*",   EVER,         put_net, COUNT_PUT(network)),
	ROW(PATCH,  "network-interfaces/*",   AFTER_START,  patch_net, COUNT_PATCH(network)),
	ROW(DELETE, "network-interfaces/*",   AFTER_START,  refuse_plugging),
	ROW(PUT,    "vsock",                  BEFORE_START, put_vsock, COUNT_PUT(vsock)),
	ROW(PUT,    "balloon",                BEFORE_START, put_balloon, .is_exact = true),
	ROW(GET,    "balloon",                EVER,         get_balloon, .is_exact = true),
	ROW(PATCH,  "balloon",                AFTER_START,  patch_balloon, .is_exact = true),
	ROW(GET,    "balloon/statistics",     AFTER_START,  get_balloon_stats),
	ROW(PATCH,  "balloon/statistics",     AFTER_START,  patch_balloon_stats),
	ROW(PATCH,  "balloon/hinting/start",  AFTER_START,  start_hinting, .is_body_optional = true),
	ROW(GET,    "balloon/hinting/status", AFTER_START,  get_hinting),
	ROW(PATCH,  "balloon/hinting/stop",   AFTER_START,  stop_hinting, .is_body_optional = true),
	ROW(PUT,    "entropy",                BEFORE_START, put_entropy),
	ROW(PUT,    "serial",                 BEFORE_START, put_serial, COUNT_PUT(serial)),
	ROW(PUT,    "logger",                 BEFORE_START, put_logger, COUNT_PUT(logger)),
	ROW(PUT,    "metrics",                BEFORE_START, put_metrics, COUNT_PUT(metrics)),
	ROW(PUT,    "mmds/config",            BEFORE_START, put_mmds_config, COUNT_PUT(mmds)),
	ROW(PUT,    "mmds",                   EVER,         put_mmds, COUNT_PUT(mmds), .is_exact = true, .is_secret = true),
	ROW(PATCH,  "mmds",                   EVER,         patch_mmds, COUNT_PATCH(mmds), .is_exact = true, .is_secret = true),
	ROW(GET,    "mmds",                   EVER,         get_mmds, COUNT_GET(mmds), .is_exact = true),
	ROW(PUT,    "hotplug/memory",         BEFORE_START, refuse_memory_hotplug, COUNT_PUT(hotplug_memory)),
	ROW(PATCH,  "hotplug/memory",         AFTER_START,  refuse_memory_update, COUNT_PATCH(hotplug_memory)),
	ROW(GET,    "hotplug/memory",         AFTER_START,  refuse_memory_update, COUNT_GET(hotplug_memory)),
	ROW(PATCH,  "vm",                     AFTER_START,  patch_vm, .is_exact = true),
	ROW(PUT,    "snapshot/create",        AFTER_START,  refuse_snapshot),
	ROW(PUT,    "snapshot/load",          BEFORE_START, refuse_loading),
};
/* clang-format on */

const unsigned int n_operations = ARRAY_SIZE(operations);
