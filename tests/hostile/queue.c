/*
 * Section Q: virtqueues, on the queue of each device that requests go to.
 */
#include "hostile.h"

/* ---- Q01, Q02: the available ring ---- */

static verdict index_jumps(struct dev *d)
{
	for (unsigned int i = 0; i < 4; i++) {
		dev_boot(d);
		d->rings[d->queue].avail[1] =
			(const uint16_t[]){ (uint16_t)(d->rings[d->queue].size + 1), 0x7fff, 0x8000,
					    0xffff }[i];
		CHECK(expect_kick_breaks(d));
	}
	return NULL;
}

static verdict index_jumps_back(struct dev *d)
{
	dev_boot(d);
	CHECK(good(d));
	d->rings[d->queue].avail[1] = 0;
	return expect_kick_breaks(d);
}

static verdict heads_past_the_table(struct dev *d)
{
	for (unsigned int i = 0; i < 3; i++) {
		dev_boot(d);
		dev_offer(d, d->queue,
			  (const uint16_t[]){ d->rings[d->queue].size, 0x8000, 0xffff }[i]);
		CHECK(expect_kick_breaks(d));
	}
	return NULL;
}

/* ---- Q03 to Q09: chains ---- */

/* In a row of the table below: an address inside scratch memory, or what it is relative to. */
enum base { NOWHERE, SCRATCH, RAM_START, RAM_END, TABLE };

struct row {
	enum base base;
	uint64_t off;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

enum {
	N_ROWS = 3,
	N_INDIRECT = 4,
	/* next of a row: as many as the queue has */
	PAST = 0xf000,
};

/** Descriptors 0, 1, … of the queue, and those of a table that TABLE stands for. */
struct chain {
	const char *what;
	struct row rows[N_ROWS];
	struct row indirect[N_INDIRECT];
};

static uint64_t address(const struct dev *d, const struct row *row)
{
	switch (row->base) {
	case SCRATCH:
		return scratch(d) + PAGE + row->off;
	case RAM_START:
		return d->m->port->ram_gpa + row->off;
	case RAM_END:
		return ram_end(d) + row->off;
	case TABLE:
		return scratch(d) + row->off;
	case NOWHERE:
	default:
		return row->off;
	}
}

static void put_chain(const struct dev *d, const struct chain *chain)
{
	struct desc *table = dev_ptr(d, scratch(d));

	for (unsigned int i = 0; i < N_ROWS; i++) {
		const struct row *row = &chain->rows[i];

		dev_desc(d, (uint16_t)i, address(d, row), row->len, row->flags,
			 row->next == PAST ? d->rings[d->queue].size : row->next);
	}
	for (unsigned int i = 0; i < N_INDIRECT; i++) {
		const struct row *row = &chain->indirect[i];

		table[i] = (struct desc){ address(d, row), row->len, row->flags, row->next };
	}
	dev_offer(d, d->queue, 0);
}

static verdict break_with(struct dev *d, const struct chain *chains, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		dev_boot(d);
		put_chain(d, &chains[i]);
		if (expect_kick_breaks(d) != NULL)
			return chains[i].what;
	}
	return NULL;
}

static verdict next_nowhere_or_in_circles(struct dev *d)
{
	static const struct chain chains[] = {
		{ "next is the size", { { SCRATCH, 0, 16, D_NEXT, PAST } }, { { 0 } } },
		{ "next is 0xffff", { { SCRATCH, 0, 16, D_NEXT, 0xffff } }, { { 0 } } },
		{ "its own next", { { SCRATCH, 0, 16, D_NEXT, 0 } }, { { 0 } } },
		{ "its own next, to be written",
		  { { SCRATCH, 0, 16, D_NEXT | D_WRITE, 0 } },
		  { { 0 } } },
		{ "its own next, empty", { { SCRATCH, 0, 0, D_NEXT, 0 } }, { { 0 } } },
		{ "a circle of two",
		  { { SCRATCH, 0, 16, D_NEXT, 1 }, { SCRATCH, 16, 16, D_NEXT, 0 } },
		  { { 0 } } },
		{ "a circle behind one",
		  { { SCRATCH, 0, 16, D_NEXT, 1 },
		    { SCRATCH, 16, 16, D_NEXT, 2 },
		    { SCRATCH, 32, 16, D_NEXT, 1 } },
		  { { 0 } } },
	};

	return break_with(d, chains, COUNT(chains));
}

