/*
 * One virtual machine in KVM: the checks that tell a user what the host lacks, the VM itself and
 * its memory slots. All functions run on the thread that builds the machine.
 */
#pragma once

#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kvm_vm {
	int sys_fd; /**< /dev/kvm */
	int vm_fd;
	size_t vcpu_map_size;  /**< bytes of struct kvm_run's mapping */
	unsigned int gpa_bits; /**< width of a guest-physical address */
	bool has_aia;          /**< the host can emulate or lend the AIA in the kernel */
	unsigned int n_slots;
};

/** A kvm_vm that holds nothing: kvm_vm_deinit() is legal on it. */
#define KVM_VM_NONE ((struct kvm_vm){ .sys_fd = -1, .vm_fd = -1 })

/**
 * Open KVM, check that it can do what TeleVM needs, create a VM.
 * \return 0, or a negative errno with a sentence that says what is missing and what to do
 */
__attribute__((warn_unused_result)) int kvm_vm_init(struct kvm_vm *vm, struct err *err);

/** Give the guest \p size bytes at \p gpa, backed by \p hva. Never with a dirty log. */
__attribute__((warn_unused_result)) int kvm_vm_add_memory(struct kvm_vm *vm, uint64_t gpa,
							  uint64_t size, void *hva,
							  struct err *err);

/** Have a 32-bit write of \p value at \p gpa signal the eventfd \p fd instead of reaching us. */
__attribute__((warn_unused_result)) int kvm_vm_add_ioeventfd(struct kvm_vm *vm, uint64_t gpa,
							     uint32_t value, int fd,
							     struct err *err);

/** Does this host's KVM have the capability of this number? */
bool kvm_vm_has_capability(const struct kvm_vm *vm, int number);

/** Close everything. Legal twice. */
void kvm_vm_deinit(struct kvm_vm *vm);
