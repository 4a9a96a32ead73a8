/* The memory balloon. M01 to M04 of the list of hostile inputs, Q16, and normal use. */
#include "driver.h"
#include "test.h"
#include "util/bits.h"
#include "util/metrics.h"
#include "virtio/balloon.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>

enum {
	N_PAGES = 16384,
	FIRST = 1024, /* pages before it hold what the driver allocates, those from LAST on rings */
	LAST = N_PAGES - 16,
	INFLATE = 0,
	DEFLATE = 1,
	STATS = 2,
	CONFIG = 0x100,
	RAM_PFN = DRIVER_RAM_GPA / BALLOON_PAGE_SIZE,
};

static const struct balloon_config everything = {
	.target_mib = 8,
	.deflate_on_oom = true,
	.stats_interval_s = 3600,
	.reporting = true,
	.hinting = true,
};

enum { HINTS = 3, REPORTS = 4, ALL_FEATURES = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5 };

struct rig {
	struct balloon balloon;
	struct driver d;
};

static void start(struct rig *rig, const struct balloon_config *config)
{
	*rig = (struct rig){ 0 };
	driver_init(&rig->d, N_PAGES);
	assert_int_equal(balloon_init(&rig->balloon, "b0", config, &rig->d.mem, &rig->d.irq.line,
				      rig->d.base, NULL),
			 0);
	driver_attach(&rig->d, &rig->balloon.dev);
}

static int set_up(void **state)
{
	static struct rig rig;

	start(&rig, &everything);
	driver_boot(&rig.d, ALL_FEATURES);
	*state = &rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	balloon_deinit(&rig->balloon);
	balloon_deinit(&rig->balloon);
	driver_deinit(&rig->d);
	return 0;
}

static uint8_t *page(struct driver *d, unsigned int number)
{
	return d->ram + (size_t)number * DRIVER_PAGE;
}

static void fill(struct driver *d)
{
	for (unsigned int i = FIRST; i < LAST; i++)
		memset(page(d, i), 1, 16);
}

/* \return how many pages between FIRST and LAST are gone */
static unsigned int n_gone(struct driver *d)
{
	unsigned int n = 0;

	for (unsigned int i = FIRST; i < LAST; i++)
		n += *page(d, i) == 0;
	return n;
}

static bool is_broken(struct driver *d)
{
	return (driver_status(d) & VIRTIO_STATUS_NEEDS_RESET) != 0;
}

/* \return the head */
static uint16_t pass(struct driver *d, unsigned int queue, const void *bytes, uint32_t len)
{
	const struct driver_buf buf = { driver_alloc(d, len, 4), len, false };
	uint16_t head;

	memcpy(driver_ptr(d, buf.gpa), bytes, len);
	head = driver_add(d, queue, &buf, 1);
	driver_kick(d, queue);
	return head;
}

static void assert_used(struct driver *d, unsigned int queue, uint16_t head)
{
	struct driver_used used;

	assert_true(driver_take_used(d, queue, &used));
	assert_int_equal(used.head, head);
	assert_int_equal(used.len, 0);
}

static void inflate(struct driver *d, const uint32_t *pfns, uint32_t n)
{
	assert_used(d, INFLATE, pass(d, INFLATE, pfns, n * 4));
}

static struct balloon_status status(struct rig *rig)
{
	struct balloon_status now;

	balloon_get_status(&rig->balloon, &now);
	return now;
}

/* ---- target and actual ---- */

static void the_target(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	struct err err;

	assert_int_equal(rig_read32(&d->mmio, CONFIG), 8 * 256);
	assert_int_equal(balloon_set_target(&rig->balloon, 64, NULL), 0);
	assert_int_equal(rig_read32(&d->mmio, CONFIG), 64 * 256);
	assert_int_equal(rig_read32(&d->mmio, 0x60), VIRTIO_ISR_CONFIG);
	assert_int_equal(rig_read32(&d->mmio, 0xfc), 1);
	assert_int_equal(balloon_set_target(&rig->balloon, 65, &err), -EINVAL);
	assert_int_equal(balloon_set_target(&rig->balloon, UINT64_MAX, &err), -EINVAL);
	assert_int_equal(status(rig).target_pages, 64 * 256);
}

