/*
 * The supervisor binary interface (SBI 3.0), as far as the monitor has to do with it.
 *
 * KVM answers most calls itself; a system reset reaches the monitor as an event of KVM. The other
 * calls do so as they are: the monitor implements the debug console, and refuses the rest by
 * SBI_ERR_NOT_SUPPORTED.
 */
#pragma once

#include <stdint.h>

/* Extension ids: up to four ASCII letters, but for the base. */
#define SBI_EXT_BASE UINT64_C(0x10)
#define SBI_EXT_TIME UINT64_C(0x54494d45)
#define SBI_EXT_IPI  UINT64_C(0x00735049)
#define SBI_EXT_RFNC UINT64_C(0x52464e43)
#define SBI_EXT_HSM  UINT64_C(0x0048534d)
#define SBI_EXT_SRST UINT64_C(0x53525354)
#define SBI_EXT_PMU  UINT64_C(0x00504d55)
#define SBI_EXT_DBCN UINT64_C(0x4442434e)
#define SBI_EXT_SUSP UINT64_C(0x53555350)
#define SBI_EXT_CPPC UINT64_C(0x43505043)
#define SBI_EXT_NACL UINT64_C(0x4e41434c)
#define SBI_EXT_STA  UINT64_C(0x00535441)
#define SBI_EXT_SSE  UINT64_C(0x00535345)
#define SBI_EXT_FWFT UINT64_C(0x46574654)
#define SBI_EXT_DBTR UINT64_C(0x44425452)
#define SBI_EXT_MPXY UINT64_C(0x4d505859)

/* Legacy extensions of SBI 0.1, a function each; they return their result in a0 alone. */
#define SBI_LEGACY_LAST UINT64_C(15)

/* Those that the monitor returns. */
enum sbi_error {
	SBI_SUCCESS = 0,
	SBI_ERR_FAILED = -1,
	SBI_ERR_NOT_SUPPORTED = -2,
	SBI_ERR_INVALID_PARAM = -3,
};

/* Functions of the debug console (chapter 12). */
enum sbi_dbcn_function {
	SBI_DBCN_WRITE = 0,      /**< a0 bytes at physical address a1 (low), a2 (high) */
	SBI_DBCN_READ = 1,       /**< likewise; both return how many in a1 */
	SBI_DBCN_WRITE_BYTE = 2, /**< the low byte of a0 */
};

/** Name of an extension for reports: "DBCN"; "legacy" for SBI 0.1; NULL when unknown. */
const char *sbi_extension_name(uint64_t extension);
