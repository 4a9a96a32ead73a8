#include "bus/mmio_bus.h"
#include "mem/guest_mem.h"
#include "riscv/sbi.h"
#include "test.h"
#include "util/bits.h"
#include "util/metrics.h"
#include "vm/vcpu_exit.h"

#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#define RAM      UINT64_C(0x80000000)
#define RAM_SIZE (2 * MIB)
#define DEVICE   UINT64_C(0x40000000)

/* A machine as the exit decoder sees it: one device that remembers, RAM, a console that records. */
struct rig {
	struct mmio_bus bus;
	struct guest_mem mem;
	struct sbi_console console;
	struct vcpu_exit_env env;
	struct kvm_run run;
	struct sbi_call last_sbi;
	struct err why;
	uint64_t written;
	uint64_t offset;
	unsigned int len;
	char printed[64];
	size_t n_printed;
	size_t room;
};

static uint64_t device_read(void *device, uint64_t offset, unsigned int len)
{
	(void)device;
	(void)offset;
	(void)len;
	return UINT64_C(0x8877665544332211);
}

static void device_write(void *device, uint64_t offset, unsigned int len, uint64_t value)
{
	struct rig *rig = device;

	rig->offset = offset;
	rig->len = len;
	rig->written = value;
}

static const struct mmio_ops device_ops = { .read = device_read, .write = device_write };

static size_t take_output(void *ctx, const uint8_t *bytes, size_t len)
{
	struct rig *rig = ctx;
	size_t n = MIN(len, rig->room);

	memcpy(rig->printed + rig->n_printed, bytes, n);
	rig->n_printed += n;
	rig->room -= n;
	return n;
}

static size_t give_input(void *ctx, uint8_t *bytes, size_t len)
{
	(void)ctx;
	memcpy(bytes, "typed", MIN(len, 5U));
	return MIN(len, 5U);
}

static int set_up(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	assert_int_equal(guest_mem_add(&rig->mem, RAM, RAM_SIZE, GUEST_MEM_SMALL_PAGES, NULL), 0);
	assert_int_equal(mmio_bus_add(&rig->bus, DEVICE, 0x1000, &device_ops, rig, "device", NULL),
			 0);
	rig->room = sizeof(rig->printed);
	rig->console = (struct sbi_console){
		.output = take_output,
		.input = give_input,
		.ctx = rig,
	};
	rig->env = (struct vcpu_exit_env){
		.bus = &rig->bus,
		.mem = &rig->mem,
		.console = &rig->console,
	};
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	guest_mem_deinit(&rig->mem);
	free(rig);
	return 0;
}

static enum vcpu_verdict handle(struct rig *rig)
{
	return vcpu_handle_exit(&rig->env, &rig->run, &rig->last_sbi, &rig->why);
}

static void mmio_of_every_width(void **state)
{
	struct rig *rig = *state;
	static const struct {
		unsigned int len;
		uint64_t value;
	} rows[] = {
		{ 1, 0x11 },
		{ 2, 0x2211 },
		{ 4, 0x44332211 },
		{ 8, UINT64_C(0x8877665544332211) },
	};

	memset(&metrics, 0, sizeof(metrics));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		rig->run = (struct kvm_run){ .exit_reason = KVM_EXIT_MMIO };
		rig->run.mmio.phys_addr = DEVICE + 8;
		rig->run.mmio.len = rows[i].len;
		assert_int_equal(handle(rig), VCPU_RUN_ON);
		assert_int_equal(load_le(rig->run.mmio.data, 8), rows[i].value);

		rig->run.mmio.is_write = 1;
		store_le(rig->run.mmio.data, UINT64_C(0x8877665544332211), 8);
		assert_int_equal(handle(rig), VCPU_RUN_ON);
		assert_int_equal(rig->offset, 8);
		assert_int_equal(rig->len, rows[i].len);
		assert_int_equal(rig->written, rows[i].value);
	}
	assert_int_equal(metrics_get(&metrics.vcpu.exit_mmio_read), ARRAY_SIZE(rows));
	assert_int_equal(metrics_get(&metrics.vcpu.exit_mmio_write), ARRAY_SIZE(rows));
	assert_true(metrics_get(&metrics.vcpu.exit_mmio_read_agg.sum_us) >=
		    metrics_get(&metrics.vcpu.exit_mmio_read_agg.max_us));
}

