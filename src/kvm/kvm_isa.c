/*
 * The numbers are KVM's binary interface (enum KVM_RISCV_ISA_EXT_ID) and only ever grow. They are
 * written out, not taken from the header, so that a program built with old headers still knows
 * what a newer kernel offers; the assertions tie the two together where the header has the name.
 */
#include "kvm/kvm_isa.h"

#include "util/bits.h"

#include <linux/kvm.h>
#include <string.h>

static const char *const names[] = {
	"a",           "c",        "d",       "f",         NULL /* h: KVM does not nest */,
	"i",           "m",        "svpbmt",  "sstc",      "svinval",
	"zihintpause", "zicbom",   "zicboz",  "zbb",       "ssaia",
	"v",           "svnapot",  "zba",     "zbs",       "zicntr",
	"zicsr",       "zifencei", "zihpm",   "smstateen", "zicond",
	"zbc",         "zbkb",     "zbkc",    "zbkx",      "zknd",
	"zkne",        "zknh",     "zkr",     "zksed",     "zksh",
	"zkt",         "zvbb",     "zvbc",    "zvkb",      "zvkg",
	"zvkned",      "zvknha",   "zvknhb",  "zvksed",    "zvksh",
	"zvkt",        "zfh",      "zfhmin",  "zihintntl", "zvfh",
	"zvfhmin",     "zfa",      "ztso",    "zacas",     "sscofpmf",
	"zimop",       "zca",      "zcb",     "zcd",       "zcf",
	"zcmop",       "zawrs",    "smnpm",   "ssnpm",     "svade",
	"svadu",       "svvptc",   "zabha",   "ziccrse",   "zaamo",
	"zalrsc",      "zicbop",   "zfbfmin", "zvfbfmin",  "zvfbfwma",
};

/* enum KVM_RISCV_SBI_EXT_ID, likewise. */
static const char *const sbi_names[] = {
	"v01",          "time",   "ipi",  "rfence", "srst", "hsm",  "pmu",
	"experimental", "vendor", "dbcn", "sta",    "susp", "fwft", "mpxy",
};

static_assert(KVM_RISCV_SBI_EXT_DBCN == 9, "the tenth of the table");
static_assert(ARRAY_SIZE(names) == KVM_ISA_N_NAMES, "one name for each number");
static_assert(KVM_RISCV_ISA_EXT_SSAIA == 14, "the 15th of the table");
static_assert(KVM_RISCV_ISA_EXT_ZKR == 32, "the 33rd of the table");
static_assert(KVM_RISCV_ISA_EXT_ZAWRS == 61, "the 62nd of the table");

const char *kvm_isa_name(unsigned int id)
{
	return id < ARRAY_SIZE(names) ? names[id] : NULL;
}

static int number_of(const char *name, const char *const table[], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (table[i] != NULL && strcmp(table[i], name) == 0)
			return (int)i;
	}
	return -1;
}

int kvm_isa_number(const char *name)
{
	return number_of(name, names, ARRAY_SIZE(names));
}

int kvm_sbi_number(const char *name)
{
	return number_of(name, sbi_names, ARRAY_SIZE(sbi_names));
}
