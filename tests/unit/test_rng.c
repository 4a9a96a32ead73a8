/* The entropy device. C06 of the list of hostile inputs, and C06's neighbours of all queues. */
#include "driver.h"
#include "test.h"
#include "util/bits.h"
#include "util/metrics.h"
#include "virtio/rng.h"

#include <errno.h>
#include <event2/event.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/random.h>

enum { N_PAGES = 4096, SLOW_MS = 24 * 3600 * 1000 };

struct rig {
	struct rng rng;
	struct driver d;
};

static void start(struct rig *rig, const struct rate_limiter_config *limits)
{
	*rig = (struct rig){ 0 };
	driver_init(&rig->d, N_PAGES);
	assert_int_equal(
		rng_init(&rig->rng, "r0", limits, &rig->d.mem, &rig->d.irq.line, rig->d.base, NULL),
		0);
	driver_attach(&rig->d, &rig->rng.dev);
	driver_boot(&rig->d, 0);
}

static int set_up(void **state)
{
	static const struct rate_limiter_config none = { 0 };
	static struct rig rig;

	start(&rig, &none);
	*state = &rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	rng_deinit(&rig->rng);
	rng_deinit(&rig->rng);
	driver_deinit(&rig->d);
	return 0;
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] != 0)
			return false;
	}
	return true;
}

/* \return bytes written, of the chain that is done next; fails when none is */
static uint32_t take(struct driver *d, uint16_t head)
{
	struct driver_used used;

	assert_true(driver_take_used(d, 0, &used));
	assert_int_equal(used.head, head);
	return used.len;
}

static void fills_all_buffers(void **state)
{
	struct driver *d = &((struct rig *)*state)->d;
	uint64_t gpa = driver_alloc(d, 4096, 1);
	const struct driver_buf bufs[] = {
		{ gpa + 100, 100, true },
		{ gpa + 1000, 1, true },
		{ gpa + 2000, 1000, true },
	};
	const uint8_t *bytes = driver_ptr(d, gpa);
	uint16_t head = driver_add(d, 0, bufs, 3);

	memset(&metrics, 0, sizeof(metrics));
	driver_kick(d, 0);
	assert_int_equal(take(d, head), 1101);
	assert_int_equal(metrics_get(&metrics.entropy.entropy_bytes), 1101);
	assert_int_equal(metrics_get(&metrics.entropy.entropy_event_count), 1);
	assert_true(d->irq.is_high);
	assert_false(is_zero(bytes + 100, 100));
	assert_false(is_zero(bytes + 2000, 500));
	assert_false(is_zero(bytes + 2500, 500));
	assert_true(is_zero(bytes, 100));
	assert_true(is_zero(bytes + 200, 800));
	assert_true(is_zero(bytes + 1001, 999));
	assert_true(is_zero(bytes + 3000, 1096));
}

/* C06: a request without end gets 64 KiB */
static void a_huge_request(void **state)
{
	struct driver *d = &((struct rig *)*state)->d;
	uint64_t gpa = driver_alloc(d, MIB, 1);
	const struct driver_buf whole = { DRIVER_RAM_GPA, N_PAGES * 4096, true };
	const struct driver_buf parts[] = { { gpa, 65535, true }, { gpa + 65535, 65536, true } };
	struct driver_buf most[60];
	uint16_t head = driver_add(d, 0, parts, 2);

	driver_kick(d, 0);
	assert_int_equal(take(d, head), RNG_REQUEST_MAX);
	assert_true(is_zero(driver_ptr(d, gpa + RNG_REQUEST_MAX), MIB - RNG_REQUEST_MAX));
	/* All of RAM, 60 times: it never gets as far as the rings, which lie last. */
	for (size_t i = 0; i < ARRAY_SIZE(most); i++)
		most[i] = whole;
	head = driver_add(d, 0, most, ARRAY_SIZE(most));
	driver_kick(d, 0);
	assert_int_equal(take(d, head), RNG_REQUEST_MAX);
	assert_int_equal(driver_status(d), 15);
}

static void assert_broken(struct driver *d, const struct driver_buf *bufs, unsigned int n)
{
	struct driver_used used;
	const struct driver_buf good = { driver_alloc(d, 8, 1), 8, true };
	uint16_t head;

	driver_boot(d, 0);
	driver_add(d, 0, bufs, n);
	driver_kick(d, 0);
	assert_true((driver_status(d) & VIRTIO_STATUS_NEEDS_RESET) != 0);
	assert_false(driver_take_used(d, 0, &used));
	driver_boot(d, 0);
	head = driver_add(d, 0, &good, 1);
	driver_kick(d, 0);
	assert_int_equal(take(d, head), 8);
}

/* C06: 0 bytes, buffers to read */
static void requests_that_cannot_be(void **state)
{
	struct driver *d = &((struct rig *)*state)->d;
	const struct driver_buf readable = { DRIVER_RAM_GPA, 8, false };
	const struct driver_buf empty = { DRIVER_RAM_GPA, 0, true };
	const struct driver_buf both[] = { readable, { DRIVER_RAM_GPA, 8, true } };

	memset(&metrics, 0, sizeof(metrics));
	assert_broken(d, &readable, 1);
	assert_broken(d, &empty, 1);
	assert_broken(d, both, 2);
	assert_int_equal(metrics_get(&metrics.entropy.entropy_event_fails), 3);
}