static verdict full_circle(struct dev *d)
{
	uint16_t size;

	dev_boot(d);
	size = d->rings[d->queue].size;
	for (uint16_t i = 0; i < size; i++)
		dev_desc(d, i, scratch(d), 1, D_NEXT, (uint16_t)((i + 1) % size));
	dev_offer(d, d->queue, 0);
	return expect_kick_breaks(d);
}

static verdict too_many_buffers(struct dev *d)
{
	volatile struct desc *table = dev_ptr(d, scratch(d));

	dev_boot(d);
	for (uint16_t i = 0; i < 3; i++)
		dev_desc(d, i, scratch(d), 1, D_NEXT, (uint16_t)(i + 1));
	dev_desc(d, 3, scratch(d), 256 * sizeof(*table), D_INDIRECT, 0);
	for (unsigned int i = 0; i < 256; i++) {
		table[i].gpa = scratch(d) + PAGE;
		table[i].len = 1;
		table[i].flags = i < 255 ? D_NEXT : 0;
		table[i].next = (uint16_t)(i + 1);
	}
	dev_offer(d, d->queue, 0);
	return expect_kick_breaks(d);
}

#define GOOD_TABLE { { SCRATCH, 0, 16, 0, 0 } }

static verdict indirect(struct dev *d)
{
	static const struct chain chains[] = {
		{ "no bytes", { { TABLE, 0, 0, D_INDIRECT, 0 } }, GOOD_TABLE },
		{ "15 bytes", { { TABLE, 0, 15, D_INDIRECT, 0 } }, GOOD_TABLE },
		{ "17 bytes", { { TABLE, 0, 17, D_INDIRECT, 0 } }, GOOD_TABLE },
		{ "257 descriptors", { { TABLE, 0, 257 * 16, D_INDIRECT, 0 } }, GOOD_TABLE },
		{ "65536 descriptors", { { TABLE, 0, 1 << 20, D_INDIRECT, 0 } }, GOOD_TABLE },
		{ "4 GiB", { { TABLE, 0, 0xfffffff0, D_INDIRECT, 0 } }, GOOD_TABLE },
		{ "nowhere", { { NOWHERE, 0, 16, D_INDIRECT, 0 } }, GOOD_TABLE },
		{ "over the end of RAM", { { RAM_END, -16ULL, 32, D_INDIRECT, 0 } }, GOOD_TABLE },
		{ "with a next",
		  { { TABLE, 0, 16, D_INDIRECT | D_NEXT, 1 }, { SCRATCH, 0, 16, 0, 0 } },
		  GOOD_TABLE },
		{ "inside itself",
		  { { TABLE, 0, 16, D_INDIRECT, 0 } },
		  { { TABLE, 0, 16, D_INDIRECT, 0 } } },
		{ "inside another",
		  { { TABLE, 0, 32, D_INDIRECT, 0 } },
		  { { SCRATCH, 0, 16, D_NEXT, 1 }, { TABLE, 32, 16, D_INDIRECT, 0 } } },
		{ "next behind its end",
		  { { TABLE, 0, 32, D_INDIRECT, 0 } },
		  { { SCRATCH, 0, 16, D_NEXT, 2 }, { 0 }, { SCRATCH, 0, 16, 0, 0 } } },
		{ "its own next",
		  { { TABLE, 0, 32, D_INDIRECT, 0 } },
		  { { SCRATCH, 0, 16, D_NEXT, 0 } } },
	};

	return break_with(d, chains, COUNT(chains));
}

static verdict indirect_not_negotiated(struct dev *d)
{
	static const struct chain chain = { "", { { TABLE, 0, 16, D_INDIRECT, 0 } }, GOOD_TABLE };

	dev_boot_with(d, d->offered & ~F_INDIRECT);
	put_chain(d, &chain);
	return expect_kick_breaks(d);
}

static verdict lengths(struct dev *d)
{
	static const struct chain chains[] = {
		{ "4 GiB", { { SCRATCH, 0, 0xffffffff, 0, 0 } }, { { 0 } } },
		{ "4 GiB to write", { { SCRATCH, 0, 0xffffffff, D_WRITE, 0 } }, { { 0 } } },
		{ "4 GiB three times",
		  { { RAM_START, 0, 0xffffffff, D_NEXT, 1 },
		    { RAM_START, 0, 0xffffffff, D_NEXT, 2 },
		    { RAM_START, 0, 0xffffffff, 0, 0 } },
		  { { 0 } } },
	};

	return break_with(d, chains, COUNT(chains));
}

