#include "kvm/kvm_vcpu.h"

#include "kvm/kvm_isa.h"
#include "kvm/kvm_vm.h"
#include "riscv/isa.h"
#include "util/bits.h"
#include "util/cleanup.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define REG(type, index) (KVM_REG_RISCV | KVM_REG_SIZE_U64 | (uint64_t)(type) | (uint64_t)(index))
#define CONFIG_REG(name) REG(KVM_REG_RISCV_CONFIG, KVM_REG_RISCV_CONFIG_REG(name))
#define CORE_REG(name)   REG(KVM_REG_RISCV_CORE, KVM_REG_RISCV_CORE_REG(name))
#define TIMER_REG(name)  REG(KVM_REG_RISCV_TIMER, KVM_REG_RISCV_TIMER_REG(name))
#define CSR_REG(name)                                                                              \
	REG(KVM_REG_RISCV_CSR | KVM_REG_RISCV_CSR_GENERAL, KVM_REG_RISCV_CSR_REG(name))
/* By number: KVM has it since Linux 7.2, and the headers that we are built with may be older. */
#define ZICBOP_BLOCK_SIZE_REG REG(KVM_REG_RISCV_CONFIG, 7)
#define ISA_REG(n)            REG(KVM_REG_RISCV_ISA_EXT | KVM_REG_RISCV_ISA_SINGLE, n)
#define ISA_MULTI_REG(n)      REG(KVM_REG_RISCV_ISA_EXT | KVM_REG_RISCV_ISA_MULTI_EN, n)
#define SBI_REG(id)           REG(KVM_REG_RISCV_SBI_EXT | KVM_REG_RISCV_SBI_SINGLE, id)

static int get_reg(const struct kvm_vcpu *vcpu, uint64_t id, uint64_t *value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uint64_t)(uintptr_t)value };

	*value = 0;
	return ioctl(vcpu->fd, KVM_GET_ONE_REG, &reg) == 0 ? 0 : -errno;
}

static int set_reg(const struct kvm_vcpu *vcpu, uint64_t id, uint64_t value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uint64_t)(uintptr_t)&value };

	return ioctl(vcpu->fd, KVM_SET_ONE_REG, &reg) == 0 ? 0 : -errno;
}

static int failed(struct err *err, int code, const char *what)
{
	return err_set(err, code, "%s: %s", what, strerror(-code));
}

int kvm_vcpu_init(struct kvm_vcpu *vcpu, const struct kvm_vm *vm, unsigned int hartid,
		  struct err *err)
{
	void *map;

	*vcpu = (struct kvm_vcpu){ .hartid = hartid, .map_size = vm->vcpu_map_size };
	vcpu->fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, hartid);
	if (vcpu->fd < 0)
		return err_sys(err, "create vCPU %u in KVM", hartid);
	map = mmap(NULL, vcpu->map_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (map == MAP_FAILED) {
		int ret = err_sys(err, "map the state of vCPU %u", hartid);

		close_fd(&vcpu->fd);
		return ret;
	}
	vcpu->run = map;
	return 0;
}

/* \return a block size, which is readable only where the extension is; 0 elsewhere */
static uint32_t get_block_size(const struct kvm_vcpu *vcpu, uint64_t reg)
{
	uint64_t size;

	return get_reg(vcpu, reg, &size) == 0 ? (uint32_t)size : 0;
}

static void get_block_sizes(const struct kvm_vcpu *vcpu, struct isa *isa)
{
	if (isa_has(isa, "zicbom"))
		isa->cbom_block_size = get_block_size(vcpu, CONFIG_REG(zicbom_block_size));
	if (isa_has(isa, "zicboz"))
		isa->cboz_block_size = get_block_size(vcpu, CONFIG_REG(zicboz_block_size));
	if (isa_has(isa, "zicbop"))
		isa->cbop_block_size = get_block_size(vcpu, ZICBOP_BLOCK_SIZE_REG);
	/* It cannot be used without, and Linux complains. */
	if (isa->cbop_block_size == 0)
		isa_remove(isa, "zicbop");
}

int kvm_vcpu_get_isa(const struct kvm_vcpu *vcpu, struct isa *isa, struct err *err)
{
	for (unsigned int word = 0; word * 64 < KVM_ISA_N_NAMES; word++) {
		uint64_t enabled;
		int ret = get_reg(vcpu, ISA_MULTI_REG(word), &enabled);

		/* A kernel that knows fewer extensions than we do has fewer words. */
		if (ret != 0 && word > 0)
			break;
		if (ret != 0)
			return failed(err, ret, "ask KVM for the vCPU's instruction set");
		for (unsigned int bit = 0; bit < 64; bit++) {
			const char *name = kvm_isa_name(word * 64 + bit);

			if ((enabled & BIT(bit)) != 0 && name != NULL)
				isa_add(isa, name);
		}
	}
	get_block_sizes(vcpu, isa);
	return 0;
}

