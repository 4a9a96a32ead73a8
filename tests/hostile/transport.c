/*
 * Section T: the bus and the registers of virtio-mmio.
 *
 * Not here: T02 and T01 at odd addresses where KVM is, which ends a guest that does that by itself.
 */
#include "hostile.h"

static const unsigned int widths[] = { 1, 2, 4, 8 };

/* ---- T01 to T05: accesses ---- */

static verdict odd_reads(struct dev *d)
{
	for (unsigned int reg = 0; reg < REG_CONFIG; reg += 8) {
		uint64_t both = dev_read(d, reg) | (uint64_t)dev_read(d, reg + 4) << 32;

		for (unsigned int i = 0; i < COUNT(widths); i++)
			REQUIRE(dev_read_len(d, reg, widths[i]) ==
				(both & UINT64_MAX >> (64 - 8 * widths[i])));
	}
	for (unsigned int reg = 1; d->m->port->can_misalign && reg < 4; reg++)
		REQUIRE(dev_read(d, reg) == (uint32_t)(dev_read_len(d, 0, 8) >> (8 * reg)));
	return NULL;
}

static verdict odd_writes(struct dev *d)
{
	dev_negotiate(d, 0);
	for (unsigned int i = 0; i < COUNT(widths); i++) {
		if (widths[i] != 4)
			dev_write_len(d, REG_STATUS, widths[i], 0);
	}
	for (unsigned int off = 1; d->m->port->can_misalign && off < 4; off++)
		dev_write(d, REG_STATUS + off, 0);
	REQUIRE(dev_status(d) == NEGOTIATED);
	return NULL;
}

static verdict end_of_the_window(struct dev *d)
{
	REQUIRE(dev_read_len(d, WINDOW_SIZE - 8, 8) == 0);
	dev_write_len(d, WINDOW_SIZE - 8, 8, UINT64_MAX);
	if (!d->m->port->can_misalign)
		return NULL;
	REQUIRE(dev_read_len(d, WINDOW_SIZE - 4, 8) == UINT64_MAX);
	REQUIRE(dev_read_len(d, WINDOW_SIZE - 1, 2) == UINT16_MAX);
	dev_write_len(d, WINDOW_SIZE - 4, 8, 0);
	return NULL;
}

static verdict hole(struct dev *d)
{
	struct port *port = d->m->port;
	uint64_t gpa = port->mmio_gpa + (uint64_t)SLOTS_MAX * WINDOW_SIZE;

	for (unsigned int n = 0; n < 200; n++) {
		for (unsigned int i = 0; i < COUNT(widths); i++) {
			port->write(port, gpa, widths[i], n);
			REQUIRE(port->read(port, gpa, widths[i]) ==
				UINT64_MAX >> (64 - 8 * widths[i]));
		}
	}
	return NULL;
}

static verdict config_past_its_end(struct dev *d)
{
	static const unsigned int offsets[] = { 0x40, 0x80, 0xef8 };
	uint64_t before = dev_read_len(d, REG_CONFIG, 8);

	for (unsigned int i = 0; i < COUNT(offsets) * COUNT(widths); i++) {
		unsigned int reg = REG_CONFIG + offsets[i / COUNT(widths)];
		unsigned int len = widths[i % COUNT(widths)];

		dev_write_len(d, reg, len, UINT64_MAX);
		REQUIRE(dev_read_len(d, reg, len) == 0);
	}
	REQUIRE(dev_read_len(d, REG_CONFIG, 8) == before);
	return NULL;
}

static verdict config_in_any_width(struct dev *d)
{
	uint64_t bytes = 0;
	uint64_t words = 0;

	for (unsigned int i = 0; i < 8; i++)
		bytes |= dev_read_len(d, REG_CONFIG + i, 1) << (8 * i);
	for (unsigned int i = 0; i < 8; i += 2)
		words |= dev_read_len(d, REG_CONFIG + i, 2) << (8 * i);
	REQUIRE(bytes == words);
	REQUIRE(bytes == dev_read_len(d, REG_CONFIG, 8));
	return NULL;
}

