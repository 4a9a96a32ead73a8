#include "vm/startup_pages.h"

#include "util/bits.h"

#include <event2/event.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

static void drop(evutil_socket_t fd, short what, void *ctx)
{
	/* The linker's; between them nothing is ever written. */
	extern const char __executable_start[];
	extern const char etext[];
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	const uintptr_t start = align_down((uintptr_t)__executable_start, page);
	const uintptr_t end = align_down((uintptr_t)etext, page);

	(void)fd;
	(void)what;
	(void)ctx;
	(void)madvise((void *)start, end - start, MADV_DONTNEED);
}

void startup_pages_drop_later(struct event_base *base)
{
	const struct timeval startup = { .tv_sec = 1 };

	(void)event_base_once(base, -1, EV_TIMEOUT, drop, NULL, &startup);
}
