/*
 * Small arithmetic that everything needs: alignment, bit masks, array sizes, the way from an
 * embedded member to the structure around it, and little-endian loads and stores.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1024) * KIB)
#define GIB (UINT64_C(1024) * MIB)

#define BIT(n)            (UINT64_C(1) << (n))
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b)         ((a) < (b) ? (a) : (b))
#define MAX(a, b)         ((a) > (b) ? (a) : (b))

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/** Round \p value up to \p align, a power of two. The caller knows that it cannot wrap. */
static inline uint64_t align_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}

/** Round \p value down to \p align, a power of two. */
static inline uint64_t align_down(uint64_t value, uint64_t align)
{
	return value & ~(align - 1);
}

static inline bool is_aligned(uint64_t value, uint64_t align)
{
	return (value & (align - 1)) == 0;
}

/**
 * Copy a constant number of bytes: in words where both addresses are of words, which a compiler for
 * a processor without misaligned access cannot know.
 */
__attribute__((always_inline)) static inline void copy_record(void *to, const void *from,
							      size_t size)
{
	enum { WORD = sizeof(uint64_t) };

	if (!is_aligned((uintptr_t)to | (uintptr_t)from, WORD)) {
		memcpy(to, from, size);
		return;
	}
	memcpy(__builtin_assume_aligned(to, WORD), __builtin_assume_aligned(from, WORD), size);
	/* Or the compiler makes one of both. */
	__asm__ volatile("" : : : "memory");
}

/* Loads and stores copy bytes as they lie, and so do the structures shared with guests. */
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "little-endian hosts only");

/** Load a little-endian number of 1, 2, 4 or 8 bytes from any address; other lengths give 0. */
static inline uint64_t load_le(const void *from, unsigned int len)
{
	uint64_t value = 0;

	if (len == 1 || len == 2 || len == 4 || len == 8)
		memcpy(&value, from, len);
	return value;
}

/** Store the low \p len bytes (1 to 8) of \p value at any address, little end first. */
static inline void store_le(void *to, uint64_t value, unsigned int len)
{
	memcpy(to, &value, MIN(len, 8U));
}
