/* The rate limiter. Time passes by putting back the moment up to which a bucket is filled. */
#include "backend/rate_limiter.h"
#include "test.h"
#include "util/bits.h"

#include <errno.h>
#include <event2/event.h>
#include <time.h>

struct rig {
	struct rate_limiter limiter;
	struct event_base *base;
	unsigned int n_ready;
};

static void on_ready(void *ctx)
{
	((struct rig *)ctx)->n_ready++;
}

static int set_up(void **state)
{
	static struct rig rig;

	rig = (struct rig){ .base = event_base_new() };
	assert_non_null(rig.base);
	*state = &rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	rate_limiter_deinit(&rig->limiter);
	rate_limiter_deinit(&rig->limiter);
	event_base_free(rig->base);
	return 0;
}

/* A day: what is left of the present takes no part. */
enum { SLOW_MS = 24 * 3600 * 1000 };

static void limit(struct rig *rig, struct token_bucket_config bandwidth,
		  struct token_bucket_config ops)
{
	const struct rate_limiter_config config = { .bandwidth = bandwidth, .ops = ops };

	assert_int_equal(rate_limiter_init(&rig->limiter, &config, rig->base, on_ready, rig, NULL),
			 0);
}

static void limit_bytes(struct rig *rig, uint64_t size, uint64_t burst, uint64_t refill_ms)
{
	limit(rig, (struct token_bucket_config){ size, burst, refill_ms },
	      (struct token_bucket_config){ 0 });
}

static void pass_ms(struct rig *rig, uint64_t ms)
{
	rig->limiter.bandwidth.filled_ns -= ms * 1000000;
	rig->limiter.ops.filled_ns -= ms * 1000000;
	rig->limiter.is_waiting = false;
}

static int64_t wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void no_limit(void **state)
{
	struct rig *rig = *state;

	limit_bytes(rig, 0, 5, 0);
	assert_null(rig->limiter.timer);
	for (int i = 0; i < 1000; i++)
		assert_true(rate_limiter_take(&rig->limiter, UINT64_MAX));
	rate_limiter_give_back(&rig->limiter, UINT64_MAX);
	assert_false(rate_limiter_is_waiting(&rig->limiter));
}

static void a_time_of_0(void **state)
{
	struct rig *rig = *state;
	const struct rate_limiter_config config = { .ops = { .size = 1 } };
	struct err err;

	assert_int_equal(rate_limiter_init(&rig->limiter, &config, rig->base, on_ready, rig, &err),
			 -EINVAL);
}

static void full_then_empty(void **state)
{
	struct rig *rig = *state;

	limit_bytes(rig, 1000, 0, SLOW_MS);
	assert_true(rate_limiter_take(&rig->limiter, 600));
	assert_true(rate_limiter_take(&rig->limiter, 400));
	assert_false(rate_limiter_take(&rig->limiter, 1));
	assert_true(rate_limiter_is_waiting(&rig->limiter));
	/* Also what needs nothing of this bucket: who waits goes first. */
	assert_false(rate_limiter_take(&rig->limiter, 0));
}

static void burst_comes_first(void **state)
{
	struct rig *rig = *state;

	limit_bytes(rig, 1000, 500, SLOW_MS);
	assert_true(rate_limiter_take(&rig->limiter, 400));
	assert_int_equal(rig->limiter.bandwidth.tokens, 1000);
	assert_true(rate_limiter_take(&rig->limiter, 300)); /* 100 of the burst, 200 of the rest */
	assert_int_equal(rig->limiter.bandwidth.tokens, 800);
	pass_ms(rig, (uint64_t)SLOW_MS * 100);
	assert_true(rate_limiter_take(&rig->limiter, 1000)); /* never refilled */
	assert_false(rate_limiter_take(&rig->limiter, 1));
}

/* What is refused costs nothing, not even of the burst. */
static void refused_is_not_paid(void **state)
{
	struct rig *rig = *state;

	limit(rig, (struct token_bucket_config){ 1000, 500, SLOW_MS },
	      (struct token_bucket_config){ 1, 0, SLOW_MS });
	assert_true(rate_limiter_take(&rig->limiter, 100));
	assert_false(rate_limiter_take(&rig->limiter, 100)); /* by the count of operations */
	assert_int_equal(rig->limiter.bandwidth.burst, 400);
	pass_ms(rig, SLOW_MS);
	rig->limiter.bandwidth.tokens = 10;
	rig->limiter.bandwidth.filled_ns += (uint64_t)SLOW_MS * 1000000;
	assert_false(rate_limiter_take(&rig->limiter, 500)); /* by the bytes */
	assert_int_equal(rig->limiter.bandwidth.burst, 400);
	assert_int_equal(rig->limiter.ops.tokens, 1);
}