/* More than one turn's work is done all the same. */
static void a_full_queue(void **state)
{
	struct driver *d = &((struct rig *)*state)->d;
	const struct driver_buf buf = { driver_alloc(d, RNG_REQUEST_MAX, 1), RNG_REQUEST_MAX,
					true };

	for (unsigned int i = 0; i < d->queues[0].size; i++)
		driver_add(d, 0, &buf, 1);
	driver_kick(d, 0);
	for (uint16_t i = 0; i < d->queues[0].size; i++)
		assert_int_equal(take(d, i), RNG_REQUEST_MAX);
}

/* One that the limit refuses waits in the queue, and goes when it may. */
static void limited(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	const struct rate_limiter_config limits = { .bandwidth = { 16, 0, SLOW_MS } };
	const struct token_bucket_config off = { 0 };
	const struct rate_limiter_change no_limit = { &off, &off };
	struct driver_buf buf;
	struct driver_used used;
	uint16_t heads[2];

	tear_down(state);
	start(rig, &limits);
	memset(&metrics, 0, sizeof(metrics));
	buf = (struct driver_buf){ driver_alloc(d, 16, 1), 16, true };
	heads[0] = driver_add(d, 0, &buf, 1);
	heads[1] = driver_add(d, 0, &buf, 1);
	driver_kick(d, 0);
	assert_int_equal(take(d, heads[0]), 16);
	assert_false(driver_take_used(d, 0, &used));
	driver_kick(d, 0);
	assert_false(driver_take_used(d, 0, &used));
	rate_limiter_set(&rig->rng.limiter, &no_limit);
	event_base_loop(d->base, EVLOOP_ONCE);
	driver_settle(d);
	assert_int_equal(take(d, heads[1]), 16);
	assert_int_equal(metrics_get(&metrics.entropy.entropy_rate_limiter_throttled), 1);
	assert_int_equal(metrics_get(&metrics.entropy.rate_limiter_event_count), 1);
}

/* B10's like, T14: a reset while one waits */
static void reset_while_waiting(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	const struct rate_limiter_config limits = { .ops = { 1, 0, SLOW_MS } };
	const struct rate_limiter_change full = { &limits.bandwidth, &limits.ops };
	struct driver_buf buf;
	struct driver_used used;
	uint16_t head;

	tear_down(state);
	start(rig, &limits);
	buf = (struct driver_buf){ driver_alloc(d, 16, 1), 16, true };
	driver_add(d, 0, &buf, 1);
	driver_add(d, 0, &buf, 1);
	driver_kick(d, 0);
	rig_write32(&d->mmio, 0x70, 0);
	rate_limiter_set(&rig->rng.limiter, &full);
	event_base_loop(d->base, EVLOOP_ONCE);
	driver_settle(d);
	driver_boot(d, 0);
	assert_false(driver_take_used(d, 0, &used));
	head = driver_add(d, 0, &buf, 1);
	driver_kick(d, 0);
	assert_int_equal(take(d, head), 16);
}

enum { RARE = 4242 };

/*
 * From now on this thread's host is one that has no random bytes yet, where RARE of them are asked
 * for. The number of the system call is not looked at: we are compiled with those of RISC-V.
 */
static bool forbid_getrandom(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RARE, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, GRND_NONBLOCK, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = ARRAY_SIZE(filter), .filter = filter };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void *kick_without_random_bytes(void *ctx)
{
	struct driver *d = ctx;

	if (!forbid_getrandom())
		return NULL;
	/* However often it is asked. */
	for (int i = 0; i < 10; i++)
		driver_kick(d, 0);
	event_base_loop(d->base, EVLOOP_ONCE);
	driver_settle(d);
	return d;
}

/* C06: at least one byte, always: a request that cannot have it waits, and asks again by itself. */
static void a_host_without_random_bytes(void **state)
{
	struct driver *d = &((struct rig *)*state)->d;
	const struct driver_buf buf = { driver_alloc(d, RARE, 1), RARE, true };
	uint16_t head = driver_add(d, 0, &buf, 1);
	struct driver_used used;
	pthread_t thread;
	void *could_forbid;

	assert_int_equal(pthread_create(&thread, NULL, kick_without_random_bytes, d), 0);
	pthread_join(thread, &could_forbid);
	if (could_forbid == NULL)
		skip();
	assert_false(driver_take_used(d, 0, &used));
	assert_int_equal(driver_status(d), 15);
	event_base_loop(d->base, EVLOOP_ONCE);
	driver_settle(d);
	assert_int_equal(take(d, head), RARE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(fills_all_buffers),
		TEST(a_huge_request),
		TEST(requests_that_cannot_be),
		TEST(a_full_queue),
		TEST(limited),
		TEST(reset_while_waiting),
		TEST(a_host_without_random_bytes),
	};

	log_set_level(LOG_OFF);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