static verdict read_only_registers(struct dev *d)
{
	static const unsigned int regs[] = {
		REG_MAGIC,
		REG_VERSION,
		REG_DEVICE_ID,
		REG_VENDOR_ID,
		REG_DEVICE_FEATURES,
		REG_QUEUE_SIZE_MAX,
		REG_INTERRUPT_STATUS,
		REG_CONFIG_GENERATION,
	};

	for (unsigned int i = 0; i < COUNT(regs); i++) {
		uint32_t before = dev_read(d, regs[i]);

		dev_write(d, regs[i], ~before);
		REQUIRE(dev_read(d, regs[i]) == before);
	}
	return NULL;
}

static verdict write_only_registers(struct dev *d)
{
	static const unsigned int regs[] = {
		REG_DEVICE_FEATURES_SEL,
		REG_DRIVER_FEATURES,
		REG_DRIVER_FEATURES_SEL,
		REG_QUEUE_SEL,
		REG_QUEUE_SIZE,
		REG_QUEUE_NOTIFY,
		REG_INTERRUPT_ACK,
		REG_QUEUE_DESC,
		REG_QUEUE_DESC + 4,
		REG_QUEUE_DRIVER,
		REG_QUEUE_DEVICE,
		0x18,
		0xf8,
	};

	for (unsigned int i = 0; i < COUNT(regs); i++)
		REQUIRE(dev_read(d, regs[i]) == 0);
	return NULL;
}

/* ---- T06 to T11: queues ---- */

static verdict no_such_queue(struct dev *d)
{
	const uint32_t numbers[] = { d->n_queues, 0xffff, 0x10000, 0x80000000, 0xffffffff };

	dev_almost_boot(d, d->offered);
	for (unsigned int i = 0; i < COUNT(numbers); i++) {
		dev_write(d, REG_QUEUE_SEL, numbers[i]);
		REQUIRE(dev_read(d, REG_QUEUE_SIZE_MAX) == 0);
		for (unsigned int reg = REG_QUEUE_SIZE_MAX; reg < 0xb0; reg += 4) {
			if (reg < REG_QUEUE_NOTIFY || reg >= REG_QUEUE_DESC)
				dev_write(d, reg, 1);
		}
		REQUIRE(dev_read(d, REG_QUEUE_READY) == 0);
	}
	dev_write(d, REG_STATUS, READY);
	return good(d);
}

static verdict notify_no_such_queue(struct dev *d)
{
	const uint32_t numbers[] = { d->n_queues, 0xffff, 0x10000, 0x80000000, 0xffffffff };

	dev_boot(d);
	for (unsigned int i = 0; i < COUNT(numbers); i++)
		dev_write(d, REG_QUEUE_NOTIFY, numbers[i]);
	return good(d);
}

static void kick_all(const struct dev *d)
{
	for (unsigned int i = 0; i < d->n_queues; i++)
		dev_kick(d, i);
}

/* Q17 too */
static verdict notify_too_early(struct dev *d)
{
	dev_reset(d);
	kick_all(d);
	dev_negotiate(d, d->offered);
	kick_all(d);
	dev_almost_boot(d, d->offered);
	kick_all(d);
	dev_rest(d);
	dev_write(d, REG_STATUS, READY);
	return good(d);
}

static verdict notify_after_failed(struct dev *d)
{
	struct used_elem used;

	dev_boot(d);
	dev_write(d, REG_STATUS, READY | FAILED);
	good_put(d);
	kick_all(d);
	dev_rest(d);
	REQUIRE(!dev_take_used(d, d->queue, &used));
	return NULL;
}

static verdict notify_without_end(struct dev *d)
{
	dev_boot(d);
	for (unsigned int i = 0; i < often(d, 5000); i++)
		dev_kick(d, i % d->n_queues);
	return good(d);
}