static void mmio_that_nobody_answers(void **state)
{
	struct rig *rig = *state;

	rig->run.exit_reason = KVM_EXIT_MMIO;
	rig->run.mmio.phys_addr = DEVICE + 0x1000;
	rig->run.mmio.len = 4;
	assert_int_equal(handle(rig), VCPU_RUN_ON);
	assert_int_equal(load_le(rig->run.mmio.data, 4), UINT32_MAX);
	/* A length that KVM cannot give must not reach past the data either. */
	rig->run.mmio.len = UINT32_MAX;
	assert_int_equal(handle(rig), VCPU_RUN_ON);
	rig->run.mmio.len = 0;
	assert_int_equal(handle(rig), VCPU_RUN_ON);
}

static void call_sbi(struct rig *rig, uint64_t extension, uint64_t function, uint64_t a0,
		     uint64_t a1, uint64_t a2)
{
	rig->run = (struct kvm_run){ .exit_reason = KVM_EXIT_RISCV_SBI };
	rig->run.riscv_sbi.extension_id = extension;
	rig->run.riscv_sbi.function_id = function;
	rig->run.riscv_sbi.args[0] = a0;
	rig->run.riscv_sbi.args[1] = a1;
	rig->run.riscv_sbi.args[2] = a2;
	rig->run.riscv_sbi.ret[0] = 0x5a;
	rig->run.riscv_sbi.ret[1] = 0x5a;
	assert_int_equal(handle(rig), VCPU_RUN_ON);
}

static void expect_sbi(struct rig *rig, long error, unsigned long value)
{
	assert_int_equal((long)rig->run.riscv_sbi.ret[0], error);
	assert_int_equal(rig->run.riscv_sbi.ret[1], value);
}

static void debug_console_writes(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(guest_mem_write(&rig->mem, RAM + RAM_SIZE - 5, "hello", 5), 0);
	call_sbi(rig, SBI_EXT_DBCN, SBI_DBCN_WRITE, 5, RAM + RAM_SIZE - 5, 0);
	expect_sbi(rig, SBI_SUCCESS, 5);
	call_sbi(rig, SBI_EXT_DBCN, SBI_DBCN_WRITE_BYTE, 0x1221, 0, 0);
	expect_sbi(rig, SBI_SUCCESS, 0);
	assert_memory_equal(rig->printed, "hello!", 6);
	assert_int_equal(rig->n_printed, 6);
	/* A full console takes a part; the guest is told how much. */
	rig->room = 2;
	call_sbi(rig, SBI_EXT_DBCN, SBI_DBCN_WRITE, 5, RAM + RAM_SIZE - 5, 0);
	expect_sbi(rig, SBI_SUCCESS, 2);
	call_sbi(rig, SBI_EXT_DBCN, SBI_DBCN_WRITE_BYTE, '!', 0, 0);
	expect_sbi(rig, SBI_ERR_FAILED, 0);
}

static void debug_console_reads(void **state)
{
	struct rig *rig = *state;
	char back[8] = { 0 };

	call_sbi(rig, SBI_EXT_DBCN, SBI_DBCN_READ, 8, RAM, 0);
	expect_sbi(rig, SBI_SUCCESS, 5);
	assert_int_equal(guest_mem_read(&rig->mem, RAM, back, 8), 0);
	assert_string_equal(back, "typed");
}

/* C09 of the hostile-input checklist. */
static void debug_console_refuses_what_is_not_ram(void **state)
{
	struct rig *rig = *state;
	static const struct {
		uint64_t len, low, high;
	} rows[] = {
		{ 1, RAM - 1, 0 },
		{ 1, RAM + RAM_SIZE, 0 },
		{ 2, RAM + RAM_SIZE - 1, 0 },
		{ 2, RAM - 1, 0 },
		{ UINT64_C(1) << 63, RAM, 0 },
		{ UINT64_MAX, RAM, 0 },
		{ UINT64_MAX, UINT64_MAX, 0 },
		{ 8, UINT64_MAX - 3, 0 },
		{ 4, DEVICE, 0 },
		{ 4, 0, 0 },
		{ 4, RAM, 1 },
		{ 4, RAM, UINT64_MAX },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (uint64_t function = SBI_DBCN_WRITE; function <= SBI_DBCN_READ; function++) {
			call_sbi(rig, SBI_EXT_DBCN, function, rows[i].len, rows[i].low,
				 rows[i].high);
			expect_sbi(rig, SBI_ERR_INVALID_PARAM, 0);
		}
	}
	assert_int_equal(rig->n_printed, 0);
	call_sbi(rig, SBI_EXT_DBCN, SBI_DBCN_WRITE, 0, 0, 0);
	expect_sbi(rig, SBI_SUCCESS, 0);
}