static void refills_evenly(void **state)
{
	struct rig *rig = *state;

	limit_bytes(rig, 1000, 0, UINT64_C(1000) * SLOW_MS);
	assert_true(rate_limiter_take(&rig->limiter, 1000));
	for (int i = 1; i <= 10; i++) {
		assert_false(rate_limiter_take(&rig->limiter, 1));
		pass_ms(rig, SLOW_MS); /* one token's time */
		assert_true(rate_limiter_take(&rig->limiter, 1));
	}
	/* Parts of a token are kept. */
	for (int i = 1; i <= 10; i++) {
		assert_false(rate_limiter_take(&rig->limiter, 1));
		pass_ms(rig, SLOW_MS / 2);
		assert_false(rate_limiter_take(&rig->limiter, 1));
		pass_ms(rig, SLOW_MS / 2);
		assert_true(rate_limiter_take(&rig->limiter, 1));
	}
}

/* However often it is asked, time is not lost to rounding. */
static void asking_often_is_free(void **state)
{
	struct rig *rig = *state;
	uint64_t n = 0;

	limit_bytes(rig, 1000000, 0, 3600000); /* a token in 3.6 ms */
	assert_true(rate_limiter_take(&rig->limiter, 1000000));
	for (int i = 0; i < 36000; i++) {
		pass_ms(rig, 1);
		n += rate_limiter_take(&rig->limiter, 1);
	}
	/* 10000, and what real time has passed. */
	assert_in_range(n, 9999, 12000);
}

static void time_while_full_is_not_saved(void **state)
{
	struct rig *rig = *state;

	limit_bytes(rig, 1000, 0, SLOW_MS);
	pass_ms(rig, SLOW_MS);
	assert_true(rate_limiter_take(&rig->limiter, 1000));
	assert_false(rate_limiter_take(&rig->limiter, 1));
	pass_ms(rig, SLOW_MS / 10);
	assert_true(rate_limiter_take(&rig->limiter, 50));
	pass_ms(rig, SLOW_MS);
	assert_true(rate_limiter_take(&rig->limiter, 999));
	assert_false(rate_limiter_take(&rig->limiter, 50));
}

static void more_than_the_bucket(void **state)
{
	struct rig *rig = *state;

	limit_bytes(rig, 1000, 0, SLOW_MS);
	assert_true(rate_limiter_take(&rig->limiter, 1));
	assert_false(rate_limiter_take(&rig->limiter, 5000)); /* not full */
	pass_ms(rig, SLOW_MS);
	assert_true(rate_limiter_take(&rig->limiter, 5000));
	assert_int_equal(rig->limiter.bandwidth.tokens, -4000);
	pass_ms(rig, (uint64_t)SLOW_MS * 4);
	assert_false(rate_limiter_take(&rig->limiter, 1)); /* the debt is paid, no more */
	pass_ms(rig, (uint64_t)SLOW_MS);
	assert_true(rate_limiter_take(&rig->limiter, 1000));
}

static void both_limits(void **state)
{
	struct rig *rig = *state;

	limit(rig, (struct token_bucket_config){ 1000, 0, SLOW_MS },
	      (struct token_bucket_config){ 2, 1, SLOW_MS });
	for (int i = 0; i < 3; i++)
		assert_true(rate_limiter_take(&rig->limiter, 10));
	assert_false(rate_limiter_take(&rig->limiter, 10));
	assert_int_equal(rig->limiter.bandwidth.tokens, 970);
}