static void a_target_beyond_the_guest(void **state)
{
	struct rig *rig = *state;
	struct balloon balloon;
	struct balloon_config config = everything;

	config.target_mib = 65;
	assert_int_equal(balloon_init(&balloon, "b1", &config, &rig->d.mem, &rig->d.irq.line,
				      rig->d.base, NULL),
			 -EINVAL);
	balloon_deinit(&balloon);
}

/* M04: whatever it says; and no other field is the driver's */
static void actual(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;

	rig_write32(&d->mmio, CONFIG + 4, 0xfffffffe);
	assert_int_equal(status(rig).actual_pages, 0xfffffffe);
	rig_write(&d->mmio, CONFIG + 7, 1, 0);
	assert_int_equal(status(rig).actual_pages, 0xfffffe);
	rig_write32(&d->mmio, CONFIG, 1);
	rig_write32(&d->mmio, CONFIG + 8, 1);
	rig_write(&d->mmio, CONFIG, 8, 0x0000000500000009);
	assert_int_equal(status(rig).actual_pages, 5);
	assert_int_equal(status(rig).target_pages, 8 * 256);
	assert_int_equal(rig_read32(&d->mmio, CONFIG + 8), 0);
	rig_write32(&d->mmio, 0x70, 0);
	assert_int_equal(status(rig).actual_pages, 0);
}

/* ---- inflating ---- */

static void inflates(void **state)
{
	struct driver *d = &((struct rig *)*state)->d;
	const uint32_t pfns[] = { RAM_PFN + 2000, RAM_PFN + 2001, RAM_PFN + 2002, RAM_PFN + 3001,
				  RAM_PFN + 3000, RAM_PFN + 2999, RAM_PFN + 4000, RAM_PFN + 4002 };

	memset(&metrics, 0, sizeof(metrics));
	fill(d);
	inflate(d, pfns, ARRAY_SIZE(pfns));
	assert_int_equal(n_gone(d), ARRAY_SIZE(pfns));
	assert_int_equal(metrics_get(&metrics.balloon.inflate_count), 1);
	for (size_t i = 0; i < ARRAY_SIZE(pfns); i++)
		assert_int_equal(*page(d, pfns[i] - RAM_PFN), 0);
	assert_used(d, DEFLATE, pass(d, DEFLATE, pfns, sizeof(pfns)));
	assert_int_equal(metrics_get(&metrics.balloon.deflate_count), 1);
	*page(d, 2000) = 5;
	assert_int_equal(*page(d, 2000), 5);
}

/* M01: page numbers beyond RAM, that wrap, twice */
static void page_numbers_that_are_none(void **state)
{
	struct driver *d = &((struct rig *)*state)->d;
	const uint32_t pfns[] = { RAM_PFN + N_PAGES, RAM_PFN - 1,    0,          UINT32_MAX,    1,
				  UINT32_MAX - 1,    RAM_PFN + 2000, 0x80000000, RAM_PFN + 2000 };
	/* A run over the end of RAM: as much of it as there is. */
	static uint32_t over[N_PAGES];

	memset(&metrics, 0, sizeof(metrics));
	fill(d);
	inflate(d, pfns, ARRAY_SIZE(pfns));
	assert_int_equal(n_gone(d), 1);
	/* All but the good one, none of them beside another. */
	assert_int_equal(metrics_get(&metrics.balloon.event_fails), 7);
	assert_used(d, INFLATE, pass(d, INFLATE, pfns, 3)); /* less than one */
	assert_used(d, INFLATE, pass(d, INFLATE, pfns, 0));
	assert_false(is_broken(d));
	for (uint32_t i = 0; i < 64; i++)
		over[i] = RAM_PFN + LAST - 32 + i;
	/* The rings are among them: what is left of the queue is zeros, which makes no sense. */
	pass(d, INFLATE, over, 64 * 4);
	assert_int_equal(n_gone(d), 33);
	driver_boot(d, ALL_FEATURES);
	inflate(d, pfns, 1);
}

/* Q16, M01: the rings and the list itself are given away */
static void its_own_rings(void **state)
{
	struct driver *d = &((struct rig *)*state)->d;
	uint32_t pfns[N_PAGES];

	for (uint32_t i = 0; i < N_PAGES; i++)
		pfns[i] = RAM_PFN + i;
	pass(d, INFLATE, pfns, sizeof(pfns));
	driver_boot(d, ALL_FEATURES);
	fill(d);
	inflate(d, pfns + FIRST, 1);
	assert_int_equal(n_gone(d), 1);
}

