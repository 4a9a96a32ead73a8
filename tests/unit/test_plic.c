#include "rig.h"
#include "riscv/plic.h"
#include "test.h"
#include "util/assert.h"
#include "util/bits.h"

#include <pthread.h>
#include <sched.h>

enum { PENDING = 0x1000 };

struct machine {
	struct plic plic;
	struct rig_mmio mmio;
	_Atomic bool asserted[PLIC_MAX_HARTS];
	_Atomic unsigned int n_changes;
};

static void set_hart(void *ctx, unsigned int hart, bool asserted)
{
	struct machine *machine = ctx;

	bool before = atomic_exchange(&machine->asserted[hart], asserted);

	/* Told of changes, and of what is still asserted. */
	ASSERT(before || asserted);
	if (before != asserted)
		machine->n_changes++;
}

static void set_up(struct machine *machine, unsigned int n_harts, unsigned int n_sources)
{
	*machine = (struct machine){ .mmio = { &plic_mmio_ops, &machine->plic } };
	plic_init(&machine->plic, n_harts, n_sources, set_hart, machine);
}

static void tear_down(struct machine *machine)
{
	plic_deinit(&machine->plic);
}

static void raise_source(struct machine *machine, uint32_t source)
{
	machine->plic.sink.raise(&machine->plic.sink, source);
}

static void lower_source(struct machine *machine, uint32_t source)
{
	machine->plic.sink.lower(&machine->plic.sink, source);
}

static void set_priority(struct machine *machine, uint32_t source, uint32_t priority)
{
	rig_write32(&machine->mmio, 4 * source, priority);
}

static uint64_t enable_register(unsigned int hart, uint32_t source)
{
	return 0x2000 + 0x80 * hart + 4 * (source / 32);
}

static void set_enabled(struct machine *machine, unsigned int hart, uint32_t source, bool enabled)
{
	uint64_t offset = enable_register(hart, source);
	uint32_t bits = rig_read32(&machine->mmio, offset) & ~(1U << source % 32);

	rig_write32(&machine->mmio, offset, bits | (uint32_t)enabled << source % 32);
}

static bool is_pending(struct machine *machine, uint32_t source)
{
	return rig_read32(&machine->mmio, PENDING + 4 * (source / 32)) >> source % 32 & 1;
}

static uint64_t threshold_register(unsigned int hart)
{
	return 0x200000 + 0x1000 * hart;
}

static uint32_t claim(struct machine *machine, unsigned int hart)
{
	return rig_read32(&machine->mmio, threshold_register(hart) + 4);
}

static void complete(struct machine *machine, unsigned int hart, uint32_t source)
{
	rig_write32(&machine->mmio, threshold_register(hart) + 4, source);
}

/* One source ready to interrupt hart 0. */
static void set_up_one(struct machine *machine, uint32_t source)
{
	set_up(machine, 2, 64);
	set_priority(machine, source, 1);
	set_enabled(machine, 0, source, true);
}

static void claims_and_completes(void **state)
{
	struct machine m;

	(void)state;
	set_up_one(&m, 5);
	assert_int_equal(claim(&m, 0), 0);
	raise_source(&m, 5);
	assert_true(m.asserted[0]);
	assert_false(m.asserted[1]);
	assert_true(is_pending(&m, 5));

	assert_int_equal(claim(&m, 0), 5);
	assert_false(m.asserted[0]);
	assert_false(is_pending(&m, 5));
	assert_int_equal(claim(&m, 0), 0); /* nobody gets it a second time while it is served */

	lower_source(&m, 5);
	complete(&m, 0, 5);
	assert_false(m.asserted[0]);
	assert_int_equal(m.n_changes, 2);
	tear_down(&m);
}

