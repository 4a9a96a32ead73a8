/*
 * Entropy (C06), balloon (M), console and keyboard.
 */
#include "hostile.h"

/* ---- rng ---- */

static verdict random_without_end(struct dev *d)
{
	enum { N = 15, EACH = 1 << 19, LIMIT = 65536 };
	struct buf bufs[N];
	struct used_elem used;

	dev_boot(d);
	for (unsigned int i = 0; i < N; i++)
		bufs[i] = (struct buf){ scratch(d), EACH, true };
	dev_add(d, 0, bufs, N);
	CHECK(expect_served(d, &used));
	REQUIRE(used.len >= 1 && used.len <= LIMIT);
	return NULL;
}

static verdict random_for_no_room(struct dev *d)
{
	const struct buf chains[][2] = {
		{ { scratch(d), 64, false }, { scratch(d), 0, true } },
		{ { scratch(d), 64, false }, { scratch(d), 64, true } },
		{ { scratch(d), 0, true }, { scratch(d), 0, true } },
	};

	for (unsigned int i = 0; i < COUNT(chains); i++) {
		dev_boot(d);
		dev_add(d, 0, chains[i], 2);
		CHECK(expect_kick_breaks(d));
	}
	return NULL;
}

/* ---- balloon ---- */

enum { INFLATE = 0, DEFLATE = 1, STATS = 2, ACTUAL = 4, AT_PAGES = 512 << 10 };

#define F_STATS     (UINT64_C(1) << 1)
#define F_REPORTING (UINT64_C(1) << 5)

static verdict give_pages(struct dev *d, unsigned int queue, uint32_t n, bool is_writable)
{
	const struct buf buf = { scratch(d), n * 4, is_writable };
	struct used_elem used;

	dev_add(d, queue, &buf, 1);
	dev_kick(d, queue);
	REQUIRE(dev_wait_used(d, queue, &used));
	return NULL;
}

static verdict pages_that_are_not(struct dev *d)
{
	volatile uint32_t *pfns = dev_ptr(d, scratch(d));
	const uint32_t bad[] = {
		0,
		1,
		(uint32_t)(d->m->port->mmio_gpa / PAGE),
		(uint32_t)(d->m->port->ram_gpa / PAGE - 1),
		(uint32_t)(ram_end(d) / PAGE),
		0x100000,
		0x7fffffff,
		0x80000000,
		0xffffffff,
	};

	dev_boot(d);
	for (unsigned int i = 0; i < COUNT(bad); i++)
		pfns[i] = bad[i];
	CHECK(give_pages(d, INFLATE, COUNT(bad), false));
	return give_pages(d, DEFLATE, COUNT(bad), false);
}

static verdict pages_again_and_again(struct dev *d)
{
	enum { N = 20000 };
	volatile uint32_t *pfns = dev_ptr(d, scratch(d));
	volatile uint8_t *page = dev_ptr(d, scratch(d) + AT_PAGES);

	dev_boot(d);
	for (unsigned int i = 0; i < N; i++)
		pfns[i] = (uint32_t)((scratch(d) + AT_PAGES) / PAGE + i % 2);
	*page = 1;
	CHECK(give_pages(d, INFLATE, N, false));
	REQUIRE(*page == 0);
	CHECK(give_pages(d, DEFLATE, N, false));
	/* more than were given */
	return give_pages(d, DEFLATE, N, false);
}

/* Q16: they are zeros then, or as they were; whoever uses them is at fault, and nobody else. */
static verdict rings_given_away(struct dev *d)
{
	struct machine *m = d->m;
	volatile uint32_t *pfns = dev_ptr(d, scratch(d));

	for (unsigned int i = 0; i < m->n_devs; i++) {
		struct dev *other = &m->devs[i];
		verdict why = NULL;

		dev_boot(d);
		dev_boot(other);
		for (unsigned int k = 0; k < 3; k++)
			pfns[k] = (uint32_t)(other->rings[other->queue].desc_gpa / PAGE + k);
		if (other != d)
			why = give_pages(d, INFLATE, 3, false);
		else
			(void)give_pages(d, INFLATE, 3, false);
		good_put(other);
		good_kick(other);
		dev_rest(other);
		dev_boot(other);
		if (why != NULL || good(other) != NULL)
			return why != NULL ? why : "it did not get over it";
	}
	return NULL;
}

static verdict odd_lists(struct dev *d)
{
	struct used_elem used;

	dev_boot(d);
	for (uint32_t len = 0; len < 8; len++) {
		const struct buf buf = { scratch(d), len, false };

		dev_add(d, INFLATE, &buf, 1);
		CHECK(expect_served(d, &used));
	}
	/* Nothing to read at all. */
	return give_pages(d, INFLATE, 100, true);
}

static verdict odd_statistics(struct dev *d)
{
	static const uint32_t lens[] = { 1, 9, 10, 11, 1000, SCRATCH_SIZE };
	struct used_elem used;

	if ((d->offered & F_STATS) == 0)
		return not_applicable;
	dev_boot(d);
	fill(dev_ptr(d, scratch(d)), 0xff, PAGE);
	/* There is to be one buffer. Of these, each comes back when the next is there. */
	for (unsigned int i = 0; i < COUNT(lens); i++) {
		const struct buf buf = { scratch(d), lens[i], false };

		dev_add(d, STATS, &buf, 1);
		dev_kick(d, STATS);
		if (i > 0)
			REQUIRE(dev_wait_used(d, STATS, &used));
	}
	return good(d);
}