/* Each buffer is in order; all of them are more than 4 GiB. */
static verdict sum_of_lengths(struct dev *d)
{
	volatile struct desc *table = dev_ptr(d, scratch(d));
	const struct port *port = d->m->port;
	const unsigned int n = 256;

	if (port->ram_size * n <= UINT32_MAX)
		return not_applicable;
	for (unsigned int is_writable = 0; is_writable < 2; is_writable++) {
		dev_boot(d);
		for (unsigned int i = 0; i < n; i++) {
			table[i].gpa = port->ram_gpa;
			table[i].len = (uint32_t)port->ram_size;
			table[i].flags =
				(uint16_t)((is_writable ? D_WRITE : 0) | (i + 1 < n ? D_NEXT : 0));
			table[i].next = (uint16_t)(i + 1);
		}
		dev_desc(d, 0, scratch(d), n * sizeof(*table), D_INDIRECT, 0);
		dev_offer(d, d->queue, 0);
		CHECK(expect_kick_breaks(d));
	}
	return NULL;
}

static verdict addresses(struct dev *d)
{
	static const struct chain chains[] = {
		{ "it wraps", { { NOWHERE, -8ULL, 16, 0, 0 } }, { { 0 } } },
		{ "it ends at 2^64", { { NOWHERE, -16ULL, 16, 0, 0 } }, { { 0 } } },
		{ "address 0", { { NOWHERE, 0, 16, 0, 0 } }, { { 0 } } },
		{ "2^63", { { NOWHERE, 1ULL << 63, 16, 0, 0 } }, { { 0 } } },
		{ "a device", { { NOWHERE, 0x40010000, 16, 0, 0 } }, { { 0 } } },
		{ "a device to write", { { NOWHERE, 0x40010000, 16, D_WRITE, 0 } }, { { 0 } } },
		{ "the end of RAM", { { RAM_END, 0, 1, 0, 0 } }, { { 0 } } },
		{ "over the end of RAM", { { RAM_END, -8ULL, 16, 0, 0 } }, { { 0 } } },
		{ "over it, to write", { { RAM_END, -8ULL, 16, D_WRITE, 0 } }, { { 0 } } },
		{ "before RAM", { { RAM_START, -8ULL, 16, 0, 0 } }, { { 0 } } },
		{ "all of RAM and a byte", { { RAM_START, 0, 0x80000001, 0, 0 } }, { { 0 } } },
	};

	return break_with(d, chains, COUNT(chains));
}

/* That one is in order. */
static verdict buffer_at_the_end_of_ram(struct dev *d)
{
	const struct buf bufs[] = { { ram_end(d) - 1, 1, d->kind == RNG } };
	struct used_elem used;

	/* One byte is a request of these alone. */
	if (d->kind == BLK || d->kind == VSOCK)
		return not_applicable;
	dev_boot(d);
	fill(dev_ptr(d, ram_end(d) - 1), '\n', 1);
	dev_add(d, d->queue, bufs, 1);
	return expect_served(d, &used);
}

static verdict written_before_read(struct dev *d)
{
	static const struct chain chains[] = {
		{ "write, read",
		  { { SCRATCH, 0, 16, D_WRITE | D_NEXT, 1 }, { SCRATCH, 16, 16, 0, 0 } },
		  { { 0 } } },
		{ "read, write, read",
		  { { SCRATCH, 0, 16, D_NEXT, 1 },
		    { SCRATCH, 16, 16, D_WRITE | D_NEXT, 2 },
		    { SCRATCH, 32, 16, 0, 0 } },
		  { { 0 } } },
		{ "in a table",
		  { { TABLE, 0, 32, D_INDIRECT, 0 } },
		  { { SCRATCH, 0, 16, D_WRITE | D_NEXT, 1 }, { SCRATCH, 16, 16, 0, 0 } } },
	};

	return break_with(d, chains, COUNT(chains));
}

static verdict empty_chain(struct dev *d)
{
	static const struct chain chains[] = {
		{ "", { { SCRATCH, 0, 0, 0, 0 } }, { { 0 } } },
		{ "", { { NOWHERE, 0, 0, D_WRITE, 0 } }, { { 0 } } },
		{ "", { { NOWHERE, 0, 0, D_NEXT, 1 }, { NOWHERE, 0, 0, D_WRITE, 0 } }, { { 0 } } },
		{ "", { { TABLE, 0, 16, D_INDIRECT, 0 } }, { { SCRATCH, 0, 0, 0, 0 } } },
	};

	for (unsigned int i = 0; i < COUNT(chains); i++) {
		dev_boot(d);
		put_chain(d, &chains[i]);
		CHECK(expect_served_or_broken(d));
	}
	return NULL;
}

