#include "bus/mmio_bus.h"
#include "test.h"
#include "util/bits.h"

#include <errno.h>

struct recorder {
	uint64_t offset;
	unsigned int len;
	uint64_t value;
	unsigned int n_reads;
	unsigned int n_writes;
};

static uint64_t recorder_read(void *device, uint64_t offset, unsigned int len)
{
	struct recorder *recorder = device;

	recorder->offset = offset;
	recorder->len = len;
	recorder->n_reads++;
	return UINT64_C(0x1122334455667788);
}

static void recorder_write(void *device, uint64_t offset, unsigned int len, uint64_t value)
{
	struct recorder *recorder = device;

	recorder->offset = offset;
	recorder->len = len;
	recorder->value = value;
	recorder->n_writes++;
}

static const struct mmio_ops ops = { .read = recorder_read, .write = recorder_write };

static void routes_by_address(void **state)
{
	struct mmio_bus bus = { 0 };
	struct recorder low = { 0 };
	struct recorder high = { 0 };

	(void)state;
	assert_int_equal(mmio_bus_add(&bus, 0x2000, 0x1000, &ops, &high, "high", NULL), 0);
	assert_int_equal(mmio_bus_add(&bus, 0x1000, 0x1000, &ops, &low, "low", NULL), 0);
	assert_int_equal(mmio_bus_read(&bus, 0x1004, 4), 0x55667788);
	assert_int_equal(low.offset, 4);
	assert_int_equal(low.len, 4);
	mmio_bus_write(&bus, 0x2ff8, 8, UINT64_MAX);
	assert_int_equal(high.offset, 0xff8);
	assert_int_equal(high.value, UINT64_MAX);
	mmio_bus_write(&bus, 0x2000, 1, 0x1234);
	assert_int_equal(high.value, 0x34);
	assert_int_equal(bus.n_unclaimed, 0);
}

/* T02 and T03 of the hostile-input checklist: nobody answers, nothing is split. */
static void unclaimed_accesses(void **state)
{
	struct mmio_bus bus = { 0 };
	struct recorder one = { 0 };
	struct recorder two = { 0 };
	static const struct {
		uint64_t gpa;
		unsigned int len;
	} rows[] = {
		{ 0x0fff, 1 },     { 0x0fff, 2 },  { 0x1fff, 2 }, { 0x1ffc, 8 },
		{ 0x2fff, 4 },     { 0x3000, 1 },  { 0, 8 },      { 0x1000, 3 },
		{ UINT64_MAX, 8 }, { 0x1000, 16 }, { 0x1000, 0 },
	};

	(void)state;
	assert_int_equal(mmio_bus_add(&bus, 0x1000, 0x1000, &ops, &one, "one", NULL), 0);
	assert_int_equal(mmio_bus_add(&bus, 0x2000, 0x1000, &ops, &two, "two", NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t ones = rows[i].len >= 8 ? UINT64_MAX : BIT(8 * rows[i].len) - 1;

		assert_int_equal(mmio_bus_read(&bus, rows[i].gpa, rows[i].len), ones);
		mmio_bus_write(&bus, rows[i].gpa, rows[i].len, 0);
	}
	assert_int_equal(one.n_reads + one.n_writes + two.n_reads + two.n_writes, 0);
	assert_int_equal(bus.n_unclaimed, 2 * ARRAY_SIZE(rows));
}

static void refuses_bad_ranges(void **state)
{
	struct mmio_bus bus = { 0 };
	struct recorder device = { 0 };
	struct err err = { 0 };

	(void)state;
	assert_int_equal(mmio_bus_add(&bus, 0x1000, 0x1000, &ops, &device, "a", &err), 0);
	assert_int_equal(mmio_bus_add(&bus, 0x1fff, 1, &ops, &device, "b", &err), -EINVAL);
	assert_int_equal(mmio_bus_add(&bus, 0x0800, 0x801, &ops, &device, "b", &err), -EINVAL);
	assert_int_equal(mmio_bus_add(&bus, 0x0800, 0x4000, &ops, &device, "b", &err), -EINVAL);
	assert_int_equal(mmio_bus_add(&bus, 0x5000, 0, &ops, &device, "b", &err), -EINVAL);
	assert_int_equal(mmio_bus_add(&bus, UINT64_MAX, 2, &ops, &device, "b", &err), -EINVAL);
	assert_non_null(strstr(err.text, "'b'"));
	assert_int_equal(bus.n_ranges, 1);
	for (uint64_t i = 1; i < MMIO_BUS_MAX_DEVICES; i++)
		assert_int_equal(mmio_bus_add(&bus, 0x10000 * i, 1, &ops, &device, "c", &err), 0);
	assert_int_equal(mmio_bus_add(&bus, 0, 1, &ops, &device, "d", &err), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(routes_by_address),
		cmocka_unit_test(unclaimed_accesses),
		cmocka_unit_test(refuses_bad_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
