/*
 * What the guest starts from: its memory, with kernel, initramfs and device tree in it.
 *
 * boot_load() does all that can go wrong with what the user named, and touches neither KVM nor a
 * device: a bad file is told of before any virtual machine exists. boot_write_fdt() comes last,
 * when the machine it describes is complete.
 */
#pragma once

#include "mem/guest_mem.h"
#include "riscv/fdt.h"
#include "riscv/image.h"
#include "util/err.h"

#include <stdbool.h>

struct vm_config;
struct vm_resources;

struct boot {
	struct kernel_image image;
	struct kernel_placement kernel;
	struct initrd initrd;
	uint64_t fdt_gpa;
};

/**
 * Add RAM to \p mem and put kernel and initramfs into it.
 * \param boot zero-initialised
 * \param mem zero-initialised
 * \param resources has the files, if they were opened before; may be NULL
 */
__attribute__((warn_unused_result)) int boot_load(struct boot *boot, struct guest_mem *mem,
						  const struct vm_config *config,
						  struct vm_resources *resources, struct err *err);

/** Complete \p machine with what was loaded, and write the device tree to \c fdt_gpa. */
__attribute__((warn_unused_result)) int boot_write_fdt(const struct boot *boot,
						       const struct guest_mem *mem,
						       const struct vm_config *config,
						       struct fdt_machine *machine,
						       struct err *err);

/**
 * The file that was cut short since it was mapped into the guest, if one was: touching its lost
 * pages is what a SIGBUS or an EFAULT then means. Async-signal-safe.
 * \return "kernel", "initramfs" or NULL
 */
const char *boot_cut_file(const struct boot *boot);

/** Close the files. Legal on a zeroed object, and twice. */
void boot_deinit(struct boot *boot);