static void level_that_stays_high_comes_again(void **state)
{
	struct machine m;

	(void)state;
	set_up_one(&m, 5);
	raise_source(&m, 5);
	raise_source(&m, 5); /* a level: twice is once */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(claim(&m, 0), 5);
		raise_source(&m, 5);
		assert_false(m.asserted[0]);
		assert_false(is_pending(&m, 5));
		complete(&m, 0, 5);
		assert_true(m.asserted[0]);
	}
	assert_int_equal(claim(&m, 0), 5);
	lower_source(&m, 5);
	complete(&m, 0, 5);
	assert_int_equal(claim(&m, 0), 0);
	tear_down(&m);
}

/* The device has new work while the handler of the old one runs, and lowers in between. */
static void level_during_service(void **state)
{
	struct machine m;

	(void)state;
	set_up_one(&m, 5);
	raise_source(&m, 5);
	assert_int_equal(claim(&m, 0), 5);
	lower_source(&m, 5);
	raise_source(&m, 5);
	complete(&m, 0, 5);
	assert_true(m.asserted[0]); /* not lost */
	assert_int_equal(claim(&m, 0), 5);
	lower_source(&m, 5);
	raise_source(&m, 5);
	lower_source(&m, 5);
	complete(&m, 0, 5);
	assert_false(m.asserted[0]); /* and not once more for what is over */
	tear_down(&m);
}

static void pulse_before_the_claim_is_kept(void **state)
{
	struct machine m;

	(void)state;
	set_up_one(&m, 5);
	raise_source(&m, 5);
	lower_source(&m, 5);
	assert_true(m.asserted[0]);
	assert_int_equal(claim(&m, 0), 5);
	complete(&m, 0, 5);
	assert_int_equal(claim(&m, 0), 0);
	tear_down(&m);
}

/* Registers once were bytes: only sources 1 to 7 of a word worked, and claims beyond 255 did not.
 */
static void serves_every_source(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m, 1, PLIC_MAX_SOURCES);
	for (uint32_t source = 1; source <= PLIC_MAX_SOURCES; source++) {
		set_priority(&m, source, 1);
		set_enabled(&m, 0, source, true);
		raise_source(&m, source);
		assert_true(is_pending(&m, source));
		assert_true(m.asserted[0]);
		assert_int_equal(claim(&m, 0), source);
		lower_source(&m, source);
		complete(&m, 0, source);
		assert_int_equal(rig_read32(&m.mmio, 4 * source), 1);
	}
	for (uint32_t word = 0; word < PLIC_MAX_WORDS; word++)
		assert_int_equal(rig_read32(&m.mmio, 0x2000 + 4 * word),
				 word == 0 ? 0xfffffffe : 0xffffffff);
	/* All at once: in order, each once. */
	for (uint32_t source = PLIC_MAX_SOURCES; source >= 1; source--)
		raise_source(&m, source);
	for (uint32_t source = 1; source <= PLIC_MAX_SOURCES; source++)
		assert_int_equal(claim(&m, 0), source);
	assert_int_equal(claim(&m, 0), 0);
	assert_false(m.asserted[0]);
	tear_down(&m);
}