void kvm_vcpu_disable_isa(const struct kvm_vcpu *vcpu, const char *name)
{
	int number = kvm_isa_number(name);

	if (number >= 0)
		(void)set_reg(vcpu, ISA_REG((unsigned int)number), 0);
}

int kvm_vcpu_disable_sbi(const struct kvm_vcpu *vcpu, const char *name, struct err *err)
{
	int number = kvm_sbi_number(name);
	int ret;

	if (number < 0)
		return err_set(err, -EINVAL, "there is no SBI extension '%s'", name);
	ret = set_reg(vcpu, SBI_REG((unsigned int)number), 0);
	if (ret == 0 || ret == -ENOENT || ret == -EINVAL)
		return 0;
	return err_set(err, ret, "turn the SBI extension '%s' off in KVM: %s", name,
		       strerror(-ret));
}

int kvm_vcpu_modify_reg(const struct kvm_vcpu *vcpu, uint64_t id, uint64_t mask, uint64_t value,
			struct err *err)
{
	uint64_t now;
	int ret = get_reg(vcpu, id, &now);

	if (ret != 0)
		return err_set(err, ret, "KVM's vCPUs on this host have no register 0x%llx: %s",
			       (unsigned long long)id, strerror(-ret));
	ret = set_reg(vcpu, id, (now & ~mask) | (value & mask));
	if (ret != 0)
		return err_set(err, ret, "KVM does not let the register 0x%llx be 0x%llx: %s",
			       (unsigned long long)id,
			       (unsigned long long)((now & ~mask) | (value & mask)),
			       strerror(-ret));
	return 0;
}

int kvm_vcpu_get_timebase(const struct kvm_vcpu *vcpu, uint64_t *hz, struct err *err)
{
	int ret = get_reg(vcpu, TIMER_REG(frequency), hz);

	return ret == 0 ? 0 : failed(err, ret, "ask KVM for the frequency of the guest's clock");
}

int kvm_vcpu_enable_dbcn(const struct kvm_vcpu *vcpu, struct err *err)
{
	int ret = set_reg(vcpu, SBI_REG(KVM_RISCV_SBI_EXT_DBCN), 1);

	/* Unknown to KVM before Linux 6.7: then guests find out that there is none. */
	if (ret == 0 || ret == -ENOENT || ret == -EINVAL)
		return 0;
	return failed(err, ret, "enable the SBI debug console in KVM");
}

int kvm_vcpu_set_entry(const struct kvm_vcpu *vcpu, uint64_t pc, uint64_t fdt_gpa, struct err *err)
{
	int ret = set_reg(vcpu, CORE_REG(regs.pc), pc);

	if (ret == 0)
		ret = set_reg(vcpu, CORE_REG(regs.a0), vcpu->hartid);
	if (ret == 0)
		ret = set_reg(vcpu, CORE_REG(regs.a1), fdt_gpa);
	return ret == 0 ? 0 : failed(err, ret, "set the registers of the first vCPU");
}

int kvm_vcpu_run(const struct kvm_vcpu *vcpu)
{
	return ioctl(vcpu->fd, KVM_RUN, 0) == 0 ? 0 : -errno;
}

void kvm_vcpu_request_exit(const struct kvm_vcpu *vcpu)
{
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
}

void kvm_vcpu_forget_exit(const struct kvm_vcpu *vcpu)
{
	__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
}

void kvm_vcpu_interrupt(const struct kvm_vcpu *vcpu, bool asserted)
{
	struct kvm_interrupt interrupt = {
		.irq = asserted ? KVM_INTERRUPT_SET : KVM_INTERRUPT_UNSET,
	};

	/* Fails only for another irq number than these two. */
	(void)ioctl(vcpu->fd, KVM_INTERRUPT, &interrupt);
}

void kvm_vcpu_get_regs(const struct kvm_vcpu *vcpu, struct kvm_vcpu_regs *regs)
{
	*regs = (struct kvm_vcpu_regs){ 0 };
	(void)get_reg(vcpu, CORE_REG(regs.pc), &regs->pc);
	(void)get_reg(vcpu, CORE_REG(regs.sp), &regs->sp);
	(void)get_reg(vcpu, CORE_REG(regs.ra), &regs->ra);
	(void)get_reg(vcpu, CORE_REG(mode), &regs->mode);
	(void)get_reg(vcpu, CSR_REG(scause), &regs->scause);
	(void)get_reg(vcpu, CSR_REG(stval), &regs->stval);
	(void)get_reg(vcpu, CSR_REG(sepc), &regs->sepc);
}

void kvm_vcpu_deinit(struct kvm_vcpu *vcpu)
{
	if (vcpu->run == NULL)
		return;
	munmap(vcpu->run, vcpu->map_size);
	vcpu->run = NULL;
	close_fd(&vcpu->fd);
}