/* M01: a list of the same page over and over, of as many bytes as there can be */
static void a_huge_list(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	const struct driver_buf buf = { DRIVER_RAM_GPA + FIRST * DRIVER_PAGE,
					(LAST - FIRST) * DRIVER_PAGE, false };
	struct driver_buf bufs[60];
	struct driver_used used;
	uint16_t head;

	/* 60 times 60 MiB of number 0: 900 million pages that are not there. */
	for (size_t i = 0; i < ARRAY_SIZE(bufs); i++)
		bufs[i] = buf;
	driver_add(d, INFLATE, bufs, ARRAY_SIZE(bufs));
	rig_write32(&d->mmio, 0x50, INFLATE);
	/* It is done in turns: other work is not kept waiting, and a reset ends it. */
	for (int i = 0; i < 4; i++)
		event_base_loop(d->base, EVLOOP_ONCE);
	assert_int_equal(rig->balloon.done[INFLATE], 16 * (32 * MIB / DRIVER_PAGE));
	assert_false(driver_take_used(d, INFLATE, &used));
	driver_boot(d, ALL_FEATURES);
	fill(d);
	head = pass(d, INFLATE, &(uint32_t){ RAM_PFN + FIRST }, 4);
	assert_used(d, INFLATE, head);
	assert_int_equal(n_gone(d), 1);
}

/* More than one turn takes, to the last page. */
static void all_of_it(void **state)
{
	struct driver *d = &((struct rig *)*state)->d;
	uint32_t pfns[LAST - FIRST];

	fill(d);
	for (uint32_t i = 0; i < LAST - FIRST; i++)
		pfns[i] = RAM_PFN + LAST - 1 - i;
	inflate(d, pfns, LAST - FIRST);
	assert_int_equal(n_gone(d), LAST - FIRST);
}

/* M04: more than was inflated, and nonsense */
static void deflates_anything(void **state)
{
	struct driver *d = &((struct rig *)*state)->d;
	const uint32_t pfns[] = { 0, UINT32_MAX, RAM_PFN, RAM_PFN + 2000 };

	fill(d);
	for (int i = 0; i < 10; i++)
		assert_used(d, DEFLATE, pass(d, DEFLATE, pfns, sizeof(pfns)));
	assert_int_equal(n_gone(d), 0);
	assert_false(is_broken(d));
}

/* ---- reporting ---- */

static void reports(void **state)
{
	struct driver *d = &((struct rig *)*state)->d;
	const uint64_t gpa = DRIVER_RAM_GPA + (uint64_t)FIRST * DRIVER_PAGE;
	const struct driver_buf bufs[] = {
		{ gpa, 100 * DRIVER_PAGE, true },
		{ gpa + UINT64_C(1000) * DRIVER_PAGE, 12000 * DRIVER_PAGE, true },
		{ gpa + UINT64_C(14000) * DRIVER_PAGE, DRIVER_PAGE, true },
	};
	uint16_t head = driver_add(d, REPORTS, bufs, 3);

	memset(&metrics, 0, sizeof(metrics));
	fill(d);
	driver_kick(d, REPORTS);
	assert_used(d, REPORTS, head);
	assert_int_equal(n_gone(d), 12101);
	/* One of them in two pieces, as it is more than a turn's work. */
	assert_int_equal(metrics_get(&metrics.balloon.free_page_report_count), 4);
	assert_int_equal(metrics_get(&metrics.balloon.free_page_report_freed),
			 12101 * (uint64_t)DRIVER_PAGE);
	assert_int_equal(metrics_get(&metrics.balloon.free_page_report_fails), 0);
	assert_int_equal(*page(d, FIRST + 99), 0);
	assert_int_equal(*page(d, FIRST + 100), 1);
	assert_int_equal(*page(d, FIRST + 14000), 0);
}

