/*
 * The virtio devices of a VM: made from its configuration, each behind the MMIO transport in a slot
 * of its own, with a page of addresses and an interrupt source.
 *
 * Slots are filled in the order disks, networks, vsock, entropy, balloon, console, keyboard, each
 * kind in the order of the configuration: guests name devices in the order in which they find them.
 *
 * Built before the vCPUs run, on the I/O thread, and freed there after they have ended.
 */
#pragma once

#include "riscv/fdt.h"
#include "util/err.h"

#include <stdbool.h>

struct balloon;
struct blk;
struct event_base;
struct guest_mem;
struct input;
struct irqchip;
struct kvm_vm;
struct mmio_bus;
struct net;
struct vm_config;
struct vm_resources;

/** What devices are tied to; all borrowed. */
struct virtio_env {
	struct event_base *base;
	const struct guest_mem *mem;
	struct mmio_bus *bus;
	struct irqchip *irqchip;
	struct kvm_vm *kvm;
	struct vm_resources *resources; /**< has what was opened before; may be NULL */
	void (*leave)(void *ctx);       /**< on the I/O thread: the user left by the console */
	void *ctx;
};

struct virtio_devices;

/** How many slots the devices of a configuration take. */
unsigned int virtio_devices_count(const struct vm_config *config);

/**
 * Make all of them.
 * \param is_users set when what fails is for the user to mend: a file, an interface
 * \return 0, or a negative errno with a sentence that names the device
 */
__attribute__((warn_unused_result)) int virtio_devices_new(struct virtio_devices **devicesp,
							   const struct vm_config *config,
							   const struct virtio_env *env,
							   bool *is_users, struct err *err);

/** Tell the device tree of them. */
void virtio_devices_describe(const struct virtio_devices *devices, struct fdt_machine *machine);

/** Write out what the guest printed last, if by the virtio console. */
void virtio_devices_flush_console(struct virtio_devices *devices, unsigned int timeout_ms);

/* The devices, by the ids of the configuration; NULL where there is none. */

struct blk *virtio_devices_disk(struct virtio_devices *devices, const char *id);
struct net *virtio_devices_net(struct virtio_devices *devices, const char *id);
struct balloon *virtio_devices_balloon(struct virtio_devices *devices);
struct input *virtio_devices_input(struct virtio_devices *devices);

/**
 * Legal on NULL.
 * \return false: a disk does not answer, and the kernel may yet read and write guest memory
 */
bool virtio_devices_free(struct virtio_devices *devices);
