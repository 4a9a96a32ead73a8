#include "vm/startup_pages.h"

#include "util/bits.h"

#include <event2/event.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* More than the start has ever used. */
#define STACK_BYTES ((uintptr_t)96 << 10)

static void drop_code(uintptr_t page)
{
	/* The linker's; between them nothing is ever written. */
	extern const char __executable_start[];
	extern const char etext[];
	const uintptr_t start = align_down((uintptr_t)__executable_start, page);
	const uintptr_t end = align_down((uintptr_t)etext, page);

	(void)madvise((void *)start, end - start, MADV_DONTNEED);
}

/* What is below the frames that are in use, less a page for those of the calls from here. */
static void drop_stack(uintptr_t page)
{
	const uintptr_t end = align_down((uintptr_t)__builtin_frame_address(0), page) - page;

	/* Only below the first thread's stack is there nothing else. */
	if (gettid() == getpid())
		(void)madvise((void *)(end - STACK_BYTES), STACK_BYTES, MADV_DONTNEED);
}

static void drop(evutil_socket_t fd, short what, void *ctx)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)fd;
	(void)what;
	(void)ctx;
	drop_code(page);
	drop_stack(page);
}

void startup_pages_drop_later(struct event_base *base)
{
	const struct timeval startup = { .tv_sec = 1 };

	(void)event_base_once(base, -1, EV_TIMEOUT, drop, NULL, &startup);
}
