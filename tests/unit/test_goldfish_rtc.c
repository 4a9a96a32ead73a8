#include "platform/goldfish_rtc.h"
#include "rig.h"
#include "test.h"
#include "util/bits.h"

#include <pthread.h>
#include <time.h>

enum {
	TIME_LOW = 0x00,
	TIME_HIGH = 0x04,
	ALARM_LOW = 0x08,
	ALARM_HIGH = 0x0c,
	IRQ_ENABLED = 0x10,
	CLEAR_ALARM = 0x14,
	ALARM_STATUS = 0x18,
	CLEAR_INTERRUPT = 0x1c,
};

#define START UINT64_C(0x18c0ffee12345678)

struct clock {
	struct goldfish_rtc rtc;
	struct rig_irq irq;
	struct rig_mmio mmio;
	_Atomic uint64_t now_ns;
	_Atomic uint64_t deadline_ns;
	_Atomic unsigned int n_timers;
};

static uint64_t now_ns(void *ctx)
{
	return ((struct clock *)ctx)->now_ns;
}

static void set_timer(void *ctx, uint64_t deadline_ns)
{
	struct clock *clock = ctx;

	clock->deadline_ns = deadline_ns;
	clock->n_timers++;
}

static void set_up(struct clock *clock)
{
	static const struct goldfish_rtc_ops ops = { .now_ns = now_ns, .set_timer = set_timer };

	*clock = (struct clock){
		.mmio = { &goldfish_rtc_mmio_ops, &clock->rtc },
		.now_ns = START,
		.deadline_ns = GOLDFISH_RTC_NO_TIMER,
	};
	rig_irq_init(&clock->irq);
	goldfish_rtc_init(&clock->rtc, &clock->irq.line, &ops, clock);
}

static void tear_down(struct clock *clock)
{
	goldfish_rtc_deinit(&clock->rtc);
}

static uint64_t read_pair(struct clock *clock, uint64_t low_offset)
{
	uint64_t low = rig_read32(&clock->mmio, low_offset);

	return (uint64_t)rig_read32(&clock->mmio, low_offset + 4) << 32 | low;
}

/* As Linux does: the high half first. */
static void write_pair(struct clock *clock, uint64_t low_offset, uint64_t value)
{
	rig_write32(&clock->mmio, low_offset + 4, (uint32_t)(value >> 32));
	rig_write32(&clock->mmio, low_offset, (uint32_t)value);
}

static void tells_the_time(void **state)
{
	struct clock clock;
	uint32_t low;

	(void)state;
	set_up(&clock);
	assert_int_equal(read_pair(&clock, TIME_LOW), START);
	/* The high half is that of the moment when the low one was read. */
	clock.now_ns = UINT64_C(0x10ffffffff);
	low = rig_read32(&clock.mmio, TIME_LOW);
	clock.now_ns = UINT64_C(0x1100000000);
	assert_int_equal(low, 0xffffffff);
	assert_int_equal(rig_read32(&clock.mmio, TIME_HIGH), 0x10);
	tear_down(&clock);
}

static void tells_the_hosts_time_by_default(void **state)
{
	static const struct goldfish_rtc_ops ops = { .set_timer = set_timer };
	struct clock clock;
	uint64_t told_ns;

	(void)state;
	set_up(&clock);
	tear_down(&clock);
	goldfish_rtc_init(&clock.rtc, &clock.irq.line, &ops, &clock);
	told_ns = read_pair(&clock, TIME_LOW);
	assert_in_range(told_ns / 1000000000, time(NULL) - 60, time(NULL) + 1);
	tear_down(&clock);
}

