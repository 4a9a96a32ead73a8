/*
 * The exit decoder, with the panic device behind it: exits as a guest can cause them, some of them
 * with lengths that KVM would not give. What must hold: the bus is asked for no more than eight
 * bytes; the debug console gets pieces of guest memory only, whole, and may write to them; only
 * what ends a guest ends it.
 */
#include "bus/mmio_bus.h"
#include "mem/guest_mem.h"
#include "platform/pvpanic.h"
#include "riscv/sbi.h"
#include "util/assert.h"
#include "util/bits.h"
#include "vm/vcpu_exit.h"

#include <linux/kvm.h>
#include <string.h>

#define RAM      UINT64_C(0x80000000)
#define RAM_SIZE (2 * MIB)
#define DEVICE   UINT64_C(0x40000000)
#define PANIC    UINT64_C(0x40001000)

enum { STEP_BYTES = 24 };

struct machine {
	struct mmio_bus bus;
	struct guest_mem mem;
	struct pvpanic pvpanic;
	unsigned int told; /* events of a panic */
	size_t taken;      /* by the console's last call */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t device_read(void *device, uint64_t offset, unsigned int len)
{
	(void)device;
	ASSERT(offset < 0x1000 && len <= 8);
	return UINT64_MAX;
}

static void device_write(void *device, uint64_t offset, unsigned int len, uint64_t value)
{
	(void)device;
	ASSERT(offset < 0x1000 && len <= 8);
	ASSERT(len == 8 || value >> 8 * len == 0);
}

static void on_panic(void *ctx, unsigned int events)
{
	struct machine *machine = ctx;

	ASSERT(events != 0 && (machine->told & events) == 0);
	machine->told |= events;
}

static size_t take_output(void *ctx, const uint8_t *bytes, size_t len)
{
	struct machine *machine = ctx;
	volatile uint8_t sum = 0;

	ASSERT(len > 0);
	/* A single byte may be the decoder's own. */
	ASSERT(len == 1 || guest_mem_contains_hva(&machine->mem, bytes));
	ASSERT(len == 1 || guest_mem_contains_hva(&machine->mem, bytes + len - 1));
	for (size_t i = 0; i < len; i += 4096)
		sum = (uint8_t)(sum + bytes[i]);
	machine->taken = len / 2 + (len & 1);
	return machine->taken;
}

static size_t give_input(void *ctx, uint8_t *bytes, size_t len)
{
	struct machine *machine = ctx;

	ASSERT(len > 0 && guest_mem_contains_hva(&machine->mem, bytes) &&
	       guest_mem_contains_hva(&machine->mem, bytes + len - 1));
	bytes[0] = bytes[len - 1] = 'x';
	machine->taken = len;
	return len;
}

/* Mostly an address near something. */
static uint64_t pick_address(const uint8_t *step)
{
	static const uint64_t bases[] = { RAM, RAM + RAM_SIZE - 16, DEVICE, PANIC,
					  0,   UINT64_MAX - 64 };
	uint64_t low = load_le(step + 1, 2);

	return bases[step[0] % ARRAY_SIZE(bases)] + (step[0] < 0x80 ? low % 64 : low << 6);
}

static void fill_mmio(struct kvm_run *run, const uint8_t *step)
{
	static const uint8_t lens[] = { 1, 2, 4, 8 };

	run->mmio.phys_addr = pick_address(step + 2);
	run->mmio.is_write = step[1] & 1;
	run->mmio.len = step[1] < 0xf0 ? lens[step[1] / 2 % 4] : step[1];
	memcpy(run->mmio.data, step + 8, sizeof(run->mmio.data));
}

static void fill_sbi(struct kvm_run *run, const uint8_t *step)
{
	run->riscv_sbi.extension_id = step[1] < 0xc0 ? SBI_EXT_DBCN : load_le(step + 16, 8);
	run->riscv_sbi.function_id = step[2] < 0xf0 ? step[2] % 4 : load_le(step + 16, 8);
	run->riscv_sbi.args[0] = step[3] < 0xf0 ? load_le(step + 4, 3) : load_le(step + 8, 8);
	run->riscv_sbi.args[1] = pick_address(step + 8);
	run->riscv_sbi.args[2] = step[12] < 0xf0 ? 0 : load_le(step + 12, 8);
}

static void fill_other(struct kvm_run *run, const uint8_t *step)
{
	static const uint32_t reasons[] = { KVM_EXIT_INTR,       KVM_EXIT_SYSTEM_EVENT,
					    KVM_EXIT_FAIL_ENTRY, KVM_EXIT_INTERNAL_ERROR,
					    KVM_EXIT_DEBUG,      KVM_EXIT_RISCV_CSR };

	run->exit_reason = step[1] < 0xf0 ? reasons[step[1] % ARRAY_SIZE(reasons)] : step[2];
	if (run->exit_reason == KVM_EXIT_SYSTEM_EVENT)
		run->system_event.type = step[2] % 5;
	else if (run->exit_reason == KVM_EXIT_RISCV_CSR)
		run->riscv_csr.csr_num = load_le(step + 2, 2) & 0xfff;
}

static void fill(struct kvm_run *run, const uint8_t *step)
{
	*run = (struct kvm_run){ 0 };
	if (step[0] < 0x60) {
		run->exit_reason = KVM_EXIT_MMIO;
		fill_mmio(run, step);
	} else if (step[0] < 0xc0) {
		run->exit_reason = KVM_EXIT_RISCV_SBI;
		fill_sbi(run, step);
	} else {
		fill_other(run, step);
	}
}

static void check(const struct machine *machine, const struct kvm_run *run,
		  enum vcpu_verdict verdict)
{
	switch (run->exit_reason) {
	case KVM_EXIT_MMIO:
	case KVM_EXIT_RISCV_CSR:
	case KVM_EXIT_INTR:
		ASSERT(verdict == VCPU_RUN_ON);
		break;
	case KVM_EXIT_RISCV_SBI:
		ASSERT(verdict == VCPU_RUN_ON);
		/* What the guest is told is what the console did. */
		if (machine->taken > 0 && run->riscv_sbi.function_id < SBI_DBCN_WRITE_BYTE)
			ASSERT(run->riscv_sbi.ret[0] == SBI_SUCCESS &&
			       run->riscv_sbi.ret[1] == machine->taken);
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		ASSERT(verdict != VCPU_RUN_ON);
		break;
	default:
		ASSERT(verdict == VCPU_STUCK);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct mmio_ops device_ops = { .read = device_read, .write = device_write };
	static struct machine machine;
	const struct sbi_console console = { take_output, give_input, &machine };
	const struct vcpu_exit_env env = {
		.bus = &machine.bus,
		.mem = &machine.mem,
		.console = size % 8 == 7 ? NULL : &console,
	};
	struct sbi_call last_sbi = { 0 };

	/* Memory once for all inputs: what lies in it does not matter here. */
	if (machine.mem.n_regions == 0)
		ASSERT(guest_mem_add(&machine.mem, RAM, RAM_SIZE, GUEST_MEM_SMALL_PAGES, NULL) ==
		       0);
	machine.bus = (struct mmio_bus){ 0 };
	machine.told = 0;
	pvpanic_init(&machine.pvpanic, on_panic, &machine);
	if (mmio_bus_add(&machine.bus, DEVICE, 0x1000, &device_ops, &machine, "device", NULL) !=
		    0 ||
	    mmio_bus_add(&machine.bus, PANIC, 0x1000, &pvpanic_mmio_ops, &machine.pvpanic,
			 "pvpanic", NULL) != 0)
		return 0;
	for (size_t at = 0; at + STEP_BYTES <= size; at += STEP_BYTES) {
		struct err why = { 0 };
		struct kvm_run run;
		enum vcpu_verdict verdict;

		fill(&run, data + at);
		machine.taken = 0;
		verdict = vcpu_handle_exit(&env, &run, &last_sbi, &why);
		check(&machine, &run, verdict);
		ASSERT((verdict == VCPU_STUCK) == (why.text[0] != '\0'));
	}
	return 0;
}
