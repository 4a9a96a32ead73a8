/*
 * The virtual machine: the one place that knows all parts.
 *
 * vm_new() turns a configuration into a machine that has not run yet: guest memory with the kernel
 * in it, devices on the bus, an interrupt controller, vCPUs, a device tree. Whatever is wrong with
 * a file the user named is found before KVM is asked for anything. vm_run() starts one thread per
 * vCPU and serves the devices on the calling thread until the machine ends.
 *
 * struct vm owns everything, in the order of creation, and gives it back in reverse.
 */
#pragma once

#include "util/err.h"

struct vm;
struct vm_config;

/** Why vm_new() failed: decides the exit status. */
enum vm_fault {
	VM_FAULT_HOST,   /**< the host cannot do it: no KVM, no memory, … */
	VM_FAULT_CONFIG, /**< what the user asked for is wrong: a file, a size, … */
};

/** How a machine ended. */
enum vm_end {
	VM_END_NONE,       /**< it has not */
	VM_END_SHUTDOWN,   /**< the guest shut down (SBI SRST) */
	VM_END_REBOOT,     /**< the guest asked for a reset (SBI SRST) */
	VM_END_PANIC,      /**< the guest's kernel panicked (pvpanic) */
	VM_END_VCPU_ERROR, /**< KVM_RUN gave up on a vCPU; the report is in the log */
	VM_END_STOPPED,    /**< from outside: the user left, or a signal */
};

struct vm_result {
	enum vm_end end;
	int signal; /**< for VM_END_STOPPED: SIGTERM or SIGINT, 0 when the user left */
};

/**
 * Build a machine.
 * \param vmp set to the machine, owned by the caller; NULL on failure
 * \param config checked by vm_config_validate(); borrowed during the call
 * \param fault set on failure
 * \return 0 or a negative errno with a sentence in \p err
 */
__attribute__((warn_unused_result)) int vm_new(struct vm **vmp, const struct vm_config *config,
					       enum vm_fault *fault, struct err *err);

/**
 * Run the machine to its end, once. SIGTERM and SIGINT stop it in order.
 * \param result how it ended
 * \return 0, or a negative errno with a sentence when it could not be started
 */
__attribute__((warn_unused_result)) int vm_run(struct vm *vm, struct vm_result *result,
					       struct err *err);

/** Free the machine; NULL is fine. */
void vm_free(struct vm *vm);