/* ---- Q10 to Q17: times ---- */

/* Whether the first is in flight still when the second is seen depends on how fast the device is.
 */
static verdict same_head_twice(struct dev *d)
{
	dev_boot(d);
	good_put(d);
	dev_offer(d, d->queue, 0);
	if (d->kind == VSOCK)
		dev_kick(d, 0);
	return expect_served_or_broken(d);
}

/* A buffer at the end of RAM is in order or not by its length: to look twice is to step outside. */
static void rewrite(void *ctx)
{
	enum { LEN_MAX = 1200 };
	struct machine *m = ctx;
	const struct dev *d = &m->devs[0];
	const struct ring *ring = &d->rings[d->queue];
	const uint64_t places[] = {
		d->good_gpa,
		ram_end(d) - LEN_MAX / 2,
		UINT64_C(1) << 40,
	};
	uint32_t n = next_random(m);

	dev_desc(d, n % 4, places[n / 4 % 3], n / 16 % LEN_MAX, (uint16_t)(n / 32768 % 8),
		 (uint16_t)(n / 262144 % 6));
	ring->avail[2 + n % 8] = (uint16_t)(n / 8 % 5);
}

/* The answer may be any. Its bytes are races by design, so ThreadSanitizer is not shown this. */
static verdict rewritten_beside(struct dev *d)
{
	struct port *port = d->m->port;
	struct machine *m = dev_ptr(d, scratch(d));
	const uint8_t byte = d->kind == CONSOLE ? '\n' : 0xff;

	if (port->n_races == 0)
		return not_applicable;
	dev_boot(d);
	/* What becomes a disk's header by chance is about no sector. */
	fill(dev_ptr(d, d->good_gpa), byte, PAGE);
	fill(dev_ptr(d, ram_end(d) - PAGE), byte, PAGE);
	m->port = port;
	m->random = 99;
	m->devs[0] = *d;
	m->devs[0].m = m;
	if (!port->beside(port, rewrite, m))
		return not_applicable;
	for (unsigned int i = 0; i < often(d, 50); i++) {
		dev_boot(d);
		for (unsigned int n = 0; n < 8; n++) {
			dev_offer(d, d->queue, (uint16_t)(n % 4));
			good_kick(d);
			port->rest(port);
		}
	}
	(void)port->beside(port, NULL, NULL);
	return NULL;
}

static void toggle_length(void *ctx)
{
	const struct dev *d = ctx;
	volatile struct desc *desc = &d->rings[d->queue].desc[1];

	desc->len = desc->len == 1 ? 2 : 1;
}

/* The last byte of RAM, or one more: whoever looks at the length twice steps outside. */
static verdict length_beside(struct dev *d)
{
	const bool is_writable = d->kind == BLK || d->kind == RNG;
	const struct buf bufs[] = {
		{ scratch(d), d->kind == RNG ? 0 : 16, false },
		{ ram_end(d) - 1, 1, is_writable },
	};
	struct port *port = d->m->port;

	if (port->n_races == 0)
		return not_applicable;
	fill(dev_ptr(d, scratch(d)), d->kind == CONSOLE ? '\n' : 0, 16);
	fill(dev_ptr(d, ram_end(d) - 1), '\n', 1);
	/* A disk's request for its name, which needs no sector. */
	if (d->kind == BLK)
		fill(dev_ptr(d, scratch(d)), 8, 1);
	dev_boot(d);
	if (!port->beside(port, toggle_length, d))
		return not_applicable;
	for (unsigned int i = 0; i < port->n_races; i++) {
		verdict why;

		d->rings[d->queue].next_free = 0;
		dev_add(d, d->queue, bufs, COUNT(bufs));
		why = expect_served_or_broken(d);
		if (why != NULL) {
			(void)port->beside(port, NULL, NULL);
			return why;
		}
		if (dev_status(d) != READY)
			dev_boot(d);
	}
	(void)port->beside(port, NULL, NULL);
	return NULL;
}

