/*
 * A vCPU and its thread: KVM_RUN, decode the exit, again.
 *
 * The thread is called "fc_vcpu N", as programs that pin or account vCPU threads expect. It blocks
 * in KVM_RUN also while its hart is stopped. It ends when its guest cannot or will not go on, or
 * when vcpu_stop() asks; whoever owns the vCPU hears of the former through `ended`.
 *
 * Between two runs it looks at the gate that all vCPUs share. Whoever pauses them closes it, kicks
 * each, and waits until all have come. Nothing is lost meanwhile: an interrupt for a vCPU that
 * waits is pending in KVM, and what its last exit asked for has been done.
 */
#pragma once

#include "kvm/kvm_vcpu.h"
#include "util/err.h"
#include "vm/gate.h"
#include "vm/vcpu_exit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct vcpu {
	struct kvm_vcpu kvm;
	const struct vcpu_exit_env *env;
	struct gate *gate;
	struct sbi_call last_sbi; /**< this vCPU's thread only */
	pthread_t thread;
	bool has_thread;
	_Atomic bool stop;
	/** Called once on the vCPU's thread, unless stopped: \p why is filled for VCPU_STUCK. */
	void (*ended)(void *ctx, struct vcpu *vcpu, enum vcpu_verdict verdict,
		      const struct err *why);
	void *ctx;
};

/** Install the handler of the signal that kicks vCPUs out of KVM_RUN. Once, before any start. */
void vcpu_install_kick_handler(void);

/** Start the thread. \c kvm, \c env, \c gate, \c ended and \c ctx are set. */
__attribute__((warn_unused_result)) int vcpu_start(struct vcpu *vcpu, struct err *err);

/** Have the thread leave KVM_RUN and look at the gate. Any other thread; legal if it never started.
 */
void vcpu_kick(struct vcpu *vcpu);

/**
 * Ask the thread to leave KVM_RUN and end; one that waits at the gate does when that is opened. Any
 * other thread; legal if it never started.
 */
void vcpu_stop(struct vcpu *vcpu);

/** Wait until the thread has ended. Legal if it never started, and twice. */
void vcpu_join(struct vcpu *vcpu);

/** Write the log lines that explain why a vCPU is stuck. On the vCPU's own thread. */
void vcpu_report(const struct vcpu *vcpu, const struct err *why);
