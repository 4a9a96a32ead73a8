/*
 * The numbers are KVM's binary interface (enum KVM_RISCV_ISA_EXT_ID) and only ever grow. They are
 * written out, not taken from the header, so that a program built with old headers still knows
 * what a newer kernel offers; the assertions tie the two together where the header has the name.
 */
#include "kvm/kvm_isa.h"

#include "util/bits.h"

#include <linux/kvm.h>

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

static_assert(ARRAY_SIZE(names) == KVM_ISA_N_NAMES, "one name for each number");
static_assert(KVM_RISCV_ISA_EXT_SSAIA == 14, "the 15th of the table");
static_assert(KVM_RISCV_ISA_EXT_ZKR == 32, "the 33rd of the table");
static_assert(KVM_RISCV_ISA_EXT_ZAWRS == 61, "the 62nd of the table");

const char *kvm_isa_name(unsigned int id)
{
	return id < ARRAY_SIZE(names) ? names[id] : NULL;
}
