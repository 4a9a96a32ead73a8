#include "vm/virtio_devices.h"

#include "backend/disk.h"
#include "backend/netdev.h"
#include "bus/mmio_bus.h"
#include "config/config.h"
#include "kvm/kvm_vm.h"
#include "util/assert.h"
#include "util/metrics.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/input.h"
#include "virtio/mmio.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/virtio_console.h"
#include "virtio/vsock.h"
#include "vm/irqchip.h"
#include "vm/resources.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct disk_device {
	char *id;
	struct disk *disk;
	struct blk blk;
};

struct net_device {
	char *id;
	struct netdev *netdev;
	struct net net;
};

/* Each kind is large and few VMs have all: what is not there takes no memory. */
struct virtio_devices {
	const struct virtio_env *env; /* while they are made */
	unsigned int n_slots;
	struct fdt_virtio slots[LAYOUT_MAX_VIRTIO];
	uint8_t *register_pages; /* one for each slot */
	size_t register_bytes;
	struct kvm_page pages[LAYOUT_MAX_VIRTIO];
	struct disk_device *disks[CONFIG_DISKS_MAX];
	struct net_device *nets[CONFIG_NETS_MAX];
	struct vsock *vsock;
	struct rng *rng;
	struct balloon *balloon;
	struct virtio_console *console;
	struct input *input;
};

static_assert(CONFIG_DISKS_MAX + CONFIG_NETS_MAX + 5 <= LAYOUT_MAX_VIRTIO, "a slot for each");

unsigned int virtio_devices_count(const struct vm_config *config)
{
	return config->n_disks + config->n_nets + (config->vsock.path != NULL) +
	       config->rng.is_wanted + config->balloon.is_wanted +
	       (config->console == CONFIG_CONSOLE_VIRTIO) + config->has_power_key;
}

/* ---- slots ---- */

static uint32_t next_source(const struct virtio_devices *devices)
{
	return LAYOUT_IRQ_FIRST_FREE + devices->n_slots;
}

static struct irq_line next_irq(const struct virtio_devices *devices)
{
	return irqchip_line(devices->env->irqchip, next_source(devices));
}

/* Have KVM turn the guest's notifications into kicks: the vCPU goes on meanwhile. */
static int tie_kicks(const struct virtio_devices *devices, const struct virtio_dev *dev,
		     uint64_t gpa, struct err *err)
{
	int ret = 0;

	for (unsigned int i = 0; i < dev->class->n_queues && ret == 0; i++)
		ret = kvm_vm_add_ioeventfd(devices->env->kvm, gpa + VIRTIO_MMIO_QUEUE_NOTIFY, i,
					   dev->kick_fds[i], err);
	return ret;
}

static void set_visible(void *ctx, bool is_visible)
{
	kvm_page_set_visible(ctx, is_visible);
}

static void show_registers(struct virtio_devices *devices, struct virtio_dev *dev, uint64_t gpa)
{
	struct kvm_page *page = &devices->pages[devices->n_slots];
	const struct virtio_page registers = {
		.bytes = devices->register_pages + (size_t)devices->n_slots * VIRTIO_MMIO_SIZE,
		.set_visible = set_visible,
		.ctx = page,
	};

	kvm_page_init(page, devices->env->kvm, gpa, registers.bytes);
	virtio_mmio_attach(dev, &registers);
}

/* Put a device that is made into the next slot. */
static int plug_in(struct virtio_devices *devices, struct virtio_dev *dev, struct err *err)
{
	uint64_t gpa = LAYOUT_VIRTIO_GPA(devices->n_slots);
	int ret;

	ASSERT(devices->n_slots < LAYOUT_MAX_VIRTIO);
	ret = mmio_bus_add(devices->env->bus, gpa, LAYOUT_DEVICE_SIZE, &virtio_mmio_ops, dev,
			   dev->class->name, err);
	if (ret == 0)
		ret = tie_kicks(devices, dev, gpa, err);
	if (ret == 0)
		show_registers(devices, dev, gpa);
	if (ret == 0)
		ret = virtio_dev_start(dev, devices->env->base, err);
	devices->slots[devices->n_slots] =
		(struct fdt_virtio){ .gpa = gpa, .irq = next_source(devices) };
	devices->n_slots++;
	return ret;
}

