/*
 * The instruction set that a guest's harts have: a set of extension names in canonical order.
 *
 * The KVM layer adds what KVM reports as enabled; the device tree tells it to the guest twice, as
 * the list of `riscv,isa-extensions` and as the old `riscv,isa` string for kernels before 6.7.
 *
 * Canonical order is that of the unprivileged specification's chapter on naming: single letters
 * first, in an order of their own; then z-extensions, by the category that their second letter
 * names and then by alphabet; then s-extensions by alphabet; then x. Keeping the set sorted makes
 * two of them comparable whatever order they were added in.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ISA_MAX_NAMES = 160,    /**< KVM of Linux 7.2 knows fewer than 100 */
	ISA_MAX_NAME_LEN = 23,  /**< without the final NUL; "shcounterenw" has 12 */
	ISA_STRING_SIZE = 4096, /**< always enough for isa_string() */
};

struct isa {
	const char *names[ISA_MAX_NAMES]; /**< borrowed, in canonical order, each once */
	unsigned int n;
	uint32_t cbom_block_size; /**< bytes, with zicbom; 0 when unknown */
	uint32_t cboz_block_size; /**< bytes, with zicboz */
	uint32_t cbop_block_size; /**< bytes, with zicbop */
};

/**
 * Add an extension; adding it twice is harmless.
 * \param isa zero-initialised or in use
 * \param name lower case, "i" or "zba"; borrowed for good, so a constant
 */
void isa_add(struct isa *isa, const char *name);

/** Is the extension in the set? */
bool isa_has(const struct isa *isa, const char *name);

/** Take an extension out of the set; harmless when it is not in it. */
void isa_remove(struct isa *isa, const char *name);

/** Take an extension out, and all that cannot be without it. */
void isa_remove_with_dependents(struct isa *isa, const char *name);

/**
 * Write the old `riscv,isa` string of RV64: "rv64imafdc_zicntr_zba_sstc".
 *
 * Old parsers take digits at the end of a name for a version number, so a name that ends in one
 * (none did when this was written) is only in the list.
 * \param isa the set
 * \param buf where to; always terminated
 * \param size ISA_STRING_SIZE is enough for any set
 * \return 0, or -ENOSPC if it did not fit
 */
__attribute__((warn_unused_result)) int isa_string(const struct isa *isa, char *buf, size_t size);
