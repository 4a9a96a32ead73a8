/*
 * Section B: requests to disks. One disk is read-only.
 */
#include "hostile.h"

enum {
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

#define F_RO      (UINT64_C(1) << 5)
#define F_FLUSH   (UINT64_C(1) << 9)
#define F_DISCARD (UINT64_C(1) << 13)

struct range {
	uint64_t sector;
	uint32_t n_sectors;
	uint32_t flags;
};

enum { AT_HEADER = 0, AT_STATUS = 64, AT_DATA = PAGE };

static bool is_read_only(const struct dev *d)
{
	return (d->offered & F_RO) != 0;
}

static uint64_t capacity(const struct dev *d)
{
	return dev_read_len(d, REG_CONFIG, 8);
}

static uint8_t *data(const struct dev *d)
{
	return dev_ptr(d, scratch(d) + AT_DATA);
}

static void set_header(const struct dev *d, uint32_t type, uint64_t sector)
{
	struct blk_header *header = dev_ptr(d, scratch(d) + AT_HEADER);

	header->type = type;
	header->reserved = 0xffffffff;
	header->sector = sector;
	fill(dev_ptr(d, scratch(d) + AT_STATUS), UNTOUCHED, 1);
}

/* \return the status, or UNTOUCHED when the device broke or does not answer */
static uint8_t ask_len(struct dev *d, uint32_t type, uint64_t sector, uint32_t len)
{
	const bool is_read = type == IN || type == GET_ID;
	const struct buf bufs[] = {
		{ scratch(d) + AT_HEADER, sizeof(struct blk_header), false },
		{ scratch(d) + AT_DATA, len, is_read },
		{ scratch(d) + AT_STATUS, 1, true },
	};
	const uint8_t *status = dev_ptr(d, scratch(d) + AT_STATUS);
	struct used_elem used;

	set_header(d, type, sector);
	dev_add(d, d->queue, bufs, COUNT(bufs));
	return expect_served(d, &used) == NULL ? *status : UNTOUCHED;
}

static verdict sectors_past_the_end(struct dev *d)
{
	const uint64_t end = capacity(d);
	const struct {
		uint64_t sector;
		uint32_t n;
		uint8_t status;
	} rows[] = {
		{ end - 1, 1, OK },
		{ end, 1, IOERR },
		{ end - 1, 2, IOERR },
		{ end + 1, 1, IOERR },
		{ UINT64_C(1) << 55, 1, IOERR },
		{ (UINT64_C(1) << 55) - 1, 1, IOERR },
		{ (UINT64_C(1) << 55) + 1, 1, IOERR },
		{ UINT64_C(1) << 63, 1, IOERR },
		{ UINT64_MAX, 1, IOERR },
		{ UINT64_MAX - 1, 8, IOERR },
		{ UINT64_MAX, 0, IOERR },
	};

	dev_boot(d);
	for (unsigned int i = 0; i < COUNT(rows); i++) {
		REQUIRE(ask_len(d, IN, rows[i].sector, rows[i].n * SECTOR) == rows[i].status);
		/* The last sector is not to be written here. */
		if (rows[i].status != OK)
			REQUIRE(ask_len(d, OUT, rows[i].sector, rows[i].n * SECTOR) == IOERR);
	}
	return NULL;
}

static verdict many_buffers_past_the_end(struct dev *d)
{
	enum { N = 10 };
	struct buf bufs[N + 2];
	const uint8_t *status = dev_ptr(d, scratch(d) + AT_STATUS);
	struct used_elem used;

	dev_boot(d);
	set_header(d, IN, capacity(d) - N + 1);
	bufs[0] = (struct buf){ scratch(d) + AT_HEADER, sizeof(struct blk_header), false };
	for (unsigned int i = 1; i <= N; i++)
		bufs[i] = (struct buf){ scratch(d) + AT_DATA, SECTOR, true };
	bufs[N + 1] = (struct buf){ scratch(d) + AT_STATUS, 1, true };
	dev_add(d, d->queue, bufs, N + 2);
	CHECK(expect_served(d, &used));
	REQUIRE(*status == IOERR);
	return NULL;
}

static verdict no_whole_sectors(struct dev *d)
{
	static const uint32_t lens[] = { 1, 511, 513, 4095 };

	dev_boot(d);
	for (unsigned int i = 0; i < COUNT(lens); i++) {
		REQUIRE(ask_len(d, IN, 0, lens[i]) == IOERR);
		REQUIRE(ask_len(d, OUT, 0, lens[i]) == IOERR);
	}
	return NULL;
}

/* What has no whole header, or nowhere to put a status, cannot be answered. */
static verdict no_request(struct dev *d)
{
	const struct buf chains[][3] = {
		{ { scratch(d), 15, false }, { scratch(d) + AT_STATUS, 1, true } },
		{ { scratch(d), 16, false }, { scratch(d) + AT_STATUS, 0, true } },
		{ { scratch(d), 16, false }, { scratch(d) + AT_STATUS, 1, false } },
		{ { scratch(d), 16, true }, { scratch(d) + AT_STATUS, 1, true } },
		{ { scratch(d), 0, false }, { scratch(d) + AT_STATUS, 1, true } },
	};

	for (unsigned int i = 0; i < COUNT(chains); i++) {
		dev_boot(d);
		set_header(d, IN, 0);
		dev_add(d, d->queue, chains[i], 2);
		CHECK(expect_kick_breaks(d));
	}
	return NULL;
}

/* 2.7.4.2: how a request is cut into buffers means nothing. Q06 too. */
static verdict cut_anywhere(struct dev *d)
{
	struct buf bufs[40];
	unsigned int n = 0;
	const uint8_t *status = dev_ptr(d, scratch(d) + AT_DATA + SECTOR);
	struct used_elem used;

	dev_boot(d);
	set_header(d, IN, 1);
	for (unsigned int i = 0; i < sizeof(struct blk_header); i++) {
		bufs[n++] = (struct buf){ scratch(d) + AT_HEADER + i, 1, false };
		if (i % 4 == 0)
			bufs[n++] = (struct buf){ 0, 0, false };
	}
	bufs[n++] = (struct buf){ 0, 0, true };
	bufs[n++] = (struct buf){ scratch(d) + AT_DATA, 500, true };
	bufs[n++] = (struct buf){ scratch(d) + AT_DATA + 500, SECTOR - 500 + 1, true };
	bufs[n++] = (struct buf){ 0, 0, true };
	fill(data(d), UNTOUCHED, SECTOR + 1);
	dev_add(d, d->queue, bufs, n);
	CHECK(expect_served(d, &used));
	REQUIRE(used.len == SECTOR + 1);
	REQUIRE(*status == OK);
	for (unsigned int i = 0; i < SECTOR; i++)
		REQUIRE(data(d)[i] == GOOD_BYTE);
	return NULL;
}

static verdict write_to_read_only(struct dev *d)
{
	if (!is_read_only(d))
		return not_applicable;
	for (unsigned int i = 0; i < 2; i++) {
		dev_boot_with(d, i == 0 ? d->offered : d->offered & ~F_RO);
		REQUIRE(ask_len(d, OUT, 1, SECTOR) == IOERR);
		REQUIRE(ask_len(d, DISCARD, 1, 16) != OK);
		REQUIRE(ask_len(d, WRITE_ZEROES, 1, 16) != OK);
		CHECK(good(d));
	}
	return NULL;
}

static verdict unknown_types(struct dev *d)
{
	static const uint32_t types[] = { 2,  3,  5,  6,  7,  9,          10,         12,        14,
					  15, 16, 17, 18, 24, 0x7fffffff, 0x80000000, 0xffffffff };

	dev_boot(d);
	for (unsigned int i = 0; i < COUNT(types); i++) {
		REQUIRE(ask_len(d, types[i], 0, SECTOR) == UNSUPP);
		REQUIRE(ask_len(d, types[i], UINT64_MAX, 0) == UNSUPP);
	}
	return NULL;
}

/* ---- B05 ---- */

static uint8_t ask_range(struct dev *d, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
	struct range *range = dev_ptr(d, scratch(d) + AT_DATA);

	*range = (struct range){ .sector = sector, .n_sectors = n, .flags = flags };
	return ask_len(d, type, 0, sizeof(*range));
}

static verdict ranges(struct dev *d, uint32_t type)
{
	const uint64_t end = capacity(d);

	REQUIRE(ask_range(d, type, end, 1, 0) == IOERR);
	REQUIRE(ask_range(d, type, end - 1, 2, 0) == IOERR);
	REQUIRE(ask_range(d, type, 0, 0xffffffff, 0) == IOERR);
	REQUIRE(ask_range(d, type, end - 1, 0xffffffff, 0) == IOERR);
	REQUIRE(ask_range(d, type, UINT64_MAX, 1, 0) == IOERR);
	REQUIRE(ask_range(d, type, UINT64_MAX, 0xffffffff, 0) == IOERR);
	REQUIRE(ask_range(d, type, UINT64_C(1) << 55, 1, 0) == IOERR);
	REQUIRE(ask_range(d, type, 8, 1, 2) == UNSUPP);
	REQUIRE(ask_range(d, type, 8, 1, 0xfffffffe) == UNSUPP);
	REQUIRE(ask_len(d, type, 0, 0) == IOERR);
	REQUIRE(ask_len(d, type, 0, 15) == IOERR);
	REQUIRE(ask_len(d, type, 0, 17) == IOERR);
	/* more of them than the configuration tells */
	REQUIRE(ask_len(d, type, 0, 17 * sizeof(struct range)) == IOERR);
	REQUIRE(ask_len(d, type, 0, 65536) == IOERR);
	return NULL;
}

static verdict bad_ranges(struct dev *d)
{
	if (is_read_only(d))
		return not_applicable;
	dev_boot(d);
	if ((d->offered & F_DISCARD) != 0)
		CHECK(ranges(d, DISCARD));
	CHECK(ranges(d, WRITE_ZEROES));
	/* A discard has no flags at all. */
	if ((d->offered & F_DISCARD) != 0)
		REQUIRE(ask_range(d, DISCARD, 8, 1, 1) == UNSUPP);
	return NULL;
}

static verdict zeroes(struct dev *d)
{
	if (is_read_only(d))
		return not_applicable;
	dev_boot(d);
	for (uint32_t flags = 0; flags < 2; flags++) {
		fill(data(d), 0xff, 4 * SECTOR);
		REQUIRE(ask_len(d, OUT, 8, 4 * SECTOR) == OK);
		REQUIRE(ask_range(d, WRITE_ZEROES, 9, 2, flags) == OK);
		REQUIRE(ask_len(d, IN, 8, 4 * SECTOR) == OK);
		for (unsigned int i = 0; i < 4 * SECTOR; i++)
			REQUIRE(data(d)[i] == (i / SECTOR == 0 || i / SECTOR == 3 ? 0xff : 0));
	}
	return NULL;
}

static verdict ranges_not_negotiated(struct dev *d)
{
	dev_boot_with(d, 0);
	REQUIRE(ask_range(d, DISCARD, 8, 1, 0) == UNSUPP);
	REQUIRE(ask_range(d, WRITE_ZEROES, 8, 1, 0) == UNSUPP);
	return NULL;
}

/* ---- B06 to B12 ---- */

static verdict identity(struct dev *d)
{
	static const uint32_t lens[] = { 0, 1, 19, 20, 21, 4096, 100000 };

	dev_boot(d);
	for (unsigned int i = 0; i < COUNT(lens); i++) {
		fill(data(d), UNTOUCHED, 100001);
		REQUIRE(ask_len(d, GET_ID, UINT64_MAX, lens[i]) == OK);
		for (uint32_t at = lens[i] < 20 ? lens[i] : 20; at <= lens[i]; at++)
			REQUIRE(data(d)[at] == UNTOUCHED);
	}
	return NULL;
}

static verdict flush_with_data(struct dev *d)
{
	dev_boot(d);
	REQUIRE(ask_len(d, FLUSH, UINT64_MAX, SECTOR) == OK);
	REQUIRE(ask_len(d, FLUSH, 0, 0) == OK);
	dev_boot_with(d, d->offered & ~F_FLUSH);
	REQUIRE(ask_len(d, FLUSH, 0, 0) != UNTOUCHED);
	return NULL;
}

static verdict looks_like_another_format(struct dev *d)
{
	static const char *const magics[] = { "QFI\xfb", "KDMV", "conectix", "COWD" };
	const uint64_t before = capacity(d);

	if (is_read_only(d))
		return not_applicable;
	for (unsigned int i = 0; i < COUNT(magics); i++) {
		dev_boot(d);
		fill(data(d), 0, SECTOR);
		for (unsigned int k = 0; magics[i][k] != '\0'; k++)
			data(d)[k] = (uint8_t)magics[i][k];
		REQUIRE(ask_len(d, OUT, 0, SECTOR) == OK);
		REQUIRE(ask_len(d, FLUSH, 0, 0) == OK);
		dev_boot(d);
		fill(data(d), UNTOUCHED, SECTOR);
		REQUIRE(ask_len(d, IN, 0, SECTOR) == OK);
		REQUIRE(data(d)[0] == (uint8_t)magics[i][0] && data(d)[SECTOR - 1] == 0);
		REQUIRE(capacity(d) == before);
	}
	return NULL;
}

/* What a reset has cut off does not come later: neither in the ring nor in the buffers. */
static verdict reset_in_flight(struct dev *d)
{
	struct ring *ring = &d->rings[d->queue];

	for (unsigned int i = 0; i < 20; i++) {
		dev_boot(d);
		for (unsigned int k = 0; k < 80; k++)
			good_put(d);
		good_kick(d);
		for (unsigned int k = 0; k < i; k++)
			d->m->port->rest(d->m->port);
		dev_reset(d);
		fill(dev_ptr(d, ring->used_gpa), UNTOUCHED, PAGE);
		fill(dev_ptr(d, d->good_gpa), UNTOUCHED, PAGE);
		dev_rest(d);
		REQUIRE(ring->used[1] == 0x101 * UNTOUCHED);
		REQUIRE(*(uint8_t *)dev_ptr(d, d->good_gpa + 1024) == UNTOUCHED);
	}
	return NULL;
}

static verdict reads_over_the_rings(struct dev *d)
{
	const uint64_t places[] = {
		d->rings[d->queue].desc_gpa,
		d->rings[d->queue].avail_gpa,
		d->rings[d->queue].used_gpa,
		scratch(d) + AT_HEADER,
	};

	for (unsigned int i = 0; i < COUNT(places); i++) {
		const struct buf bufs[] = {
			{ scratch(d) + AT_HEADER, sizeof(struct blk_header), false },
			{ places[i], SECTOR, true },
			{ places[i], 1, true },
		};

		dev_boot(d);
		set_header(d, IN, 1);
		dev_add(d, d->queue, bufs, COUNT(bufs));
		dev_kick(d, d->queue);
		dev_rest(d);
		dev_kick(d, d->queue);
		dev_rest(d);
	}
	return NULL;
}

const struct hostile_case blk_cases[] = {
	{ "B01", BLK, sectors_past_the_end, "sectors past the end" },
	{ "B01", BLK, many_buffers_past_the_end, "buffers that go past the end together" },
	{ "B02", BLK, no_whole_sectors, "parts of sectors" },
	{ "B02", BLK, no_request, "no whole header, or no room for a status" },
	{ "B02", BLK, cut_anywhere, "a request cut anywhere" },
	{ "B03", BLK, write_to_read_only, "writes to a read-only disk" },
	{ "B04", BLK, unknown_types, "types that are not known or not negotiated" },
	{ "B05", BLK, bad_ranges, "ranges that cannot be" },
	{ "B05", BLK, zeroes, "zeros are read where they were written" },
	{ "B05", BLK, ranges_not_negotiated, "ranges that were not agreed on" },
	{ "B06", BLK, identity, "the name, into buffers of any size" },
	{ "B07", BLK, flush_with_data, "flushing with data, and not agreed on" },
	{ "B08", BLK, looks_like_another_format, "a disk that looks like another format" },
	{ "B11", BLK, reset_in_flight, "resets with requests in flight" },
	{ "B12", BLK, reads_over_the_rings, "reading over the rings" },
	{ NULL, EVERY, NULL, NULL },
};
