/*
 * Memory for tables of which most is never used: zeros that take nothing of the host before they
 * are touched, and then a small page at a time. Not from the heap, which may clear what it gives.
 * Without a word to the kernel a host with transparent huge pages would give 2 MiB for one byte.
 */
#pragma once

#include <stddef.h>

/** \return \p len bytes of zeros, to be given to munmap(); NULL when there is no address space */
void *lazy_mem_map(size_t len);
