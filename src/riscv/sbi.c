#include "riscv/sbi.h"

#include "util/bits.h"

const char *sbi_extension_name(uint64_t extension)
{
	static const struct {
		uint64_t id;
		const char *name;
	} names[] = {
		{ SBI_EXT_BASE, "BASE" }, { SBI_EXT_TIME, "TIME" }, { SBI_EXT_IPI, "IPI" },
		{ SBI_EXT_RFNC, "RFNC" }, { SBI_EXT_HSM, "HSM" },   { SBI_EXT_SRST, "SRST" },
		{ SBI_EXT_PMU, "PMU" },   { SBI_EXT_DBCN, "DBCN" }, { SBI_EXT_SUSP, "SUSP" },
		{ SBI_EXT_CPPC, "CPPC" }, { SBI_EXT_NACL, "NACL" }, { SBI_EXT_STA, "STA" },
		{ SBI_EXT_SSE, "SSE" },   { SBI_EXT_FWFT, "FWFT" }, { SBI_EXT_DBTR, "DBTR" },
		{ SBI_EXT_MPXY, "MPXY" },
	};

	if (extension <= SBI_LEGACY_LAST)
		return "legacy";
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (names[i].id == extension)
			return names[i].name;
	}
	return NULL;
}