static void given_back(void **state)
{
	struct rig *rig = *state;

	limit(rig, (struct token_bucket_config){ 1000, 500, SLOW_MS },
	      (struct token_bucket_config){ 1, 0, SLOW_MS });
	assert_true(rate_limiter_take(&rig->limiter, 100));
	rate_limiter_give_back(&rig->limiter, 100);
	assert_int_equal(rig->limiter.bandwidth.burst, 500);
	assert_int_equal(rig->limiter.bandwidth.tokens, 1000);
	assert_true(rate_limiter_take(&rig->limiter, 700));
	rate_limiter_give_back(&rig->limiter, 700);
	assert_int_equal(rig->limiter.bandwidth.burst, 0);
	assert_int_equal(rig->limiter.bandwidth.tokens, 1000); /* no more than full */
	assert_true(rate_limiter_take(&rig->limiter, 1000));
	rate_limiter_give_back(&rig->limiter, UINT64_MAX);
	assert_int_equal(rig->limiter.bandwidth.tokens, 1000);
	assert_int_equal(rig->limiter.ops.tokens, 1);
}

/* A06: numbers up to the largest */
static void numbers_without_measure(void **state)
{
	static const uint64_t numbers[] = {
		1,
		2,
		1000,
		INT64_MAX - 1,
		INT64_MAX,
		(uint64_t)INT64_MAX + 1,
		UINT64_MAX - 1,
		UINT64_MAX,
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(numbers) * ARRAY_SIZE(numbers) * 8; i++) {
		uint64_t amount = numbers[i % ARRAY_SIZE(numbers)];
		uint64_t size = numbers[i / 8 % ARRAY_SIZE(numbers)];
		uint64_t other = numbers[i / 64];

		limit(rig, (struct token_bucket_config){ size, i % 2 ? other : 0, other },
		      (struct token_bucket_config){ other, size, size });
		for (int j = 0; j < 4; j++) {
			bool passed = rate_limiter_take(&rig->limiter, amount);

			assert_true(passed || rig->limiter.is_waiting);
			assert_true(passed || j > 0); /* full at first: anything goes */
			pass_ms(rig, j % 2 == 0 ? amount % SLOW_MS : SLOW_MS);
			rig->limiter.bandwidth.filled_ns -= numbers[j];
		}
		rate_limiter_give_back(&rig->limiter, amount);
		rate_limiter_deinit(&rig->limiter);
	}
}

static void a_rate_above_63_bits(void **state)
{
	struct rig *rig = *state;

	/* 2^64 - 1 tokens in as many milliseconds: one in each. */
	limit_bytes(rig, UINT64_MAX, 0, UINT64_MAX);
	assert_true(rate_limiter_take(&rig->limiter, INT64_MAX));
	pass_ms(rig, 100000);
	assert_true(rate_limiter_take(&rig->limiter, 99999));
	assert_false(rate_limiter_take(&rig->limiter, 50000));
}

/* \return how often the loop came round */
static unsigned int wait_for_ready(struct rig *rig)
{
	unsigned int n_rounds = 0;

	while (rig->n_ready == 0) {
		event_base_loop(rig->base, EVLOOP_ONCE);
		n_rounds++;
	}
	rig->n_ready = 0;
	return n_rounds;
}

static void calls_when_it_may_pass(void **state)
{
	struct rig *rig = *state;
	int64_t start = wall_ms();
	unsigned int n_rounds = 0;

	limit_bytes(rig, 1000, 0, 1000);
	assert_true(rate_limiter_take(&rig->limiter, 1000));
	/* The loop's clock may be some milliseconds coarse, so it may take a second try. */
	while (!rate_limiter_take(&rig->limiter, 50)) {
		assert_true(rate_limiter_is_waiting(&rig->limiter));
		n_rounds += wait_for_ready(rig);
		assert_false(rate_limiter_is_waiting(&rig->limiter));
	}
	assert_in_range(wall_ms() - start, 50, 5000);
	assert_in_range(n_rounds, 1, 8);
}

/* At a token a nanosecond the next is always there soon: still the loop sleeps. */
static void no_spin(void **state)
{
	struct rig *rig = *state;
	int64_t start = wall_ms();
	unsigned int n_rounds = 0;

	limit_bytes(rig, 1000000000, 0, 1000);
	assert_true(rate_limiter_take(&rig->limiter, 1000000000));
	while (n_rounds < 20) {
		while (rate_limiter_take(&rig->limiter, 1000))
			continue;
		n_rounds += wait_for_ready(rig);
	}
	assert_true(wall_ms() - start >= 10);
}

static void change(struct rig *rig, const struct rate_limiter_change *change)
{
	assert_int_equal(rate_limiter_prepare(&rig->limiter, change, NULL), 0);
	rate_limiter_set(&rig->limiter, change);
}

