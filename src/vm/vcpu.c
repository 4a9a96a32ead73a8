#include "vm/vcpu.h"

#include "riscv/sbi.h"
#include "util/log.h"
#include "util/metrics.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

/*
 * Signal 35. Firecracker's clients and tests may send this very number to a monitor and expect it
 * to live, so it is SIGRTMIN + 1 of glibc, which keeps 32 and 33 for itself.
 */
#define KICK_SIGNAL (SIGRTMIN + 1)

/* Exit handling logs a line or two and copies small structures: no deep stacks. */
enum { STACK_BYTES = 128 * 1024 };

static void ignore_kick(int signal)
{
	/* The signal is there to interrupt the ioctl. */
	(void)signal;
}

void vcpu_install_kick_handler(void)
{
	struct sigaction action = { .sa_handler = ignore_kick };

	sigaction(KICK_SIGNAL, &action, NULL);
}

static const char *privilege_name(uint64_t mode)
{
	return mode == 1 ? "S" : "U";
}

void vcpu_report(const struct vcpu *vcpu, const struct err *why)
{
	const char *extension = sbi_extension_name(vcpu->last_sbi.extension);
	struct kvm_vcpu_regs regs;

	kvm_vcpu_get_regs(&vcpu->kvm, &regs);
	log_error("vCPU %u stopped: %s", vcpu->kvm.hartid, why->text);
	log_error("  pc 0x%llx (%s-mode) sp 0x%llx ra 0x%llx", (unsigned long long)regs.pc,
		  privilege_name(regs.mode), (unsigned long long)regs.sp,
		  (unsigned long long)regs.ra);
	log_error("  scause 0x%llx stval 0x%llx sepc 0x%llx", (unsigned long long)regs.scause,
		  (unsigned long long)regs.stval, (unsigned long long)regs.sepc);
	if (vcpu->last_sbi.seen)
		log_error("  last SBI call to the monitor: %s (0x%llx) function %llu, a0 0x%llx "
			  "a1 0x%llx",
			  extension != NULL ? extension : "unknown",
			  (unsigned long long)vcpu->last_sbi.extension,
			  (unsigned long long)vcpu->last_sbi.function,
			  (unsigned long long)vcpu->last_sbi.args[0],
			  (unsigned long long)vcpu->last_sbi.args[1]);
	else
		log_error("  no SBI call has reached the monitor");
}

/* KVM_RUN's errors are the guest's doing more often than ours: see what each can mean. */
static enum vcpu_verdict run_failed(int code, struct err *why)
{
	switch (code) {
	case -EOPNOTSUPP:
		err_set(why, code,
			"KVM cannot emulate what the guest did: it fetched an instruction from, "
			"or used an unusual load or store on, an address that is not RAM");
		break;
	case -EFAULT:
		err_set(why, code, "KVM could not reach a page of guest memory");
		break;
	default:
		err_set(why, code, "KVM_RUN: %s", strerror(-code));
		break;
	}
	return VCPU_STUCK;
}

/* One trip into the guest and what follows from it. */
static enum vcpu_verdict run_once(struct vcpu *vcpu, struct err *why)
{
	int ret = kvm_vcpu_run(&vcpu->kvm);

	if (ret == 0)
		return vcpu_handle_exit(vcpu->env, vcpu->kvm.run, &vcpu->last_sbi, why);
	if (ret == -EINTR || ret == -EAGAIN)
		return VCPU_RUN_ON;
	return run_failed(ret, why);
}

/* Wait at the gate if that is closed. \return false: the thread is to end */
static bool may_run(struct vcpu *vcpu)
{
	while (!vcpu->stop) {
		if (!gate_is_closed(vcpu->gate))
			return true;
		gate_wait(vcpu->gate);
		/* What has brought it here. Whoever asks for another exit closes the gate or sets
		 * `stop` first, and both are looked at after this. */
		kvm_vcpu_forget_exit(&vcpu->kvm);
	}
	return false;
}

static void *thread_main(void *arg)
{
	struct vcpu *vcpu = arg;
	enum vcpu_verdict verdict = VCPU_RUN_ON;
	struct err why = { 0 };
	char name[16];

	/* A thread names itself by one call; another's name is a file to open, write and close. */
	snprintf(name, sizeof(name), "fc_vcpu %u", vcpu->kvm.hartid);
	prctl(PR_SET_NAME, name);
	while (verdict == VCPU_RUN_ON && may_run(vcpu))
		verdict = run_once(vcpu, &why);
	if (verdict == VCPU_STUCK)
		metrics_inc(&metrics.vcpu.failures);
	if (verdict != VCPU_RUN_ON)
		vcpu->ended(vcpu->ctx, vcpu, verdict, &why);
	gate_remove(vcpu->gate);
	return NULL;
}

/* Signals for the process are the I/O thread's: a vCPU thread takes the kick and its own faults. */
static void block_process_signals(sigset_t *old)
{
	static const int own[] = { SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGSYS, SIGABRT, SIGTRAP };
	sigset_t set;

	sigfillset(&set);
	sigdelset(&set, KICK_SIGNAL);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(&set, own[i]);
	pthread_sigmask(SIG_BLOCK, &set, old);
}

int vcpu_start(struct vcpu *vcpu, struct err *err)
{
	pthread_attr_t attr;
	sigset_t old;
	int ret;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	/* The mask is inherited: set before, so that the new thread never runs without it. */
	block_process_signals(&old);
	gate_add(vcpu->gate);
	ret = pthread_create(&vcpu->thread, &attr, thread_main, vcpu);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (ret != 0) {
		gate_remove(vcpu->gate);
		return err_set(err, -ret, "start the thread of vCPU %u: %s", vcpu->kvm.hartid,
			       strerror(ret));
	}
	vcpu->has_thread = true;
	return 0;
}

void vcpu_kick(struct vcpu *vcpu)
{
	if (!vcpu->has_thread)
		return;
	/* First the flag, then the signal: a thread on its way into KVM_RUN comes out at once. */
	kvm_vcpu_request_exit(&vcpu->kvm);
	pthread_kill(vcpu->thread, KICK_SIGNAL);
}

void vcpu_stop(struct vcpu *vcpu)
{
	vcpu->stop = true;
	vcpu_kick(vcpu);
}

void vcpu_join(struct vcpu *vcpu)
{
	if (!vcpu->has_thread)
		return;
	pthread_join(vcpu->thread, NULL);
	vcpu->has_thread = false;
}