static void highest_priority_first_then_lowest_number(void **state)
{
	static const uint32_t expected[] = { 40, 33, 2, 9, 64, 1 };
	struct machine m;

	(void)state;
	set_up(&m, 1, 64);
	set_priority(&m, 40, 7);
	set_priority(&m, 33, 5);
	set_priority(&m, 2, 3);
	set_priority(&m, 9, 3);
	set_priority(&m, 64, 3);
	set_priority(&m, 1, 1);
	for (size_t i = ARRAY_SIZE(expected); i > 0; i--) {
		set_enabled(&m, 0, expected[i - 1], true);
		raise_source(&m, expected[i - 1]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		assert_int_equal(claim(&m, 0), expected[i]);
	assert_int_equal(claim(&m, 0), 0);
	tear_down(&m);
}

static void priority_0_never_interrupts(void **state)
{
	struct machine m;

	(void)state;
	set_up_one(&m, 5);
	set_priority(&m, 5, 0);
	raise_source(&m, 5);
	assert_true(is_pending(&m, 5));
	assert_false(m.asserted[0]);
	assert_int_equal(claim(&m, 0), 0);
	set_priority(&m, 5, 1);
	assert_true(m.asserted[0]);
	set_priority(&m, 5, 0);
	assert_false(m.asserted[0]);
	set_priority(&m, 5, 8); /* three bits */
	assert_int_equal(rig_read32(&m.mmio, 4 * 5), 0);
	assert_false(m.asserted[0]);
	tear_down(&m);
}

static void threshold_masks_the_hart_but_not_the_claim(void **state)
{
	struct machine m;

	(void)state;
	set_up_one(&m, 5);
	set_priority(&m, 5, 3);
	raise_source(&m, 5);
	for (uint32_t threshold = 0; threshold <= 7; threshold++) {
		rig_write32(&m.mmio, threshold_register(0), threshold);
		assert_int_equal(rig_read32(&m.mmio, threshold_register(0)), threshold);
		assert_int_equal(m.asserted[0], 3 > threshold);
	}
	assert_int_equal(claim(&m, 0), 5);
	complete(&m, 0, 5);
	assert_false(m.asserted[0]);
	rig_write32(&m.mmio, threshold_register(0), 2);
	assert_true(m.asserted[0]);
	rig_write32(&m.mmio, threshold_register(0), UINT32_MAX);
	assert_int_equal(rig_read32(&m.mmio, threshold_register(0)), PLIC_MAX_PRIORITY);
	tear_down(&m);
}

/* Pending belongs to the source, not to the contexts that happened to listen. */
static void raised_while_disabled_everywhere_is_kept(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m, 2, 64);
	set_priority(&m, 40, 1);
	raise_source(&m, 40);
	assert_true(is_pending(&m, 40));
	assert_int_equal(m.n_changes, 0);
	assert_int_equal(claim(&m, 1), 0);
	lower_source(&m, 40);
	set_enabled(&m, 1, 40, true);
	assert_true(m.asserted[1]);
	set_enabled(&m, 1, 40, false);
	assert_false(m.asserted[1]);
	set_enabled(&m, 1, 40, true);
	assert_int_equal(claim(&m, 1), 40);
	tear_down(&m);
}

/* KVM resets a vCPU that its guest stops and starts again: what it was told before is gone. */
static void hart_that_was_stopped_is_told_again(void **state)
{
	struct machine m;

	(void)state;
	set_up_one(&m, 5);
	set_priority(&m, 6, 1);
	set_enabled(&m, 0, 6, true);
	raise_source(&m, 5);
	assert_true(m.asserted[0]);

	m.asserted[0] = false;
	raise_source(&m, 6); /* no change for the hart */
	assert_false(m.asserted[0]);
	rig_write32(&m.mmio, threshold_register(0), 0);
	assert_true(m.asserted[0]);

	m.asserted[0] = false;
	set_enabled(&m, 0, 5, true);
	assert_true(m.asserted[0]);

	m.asserted[0] = false;
	rig_write32(&m.mmio, threshold_register(1), 0); /* another's */
	assert_false(m.asserted[0]);
	assert_int_equal(claim(&m, 0), 5);
	assert_true(m.asserted[0]); /* source 6 is left */
	assert_int_equal(claim(&m, 0), 6);
	assert_false(m.asserted[0]);
	assert_false(m.asserted[1]);
	tear_down(&m);
}

static void one_claim_for_all_harts(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m, PLIC_MAX_HARTS, 31);
	set_priority(&m, 31, 1);
	for (unsigned int hart = 0; hart < PLIC_MAX_HARTS; hart++)
		set_enabled(&m, hart, 31, true);
	raise_source(&m, 31);
	for (unsigned int hart = 0; hart < PLIC_MAX_HARTS; hart++)
		assert_true(m.asserted[hart]);
	assert_int_equal(claim(&m, 17), 31);
	for (unsigned int hart = 0; hart < PLIC_MAX_HARTS; hart++) {
		assert_false(m.asserted[hart]);
		assert_int_equal(claim(&m, hart), 0);
	}
	assert_int_equal(m.n_changes, 2 * PLIC_MAX_HARTS);
	/* Any hart that enables it may complete: the PLIC does not remember who claimed. */
	complete(&m, 3, 31);
	assert_true(m.asserted[0]);
	tear_down(&m);
}