static verdict queue_sizes(struct dev *d)
{
	static const uint32_t sizes[] = { 0,      3,       255,         257,        512,
					  0xffff, 0x10000, 0x10000 + 8, 0x80000000, 0xffffffff };

	for (unsigned int i = 0; i < COUNT(sizes); i++) {
		dev_negotiate(d, d->offered);
		dev_place(d, d->queue, 8);
		dev_set_queue(d, d->queue); /* too late for the next line, so again: */
		dev_negotiate(d, d->offered);
		dev_write(d, REG_QUEUE_SEL, d->queue);
		dev_write(d, REG_QUEUE_DESC, (uint32_t)d->rings[d->queue].desc_gpa);
		dev_write(d, REG_QUEUE_DRIVER, (uint32_t)d->rings[d->queue].avail_gpa);
		dev_write(d, REG_QUEUE_DEVICE, (uint32_t)d->rings[d->queue].used_gpa);
		dev_write(d, REG_QUEUE_SIZE, sizes[i]);
		dev_write(d, REG_QUEUE_READY, 1);
		REQUIRE(dev_read(d, REG_QUEUE_READY) == 0);
		dev_write(d, REG_STATUS, READY);
		CHECK(expect_broken(d));
	}
	return NULL;
}

static verdict refuses_rings(struct dev *d, uint64_t desc, uint64_t avail, uint64_t used)
{
	struct ring *ring = &d->rings[d->queue];
	const struct ring before = *ring;
	bool is_ready;

	dev_negotiate(d, d->offered);
	ring->size = 16;
	ring->desc_gpa = desc;
	ring->avail_gpa = avail;
	ring->used_gpa = used;
	is_ready = dev_set_queue(d, d->queue);
	*ring = before;
	REQUIRE(!is_ready);
	dev_write(d, REG_STATUS, READY);
	return expect_broken(d);
}

static verdict ring_places(struct dev *d)
{
	const uint64_t ok = scratch(d);
	const uint64_t bad[] = {
		ok + 1,
		0,
		d->m->port->mmio_gpa,
		d->gpa,
		ram_end(d),
		ram_end(d) - 16,
		ram_end(d) + PAGE,
		d->m->port->ram_gpa - 16,
		UINT64_C(1) << 40,
		UINT64_C(1) << 63,
		UINT64_MAX - 15,
		UINT64_MAX - 255,
	};

	for (unsigned int i = 0; i < COUNT(bad); i++) {
		CHECK(refuses_rings(d, bad[i], ok, ok));
		CHECK(refuses_rings(d, ok, bad[i], ok));
		CHECK(refuses_rings(d, ok, ok, bad[i]));
	}
	CHECK(refuses_rings(d, ok + 8, ok, ok));
	return refuses_rings(d, ok, ok, ok + 2);
}

static verdict rings_at_the_end_of_ram(struct dev *d)
{
	struct ring *ring = &d->rings[d->queue];
	const uint64_t size = 8;
	verdict why;

	dev_negotiate(d, d->offered);
	for (unsigned int i = 0; i < d->n_queues; i++) {
		dev_place(d, i, (uint16_t)size);
		if (i != d->queue)
			dev_set_queue(d, i);
	}
	ring->used_gpa = ram_end(d) - ((4 + 8 * size + 2 + 3) & ~UINT64_C(3));
	ring->used = dev_ptr(d, ring->used_gpa);
	fill(dev_ptr(d, ring->used_gpa), 0, (size_t)(ram_end(d) - ring->used_gpa));
	REQUIRE(dev_set_queue(d, d->queue));
	dev_write(d, REG_STATUS, READY);
	for (unsigned int i = 0; i < 20; i++) {
		why = good(d);
		if (why != NULL)
			return why;
	}
	return NULL;
}

