#include "config/cpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* <linux/kvm.h>: the top byte of a register's number is the architecture, then comes its size. */
enum { ARCH_SHIFT = 56, ARCH_RISCV = 0x80, SIZE_SHIFT = 52, SIZE_MASK = 0xf, SIZE_64 = 3 };

unsigned int config_cpu_reg_bits(uint64_t id)
{
	unsigned int size = (unsigned int)(id >> SIZE_SHIFT) & SIZE_MASK;

	return size > SIZE_64 ? 0 : 8U << size;
}

static int validate_reg(const struct config_cpu *cpu, unsigned int i, struct err *err)
{
	const struct config_cpu_reg *reg = &cpu->regs[i];
	unsigned long long id = reg->id;
	unsigned int n_bits = config_cpu_reg_bits(reg->id);

	if (reg->id >> ARCH_SHIFT != ARCH_RISCV)
		return err_set(err, -EINVAL, "0x%llx is not a register of a RISC-V vCPU", id);
	if (n_bits == 0)
		return err_set(err, -EINVAL, "the register 0x%llx is wider than 64 bits", id);
	if (n_bits < 64 && reg->mask >> n_bits != 0)
		return err_set(err, -EINVAL,
			       "the bitmap of the register 0x%llx is wider than its %u bits", id,
			       n_bits);
	for (unsigned int j = 0; j < i; j++) {
		if (cpu->regs[j].id == reg->id)
			return err_set(err, -EINVAL, "the register 0x%llx is named twice", id);
	}
	return 0;
}

static int validate_names(const char *what, char *const names[], unsigned int n_names,
			  struct err *err)
{
	for (unsigned int i = 0; i < n_names; i++) {
		size_t len = strlen(names[i]);

		if (len == 0 || len > CONFIG_CPU_NAME_MAX ||
		    strspn(names[i], "abcdefghijklmnopqrstuvwxyz0123456789") != len)
			return err_set(err, -EINVAL,
				       "'%.*s' cannot be the name of an %s extension: small "
				       "letters and digits, %d at most",
				       CONFIG_CPU_NAME_MAX, names[i], what, CONFIG_CPU_NAME_MAX);
	}
	return 0;
}

int config_cpu_validate(const struct config_cpu *cpu, struct err *err)
{
	int ret = validate_names("ISA", cpu->isa_off, cpu->n_isa_off, err);

	if (ret == 0)
		ret = validate_names("SBI", cpu->sbi_off, cpu->n_sbi_off, err);
	for (unsigned int i = 0; i < cpu->n_regs && ret == 0; i++)
		ret = validate_reg(cpu, i, err);
	return ret;
}

void config_cpu_deinit(struct config_cpu *cpu)
{
	for (unsigned int i = 0; i < cpu->n_isa_off; i++)
		free(cpu->isa_off[i]);
	for (unsigned int i = 0; i < cpu->n_sbi_off; i++)
		free(cpu->sbi_off[i]);
	*cpu = (struct config_cpu){ 0 };
}
