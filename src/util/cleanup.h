/*
 * Cleanup attributes: a local variable that frees what it holds when it goes out of scope, so that
 * `return` is right anywhere. What shall live on is taken out with take_fd() or take_ptr().
 */
#pragma once

#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_close_(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_free_(void *ptr)
{
	free(*(void **)ptr);
}

#define cleanup_close __attribute__((cleanup(cleanup_close_)))
#define cleanup_free  __attribute__((cleanup(cleanup_free_)))

/** Give the descriptor away: the variable is left at -1. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/** Give the pointer away: the variable is left NULL. */
#define take_ptr(var)                                                                              \
	({                                                                                         \
		__typeof__(var) t_ = (var);                                                        \
		(var) = NULL;                                                                      \
		t_;                                                                                \
	})

/** Close \p *fd if it is open and leave -1, so that closing twice is harmless. */
static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		close(take_fd(fd));
}
