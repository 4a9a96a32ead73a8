/*
 * The virtual machine: the one place that knows all parts.
 *
 * vm_new() turns a configuration into a machine that has not run yet: guest memory with the kernel
 * in it, devices on the bus, an interrupt controller, vCPUs, a device tree. Whatever is wrong with
 * a file the user named is found before KVM is asked for anything. vm_start() starts one thread per
 * vCPU; from then on the loop of whoever called serves the devices, until `ended` tells that the
 * machine has come to its end. vm_close() then waits for the vCPUs and writes out what the guest
 * printed last.
 *
 *	vm_new(&vm, &config, resources, &env, &fault, &err);
 *	vm_start(vm, &err);
 *	event_base_dispatch(env.base);		until env.ended() breaks the loop
 *	vm_close(vm);
 *	vm_free(vm);
 *
 * struct vm owns everything it makes, in the order of creation, and gives it back in reverse. All
 * functions are for the I/O thread, which is the one that runs the loop. What changes a machine
 * while it runs is in vm/update.h.
 */
#pragma once

#include "util/err.h"

struct event_base;
struct vm;
struct vm_config;
struct vm_resources;

/** Why vm_new() failed: decides the exit status. */
enum vm_fault { VM_FAULT_HOST, VM_FAULT_CONFIG };

/** How a machine ended. */
enum vm_end {
	VM_END_NONE,       /**< it has not */
	VM_END_SHUTDOWN,   /**< the guest shut down (SBI SRST) */
	VM_END_REBOOT,     /**< the guest asked for a reset (SBI SRST) */
	VM_END_PANIC,      /**< the guest's kernel panicked (pvpanic) */
	VM_END_VCPU_ERROR, /**< KVM_RUN gave up on a vCPU; the report is in the log */
	VM_END_STOPPED,    /**< from outside: the user left, or vm_stop() */
};

enum vm_state { VM_STATE_NOT_STARTED, VM_STATE_RUNNING, VM_STATE_PAUSED, VM_STATE_ENDED };

/** What the process gives a machine; all borrowed. */
struct vm_env {
	struct event_base *base; /**< its loop's thread is the I/O thread */
	/** The machine has come to its end: called once, on the I/O thread, from the loop. */
	void (*ended)(void *ctx, enum vm_end end);
	void *ctx;
};

/**
 * Build a machine.
 * \param vmp set to the machine, owned by the caller; NULL on failure
 * \param config checked by vm_config_validate(); borrowed during the call
 * \param resources what was opened before (vm/resources.h); what is used is taken out. NULL: none
 * \param fault set on failure
 * \return 0 or a negative errno with a sentence in \p err
 */
__attribute__((warn_unused_result)) int vm_new(struct vm **vmp, const struct vm_config *config,
					       struct vm_resources *resources,
					       const struct vm_env *env, enum vm_fault *fault,
					       struct err *err);

/** Start the vCPUs' threads, once. \return 0 or a negative errno with a sentence */
__attribute__((warn_unused_result)) int vm_start(struct vm *vm, struct err *err);

enum vm_state vm_get_state(const struct vm *vm);

/**
 * Have every vCPU leave the guest and wait; returns when all have. Devices go on with what they
 * were asked for. A machine that is paused stays so.
 */
void vm_pause(struct vm *vm);

/** Let the vCPUs go on. Nothing on a machine that runs. */
void vm_resume(struct vm *vm);

/** End the machine: `ended` is called from the loop, with VM_END_STOPPED unless it ended before. */
void vm_stop(struct vm *vm);

/** After `ended`, or in its place: join the vCPUs, write out the console, restore the terminal. */
void vm_close(struct vm *vm);

/** Free the machine; NULL is fine. Closes it if that was not done. */
void vm_free(struct vm *vm);
