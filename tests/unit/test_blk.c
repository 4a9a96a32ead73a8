/*
 * The block device and its disks. What does not say otherwise runs with both engines. B01 to B12
 * are lines of the checklist of hostile guests, as T and Q are in test_virtio.c.
 */
#include "backend/disk.h"
#include "driver.h"
#include "test.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "virtio/blk.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum {
	N_PAGES = 2048,
	N_SECTORS = 256,
	SIZE = N_SECTORS * DISK_SECTOR,
	DATA_MAX = 1 << 20,
	IN = 0,
	OUT = 1,
	FLUSH = 4,
	GET_ID = 8,
	DISCARD = 11,
	WRITE_ZEROES = 13,
	OK = 0,
	IOERR = 1,
	UNSUPP = 2,
	UNTOUCHED = 0xee,
};

#define F_RO           BIT(5)
#define F_FLUSH        BIT(9)
#define F_CONFIG_WCE   BIT(11)
#define F_DISCARD      BIT(13)
#define F_WRITE_ZEROES BIT(14)

struct header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

struct range {
	uint64_t sector;
	uint32_t n_sectors;
	uint32_t flags;
};

struct bench {
	struct driver d;
	struct disk disk;
	struct blk blk;
	char path[64];
	int fd; /* our own look at the file */
	uint64_t header_gpa;
	uint64_t data_gpa;
	uint64_t status_gpa;
};

struct options {
	bool is_read_only;
	enum blk_cache cache;
	const char *serial;
	struct rate_limiter_config limits;
};

static enum disk_engine engine; /* of the run */

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at / DISK_SECTOR * 7 + at % 251 + 1);
}

