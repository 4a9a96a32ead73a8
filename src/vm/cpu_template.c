#include "vm/cpu_template.h"

#include "kvm/kvm_vm.h"
#include "riscv/isa.h"
#include "vm/vcpu.h"

#include <errno.h>
#include <string.h>

bool cpu_template_has_off(const struct config_cpu *cpu, const char *name)
{
	for (unsigned int i = 0; i < cpu->n_isa_off; i++) {
		if (strcmp(cpu->isa_off[i], name) == 0)
			return true;
	}
	return false;
}

void cpu_template_hide(const struct config_cpu *cpu, struct isa *isa)
{
	for (unsigned int i = 0; i < cpu->n_isa_off; i++)
		isa_remove_with_dependents(isa, cpu->isa_off[i]);
}

static int check_capabilities(const struct config_cpu *cpu, const struct kvm_vm *kvm,
			      struct err *err)
{
	for (unsigned int i = 0; i < cpu->n_capabilities; i++) {
		/* Those below 0 are not to be asked for: we ask for none of our own. */
		if (cpu->capabilities[i] >= 0 && !kvm_vm_has_capability(kvm, cpu->capabilities[i]))
			return err_set(err, -ENOTSUP,
				       "this host's KVM lacks the capability %d that is asked for",
				       (int)cpu->capabilities[i]);
	}
	return 0;
}

static int disable_isa(const struct config_cpu *cpu, struct vcpu *vcpus, unsigned int n_vcpus,
		       struct err *err)
{
	struct isa all = { 0 };
	struct isa left;
	int ret;

	if (cpu->n_isa_off == 0)
		return 0;
	if (cpu_template_has_off(cpu, "i"))
		return err_set(err, -EINVAL, "nothing is left without the ISA extension 'i'");
	ret = kvm_vcpu_get_isa(&vcpus[0].kvm, &all, err);
	if (ret != 0)
		return ret;
	left = all;
	cpu_template_hide(cpu, &left);
	for (unsigned int i = 0; i < all.n; i++) {
		for (unsigned int k = 0; k < n_vcpus && !isa_has(&left, all.names[i]); k++)
			kvm_vcpu_disable_isa(&vcpus[k].kvm, all.names[i]);
	}
	return 0;
}

static int set_up_vcpu(const struct config_cpu *cpu, const struct kvm_vcpu *vcpu, struct err *err)
{
	int ret = 0;

	for (unsigned int i = 0; i < cpu->n_sbi_off && ret == 0; i++)
		ret = kvm_vcpu_disable_sbi(vcpu, cpu->sbi_off[i], err);
	for (unsigned int i = 0; i < cpu->n_regs && ret == 0; i++)
		ret = kvm_vcpu_modify_reg(vcpu, cpu->regs[i].id, cpu->regs[i].mask,
					  cpu->regs[i].value, err);
	return ret;
}

int cpu_template_apply(const struct config_cpu *cpu, const struct kvm_vm *kvm, struct vcpu *vcpus,
		       unsigned int n_vcpus, struct err *err)
{
	int ret = check_capabilities(cpu, kvm, err);

	if (ret == 0)
		ret = disable_isa(cpu, vcpus, n_vcpus, err);
	for (unsigned int i = 0; i < n_vcpus && ret == 0; i++)
		ret = set_up_vcpu(cpu, &vcpus[i].kvm, err);
	if (ret != 0)
		err_prefix(err, "cpu-config");
	return ret;
}