/* M02: what reaches past the end of RAM, and what is not whole pages */
static void reports_that_are_none(void **state)
{
	struct driver *d = &((struct rig *)*state)->d;
	const uint64_t gpa = DRIVER_RAM_GPA + (uint64_t)FIRST * DRIVER_PAGE;
	const struct driver_buf past = { gpa, N_PAGES * DRIVER_PAGE, true };
	const struct driver_buf readable = { gpa, DRIVER_PAGE, false };
	const struct driver_buf odd[] = { { gpa + 1, 2 * DRIVER_PAGE, true },
					  { gpa + UINT64_C(3) * DRIVER_PAGE, DRIVER_PAGE - 1,
					    true } };
	uint16_t head;

	fill(d);
	head = driver_add(d, REPORTS, odd, 2);
	driver_kick(d, REPORTS);
	assert_used(d, REPORTS, head);
	assert_int_equal(n_gone(d), 1);
	assert_int_equal(page(d, FIRST)[0], 1);
	head = driver_add(d, REPORTS, &readable, 1);
	driver_kick(d, REPORTS);
	assert_used(d, REPORTS, head);
	assert_int_equal(n_gone(d), 1);
	driver_add(d, REPORTS, &past, 1);
	driver_kick(d, REPORTS);
	assert_true(is_broken(d));
	assert_int_equal(n_gone(d), 1);
}

/* ---- hinting ---- */

static uint16_t hint(struct driver *d, unsigned int first, unsigned int n)
{
	const struct driver_buf buf = { DRIVER_RAM_GPA + (uint64_t)first * DRIVER_PAGE,
					n * DRIVER_PAGE, true };
	uint16_t head = driver_add(d, HINTS, &buf, 1);

	driver_kick(d, HINTS);
	return head;
}

static uint32_t host_cmd(struct driver *d)
{
	return rig_read32(&d->mmio, CONFIG + 8);
}

static void say(struct driver *d, uint32_t cmd)
{
	assert_used(d, HINTS, pass(d, HINTS, &cmd, sizeof(cmd)));
}

static void a_run_of_hinting(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	struct balloon_hinting_status hinting;

	memset(&metrics, 0, sizeof(metrics));
	fill(d);
	balloon_get_hinting(&rig->balloon, &hinting);
	assert_int_equal(hinting.host_cmd, 0);
	assert_false(hinting.has_guest_cmd);
	assert_int_equal(balloon_start_hinting(&rig->balloon, true, NULL), 0);
	assert_int_equal(rig_read32(&d->mmio, 0x60), VIRTIO_ISR_CONFIG);
	assert_int_equal(host_cmd(d), 2);
	say(d, 2);
	assert_used(d, HINTS, hint(d, FIRST, 10000)); /* takes two turns */
	assert_used(d, HINTS, hint(d, FIRST + 12000, 1));
	assert_int_equal(n_gone(d), 10001);
	assert_int_equal(metrics_get(&metrics.balloon.free_page_hint_freed),
			 10001 * (uint64_t)DRIVER_PAGE);
	assert_int_equal(metrics_get(&metrics.balloon.free_page_report_count), 0);
	balloon_get_hinting(&rig->balloon, &hinting);
	assert_int_equal(hinting.host_cmd, 2);
	assert_int_equal(hinting.guest_cmd, 2);
	say(d, 0);
	assert_int_equal(host_cmd(d), 1);
	assert_int_equal(balloon_start_hinting(&rig->balloon, true, NULL), 0);
	assert_int_equal(host_cmd(d), 3);
}

static void hints_of_no_run(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;

	fill(d);
	assert_used(d, HINTS, hint(d, FIRST, 1));
	say(d, 0);
	say(d, 5);
	assert_used(d, HINTS, hint(d, FIRST, 1));
	assert_int_equal(balloon_start_hinting(&rig->balloon, true, NULL), 0);
	assert_used(d, HINTS, hint(d, FIRST, 1)); /* without saying which */
	say(d, 1);
	assert_used(d, HINTS, hint(d, FIRST, 1));
	say(d, 0); /* not an end of this run */
	assert_int_equal(host_cmd(d), 2);
	say(d, 2);
	assert_int_equal(balloon_start_hinting(&rig->balloon, false, NULL), 0);
	assert_used(d, HINTS, hint(d, FIRST, 1)); /* of the run before */
	say(d, 3);
	say(d, 0);
	assert_int_equal(host_cmd(d), 3); /* not by ourselves */
	assert_int_equal(balloon_stop_hinting(&rig->balloon, NULL), 0);
	assert_int_equal(host_cmd(d), 1);
	say(d, 1);
	assert_used(d, HINTS, hint(d, FIRST, 1)); /* the guest has its pages back */
	assert_int_equal(n_gone(d), 0);
	assert_used(d, HINTS, pass(d, HINTS, "abc", 3)); /* no command */
	assert_false(is_broken(d));
}