static void make_file(struct bench *b, uint64_t size)
{
	uint8_t bytes[DISK_SECTOR];

	snprintf(b->path, sizeof(b->path), "/tmp/test_blk.XXXXXX");
	b->fd = mkostemp(b->path, O_CLOEXEC);
	assert_true(b->fd >= 0);
	for (uint64_t at = 0; at < size; at += sizeof(bytes)) {
		for (uint64_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = pattern(at + i);
		assert_int_equal(pwrite(b->fd, bytes, MIN(sizeof(bytes), size - at), (off_t)at),
				 MIN(sizeof(bytes), size - at));
	}
}

static void attach(struct bench *b, const struct options *options)
{
	const struct blk_config config = {
		.id = "b0",
		.cache = options->cache,
		.serial = options->serial,
		.limits = options->limits,
	};
	struct err err;

	if (disk_open(&b->disk, b->path, options->is_read_only, engine, &err) != 0)
		fail_msg("%s", err.text);
	driver_init(&b->d, N_PAGES);
	assert_int_equal(
		blk_init(&b->blk, &config, &b->disk, &b->d.mem, &b->d.irq.line, b->d.base, &err),
		0);
	driver_attach(&b->d, &b->blk.dev);
	b->header_gpa = driver_alloc(&b->d, sizeof(struct header), 8);
	b->status_gpa = driver_alloc(&b->d, 1, 1);
	b->data_gpa = driver_alloc(&b->d, DATA_MAX, 4096);
}

static void detach(struct bench *b)
{
	(void)blk_deinit(&b->blk);
	assert_true(blk_deinit(&b->blk));
	disk_close(&b->disk);
	disk_close(&b->disk);
	driver_deinit(&b->d);
}

static struct bench *bench_of(void **state)
{
	return *state;
}

static int set_up_with(void **state, const struct options *options)
{
	static struct bench bench;

	bench = (struct bench){ 0 };
	make_file(&bench, SIZE);
	attach(&bench, options);
	*state = &bench;
	return 0;
}

static int set_up(void **state)
{
	return set_up_with(state, &(struct options){ .cache = BLK_CACHE_WRITEBACK });
}

static int set_up_unsafe(void **state)
{
	return set_up_with(state, &(struct options){ .cache = BLK_CACHE_UNSAFE });
}

static int set_up_read_only(void **state)
{
	return set_up_with(state, &(struct options){ .is_read_only = true });
}

static int set_up_serial(void **state)
{
	return set_up_with(state, &(struct options){ .serial = "serial" });
}

static int set_up_limited(void **state)
{
	const struct options options = {
		.limits.ops = { .size = 4, .refill_ms = 80 },
	};

	return set_up_with(state, &options);
}

static int set_up_no_file(void **state)
{
	static struct bench bench;

	bench = (struct bench){ .fd = -1 };
	*state = &bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;

	if (b->blk.dev.class != NULL)
		detach(b);
	if (b->path[0] == '/' && strncmp(b->path, "/tmp/", 5) == 0)
		unlink(b->path);
	close_fd(&b->fd);
	return 0;
}

/* ---- requests ---- */

static bool needs_reset(const struct bench *b)
{
	return (driver_status(&b->d) & VIRTIO_STATUS_NEEDS_RESET) != 0;
}

static bool wait_used(struct bench *b, struct driver_used *used)
{
	for (int i = 0; i < 20000; i++) {
		driver_settle(&b->d);
		if (driver_take_used(&b->d, 0, used))
			return true;
		usleep(200);
	}
	return false;
}

static uint8_t *data_of(const struct bench *b)
{
	return driver_ptr(&b->d, b->data_gpa);
}

static void put_header(struct bench *b, uint32_t type, uint64_t sector)
{
	const struct header header = { .type = type, .sector = sector };

	memcpy(driver_ptr(&b->d, b->header_gpa), &header, sizeof(header));
	*(uint8_t *)driver_ptr(&b->d, b->status_gpa) = UNTOUCHED;
}

static uint8_t status_of(const struct bench *b)
{
	return *(uint8_t *)driver_ptr(&b->d, b->status_gpa);
}

static void kick(struct bench *b)
{
	rig_write32(&b->d.mmio, 0x50, 0);
}

static uint16_t add_request(struct bench *b, uint32_t type, uint64_t sector, uint32_t len)
{
	const bool is_in = type == IN || type == GET_ID;
	const struct driver_buf bufs[] = {
		{ .gpa = b->header_gpa, .len = sizeof(struct header) },
		{ .gpa = b->data_gpa, .len = len, .is_writable = is_in },
		{ .gpa = b->status_gpa, .len = 1, .is_writable = true },
	};

	put_header(b, type, sector);
	return driver_add(&b->d, 0, bufs, 3);
}

static uint8_t request(struct bench *b, uint32_t type, uint64_t sector, uint32_t len)
{
	uint16_t head = add_request(b, type, sector, len);
	struct driver_used used;

	kick(b);
	assert_true(wait_used(b, &used));
	assert_int_equal(used.head, head);
	assert_int_equal(used.len, (type == IN || type == GET_ID ? len : 0) + 1);
	return status_of(b);
}

static uint8_t range_request(struct bench *b, uint32_t type, const struct range *ranges,
			     unsigned int n)
{
	memcpy(data_of(b), ranges, n * sizeof(*ranges));
	return request(b, type, 0, n * (uint32_t)sizeof(*ranges));
}

static void assert_file_is_pattern(const struct bench *b, uint64_t from, uint64_t to)
{
	uint8_t byte;

	for (uint64_t at = from; at < to; at += 13) {
		assert_int_equal(pread(b->fd, &byte, 1, (off_t)at), 1);
		assert_int_equal(byte, pattern(at));
	}
}

static void assert_file_is(const struct bench *b, uint64_t from, uint64_t to, uint8_t expected)
{
	uint8_t byte;

	for (uint64_t at = from; at < to; at += 7) {
		assert_int_equal(pread(b->fd, &byte, 1, (off_t)at), 1);
		assert_int_equal(byte, expected);
	}
}

static void assert_unchanged(const struct bench *b)
{
	struct stat st;

	assert_int_equal(fstat(b->fd, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	assert_file_is_pattern(b, 0, (uint64_t)st.st_size);
}

#define ALL_FEATURES (F_FLUSH | F_CONFIG_WCE | F_DISCARD | F_WRITE_ZEROES)

/* ---- a driver that behaves ---- */

static void features_and_configuration(void **state)
{
	struct bench *b = bench_of(state);
	struct rig_mmio *mmio = &b->d.mmio;

	assert_int_equal(rig_read32(mmio, 0x08), 2);
	rig_write32(mmio, 0x14, 0);
	assert_int_equal(rig_read32(mmio, 0x10), BIT(2) | BIT(6) | BIT(9) | BIT(11) | BIT(13) |
							 BIT(14) | BIT(28) | BIT(29));
	assert_int_equal(rig_read(mmio, 0x100, 8), N_SECTORS);
	assert_int_equal(rig_read32(mmio, 0x10c), 254);
	assert_int_equal(rig_read32(mmio, 0x114), 512);
	assert_int_equal(rig_read(mmio, 0x120, 1), 1);
	assert_int_equal(rig_read(mmio, 0x122, 2), 0);
	assert_int_equal(rig_read32(mmio, 0x124), GIB / 512);
	assert_int_equal(rig_read32(mmio, 0x128), BLK_RANGES_MAX);
	assert_int_equal(rig_read32(mmio, 0x12c), 8);
	assert_int_equal(rig_read32(mmio, 0x130), 16 * MIB / 512);
	assert_int_equal(rig_read32(mmio, 0x134), BLK_RANGES_MAX);
	assert_int_equal(rig_read(mmio, 0x138, 1), 1);
	assert_int_equal(rig_read32(mmio, 0x13c), 0);
}

static void reads(void **state)
{
	struct bench *b = bench_of(state);

	driver_boot(&b->d, 0);
	assert_int_equal(request(b, IN, 3, 5 * DISK_SECTOR), OK);
	for (unsigned int i = 0; i < 5 * DISK_SECTOR; i++)
		assert_int_equal(data_of(b)[i], pattern(3 * DISK_SECTOR + i));
	assert_int_equal(data_of(b)[5 * DISK_SECTOR], 0);
	assert_int_equal(request(b, IN, 0, SIZE), OK);
	assert_int_equal(data_of(b)[SIZE - 1], pattern(SIZE - 1));
	assert_int_equal(request(b, IN, N_SECTORS, 0), OK);
}

static void writes(void **state)
{
	struct bench *b = bench_of(state);

	driver_boot(&b->d, F_FLUSH);
	memset(data_of(b), 0xa5, 4 * DISK_SECTOR);
	assert_int_equal(request(b, OUT, 8, 4 * DISK_SECTOR), OK);
	assert_file_is_pattern(b, 0, 8 * DISK_SECTOR);
	assert_file_is(b, 8 * DISK_SECTOR, 12 * DISK_SECTOR, 0xa5);
	assert_file_is_pattern(b, 12 * DISK_SECTOR, SIZE);
	assert_int_equal(request(b, FLUSH, 0, 0), OK);
}

/* B02, B12: buffers cut anywhere, the header too; the status at the end of the data. */
static void buffers_cut_anywhere(void **state)
{
	struct bench *b = bench_of(state);
	const uint64_t in = b->data_gpa;
	const struct driver_buf bufs[] = {
		{ .gpa = b->header_gpa, .len = 3 },
		{ .gpa = b->header_gpa + 3, .len = 0 },
		{ .gpa = b->header_gpa + 3, .len = 13 },
		{ .gpa = in, .len = 1, .is_writable = true },
		{ .gpa = in + 1, .len = 700, .is_writable = true },
		{ .gpa = in + 701, .len = 324, .is_writable = true },
		{ .gpa = 0, .len = 0, .is_writable = true },
	};
	struct driver_used used;

	driver_boot(&b->d, 0);
	put_header(b, IN, 5);
	data_of(b)[1024] = UNTOUCHED;
	driver_add(&b->d, 0, bufs, 7);
	kick(b);
	assert_true(wait_used(b, &used));
	assert_int_equal(used.len, 1025);
	for (unsigned int i = 0; i < 1024; i++)
		assert_int_equal(data_of(b)[i], pattern(5 * DISK_SECTOR + i));
	assert_int_equal(data_of(b)[1024], OK);

	put_header(b, OUT, 5);
	memset(data_of(b), 0x11, 512);
	memcpy(data_of(b) + 4096, driver_ptr(&b->d, b->header_gpa), 16);
	memset(data_of(b) + 4096 + 16, 0x22, 12);
	const struct driver_buf out[] = {
		{ .gpa = in + 4096, .len = 28 }, /* header and data in one */
		{ .gpa = in, .len = 500 },
		{ .gpa = b->status_gpa, .len = 1, .is_writable = true },
	};
	driver_add(&b->d, 0, out, 3);
	kick(b);
	assert_true(wait_used(b, &used));
	assert_int_equal(status_of(b), OK);
	assert_file_is(b, 5 * DISK_SECTOR, 5 * DISK_SECTOR + 12, 0x22);
	assert_file_is(b, 5 * DISK_SECTOR + 12, 6 * DISK_SECTOR, 0x11);
	assert_file_is_pattern(b, 6 * DISK_SECTOR, SIZE);
}

/* As many segments as SEG_MAX says, all at once, through an indirect table. */
static void the_most_segments(void **state)
{
	struct bench *b = bench_of(state);
	struct driver_desc table[256];
	uint64_t table_gpa = driver_alloc(&b->d, sizeof(table), 16);
	struct driver_used used;

	for (unsigned int i = 0; i < 256; i++)
		table[i] = (struct driver_desc){
			.gpa = b->data_gpa + (255 - i) * 512,
			.len = 512,
			.flags = DRIVER_WRITE | (i < 255 ? DRIVER_NEXT : 0),
			.next = (uint16_t)(i + 1),
		};
	table[0] = (struct driver_desc){ b->header_gpa, 16, DRIVER_NEXT, 1 };
	table[255] = (struct driver_desc){ b->status_gpa, 1, DRIVER_WRITE, 0 };
	driver_boot(&b->d, VIRTIO_F_INDIRECT_DESC);
	memcpy(driver_ptr(&b->d, table_gpa), table, sizeof(table));
	put_header(b, IN, 2);
	b->d.queues[0].desc[0] =
		(struct driver_desc){ table_gpa, sizeof(table), DRIVER_INDIRECT, 0 };
	driver_offer(&b->d, 0, 0);
	kick(b);
	assert_true(wait_used(b, &used));
	assert_int_equal(status_of(b), OK);
	for (unsigned int i = 0; i < 254 * 512; i++)
		assert_int_equal(data_of(b)[(254 - i / 512) * 512 + i % 512],
				 pattern(2 * DISK_SECTOR + i));
}

/* B10: more than are ever in flight, and more than one turn of the loop handles. */
static void a_full_queue(void **state)
{
	struct bench *b = bench_of(state);
	const unsigned int n = 256;
	struct driver_desc tables[256][3];
	uint64_t headers = driver_alloc(&b->d, n * sizeof(struct header), 8);
	uint64_t statuses = driver_alloc(&b->d, n, 1);
	uint64_t tables_gpa = driver_alloc(&b->d, sizeof(tables), 16);
	struct driver_used used;
	bool is_done[256] = { false };

	driver_boot(&b->d, VIRTIO_F_INDIRECT_DESC);
	for (unsigned int i = 0; i < n; i++) {
		const struct header header = { .type = IN, .sector = i };

		memcpy(driver_ptr(&b->d, headers + i * sizeof(header)), &header, sizeof(header));
		tables[i][0] = (struct driver_desc){ headers + i * sizeof(header), sizeof(header),
						     DRIVER_NEXT, 1 };
		tables[i][1] = (struct driver_desc){ b->data_gpa + i * DISK_SECTOR, DISK_SECTOR,
						     DRIVER_NEXT | DRIVER_WRITE, 2 };
		tables[i][2] = (struct driver_desc){ statuses + i, 1, DRIVER_WRITE, 0 };
		b->d.queues[0].desc[i] =
			(struct driver_desc){ tables_gpa + i * sizeof(tables[i]), sizeof(tables[i]),
					      DRIVER_INDIRECT, 0 };
		driver_offer(&b->d, 0, (uint16_t)i);
	}
	memset(driver_ptr(&b->d, statuses), UNTOUCHED, n);
	memcpy(driver_ptr(&b->d, tables_gpa), tables, sizeof(tables));
	kick(b);
	for (unsigned int i = 0; i < n; i++) {
		assert_true(wait_used(b, &used));
		assert_false(is_done[used.head]);
		is_done[used.head] = true;
		assert_int_equal(*(uint8_t *)driver_ptr(&b->d, statuses + used.head), OK);
	}
	for (uint64_t i = 0; i < SIZE; i++)
		assert_int_equal(data_of(b)[i], pattern(i));
	assert_int_equal(b->blk.n_free, disk_depth(&b->disk));
}

/* ---- what a guest may try ---- */

/* B01 */
static void past_the_end(void **state)
{
	struct bench *b = bench_of(state);
	static const struct {
		uint64_t sector;
		uint32_t len;
	} bad[] = {
		{ N_SECTORS, 512 },
		{ N_SECTORS - 1, 1024 },
		{ N_SECTORS + 1, 0 },
		{ 0, (N_SECTORS + 1) * DISK_SECTOR },
		{ UINT64_C(1) << 55, 512 },
		{ (UINT64_C(1) << 55) - 1, 1024 },
		{ UINT64_MAX, 512 },
		{ UINT64_MAX - 1, 1024 },
		{ UINT64_MAX / DISK_SECTOR + 1, 512 },
		{ UINT64_C(1) << 63, 512 },
	};

	driver_boot(&b->d, 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(request(b, IN, bad[i].sector, bad[i].len), IOERR);
		assert_int_equal(request(b, OUT, bad[i].sector, bad[i].len), IOERR);
	}
	assert_unchanged(b);
	assert_int_equal(request(b, IN, N_SECTORS - 1, 512), OK);
	assert_false(needs_reset(b));
}

/* B01: each buffer fits, all of them do not. */
static void past_the_end_in_sum(void **state)
{
	struct bench *b = bench_of(state);
	const struct driver_buf bufs[] = {
		{ .gpa = b->header_gpa, .len = sizeof(struct header) },
		{ .gpa = b->data_gpa, .len = 512 },
		{ .gpa = b->data_gpa, .len = 512 },
		{ .gpa = b->status_gpa, .len = 1, .is_writable = true },
	};
	struct driver_used used;

	driver_boot(&b->d, 0);
	put_header(b, OUT, N_SECTORS - 1);
	driver_add(&b->d, 0, bufs, 4);
	kick(b);
	assert_true(wait_used(b, &used));
	assert_int_equal(status_of(b), IOERR);
	assert_unchanged(b);
}

/* B02 */
static void odd_lengths(void **state)
{
	struct bench *b = bench_of(state);
	static const uint32_t lens[] = { 1, 511, 513, 1023 };

	driver_boot(&b->d, 0);
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		assert_int_equal(request(b, IN, 0, lens[i]), IOERR);
		assert_int_equal(request(b, OUT, 0, lens[i]), IOERR);
	}
	assert_unchanged(b);
}

/* B02: nothing to answer to, or with. */
static void requests_without_header_or_status(void **state)
{
	struct bench *b = bench_of(state);
	const struct driver_buf header = { b->header_gpa, 16, false };
	const struct driver_buf cut_header = { b->header_gpa, 15, false };
	const struct driver_buf data = { b->data_gpa, 512, false };
	const struct driver_buf status = { b->status_gpa, 1, true };
	const struct driver_buf empty_status = { b->status_gpa, 0, true };
	const struct driver_buf readable_status = { b->status_gpa, 1, false };
	const struct {
		struct driver_buf bufs[3];
		unsigned int n;
	} bad[] = {
		{ { status }, 1 },
		{ { cut_header, status }, 2 },
		{ { header }, 1 },
		{ { header, data }, 2 },
		{ { header, data, empty_status }, 3 },
		{ { header, data, readable_status }, 3 },
		{ { empty_status }, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		driver_boot(&b->d, 0);
		put_header(b, OUT, 0);
		driver_add(&b->d, 0, bad[i].bufs, bad[i].n);
		driver_kick(&b->d, 0);
		assert_true(needs_reset(b));
		assert_int_equal(b->d.queues[0].used[1], 0);
		assert_int_equal(status_of(b), UNTOUCHED);
	}
	assert_unchanged(b);
	assert_int_equal(b->blk.n_free, disk_depth(&b->disk));
	driver_boot(&b->d, 0);
	assert_int_equal(request(b, IN, 0, 512), OK);
}

/* B03 */
static void a_disk_that_is_only_read(void **state)
{
	struct bench *b = bench_of(state);
	const struct range range = { .n_sectors = 8 };

	rig_write32(&b->d.mmio, 0x14, 0);
	assert_int_equal(rig_read32(&b->d.mmio, 0x10) &
				 (F_RO | F_FLUSH | F_CONFIG_WCE | F_DISCARD | F_WRITE_ZEROES),
			 F_RO);
	for (int i = 0; i < 2; i++) {
		driver_boot(&b->d, i == 0 ? 0 : F_RO);
		assert_int_equal(request(b, OUT, 0, 512), IOERR);
		assert_int_equal(request(b, OUT, 0, 0), IOERR);
		assert_int_equal(range_request(b, DISCARD, &range, 1), UNSUPP);
		assert_int_equal(range_request(b, WRITE_ZEROES, &range, 1), UNSUPP);
		assert_int_equal(request(b, IN, 0, 512), OK);
	}
	assert_unchanged(b);
}

/* B04 */
static void unknown_types(void **state)
{
	struct bench *b = bench_of(state);
	static const uint32_t types[] = { 2,  3,  5,  6,  7,  9,  10,         12,
					  14, 15, 16, 17, 24, 26, 0x80000000, UINT32_MAX };

	driver_boot(&b->d, ALL_FEATURES);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		assert_int_equal(request(b, types[i], 0, 512), UNSUPP);
	assert_unchanged(b);
}

/* B04, B07 */
static void types_that_were_not_agreed(void **state)
{
	struct bench *b = bench_of(state);
	const struct range range = { .n_sectors = 8 };

	driver_boot(&b->d, 0);
	assert_int_equal(range_request(b, DISCARD, &range, 1), UNSUPP);
	assert_int_equal(range_request(b, WRITE_ZEROES, &range, 1), UNSUPP);
	assert_int_equal(request(b, FLUSH, 0, 0), OK); /* harmless, and all is written through */
	assert_unchanged(b);
}

/* B05 */
static void bad_ranges(void **state)
{
	struct bench *b = bench_of(state);
	static const struct {
		struct range range;
		uint8_t discard;
		uint8_t write_zeroes;
	} bad[] = {
		{ { N_SECTORS, 1, 0 }, IOERR, IOERR },
		{ { N_SECTORS - 1, 2, 0 }, IOERR, IOERR },
		{ { 0, UINT32_MAX, 0 }, IOERR, IOERR },
		{ { UINT64_MAX, 1, 0 }, IOERR, IOERR },
		{ { UINT64_MAX, UINT32_MAX, 0 }, IOERR, IOERR },
		{ { UINT64_C(1) << 55, 8, 0 }, IOERR, IOERR },
		{ { UINT64_MAX - 7, 8, 0 }, IOERR, IOERR },
		{ { 0, 8, 2 }, UNSUPP, UNSUPP },
		{ { 0, 8, 0x80000000 }, UNSUPP, UNSUPP },
		{ { N_SECTORS, 1, 1 }, UNSUPP, IOERR },
		{ { 0, 8, 1 }, UNSUPP, OK },
	};
	struct range good_and_bad[2] = { { 0, 8, 0 } };

	driver_boot(&b->d, ALL_FEATURES);
	for (size_t i = 0; i < ARRAY_SIZE(bad) - 1; i++) {
		/* Nothing is done for a good range beside a bad one. */
		good_and_bad[1] = bad[i].range;
		assert_int_equal(range_request(b, DISCARD, good_and_bad, 2), bad[i].discard);
		assert_int_equal(range_request(b, WRITE_ZEROES, good_and_bad, 2),
				 bad[i].write_zeroes);
		assert_unchanged(b);
	}
	assert_int_equal(range_request(b, DISCARD, &bad[ARRAY_SIZE(bad) - 1].range, 1), UNSUPP);
}

/* B05 */
static void bad_numbers_of_ranges(void **state)
{
	struct bench *b = bench_of(state);
	struct range ranges[BLK_RANGES_MAX + 1] = { 0 };
	static const uint32_t lens[] = { 0, 1, 15, 17, 24, (BLK_RANGES_MAX + 1) * 16, 65536 };

	driver_boot(&b->d, ALL_FEATURES);
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		memset(data_of(b), 0, 65536);
		assert_int_equal(request(b, DISCARD, 0, lens[i]), IOERR);
		assert_int_equal(request(b, WRITE_ZEROES, 0, lens[i]), IOERR);
	}
	assert_unchanged(b);
	for (uint32_t i = 0; i < BLK_RANGES_MAX; i++)
		ranges[i] = (struct range){ .sector = i * 2, .n_sectors = i < 15 };
	assert_int_equal(range_request(b, WRITE_ZEROES, ranges, BLK_RANGES_MAX), OK);
	for (uint64_t i = 0; i < 15; i++) {
		assert_file_is(b, i * 1024, i * 1024 + 512, 0);
		assert_file_is_pattern(b, i * 1024 + 512, i * 1024 + 1024);
	}
	assert_file_is_pattern(b, 30 * DISK_SECTOR, SIZE);
}

static uint64_t bytes_on_disk(const struct bench *b)
{
	struct stat st;

	assert_int_equal(fstat(b->fd, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	return (uint64_t)st.st_blocks * 512;
}

/* B05 */
static void zeroes(void **state)
{
	struct bench *b = bench_of(state);

	driver_boot(&b->d, ALL_FEATURES);
	for (uint32_t flags = 0; flags < 2; flags++) {
		const struct range range = { 16 + 64 * flags, 41, flags };

		assert_int_equal(range_request(b, WRITE_ZEROES, &range, 1), OK);
		memset(data_of(b), 0xff, 43 * DISK_SECTOR);
		assert_int_equal(request(b, IN, range.sector - 1, 43 * DISK_SECTOR), OK);
		for (uint64_t i = 0; i < 43 * DISK_SECTOR; i++)
			assert_int_equal(data_of(b)[i],
					 i / 512 == 0 || i / 512 == 42
						 ? pattern((range.sector - 1) * 512 + i)
						 : 0);
	}
}

static void discards_give_blocks_back(void **state)
{
	struct bench *b = bench_of(state);
	const struct range range = { 64, 128, 0 };
	uint64_t before = bytes_on_disk(b);

	driver_boot(&b->d, ALL_FEATURES);
	assert_int_equal(range_request(b, DISCARD, &range, 1), OK);
	assert_true(bytes_on_disk(b) <= before - 64 * KIB);
	assert_file_is_pattern(b, 0, 64 * DISK_SECTOR);
	assert_file_is_pattern(b, 192 * DISK_SECTOR, SIZE);
}

/* B06 */
static void identity(void **state)
{
	struct bench *b = bench_of(state);
	static const uint32_t lens[] = { 0, 1, 19, 20, 21, 512 };
	char expected[64] = { 0 };
	struct stat st;

	assert_int_equal(fstat(b->fd, &st), 0);
	snprintf(expected, sizeof(expected), "%ju%ju%ju", (uintmax_t)st.st_dev,
		 (uintmax_t)st.st_rdev, (uintmax_t)st.st_ino);
	driver_boot(&b->d, 0);
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		uint32_t n = MIN(lens[i], BLK_SERIAL_MAX);

		memset(data_of(b), UNTOUCHED, 1024);
		assert_int_equal(request(b, GET_ID, UINT64_MAX, lens[i]), OK);
		assert_memory_equal(data_of(b), expected, n);
		for (unsigned int at = n; at < 1024; at++)
			assert_int_equal(data_of(b)[at], UNTOUCHED);
	}
}

/* B06 */
static void a_serial_of_the_users(void **state)
{
	struct bench *b = bench_of(state);

	driver_boot(&b->d, 0);
	memset(data_of(b), UNTOUCHED, 32);
	assert_int_equal(request(b, GET_ID, 0, 20), OK);
	assert_memory_equal(data_of(b), "serial\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xee", 21);
}

/* B07 */
static void a_flush_with_data(void **state)
{
	struct bench *b = bench_of(state);

	driver_boot(&b->d, F_FLUSH);
	assert_int_equal(request(b, FLUSH, UINT64_MAX, 777), OK);
	assert_unchanged(b);
}

/* B07 */
static void no_flush_where_it_is_not_offered(void **state)
{
	struct bench *b = bench_of(state);

	rig_write32(&b->d.mmio, 0x14, 0);
	assert_int_equal(rig_read32(&b->d.mmio, 0x10) & (F_FLUSH | F_CONFIG_WCE), 0);
	driver_boot(&b->d, 0);
	assert_int_equal(request(b, FLUSH, 0, 0), UNSUPP);
	assert_int_equal(request(b, OUT, 0, 512), OK);
}

/* B08: it is raw for ever. */
static void other_formats_are_bytes_too(void **state)
{
	struct bench *b = bench_of(state);
	struct err err;

	driver_boot(&b->d, 0);
	memset(data_of(b), 0, 512);
	memcpy(data_of(b), "QFI\xfb\0\0\0\3", 8);
	assert_int_equal(request(b, OUT, 0, 512), OK);
	assert_int_equal(blk_update(&b->blk, b->path, NULL, &err), 0);
	assert_int_equal(rig_read(&b->d.mmio, 0x100, 8), N_SECTORS);
	memset(data_of(b), 0xff, 512);
	assert_int_equal(request(b, IN, 0, 512), OK);
	assert_memory_equal(data_of(b), "QFI\xfb\0\0\0\3\0\0\0", 11);
}

/* B10 */
static void a_limited_rate(void **state)
{
	struct bench *b = bench_of(state);
	struct timespec start;
	struct timespec end;
	struct driver_used used;
	int n_turns = 0;

	driver_boot(&b->d, 0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (int i = 0; i < 12; i++)
		add_request(b, IN, 0, 512);
	driver_kick(&b->d, 0);
	for (int i = 0; i < 12; n_turns++) {
		event_base_loop(b->d.base, EVLOOP_ONCE);
		while (driver_take_used(&b->d, 0, &used))
			i++;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_true((end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000 >=
		    100);
	assert_true(n_turns < 200);
	assert_true(b->blk.metrics.rate_limiter_throttled_events >= 2);
	assert_true(b->blk.metrics.rate_limiter_event_count >= 2);
	assert_true(b->blk.metrics.remaining_reqs_count >= 8);
}

/* B11: what was in flight is done when the reset is; the ring is not touched after. */
static void a_reset_in_flight(void **state)
{
	struct bench *b = bench_of(state);

	for (int round = 0; round < 50; round++) {
		driver_boot(&b->d, F_FLUSH);
		for (int i = 0; i < 40; i++) {
			memset(data_of(b), 0xcc, 4096);
			add_request(b, OUT, 8, 4096);
		}
		kick(b);
		event_base_loop(b->d.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		rig_write32(&b->d.mmio, 0x70, 0);
		assert_int_equal(b->blk.n_free, disk_depth(&b->disk));
		memset(b->d.queues[0].used, 0x77, 64);
		driver_settle(&b->d);
		assert_int_equal(b->d.queues[0].used[1], 0x7777);
	}
	/* Some were given up, so it may be as it was. */
	assert_file_is_pattern(b, 0, 8 * DISK_SECTOR);
	assert_file_is_pattern(b, 16 * DISK_SECTOR, SIZE);
}

struct resetter {
	struct bench *b;
	_Atomic bool is_over;
};

/* ---- disks that do not answer: what the kernel has done is not seen ---- */

static struct {
	struct disk_ops ops;
	_Atomic bool is_stuck;
	_Atomic bool is_busy; /* with something that is no request */
	unsigned int waited_ms;
	uint64_t refuses_until_ms;
	unsigned int n_commits;
} slow;

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void slow_reap(struct disk *disk)
{
	if (!slow.is_stuck)
		disk_uring_ops.reap(disk);
}

static bool slow_drain(struct disk *disk, unsigned int timeout_ms)
{
	slow.waited_ms += timeout_ms;
	return !slow.is_stuck && !slow.is_busy && disk_uring_ops.drain(disk, timeout_ms);
}

static bool slow_commit(struct disk *disk)
{
	slow.n_commits++;
	return now_ms() >= slow.refuses_until_ms && disk_uring_ops.commit(disk);
}

static void make_slow(struct bench *b)
{
	slow.ops = disk_uring_ops;
	slow.ops.reap = slow_reap;
	slow.ops.drain = slow_drain;
	slow.ops.commit = slow_commit;
	slow.is_stuck = false;
	slow.is_busy = false;
	slow.waited_ms = 0;
	slow.refuses_until_ms = 0;
	slow.n_commits = 0;
	b->disk.ops = &slow.ops;
}

static void *reset_once(void *ctx)
{
	struct resetter *r = ctx;

	rig_write32(&r->b->d.mmio, 0x70, 0);
	r->is_over = true;
	return NULL;
}

static void await_end_of_reset(struct bench *b)
{
	assert_int_equal(eventfd_write(disk_event_fd(&b->disk), 1), 0);
	for (int i = 0; i < 20000 && driver_status(&b->d) != 0; i++) {
		driver_settle(&b->d);
		usleep(200);
	}
	assert_int_equal(driver_status(&b->d), 0);
}

/* T14: the loop goes on, and so does the vCPU after a while; the reset is over when the disk is. */
static void a_reset_of_one_that_is_stuck(void **state)
{
	struct bench *b = bench_of(state);
	struct resetter r = { .b = b };
	unsigned int n_turns = 0;
	pthread_t thread;

	make_slow(b);
	driver_boot(&b->d, F_FLUSH);
	add_request(b, IN, 0, 512);
	slow.is_stuck = true;
	driver_kick(&b->d, 0);
	pthread_create(&thread, NULL, reset_once, &r);
	while (!r.is_over) {
		driver_kick(&b->d, 0);
		n_turns++;
	}
	pthread_join(thread, NULL);
	assert_true(n_turns > 2);
	assert_int_not_equal(driver_status(&b->d), 0);
	/* Nothing that is written has an effect till then. */
	rig_write32(&b->d.mmio, 0x70, 1);
	rig_write32(&b->d.mmio, 0x70, 3);
	assert_int_not_equal(driver_status(&b->d), 3);
	memset(b->d.queues[0].used, 0x77, 64);
	slow.is_stuck = false;
	await_end_of_reset(b);
	assert_int_equal(b->d.queues[0].used[1], 0x7777);
	driver_boot(&b->d, 0);
	assert_int_equal(request(b, IN, 0, 512), OK);
}

/* B11: a call that cancels, and has not been made yet, would cancel what the next driver asks for.
 */
static void a_reset_before_the_disk_has_nothing_to_do(void **state)
{
	struct bench *b = bench_of(state);

	make_slow(b);
	driver_boot(&b->d, F_FLUSH);
	slow.is_busy = true;
	rig_write32(&b->d.mmio, 0x70, 0);
	assert_int_not_equal(driver_status(&b->d), 0);
	slow.is_busy = false;
	await_end_of_reset(b);
	driver_boot(&b->d, 0);
	assert_int_equal(request(b, IN, 0, 512), OK);
}

static bool is_mapped(void *page)
{
	unsigned char is_there;

	return mincore(page, 1, &is_there) == 0;
}

/* B11; and the loop has other things to do than to wait for it. */
static void the_end_of_one_that_is_stuck(void **state)
{
	struct bench *b = bench_of(state);
	void *requests = b->blk.requests;
	void *zeros = b->disk.zeros;
	struct err err;

	make_slow(b);
	driver_boot(&b->d, F_FLUSH);
	add_request(b, OUT, 0, 512);
	slow.is_stuck = true;
	driver_kick(&b->d, 0);
	assert_int_equal(blk_update(&b->blk, b->path, NULL, &err), -EBUSY);
	assert_non_null(strstr(err.text, "does not answer"));
	assert_true(slow.waited_ms <= DISK_PATIENCE_MS);
	/* What the kernel may yet look at is there to the end. */
	assert_false(blk_deinit(&b->blk));
	disk_close(&b->disk);
	assert_true(is_mapped(requests));
	assert_true(is_mapped(zeros));
	detach(b);
}

/* A kernel that has no memory is asked again, and not without a pause. */
static void a_kernel_without_memory(void **state)
{
	struct bench *b = bench_of(state);
	struct driver_used used;

	make_slow(b);
	driver_boot(&b->d, F_FLUSH);
	driver_settle(&b->d);
	add_request(b, IN, 0, 512);
	slow.n_commits = 0;
	slow.refuses_until_ms = now_ms() + 100;
	driver_kick(&b->d, 0);
	while (!driver_take_used(&b->d, 0, &used))
		event_base_loop(b->d.base, EVLOOP_ONCE);
	assert_int_equal(status_of(b), OK);
	assert_true(now_ms() >= slow.refuses_until_ms);
	assert_true(slow.n_commits < 50);
}

/* A device that breaks while requests are in flight leaves its ring alone. */
static void broken_in_flight(void **state)
{
	struct bench *b = bench_of(state);

	driver_boot(&b->d, 0);
	add_request(b, IN, 0, 512);
	driver_offer(&b->d, 0, 0xffff);
	driver_kick(&b->d, 0);
	usleep(2000);
	driver_settle(&b->d);
	assert_true(needs_reset(b));
	if (engine == DISK_ENGINE_IO_URING) {
		assert_int_equal(status_of(b), UNTOUCHED);
		assert_int_equal(b->d.queues[0].used[1], 0);
	}
	driver_boot(&b->d, 0);
	assert_int_equal(b->blk.n_free, disk_depth(&b->disk));
	assert_int_equal(request(b, IN, 0, 512), OK);
}

static void *reset_often(void *ctx)
{
	struct resetter *r = ctx;

	for (int i = 0; i < 100; i++) {
		rig_write32(&r->b->d.mmio, 0x70, 0);
		usleep(100);
		rig_write32(&r->b->d.mmio, 0x70, 1);
		rig_write32(&r->b->d.mmio, 0x70, 3);
		rig_write32(&r->b->d.mmio, 0x24, 1);
		rig_write32(&r->b->d.mmio, 0x20, 1);
		rig_write32(&r->b->d.mmio, 0x70, 11);
		driver_set_queue(&r->b->d, 0);
		rig_write32(&r->b->d.mmio, 0x70, 15);
		usleep(200);
	}
	r->is_over = true;
	return NULL;
}

/* B11, T14: by another thread, while requests come from a file that is not in the page cache. */
static void resets_by_a_vcpu(void **state)
{
	struct bench *b = bench_of(state);
	struct resetter r = { .b = b };
	pthread_t thread;

	driver_boot(&b->d, 0);
	for (int i = 0; i < 80; i++)
		add_request(b, i % 2 ? IN : OUT, (uint64_t)i, 4096);
	pthread_create(&thread, NULL, reset_often, &r);
	while (!r.is_over) {
		kick(b);
		event_base_loop(b->d.base, EVLOOP_NONBLOCK);
		fdatasync(b->fd);
		posix_fadvise(b->fd, 0, 0, POSIX_FADV_DONTNEED);
	}
	pthread_join(thread, NULL);
	rig_write32(&b->d.mmio, 0x70, 0);
	assert_int_equal(b->blk.n_free, disk_depth(&b->disk));
}

/* B12: what is read from the disk goes over the rings. */
static void data_over_the_rings(void **state)
{
	struct bench *b = bench_of(state);
	const uint64_t targets[] = { 0, 1, 2 };

	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		struct driver_buf bufs[] = {
			{ .gpa = b->header_gpa, .len = sizeof(struct header) },
			{ .gpa = 0, .len = 512, .is_writable = true },
			{ .gpa = b->status_gpa, .len = 1, .is_writable = true },
		};
		uint64_t ring_gpas[3];

		driver_boot(&b->d, 0);
		ring_gpas[0] = b->d.queues[0].desc_gpa;
		ring_gpas[1] = b->d.queues[0].avail_gpa;
		ring_gpas[2] = b->d.queues[0].used_gpa;
		bufs[1].gpa = ring_gpas[i];
		put_header(b, IN, 0);
		driver_add(&b->d, 0, bufs, 3);
		driver_kick(&b->d, 0);
		usleep(2000);
		driver_kick(&b->d, 0);
	}
	driver_boot(&b->d, 0);
	assert_int_equal(request(b, IN, 0, 512), OK);
	assert_unchanged(b);
}

/* ---- the cache ---- */

static enum disk_call calls[64]; /* made by the disk, in this order */
static unsigned int n_calls;
static int sync_result;
static int64_t transfer_result; /* 0: what the file says */
static int fallocate_result;
static size_t transfer_max;

static int64_t make_call(const struct disk *disk, struct disk_request *req)
{
	if (n_calls < ARRAY_SIZE(calls))
		calls[n_calls++] = req->call;
	if (req->call == DISK_CALL_SYNC && sync_result != 0) {
		int result = sync_result;

		sync_result = 0; /* Linux tells once */
		return result;
	}
	if (req->call == DISK_CALL_FALLOCATE && fallocate_result != 0)
		return fallocate_result;
	if (req->call == DISK_CALL_READ || req->call == DISK_CALL_WRITE) {
		struct disk_request cut = *req;
		struct iovec iov = *req->iov;

		if (transfer_result != 0)
			return transfer_result;
		if (transfer_max != 0) {
			iov.iov_len = MIN(iov.iov_len, transfer_max);
			cut.iov = &iov;
			cut.n_iov = 1;
			if (n_calls % 3 == 0)
				return -EINTR;
		}
		return disk_make_call(disk, &cut);
	}
	return disk_make_call(disk, req);
}

static int watched_start(struct disk *disk, struct disk_request *req)
{
	int result;

	do
		result = disk_call_done(disk, req, make_call(disk, req));
	while (result == DISK_PENDING);
	return result;
}

static const struct disk_ops watched_ops = { .depth = 1, .start = watched_start };

/* An engine that keeps a list of its calls and fails where it is told to. */
static void watch_calls(struct bench *b)
{
	b->disk.ops = &watched_ops;
	n_calls = 0;
	sync_result = 0;
	transfer_result = 0;
	fallocate_result = 0;
	transfer_max = 0;
}

static void assert_calls(struct bench *b, uint32_t type, const enum disk_call *expected,
			 unsigned int n)
{
	const struct range range = { .n_sectors = 8 };

	n_calls = 0;
	if (type == DISCARD || type == WRITE_ZEROES)
		assert_int_equal(range_request(b, type, &range, 1), OK);
	else
		assert_int_equal(request(b, type, 0, type == FLUSH ? 0 : 512), OK);
	assert_int_equal(n_calls, n);
	assert_memory_equal(calls, expected, n * sizeof(*expected));
}

#define CALLS(b, type, ...)                                                                        \
	assert_calls(b, type, (const enum disk_call[]){ __VA_ARGS__ },                             \
		     sizeof((const enum disk_call[]){ __VA_ARGS__ }) / sizeof(enum disk_call))

static void a_driver_that_flushes(void **state)
{
	struct bench *b = bench_of(state);

	watch_calls(b);
	driver_boot(&b->d, ALL_FEATURES);
	CALLS(b, OUT, DISK_CALL_WRITE);
	CALLS(b, WRITE_ZEROES, DISK_CALL_FALLOCATE);
	CALLS(b, FLUSH, DISK_CALL_SYNC);
	CALLS(b, IN, DISK_CALL_READ);
	/* Until it turns the cache off. */
	rig_write(&b->d.mmio, 0x120, 1, 0);
	assert_int_equal(rig_read(&b->d.mmio, 0x120, 1), 0);
	CALLS(b, OUT, DISK_CALL_WRITE, DISK_CALL_SYNC);
	CALLS(b, WRITE_ZEROES, DISK_CALL_FALLOCATE, DISK_CALL_SYNC);
	CALLS(b, DISCARD, DISK_CALL_FALLOCATE);
	rig_write(&b->d.mmio, 0x120, 1, 5);
	assert_int_equal(rig_read(&b->d.mmio, 0x120, 1), 1);
	CALLS(b, OUT, DISK_CALL_WRITE);
	rig_write(&b->d.mmio, 0x120, 1, 0);
	driver_boot(&b->d, ALL_FEATURES);
	assert_int_equal(rig_read(&b->d.mmio, 0x120, 1), 1); /* as after every reset */
}

static void a_driver_that_does_not_flush(void **state)
{
	struct bench *b = bench_of(state);

	watch_calls(b);
	driver_boot(&b->d, F_WRITE_ZEROES);
	CALLS(b, OUT, DISK_CALL_WRITE, DISK_CALL_SYNC);
	CALLS(b, WRITE_ZEROES, DISK_CALL_FALLOCATE, DISK_CALL_SYNC);
	driver_boot(&b->d, F_CONFIG_WCE);
	assert_int_equal(rig_read(&b->d.mmio, 0x120, 1), 0);
	rig_write(&b->d.mmio, 0x120, 1, 1);
	assert_int_equal(rig_read(&b->d.mmio, 0x120, 1), 0);
	CALLS(b, OUT, DISK_CALL_WRITE, DISK_CALL_SYNC);
	driver_boot(&b->d, F_FLUSH);
	rig_write(&b->d.mmio, 0x120, 1, 0); /* not agreed */
	CALLS(b, OUT, DISK_CALL_WRITE);
}

static void an_unsafe_cache_never_syncs(void **state)
{
	struct bench *b = bench_of(state);

	watch_calls(b);
	driver_boot(&b->d, F_WRITE_ZEROES);
	CALLS(b, OUT, DISK_CALL_WRITE);
	CALLS(b, WRITE_ZEROES, DISK_CALL_FALLOCATE);
}

/* B09: what was lost stays lost, though the system calls succeed again. */
static void a_failed_sync_stays_failed(void **state)
{
	struct bench *b = bench_of(state);
	struct err err;

	watch_calls(b);
	driver_boot(&b->d, ALL_FEATURES);
	sync_result = -EIO;
	assert_int_equal(request(b, FLUSH, 0, 0), IOERR);
	n_calls = 0;
	assert_int_equal(request(b, FLUSH, 0, 0), IOERR);
	assert_int_equal(n_calls, 0);
	assert_int_equal(request(b, OUT, 0, 512), OK); /* promises nothing */
	assert_int_equal(request(b, IN, 0, 512), OK);
	rig_write(&b->d.mmio, 0x120, 1, 0);
	assert_int_equal(request(b, OUT, 0, 512), IOERR);
	driver_boot(&b->d, ALL_FEATURES); /* a reset does not bring it back */
	assert_int_equal(request(b, FLUSH, 0, 0), IOERR);
	assert_int_equal(blk_update(&b->blk, b->path, NULL, &err), 0);
	assert_int_equal(request(b, FLUSH, 0, 0), OK);
	driver_boot(&b->d, 0);
	sync_result = -EIO;
	assert_int_equal(request(b, OUT, 0, 512), IOERR);
	assert_int_equal(request(b, OUT, 0, 512), IOERR);
}

/* ---- what the host may do ---- */

/* B09 */
static void a_file_that_became_shorter(void **state)
{
	struct bench *b = bench_of(state);

	driver_boot(&b->d, 0);
	assert_int_equal(ftruncate(b->fd, 10 * DISK_SECTOR + 100), 0);
	assert_int_equal(request(b, IN, 20, 512), IOERR);
	assert_int_equal(request(b, IN, 9, 1024), IOERR);
	assert_int_equal(request(b, IN, 9, 512), OK);
	assert_int_equal(request(b, OUT, 12, 512), OK); /* grows again */
	assert_int_equal(request(b, IN, 11, 1024), OK);
	assert_false(needs_reset(b));
}

/* B09 */
static void a_file_that_was_deleted(void **state)
{
	struct bench *b = bench_of(state);

	driver_boot(&b->d, F_FLUSH);
	assert_int_equal(unlink(b->path), 0);
	assert_int_equal(request(b, OUT, 0, 512), OK);
	assert_int_equal(request(b, FLUSH, 0, 0), OK);
	assert_int_equal(request(b, IN, 0, 512), OK);
}

/* B09: an error of the kernel's own, by both engines. */
static void a_file_that_may_not_grow(void **state)
{
	struct bench *b = bench_of(state);

	b->fd = memfd_create("disk", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(b->fd >= 0);
	assert_int_equal(ftruncate(b->fd, MIB), 0);
	snprintf(b->path, sizeof(b->path), "/proc/self/fd/%d", b->fd);
	attach(b, &(struct options){ .cache = BLK_CACHE_WRITEBACK });
	driver_boot(&b->d, F_FLUSH);
	assert_int_equal(request(b, OUT, MIB / 512 - 8, 4096), OK);
	assert_int_equal(ftruncate(b->fd, 4096), 0);
	assert_int_equal(fcntl(b->fd, F_ADD_SEALS, F_SEAL_GROW), 0);
	assert_int_equal(request(b, OUT, MIB / 512 - 8, 4096), IOERR);
	assert_int_equal(request(b, OUT, 0, 4096), OK);
	assert_int_equal(request(b, IN, 0, 4096), OK);
}

/* B09 */
static void errors_of_transfers(void **state)
{
	struct bench *b = bench_of(state);
	static const int errors[] = { -EIO, -ENOSPC, -EDQUOT, -EROFS, -EFBIG, -EPERM };

	watch_calls(b);
	driver_boot(&b->d, F_FLUSH);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		transfer_result = errors[i];
		assert_int_equal(request(b, IN, 0, 512), IOERR);
		assert_int_equal(request(b, OUT, 0, 512), IOERR);
	}
	assert_int_equal(b->blk.metrics.execute_fails, 2 * ARRAY_SIZE(errors));
	assert_int_equal(b->blk.metrics.read_count, 0);
	transfer_result = 0;
	assert_int_equal(request(b, IN, 0, 512), OK);
}

static void short_transfers_go_on(void **state)
{
	struct bench *b = bench_of(state);
	const struct driver_buf bufs[] = {
		{ .gpa = b->header_gpa, .len = sizeof(struct header) },
		{ .gpa = b->data_gpa, .len = 700, .is_writable = true },
		{ .gpa = b->data_gpa + 700, .len = 324, .is_writable = true },
		{ .gpa = b->status_gpa, .len = 1, .is_writable = true },
	};
	struct driver_used used;

	watch_calls(b);
	transfer_max = 333;
	driver_boot(&b->d, F_FLUSH);
	put_header(b, IN, 1);
	driver_add(&b->d, 0, bufs, 4);
	driver_kick(&b->d, 0);
	assert_true(wait_used(b, &used));
	assert_int_equal(status_of(b), OK);
	for (unsigned int i = 0; i < 1024; i++)
		assert_int_equal(data_of(b)[i], pattern(512 + i));
	memset(data_of(b), 0x3c, 2048);
	assert_int_equal(request(b, OUT, 4, 2048), OK);
	assert_file_is(b, 4 * DISK_SECTOR, 8 * DISK_SECTOR, 0x3c);
	assert_file_is_pattern(b, 8 * DISK_SECTOR, SIZE);
}

/* Where the file system cannot, zeros are written, and discards do nothing. */
static void a_file_system_that_cannot(void **state)
{
	struct bench *b = bench_of(state);
	const struct range ranges[] = { { 8, 8, 0 }, { 24, 9, 1 } };

	watch_calls(b);
	driver_boot(&b->d, ALL_FEATURES);
	fallocate_result = -EOPNOTSUPP;
	CALLS(b, DISCARD, DISK_CALL_FALLOCATE);
	n_calls = 0;
	assert_int_equal(range_request(b, DISCARD, ranges, 1), OK);
	assert_int_equal(n_calls, 0);
	assert_unchanged(b);
	transfer_max = 1000;
	assert_int_equal(range_request(b, WRITE_ZEROES, ranges, 2), OK);
	assert_file_is_pattern(b, 0, 8 * DISK_SECTOR);
	assert_file_is(b, 8 * DISK_SECTOR, 16 * DISK_SECTOR, 0);
	assert_file_is_pattern(b, 16 * DISK_SECTOR, 24 * DISK_SECTOR);
	assert_file_is(b, 24 * DISK_SECTOR, 33 * DISK_SECTOR, 0);
	assert_file_is_pattern(b, 33 * DISK_SECTOR, SIZE);
	transfer_max = 0;
	CALLS(b, WRITE_ZEROES, DISK_CALL_WRITE); /* it has learnt */
}

static void errors_of_ranges(void **state)
{
	struct bench *b = bench_of(state);
	const struct range range = { 8, 8, 0 };

	watch_calls(b);
	driver_boot(&b->d, ALL_FEATURES);
	fallocate_result = -EIO;
	assert_int_equal(range_request(b, DISCARD, &range, 1), IOERR);
	assert_int_equal(range_request(b, WRITE_ZEROES, &range, 1), IOERR);
	fallocate_result = -EINVAL; /* not aligned to a device's blocks */
	assert_int_equal(range_request(b, WRITE_ZEROES, &range, 1), OK);
	assert_file_is(b, 8 * DISK_SECTOR, 16 * DISK_SECTOR, 0);
	assert_true(b->disk.can_zero);
}

/* The same by both engines: memory files have holes and no ranges of zeros. More than one piece. */
static void zeros_that_are_written(void **state)
{
	struct bench *b = bench_of(state);
	const struct range ranges[] = { { 1, 8 * MIB / 512 + 1, 0 }, { 8 * MIB / 512 + 8, 8, 1 } };

	b->fd = memfd_create("disk", MFD_CLOEXEC);
	assert_true(b->fd >= 0);
	for (uint64_t at = 0; at < 10 * MIB; at += 512)
		assert_int_equal(pwrite(b->fd, "x", 1, (off_t)at), 1);
	assert_int_equal(ftruncate(b->fd, 10 * MIB), 0);
	snprintf(b->path, sizeof(b->path), "/proc/self/fd/%d", b->fd);
	attach(b, &(struct options){ .cache = BLK_CACHE_WRITEBACK });
	driver_boot(&b->d, ALL_FEATURES);
	assert_int_equal(range_request(b, WRITE_ZEROES, ranges, 2), OK);
	for (uint64_t at = 0; at < 10 * MIB; at += 512) {
		bool is_zero = at != 0 && (at < 8 * MIB + 1024 ||
					   (at >= 8 * MIB + 4096 && at < 8 * MIB + 8192));
		char byte;

		assert_int_equal(pread(b->fd, &byte, 1, (off_t)at), 1);
		assert_int_equal(byte, is_zero ? 0 : 'x');
	}
}

/* B05: the limits that the configuration tells. */
static void ranges_that_are_too_long(void **state)
{
	struct bench *b = bench_of(state);
	struct range range = { 0 };

	b->fd = memfd_create("disk", MFD_CLOEXEC);
	assert_true(b->fd >= 0);
	assert_int_equal(ftruncate(b->fd, 2 * GIB), 0);
	snprintf(b->path, sizeof(b->path), "/proc/self/fd/%d", b->fd);
	attach(b, &(struct options){ .cache = BLK_CACHE_WRITEBACK });
	driver_boot(&b->d, ALL_FEATURES);
	range.n_sectors = rig_read32(&b->d.mmio, 0x124);
	assert_int_equal(range_request(b, DISCARD, &range, 1), OK);
	range.n_sectors++;
	assert_int_equal(range_request(b, DISCARD, &range, 1), IOERR);
	range.flags = 1;
	range.n_sectors = rig_read32(&b->d.mmio, 0x130);
	assert_int_equal(range_request(b, WRITE_ZEROES, &range, 1), OK);
	range.n_sectors++;
	assert_int_equal(range_request(b, WRITE_ZEROES, &range, 1), IOERR);
}

static void run_a_turn(struct bench *b)
{
	n_calls = 0;
	event_base_loop(b->d.base, EVLOOP_ONCE);
}

/* A large hole is made over many turns of the loop, which sees to other things between. */
static void a_discard_in_steps(void **state)
{
	struct bench *b = bench_of(state);
	const struct range ranges[] = { { 0, GIB / 512, 0 }, { GIB / 512 + 8, 8, 0 } };
	unsigned int n_turns = 0;
	struct driver_used used;
	struct stat st;
	struct err err;

	b->fd = memfd_create("disk", MFD_CLOEXEC);
	assert_true(b->fd >= 0);
	assert_int_equal(ftruncate(b->fd, 2 * GIB), 0);
	for (unsigned int i = 0; i < 16; i++)
		assert_int_equal(pwrite(b->fd, "x", 1, (off_t)(i * 64 * MIB)), 1);
	snprintf(b->path, sizeof(b->path), "/proc/self/fd/%d", b->fd);
	attach(b, &(struct options){ .cache = BLK_CACHE_WRITEBACK });
	watch_calls(b);
	driver_boot(&b->d, ALL_FEATURES);
	driver_settle(&b->d);
	memcpy(data_of(b), ranges, sizeof(ranges));
	add_request(b, DISCARD, 0, sizeof(ranges));
	kick(b);
	for (; !driver_take_used(&b->d, 0, &used); n_turns++) {
		run_a_turn(b);
		assert_true(n_calls <= 4);
		assert_true(n_turns < 1000);
	}
	assert_int_equal(status_of(b), OK);
	assert_true(n_turns >= 4);
	assert_int_equal(fstat(b->fd, &st), 0);
	assert_int_equal(st.st_blocks, 0);
	/* A reset on the way, and another file. */
	add_request(b, DISCARD, 0, sizeof(ranges));
	kick(b);
	run_a_turn(b);
	rig_write32(&b->d.mmio, 0x70, 0);
	assert_int_equal(driver_status(&b->d), 0);
	assert_int_equal(b->blk.n_free, disk_depth(&b->disk));
	driver_boot(&b->d, ALL_FEATURES);
	driver_settle(&b->d);
	add_request(b, DISCARD, 0, sizeof(ranges));
	kick(b);
	run_a_turn(b);
	assert_int_equal(blk_update(&b->blk, b->path, NULL, &err), 0);
	assert_int_equal(b->blk.n_free, disk_depth(&b->disk));
	assert_true(driver_take_used(&b->d, 0, &used));
}

/* ---- another size, another file ---- */

static void a_new_size(void **state)
{
	struct bench *b = bench_of(state);
	struct err err;

	driver_boot(&b->d, 0);
	assert_int_equal(ftruncate(b->fd, 2 * SIZE + 511), 0);
	assert_int_equal(request(b, IN, N_SECTORS, 512), IOERR);
	assert_int_equal(blk_update(&b->blk, b->path, NULL, &err), 0);
	assert_int_equal(rig_read(&b->d.mmio, 0x100, 8), 2 * N_SECTORS);
	assert_int_equal(rig_read32(&b->d.mmio, 0xfc), 1);
	assert_int_equal(rig_read32(&b->d.mmio, 0x60) & VIRTIO_ISR_CONFIG, VIRTIO_ISR_CONFIG);
	assert_int_equal(request(b, IN, N_SECTORS, 512), OK);
	assert_int_equal(ftruncate(b->fd, 0), 0);
	assert_int_equal(blk_update(&b->blk, b->path, NULL, &err), 0);
	assert_int_equal(rig_read(&b->d.mmio, 0x100, 8), 0);
	assert_int_equal(request(b, IN, 0, 512), IOERR);
}

static void another_file(void **state)
{
	struct bench *b = bench_of(state);
	struct bench other = { .fd = -1 };
	struct disk held = { .fd = -1 };
	struct driver_used used;
	struct err err;

	make_file(&other, 0);
	assert_int_equal(ftruncate(other.fd, 4096), 0);
	driver_boot(&b->d, 0);
	/* One that cannot be: the old one stays. */
	assert_int_equal(blk_update(&b->blk, "/nowhere", NULL, &err), -ENOENT);
	assert_int_equal(blk_update(&b->blk, "/dev/null", NULL, &err), -EINVAL);
	assert_int_equal(disk_open(&held, other.path, false, DISK_ENGINE_SYNC, &err), 0);
	assert_int_equal(blk_update(&b->blk, other.path, NULL, &err), -EBUSY);
	disk_close(&held);
	assert_int_equal(disk_open(&held, b->path, false, DISK_ENGINE_SYNC, &err), -EBUSY);
	assert_int_equal(request(b, IN, 9, 512), OK);
	assert_int_equal(data_of(b)[0], pattern(9 * 512));
	/* And one that can, which what is in flight does not reach. */
	for (int i = 0; i < 40; i++)
		add_request(b, IN, 0, 512);
	kick(b);
	event_base_loop(b->d.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_int_equal(blk_update(&b->blk, other.path, NULL, &err), 0);
	assert_int_equal(b->blk.n_free, disk_depth(&b->disk));
	for (int i = 0; i < 40; i++)
		assert_true(wait_used(b, &used));
	assert_int_equal(rig_read(&b->d.mmio, 0x100, 8), 8);
	assert_int_equal(request(b, IN, 0, 512), OK);
	assert_int_equal(data_of(b)[0], 0);
	memset(data_of(b), 0x5a, 512);
	assert_int_equal(request(b, OUT, 1, 512), OK);
	assert_file_is(&other, 512, 1024, 0x5a);
	assert_unchanged(b);
	assert_int_equal(disk_open(&held, b->path, false, DISK_ENGINE_SYNC, &err), 0);
	disk_close(&held);
	assert_int_equal(disk_open(&held, other.path, true, DISK_ENGINE_SYNC, &err), -EBUSY);
	unlink(other.path);
	close(other.fd);
}

static void other_limits(void **state)
{
	struct bench *b = bench_of(state);
	const struct token_bucket_config off = { 0 };
	const struct rate_limiter_change none = { &off, &off };
	struct driver_used used;
	struct err err;

	driver_boot(&b->d, 0);
	for (int i = 0; i < 10; i++)
		add_request(b, IN, 0, 512);
	driver_kick(&b->d, 0);
	assert_int_equal(blk_update(&b->blk, NULL, &none, &err), 0);
	for (int i = 0; i < 10; i++)
		assert_true(wait_used(b, &used));
}

/* All of a change or nothing: the first half would succeed. */
static void a_file_with_limits_that_cannot_be(void **state)
{
	struct bench *b = bench_of(state);
	const struct token_bucket_config good = { .size = 7, .refill_ms = 400 };
	const struct token_bucket_config endless = { .size = 7 };
	const struct rate_limiter_change limits = { .ops = &good };
	const struct rate_limiter_change bad = { .ops = &endless };
	struct err err;

	driver_boot(&b->d, 0);
	assert_int_equal(ftruncate(b->fd, 2 * SIZE), 0);
	assert_int_equal(blk_update(&b->blk, b->path, &bad, &err), -EINVAL);
	assert_int_equal(rig_read(&b->d.mmio, 0x100, 8), N_SECTORS);
	assert_int_equal(blk_update(&b->blk, "/nowhere", &limits, &err), -ENOENT);
	assert_int_equal(b->blk.limiter.ops.config.size, 0);
	assert_int_equal(blk_update(&b->blk, b->path, &limits, &err), 0);
	assert_int_equal(rig_read(&b->d.mmio, 0x100, 8), 2 * N_SECTORS);
	assert_int_equal(b->blk.limiter.ops.config.size, 7);
}

static void what_is_counted(void **state)
{
	struct bench *b = bench_of(state);
	const struct metrics_block *counts = &b->blk.metrics;
	const struct rate_limiter_change none = { 0 };
	struct err err;

	driver_boot(&b->d, F_FLUSH);
	assert_int_equal(request(b, IN, 3, 5 * DISK_SECTOR), OK);
	assert_int_equal(request(b, IN, 0, DISK_SECTOR), OK);
	assert_int_equal(request(b, OUT, 3, 2 * DISK_SECTOR), OK);
	assert_int_equal(request(b, FLUSH, 0, 0), OK);
	assert_int_equal(request(b, IN, N_SECTORS, DISK_SECTOR), IOERR);
	assert_int_equal(request(b, 77, 0, DISK_SECTOR), UNSUPP);
	assert_int_equal(request(b, GET_ID, 0, 20), OK);
	assert_int_equal(counts->read_count, 2);
	assert_int_equal(counts->read_bytes, 6 * DISK_SECTOR);
	assert_int_equal(counts->write_count, 1);
	assert_int_equal(counts->write_bytes, 2 * DISK_SECTOR);
	assert_int_equal(counts->flush_count, 1);
	assert_int_equal(counts->invalid_reqs_count, 2);
	assert_int_equal(counts->execute_fails, 0);
	assert_true(counts->read_agg.min_us <= counts->read_agg.max_us);
	assert_true(counts->read_agg.max_us <= counts->read_agg.sum_us);
	assert_true(counts->queue_event_count >= 7);
	assert_int_equal(counts->event_fails + counts->activate_fails + counts->cfg_fails, 0);
	assert_int_equal(blk_update(&b->blk, NULL, &none, &err), 0);
	assert_int_equal(blk_update(&b->blk, "/nowhere", NULL, &err), -ENOENT);
	assert_int_equal(counts->update_count, 1);
	assert_int_equal(counts->update_fails, 1);
}

/* ---- opening ---- */

static void serials_that_are_too_long(void **state)
{
	struct bench *b = bench_of(state);
	const struct blk_config config = { .id = "b0", .serial = "123456789012345678901" };
	struct err err;

	make_file(b, 4096);
	driver_init(&b->d, 16);
	assert_int_equal(disk_open(&b->disk, b->path, false, engine, &err), 0);
	assert_int_equal(
		blk_init(&b->blk, &config, &b->disk, &b->d.mem, &b->d.irq.line, b->d.base, &err),
		-EINVAL);
	assert_non_null(strstr(err.text, "b0"));
	blk_deinit(&b->blk);
	disk_close(&b->disk);
	driver_deinit(&b->d);
}

/* ---- a block device ---- */

static int make_loop_device(struct bench *b, char *path, size_t size)
{
	struct loop_config config = { .fd = (uint32_t)b->fd,
				      .block_size = 4096,
				      .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	cleanup_close int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int n = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	int fd;

	if (n < 0)
		return -1;
	snprintf(path, size, "/dev/loop%d", n);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) != 0)
		close_fd(&fd);
	return fd;
}

static void a_block_device(void **state)
{
	struct bench *b = bench_of(state);
	const struct range ranges[] = { { 8, 8, 0 }, { 24, 8, 1 }, { 41, 3, 0 } };
	char file_path[64];
	int loop_fd;

	make_file(b, SIZE);
	memcpy(file_path, b->path, sizeof(file_path));
	loop_fd = make_loop_device(b, b->path, sizeof(b->path));
	unlink(file_path);
	if (loop_fd < 0) {
		b->path[0] = '\0';
		skip();
	}
	attach(b, &(struct options){ .cache = BLK_CACHE_WRITEBACK });
	driver_boot(&b->d, ALL_FEATURES);
	assert_int_equal(rig_read(&b->d.mmio, 0x100, 8), N_SECTORS);
	assert_int_equal(rig_read32(&b->d.mmio, 0x114), 4096);
	assert_int_equal(request(b, IN, 3, 1024), OK);
	assert_int_equal(data_of(b)[0], pattern(3 * 512));
	assert_int_equal(range_request(b, WRITE_ZEROES, ranges, 3), OK);
	assert_int_equal(request(b, FLUSH, 0, 0), OK);
	assert_file_is_pattern(b, 0, 8 * 512);
	assert_file_is(b, 8 * 512, 16 * 512, 0);
	assert_file_is_pattern(b, 16 * 512, 24 * 512);
	assert_file_is(b, 24 * 512, 32 * 512, 0);
	assert_file_is_pattern(b, 32 * 512, 41 * 512);
	assert_file_is(b, 41 * 512, 44 * 512, 0);
	assert_file_is_pattern(b, 44 * 512, SIZE);
	assert_int_equal(range_request(b, DISCARD, &(struct range){ 64, 64, 0 }, 1), OK);
	assert_file_is_pattern(b, 44 * 512, 64 * 512);
	assert_file_is_pattern(b, 128 * 512, SIZE);
	detach(b);
	ioctl(loop_fd, LOOP_CLR_FD);
	close(loop_fd);
}

#define CASE(name, set_up) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest tests[] = {
	CASE(features_and_configuration, set_up),
	CASE(reads, set_up),
	CASE(writes, set_up),
	CASE(buffers_cut_anywhere, set_up),
	CASE(the_most_segments, set_up),
	CASE(a_full_queue, set_up),
	CASE(past_the_end, set_up),
	CASE(past_the_end_in_sum, set_up),
	CASE(odd_lengths, set_up),
	CASE(requests_without_header_or_status, set_up),
	CASE(a_disk_that_is_only_read, set_up_read_only),
	CASE(unknown_types, set_up),
	CASE(types_that_were_not_agreed, set_up),
	CASE(bad_ranges, set_up),
	CASE(bad_numbers_of_ranges, set_up),
	CASE(zeroes, set_up),
	CASE(discards_give_blocks_back, set_up),
	CASE(identity, set_up),
	CASE(a_serial_of_the_users, set_up_serial),
	CASE(a_flush_with_data, set_up),
	CASE(no_flush_where_it_is_not_offered, set_up_unsafe),
	CASE(other_formats_are_bytes_too, set_up),
	CASE(a_limited_rate, set_up_limited),
	CASE(a_reset_in_flight, set_up),
	CASE(broken_in_flight, set_up),
	CASE(resets_by_a_vcpu, set_up),
	CASE(data_over_the_rings, set_up),
	CASE(a_file_that_became_shorter, set_up),
	CASE(a_file_that_was_deleted, set_up),
	CASE(a_file_that_may_not_grow, set_up_no_file),
	CASE(zeros_that_are_written, set_up_no_file),
	CASE(ranges_that_are_too_long, set_up_no_file),
	CASE(a_new_size, set_up),
	CASE(another_file, set_up),
	CASE(other_limits, set_up_limited),
	CASE(a_file_with_limits_that_cannot_be, set_up),
	CASE(what_is_counted, set_up),
	CASE(serials_that_are_too_long, set_up_no_file),
	CASE(a_block_device, set_up_no_file),
};

/* The disk's own part, which is the same for both. */
static const struct CMUnitTest tests_of_calls[] = {
	CASE(a_driver_that_flushes, set_up),
	CASE(a_driver_that_does_not_flush, set_up),
	CASE(an_unsafe_cache_never_syncs, set_up_unsafe),
	CASE(a_failed_sync_stays_failed, set_up),
	CASE(errors_of_transfers, set_up),
	CASE(short_transfers_go_on, set_up),
	CASE(a_file_system_that_cannot, set_up),
	CASE(errors_of_ranges, set_up),
	CASE(a_discard_in_steps, set_up_no_file),
};

/* With the engine that does not wait. */
static const struct CMUnitTest tests_of_uring[] = {
	CASE(a_reset_of_one_that_is_stuck, set_up),
	CASE(a_reset_before_the_disk_has_nothing_to_do, set_up),
	CASE(the_end_of_one_that_is_stuck, set_up),
	CASE(a_kernel_without_memory, set_up),
};

int main(void)
{
	int n_failed;

	log_set_level(LOG_OFF);
	engine = DISK_ENGINE_SYNC;
	n_failed = cmocka_run_group_tests(tests, NULL, NULL);
	n_failed += cmocka_run_group_tests(tests_of_calls, NULL, NULL);
	if (rig_has_io_uring()) {
		engine = DISK_ENGINE_IO_URING;
		n_failed += cmocka_run_group_tests(tests, NULL, NULL);
		n_failed += cmocka_run_group_tests(tests_of_uring, NULL, NULL);
	}
	return n_failed;
}
