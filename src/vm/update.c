#include "vm/update.h"

#include "virtio/blk.h"
#include "virtio/input.h"
#include "virtio/net.h"
#include "vm/machine.h"

#include <errno.h>

int vm_update_disk(struct vm *vm, const char *id, const char *path,
		   const struct rate_limiter_change *limits, struct err *err)
{
	struct blk *blk = virtio_devices_disk(vm->virtio, id);

	if (blk == NULL)
		return err_set(err, -ENOENT, "there is no disk '%s'", id);
	return blk_update(blk, path, limits, err);
}

int vm_set_net_limits(struct vm *vm, const char *id, const struct rate_limiter_change *rx,
		      const struct rate_limiter_change *tx, struct err *err)
{
	struct net *net = virtio_devices_net(vm->virtio, id);

	if (net == NULL)
		return err_set(err, -ENOENT, "there is no network '%s'", id);
	return net_set_limits(net, rx, tx, err);
}

struct balloon *vm_get_balloon(struct vm *vm)
{
	return virtio_devices_balloon(vm->virtio);
}

int vm_press_power_key(struct vm *vm, struct err *err)
{
	struct input *input = virtio_devices_input(vm->virtio);

	if (input == NULL)
		return err_set(err, -ENODEV, "this machine was made without a power key");
	return input_press_power(input, err);
}
