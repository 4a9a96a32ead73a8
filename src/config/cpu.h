/*
 * What of the host's vCPU a guest shall not have, and how it begins: a part of struct vm_config.
 */
#pragma once

#include "util/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	CONFIG_CPU_OFF_MAX = 64,
	CONFIG_CPU_REGS_MAX = 64,
	CONFIG_CPU_CAPS_MAX = 32,
	CONFIG_CPU_NAME_MAX = 32,
};

/** Bits of a register of KVM's (ONE_REG) that each vCPU begins with: those of `mask` are set to
 * `value`. */
struct config_cpu_reg {
	uint64_t id;
	uint64_t mask;
	uint64_t value; /**< 0 where the mask is */
};

struct config_cpu {
	bool is_set;
	char *isa_off[CONFIG_CPU_OFF_MAX]; /**< ISA extensions by the device tree's names: "v" */
	unsigned int n_isa_off;
	char *sbi_off[CONFIG_CPU_OFF_MAX]; /**< names of SBI extensions: "pmu" */
	unsigned int n_sbi_off;
	struct config_cpu_reg regs[CONFIG_CPU_REGS_MAX];
	unsigned int n_regs;
	/** KVM capabilities that are needed (positive) or not asked for (negative, -1 - N) */
	int32_t capabilities[CONFIG_CPU_CAPS_MAX];
	unsigned int n_capabilities;
};

/** How many bits a register of KVM's has, which its number tells; 0: it is too wide for us. */
unsigned int config_cpu_reg_bits(uint64_t id);

/** \return 0, or -EINVAL with a sentence. Whether the host has what is named, KVM says. */
__attribute__((warn_unused_result)) int config_cpu_validate(const struct config_cpu *cpu,
							    struct err *err);

/** Free the strings and zero it. Legal on a zeroed object, and twice. */
void config_cpu_deinit(struct config_cpu *cpu);