static verdict odd_reports(struct dev *d)
{
	const unsigned int queue = d->n_queues - 1;
	const struct buf bufs[] = {
		{ scratch(d) + AT_PAGES + 1, 2 * PAGE, true },
		{ scratch(d) + AT_PAGES, 1, true },
		{ scratch(d) + AT_PAGES, 0, true },
		{ scratch(d) + AT_PAGES, PAGE, false },
		{ ram_end(d) - PAGE, PAGE, true },
		{ ram_end(d) - 1, 1, true },
	};
	volatile uint8_t *around = dev_ptr(d, scratch(d) + AT_PAGES);
	const struct buf past = { ram_end(d) - PAGE, 2 * PAGE, true };
	struct used_elem used;

	if ((d->offered & F_REPORTING) == 0)
		return not_applicable;
	dev_boot(d);
	*around = 1;
	for (unsigned int i = 0; i < COUNT(bufs); i++) {
		dev_add(d, queue, &bufs[i], 1);
		dev_kick(d, queue);
		REQUIRE(dev_wait_used(d, queue, &used));
	}
	REQUIRE(*around == 1);
	dev_add(d, queue, &past, 1);
	dev_kick(d, queue);
	return expect_broken(d);
}

static verdict actual_is_nonsense(struct dev *d)
{
	uint64_t target = dev_read(d, REG_CONFIG);

	dev_boot(d);
	dev_write(d, REG_CONFIG + ACTUAL, 0xffffffff);
	REQUIRE(dev_read(d, REG_CONFIG + ACTUAL) == 0xffffffff);
	dev_write(d, REG_CONFIG, 0x1234);
	dev_write_len(d, REG_CONFIG, 8, 0);
	dev_write(d, REG_CONFIG + 8, 7);
	REQUIRE(dev_read(d, REG_CONFIG) == target);
	REQUIRE(dev_read(d, REG_CONFIG + 8) == 0);
	return good(d);
}

/* ---- keyboard ---- */

static verdict states_to_be_written(struct dev *d)
{
	const struct buf chains[][2] = {
		{ { scratch(d), 8, false }, { scratch(d), 8, true } },
		{ { scratch(d), 8, true }, { scratch(d), 8, true } },
	};

	for (unsigned int i = 0; i < COUNT(chains); i++) {
		dev_boot(d);
		dev_add(d, d->queue, chains[i], 2);
		CHECK(expect_kick_breaks(d));
	}
	return NULL;
}

static verdict selectors_of_all_kinds(struct dev *d)
{
	enum { ROOM = 56 };

	dev_boot(d);
	for (uint32_t select = 0; select < 65536; select += 257) {
		dev_write_len(d, REG_CONFIG, 2, select);
		REQUIRE((dev_read(d, REG_CONFIG) >> 16 & 0xff) <= ROOM);
	}
	dev_write_len(d, REG_CONFIG, 8, UINT64_MAX);
	dev_write_len(d, REG_CONFIG + 4, 8, UINT64_MAX);
	REQUIRE(dev_read(d, REG_CONFIG) == 0xffff);
	return good(d);
}

/* ---- console ---- */

static verdict output_to_be_written(struct dev *d)
{
	const struct buf bufs[] = { { scratch(d), 1, false }, { scratch(d), 16, true } };

	fill(dev_ptr(d, scratch(d)), '\n', 1);
	for (unsigned int first = 0; first < 2; first++) {
		dev_boot(d);
		dev_add(d, d->queue, bufs + first, COUNT(bufs) - first);
		CHECK(expect_kick_breaks(d));
	}
	return NULL;
}

static verdict output_in_pieces(struct dev *d)
{
	struct used_elem used;
	uint16_t size;

	dev_boot(d);
	size = d->rings[d->queue].size;
	fill(dev_ptr(d, scratch(d)), '\n', size);
	for (uint16_t i = 0; i < size; i++)
		dev_desc(d, i, scratch(d) + i, i % 2, i + 1 < size ? D_NEXT : 0, (uint16_t)(i + 1));
	dev_offer(d, d->queue, 0);
	return expect_served(d, &used);
}

const struct hostile_case other_cases[] = {
	{ "C06", RNG, random_without_end, "a request without end" },
	{ "C06", RNG, random_for_no_room, "requests without room, or to be read" },
	{ "M01", BALLOON, pages_that_are_not, "pages that are no RAM" },
	{ "M01", BALLOON, pages_again_and_again, "the same pages again and again" },
	{ "M01", BALLOON, odd_lists, "lists that are not of whole numbers" },
	{ "Q16", BALLOON, rings_given_away, "rings given away while in use" },
	{ "M02", BALLOON, odd_reports, "reports of parts of pages, and past the end of RAM" },
	{ "M03", BALLOON, odd_statistics, "statistics of any length, and too many" },
	{ "K01", INPUT, states_to_be_written, "states of lights, to be written" },
	{ "K02", INPUT, selectors_of_all_kinds, "selectors of all kinds" },
	{ "M04", BALLOON, actual_is_nonsense, "nonsense in the configuration" },
	{ "C01", CONSOLE, output_to_be_written, "output in buffers to be written" },
	{ "C01", CONSOLE, output_in_pieces, "output in pieces and empty buffers" },
	{ NULL, EVERY, NULL, NULL },
};
