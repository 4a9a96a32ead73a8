/*
 * One vCPU in KVM: its shared run page, its registers, its run ioctl.
 *
 * A vCPU is created and set up by the thread that builds the machine and then belongs to its own
 * thread. Two functions are for any thread: kvm_vcpu_interrupt() and kvm_vcpu_request_exit().
 */
#pragma once

#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct isa;
struct kvm_run;
struct kvm_vm;

struct kvm_vcpu {
	int fd;
	unsigned int hartid; /**< also the vCPU's id in KVM: SBI HSM calls name harts by it */
	struct kvm_run *run; /**< shared with the kernel; \c map_size bytes */
	size_t map_size;
};

/** Registers that explain a guest that cannot go on. */
struct kvm_vcpu_regs {
	uint64_t pc, sp, ra, scause, stval, sepc, mode;
};

/** Create hart \p hartid. The first one starts running, the others wait for SBI HSM. */
__attribute__((warn_unused_result)) int kvm_vcpu_init(struct kvm_vcpu *vcpu,
						      const struct kvm_vm *vm, unsigned int hartid,
						      struct err *err);

/**
 * Fill \p isa with the extensions the vCPU has and this program knows by name, and the block sizes
 * of the cache-block ones.
 */
__attribute__((warn_unused_result)) int kvm_vcpu_get_isa(const struct kvm_vcpu *vcpu,
							 struct isa *isa, struct err *err);

/*
 * What a vCPU begins with, and shall not have. Before the first run. Where KVM does not know an
 * extension, the guest does not have it, so those are no errors.
 */

/** Turn an ISA extension off; many can only be hidden from the guest, so this may do nothing. */
void kvm_vcpu_disable_isa(const struct kvm_vcpu *vcpu, const char *name);

/** Turn an SBI extension off. \return 0; -EINVAL: no such name */
__attribute__((warn_unused_result)) int kvm_vcpu_disable_sbi(const struct kvm_vcpu *vcpu,
							     const char *name, struct err *err);

/**
 * Set the bits \p mask of a register to those of \p value.
 * \param id as KVM has it (ONE_REG); of a register of no more than 64 bits
 * \return 0, or a negative errno with a sentence that names it
 */
__attribute__((warn_unused_result)) int kvm_vcpu_modify_reg(const struct kvm_vcpu *vcpu,
							    uint64_t id, uint64_t mask,
							    uint64_t value, struct err *err);

/** Ticks per second of the guest's \c time. */
__attribute__((warn_unused_result)) int kvm_vcpu_get_timebase(const struct kvm_vcpu *vcpu,
							      uint64_t *hz, struct err *err);

/**
 * Let the SBI debug console's calls (DBCN) reach this program, where KVM knows it. Before the first
 * run.
 */
__attribute__((warn_unused_result)) int kvm_vcpu_enable_dbcn(const struct kvm_vcpu *vcpu,
							     struct err *err);

/** Where the vCPU begins: pc, and a0 = hartid and a1 = device tree as the kernel wants them. */
__attribute__((warn_unused_result)) int kvm_vcpu_set_entry(const struct kvm_vcpu *vcpu, uint64_t pc,
							   uint64_t fdt_gpa, struct err *err);

/**
 * Run the guest until it exits.
 * \return 0 with the reason in \c run; -EINTR when kicked; another negative errno: KVM gave up
 */
int kvm_vcpu_run(const struct kvm_vcpu *vcpu);

/** Make each run return -EINTR from now on; one under way also needs a signal. Any thread. */
void kvm_vcpu_request_exit(const struct kvm_vcpu *vcpu);

/** Let it run again. */
void kvm_vcpu_forget_exit(const struct kvm_vcpu *vcpu);

/** Set or clear the supervisor external interrupt (user-space PLIC only). Any thread. */
void kvm_vcpu_interrupt(const struct kvm_vcpu *vcpu, bool asserted);

/** Read what a report needs; what cannot be read is 0. */
void kvm_vcpu_get_regs(const struct kvm_vcpu *vcpu, struct kvm_vcpu_regs *regs);

/** Unmap and close. Legal on a zeroed vCPU, and twice. */
void kvm_vcpu_deinit(struct kvm_vcpu *vcpu);