/* Q12 too: which ring is written over which does not matter; nobody is hurt but this driver. */
static verdict rings_over_each_other(struct dev *d)
{
	const struct ring own = d->rings[d->queue];
	const uint64_t places[][3] = {
		{ 0, 0, 0 }, { 0, PAGE, 0 }, { 0, 0, PAGE }, { 0, PAGE, PAGE }, { 0, 16, 32 },
	};

	for (unsigned int i = 0; i < COUNT(places); i++) {
		struct ring *ring = &d->rings[d->queue];

		dev_almost_boot(d, d->offered);
		dev_negotiate(d, d->offered);
		ring->size = 16;
		ring->desc_gpa = scratch(d) + places[i][0];
		ring->avail_gpa = scratch(d) + places[i][1];
		ring->used_gpa = scratch(d) + places[i][2];
		REQUIRE(dev_set_queue(d, d->queue));
		*ring = own;
		dev_write(d, REG_STATUS, READY);
		for (unsigned int n = 0; n < 20; n++) {
			volatile uint16_t *words = dev_ptr(d, scratch(d) + places[i][1]);

			words[1]++;
			dev_kick(d, d->queue);
			dev_rest(d);
		}
	}
	return NULL;
}

static verdict requests_over_rings(struct dev *d)
{
	dev_boot(d);
	/* The table is what is read and written, in that order. */
	dev_desc(d, 0, d->rings[d->queue].desc_gpa, 64, D_NEXT, 1);
	dev_desc(d, 1, d->rings[d->queue].desc_gpa, 2 * PAGE, D_WRITE, 0);
	dev_offer(d, d->queue, 0);
	dev_kick(d, d->queue);
	dev_rest(d);
	return NULL;
}

static verdict queue_registers_when_ready(struct dev *d)
{
	dev_boot(d);
	for (unsigned int queue = 0; queue < d->n_queues; queue++) {
		dev_write(d, REG_QUEUE_SEL, queue);
		dev_write(d, REG_QUEUE_SIZE, 2);
		for (unsigned int reg = REG_QUEUE_DESC; reg < 0xb0; reg += 4)
			dev_write(d, reg, 0xdeadbeef);
		dev_write(d, REG_QUEUE_READY, 0);
		REQUIRE(dev_read(d, REG_QUEUE_READY) == 1);
		dev_write(d, REG_QUEUE_READY, 1);
	}
	REQUIRE(dev_status(d) == READY);
	return good(d);
}

/* ---- T12, T13: status and features ---- */

static verdict status_steps(struct dev *d)
{
	enum { RESTART = 0x100 };
	static const struct {
		uint32_t write;
		uint32_t then;
	} steps[] = {
		{ RESTART, 0 },
		{ DRIVER, 0 },
		{ DRIVER_OK, 0 },
		{ FEATURES_OK, 0 },
		{ READY, 0 },
		{ 16, 0 },
		{ NEEDS_RESET, 0 },
		{ 0xffffff01, 0 },
		{ ACKNOWLEDGE, ACKNOWLEDGE },
		{ ACKNOWLEDGE | FEATURES_OK, ACKNOWLEDGE },
		{ ACKNOWLEDGE | DRIVER, ACKNOWLEDGE | DRIVER },
		{ ACKNOWLEDGE, ACKNOWLEDGE | DRIVER },
		{ ACKNOWLEDGE | DRIVER | 16, ACKNOWLEDGE | DRIVER },
		{ ACKNOWLEDGE | DRIVER | 0x100, ACKNOWLEDGE | DRIVER },
		{ ACKNOWLEDGE | DRIVER | DRIVER_OK, ACKNOWLEDGE | DRIVER },
		{ READY, ACKNOWLEDGE | DRIVER },
		/* without VERSION_1 */
		{ NEGOTIATED, ACKNOWLEDGE | DRIVER },
		{ ACKNOWLEDGE | DRIVER | FAILED, ACKNOWLEDGE | DRIVER | FAILED },
		{ NEGOTIATED, ACKNOWLEDGE | DRIVER | FAILED },
		{ NEGOTIATED | FAILED, ACKNOWLEDGE | DRIVER | FAILED },
		{ RESTART, 0 },
	};

	for (unsigned int i = 0; i < COUNT(steps); i++) {
		dev_write(d, REG_STATUS, steps[i].write == RESTART ? 0 : steps[i].write);
		REQUIRE(dev_status(d) == steps[i].then);
	}
	return NULL;
}

static verdict ready_twice(struct dev *d)
{
	dev_boot(d);
	dev_write(d, REG_STATUS, READY);
	dev_write(d, REG_STATUS, NEGOTIATED);
	dev_write(d, REG_STATUS, ACKNOWLEDGE);
	REQUIRE(dev_status(d) == READY);
	return good(d);
}

