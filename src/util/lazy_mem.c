#include "util/lazy_mem.h"

#include <sys/mman.h>

void *lazy_mem_map(size_t len)
{
	void *map = mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED)
		return NULL;
	/* A kernel that knows of no huge pages refuses, and needs no telling. */
	(void)madvise(map, len, MADV_NOHUGEPAGE);
	return map;
}
