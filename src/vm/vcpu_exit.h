/*
 * What to do when KVM_RUN returns: the exit decoder.
 *
 * A pure function over a filled struct kvm_run, so all of it is tested without KVM. It routes MMIO
 * to the bus, answers the SBI calls that KVM passes up (the debug console; all others are
 * NOT_SUPPORTED), gives entropy for the seed register, and says when a vCPU cannot go on. Nothing
 * a guest puts into an exit ends the process: at worst the verdict is VCPU_STUCK, a report on the
 * guest.
 */
#pragma once

#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct guest_mem;
struct kvm_run;
struct mmio_bus;

/** The far end of the SBI debug console. Both take any thread and never block. */
struct sbi_console {
	/** \return how many bytes were taken */
	size_t (*output)(void *ctx, const uint8_t *bytes, size_t len);
	/** \return how many bytes were there to give */
	size_t (*input)(void *ctx, uint8_t *bytes, size_t len);
	void *ctx;
};

/** The last SBI call that reached the monitor, for the report on a stuck vCPU. */
struct sbi_call {
	bool seen;
	uint64_t extension;
	uint64_t function;
	uint64_t args[6];
};

struct vcpu_exit_env {
	struct mmio_bus *bus;
	const struct guest_mem *mem;
	const struct sbi_console *console; /**< NULL: output goes nowhere, input never comes */
};

enum vcpu_verdict {
	VCPU_RUN_ON,   /**< the exit is dealt with: run again */
	VCPU_SHUTDOWN, /**< the guest shut the machine down */
	VCPU_REBOOT,   /**< the guest asked for a reset */
	VCPU_STUCK,    /**< this vCPU cannot run on */
};

/**
 * Deal with one exit.
 * \param env where it leads; shared by all vCPU threads
 * \param run filled by KVM; answers are written into it
 * \param last_sbi this vCPU's record
 * \param why for VCPU_STUCK: the reason
 */
enum vcpu_verdict vcpu_handle_exit(const struct vcpu_exit_env *env, struct kvm_run *run,
				   struct sbi_call *last_sbi, struct err *why);