static void without_a_console(void **state)
{
	struct rig *rig = *state;

	rig->env.console = NULL;
	call_sbi(rig, SBI_EXT_DBCN, SBI_DBCN_WRITE, 5, RAM, 0);
	expect_sbi(rig, SBI_SUCCESS, 5);
	call_sbi(rig, SBI_EXT_DBCN, SBI_DBCN_WRITE_BYTE, 'x', 0, 0);
	expect_sbi(rig, SBI_SUCCESS, 0);
	call_sbi(rig, SBI_EXT_DBCN, SBI_DBCN_READ, 5, RAM, 0);
	expect_sbi(rig, SBI_SUCCESS, 0);
}

static void other_sbi_calls_are_not_supported(void **state)
{
	struct rig *rig = *state;
	static const struct {
		uint64_t extension, function;
	} rows[] = {
		{ SBI_EXT_DBCN, 3 },
		{ SBI_EXT_DBCN, UINT64_MAX },
		{ SBI_EXT_SUSP, 0 },
		{ SBI_EXT_MPXY, 0 },
		{ 0x08000000, 1 },
		{ 0x09000000, 1 },
		{ 0, 0 },
		{ 1 /* legacy putchar */, 0 },
		{ UINT64_MAX, UINT64_MAX },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		call_sbi(rig, rows[i].extension, rows[i].function, 1, 2, 3);
		expect_sbi(rig, SBI_ERR_NOT_SUPPORTED, 0);
		assert_true(rig->last_sbi.seen);
		assert_int_equal(rig->last_sbi.extension, rows[i].extension);
		assert_int_equal(rig->last_sbi.args[2], 3);
	}
}

static void seed_gives_entropy(void **state)
{
	struct rig *rig = *state;
	unsigned long seen = 0;

	for (int i = 0; i < 16; i++) {
		rig->run = (struct kvm_run){ .exit_reason = KVM_EXIT_RISCV_CSR };
		rig->run.riscv_csr.csr_num = 0x015;
		assert_int_equal(handle(rig), VCPU_RUN_ON);
		assert_int_equal(rig->run.riscv_csr.ret_value & ~0xffffUL, 0x80000000UL);
		seen |= rig->run.riscv_csr.ret_value & 0xffff;
	}
	assert_int_not_equal(seen, 0);
	rig->run.riscv_csr.csr_num = 0x150;
	rig->run.riscv_csr.ret_value = 77;
	assert_int_equal(handle(rig), VCPU_RUN_ON);
	assert_int_equal(rig->run.riscv_csr.ret_value, 0);
}

/* C08: every other exit has a defined answer, and none ends the process. */
static void exits_that_end_the_guest(void **state)
{
	struct rig *rig = *state;
	static const struct {
		uint32_t reason;
		uint32_t type;
		enum vcpu_verdict verdict;
	} rows[] = {
		{ KVM_EXIT_SYSTEM_EVENT, KVM_SYSTEM_EVENT_SHUTDOWN, VCPU_SHUTDOWN },
		{ KVM_EXIT_SYSTEM_EVENT, KVM_SYSTEM_EVENT_RESET, VCPU_REBOOT },
		{ KVM_EXIT_SYSTEM_EVENT, KVM_SYSTEM_EVENT_CRASH, VCPU_STUCK },
		{ KVM_EXIT_SYSTEM_EVENT, UINT32_MAX, VCPU_STUCK },
		{ KVM_EXIT_FAIL_ENTRY, 0, VCPU_STUCK },
		{ KVM_EXIT_INTERNAL_ERROR, 0, VCPU_STUCK },
		{ KVM_EXIT_DEBUG, 0, VCPU_STUCK },
		{ KVM_EXIT_UNKNOWN, 0, VCPU_STUCK },
		{ KVM_EXIT_HYPERV, 0, VCPU_STUCK },
		{ UINT32_MAX, 0, VCPU_STUCK },
		{ KVM_EXIT_INTR, 0, VCPU_RUN_ON },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		rig->run = (struct kvm_run){ .exit_reason = rows[i].reason };
		rig->run.system_event.type = rows[i].type;
		rig->why = (struct err){ 0 };
		assert_int_equal(handle(rig), rows[i].verdict);
		assert_int_equal(rig->why.text[0] != '\0', rows[i].verdict == VCPU_STUCK);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(mmio_of_every_width, set_up, tear_down),
		cmocka_unit_test_setup_teardown(mmio_that_nobody_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(debug_console_writes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(debug_console_reads, set_up, tear_down),
		cmocka_unit_test_setup_teardown(debug_console_refuses_what_is_not_ram, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(without_a_console, set_up, tear_down),
		cmocka_unit_test_setup_teardown(other_sbi_calls_are_not_supported, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(seed_gives_entropy, set_up, tear_down),
		cmocka_unit_test_setup_teardown(exits_that_end_the_guest, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