static verdict random_events(struct dev *d)
{
	const struct ring *ring = &d->rings[d->queue];

	dev_boot_with(d, d->offered | F_EVENT_IDX);
	for (unsigned int i = 0; i < 30; i++) {
		ring->avail[2 + ring->size] = (uint16_t)next_random(d->m);
		ring->used[2 + 4 * ring->size] = (uint16_t)next_random(d->m);
		ring->avail[0] = (uint16_t)next_random(d->m);
		ring->used[0] = (uint16_t)next_random(d->m);
		CHECK(good(d));
	}
	return NULL;
}

static verdict used_index_changed(struct dev *d)
{
	struct ring *ring = &d->rings[d->queue];

	dev_boot(d);
	CHECK(good(d));
	/* It is the device's own to write, and is not read back. */
	ring->used[1] = 0x1234;
	good_put(d);
	good_kick(d);
	dev_rest(d);
	for (unsigned int i = 0; i < d->m->port->patience && ring->used[1] == 0x1234; i++)
		d->m->port->rest(d->m->port);
	REQUIRE(ring->used[1] == 2);
	return NULL;
}

static verdict ring_is_full(struct dev *d)
{
	struct used_elem used;
	unsigned int n;

	dev_boot(d);
	n = d->rings[d->queue].size / good_descs(d);
	for (unsigned int i = 0; i < n; i++)
		good_put(d);
	good_kick(d);
	for (unsigned int i = 0; i < n; i++)
		REQUIRE(dev_wait_used(d, d->queue, &used));
	good_kick(d);
	dev_rest(d);
	REQUIRE(!dev_take_used(d, d->queue, &used));
	return NULL;
}

/* Of all sizes that a queue of this device may have; with the fastest, past the end of 16 bits. */
static verdict indices_wrap(struct dev *d)
{
	enum { SMALL = 64, ALL = 0x10000 + 100 };
	struct used_elem used;
	uint16_t size_max = d->rings[0].size_max;

	for (uint16_t size = 1; size <= size_max; size = (uint16_t)(2 * size)) {
		const struct buf buf = { scratch(d), 1, true };
		unsigned int n = size == size_max ? ALL : SMALL * size;

		dev_negotiate(d, d->offered);
		dev_place(d, 0, size);
		REQUIRE(dev_set_queue(d, 0));
		dev_write(d, REG_STATUS, READY);
		for (unsigned int i = 0; i < n; i += size) {
			for (unsigned int k = 0; k < size; k++)
				dev_add(d, 0, &buf, 1);
			dev_kick(d, 0);
			for (unsigned int k = 0; k < size; k++)
				REQUIRE(dev_wait_used(d, 0, &used) && used.len == 1);
		}
	}
	return NULL;
}

const struct hostile_case queue_cases[] = {
	{ "Q01", EVERY, index_jumps, "the available index jumps" },
	{ "Q01", EVERY, index_jumps_back, "the available index goes back" },
	{ "Q02", EVERY, heads_past_the_table, "heads past the table" },
	{ "Q03", EVERY, next_nowhere_or_in_circles, "next past the table, or in circles" },
	{ "Q03", EVERY, full_circle, "a circle through the whole table" },
	{ "Q04", EVERY, too_many_buffers, "more buffers than a chain may have" },
	{ "Q05", EVERY, indirect, "indirect tables that cannot be" },
	{ "Q05", EVERY, indirect_not_negotiated, "an indirect table that was not agreed on" },
	{ "Q06", EVERY, empty_chain, "chains without a byte" },
	{ "Q07", EVERY, lengths, "lengths beyond RAM" },
	{ "Q07", EVERY, sum_of_lengths, "more than 4 GiB in all" },
	{ "Q08", EVERY, addresses, "addresses that are not RAM" },
	{ "Q08", EVERY, buffer_at_the_end_of_ram, "a buffer that ends where RAM does" },
	{ "Q09", EVERY, written_before_read, "what is written before what is read" },
	{ "Q10", EVERY, same_head_twice, "the same head twice" },
	{ "Q11", EVERY, rewritten_beside, "descriptors rewritten by another processor" },
	{ "Q11", EVERY, length_beside, "a length that another processor changes" },
	{ "Q12", EVERY, used_index_changed, "the used index written by the driver" },
	{ "Q13", EVERY, random_events, "random event indices and flags" },
	{ "Q14", EVERY, ring_is_full, "a full ring" },
	{ "Q15", RNG, indices_wrap, "indices that wrap, queues of all sizes" },
	{ NULL, EVERY, NULL, NULL },
};
