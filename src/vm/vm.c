/*
 * Running a machine. Ending: whoever first knows how it ends writes that into `end` (vm_finish) and
 * wakes the I/O loop; later reasons are ignored. All vCPU threads are then kicked out of KVM and
 * joined, and what the guest printed last is written out (vm_close).
 *
 * Threads: the caller's is the I/O thread. vCPU threads reach the bus, guest memory and
 * vm_finish().
 */
#include "vm/vm.h"

#include "backend/terminal.h"
#include "util/assert.h"
#include "vm/fatal_signals.h"
#include "vm/machine.h"
#include "vm/startup_pages.h"

#include <stdlib.h>
#include <unistd.h>

enum { FLUSH_MS = 1000 };

void vm_finish(struct vm *vm, enum vm_end end)
{
	const uint64_t one = 1;
	int none = VM_END_NONE;

	if (!atomic_compare_exchange_strong(&vm->end, &none, (int)end))
		return;
	/* The counter is far from full, so this cannot fail. */
	if (write(vm->end_fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

static int start_vcpus(struct vm *vm, struct err *err)
{
	int ret = 0;

	vcpu_install_kick_handler();
	for (unsigned int i = 0; i < vm->n_vcpus && ret == 0; i++)
		ret = vcpu_start(&vm->vcpus[i], err);
	return ret;
}

int vm_start(struct vm *vm, struct err *err)
{
	int ret = 0;

	ASSERT(!vm->is_started);
	vm->is_started = true;
	fatal_signals_know(&vm->boot, &vm->mem);
	startup_pages_drop_later(vm->env.base);
	if (vm->has_terminal)
		ret = terminal_raw(STDIN_FILENO, err);
	if (ret == 0)
		ret = start_vcpus(vm, err);
	return ret;
}

enum vm_state vm_get_state(const struct vm *vm)
{
	if (vm->end != VM_END_NONE)
		return VM_STATE_ENDED;
	if (!vm->is_started)
		return VM_STATE_NOT_STARTED;
	return vm->is_paused ? VM_STATE_PAUSED : VM_STATE_RUNNING;
}

void vm_pause(struct vm *vm)
{
	uint64_t begin_us = metrics_now_us();

	if (vm->is_paused || !vm->is_started)
		return;
	vm->is_paused = true;
	gate_close(&vm->gate);
	/* First kick all, then wait: they leave KVM side by side. */
	for (unsigned int i = 0; i < vm->n_vcpus; i++)
		vcpu_kick(&vm->vcpus[i]);
	gate_wait_for_all(&vm->gate);
	metrics_store(&metrics.latencies_us.vmm_pause_vm, metrics_now_us() - begin_us);
}

void vm_resume(struct vm *vm)
{
	uint64_t begin_us = metrics_now_us();

	if (!vm->is_paused)
		return;
	vm->is_paused = false;
	gate_open(&vm->gate);
	metrics_store(&metrics.latencies_us.vmm_resume_vm, metrics_now_us() - begin_us);
}

void vm_stop(struct vm *vm)
{
	vm_finish(vm, VM_END_STOPPED);
}

static void stop_vcpus(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->n_vcpus; i++)
		vcpu_stop(&vm->vcpus[i]);
	gate_open(&vm->gate);
	for (unsigned int i = 0; i < vm->n_vcpus; i++)
		vcpu_join(&vm->vcpus[i]);
}

void vm_close(struct vm *vm)
{
	if (!vm->is_started || vm->is_closed)
		return;
	vm->is_closed = true;
	stop_vcpus(vm);
	serial_console_flush(&vm->serial);
	virtio_devices_flush_console(vm->virtio, FLUSH_MS);
	terminal_restore();
}
