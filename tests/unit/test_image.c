#include "riscv/gunzip.h"
#include "riscv/image.h"
#include "riscv/layout.h"
#include "test.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define RAM      LAYOUT_RAM_BASE
#define RAM_SIZE (16 * MIB)
#define TOP      (RAM + RAM_SIZE - 2 * MIB)

enum { FILE_SIZE = 12 * 1024 + 100, KERNEL_MEMORY = 64 * 1024 };

/* A kernel file, to be spoilt. With a PE header of two sections, as Linux has. */
struct file {
	uint8_t bytes[FILE_SIZE];
	size_t len;
};

static char dir[] = "/tmp/test_image.XXXXXX";
static char path[64];
static struct file file;
static struct guest_mem gm;
static struct err err;

static struct file good_file(void)
{
	struct file good = { .len = FILE_SIZE };
	uint8_t *pe = good.bytes + 64;

	for (size_t i = 0; i < FILE_SIZE; i++)
		good.bytes[i] = (uint8_t)(i * 7 + i / 251);
	memset(good.bytes, 0, 512);
	memcpy(good.bytes, "MZ", 2);
	store_le(good.bytes + 8, 2 * MIB, 8);
	store_le(good.bytes + 16, KERNEL_MEMORY, 8);
	store_le(good.bytes + 32, 2, 4);
	memcpy(good.bytes + 48, "RISCV", 5);
	memcpy(good.bytes + 56, "RSC\x05", 4);
	store_le(good.bytes + 60, 64, 4);
	memcpy(pe, "PE\0", 4);
	store_le(pe + 6, 2, 2);
	store_le(pe + 20, 160, 2);
	store_le(pe + 24 + 160 + 16, 4096, 4);
	store_le(pe + 24 + 160 + 20, 4096, 4);
	store_le(pe + 24 + 160 + 40 + 16, FILE_SIZE - 8192, 4);
	store_le(pe + 24 + 160 + 40 + 20, 8192, 4);
	return good;
}

static void write_file(const void *bytes, size_t len)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write_all(fd, bytes, len), 0);
}

/* `deflated` has room for what does not shrink. */
static size_t gzip(const struct file *from, uint8_t *deflated, size_t size)
{
	z_stream z = { 0 };

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, 0), Z_OK);
	z.next_in = (Bytef *)(uintptr_t)from->bytes;
	z.avail_in = (uInt)from->len;
	z.next_out = deflated;
	z.avail_out = (uInt)size;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

static void write_gzip(const struct file *from)
{
	uint8_t deflated[2 * FILE_SIZE];

	write_file(deflated, gzip(from, deflated, sizeof(deflated)));
}

static int set_up(void **state)
{
	(void)state;
	file = good_file();
	err = (struct err){ 0 };
	return guest_mem_add(&gm, RAM, RAM_SIZE, GUEST_MEM_SMALL_PAGES, &err);
}

static int tear_down(void **state)
{
	(void)state;
	guest_mem_deinit(&gm);
	unlink(path);
	return 0;
}

/* The sentence names the file and has `words` in it. */
static void assert_says(const char *words)
{
	if (strstr(err.text, path) == NULL || strstr(err.text, words) == NULL)
		fail_msg("'%s' should say '%s'", err.text, words);
}

static void assert_open_says(const char *words)
{
	struct kernel_image image;

	err = (struct err){ 0 };
	if (kernel_image_open(&image, path, &err) == 0)
		fail_msg("opened, but should have said '%s'", words);
	assert_says(words);
	assert_null(image.file.path);
	kernel_image_deinit(&image);
}

static struct kernel_image open_image(void)
{
	struct kernel_image image;

	if (kernel_image_open(&image, path, &err) != 0)
		fail_msg("%s", err.text);
	return image;
}

static int load(bool copy, struct kernel_placement *out)
{
	struct kernel_image image = open_image();
	int ret = kernel_image_load(&image, &gm, RAM, RAM_SIZE, copy, out, &err);

	kernel_image_deinit(&image);
	kernel_image_deinit(&image);
	return ret;
}

