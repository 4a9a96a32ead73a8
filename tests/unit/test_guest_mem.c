#include "mem/guest_mem.h"
#include "test.h"
#include "util/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define RAM  UINT64_C(0x80000000)
#define SIZE (16 * MIB)

static struct guest_mem one_region(void)
{
	struct guest_mem gm = { 0 };

	assert_int_equal(guest_mem_add(&gm, RAM, SIZE, GUEST_MEM_SMALL_PAGES, NULL), 0);
	return gm;
}

static void translates_ram_only(void **state)
{
	struct guest_mem gm = one_region();
	uint8_t *start = guest_mem_ptr(&gm, RAM, 1);
	static const struct {
		uint64_t gpa;
		uint64_t len;
	} bad[] = {
		{ RAM - 1, 1 },
		{ RAM - 1, 2 },
		{ RAM + SIZE, 1 },
		{ RAM + SIZE - 1, 2 },
		{ RAM, SIZE + 1 },
		{ RAM, UINT64_MAX },
		{ RAM + 1, SIZE },
		{ UINT64_MAX, 2 },
		{ 0, UINT64_MAX },
		{ RAM, 0 },
		{ RAM + 8, UINT64_MAX - 7 },
		{ 0, 1 },
	};

	(void)state;
	assert_ptr_equal(guest_mem_ptr(&gm, RAM, SIZE), start);
	assert_ptr_equal(guest_mem_ptr(&gm, RAM + SIZE - 1, 1), start + SIZE - 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_null(guest_mem_ptr(&gm, bad[i].gpa, bad[i].len));
	assert_true(guest_mem_contains_hva(&gm, start + SIZE - 1));
	assert_false(guest_mem_contains_hva(&gm, start + SIZE));
	assert_false(guest_mem_contains_hva(&gm, start - 1));
	guest_mem_deinit(&gm);
	guest_mem_deinit(&gm);
	assert_null(guest_mem_ptr(&gm, RAM, 1));
}

/* Neighbours in guest-physical space are not neighbours here: a range over both is nobody's. */
static void does_not_span_regions(void **state)
{
	struct guest_mem gm = one_region();

	(void)state;
	assert_int_equal(guest_mem_add(&gm, RAM + SIZE, SIZE, GUEST_MEM_SMALL_PAGES, NULL), 0);
	assert_non_null(guest_mem_ptr(&gm, RAM + SIZE, SIZE));
	assert_null(guest_mem_ptr(&gm, RAM + SIZE - 1, 2));
	guest_mem_deinit(&gm);
}

static void refuses_bad_regions(void **state)
{
	struct guest_mem gm = one_region();
	struct err err;

	(void)state;
	assert_int_equal(
		guest_mem_add(&gm, RAM + SIZE - 2 * MIB, SIZE, GUEST_MEM_SMALL_PAGES, &err),
		-EINVAL);
	assert_int_equal(guest_mem_add(&gm, 0, RAM + 2 * MIB, GUEST_MEM_SMALL_PAGES, &err),
			 -EINVAL);
	assert_int_equal(guest_mem_add(&gm, 4096, SIZE, GUEST_MEM_SMALL_PAGES, &err), -EINVAL);
	assert_int_equal(guest_mem_add(&gm, 0, 0, GUEST_MEM_SMALL_PAGES, &err), -EINVAL);
	assert_int_equal(guest_mem_add(&gm, 0, 4095, GUEST_MEM_SMALL_PAGES, &err), -EINVAL);
	assert_int_equal(
		guest_mem_add(&gm, UINT64_MAX - 2 * MIB + 1, 4 * MIB, GUEST_MEM_SMALL_PAGES, &err),
		-EINVAL);
	assert_int_equal(gm.n_regions, 1);
	guest_mem_deinit(&gm);
}

static void is_aligned_for_huge_pages(void **state)
{
	struct guest_mem gm = one_region();

	(void)state;
	assert_true(is_aligned((uintptr_t)gm.regions[0].hva, 2 * MIB));
	guest_mem_deinit(&gm);
}

/* Machines that test have no huge pages reserved as a rule: then the sentence tells how to. */
static void huge_pages_or_a_sentence(void **state)
{
	struct guest_mem gm = { 0 };
	struct err err = { 0 };
	int ret = guest_mem_add(&gm, RAM, SIZE, GUEST_MEM_HUGE_PAGES, &err);

	(void)state;
	if (ret == 0) {
		memset(guest_mem_ptr(&gm, RAM, SIZE), 1, SIZE);
	} else {
		assert_int_equal(ret, -ENOMEM);
		assert_non_null(strstr(err.text, "reserve 8 with 'sysctl vm.nr_hugepages=N'"));
		assert_int_equal(gm.n_regions, 0);
	}
	guest_mem_deinit(&gm);
}

static void touch(volatile uint8_t *at)
{
	*at = 1;
}

static bool touching_faults(uint8_t *at)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		/* The sanitizer's own handler would report and exit. */
		signal(SIGSEGV, SIG_DFL);
		touch(at);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void has_guards_on_both_sides(void **state)
{
	struct guest_mem gm = one_region();
	uint8_t *start = guest_mem_ptr(&gm, RAM, SIZE);

	(void)state;
	assert_true(touching_faults(start - 1));
	assert_true(touching_faults(start - 2 * MIB));
	assert_true(touching_faults(start + SIZE));
	assert_true(touching_faults(start + SIZE + 2 * MIB - 1));
	assert_false(touching_faults(start + SIZE - 1));
	guest_mem_deinit(&gm);
}

static void copies_with_the_same_check(void **state)
{
	struct guest_mem gm = one_region();
	char buf[8] = "abcdefg";

	(void)state;
	assert_int_equal(guest_mem_write(&gm, RAM + SIZE - 8, buf, 8), 0);
	memset(buf, 1, sizeof(buf));
	assert_int_equal(guest_mem_read(&gm, RAM + SIZE - 8, buf, 8), 0);
	assert_string_equal(buf, "abcdefg");
	assert_int_equal(guest_mem_write(&gm, RAM + SIZE - 7, "12345678", 8), -EFAULT);
	assert_int_equal(guest_mem_read(&gm, RAM + SIZE - 7, buf, 8), -EFAULT);
	assert_int_equal(buf[0], 0); /* nothing of before can be taken for the answer */
	assert_int_equal(guest_mem_read(&gm, RAM + SIZE - 8, buf, 8), 0);
	assert_string_equal(buf, "abcdefg");
	assert_int_equal(guest_mem_read(&gm, 0, buf, 0), 0);
	guest_mem_deinit(&gm);
}

static void maps_files_privately(void **state)
{
	struct guest_mem gm = one_region();
	int fd = memfd_create("kernel", MFD_CLOEXEC);
	char back[5] = { 0 };
	uint8_t *at;

	(void)state;
	assert_int_equal(pwrite(fd, "hello", 5, 8192), 5);
	assert_int_equal(guest_mem_map_file(&gm, RAM + 2 * MIB, fd, 8197, NULL), 0);
	at = guest_mem_ptr(&gm, RAM + 2 * MIB + 8192, 5);
	assert_memory_equal(at, "hello", 5);
	assert_int_equal(at[5], 0);
	memcpy(at, "HELLO", 5);
	assert_int_equal(pread(fd, back, 5, 8192), 5);
	assert_memory_equal(back, "hello", 5);
	assert_int_equal(guest_mem_map_file(&gm, RAM + 1, fd, 1, NULL), -EINVAL);
	assert_int_equal(guest_mem_map_file(&gm, RAM + SIZE - 4096, fd, 4097, NULL), -EINVAL);
	assert_int_equal(guest_mem_map_file(&gm, RAM, fd, 0, NULL), -EINVAL);
	assert_int_equal(guest_mem_map_file(&gm, RAM, -1, 1, NULL), -EBADF);
	close(fd);
	guest_mem_deinit(&gm);
}

static bool is_resident(uint8_t *page)
{
	unsigned char in_core;

	assert_int_equal(mincore(page, 4096, &in_core), 0);
	return (in_core & 1) != 0;
}

static void discards_whole_pages(void **state)
{
	struct guest_mem gm = one_region();
	uint8_t *start = guest_mem_ptr(&gm, RAM, SIZE);

	(void)state;
	assert_int_equal(guest_mem_size(&gm), SIZE);
	memset(start, 1, 8 * 4096);
	assert_int_equal(guest_mem_discard(&gm, RAM + 1, 3 * 4096), 0);
	assert_int_equal(start[4095], 1);
	assert_false(is_resident(start + 4096));
	assert_int_equal(start[4096], 0);
	assert_int_equal(start[3 * 4096 - 1], 0);
	assert_int_equal(start[3 * 4096], 1);
	assert_int_equal(guest_mem_discard(&gm, RAM + 4 * 4096 + 1, 4096), 0); /* not one whole */
	assert_int_equal(start[4 * 4096], 1);
	assert_int_equal(guest_mem_discard_hva(&gm, start + 5 * 4096, 4096), 0);
	assert_int_equal(start[5 * 4096], 0);
	assert_int_equal(start[6 * 4096], 1);
	guest_mem_deinit(&gm);
}

/* M01, M02: what lies beyond RAM is not touched, in whatever way it is reached. */
static void discards_ram_only(void **state)
{
	struct guest_mem gm = one_region();
	uint8_t *start = guest_mem_ptr(&gm, RAM, SIZE);
	uint8_t *next;

	(void)state;
	assert_int_equal(guest_mem_add(&gm, RAM + SIZE, SIZE, GUEST_MEM_SMALL_PAGES, NULL), 0);
	next = guest_mem_ptr(&gm, RAM + SIZE, 1);
	*next = 1;
	start[0] = 1;
	start[SIZE - 1] = 1;
	assert_int_equal(guest_mem_discard(&gm, RAM + SIZE - 4096, UINT64_MAX), 0);
	assert_int_equal(start[SIZE - 1], 0);
	assert_int_equal(*next, 1);
	assert_int_equal(guest_mem_discard(&gm, RAM - 4096, 8192), -EFAULT);
	assert_int_equal(guest_mem_discard(&gm, RAM + 2 * SIZE, 4096), -EFAULT);
	assert_int_equal(guest_mem_discard(&gm, UINT64_MAX, UINT64_MAX), -EFAULT);
	assert_int_equal(guest_mem_discard_hva(&gm, start - 4096, 8192), -EFAULT);
	assert_int_equal(guest_mem_discard_hva(&gm, start + SIZE, 4096), -EFAULT);
	assert_int_equal(start[0], 1);
	assert_int_equal(guest_mem_discard(&gm, RAM, 0), 0);
	assert_int_equal(guest_mem_discard(&gm, RAM + SIZE - 1, UINT64_MAX), 0);
	assert_int_equal(start[0], 1);
	guest_mem_deinit(&gm);
}

static void discards_to_the_file(void **state)
{
	struct guest_mem gm = one_region();
	int fd = memfd_create("kernel", MFD_CLOEXEC);
	uint8_t *at;

	(void)state;
	assert_int_equal(pwrite(fd, "hello", 5, 0), 5);
	assert_int_equal(guest_mem_map_file(&gm, RAM, fd, 5, NULL), 0);
	at = guest_mem_ptr(&gm, RAM, 5);
	memcpy(at, "HELLO", 5);
	assert_int_equal(guest_mem_discard(&gm, RAM, 4096), 0);
	assert_memory_equal(at, "hello", 5);
	close(fd);
	guest_mem_deinit(&gm);
}

/* \return bytes of [start, end) that a core dump leaves out: the kernel marks their mapping
 * by "dd"
 */
static uint64_t undumped_bytes(const void *start, const void *end)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	uint64_t n_bytes = 0;
	uint64_t from = 0;
	uint64_t to = 0;
	char line[512];

	assert_non_null(smaps);
	while (fgets(line, sizeof(line), smaps) != NULL) {
		unsigned long long first;
		unsigned long long last;

		if (sscanf(line, "%llx-%llx ", &first, &last) == 2) {
			from = MAX(first, (uint64_t)(uintptr_t)start);
			to = MIN(last, (uint64_t)(uintptr_t)end);
		} else if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " dd") != NULL &&
			   to > from) {
			n_bytes += to - from;
		}
	}
	fclose(smaps);
	return n_bytes;
}

static void is_not_dumped(void **state)
{
	struct guest_mem gm = one_region();
	int fd = memfd_create("kernel", MFD_CLOEXEC);
	uint8_t *start = guest_mem_ptr(&gm, RAM, SIZE);

	(void)state;
	assert_int_equal(pwrite(fd, "hello", 5, 8192), 5);
	assert_int_equal(guest_mem_map_file(&gm, RAM + 2 * MIB, fd, 8197, NULL), 0);
	assert_int_equal(undumped_bytes(start, start + SIZE), SIZE);
	close(fd);
	guest_mem_deinit(&gm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(translates_ram_only),
		cmocka_unit_test(does_not_span_regions),
		cmocka_unit_test(refuses_bad_regions),
		cmocka_unit_test(is_aligned_for_huge_pages),
		cmocka_unit_test(huge_pages_or_a_sentence),
		cmocka_unit_test(has_guards_on_both_sides),
		cmocka_unit_test(copies_with_the_same_check),
		cmocka_unit_test(maps_files_privately),
		cmocka_unit_test(discards_whole_pages),
		cmocka_unit_test(discards_ram_only),
		cmocka_unit_test(discards_to_the_file),
		cmocka_unit_test(is_not_dumped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
