#include "mem/guest_mem.h"

#include "util/bits.h"

#include <errno.h>
#include <linux/mman.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The size of a second-level leaf in every RISC-V page table, guest stage included. */
#define HUGE_PAGE (2 * MIB)

static uint64_t page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static bool overlaps(const struct guest_mem *gm, uint64_t gpa, uint64_t size)
{
	for (unsigned int i = 0; i < gm->n_regions; i++) {
		const struct guest_region *region = &gm->regions[i];

		if (gpa < region->gpa + region->size && region->gpa < gpa + size)
			return true;
	}
	return false;
}

static int check_new_region(const struct guest_mem *gm, uint64_t gpa, uint64_t size,
			    struct err *err)
{
	uint64_t end;

	if (gm->n_regions == GUEST_MEM_MAX_REGIONS)
		return err_set(err, -ENOSPC, "guest memory: more than %d regions",
			       GUEST_MEM_MAX_REGIONS);
	if (size == 0 || !is_aligned(size, page_size()) || !is_aligned(gpa, HUGE_PAGE) ||
	    __builtin_add_overflow(gpa, size, &end) || overlaps(gm, gpa, size))
		return err_set(err, -EINVAL, "guest memory: bad region 0x%llx + 0x%llx",
			       (unsigned long long)gpa, (unsigned long long)size);
	return 0;
}

static int map_small_pages(void *at, uint64_t size, struct err *err)
{
	if (mprotect(at, size, PROT_READ | PROT_WRITE) != 0)
		return err_sys(err, "map %llu MiB of guest memory",
			       (unsigned long long)(size / MIB));
	return 0;
}

static int map_huge_pages(void *at, uint64_t size, struct err *err)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB | MAP_HUGE_2MB;

	/* Without MAP_NORESERVE: what is missing is told now, not by a SIGBUS while the guest runs.
	 */
	if (mmap(at, size, PROT_READ | PROT_WRITE, flags, -1, 0) != MAP_FAILED)
		return 0;
	if (errno == ENOMEM)
		return err_set(
			err, -ENOMEM,
			"huge pages: the host has not enough of them free: reserve %llu with "
			"'sysctl vm.nr_hugepages=N'",
			(unsigned long long)(size / HUGE_PAGE));
	return err_sys(err, "map %llu MiB of guest memory in huge pages",
		       (unsigned long long)(size / MIB));
}

int guest_mem_add(struct guest_mem *gm, uint64_t gpa, uint64_t size, enum guest_mem_backing backing,
		  struct err *err)
{
	struct guest_region region = {
		.gpa = gpa,
		.size = size,
		.has_huge_pages = backing == GUEST_MEM_HUGE_PAGES,
	};
	int ret = check_new_region(gm, gpa, size, err);
	uint64_t start;