static void other_limits_let_the_waiting_go(void **state)
{
	struct rig *rig = *state;
	const struct token_bucket_config off = { 0 };
	const struct token_bucket_config endless = { .size = 1 };
	const struct rate_limiter_change none = { &off, &off };
	const struct rate_limiter_change bad = { .ops = &endless };

	limit_bytes(rig, 1000, 0, SLOW_MS);
	assert_true(rate_limiter_take(&rig->limiter, 1000));
	assert_false(rate_limiter_take(&rig->limiter, 1000));
	assert_int_equal(rate_limiter_prepare(&rig->limiter, &bad, NULL), -EINVAL);
	assert_true(rate_limiter_is_waiting(&rig->limiter));
	change(rig, &none);
	wait_for_ready(rig);
	assert_true(rate_limiter_take(&rig->limiter, 1000));
	assert_true(rate_limiter_take(&rig->limiter, 1000));
}

static void a_limit_set_later(void **state)
{
	struct rig *rig = *state;
	const struct token_bucket_config bucket = { .size = 1, .refill_ms = SLOW_MS };
	const struct rate_limiter_change one = { .ops = &bucket };

	limit_bytes(rig, 0, 0, 0);
	change(rig, &one);
	assert_true(rate_limiter_take(&rig->limiter, 1000));
	assert_false(rate_limiter_take(&rig->limiter, 1000));
	change(rig, &one); /* full again */
	wait_for_ready(rig);
	assert_true(rate_limiter_take(&rig->limiter, 1000));
}

static void what_is_not_named_goes_on(void **state)
{
	struct rig *rig = *state;
	const struct token_bucket_config bytes = { 1000, 500, SLOW_MS };
	const struct token_bucket_config ops = { 10, 0, SLOW_MS };
	struct rate_limiter_config told = { bytes, { 0 } };

	limit_bytes(rig, 1000, 500, SLOW_MS);
	assert_true(rate_limiter_take(&rig->limiter, 1500));
	/* Neither full again nor with another burst. */
	change(rig, &(struct rate_limiter_change){ 0 });
	change(rig, &(struct rate_limiter_change){ .ops = &ops });
	rate_limiter_config_change(&told, &(struct rate_limiter_change){ .ops = &ops });
	assert_memory_equal(&told.bandwidth, &bytes, sizeof(bytes));
	assert_memory_equal(&told.ops, &ops, sizeof(ops));
	assert_false(rate_limiter_take(&rig->limiter, 1));
	change(rig, &(struct rate_limiter_change){ .bandwidth = &bytes });
	wait_for_ready(rig);
	assert_true(rate_limiter_take(&rig->limiter, 1500));
}

/* Of a bucket by itself, which drops what it has no tokens for. */
static void some_of_many(void **state)
{
	const struct token_bucket_config config = { 1000, 100, SLOW_MS };
	const struct token_bucket_config none = { 0 };
	struct token_bucket bucket;

	(void)state;
	token_bucket_init(&bucket, &config);
	assert_int_equal(token_bucket_take_some(&bucket, 50), 50);
	assert_int_equal(token_bucket_take_some(&bucket, 1000), 1000);
	assert_int_equal(token_bucket_take_some(&bucket, UINT64_MAX), 50);
	assert_int_equal(token_bucket_take_some(&bucket, 1), 0);
	/* No debt. */
	bucket.filled_ns -= (uint64_t)SLOW_MS * 1000000 / 2;
	assert_int_equal(token_bucket_take_some(&bucket, UINT64_MAX), 500);
	token_bucket_init(&bucket, &none);
	assert_int_equal(token_bucket_take_some(&bucket, UINT64_MAX), UINT64_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(no_limit),
		TEST(a_time_of_0),
		TEST(full_then_empty),
		TEST(burst_comes_first),
		TEST(refused_is_not_paid),
		TEST(refills_evenly),
		TEST(asking_often_is_free),
		TEST(time_while_full_is_not_saved),
		TEST(more_than_the_bucket),
		TEST(both_limits),
		TEST(given_back),
		TEST(numbers_without_measure),
		TEST(a_rate_above_63_bits),
		TEST(calls_when_it_may_pass),
		TEST(no_spin),
		TEST(other_limits_let_the_waiting_go),
		TEST(a_limit_set_later),
		TEST(what_is_not_named_goes_on),
		TEST(some_of_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