static void hinting_that_cannot_be(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	struct balloon_config config = everything;
	struct err err;

	assert_int_equal(balloon_start_hinting(&rig->balloon, true, &err), 0);
	driver_boot(d, 1 << 1);
	assert_int_equal(host_cmd(d), 0); /* the next driver knows of no run */
	assert_int_equal(balloon_start_hinting(&rig->balloon, true, &err), -ENOTSUP);
	rig_write32(&d->mmio, 0x70, 0);
	assert_int_equal(balloon_start_hinting(&rig->balloon, true, &err), -EAGAIN);
	assert_int_equal(balloon_stop_hinting(&rig->balloon, &err), -EAGAIN);
	tear_down(state);
	config.hinting = false;
	start(rig, &config);
	driver_boot(d, 0);
	assert_int_equal(balloon_start_hinting(&rig->balloon, true, &err), -ENOTSUP);
}

static void runs_never_are_commands(void **state)
{
	struct rig *rig = *state;

	rig->balloon.last_run = UINT32_MAX - 1;
	assert_int_equal(balloon_start_hinting(&rig->balloon, true, NULL), 0);
	assert_int_equal(host_cmd(&rig->d), UINT32_MAX);
	assert_int_equal(balloon_start_hinting(&rig->balloon, true, NULL), 0);
	assert_int_equal(host_cmd(&rig->d), 2);
}

/* ---- statistics ---- */

