/* The clocks of the host, as one number. */
#pragma once

#include <stdint.h>
#include <time.h>

#define NS_PER_S  UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_US UINT64_C(1000)

/** \param clock CLOCK_MONOTONIC, say \return its time in nanoseconds. Any thread */
static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/** The monotonic clock, for deadlines and durations. */
static inline uint64_t clock_ms(void)
{
	return clock_ns(CLOCK_MONOTONIC) / NS_PER_MS;
}
