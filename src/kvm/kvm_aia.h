/*
 * The in-kernel interrupt controller: APLIC and IMSICs of the RISC-V Advanced Interrupt
 * Architecture (KVM_DEV_TYPE_RISCV_AIA), in mode AUTO: a hart uses one of the processor's guest
 * interrupt files while one is free, and the kernel's emulation otherwise.
 *
 * To devices it is a struct irq_sink whose lines are edges: raise() pulses the APLIC's wired source
 * by two ioctls (KVM_IRQ_LINE, up and down) from any thread, and lower() is nothing.
 *
 * Not by an irqfd: of one whose route is an APLIC source, Linux 6.12 injects the rising half in the
 * waker's context and never the falling one (kvm_arch_set_irq_inatomic), so that only the first
 * interrupt arrives. See docs/decisions/0001.
 *
 * Where another part of the kernel is to interrupt by itself, an irqfd is the rising half, and
 * lower() of a sink of its own, `held`, the falling one: kvm_aia_add_irqfd(). See
 * docs/decisions/0012.
 */
#pragma once

#include "bus/irq.h"
#include "util/err.h"

#include <stdint.h>

struct kvm_vm;

struct kvm_aia {
	struct irq_sink sink; /**< raise() pulses, lower() is nothing */
	struct irq_sink held; /**< a raised source stays so until lower() */
	int device_fd;
	int vm_fd; /**< borrowed */
};

#define KVM_AIA_NONE ((struct kvm_aia){ .device_fd = -1 })

/**
 * Create and initialise the controller at the addresses of layout.h. Every vCPU must exist, none
 * may have run, and none may be created afterwards.
 * \param n_harts vCPUs of the machine
 * \param n_sources the highest wired source
 */
__attribute__((warn_unused_result)) int kvm_aia_init(struct kvm_aia *aia, const struct kvm_vm *vm,
						     unsigned int n_harts, unsigned int n_sources,
						     struct err *err);

/**
 * Raise a source whenever an eventfd is written. Whoever serves the interrupt has to lower() the
 * source by `held` before it looks at what the interrupt is for: as long as it is high, raising it
 * once more is no interrupt.
 * \param fd borrowed: closing it ends this
 */
__attribute__((warn_unused_result)) int kvm_aia_add_irqfd(const struct kvm_aia *aia,
							  uint32_t source, int fd, struct err *err);

/** Close it. Legal on KVM_AIA_NONE, and twice. */
void kvm_aia_deinit(struct kvm_aia *aia);