/* As the file has it, then zeros to the end of RAM. */
static void assert_kernel_is_in_place(const struct kernel_placement *placement)
{
	const uint8_t *at = guest_mem_ptr(&gm, RAM + 2 * MIB, RAM_SIZE - 2 * MIB);

	assert_int_equal(placement->entry, RAM + 2 * MIB);
	assert_int_equal(placement->end, RAM + 2 * MIB + KERNEL_MEMORY);
	assert_memory_equal(at, file.bytes, file.len);
	for (size_t i = file.len; i < 2 * KERNEL_MEMORY; i++)
		assert_int_equal(at[i], 0);
}

static void loads_all_ways(void **state)
{
	struct kernel_placement placement;

	(void)state;
	write_file(file.bytes, file.len);
	assert_int_equal(load(false, &placement), 0);
	assert_true(placement.mapped);
	assert_kernel_is_in_place(&placement);
	tear_down(NULL);
	set_up(NULL);
	write_file(file.bytes, file.len);
	assert_int_equal(load(true, &placement), 0);
	assert_false(placement.mapped);
	assert_kernel_is_in_place(&placement);
	tear_down(NULL);
	set_up(NULL);
	write_gzip(&file);
	assert_int_equal(load(false, &placement), 0);
	assert_false(placement.mapped);
	assert_kernel_is_in_place(&placement);
}

/* Kernels without the EFI stub begin with an instruction and have no section table. */
static void loads_without_pe(void **state)
{
	struct kernel_placement placement;

	(void)state;
	memset(file.bytes, 0x13, 8);
	store_le(file.bytes + 60, UINT32_MAX, 4);
	store_le(file.bytes + 8, 0, 8);
	store_le(file.bytes + 16, KERNEL_MEMORY - 1, 8);
	write_file(file.bytes, file.len);
	assert_int_equal(load(false, &placement), 0);
	assert_int_equal(placement.entry, RAM);
	assert_int_equal(placement.end, RAM + KERNEL_MEMORY);
}

static void a_guests_writes_stay_its_own(void **state)
{
	struct kernel_placement placement;
	uint8_t back[FILE_SIZE];
	cleanup_close int fd = -1;

	(void)state;
	write_file(file.bytes, file.len);
	assert_int_equal(load(false, &placement), 0);
	memset(guest_mem_ptr(&gm, placement.entry, FILE_SIZE), 0xee, FILE_SIZE);
	fd = open(path, O_RDONLY);
	assert_int_equal(pread_all(fd, back, FILE_SIZE, 0), FILE_SIZE);
	assert_memory_equal(back, file.bytes, FILE_SIZE);
}

/* A mapped page that the guest has not written to is the page cache's own; but for the last 344
 * KiB, where a kernel's data is, which are the guest's at once. */
static void mapping_shares_the_page_cache(void **state)
{
	struct kernel_placement placement;
	cleanup_close int fd = -1;

	(void)state;
	store_le(file.bytes + 16, MIB, 8);
	write_file(file.bytes, file.len);
	assert_int_equal(truncate(path, 512 * KIB), 0);
	assert_int_equal(load(false, &placement), 0);
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "seen", 4, 4096), 4);
	assert_int_equal(pwrite(fd, "late", 4, 508 * KIB), 4);
	assert_memory_equal(guest_mem_ptr(&gm, placement.entry + 4096, 4), "seen", 4);
	assert_memory_equal(guest_mem_ptr(&gm, placement.entry + 508 * KIB, 4), "\0\0\0\0", 4);
}

/* A file that cannot be read is not one with something in it. */
static void gzip_ends_where_the_file_does(void **state)
{
	uint8_t deflated[2 * FILE_SIZE];
	uint8_t byte;
	cleanup_close int fd = -1;
	uint64_t got;
	struct gunzip gz;

	(void)state;
	file.len = 1;
	write_file(deflated, gzip(&file, deflated, sizeof(deflated)));
	fd = open(path, O_RDWR | O_APPEND);
	assert_int_equal(gunzip_init(&gz, fd), 0);
	assert_int_equal(gunzip_read(&gz, &byte, 1, &got), 0);
	assert_int_equal(gunzip_read(&gz, &byte, 1, &got), 0);
	assert_true(gz.ended);
	assert_int_equal(gunzip_has_more(&gz), 0);
	gz.fd = -1;
	assert_int_equal(gunzip_has_more(&gz), -EBADF);
	gz.fd = fd;
	assert_int_equal(write_all(fd, "more", 4), 0);
	assert_int_equal(gunzip_has_more(&gz), 1);
	gunzip_deinit(&gz);
}

