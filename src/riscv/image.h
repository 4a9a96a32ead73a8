/*
 * The files a guest starts from: the kernel and its initramfs, put into guest memory.
 *
 * A kernel is a RISC-V `Image`: a 64-byte header and then the kernel as it shall lie in memory.
 * With an EFI stub the same file is a PE program too (Debian's vmlinuz is one), and gzip may be
 * around either. What is not that is refused with a sentence that names the file and, where it can
 * be told, what it is instead.
 *
 * Files are mapped privately, not read: the guests of one host share the page cache's copy of a
 * kernel until they write to it, and nothing is copied before the guest touches it, but for the
 * kernel's data at the end of its file (kernel_image_load()). The price is that somebody who
 * shortens the file under a running guest takes pages away from it, and touching one of them is a
 * SIGBUS. So the descriptor stays open, and image_file_was_cut() tells that case from a bug.
 * `copy` reads the file instead. A gzip file is always inflated, straight into place.
 *
 * Both files are the user's and may hold anything: every number in them is judged before it is
 * used, and what is written never leaves the range of guest memory that was asked for.
 */
#pragma once

#include "mem/guest_mem.h"
#include "util/err.h"

#include <stdbool.h>
#include <stdint.h>

/** An open file that guest memory is loaded from or maps. */
struct image_file {
	char *path;    /**< owned, for sentences; NULL while nothing is open */
	int fd;        /**< owned */
	uint64_t size; /**< bytes, when it was opened */
};

/** Is the file shorter now than it was when it was opened? Async-signal-safe. */
bool image_file_was_cut(const struct image_file *file);

/** A kernel file, opened and recognised. */
struct kernel_image {
	struct image_file file; /**< open until kernel_image_deinit() */
	bool gzip;              /**< the rest is of what gzip holds */
	uint64_t text_offset;   /**< from the start of RAM, a multiple of 2 MiB */
	uint64_t image_size;    /**< bytes that the kernel takes in memory, with its BSS */
	uint64_t min_size;      /**< bytes that its own tables say it must have */
};

/** Where a kernel has been put. */
struct kernel_placement {
	uint64_t entry; /**< first byte of the Image, where the first hart starts */
	uint64_t end;   /**< first byte after the kernel and its BSS, page-aligned */
	bool mapped;    /**< guest memory is a mapping of the file: see image_file_was_cut() */
};

/**
 * Open a kernel file and recognise it. A raw Image is checked for completeness here, a gzip file
 * when it is loaded.
 * \param image filled; zeroed on failure
 * \param path is copied
 * \return 0, or a negative errno with a sentence that names the file
 */
__attribute__((warn_unused_result)) int kernel_image_open(struct kernel_image *image,
							  const char *path, struct err *err);

/**
 * Put the kernel into guest memory at \p ram_gpa + text_offset, below the device tree's slot.
 * \param gm RAM that nothing has been written to: the BSS is the zeros that are there
 * \param copy read the file although it could be mapped
 * \param out filled on success
 * \return 0, or a negative errno with a sentence; guest memory is then of no use
 */
__attribute__((warn_unused_result)) int kernel_image_load(const struct kernel_image *image,
							  struct guest_mem *gm, uint64_t ram_gpa,
							  uint64_t ram_size, bool copy,
							  struct kernel_placement *out,
							  struct err *err);

/** Close the file. Legal on a zeroed object, and twice. What was loaded stays. */
void kernel_image_deinit(struct kernel_image *image);

/** An initramfs: its file, and once that is loaded the range for the device tree. */
struct initrd {
	struct image_file file; /**< open until initrd_deinit(); not empty */
	uint64_t start;         /**< first byte, page-aligned; 0 while it is not loaded */
	uint64_t end;           /**< first byte after it */
	bool mapped; /**< guest memory is a mapping of the file: see image_file_was_cut() */
};

/**
 * Open an initramfs. Its format is the guest kernel's business.
 * \param initrd filled; without a file on failure
 * \param path is copied
 * \return 0, or a negative errno with a sentence that names the file
 */
__attribute__((warn_unused_result)) int initrd_open(struct initrd *initrd, const char *path,
						    struct err *err);

/**
 * Put it into guest memory, as high as it fits between two addresses.
 * \param initrd open; `start` and `end` are set
 * \param low_gpa the end of the kernel
 * \param high_gpa layout_fdt_gpa()
 * \param copy read the file although it could be mapped
 * \return 0, or a negative errno with a sentence that names the file
 */
__attribute__((warn_unused_result)) int initrd_load(struct initrd *initrd, struct guest_mem *gm,
						    uint64_t low_gpa, uint64_t high_gpa, bool copy,
						    struct err *err);

/** Close the file. Legal on a zeroed object, and twice. What was loaded stays. */
void initrd_deinit(struct initrd *initrd);