static int no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "no memory for a device");
}

/* ---- kinds ---- */

/* Names in the configuration are its own: those of devices are copies. */
static int copy_id(char **copy, const char *id, struct err *err)
{
	*copy = strdup(id);
	return *copy != NULL ? 0 : no_memory(err);
}

static int add_disk(struct virtio_devices *devices, unsigned int i,
		    const struct config_disk *config, struct err *err)
{
	struct blk_config blk_config = { .cache = config->cache, .limits = config->limits };
	const struct irq_line irq = next_irq(devices);
	struct disk_device *device = calloc(1, sizeof(*device));
	int ret;

	if (device == NULL)
		return no_memory(err);
	devices->disks[i] = device;
	ret = copy_id(&device->id, config->id, err);
	blk_config.id = device->id;
	if (ret == 0)
		ret = vm_resources_take_disk(devices->env->resources, config, &device->disk, err);
	if (ret != 0)
		return ret;
	ret = blk_init(&device->blk, &blk_config, device->disk, devices->env->mem, &irq,
		       devices->env->base, err);
	if (ret == 0)
		ret = metrics_add_block(device->id, &device->blk.metrics, err);
	if (ret != 0)
		return err_prefix(err, "disk '%s'", config->id);
	return plug_in(devices, &device->blk.dev, err);
}

/* The kernel interrupts where it works on the queues. */
static int net_irq(const struct virtio_devices *devices, const struct netdev *netdev,
		   struct irq_line *irq, struct err *err)
{
	if (netdev->vhost != NULL)
		return irqchip_line_by_fd(devices->env->irqchip, next_source(devices),
					  netdev->vhost->call_fd, irq, err);
	*irq = next_irq(devices);
	return 0;
}

static int add_net(struct virtio_devices *devices, unsigned int i, const struct config_net *config,
		   struct err *err)
{
	struct net_config net_config = {
		.has_mac = config->has_mac,
		.mtu = config->mtu,
		.rx = config->rx,
		.tx = config->tx,
	};
	struct irq_line irq;
	struct net_device *device = calloc(1, sizeof(*device));
	int ret;

	if (device == NULL)
		return no_memory(err);
	devices->nets[i] = device;
	memcpy(net_config.mac, config->mac, sizeof(net_config.mac));
	ret = copy_id(&device->id, config->id, err);
	net_config.id = device->id;
	if (ret == 0)
		ret = vm_resources_take_net(devices->env->resources, config, &device->netdev, err);
	if (ret != 0)
		return ret;
	ret = net_irq(devices, device->netdev, &irq, err);
	if (ret != 0)
		return err_prefix(err, "net '%s': vhost", config->id);
	netdev_watch(device->netdev, devices->env->base);
	ret = net_init(&device->net, &net_config, device->netdev, devices->env->mem, &irq,
		       devices->env->base, err);
	if (ret == 0)
		ret = metrics_add_net(device->id, &device->net.metrics, err);
	if (ret != 0)
		return err_prefix(err, "net '%s'", config->id);
	return plug_in(devices, &device->net.dev, err);
}

/* \param listener is empty afterwards when the device has taken it over */
static int init_vsock(struct virtio_devices *devices, const struct config_vsock *config,
		      struct unix_listener *listener, struct err *err)
{
	const struct vsock_config vsock_config = {
		.id = "vsock",
		.guest_cid = config->guest_cid,
		.uds_path = config->path,
		.listener = listener,
	};
	const struct irq_line irq = next_irq(devices);

	devices->vsock = calloc(1, sizeof(*devices->vsock));
	if (devices->vsock == NULL)
		return no_memory(err);
	return vsock_init(devices->vsock, &vsock_config, devices->env->mem, &irq,
			  devices->env->base, err);
}

