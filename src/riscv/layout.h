/* clang-format off */
/*
 * Where things are in the guest: the one map of guest-physical addresses and interrupt sources.
 *
 *	0x0c00_0000   64 MiB   PLIC     on hosts without the AIA
 *	0x0d00_0000   16 KiB   APLIC    on hosts with it; inside the PLIC's range, never both
 *	0x2800_0000   128 KiB  IMSICs   a page per hart
 *	0x4000_0000            MMIO     a page per device: the fixed ones, then the virtio slots
 *	0x8000_0000            RAM      one region
 *
 * RAM, PLIC, APLIC and IMSICs lie where QEMU's "virt" machine has them, which every RISC-V guest
 * has been tried on. A device has a page of its own whatever its registers need, so that no access
 * to one can reach another and each can be given its own mapping.
 *
 * The kernel lies at RAM + its text_offset. The device tree has a slot near the top of low RAM and
 * the initramfs lies below it: as far from the kernel and its BSS as can be. Both begin where a
 * huge page does, so that what Linux allocates below them early ends at such a boundary too. "Low"
 * means below 4 GiB. RISC-V Linux reads both anywhere in RAM, since it maps the device tree by
 * fixmap and the addresses are 64 bits wide; but with three-level page tables it gives up what lies
 * beyond its linear map, and other guests are less thorough, so that the first 2 GiB are what all
 * have.
 */
/* clang-format on */
#pragma once

#include "util/bits.h"

#include <stdint.h>

#define LAYOUT_PAGE_SIZE UINT64_C(4096)

#define LAYOUT_RAM_BASE    UINT64_C(0x80000000)
#define LAYOUT_LOW_RAM_END (4 * GIB)
#define LAYOUT_MAX_HARTS   32 /* one word of hart mask; five hart index bits */

/* Context N of the PLIC is hart N in S-mode. There are no contexts for M-mode, which no guest has.
 */
#define LAYOUT_PLIC_BASE UINT64_C(0x0c000000)
#define LAYOUT_PLIC_SIZE UINT64_C(0x04000000)

#define LAYOUT_APLIC_BASE  UINT64_C(0x0d000000)
#define LAYOUT_APLIC_SIZE  UINT64_C(0x4000)
#define LAYOUT_IMSIC_BASE  UINT64_C(0x28000000)
#define LAYOUT_IMSIC_SIZE  LAYOUT_PAGE_SIZE /* for each hart: an S-level file, no guest files */
#define LAYOUT_IMSIC_N_IDS 63               /* the least that the AIA specification allows */

#define LAYOUT_MMIO_BASE        UINT64_C(0x40000000)
#define LAYOUT_DEVICE_SIZE      LAYOUT_PAGE_SIZE
#define LAYOUT_BOOT_TIMER_BASE  (LAYOUT_MMIO_BASE + 0x0000)
#define LAYOUT_RTC_BASE         (LAYOUT_MMIO_BASE + 0x1000)
#define LAYOUT_SERIAL_BASE      (LAYOUT_MMIO_BASE + 0x2000)
#define LAYOUT_PVPANIC_BASE     (LAYOUT_MMIO_BASE + 0x3000)
#define LAYOUT_VMGENID_BASE     (LAYOUT_MMIO_BASE + 0x4000) /* reserved */
#define LAYOUT_VIRTIO_BASE      (LAYOUT_MMIO_BASE + 0x10000)
#define LAYOUT_VIRTIO_GPA(slot) (LAYOUT_VIRTIO_BASE + (slot) * LAYOUT_DEVICE_SIZE)

/*
 * Wired interrupt sources, 1 to LAYOUT_IRQ_SOURCES. Where KVM emulates the IMSIC in software, only
 * the identities 1 to 31 of a hart work, and the guest takes one of them for its IPIs: with 30
 * sources even a guest that sends all of them to one hart stays within.
 */
enum layout_irq {
	LAYOUT_IRQ_SERIAL = 1,
	LAYOUT_IRQ_RTC = 2,
	LAYOUT_IRQ_VMGENID = 3,    /**< reserved */
	LAYOUT_IRQ_FIRST_FREE = 4, /**< for virtio slots, in order */
	LAYOUT_IRQ_SOURCES = 30,
};

enum { LAYOUT_MAX_VIRTIO = LAYOUT_IRQ_SOURCES - LAYOUT_IRQ_FIRST_FREE + 1 };

/* Room for the device tree: 32 harts with a long ISA need half of it. Only what is used is touched.
 */
#define LAYOUT_FDT_SIZE (128 * KIB)

/** End of the RAM that holds kernel, initramfs and device tree. */
static inline uint64_t layout_low_ram_end(uint64_t ram_gpa, uint64_t ram_size)
{
	/* Not ram_gpa + ram_size: that may wrap while this need not. */
	if (ram_gpa < LAYOUT_LOW_RAM_END && ram_size > LAYOUT_LOW_RAM_END - ram_gpa)
		return LAYOUT_LOW_RAM_END;
	return ram_gpa + ram_size;
}

/**
 * Where the device tree goes: LAYOUT_FDT_SIZE bytes in the last 2 MiB of low RAM. Also the end of
 * what kernel and initramfs may use.
 * \param ram_gpa start of RAM
 * \param ram_size at least LAYOUT_FDT_SIZE
 */
static inline uint64_t layout_fdt_gpa(uint64_t ram_gpa, uint64_t ram_size)
{
	return align_down(layout_low_ram_end(ram_gpa, ram_size) - LAYOUT_FDT_SIZE, 2 * MIB);
}

/** How many bits of an MSI's target address number the hart: KVM and the device tree must agree. */
static inline uint32_t layout_hart_index_bits(unsigned int n_harts)
{
	return n_harts <= 1 ? 0 : 32 - (uint32_t)__builtin_clz(n_harts - 1);
}
