/*
 * Guest memory: which guest-physical ranges are RAM and where they are mapped in this process.
 *
 * guest_mem_ptr() is the one way from a guest address to a host pointer. It takes the length with
 * the address, never wraps, never spans two regions and knows RAM only, so a device that uses it
 * cannot be led outside guest RAM or into another device.
 *
 * Each region lies between PROT_NONE guards and is placed so that host and guest addresses agree
 * modulo 2 MiB: the kernel can then back it by huge pages in both tables. Pages may be anonymous
 * or private mappings of a file (guest_mem_map_file()): a guest's writes never reach the file.
 *
 * Built by one thread before the guest runs, read-only afterwards: any thread may translate. The
 * bytes themselves are shared with running guest harts: copy once, then judge.
 */
#pragma once

#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GUEST_MEM_MAX_REGIONS = 4 };

struct guest_region {
	uint64_t gpa;  /**< first guest-physical address */
	uint64_t size; /**< bytes */
	uint8_t *hva;  /**< where it is mapped here */
	void *map;     /**< the whole mapping with its guards, for munmap */
	size_t map_size;
	bool has_huge_pages; /**< set aside for good: they are not given back to the host */
};

struct guest_mem {
	struct guest_region regions[GUEST_MEM_MAX_REGIONS];
	unsigned int n_regions;
};

/** What backs a region. */
enum guest_mem_backing {
	GUEST_MEM_SMALL_PAGES, /**< ordinary memory; nothing is committed until touched */
	GUEST_MEM_HUGE_PAGES,  /**< reserved 2 MiB pages (hugetlbfs), all set aside at once */
};

/**
 * Add a region of zeroed memory.
 * \param gm zero-initialised or in use
 * \param gpa guest-physical start, a multiple of 2 MiB
 * \param size bytes, a multiple of the page size (2 MiB for huge pages), not 0
 * \return 0; -EINVAL for overlap, overflow or misalignment; -ENOSPC for too many; -ENOMEM when the
 * host has not reserved enough huge pages; -errno of mmap
 */
__attribute__((warn_unused_result)) int guest_mem_add(struct guest_mem *gm, uint64_t gpa,
						      uint64_t size, enum guest_mem_backing backing,
						      struct err *err);

/**
 * Put a private, writable mapping of a file in place of the pages at \p gpa: they share the page
 * cache until the guest writes to them. What lies past the end of the file in its last page reads
 * as zeros.
 * \param gpa page-aligned, inside one region of small pages
 * \param fd borrowed; may be closed afterwards
 * \param len bytes, any number above 0 that ends inside the same region
 * \return 0; -EINVAL if the range is not inside a region; -errno of mmap
 */
__attribute__((warn_unused_result)) int guest_mem_map_file(struct guest_mem *gm, uint64_t gpa,
							   int fd, uint64_t len, struct err *err);

/**
 * Give the guest pages of its own at [gpa, gpa + len) now, which it is likely to write to: many at
 * once cost less than one fault each. What cannot be had now comes with the guest's first touch.
 * \param gpa page-aligned
 */
void guest_mem_populate(const struct guest_mem *gm, uint64_t gpa, uint64_t len);

/**
 * Say whether the host may back [gpa, gpa + len) by transparent huge pages, which cost a fault for
 * 2 MiB instead of one for 4 KiB, and 2 MiB of memory. A wish: a host that has none ignores it.
 * \param gpa page-aligned
 */
void guest_mem_allow_huge(const struct guest_mem *gm, uint64_t gpa, uint64_t len, bool is_allowed);

/**
 * Host pointer for the guest-physical range [gpa, gpa + len).
 * \return the pointer, valid as long as \p gm; NULL if any byte of the range is not RAM, if it
 * spans two regions, if it wraps, or if \p len is 0
 */
void *guest_mem_ptr(const struct guest_mem *gm, uint64_t gpa, uint64_t len);

/** Copy out of guest memory. \return 0, or -EFAULT with \p buf zeroed if the range is not RAM */
__attribute__((warn_unused_result)) int guest_mem_read(const struct guest_mem *gm, uint64_t gpa,
						       void *buf, size_t len);

/** Copy into guest memory. \return 0, or -EFAULT with nothing written if the range is not RAM */
__attribute__((warn_unused_result)) int guest_mem_write(const struct guest_mem *gm, uint64_t gpa,
							const void *buf, size_t len);

/**
 * Give the pages that lie wholly in [gpa, gpa + len) back to the host. They stay mapped and the
 * guest may go on using them: anonymous pages then read as zeros, pages of a private mapping of a
 * file as the file has them. (Mapping zeros over those, page by page as a guest likes, would let
 * it use up the process's mappings.) Does nothing in a region of huge pages. Any thread.
 * \param len what reaches past the end of the region of \p gpa is cut off
 * \return 0; -EFAULT when \p gpa is not RAM; -errno of madvise
 */
__attribute__((warn_unused_result)) int guest_mem_discard(const struct guest_mem *gm, uint64_t gpa,
							  uint64_t len);

/** The same from where \p hva points: a buffer of a virtqueue, say. */
__attribute__((warn_unused_result)) int guest_mem_discard_hva(const struct guest_mem *gm,
							      const void *hva, uint64_t len);

/** How much RAM there is, in bytes. */
uint64_t guest_mem_size(const struct guest_mem *gm);

/** Does \p hva point into guest RAM? Async-signal-safe. */
bool guest_mem_contains_hva(const struct guest_mem *gm, const void *hva);

/** Unmap everything. Legal on a zeroed or half-built object, and twice. */
void guest_mem_deinit(struct guest_mem *gm);
