#include "platform/pvpanic.h"
#include "rig.h"
#include "test.h"
#include "util/bits.h"

#include <pthread.h>

struct host {
	_Atomic unsigned int n_calls;
	_Atomic unsigned int n_panicked;
	_Atomic unsigned int events;
};

static void on_panic(void *ctx, unsigned int events)
{
	struct host *host = ctx;

	host->n_calls++;
	host->n_panicked += (events & PVPANIC_PANICKED) != 0;
	atomic_fetch_or(&host->events, events);
}

static void tells_what_it_supports(void **state)
{
	struct pvpanic pvpanic;
	const struct rig_mmio mmio = { &pvpanic_mmio_ops, &pvpanic };
	struct host host = { 0 };

	(void)state;
	pvpanic_init(&pvpanic, on_panic, &host);
	for (unsigned int len = 1; len <= 8; len *= 2) {
		assert_int_equal(rig_read(&mmio, 0, len), 3);
		assert_int_equal(rig_read(&mmio, 8, len), 0);
	}
	assert_int_equal(host.n_calls, 0);
}

static void reports_known_events(void **state)
{
	static const struct {
		uint64_t offset;
		unsigned int len;
		uint64_t value;
		unsigned int events;
	} rows[] = {
		{ 0, 1, 1, PVPANIC_PANICKED },
		{ 0, 1, 2, PVPANIC_CRASH_LOADED },
		{ 0, 1, 3, PVPANIC_PANICKED | PVPANIC_CRASH_LOADED },
		{ 0, 1, 0xff, PVPANIC_PANICKED | PVPANIC_CRASH_LOADED },
		{ 0, 4, 1, PVPANIC_PANICKED },
		{ 0, 8, UINT64_MAX, PVPANIC_PANICKED | PVPANIC_CRASH_LOADED },
		{ 0, 1, 0, 0 },
		{ 0, 1, 0xfc, 0 },
		{ 0, 8, BIT(32), 0 },
		{ 1, 1, 1, 0 },
		{ 8, 8, 1, 0 },
		{ 0xfff, 1, 3, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct pvpanic pvpanic;
		const struct rig_mmio mmio = { &pvpanic_mmio_ops, &pvpanic };
		struct host host = { 0 };

		pvpanic_init(&pvpanic, on_panic, &host);
		rig_write(&mmio, rows[i].offset, rows[i].len, rows[i].value);
		assert_int_equal(host.events, rows[i].events);
		assert_int_equal(host.n_calls, rows[i].events != 0);
	}
}

/* The crash kernel may panic too, and a guest may panic for ever (C07). */
static void tells_each_event_once(void **state)
{
	struct pvpanic pvpanic;
	const struct rig_mmio mmio = { &pvpanic_mmio_ops, &pvpanic };
	struct host host = { 0 };

	(void)state;
	pvpanic_init(&pvpanic, on_panic, &host);
	for (int i = 0; i < 1000; i++)
		rig_write8(&mmio, 0, PVPANIC_CRASH_LOADED);
	assert_int_equal(host.n_calls, 1);
	for (int i = 0; i < 1000; i++)
		rig_write8(&mmio, 0, 0xff);
	assert_int_equal(host.n_calls, 2);
	assert_int_equal(host.n_panicked, 1);
	assert_int_equal(rig_read8(&mmio, 0), 3);
}

static void *panic_often(void *arg)
{
	for (unsigned int i = 0; i < 10000; i++)
		rig_write8(arg, 0, (uint8_t)i);
	return NULL;
}

static void two_harts_panic(void **state)
{
	struct pvpanic pvpanic;
	struct rig_mmio mmio = { &pvpanic_mmio_ops, &pvpanic };
	struct host host = { 0 };
	pthread_t other;

	(void)state;
	pvpanic_init(&pvpanic, on_panic, &host);
	assert_int_equal(pthread_create(&other, NULL, panic_often, &mmio), 0);
	panic_often(&mmio);
	pthread_join(other, NULL);
	assert_int_equal(host.n_panicked, 1);
	assert_in_range(host.n_calls, 1, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_what_it_supports),
		cmocka_unit_test(reports_known_events),
		cmocka_unit_test(tells_each_event_once),
		cmocka_unit_test(two_harts_panic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
