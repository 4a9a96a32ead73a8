/*
 * struct vm, for those who build it (build.c), run it (vm.c) and change it (update.c).
 */
#pragma once

#include "bus/mmio_bus.h"
#include "kvm/kvm_vm.h"
#include "mem/guest_mem.h"
#include "platform/boot_timer.h"
#include "platform/pvpanic.h"
#include "vm/boot.h"
#include "vm/gate.h"
#include "vm/irqchip.h"
#include "vm/rtc_device.h"
#include "vm/serial_console.h"
#include "vm/vcpu.h"
#include "vm/virtio_devices.h"
#include "vm/vm.h"

#include <stdatomic.h>
#include <stdbool.h>

struct event;

struct vm {
	struct vm_env env;
	struct guest_mem mem;
	struct boot boot;
	struct kvm_vm kvm;
	struct mmio_bus bus;
	struct vcpu *vcpus;
	unsigned int n_vcpus;
	struct gate gate; /**< of the vCPUs */
	struct irqchip irqchip;
	int end_fd; /**< eventfd: `end` has been written */
	struct event *end_event;
	struct serial_console serial;
	bool has_serial;
	struct rtc_device rtc;
	struct pvpanic pvpanic;
	struct boot_timer boot_timer;
	unsigned int n_sources; /**< of interrupts */
	struct virtio_devices *virtio;
	bool has_terminal; /**< the console is on it */
	struct vcpu_exit_env exit_env;
	_Atomic int end; /**< enum vm_end, written once */
	bool is_started; /**< the I/O thread's, as the next */
	bool is_paused;
	bool is_closed;
};

/** Tell how the machine ends. Any thread; the first reason wins: a panic is one also when the guest
 * then resets. */
void vm_finish(struct vm *vm, enum vm_end end);
