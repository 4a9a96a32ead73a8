#include "vm/vcpu_exit.h"

#include "bus/mmio_bus.h"
#include "mem/guest_mem.h"
#include "riscv/sbi.h"
#include "util/bits.h"
#include "util/metrics.h"

#include <errno.h>
#include <linux/kvm.h>
#include <sys/random.h>

/* The entropy source register (Zkr) and its "16 bits of entropy" status. */
enum { CSR_SEED = 0x015 };
#define SEED_OPST_ES16 UINT64_C(0x80000000)

static enum vcpu_verdict stuck(struct err *why, const char *what, uint64_t detail)
{
	err_set(why, -EIO, "%s (0x%llx)", what, (unsigned long long)detail);
	return VCPU_STUCK;
}

static void handle_mmio(const struct vcpu_exit_env *env, struct kvm_run *run)
{
	unsigned int len = MIN(run->mmio.len, (unsigned int)sizeof(run->mmio.data));
	uint64_t gpa = run->mmio.phys_addr;
	uint64_t begin_us = metrics_now_us();

	if (run->mmio.is_write) {
		mmio_bus_write(env->bus, gpa, len, load_le(run->mmio.data, len));
		metrics_inc(&metrics.vcpu.exit_mmio_write);
		metrics_add_time(&metrics.vcpu.exit_mmio_write_agg, begin_us);
	} else {
		store_le(run->mmio.data, mmio_bus_read(env->bus, gpa, len), len);
		metrics_inc(&metrics.vcpu.exit_mmio_read);
		metrics_add_time(&metrics.vcpu.exit_mmio_read_agg, begin_us);
	}
}

struct sbi_ret {
	int64_t error;
	uint64_t value;
};

/* The guest's buffer for console_write and console_read: SBI 3.0, 12.1. NULL when it is not RAM. */
static uint8_t *console_buffer(const struct vcpu_exit_env *env, const uint64_t args[])
{
	/* args: length, address, upper half of the address, which RV64 has no use for. */
	return args[2] == 0 ? guest_mem_ptr(env->mem, args[1], args[0]) : NULL;
}

/* console_write or console_read. Without a console all is taken and nothing comes. */
static struct sbi_ret console_transfer(const struct vcpu_exit_env *env, const uint64_t args[],
				       bool is_output)
{
	const struct sbi_console *console = env->console;
	uint8_t *bytes;
	size_t n = is_output ? args[0] : 0;

	if (args[0] == 0)
		return (struct sbi_ret){ SBI_SUCCESS, 0 };
	bytes = console_buffer(env, args);
	if (bytes == NULL)
		return (struct sbi_ret){ SBI_ERR_INVALID_PARAM, 0 };
	if (console != NULL)
		n = is_output ? console->output(console->ctx, bytes, args[0])
			      : console->input(console->ctx, bytes, args[0]);
	return (struct sbi_ret){ SBI_SUCCESS, n };
}

static struct sbi_ret console_write_byte(const struct vcpu_exit_env *env, uint64_t arg)
{
	uint8_t byte = (uint8_t)arg;

	/* "May block" says the specification; a full console asks the guest to try again. */
	if (env->console != NULL && env->console->output(env->console->ctx, &byte, 1) != 1)
		return (struct sbi_ret){ SBI_ERR_FAILED, 0 };
	return (struct sbi_ret){ SBI_SUCCESS, 0 };
}

static struct sbi_ret debug_console(const struct vcpu_exit_env *env, const struct sbi_call *call)
{
	switch (call->function) {
	case SBI_DBCN_WRITE:
		return console_transfer(env, call->args, true);
	case SBI_DBCN_READ:
		return console_transfer(env, call->args, false);
	case SBI_DBCN_WRITE_BYTE:
		return console_write_byte(env, call->args[0]);
	default:
		return (struct sbi_ret){ SBI_ERR_NOT_SUPPORTED, 0 };
	}
}

static void handle_sbi(const struct vcpu_exit_env *env, struct kvm_run *run,
		       struct sbi_call *last_sbi)
{
	struct sbi_ret ret = { SBI_ERR_NOT_SUPPORTED, 0 };

	*last_sbi = (struct sbi_call){
		.seen = true,
		.extension = run->riscv_sbi.extension_id,
		.function = run->riscv_sbi.function_id,
	};
	for (size_t i = 0; i < ARRAY_SIZE(last_sbi->args); i++)
		last_sbi->args[i] = run->riscv_sbi.args[i];
	if (last_sbi->extension == SBI_EXT_DBCN)
		ret = debug_console(env, last_sbi);
	run->riscv_sbi.ret[0] = (unsigned long)ret.error;
	run->riscv_sbi.ret[1] = (unsigned long)ret.value;
}

static void handle_csr(struct kvm_run *run)
{
	uint16_t entropy = 0;

	/* Any other register that KVM passes up reads as 0 and ignores writes. */
	run->riscv_csr.ret_value = 0;
	if (run->riscv_csr.csr_num != CSR_SEED)
		return;
	/* Status 0 (BIST) asks the guest to try again: that is what "no entropy now" means. */
	if (getrandom(&entropy, sizeof(entropy), GRND_NONBLOCK) == sizeof(entropy))
		run->riscv_csr.ret_value = SEED_OPST_ES16 | entropy;
}

static enum vcpu_verdict handle_system_event(const struct kvm_run *run, struct err *why)
{
	switch (run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		return VCPU_SHUTDOWN;
	case KVM_SYSTEM_EVENT_RESET:
		return VCPU_REBOOT;
	default:
		return stuck(why, "a system event this program does not know",
			     run->system_event.type);
	}
}

enum vcpu_verdict vcpu_handle_exit(const struct vcpu_exit_env *env, struct kvm_run *run,
				   struct sbi_call *last_sbi, struct err *why)
{
	switch (run->exit_reason) {
	case KVM_EXIT_MMIO:
		handle_mmio(env, run);
		return VCPU_RUN_ON;
	case KVM_EXIT_RISCV_SBI:
		handle_sbi(env, run, last_sbi);
		return VCPU_RUN_ON;
	case KVM_EXIT_RISCV_CSR:
		handle_csr(run);
		return VCPU_RUN_ON;
	case KVM_EXIT_INTR:
		return VCPU_RUN_ON;
	case KVM_EXIT_SYSTEM_EVENT:
		return handle_system_event(run, why);
	case KVM_EXIT_FAIL_ENTRY:
		return stuck(why, "the processor refused to enter the guest",
			     run->fail_entry.hardware_entry_failure_reason);
	case KVM_EXIT_INTERNAL_ERROR:
		return stuck(why, "KVM met an internal error", run->internal.suberror);
	case KVM_EXIT_DEBUG:
		return stuck(why, "a breakpoint that nobody set", run->exit_reason);
	default:
		return stuck(why, "an exit this program does not know", run->exit_reason);
	}
}