static verdict features_not_offered(struct dev *d)
{
	for (unsigned int i = 0; i < 64; i++) {
		if ((d->offered & (UINT64_C(1) << i)) == 0)
			REQUIRE(!dev_negotiate(d, UINT64_C(1) << i));
	}
	return NULL;
}

static verdict features_too_late(struct dev *d)
{
	dev_almost_boot(d, d->offered);
	for (unsigned int i = 0; i < 2; i++) {
		dev_write(d, REG_DRIVER_FEATURES_SEL, i);
		dev_write(d, REG_DRIVER_FEATURES, 0);
	}
	REQUIRE(dev_status(d) == NEGOTIATED);
	dev_write(d, REG_STATUS, READY);
	return good(d);
}

static verdict features_of_no_half(struct dev *d)
{
	static const uint32_t halves[] = { 2, 3, 32, 0x80000000, 0xffffffff };

	dev_reset(d);
	dev_write(d, REG_STATUS, ACKNOWLEDGE | DRIVER);
	dev_write(d, REG_DRIVER_FEATURES_SEL, 1);
	dev_write(d, REG_DRIVER_FEATURES, F_VERSION_1 >> 32);
	for (unsigned int i = 0; i < COUNT(halves); i++) {
		dev_write(d, REG_DEVICE_FEATURES_SEL, halves[i]);
		REQUIRE(dev_read(d, REG_DEVICE_FEATURES) == 0);
		dev_write(d, REG_DRIVER_FEATURES_SEL, halves[i]);
		dev_write(d, REG_DRIVER_FEATURES, 0xffffffff);
	}
	dev_write(d, REG_STATUS, NEGOTIATED);
	REQUIRE(dev_status(d) == NEGOTIATED);
	return NULL;
}

/* ---- T14, T15, T18: times ---- */

static void kick_beside(void *ctx)
{
	const struct dev *d = ctx;

	kick_all(d);
}

static verdict reset_storm(struct dev *d)
{
	struct port *port = d->m->port;

	(void)port->beside(port, kick_beside, d);
	for (unsigned int i = 0; i < often(d, 100); i++) {
		dev_boot(d);
		good_put(d);
		good_put(d);
		good_kick(d);
		dev_reset(d);
	}
	for (unsigned int i = 0; i < often(d, 1000); i++)
		dev_reset(d);
	(void)port->beside(port, NULL, NULL);
	return NULL;
}

static verdict early_kick(struct dev *d)
{
	dev_almost_boot(d, d->offered);
	good_put(d);
	good_kick(d);
	dev_rest(d);
	dev_write(d, REG_STATUS, READY);
	return good_get(d);
}

/* No address is written: a driver at random would place rings over the cases' own memory. */
static void hammer(void *ctx)
{
	static const unsigned int regs[] = {
		REG_MAGIC,           REG_DEVICE_FEATURES_SEL, REG_DEVICE_FEATURES,
		REG_DRIVER_FEATURES, REG_DRIVER_FEATURES_SEL, REG_QUEUE_SEL,
		REG_QUEUE_SIZE_MAX,  REG_QUEUE_SIZE,          REG_QUEUE_READY,
		REG_QUEUE_NOTIFY,    REG_INTERRUPT_STATUS,    REG_INTERRUPT_ACK,
		REG_STATUS,          REG_CONFIG_GENERATION,   REG_CONFIG,
		REG_CONFIG + 4,
	};
	static const uint32_t values[] = { 0, 1, 2, 3, ACKNOWLEDGE, NEGOTIATED, READY, FAILED };
	struct machine *m = ctx; /* a copy of its own: the numbers differ */
	const struct dev *d = &m->devs[0];
	uint32_t n = next_random(m);

	dev_write(d, regs[n % COUNT(regs)], values[n / 256 % COUNT(values)]);
	(void)dev_read(d, regs[n / 4096 % COUNT(regs)]);
}