static int add_vsock(struct virtio_devices *devices, const struct config_vsock *config,
		     struct err *err)
{
	struct unix_listener listener = { .fd = -1 };
	int ret = vm_resources_take_vsock(devices->env->resources, config, &listener, err);

	if (ret != 0)
		return ret;
	ret = init_vsock(devices, config, &listener, err);
	unix_listener_deinit(&listener);
	return ret != 0 ? ret : plug_in(devices, &devices->vsock->dev, err);
}

static int add_rng(struct virtio_devices *devices, const struct config_rng *config, struct err *err)
{
	const struct irq_line irq = next_irq(devices);
	int ret;

	devices->rng = calloc(1, sizeof(*devices->rng));
	if (devices->rng == NULL)
		return no_memory(err);
	ret = rng_init(devices->rng, "rng", &config->limits, devices->env->mem, &irq,
		       devices->env->base, err);
	return ret != 0 ? ret : plug_in(devices, &devices->rng->dev, err);
}

static int add_balloon(struct virtio_devices *devices, const struct config_balloon *config,
		       struct err *err)
{
	const struct irq_line irq = next_irq(devices);
	int ret;

	devices->balloon = calloc(1, sizeof(*devices->balloon));
	if (devices->balloon == NULL)
		return no_memory(err);
	ret = balloon_init(devices->balloon, "balloon", &config->options, devices->env->mem, &irq,
			   devices->env->base, err);
	return ret != 0 ? ret : plug_in(devices, &devices->balloon->dev, err);
}

static int add_console(struct virtio_devices *devices, struct err *err)
{
	const struct virtio_console_config config = {
		.in_fd = STDIN_FILENO,
		.out_fd = STDOUT_FILENO,
		.leave = devices->env->leave,
		.ctx = devices->env->ctx,
	};
	const struct irq_line irq = next_irq(devices);
	int ret;

	devices->console = calloc(1, sizeof(*devices->console));
	if (devices->console == NULL)
		return no_memory(err);
	ret = virtio_console_init(devices->console, "console", &config, devices->env->mem, &irq,
				  devices->env->base, err);
	return ret != 0 ? ret : plug_in(devices, &devices->console->dev, err);
}

static int add_input(struct virtio_devices *devices, struct err *err)
{
	const struct irq_line irq = next_irq(devices);
	int ret;

	devices->input = calloc(1, sizeof(*devices->input));
	if (devices->input == NULL)
		return no_memory(err);
	ret = input_init(devices->input, "keys", devices->env->mem, &irq, err);
	return ret != 0 ? ret : plug_in(devices, &devices->input->dev, err);
}

/* ---- all of them ---- */

static int alloc_registers(struct virtio_devices *devices, unsigned int n_slots, struct err *err)
{
	size_t bytes = (size_t)n_slots * VIRTIO_MMIO_SIZE;
	void *pages;

	if (n_slots == 0)
		return 0;
	pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		return no_memory(err);
	devices->register_pages = pages;
	devices->register_bytes = bytes;
	return 0;
}

static int add_those_with_files(struct virtio_devices *devices, const struct vm_config *config,
				struct err *err)
{
	int ret = 0;

	for (unsigned int i = 0; i < config->n_disks && ret == 0; i++)
		ret = add_disk(devices, i, &config->disks[i], err);
	for (unsigned int i = 0; i < config->n_nets && ret == 0; i++)
		ret = add_net(devices, i, &config->nets[i], err);
	if (ret == 0 && config->vsock.path != NULL)
		ret = add_vsock(devices, &config->vsock, err);
	return ret;
}

static int add_others(struct virtio_devices *devices, const struct vm_config *config,
		      struct err *err)
{
	int ret = 0;

