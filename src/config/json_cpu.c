/*
 * /cpu-config: Firecracker's form, of which RISC-V has the registers and capabilities, and two
 * lists of our own that take extensions away.
 */
#include "config/json_cpu.h"
#include "config/config_json.h"
#include "config/json_fields.h"
#include "config/json_write.h"
#include "util/bits.h"
#include "util/parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BITS_MAX = 64, NAME_SHOWN = 80 };

/* ---- lists ---- */

typedef int add_item(struct config_cpu *cpu, const json_t *item, struct err *err);

static int read_list(void *at, const json_t *value, unsigned int max, add_item *add,
		     struct err *err)
{
	size_t i;
	json_t *item;

	if (!json_is_array(value))
		return json_refuse_type(value, "a sequence", err);
	if (json_array_size(value) > max)
		return err_set(err, -EINVAL, "%zu are too many, %u at most", json_array_size(value),
			       max);
	json_array_foreach(value, i, item)
	{
		int ret = add(at, item, err);

		if (ret != 0) {
			err_prefix(err, "%zu", i);
			return ret;
		}
	}
	return 0;
}

static int add_isa(struct config_cpu *cpu, const json_t *item, struct err *err)
{
	return json_read_text(NULL, &cpu->isa_off[cpu->n_isa_off++], item, err);
}

static int add_sbi(struct config_cpu *cpu, const json_t *item, struct err *err)
{
	return json_read_text(NULL, &cpu->sbi_off[cpu->n_sbi_off++], item, err);
}

static int read_isa(const struct json_field *field, void *at, const json_t *value, struct err *err)
{
	(void)field;
	return read_list(at, value, CONFIG_CPU_OFF_MAX, add_isa, err);
}

static int read_sbi(const struct json_field *field, void *at, const json_t *value, struct err *err)
{
	(void)field;
	return read_list(at, value, CONFIG_CPU_OFF_MAX, add_sbi, err);
}

/* "171": it is needed; "!171": it is not. */
static int add_capability(struct config_cpu *cpu, const json_t *item, struct err *err)
{
	const char *text;
	bool is_off;
	uint64_t number;
	int ret = json_get_text(item, &text, err);

	if (ret != 0)
		return ret;
	is_off = text[0] == '!';
	if (parse_uint(text + is_off, INT32_MAX, &number) != 0)
		return err_set(err, -EINVAL, "'%.*s' is not a number of a KVM capability, N or !N",
			       json_cut(text, NAME_SHOWN), text);
	cpu->capabilities[cpu->n_capabilities++] = is_off ? -1 - (int32_t)number : (int32_t)number;
	return 0;
}

static int read_capabilities(const struct json_field *field, void *at, const json_t *value,
			     struct err *err)
{
	(void)field;
	return read_list(at, value, CONFIG_CPU_CAPS_MAX, add_capability, err);
}

/* Other processors' lists are right when they are empty. */
static int refuse_list(const json_t *value, const char *processor, struct err *err)
{
	if (!json_is_array(value))
		return json_refuse_type(value, "a sequence", err);
	if (json_array_size(value) == 0)
		return 0;
	return err_set(err, -EINVAL, "these are of %s processors and mean nothing on RISC-V",
		       processor);
}

static int read_of_x86(const struct json_field *field, void *at, const json_t *value,
		       struct err *err)
{
	(void)field;
	(void)at;
	return refuse_list(value, "x86", err);
}

static int read_of_arm(const struct json_field *field, void *at, const json_t *value,
		       struct err *err)
{
	(void)field;
	(void)at;
	return refuse_list(value, "ARM", err);
}

/* ---- registers ---- */

struct reg_body {
	uint64_t id;
	uint64_t mask;
	uint64_t value;
};

/* Digits of one base to the end, at least one. */
static int parse_digits(const char *digits, int base, uint64_t *number)
{
	const char *set = base == 2 ? "01" : base == 10 ? "0123456789" : "0123456789abcdefABCDEF";
	size_t len = strlen(digits);

	if (len == 0 || strspn(digits, set) != len)
		return -EINVAL;
	errno = 0;
	*number = strtoull(digits, NULL, base);
	return -errno;
}

static int read_reg_id(const struct json_field *field, void *at, const json_t *value,
		       struct err *err)
{
	const char *text;
	int base = 10;
	int ret = json_get_text(value, &text, err);

	(void)field;
	if (ret != 0)
		return ret;
	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'b'))
		base = text[1] == 'x' ? 16 : 2;
	if (parse_digits(base == 10 ? text : text + 2, base, at) != 0)
		return err_set(err, -EINVAL,
			       "'%.*s' is not a number of 64 bits like 0x8030000003000008",
			       json_cut(text, NAME_SHOWN), text);
	return 0;
}