static void ignores_foreign_completions(void **state)
{
	static const uint32_t not_served[] = { 0, 6, 64, 65, 1023, 1024, 1U << 31 | 5, UINT32_MAX };
	struct machine m;

	(void)state;
	set_up_one(&m, 5);
	raise_source(&m, 5);
	complete(&m, 0, 5); /* pending, not in service */
	assert_int_equal(claim(&m, 0), 5);
	for (size_t i = 0; i < ARRAY_SIZE(not_served); i++)
		complete(&m, 0, not_served[i]);
	complete(&m, 1, 5); /* hart 1 does not enable it */
	assert_false(is_pending(&m, 5));
	set_enabled(&m, 0, 5, false);
	complete(&m, 0, 5); /* nor does hart 0 any more */
	assert_false(is_pending(&m, 5));
	set_enabled(&m, 0, 5, true);
	complete(&m, 0, 5);
	assert_true(is_pending(&m, 5));
	tear_down(&m);
}

/* T01, T05 and what stands for nothing: other sources and harts, M-mode contexts among them. */
static void what_does_not_exist(void **state)
{
	static const struct {
		uint64_t offset;
		unsigned int len;
	} rows[] = {
		{ 0x0, 4 },    /* source 0 */
		{ 4 * 41, 4 }, /* past the last source */
		{ 0xffc, 4 },    { 0x1008, 4 },     { 0x107c, 4 },         { 0x1080, 4 },
		{ 0x1ffc, 4 },   { 0x2008, 4 },     { 0x207c, 4 }, /* past the last word */
		{ 0x2100, 4 },                                     /* past the last hart */
		{ 0x1ffffc, 4 }, { 0x200008, 4 },   { 0x200ffc, 4 },       { 0x202000, 4 },
		{ 0x202004, 4 }, { 0x3ffffffc, 4 }, { UINT64_MAX - 3, 4 }, { 4 * 5, 1 },
		{ 4 * 5, 2 },    { 4 * 5, 8 },      { 4 * 5 + 1, 4 },      { 4 * 5 + 2, 2 },
		{ 0x1000, 8 },   { 0x2000, 1 },     { 0x2000, 8 },         { 0x2001, 4 },
		{ 0x200000, 8 }, { 0x200004, 1 },   { 0x200004, 2 },       { 0x200004, 8 },
		{ 0x200005, 4 }, { 0x200002, 4 },
	};
	struct machine m;
	struct plic before;

	(void)state;
	set_up(&m, 2, 40);
	set_priority(&m, 5, 6);
	set_enabled(&m, 0, 5, true);
	raise_source(&m, 5);
	before = m.plic;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(rig_read(&m.mmio, rows[i].offset, rows[i].len), 0);
		rig_write(&m.mmio, rows[i].offset, rows[i].len, UINT64_MAX);
		rig_write(&m.mmio, rows[i].offset, rows[i].len, 5);
		assert_memory_equal(&m.plic, &before, sizeof(before));
	}
	rig_write32(&m.mmio, PENDING, 0); /* for reading only */
	assert_true(is_pending(&m, 5));
	/* The bits of sources that do not exist cannot be set. */
	rig_write32(&m.mmio, 0x2080, UINT32_MAX);
	rig_write32(&m.mmio, 0x2084, UINT32_MAX);
	assert_int_equal(rig_read32(&m.mmio, 0x2080), 0xfffffffe);
	assert_int_equal(rig_read32(&m.mmio, 0x2084), 0x1ff);
	tear_down(&m);
}

