/*
 * vCPU threads and the gate that pauses them. KVM is a fake: these functions stand in for the
 * library's.
 */
#include "vm/vcpu.h"

#include "test.h"
#include "util/bits.h"

#include <errno.h>
#include <linux/kvm.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

enum { N_VCPUS = 4 };

static struct {
	struct kvm_run runs[N_VCPUS];
	_Atomic unsigned int n_runs[N_VCPUS];
	_Atomic bool is_inside[N_VCPUS];
	_Atomic bool shall_shut_down[N_VCPUS];
	_Atomic unsigned int n_ended;
} fake;

/* One trip into the guest, which lasts until it is asked to end. */
int kvm_vcpu_run(const struct kvm_vcpu *vcpu)
{
	unsigned int i = vcpu->hartid;

	fake.n_runs[i]++;
	fake.is_inside[i] = true;
	while (__atomic_load_n(&vcpu->run->immediate_exit, __ATOMIC_SEQ_CST) == 0 &&
	       !fake.shall_shut_down[i])
		usleep(50);
	fake.is_inside[i] = false;
	if (!fake.shall_shut_down[i])
		return -EINTR;
	vcpu->run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
	vcpu->run->system_event.type = KVM_SYSTEM_EVENT_SHUTDOWN;
	return 0;
}

void kvm_vcpu_request_exit(const struct kvm_vcpu *vcpu)
{
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
}

void kvm_vcpu_forget_exit(const struct kvm_vcpu *vcpu)
{
	__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
}

void kvm_vcpu_get_regs(const struct kvm_vcpu *vcpu, struct kvm_vcpu_regs *regs)
{
	(void)vcpu;
	*regs = (struct kvm_vcpu_regs){ 0 };
}

static void on_ended(void *ctx, struct vcpu *vcpu, enum vcpu_verdict verdict, const struct err *why)
{
	(void)ctx;
	(void)vcpu;
	(void)why;
	fake.n_ended += verdict == VCPU_SHUTDOWN;
}

struct machine {
	struct gate gate;
	struct vcpu_exit_env env;
	struct vcpu vcpus[N_VCPUS];
};

static void start(struct machine *machine)
{
	memset(&fake, 0, sizeof(fake));
	*machine = (struct machine){ 0 };
	gate_init(&machine->gate);
	vcpu_install_kick_handler();
	for (unsigned int i = 0; i < N_VCPUS; i++) {
		struct vcpu *vcpu = &machine->vcpus[i];

		vcpu->kvm = (struct kvm_vcpu){ .fd = -1, .hartid = i, .run = &fake.runs[i] };
		vcpu->env = &machine->env;
		vcpu->gate = &machine->gate;
		vcpu->ended = on_ended;
		assert_int_equal(vcpu_start(vcpu, NULL), 0);
	}
}

static void pause_all(struct machine *machine)
{
	gate_close(&machine->gate);
	for (unsigned int i = 0; i < N_VCPUS; i++)
		vcpu_kick(&machine->vcpus[i]);
	gate_wait_for_all(&machine->gate);
}

static void stop(struct machine *machine)
{
	for (unsigned int i = 0; i < N_VCPUS; i++)
		vcpu_stop(&machine->vcpus[i]);
	gate_open(&machine->gate);
	for (unsigned int i = 0; i < N_VCPUS; i++)
		vcpu_join(&machine->vcpus[i]);
	assert_int_equal(machine->gate.n_threads, 0);
	assert_int_equal(machine->gate.n_waiting, 0);
	gate_deinit(&machine->gate);
}

static void wait_until_inside(unsigned int vcpu)
{
	while (!fake.is_inside[vcpu])
		sched_yield();
}

static unsigned int count_runs(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < N_VCPUS; i++)
		n += fake.n_runs[i];
	return n;
}

static void none_runs_while_paused(void **state)
{
	struct machine machine;

	(void)state;
	start(&machine);
	for (unsigned int round = 0; round < 50; round++) {
		unsigned int before;

		/* Also without waiting: then some are still on their way in. */
		if (round % 2 == 0) {
			for (unsigned int i = 0; i < N_VCPUS; i++)
				wait_until_inside(i);
		}
		pause_all(&machine);
		before = count_runs();
		for (unsigned int i = 0; i < N_VCPUS; i++)
			assert_false(fake.is_inside[i]);
		usleep(500);
		assert_int_equal(count_runs(), before);
		gate_open(&machine.gate);
	}
	/* And all go on. */
	for (unsigned int i = 0; i < N_VCPUS; i++)
		wait_until_inside(i);
	stop(&machine);
	assert_int_equal(fake.n_ended, 0);
}

static void a_paused_one_can_be_stopped(void **state)
{
	struct machine machine;

	(void)state;
	start(&machine);
	pause_all(&machine);
	stop(&machine);
	assert_int_equal(fake.n_ended, 0);
}

static void nobody_waits_for_one_that_has_ended(void **state)
{
	struct machine machine;

	(void)state;
	start(&machine);
	fake.shall_shut_down[1] = true;
	while (fake.n_ended == 0)
		sched_yield();
	pause_all(&machine);
	gate_open(&machine.gate);
	wait_until_inside(0);
	/* One that ends just when all shall pause. */
	fake.shall_shut_down[2] = true;
	pause_all(&machine);
	stop(&machine);
	assert_true(fake.n_ended >= 1);
}

static void stopping_needs_no_start(void **state)
{
	struct vcpu vcpu = { 0 };

	(void)state;
	vcpu_kick(&vcpu);
	vcpu_stop(&vcpu);
	vcpu_join(&vcpu);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_runs_while_paused),
		cmocka_unit_test(a_paused_one_can_be_stopped),
		cmocka_unit_test(nobody_waits_for_one_that_has_ended),
		cmocka_unit_test(stopping_needs_no_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