/* "0b1x0": the highest bit first; x stays as it is, and so do higher bits; _ is for the eye. */
static int read_bitmap(const struct json_field *field, void *at, const json_t *value,
		       struct err *err)
{
	struct reg_body *reg = at;
	const char *text;
	unsigned int n_bits = 0;
	int ret = json_get_text(value, &text, err);

	(void)field;
	if (ret != 0)
		return ret;
	if (strncmp(text, "0b", 2) != 0 || text[2 + strspn(text + 2, "01x_")] != '\0')
		return err_set(err, -EINVAL,
			       "'%.*s' is not a bitmap: 0b and then 0, 1, x or _ for each bit",
			       json_cut(text, NAME_SHOWN), text);
	for (const char *digit = text + 2; *digit != '\0'; digit++) {
		if (*digit == '_')
			continue;
		if (++n_bits > BITS_MAX)
			return err_set(err, -EINVAL, "the bitmap has more than %d bits", BITS_MAX);
		reg->mask = reg->mask << 1 | (*digit != 'x');
		reg->value = reg->value << 1 | (*digit == '1');
	}
	if (n_bits == 0)
		return err_set(err, -EINVAL, "the bitmap has no bits");
	return 0;
}

static int add_reg(struct config_cpu *cpu, const json_t *item, struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "addr",
		  .read = read_reg_id,
		  JSON_AT(struct reg_body, id),
		  .is_required = true },
		{ .name = "bitmap", .read = read_bitmap, .is_required = true },
		{ 0 },
	};
	struct reg_body reg = { 0 };
	int ret = json_read_object(fields, FIELDS_STRICT, &reg, item, NULL, err);

	if (ret == 0)
		cpu->regs[cpu->n_regs++] = (struct config_cpu_reg){
			.id = reg.id,
			.mask = reg.mask,
			.value = reg.value,
		};
	return ret;
}

static int read_regs(const struct json_field *field, void *at, const json_t *value, struct err *err)
{
	(void)field;
	return read_list(at, value, CONFIG_CPU_REGS_MAX, add_reg, err);
}

int cpu_from_json(struct config_cpu *cpu, const json_t *body, struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "kvm_capabilities", .read = read_capabilities },
		{ .name = "cpuid_modifiers", .read = read_of_x86 },
		{ .name = "msr_modifiers", .read = read_of_x86 },
		{ .name = "reg_modifiers", .read = read_regs },
		{ .name = "vcpu_features", .read = read_of_arm },
		{ .name = "isa_extensions_off", .read = read_isa },
		{ .name = "sbi_extensions_off", .read = read_sbi },
		{ 0 },
	};
	int ret = json_read_object(fields, FIELDS_STRICT, cpu, body, NULL, err);

	if (ret != 0)
		config_cpu_deinit(cpu);
	cpu->is_set = ret == 0;
	return ret;
}

/* ---- and back ---- */

static json_t *bitmap_to_json(const struct config_cpu_reg *reg)
{
	unsigned int n_bits = config_cpu_reg_bits(reg->id);
	char text[2 + BITS_MAX + 1] = "0b";

	for (unsigned int i = 0; i < n_bits; i++) {
		uint64_t bit = BIT(n_bits - 1 - i);

		text[2 + i] = (reg->mask & bit) == 0 ? 'x' : (reg->value & bit) == 0 ? '0' : '1';
	}
	return json_string(text);
}

static json_t *regs_to_json(const struct config_cpu *cpu)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < cpu->n_regs; i++) {
		char id[24];

		snprintf(id, sizeof(id), "0x%llx", (unsigned long long)cpu->regs[i].id);
		json_add(&list, json_pack("{s:s, s:o}", "addr", id, "bitmap",
					  bitmap_to_json(&cpu->regs[i])));
	}
	return list;
}

static json_t *capabilities_to_json(const struct config_cpu *cpu)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < cpu->n_capabilities; i++) {
		int32_t capability = cpu->capabilities[i];

		json_add(&list, capability < 0 ? json_sprintf("!%d", -1 - capability)
					       : json_sprintf("%d", capability));
	}
	return list;
}

static json_t *names_to_json(char *const names[], unsigned int n_names)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < n_names; i++)
		json_add(&list, json_from_text(names[i]));
	return list;
}

json_t *cpu_to_json(const struct config_cpu *cpu)
{
	if (!cpu->is_set)
		return json_null();
	return json_pack("{s:o, s:o, s:o, s:o}", "kvm_capabilities", capabilities_to_json(cpu),
			 "reg_modifiers", regs_to_json(cpu), "isa_extensions_off",
			 names_to_json(cpu->isa_off, cpu->n_isa_off), "sbi_extensions_off",
			 names_to_json(cpu->sbi_off, cpu->n_sbi_off));
}