static void can_be_set(void **state)
{
	static const uint64_t times[] = { 0, 1, START - 1, START + 5, UINT64_MAX, BIT(32) - 1 };
	struct clock clock;

	(void)state;
	set_up(&clock);
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		write_pair(&clock, TIME_LOW, times[i]);
		assert_int_equal(read_pair(&clock, TIME_LOW), times[i]);
		clock.now_ns += 1000;
		assert_int_equal(read_pair(&clock, TIME_LOW), times[i] + 1000);
	}
	/* The high half alone waits for the low one; the low one alone leaves the high one. */
	write_pair(&clock, TIME_LOW, START);
	rig_write32(&clock.mmio, TIME_HIGH, 1);
	assert_int_equal(read_pair(&clock, TIME_LOW), START);
	rig_write32(&clock.mmio, TIME_LOW, 2);
	assert_int_equal(read_pair(&clock, TIME_LOW), UINT64_C(0x100000002));
	rig_write32(&clock.mmio, TIME_LOW, 3);
	assert_int_equal(read_pair(&clock, TIME_LOW), UINT64_C(0x100000003));
	clock.now_ns += BIT(32);
	rig_write32(&clock.mmio, TIME_LOW, 4);
	assert_int_equal(read_pair(&clock, TIME_LOW), UINT64_C(0x200000004));
	tear_down(&clock);
}

static void alarm_fires(void **state)
{
	struct clock clock;

	(void)state;
	set_up(&clock);
	write_pair(&clock, ALARM_LOW, START + 500);
	rig_write32(&clock.mmio, IRQ_ENABLED, 1);
	assert_int_equal(clock.deadline_ns, START + 500);
	assert_int_equal(rig_read32(&clock.mmio, ALARM_STATUS), 1);
	assert_int_equal(read_pair(&clock, ALARM_LOW), START + 500);
	assert_int_equal(clock.irq.n_raised, 0);

	/* Early: ask again. */
	clock.now_ns = START + 499;
	goldfish_rtc_alarm(&clock.rtc);
	assert_int_equal(clock.irq.n_raised, 0);
	assert_int_equal(clock.deadline_ns, START + 500);

	clock.now_ns = START + 500;
	goldfish_rtc_alarm(&clock.rtc);
	assert_true(clock.irq.is_high);
	assert_int_equal(rig_read32(&clock.mmio, ALARM_STATUS), 0);
	rig_write32(&clock.mmio, CLEAR_INTERRUPT, 1);
	assert_false(clock.irq.is_high);

	/* In vain: nothing was asked for. */
	goldfish_rtc_alarm(&clock.rtc);
	assert_int_equal(clock.irq.n_raised, 1);
	tear_down(&clock);
}

static void alarm_in_the_past_fires_at_once(void **state)
{
	struct clock clock;

	(void)state;
	set_up(&clock);
	write_pair(&clock, ALARM_LOW, START);
	assert_false(clock.irq.is_high);
	rig_write32(&clock.mmio, IRQ_ENABLED, 1);
	assert_true(clock.irq.is_high);
	assert_int_equal(clock.n_timers, 0);
	rig_write32(&clock.mmio, IRQ_ENABLED, 0);
	assert_false(clock.irq.is_high);
	/* Still pending; the next alarm is a new edge though the line is high. */
	rig_write32(&clock.mmio, IRQ_ENABLED, 1);
	assert_int_equal(clock.irq.n_raised, 2);
	rig_write32(&clock.mmio, IRQ_ENABLED, 1);
	assert_int_equal(clock.irq.n_raised, 2);
	write_pair(&clock, ALARM_LOW, START - 1);
	assert_int_equal(clock.irq.n_raised, 3);
	tear_down(&clock);
}

static void alarm_can_be_cleared(void **state)
{
	struct clock clock;

	(void)state;
	set_up(&clock);
	rig_write32(&clock.mmio, IRQ_ENABLED, 1);
	write_pair(&clock, ALARM_LOW, START + 500);
	rig_write32(&clock.mmio, CLEAR_ALARM, 1);
	assert_int_equal(clock.deadline_ns, GOLDFISH_RTC_NO_TIMER);
	assert_int_equal(rig_read32(&clock.mmio, ALARM_STATUS), 0);
	clock.now_ns = START + 500;
	goldfish_rtc_alarm(&clock.rtc); /* was on its way */
	assert_int_equal(clock.irq.n_raised, 0);
	tear_down(&clock);
}