	if (config->rng.is_wanted)
		ret = add_rng(devices, &config->rng, err);
	if (ret == 0 && config->balloon.is_wanted)
		ret = add_balloon(devices, &config->balloon, err);
	if (ret == 0 && config->console == CONFIG_CONSOLE_VIRTIO)
		ret = add_console(devices, err);
	if (ret == 0 && config->has_power_key)
		ret = add_input(devices, err);
	return ret;
}

int virtio_devices_new(struct virtio_devices **devicesp, const struct vm_config *config,
		       const struct virtio_env *env, bool *is_users, struct err *err)
{
	struct virtio_devices *devices = calloc(1, sizeof(*devices));
	int ret;

	*is_users = false;
	if (devices == NULL)
		return no_memory(err);
	*devicesp = devices;
	devices->env = env;
	ret = alloc_registers(devices, virtio_devices_count(config), err);
	if (ret != 0)
		return ret;
	ret = add_those_with_files(devices, config, err);
	*is_users = ret != 0 && ret != -ENOMEM;
	if (ret == 0)
		ret = add_others(devices, config, err);
	devices->env = NULL;
	return ret;
}

void virtio_devices_describe(const struct virtio_devices *devices, struct fdt_machine *machine)
{
	memcpy(machine->virtio, devices->slots, sizeof(machine->virtio));
	machine->n_virtio = devices->n_slots;
}

struct blk *virtio_devices_disk(struct virtio_devices *devices, const char *id)
{
	for (unsigned int i = 0; i < CONFIG_DISKS_MAX; i++) {
		if (devices->disks[i] != NULL && strcmp(devices->disks[i]->id, id) == 0)
			return &devices->disks[i]->blk;
	}
	return NULL;
}

struct net *virtio_devices_net(struct virtio_devices *devices, const char *id)
{
	for (unsigned int i = 0; i < CONFIG_NETS_MAX; i++) {
		if (devices->nets[i] != NULL && strcmp(devices->nets[i]->id, id) == 0)
			return &devices->nets[i]->net;
	}
	return NULL;
}

struct balloon *virtio_devices_balloon(struct virtio_devices *devices)
{
	return devices->balloon;
}

struct input *virtio_devices_input(struct virtio_devices *devices)
{
	return devices->input;
}

void virtio_devices_flush_console(struct virtio_devices *devices, unsigned int timeout_ms)
{
	if (devices->console != NULL)
		virtio_console_flush(devices->console, timeout_ms);
}

static bool free_disk(struct disk_device *device)
{
	bool is_over;

	if (device == NULL)
		return true;
	metrics_remove(&device->blk.metrics);
	is_over = blk_deinit(&device->blk);
	if (device->disk != NULL)
		disk_close(device->disk);
	free(device->disk);
	free(device->id);
	free(device);
	return is_over;
}

static void free_net(struct net_device *device)
{
	if (device == NULL)
		return;
	metrics_remove(&device->net.metrics);
	net_deinit(&device->net);
	netdev_free(device->netdev);
	free(device->id);
	free(device);
}

bool virtio_devices_free(struct virtio_devices *devices)
{
	bool is_over = true;

	if (devices == NULL)
		return true;
	for (unsigned int i = 0; i < CONFIG_DISKS_MAX; i++)
		is_over = free_disk(devices->disks[i]) && is_over;
	for (unsigned int i = 0; i < CONFIG_NETS_MAX; i++)
		free_net(devices->nets[i]);
	if (devices->vsock != NULL)
		vsock_deinit(devices->vsock);
	if (devices->rng != NULL)
		rng_deinit(devices->rng);
	if (devices->balloon != NULL)
		balloon_deinit(devices->balloon);
	if (devices->console != NULL)
		virtio_console_deinit(devices->console);
	if (devices->input != NULL)
		input_deinit(devices->input);
	/* What they show to the guest, they may until they are gone. */
	if (devices->register_pages != NULL)
		munmap(devices->register_pages, devices->register_bytes);
	free(devices->vsock);
	free(devices->rng);
	free(devices->balloon);
	free(devices->console);
	free(devices->input);
	free(devices);
	return is_over;
}