static void knows_that_a_file_was_cut(void **state)
{
	struct kernel_image none = { 0 };
	struct kernel_image image;
	struct kernel_placement placement;

	(void)state;
	write_file(file.bytes, file.len);
	image = open_image();
	assert_false(image_file_was_cut(&image.file));
	assert_int_equal(truncate(path, FILE_SIZE + 1), 0);
	assert_false(image_file_was_cut(&image.file));
	assert_int_equal(truncate(path, FILE_SIZE - 1), 0);
	assert_true(image_file_was_cut(&image.file));
	for (int copy = 0; copy < 2; copy++) {
		assert_int_equal(
			kernel_image_load(&image, &gm, RAM, RAM_SIZE, copy, &placement, &err),
			-EIO);
		assert_says("cut short");
	}
	kernel_image_deinit(&image);
	assert_false(image_file_was_cut(&image.file));
	assert_false(image_file_was_cut(&none.file));
	kernel_image_deinit(&none);
	assert_true(fcntl(0, F_GETFD) >= 0); /* a zeroed object does not own descriptor 0 */
}

static void refuses_what_is_no_file(void **state)
{
	(void)state;
	assert_open_says("No such file");
	assert_int_equal(mkdir(path, 0700), 0);
	assert_open_says("directory");
	rmdir(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_open_says("FIFO");
}

static void refuses_other_formats(void **state)
{
	static const struct {
		size_t offset;
		const char *magic;
		size_t len;
		const char *words;
	} others[] = {
		{ 0, "", 0, "no Image header" },
		{ 0, "\177ELF", 4, "arch/riscv/boot/Image" },
		{ 4, "zimg", 4, "zboot" },
		{ 0x202, "HdrS", 4, "x86" },
		{ 56, "ARMd", 4, "arm64" },
		{ 0, "\x28\xb5\x2f\xfd", 4, "zstd: unpack it first" },
		{ 0, "\xfd\x37zXZ\0", 6, "xz: unpack it first" },
		{ 0, "\x04\x22\x4d\x18", 4, "lz4: unpack it first" },
		{ 0, "\x02\x21\x4c\x18", 4, "lz4: unpack it first" },
		{ 0, "BZh9", 4, "bzip2: unpack it first" },
		{ 0, "\x5d\0\0\x80", 4, "lzma: unpack it first" },
		{ 0, "\x89LZO", 4, "lzop: unpack it first" },
		{ 0, "\x27\x05\x19\x56", 4, "U-Boot" },
		{ 0, "\xd0\x0d\xfe\xed", 4, "device tree" },
		{ 0, "070701", 6, "cpio" },
		{ 0, "MZ", 2, "EFI program" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		memset(file.bytes, 0x11, FILE_SIZE);
		memcpy(file.bytes + others[i].offset, others[i].magic, others[i].len);
		write_file(file.bytes, FILE_SIZE);
		assert_open_says(others[i].words);
		write_gzip(&file);
		assert_open_says(others[i].words);
		assert_says("unpacked");
	}
}

/* Raw and inside gzip alike, the header is judged. */
static void refuses_bad_headers(void **state)
{
	static const struct {
		size_t offset;
		uint64_t value;
		unsigned int len;
		const char *words;
	} bad[] = {
		{ 56, 0x05435353, 4, "EFI program" },
		{ 24, 1, 8, "big-endian" },
		{ 8, 0x80000, 8, "not a multiple of 2 MiB" },
		{ 8, UINT64_MAX, 8, "not a multiple of 2 MiB" },
		{ 16, 0, 8, "does not tell its size" },
		{ 60, 1 << 20, 4, "PE section table" },
		{ 60, UINT32_MAX, 4, "PE section table" },
		{ 60, 4096 - 23, 4, "PE section table" },
		{ 60, 65, 4, "PE section table" },
		{ 64 + 6, 0xffff, 2, "PE section table" },
		{ 64 + 20, 0xffff, 2, "PE section table" },
		{ 64 + 20, 4096 - 64 - 24 - 79, 2, "PE section table" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		file = good_file();
		store_le(file.bytes + bad[i].offset, bad[i].value, bad[i].len);
		write_file(file.bytes, FILE_SIZE);
		assert_open_says(bad[i].words);
		write_gzip(&file);
		assert_open_says(bad[i].words);
	}
}

static void refuses_files_cut_short(void **state)
{
	(void)state;
	write_file("", 0);
	assert_open_says("is empty");
	write_file(file.bytes, 63);
	assert_open_says("too short for a kernel: 63 bytes");
	file.len = 0;
	write_gzip(&file);
	assert_open_says("too short for a kernel: 0 bytes");
	write_file(file.bytes, 64);
	assert_open_says("cut short");
	write_file(file.bytes, 300);
	assert_open_says("cut short");
	write_file(file.bytes, FILE_SIZE - 1);
	assert_open_says("cut short: 12387 of 12388 bytes");
}

static void refuses_more_bytes_than_memory(void **state)
{
	(void)state;
	store_le(file.bytes + 16, FILE_SIZE - 1, 8);
	write_file(file.bytes, FILE_SIZE);
	assert_open_says("more bytes");
	store_le(file.bytes + 16, FILE_SIZE, 8);
	write_file(file.bytes, FILE_SIZE);
	assert_int_equal(load(false, &(struct kernel_placement){ 0 }), 0);
}

static void assert_load_says(const char *words)
{
	struct kernel_placement placement = { 0 };

	err = (struct err){ 0 };
	if (load(false, &placement) == 0)
		fail_msg("loaded, but should have said '%s'", words);
	assert_says(words);
	assert_int_equal(placement.end, 0);
}

static void refuses_kernels_larger_than_ram(void **state)
{
	static const struct {
		uint64_t text_offset;
		uint64_t image_size;
		const char *words;
	} large[] = {
		{ 2 * MIB, TOP - RAM - 2 * MIB + 1, "needs 17 MiB of memory, the guest has 16" },
		{ 16 * MIB, KERNEL_MEMORY, "needs 19 MiB" },
		{ 0, UINT64_MAX, "MiB of memory, the guest has 16 MiB" },
		{ 2 * MIB, UINT64_MAX - RAM - 2 * MIB + 1, "MiB of memory" },
		{ UINT64_MAX - 2 * MIB + 1, 2 * MIB, "MiB of memory" },
		{ UINT64_MAX - RAM - 2 * MIB + 1, KERNEL_MEMORY, "MiB of memory" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(large); i++) {
		store_le(file.bytes + 8, large[i].text_offset, 8);
		store_le(file.bytes + 16, large[i].image_size, 8);
		write_file(file.bytes, FILE_SIZE);
		assert_load_says(large[i].words);
		write_gzip(&file);
		assert_load_says(large[i].words);
	}
	store_le(file.bytes + 8, 2 * MIB, 8);
	store_le(file.bytes + 16, TOP - RAM - 2 * MIB, 8);
	write_gzip(&file);
	assert_int_equal(load(false, &(struct kernel_placement){ 0 }), 0);
}

static void refuses_damaged_gzip(void **state)
{
	uint8_t good[2 * FILE_SIZE];
	uint8_t bad[sizeof(good)];
	size_t len = gzip(&file, good, sizeof(good) - 1);

	(void)state;
	write_file(good, 9);
	assert_open_says("cut short");
	write_file(good, len - 1);
	assert_load_says("does not end");
	write_file(good, len - 8);
	assert_load_says("does not end");
	memcpy(bad, good, len);
	bad[len - 8] ^= 1; /* CRC */
	write_file(bad, len);
	assert_load_says("is damaged");
	memcpy(bad, good, len);
	bad[len - 4] ^= 1; /* length */
	write_file(bad, len);
	assert_load_says("is damaged");
	memcpy(bad, good, len);
	bad[2] = 7; /* method */
	write_file(bad, len);
	assert_open_says("is damaged");
	good[len] = 0;
	write_file(good, len + 1);
	assert_load_says("other data after");
}

static void refuses_gzip_of_a_file_cut_short(void **state)
{
	(void)state;
	file.len = FILE_SIZE - 1;
	write_gzip(&file);
	assert_load_says("cut short: 12387 of 12388 bytes");
}

/* How many pages of guest memory have been touched. */
static size_t count_pages(void)
{
	static unsigned char resident[RAM_SIZE / LAYOUT_PAGE_SIZE];
	size_t n = 0;

	assert_int_equal(mincore(guest_mem_ptr(&gm, RAM, RAM_SIZE), RAM_SIZE, resident), 0);
	for (size_t i = 0; i < sizeof(resident); i++)
		n += resident[i] & 1U;
	return n;
}

/* 64 MiB of zeros after a kernel that says it needs 64 KiB: no more than those are written. */
static void gzip_bombs_are_bounded(void **state)
{
	static uint8_t zeros[MIB];
	gzFile gz = gzopen(path, "wb9");
	uint8_t *after;

	(void)state;
	assert_int_equal(gzwrite(gz, file.bytes, FILE_SIZE), FILE_SIZE);
	for (int i = 0; i < 64; i++)
		assert_int_equal(gzwrite(gz, zeros, sizeof(zeros)), sizeof(zeros));
	gzclose(gz);
	after = guest_mem_ptr(&gm, RAM + 2 * MIB + KERNEL_MEMORY, 4096);
	memset(after, 0x77, 4096);
	assert_load_says("more bytes than the 65536 its header tells");
	for (size_t i = 0; i < 4096; i++)
		assert_int_equal(after[i], 0x77);
	/* Huge pages may round it up, but not to all of RAM. */
	assert_true(count_pages() <= 4 * MIB / LAYOUT_PAGE_SIZE);
}

/* \return as initrd_load(), with nothing open when it failed */
static int load_initrd(struct initrd *initrd, const char *from, uint64_t low_gpa, bool copy,
		       struct err *why)
{
	int ret = initrd_open(initrd, from, why);

	if (ret == 0)
		ret = initrd_load(initrd, &gm, low_gpa, TOP, copy, why);
	if (ret != 0)
		initrd_deinit(initrd);
	return ret;
}

static void places_the_initramfs_at_the_top(void **state)
{
	struct initrd initrd;

	(void)state;
	write_file(file.bytes, FILE_SIZE);
	for (int copy = 0; copy < 2; copy++) {
		assert_int_equal(load_initrd(&initrd, path, RAM, copy, &err), 0);
		assert_int_equal(initrd.start, TOP - 2 * MIB);
		assert_int_equal(initrd.end, initrd.start + FILE_SIZE);
		assert_int_equal(initrd.mapped, !copy);
		assert_memory_equal(guest_mem_ptr(&gm, initrd.start, FILE_SIZE), file.bytes,
				    FILE_SIZE);
		assert_false(image_file_was_cut(&initrd.file));
		initrd_deinit(&initrd);
		initrd_deinit(&initrd);
	}
}

static void keeps_the_initramfs_off_the_kernel(void **state)
{
	struct initrd initrd;

	(void)state;
	write_file(file.bytes, FILE_SIZE);
	assert_int_equal(load_initrd(&initrd, path, TOP - 16 * KIB, false, &err), 0);
	initrd_deinit(&initrd);
	assert_int_equal(load_initrd(&initrd, path, TOP - 16 * KIB + 1, false, &err), -ENOSPC);
	assert_says("needs 1 MiB above the kernel, 0 MiB are free");
	assert_int_equal(load_initrd(&initrd, path, TOP, false, &err), -ENOSPC);
	assert_int_equal(load_initrd(&initrd, path, TOP + MIB, false, &err), -ENOSPC);
	assert_int_equal(truncate(path, INT64_C(1) << 40), 0);
	assert_int_equal(load_initrd(&initrd, path, RAM, false, &err), -ENOSPC);
	assert_says("needs 1048576 MiB above the kernel, 14 MiB are free");
	assert_int_equal(initrd.start, 0);
	initrd_deinit(&initrd);
}

static void refuses_bad_initramfs_files(void **state)
{
	struct initrd initrd;

	(void)state;
	assert_int_equal(load_initrd(&initrd, path, RAM, false, &err), -ENOENT);
	assert_says("initramfs");
	write_file("", 0);
	assert_int_equal(load_initrd(&initrd, path, RAM, false, &err), -EINVAL);
	assert_says("is empty");
	assert_int_equal(load_initrd(&initrd, dir, RAM, false, NULL), -EINVAL);
	initrd_deinit(&initrd);
	initrd = (struct initrd){ 0 };
	initrd_deinit(&initrd);
	assert_true(fcntl(0, F_GETFD) >= 0);
}

static void knows_that_the_initramfs_was_cut(void **state)
{
	struct initrd initrd;

	(void)state;
	write_file(file.bytes, FILE_SIZE);
	assert_int_equal(load_initrd(&initrd, path, RAM, false, &err), 0);
	assert_int_equal(truncate(path, 4096), 0);
	assert_true(image_file_was_cut(&initrd.file));
	initrd_deinit(&initrd);
	assert_false(image_file_was_cut(&initrd.file));
}

/* Whoever passes no struct err gets the same answers. */
static void errors_need_no_reader(void **state)
{
	struct kernel_image image;
	struct kernel_placement placement;
	struct initrd initrd;

	(void)state;
	assert_int_equal(kernel_image_open(&image, path, NULL), -ENOENT);
	write_file("x", 1);
	assert_int_equal(kernel_image_open(&image, path, NULL), -ENOEXEC);
	write_file(file.bytes, FILE_SIZE);
	assert_int_equal(kernel_image_open(&image, path, NULL), 0);
	assert_int_equal(truncate(path, 4096), 0);
	assert_int_equal(kernel_image_load(&image, &gm, RAM, RAM_SIZE, false, &placement, NULL),
			 -EIO);
	kernel_image_deinit(&image);
	assert_int_equal(load_initrd(&initrd, path, TOP, false, NULL), -ENOSPC);
}

static void puts_the_device_tree_below_4_gib(void **state)
{
	(void)state;
	assert_int_equal(layout_fdt_gpa(RAM, 16 * MIB), RAM + 14 * MIB);
	assert_int_equal(layout_fdt_gpa(RAM, 2 * GIB), 4 * GIB - 2 * MIB);
	assert_int_equal(layout_fdt_gpa(RAM, 2 * GIB + 4096), 4 * GIB - 2 * MIB);
	assert_int_equal(layout_fdt_gpa(RAM, 64 * GIB), 4 * GIB - 2 * MIB);
	assert_int_equal(layout_fdt_gpa(RAM, UINT64_MAX), 4 * GIB - 2 * MIB);
}

#define FILE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILE_TEST(loads_all_ways),
		FILE_TEST(loads_without_pe),
		FILE_TEST(a_guests_writes_stay_its_own),
		FILE_TEST(mapping_shares_the_page_cache),
		FILE_TEST(gzip_ends_where_the_file_does),
		FILE_TEST(knows_that_a_file_was_cut),
		FILE_TEST(refuses_what_is_no_file),
		FILE_TEST(refuses_other_formats),
		FILE_TEST(refuses_bad_headers),
		FILE_TEST(refuses_files_cut_short),
		FILE_TEST(refuses_more_bytes_than_memory),
		FILE_TEST(refuses_kernels_larger_than_ram),
		FILE_TEST(refuses_damaged_gzip),
		FILE_TEST(refuses_gzip_of_a_file_cut_short),
		FILE_TEST(gzip_bombs_are_bounded),
		FILE_TEST(places_the_initramfs_at_the_top),
		FILE_TEST(keeps_the_initramfs_off_the_kernel),
		FILE_TEST(refuses_bad_initramfs_files),
		FILE_TEST(knows_that_the_initramfs_was_cut),
		FILE_TEST(errors_need_no_reader),
		cmocka_unit_test(puts_the_device_tree_below_4_gib),
	};
	int ret;

	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/kernel", dir);
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return ret;
}