struct stat {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

/* The hour passes. */
static void expire(struct rig *rig)
{
	event_active(rig->balloon.stats_timer, EV_TIMEOUT, 0);
	driver_settle(&rig->d);
}

static void statistics(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	const struct stat first[] = { { 0, 10 }, { 5, UINT64_MAX }, { 15, 7 }, { 0, 11 } };
	const struct stat second[] = { { 4, 1 }, { 16, 2 }, { 0xffff, 3 } };
	struct driver_used used;
	struct balloon_stats stats;
	uint16_t head;

	assert_int_equal(status(rig).stats.present, 0);
	memset(&metrics, 0, sizeof(metrics));
	head = pass(d, STATS, first, sizeof(first));
	assert_false(driver_take_used(d, STATS, &used)); /* kept */
	stats = status(rig).stats;
	assert_int_equal(stats.present, BIT(0) | BIT(5) | BIT(15));
	assert_int_equal(stats.values[BALLOON_STAT_SWAP_IN], 11);
	assert_int_equal(stats.values[BALLOON_STAT_TOTAL_MEMORY], UINT64_MAX);
	assert_int_equal(stats.values[BALLOON_STAT_DIRECT_RECLAIM], 7);
	expire(rig);
	assert_used(d, STATS, head);
	pass(d, STATS, second, sizeof(second));
	stats = status(rig).stats;
	assert_int_equal(stats.present, BIT(4)); /* unknown ones are left out */
	assert_int_equal(metrics_get(&metrics.balloon.stats_updates_count), 2);
	assert_int_equal(metrics_get(&metrics.balloon.stats_update_fails), 0);
	assert_int_equal(stats.values[BALLOON_STAT_FREE_MEMORY], 1);
}

/* M03: never answered, too many buffers, too large, too small, reset in between */
static void odd_statistics(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	const struct driver_buf huge = { DRIVER_RAM_GPA + FIRST * DRIVER_PAGE,
					 (LAST - FIRST) * DRIVER_PAGE, false };
	const struct stat one = { 3, 4 };
	struct driver_used used;
	uint16_t heads[3];

	expire(rig); /* there is none */
	assert_false(driver_take_used(d, STATS, &used));
	heads[0] = pass(d, STATS, &one, sizeof(one));
	heads[1] = pass(d, STATS, &one, 9); /* not a whole one */
	assert_true(metrics_get(&metrics.balloon.stats_update_fails) > 0);
	assert_used(d, STATS, heads[0]);
	assert_int_equal(status(rig).stats.present, 0);
	fill(d);
	heads[2] = driver_add(d, STATS, &huge, 1);
	driver_kick(d, STATS);
	assert_used(d, STATS, heads[1]);
	assert_false(driver_take_used(d, STATS, &used));
	rig_write32(&d->mmio, 0x70, 0);
	expire(rig);
	driver_boot(d, ALL_FEATURES);
	expire(rig);
	assert_false(driver_take_used(d, STATS, &used));
	assert_int_equal(status(rig).stats.present, 0);
	pass(d, STATS, &one, sizeof(one));
	driver_offer(d, INFLATE, 0xffff);
	driver_kick(d, INFLATE);
	assert_true(is_broken(d));
	expire(rig); /* a broken device rests */
	assert_false(driver_take_used(d, STATS, &used));
}

static void the_interval(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	struct balloon_config config = everything;
	struct err err;
	uint16_t head = pass(d, STATS, "", 0);

	assert_int_equal(balloon_set_stats_interval(&rig->balloon, 0, &err), -EINVAL);
	assert_int_equal(balloon_set_stats_interval(&rig->balloon, 1, &err), 0);
	event_base_loop(d->base, EVLOOP_ONCE); /* one second, not an hour */
	assert_used(d, STATS, head);
	tear_down(state);
	config.stats_interval_s = 0;
	start(rig, &config);
	assert_int_equal(balloon_set_stats_interval(&rig->balloon, 1, &err), -EINVAL);
}

/* ---- which queue is which ---- */

static void queues_close_up(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	const uint64_t gpa = DRIVER_RAM_GPA + (uint64_t)FIRST * DRIVER_PAGE;
	const struct driver_buf buf = { gpa, DRIVER_PAGE, true };
	struct balloon_config config = { .reporting = true };
	uint16_t head;

	tear_down(state);
	start(rig, &config);
	driver_boot(d, 1 << 5);
	rig_write32(&d->mmio, 0x30, 3);
	assert_int_equal(rig_read32(&d->mmio, 0x34), 0);
	fill(d);
	head = driver_add(d, 2, &buf, 1);
	driver_kick(d, 2);
	assert_used(d, 2, head);
	assert_int_equal(n_gone(d), 1);
	driver_boot(d, 0); /* a queue whose feature is not wanted: nothing happens */
	fill(d);
	head = driver_add(d, 2, &buf, 1);
	driver_kick(d, 2);
	assert_used(d, 2, head);
	assert_int_equal(n_gone(d), 0);
}

static void nothing_but_a_balloon(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	struct balloon_config config = { 0 };

	tear_down(state);
	start(rig, &config);
	rig_write32(&d->mmio, 0x14, 0);
	assert_int_equal(rig_read32(&d->mmio, 0x10), BIT(28) | BIT(29));
	driver_boot(d, 0);
	assert_int_equal(rig->balloon.dev.class->n_queues, 2);
	inflate(d, &(uint32_t){ RAM_PFN + FIRST }, 1);
}

/* ---- two threads ---- */

enum { N_RESETS = 300 };

static void *reset_again_and_again(void *arg)
{
	struct driver *d = arg;

	for (int i = 0; i < N_RESETS; i++) {
		rig_write32(&d->mmio, CONFIG + 4, (uint32_t)i);
		rig_write32(&d->mmio, 0x50, (uint32_t)i % 5);
		rig_write32(&d->mmio, 0x70, 0);
	}
	return NULL;
}

/* T14, T18: a vCPU resets while the I/O thread works */
static void reset_meanwhile(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	struct balloon_status now;
	pthread_t vcpu;
	struct err err;

	pass(d, STATS, "", 0);
	assert_int_equal(pthread_create(&vcpu, NULL, reset_again_and_again, d), 0);
	for (int i = 0; i < N_RESETS; i++) {
		expire(rig);
		balloon_get_status(&rig->balloon, &now);
		(void)!balloon_start_hinting(&rig->balloon, true, &err);
		(void)!balloon_set_target(&rig->balloon, (uint64_t)i % 64, &err);
	}
	pthread_join(vcpu, NULL);
	driver_boot(d, ALL_FEATURES);
	inflate(d, &(uint32_t){ RAM_PFN + FIRST }, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_target),
		TEST(a_target_beyond_the_guest),
		TEST(actual),
		TEST(inflates),
		TEST(page_numbers_that_are_none),
		TEST(its_own_rings),
		TEST(a_huge_list),
		TEST(all_of_it),
		TEST(deflates_anything),
		TEST(reports),
		TEST(reports_that_are_none),
		TEST(a_run_of_hinting),
		TEST(hints_of_no_run),
		TEST(hinting_that_cannot_be),
		TEST(runs_never_are_commands),
		TEST(statistics),
		TEST(odd_statistics),
		TEST(the_interval),
		TEST(queues_close_up),
		TEST(nothing_but_a_balloon),
		TEST(reset_meanwhile),
	};

	log_set_level(LOG_OFF);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