/* Kept where no stack is large enough for it. */
static struct machine *other_machine(const struct dev *d)
{
	struct machine *m = dev_ptr(d, scratch(d));

	_Static_assert(sizeof(*m) <= SCRATCH_SIZE, "fits");
	m->port = d->m->port;
	m->random = 77;
	m->devs[0] = *d;
	m->devs[0].m = m;
	return m;
}

static verdict two_at_once(struct dev *d)
{
	struct port *port = d->m->port;

	if (!port->beside(port, hammer, other_machine(d)))
		return not_applicable;
	for (unsigned int i = 0; i < often(d, 100); i++) {
		dev_boot(d);
		good_put(d);
		good_kick(d);
		(void)dev_status(d);
		(void)dev_read_len(d, REG_INTERRUPT_STATUS, 8);
		port->rest(port);
	}
	(void)port->beside(port, NULL, NULL);
	return NULL;
}

/* ---- T16, T17 ---- */

static verdict interrupts_never_raised(struct dev *d)
{
	dev_boot(d);
	for (unsigned int i = 0; i < often(d, 1000); i++) {
		dev_write(d, REG_INTERRUPT_ACK, 0xffffffff << (i % 32));
		REQUIRE(dev_read(d, REG_INTERRUPT_STATUS) <= ISR_QUEUE);
	}
	return good(d);
}

static verdict config_generation(struct dev *d)
{
	uint32_t generation = dev_read(d, REG_CONFIG_GENERATION);

	dev_boot(d);
	CHECK(good(d));
	dev_write_len(d, REG_CONFIG, 4, 0xffffffff);
	REQUIRE(dev_read(d, REG_CONFIG_GENERATION) == generation);
	return NULL;
}

const struct hostile_case transport_cases[] = {
	{ "T01", EVERY, odd_reads, "registers read in other widths" },
	{ "T01", EVERY, odd_writes, "registers written in other widths" },
	{ "T02", EVERY, end_of_the_window, "accesses at the end of the window" },
	{ "T03", EVERY, hole, "accesses where nothing is" },
	{ "T04", EVERY, config_past_its_end, "configuration past its end" },
	{ "T04", EVERY, config_in_any_width, "configuration in any width" },
	{ "T05", EVERY, read_only_registers, "writes to registers to be read" },
	{ "T05", EVERY, write_only_registers, "reads of registers to be written" },
	{ "T06", EVERY, no_such_queue, "queues that are not" },
	{ "T07", EVERY, notify_no_such_queue, "notifications of queues that are not" },
	{ "T07", EVERY, notify_too_early, "notifications before DRIVER_OK" },
	{ "T07", EVERY, notify_after_failed, "notifications after FAILED" },
	{ "T07", EVERY, notify_without_end, "notifications without end" },
	{ "T08", EVERY, queue_sizes, "sizes that no queue has" },
	{ "T09", EVERY, ring_places, "rings where they cannot be" },
	{ "T09", EVERY, rings_at_the_end_of_ram, "a ring that ends where RAM does" },
	{ "T10", EVERY, rings_over_each_other, "rings over each other" },
	{ "T10", EVERY, requests_over_rings, "a request that is the descriptor table" },
	{ "T11", EVERY, queue_registers_when_ready, "queue registers after DRIVER_OK" },
	{ "T12", EVERY, status_steps, "steps of the status that none takes" },
	{ "T12", EVERY, ready_twice, "DRIVER_OK twice, and bits cleared" },
	{ "T13", EVERY, features_not_offered, "features that are not offered" },
	{ "T13", EVERY, features_too_late, "features after FEATURES_OK" },
	{ "T13", EVERY, features_of_no_half, "features beyond the 64" },
	{ "T14", EVERY, reset_storm, "resets with requests in flight" },
	{ "T15", EVERY, early_kick, "a notification just before DRIVER_OK" },
	{ "T16", EVERY, interrupts_never_raised, "acknowledging what was not raised" },
	{ "T17", EVERY, config_generation, "the generation of what does not change" },
	{ "T18", EVERY, two_at_once, "two processors at the same registers" },
	{ NULL, EVERY, NULL, NULL },
};
