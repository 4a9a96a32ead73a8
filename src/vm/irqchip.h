/*
 * The machine's interrupt controller: one of two, behind struct irq_sink.
 *
 * The AIA in the kernel where the host has it, otherwise a PLIC in this process that drives each
 * hart's external interrupt by an ioctl. Devices get lines and do not know which.
 */
#pragma once

#include "bus/irq.h"
#include "config/config.h"
#include "kvm/kvm_aia.h"
#include "riscv/fdt.h"
#include "riscv/plic.h"
#include "util/err.h"

#include <stdbool.h>

struct kvm_vm;
struct mmio_bus;
struct vcpu;

struct irqchip {
	bool is_init;
	enum fdt_irqchip kind;
	struct plic plic;
	struct kvm_aia aia;
	struct vcpu *vcpus; /**< borrowed, by hartid */
};

/**
 * Create the controller, and put the PLIC on the bus. After all vCPUs, before any runs.
 * \param n_sources the highest source number in use; a guest sets up each one that is there
 * \param wanted CONFIG_IRQCHIP_AUTO takes the AIA where the host has it
 * \return 0; -ENOTSUP when the AIA is wanted and the host has none; another negative errno
 */
__attribute__((warn_unused_result)) int irqchip_init(struct irqchip *irqchip,
						     const struct kvm_vm *kvm, struct mmio_bus *bus,
						     struct vcpu *vcpus, unsigned int n_vcpus,
						     unsigned int n_sources,
						     enum config_irqchip wanted, struct err *err);

/** The line of a source, for the device that is given it. */
struct irq_line irqchip_line(struct irqchip *irqchip, uint32_t source);

/**
 * The line of a source that the kernel raises by itself whenever an eventfd is written. Its device
 * may raise it too, and has to lower it when its driver has acknowledged the interrupt.
 * \param fd borrowed
 * \return 0; -ENOTSUP when the controller is not in the kernel; -errno of KVM
 */
__attribute__((warn_unused_result)) int irqchip_line_by_fd(struct irqchip *irqchip, uint32_t source,
							   int fd, struct irq_line *line,
							   struct err *err);

/** Legal on a zeroed object, and twice. */
void irqchip_deinit(struct irqchip *irqchip);
