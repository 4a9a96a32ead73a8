/*
 * The device tree: what the guest is told about its machine.
 *
 * A pure function from plain data to a flattened tree. It names what is there and nothing else, so
 * that no driver of the guest probes in vain. Addresses come from layout.h.
 */
#pragma once

#include "riscv/isa.h"
#include "riscv/layout.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fdt_irqchip {
	FDT_IRQCHIP_PLIC, /**< PLIC in user space; its sources are levels */
	FDT_IRQCHIP_AIA,  /**< IMSICs and an APLIC in MSI mode; its sources are rising edges */
};

enum { FDT_RNG_SEED_SIZE = 64 };

/** One virtio-mmio device. */
struct fdt_virtio {
	uint64_t gpa;
	uint32_t irq; /**< wired source */
};

struct fdt_machine {
	unsigned int n_harts;  /**< 1 to LAYOUT_MAX_HARTS; hart ids count from 0 */
	const struct isa *isa; /**< of every hart */
	const char *mmu_type;  /**< "riscv,sv39"; NULL leaves it out */
	uint32_t timebase_hz;  /**< of the time CSR */
	uint64_t ram_gpa;
	uint64_t ram_size;

	const char *bootargs;                /**< kernel command line; NULL or "" for none */
	uint64_t initrd_start;               /**< 0 for none */
	uint64_t initrd_end;                 /**< first byte after it */
	uint8_t rng_seed[FDT_RNG_SEED_SIZE]; /**< fresh random bytes, credited as entropy */
	uint64_t kaslr_seed;                 /**< random; 0 leaves it out */

	enum fdt_irqchip irqchip;
	uint32_t aia_n_ids; /**< interrupt identities of an IMSIC: 63, 127, … 2047 */
	uint32_t n_sources; /**< wired sources of PLIC or APLIC */

	bool has_serial;
	bool serial_is_stdout; /**< the default console, and that of a bare `earlycon` */
	bool has_rtc;
	bool has_pvpanic;
	struct fdt_virtio virtio[LAYOUT_MAX_VIRTIO];
	unsigned int n_virtio;
};

/**
 * Write the device tree.
 * \param machine what to describe
 * \param buf where to, 8-byte aligned
 * \param size bytes at \p buf; LAYOUT_FDT_SIZE is enough
 * \param used set to the bytes that the tree takes
 * \return 0; -ENOSPC if it does not fit; -EINVAL for a machine that cannot be
 */
__attribute__((warn_unused_result)) int fdt_build(const struct fdt_machine *machine, void *buf,
						  size_t size, size_t *used, struct err *err);