static void last_source_of_a_word(void **state)
{
	static const struct {
		unsigned int n_sources;
		uint64_t last_word;
		uint32_t bits;
	} rows[] = {
		{ 1, 0x2000, 0x2 },           { 30, 0x2000, 0x7ffffffe },
		{ 31, 0x2000, 0xfffffffe },   { 32, 0x2004, 0x1 },
		{ 63, 0x2004, 0xffffffff },   { 64, 0x2008, 0x1 },
		{ 1022, 0x207c, 0x7fffffff }, { 1023, 0x207c, 0xffffffff },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct machine m;

		set_up(&m, 1, rows[i].n_sources);
		rig_write32(&m.mmio, rows[i].last_word, UINT32_MAX);
		assert_int_equal(rig_read32(&m.mmio, rows[i].last_word), rows[i].bits);
		set_priority(&m, rows[i].n_sources, 1);
		raise_source(&m, rows[i].n_sources);
		assert_int_equal(claim(&m, 0), rows[i].n_sources);
		tear_down(&m);
	}
}

static void window_holds_all_contexts(void **state)
{
	(void)state;
	assert_int_equal(plic_window_size(1), 0x201000);
	assert_int_equal(plic_window_size(PLIC_MAX_HARTS), 0x220000);
}

/*
 * Two harts and a device at once. Each claim clears a request, so that in the end the device has
 * been heard as often as it asked: it asks again only after that.
 */
struct traffic {
	struct machine m;
	_Atomic bool request;
	_Atomic unsigned int n_served;
	_Atomic bool stop;
	_Atomic unsigned int next_hart;
};

static void *serve(void *arg)
{
	struct traffic *traffic = arg;
	unsigned int hart = traffic->next_hart++;

	while (!traffic->stop) {
		uint32_t source = claim(&traffic->m, hart);

		if (source == 0) {
			/* Toggling what the other hart looks at must not lose anything. */
			set_enabled(&traffic->m, hart, 33, traffic->n_served & 1);
			sched_yield();
			continue;
		}
		lower_source(&traffic->m, source);
		if (atomic_exchange(&traffic->request, false))
			traffic->n_served++;
		complete(&traffic->m, hart, source);
	}
	return NULL;
}

static void serves_two_threads(void **state)
{
	enum { N_REQUESTS = 5000 };
	struct traffic traffic = { .stop = false };
	pthread_t harts[2];

	(void)state;
	set_up(&traffic.m, 2, 40);
	set_priority(&traffic.m, 5, 1);
	set_enabled(&traffic.m, 0, 5, true);
	set_enabled(&traffic.m, 1, 5, true);
	for (size_t i = 0; i < ARRAY_SIZE(harts); i++)
		assert_int_equal(pthread_create(&harts[i], NULL, serve, &traffic), 0);
	for (unsigned int i = 0; i < N_REQUESTS; i++) {
		traffic.request = true;
		raise_source(&traffic.m, 5);
		while (traffic.request)
			sched_yield();
	}
	traffic.stop = true;
	for (size_t i = 0; i < ARRAY_SIZE(harts); i++)
		pthread_join(harts[i], NULL);
	assert_int_equal(traffic.n_served, N_REQUESTS);
	assert_int_equal(traffic.m.asserted[0], is_pending(&traffic.m, 5));
	tear_down(&traffic.m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(claims_and_completes),
		cmocka_unit_test(level_that_stays_high_comes_again),
		cmocka_unit_test(level_during_service),
		cmocka_unit_test(pulse_before_the_claim_is_kept),
		cmocka_unit_test(serves_every_source),
		cmocka_unit_test(highest_priority_first_then_lowest_number),
		cmocka_unit_test(priority_0_never_interrupts),
		cmocka_unit_test(threshold_masks_the_hart_but_not_the_claim),
		cmocka_unit_test(raised_while_disabled_everywhere_is_kept),
		cmocka_unit_test(hart_that_was_stopped_is_told_again),
		cmocka_unit_test(one_claim_for_all_harts),
		cmocka_unit_test(ignores_foreign_completions),
		cmocka_unit_test(what_does_not_exist),
		cmocka_unit_test(last_source_of_a_word),
		cmocka_unit_test(window_holds_all_contexts),
		cmocka_unit_test(serves_two_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
