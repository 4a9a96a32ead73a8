/*
 * The in-kernel interrupt controller: APLIC and IMSICs of the RISC-V Advanced Interrupt
 * Architecture (KVM_DEV_TYPE_RISCV_AIA), in mode AUTO: a hart uses one of the processor's guest
 * interrupt files while one is free, and the kernel's emulation otherwise.
 *
 * To devices it is a struct irq_sink whose lines are edges: each connected source has an irqfd, so
 * raise() is one write to an eventfd from any thread and lower() is nothing.
 */
#pragma once

#include "bus/irq.h"
#include "riscv/layout.h"
#include "util/err.h"

#include <stdint.h>

struct kvm_vm;

struct kvm_aia {
	struct irq_sink sink;
	int device_fd;
	int irqfds[LAYOUT_IRQ_SOURCES + 1]; /**< by source; -1 where nothing is connected */
};

#define KVM_AIA_NONE ((struct kvm_aia){ .device_fd = -1 })

/**
 * Create and initialise the controller at the addresses and with the sources of layout.h. Every
 * vCPU must exist, none may have run, and none may be created afterwards.
 * \param n_harts vCPUs of the machine
 */
__attribute__((warn_unused_result)) int kvm_aia_init(struct kvm_aia *aia, const struct kvm_vm *vm,
						     unsigned int n_harts, struct err *err);

/** Connect \p source, so that the sink's raise() delivers it. Once for each line, before running.
 */
__attribute__((warn_unused_result)) int kvm_aia_connect(struct kvm_aia *aia,
							const struct kvm_vm *vm, uint32_t source,
							struct err *err);

/** Close everything. Legal on KVM_AIA_NONE and on a zeroed one, and twice. */
void kvm_aia_deinit(struct kvm_aia *aia);
