/* Memory that is taken when it is touched. */
#include "test.h"
#include "util/bits.h"
#include "util/lazy_mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIZE = 8 * MIB };

/* \return what /proc tells of the mapping that begins here, a number of kB */
static unsigned long kilobytes(const void *map, const char *key)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	unsigned long value = 0;
	bool is_it = false;
	char line[512];
	char head[32];

	assert_non_null(file);
	snprintf(head, sizeof(head), "%lx-", (unsigned long)(uintptr_t)map);
	while (fgets(line, sizeof(line), file) != NULL) {
		if (strchr(line, '-') != NULL && strchr(line, ':') != strstr(line, ": "))
			is_it = strncmp(line, head, strlen(head)) == 0;
		if (is_it && strncmp(line, key, strlen(key)) == 0)
			value = strtoul(line + strlen(key), NULL, 10);
	}
	fclose(file);
	return value;
}

/* One byte costs one page, also where the host has huge ones for who does not object. */
static void takes_what_is_touched(void **state)
{
	uint8_t *map = lazy_mem_map(SIZE);

	(void)state;
	assert_non_null(map);
	assert_int_equal(map[0] | map[SIZE / 2] | map[SIZE - 1], 0);
	map[SIZE / 2] = 1;
	assert_int_equal(kilobytes(map, "Size:"), SIZE / KIB);
	assert_in_range(kilobytes(map, "Rss:"), 1, 3 * (unsigned long)getpagesize() / KIB);
	if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) == 0)
		assert_int_equal(kilobytes(map, "THPeligible:"), 0);
	munmap(map, SIZE);
}

static void tells_when_there_is_no_room(void **state)
{
	(void)state;
	assert_null(lazy_mem_map(SIZE_MAX / 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_what_is_touched),
		cmocka_unit_test(tells_when_there_is_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
