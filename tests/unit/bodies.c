#include "bodies.h"

#include "util/assert.h"

#include <stdlib.h>

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

int put_body(struct vm_config *config, enum kind kind, const json_t *body, struct json_notes *notes,
	     struct err *err)
{
	bool acknowledge;

	switch (kind) {
	case BOOT:
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