	if (ret != 0)
		return ret;
	/* A guard of at least 2 MiB on both sides, and room to align between them. */
	region.map_size = align_up(size, HUGE_PAGE) + 3 * HUGE_PAGE;
	region.map = mmap(NULL, region.map_size, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (region.map == MAP_FAILED)
		return err_sys(err, "reserve %llu MiB of address space for guest memory",
			       (unsigned long long)(size / MIB));
	start = align_up((uint64_t)(uintptr_t)region.map + HUGE_PAGE, HUGE_PAGE);
	region.hva = (uint8_t *)region.map + (start - (uint64_t)(uintptr_t)region.map);
	if (backing == GUEST_MEM_HUGE_PAGES)
		ret = map_huge_pages(region.hva, size, err);
	else
		ret = map_small_pages(region.hva, size, err);
	if (ret != 0) {
		munmap(region.map, region.map_size);
		return ret;
	}
	/* A core dump of the monitor is for its bugs, not for the guest's secrets. */
	madvise(region.hva, size, MADV_DONTDUMP);
	gm->regions[gm->n_regions++] = region;
	return 0;
}

int guest_mem_map_file(struct guest_mem *gm, uint64_t gpa, int fd, uint64_t len, struct err *err)
{
	void *at = guest_mem_ptr(gm, gpa, len);
	int flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE;

	/* A last page that is not whole would reach past what was checked, but pages are whole. */
	if (at == NULL || !is_aligned((uint64_t)(uintptr_t)at, page_size()))
		return err_set(err, -EINVAL, "guest memory: no room for a file at 0x%llx",
			       (unsigned long long)gpa);
	if (mmap(at, len, PROT_READ | PROT_WRITE, flags, fd, 0) == MAP_FAILED)
		return err_sys(err, "map the file into guest memory");
	madvise(at, len, MADV_DONTDUMP);
	return 0;
}

void guest_mem_populate(const struct guest_mem *gm, uint64_t gpa, uint64_t len)
{
	void *at = guest_mem_ptr(gm, gpa, len);

	if (at != NULL)
		(void)madvise(at, len, MADV_POPULATE_WRITE);
}

void guest_mem_allow_huge(const struct guest_mem *gm, uint64_t gpa, uint64_t len, bool is_allowed)
{
	void *at = guest_mem_ptr(gm, gpa, len);

	if (at != NULL)
		(void)madvise(at, len, is_allowed ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

void *guest_mem_ptr(const struct guest_mem *gm, uint64_t gpa, uint64_t len)
{
	if (len == 0)
		return NULL;
	for (unsigned int i = 0; i < gm->n_regions; i++) {
		const struct guest_region *region = &gm->regions[i];

		/* Unsigned: an address below the region gives a huge offset, so this cannot wrap.
		 */
		if (gpa - region->gpa < region->size && len <= region->size - (gpa - region->gpa))
			return region->hva + (gpa - region->gpa);
	}
	return NULL;
}

int guest_mem_read(const struct guest_mem *gm, uint64_t gpa, void *buf, size_t len)
{
	const void *from;

	if (len == 0)
		return 0;
	from = guest_mem_ptr(gm, gpa, len);
	if (from == NULL) {
		memset(buf, 0, len);
		return -EFAULT;
	}
	memcpy(buf, from, len);
	return 0;
}

int guest_mem_write(const struct guest_mem *gm, uint64_t gpa, const void *buf, size_t len)
{
	void *to;

	if (len == 0)
		return 0;
	to = guest_mem_ptr(gm, gpa, len);
	if (to == NULL)
		return -EFAULT;
	memcpy(to, buf, len);
	return 0;
}

/* \param offset inside the region */
static int discard(const struct guest_region *region, uint64_t offset, uint64_t len)
{
	uint64_t start = align_up(offset, page_size());
	uint64_t end = align_down(offset + MIN(len, region->size - offset), page_size());

	if (region->has_huge_pages || start >= end)
		return 0;
	return madvise(region->hva + start, end - start, MADV_DONTNEED) == 0 ? 0 : -errno;
}

int guest_mem_discard(const struct guest_mem *gm, uint64_t gpa, uint64_t len)
{
	for (unsigned int i = 0; i < gm->n_regions; i++) {
		const struct guest_region *region = &gm->regions[i];

		if (gpa - region->gpa < region->size)
			return discard(region, gpa - region->gpa, len);
	}
	return -EFAULT;
}

int guest_mem_discard_hva(const struct guest_mem *gm, const void *hva, uint64_t len)
{
	for (unsigned int i = 0; i < gm->n_regions; i++) {
		const struct guest_region *region = &gm->regions[i];
		uint64_t offset = (uintptr_t)hva - (uintptr_t)region->hva;

		if (offset < region->size)
			return discard(region, offset, len);
	}
	return -EFAULT;
}

uint64_t guest_mem_size(const struct guest_mem *gm)
{
	uint64_t size = 0;

	for (unsigned int i = 0; i < gm->n_regions; i++)
		size += gm->regions[i].size;
	return size;
}

bool guest_mem_contains_hva(const struct guest_mem *gm, const void *hva)
{
	for (unsigned int i = 0; i < gm->n_regions; i++) {
		const struct guest_region *region = &gm->regions[i];

		if ((uintptr_t)hva - (uintptr_t)region->hva < region->size)
			return true;
	}
	return false;
}

void guest_mem_deinit(struct guest_mem *gm)
{
	for (unsigned int i = 0; i < gm->n_regions; i++)
		munmap(gm->regions[i].map, gm->regions[i].map_size);
	*gm = (struct guest_mem){ 0 };
}