/* The alarm is in the guest's time, the timer in the host's: setting the time moves it. */
static void alarm_follows_the_guests_time(void **state)
{
	struct clock clock;

	(void)state;
	set_up(&clock);
	rig_write32(&clock.mmio, IRQ_ENABLED, 1);
	write_pair(&clock, TIME_LOW, 1000);
	write_pair(&clock, ALARM_LOW, 1500);
	assert_int_equal(clock.deadline_ns, START + 500);
	write_pair(&clock, TIME_LOW, 1400);
	assert_int_equal(clock.deadline_ns, START + 100);
	assert_int_equal(clock.irq.n_raised, 0);
	write_pair(&clock, TIME_LOW, 1500);
	assert_int_equal(clock.irq.n_raised, 1);
	assert_int_equal(clock.deadline_ns, GOLDFISH_RTC_NO_TIMER);
	/* After the end of the host's clock is never. */
	write_pair(&clock, TIME_LOW, 0);
	write_pair(&clock, ALARM_LOW, UINT64_MAX);
	assert_int_equal(clock.deadline_ns, GOLDFISH_RTC_NO_TIMER);
	assert_int_equal(rig_read32(&clock.mmio, ALARM_STATUS), 1);
	tear_down(&clock);
}

static void ignores_other_accesses(void **state)
{
	static const struct {
		uint64_t offset;
		unsigned int len;
	} rows[] = { { 0, 1 }, { 0, 2 },  { 0, 8 },  { 1, 4 },    { 2, 4 },     { 3, 1 },
		     { 8, 8 }, { 16, 1 }, { 16, 2 }, { 0x20, 4 }, { 0xffc, 4 }, { 0xff8, 8 } };
	struct clock clock;

	(void)state;
	set_up(&clock);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(rig_read(&clock.mmio, rows[i].offset, rows[i].len), 0);
		rig_write(&clock.mmio, rows[i].offset, rows[i].len, 1);
	}
	rig_write32(&clock.mmio, ALARM_STATUS, 1);
	assert_int_equal(read_pair(&clock, TIME_LOW), START);
	assert_int_equal(rig_read32(&clock.mmio, ALARM_STATUS), 0);
	assert_int_equal(rig_read32(&clock.mmio, IRQ_ENABLED), 0);
	assert_int_equal(rig_read32(&clock.mmio, CLEAR_ALARM), 0);
	assert_int_equal(clock.irq.n_raised + clock.n_timers, 0);
	tear_down(&clock);
}

static void *hammer(void *arg)
{
	struct clock *clock = arg;
	uint32_t seed = (uint32_t)(uintptr_t)&seed | 1;

	for (int i = 0; i < 20000; i++) {
		uint32_t random = rig_random(&seed);

		clock->now_ns += random >> 8;
		if ((random & 7) == 0)
			goldfish_rtc_alarm(&clock->rtc);
		else if ((random & 7) < 4)
			rig_read32(&clock->mmio, random >> 3 & 0x3c);
		else
			rig_write32(&clock->mmio, random >> 3 & 0x3c, random);
	}
	return NULL;
}

static void serves_two_threads(void **state)
{
	struct clock clock;
	pthread_t other;

	(void)state;
	set_up(&clock);
	assert_int_equal(pthread_create(&other, NULL, hammer, &clock), 0);
	hammer(&clock);
	pthread_join(other, NULL);
	rig_write32(&clock.mmio, CLEAR_ALARM, 1);
	rig_write32(&clock.mmio, CLEAR_INTERRUPT, 1);
	assert_false(clock.irq.is_high);
	tear_down(&clock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_the_time),
		cmocka_unit_test(tells_the_hosts_time_by_default),
		cmocka_unit_test(can_be_set),
		cmocka_unit_test(alarm_fires),
		cmocka_unit_test(alarm_in_the_past_fires_at_once),
		cmocka_unit_test(alarm_can_be_cleared),
		cmocka_unit_test(alarm_follows_the_guests_time),
		cmocka_unit_test(ignores_other_accesses),
		cmocka_unit_test(serves_two_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
