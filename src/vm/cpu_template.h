/*
 * Makes vCPUs what /cpu-config says: without some of the host's extensions, and with bits of their
 * registers set.
 *
 * Few ISA extensions can be taken away from a guest: for most the processor has no switch. All that
 * are named are hidden from the device tree, with those that need them, and a guest that goes by it
 * does without. So a fleet's hosts can look the same.
 */
#pragma once

#include "config/config.h"
#include "util/err.h"

struct isa;
struct kvm_vm;
struct vcpu;

/** Is the ISA extension to be off, by its own name? */
bool cpu_template_has_off(const struct config_cpu *cpu, const char *name);

/**
 * Set all vCPUs up. Before the interrupt controller is made.
 * \return 0, or a negative errno with a sentence: of what the user asked
 */
__attribute__((warn_unused_result)) int cpu_template_apply(const struct config_cpu *cpu,
							   const struct kvm_vm *kvm,
							   struct vcpu *vcpus, unsigned int n_vcpus,
							   struct err *err);

/** Take what is off out of the set that the guest is told of. */
void cpu_template_hide(const struct config_cpu *cpu, struct isa *isa);
