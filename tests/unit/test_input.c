/* The keyboard with the power key. */
#include "driver.h"
#include "test.h"
#include "util/bits.h"
#include "virtio/input.h"

#include <errno.h>
#include <string.h>

enum { N_PAGES = 64, CONFIG = 0x100, EVENT_SIZE = 8, N_EVENTS = 12 };
enum { SELECT = CONFIG, SUBSEL = CONFIG + 1, SIZE = CONFIG + 2, DATA = CONFIG + 8 };

struct rig {
	struct input input;
	struct driver d;
};

static int set_up(void **state)
{
	static struct rig rig;

	rig = (struct rig){ 0 };
	driver_init(&rig.d, N_PAGES);
	assert_int_equal(input_init(&rig.input, "keys", &rig.d.mem, &rig.d.irq.line, NULL), 0);
	driver_attach(&rig.d, &rig.input.dev);
	*state = &rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	input_deinit(&rig->input);
	input_deinit(&rig->input);
	driver_deinit(&rig->d);
	return 0;
}

/* ---- configuration ---- */

/* \return its size, with the bytes in \p bytes */
static uint8_t ask(const struct driver *d, uint8_t select, uint8_t subsel, uint8_t bytes[56])
{
	rig_write8(&d->mmio, SELECT, select);
	rig_write8(&d->mmio, SUBSEL, subsel);
	for (unsigned int i = 0; i < 56; i++)
		bytes[i] = rig_read8(&d->mmio, DATA + i);
	return rig_read8(&d->mmio, SIZE);
}

static void tells_what_it_is(void **state)
{
	const struct driver *d = &((struct rig *)*state)->d;
	uint8_t bytes[56];
	uint8_t size;

	assert_int_equal(rig_read32(&d->mmio, 0x08), 18);
	size = ask(d, 1, 0, bytes);
	assert_int_equal(size, strlen("TeleVM power key"));
	assert_memory_equal(bytes, "TeleVM power key", size);
	assert_int_equal(ask(d, 3, 0, bytes), 8);
	assert_int_equal(bytes[0] | bytes[1] << 8, 6);
	size = ask(d, 0x11, 1, bytes);
	assert_int_equal(size, 116 / 8 + 1);
	for (unsigned int key = 0; key < 56 * 8; key++) {
		bool is_set = (bytes[key / 8] & BIT(key % 8)) != 0;

		assert_int_equal(is_set, key == 29 || key == 56 || key == 111 || key == 116);
	}
}

/* What there is nothing to tell of has size 0, and no bytes of what was asked before. */
static void has_nothing_else(void **state)
{
	const struct driver *d = &((struct rig *)*state)->d;
	static const uint8_t zeros[56];
	uint8_t bytes[56];
	unsigned int n_known = 0;

	for (unsigned int select = 0; select < 256; select++) {
		for (unsigned int subsel = 0; subsel < 256; subsel++) {
			ask(d, 0x11, 1, bytes);
			if (ask(d, (uint8_t)select, (uint8_t)subsel, bytes) != 0)
				n_known++;
			else
				assert_memory_equal(bytes, zeros, sizeof(zeros));
		}
	}
	assert_int_equal(n_known, 3);
}

static void only_the_selectors_can_be_written(void **state)
{
	struct driver *d = &((struct rig *)*state)->d;
	uint8_t bytes[56];

	ask(d, 1, 0, bytes);
	for (unsigned int at = SIZE; at < CONFIG + 0x200; at++)
		rig_write8(&d->mmio, at, 0xff);
	rig_write(&d->mmio, CONFIG + 4, 8, UINT64_MAX);
	assert_int_equal(rig_read8(&d->mmio, SIZE), strlen("TeleVM power key"));
	assert_int_equal(rig_read8(&d->mmio, DATA), 'T');
	/* A wide one counts as far as they go. */
	rig_write(&d->mmio, CONFIG, 8, UINT64_C(0xffffffffffff0111));
	assert_int_equal(rig_read8(&d->mmio, SIZE), 15);
	assert_int_equal(rig_read(&d->mmio, CONFIG, 8), 0x0f0111);
	/* Nothing is selected after a reset. */
	driver_boot(d, 0);
	assert_int_equal(rig_read(&d->mmio, CONFIG, 8), 0);
}

/* ---- events ---- */

struct event {
	uint16_t type;
	uint16_t code;
	uint32_t value;
};

static const struct event expected[N_EVENTS] = {
	{ 1, 116, 1 }, { 0, 0, 0 }, { 1, 116, 0 }, { 0, 0, 0 },  { 1, 29, 1 }, { 1, 56, 1 },
	{ 1, 111, 1 }, { 0, 0, 0 }, { 1, 111, 0 }, { 1, 56, 0 }, { 1, 29, 0 }, { 0, 0, 0 },
};

static uint64_t give_buffers(struct driver *d, unsigned int n)
{
	uint64_t gpa = driver_alloc(d, (uint64_t)n * EVENT_SIZE, EVENT_SIZE);

	for (unsigned int i = 0; i < n; i++) {
		const struct driver_buf buf = { gpa + (uint64_t)i * EVENT_SIZE, EVENT_SIZE, true };

		driver_add(d, INPUT_EVENTS, &buf, 1);
	}
	driver_kick(d, INPUT_EVENTS);
	return gpa;
}

static void assert_events(struct driver *d, uint64_t gpa, unsigned int first, unsigned int n)
{
	struct driver_used used;

	for (unsigned int i = 0; i < n; i++) {
		assert_true(driver_take_used(d, INPUT_EVENTS, &used));
		assert_int_equal(used.len, EVENT_SIZE);
	}
	assert_false(driver_take_used(d, INPUT_EVENTS, &used));
	assert_memory_equal(driver_ptr(d, gpa), &expected[first], n * EVENT_SIZE);
}

static void presses_the_keys(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	uint64_t gpa;

	driver_boot(d, 0);
	gpa = give_buffers(d, 2 * N_EVENTS);
	assert_false(d->irq.is_high);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(input_press_power(&rig->input, NULL), 0);
		assert_true(rig_irq_take_edge(&d->irq));
		assert_events(d, gpa + (uint64_t)i * N_EVENTS * EVENT_SIZE, 0, N_EVENTS);
	}
}

/* What finds no buffer comes when there is one, in order; and what is kept does not grow. */
static void waits_for_buffers(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	struct err err = { 0 };
	uint64_t gpa;

	driver_boot(d, VIRTIO_F_EVENT_IDX);
	gpa = give_buffers(d, 5);
	assert_int_equal(input_press_power(&rig->input, &err), 0);
	assert_events(d, gpa, 0, 5);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(input_press_power(&rig->input, &err), -ENODEV);
	assert_non_null(strstr(err.text, "has not taken"));
	gpa = give_buffers(d, 1);
	assert_events(d, gpa, 5, 1);
	gpa = give_buffers(d, 20);
	assert_events(d, gpa, 6, 6);
	assert_int_equal(input_press_power(&rig->input, &err), 0);
}

static void says_when_nobody_listens(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	struct err err = { 0 };
	uint64_t gpa;

	assert_int_equal(input_press_power(&rig->input, &err), -ENODEV);
	assert_string_equal(err.text, "the guest has no driver for the power key");
	driver_boot(d, 0);
	assert_int_equal(input_press_power(&rig->input, &err), -ENODEV);
	assert_string_equal(err.text, "the guest's driver for the power key takes no events");
	/* None of it comes later. */
	gpa = give_buffers(d, 1);
	assert_events(d, gpa, 0, 0);
	/* And nothing of one half done after a reset. */
	assert_int_equal(input_press_power(&rig->input, &err), 0);
	driver_boot(d, 0);
	gpa = give_buffers(d, 1);
	assert_events(d, gpa, 0, 0);
	rig_write32(&d->mmio, 0x70, 0);
	assert_int_equal(input_press_power(&rig->input, &err), -ENODEV);
}

static void assert_broken(struct rig *rig, unsigned int queue, const struct driver_buf *bufs,
			  unsigned int n)
{
	struct driver *d = &rig->d;
	struct driver_used used;
	uint64_t gpa;

	driver_boot(d, 0);
	driver_add(d, queue, bufs, n);
	driver_kick(d, queue);
	if (queue == INPUT_EVENTS)
		assert_int_equal(input_press_power(&rig->input, NULL), -ENODEV);
	assert_true((driver_status(d) & VIRTIO_STATUS_NEEDS_RESET) != 0);
	assert_false(driver_take_used(d, queue, &used));
	assert_int_equal(input_press_power(&rig->input, NULL), -ENODEV);
	driver_boot(d, 0);
	gpa = give_buffers(d, N_EVENTS);
	assert_int_equal(input_press_power(&rig->input, NULL), 0);
	assert_events(d, gpa, 0, N_EVENTS);
}

static void buffers_that_cannot_be(void **state)
{
	struct rig *rig = *state;
	const struct driver_buf readable = { DRIVER_RAM_GPA, EVENT_SIZE, false };
	const struct driver_buf writable = { DRIVER_RAM_GPA, EVENT_SIZE, true };
	const struct driver_buf short_in = { DRIVER_RAM_GPA, EVENT_SIZE - 1, true };
	const struct driver_buf both[] = { readable, writable };

	assert_broken(rig, INPUT_EVENTS, &readable, 1);
	assert_broken(rig, INPUT_EVENTS, &short_in, 1);
	assert_broken(rig, INPUT_EVENTS, both, 2);
	assert_broken(rig, INPUT_STATUS, &writable, 1);
	assert_broken(rig, INPUT_STATUS, both, 2);
}

static void an_event_in_pieces(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	uint64_t gpa = driver_alloc(d, 64, 8);
	const struct driver_buf pieces[] = {
		{ gpa, 3, true },
		{ gpa + 3, 1, true },
		{ gpa + 4, 60, true },
	};
	struct driver_used used;

	driver_boot(d, 0);
	driver_add(d, INPUT_EVENTS, pieces, ARRAY_SIZE(pieces));
	driver_kick(d, INPUT_EVENTS);
	assert_int_equal(input_press_power(&rig->input, NULL), 0);
	assert_true(driver_take_used(d, INPUT_EVENTS, &used));
	assert_int_equal(used.len, EVENT_SIZE);
	assert_memory_equal(driver_ptr(d, gpa), &expected[0], EVENT_SIZE);
}

/* More than one turn's work of lights that are not there. */
static void gives_states_back(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	struct driver_used used;
	struct driver_buf buf;

	driver_boot(d, 0);
	buf = (struct driver_buf){ driver_alloc(d, EVENT_SIZE, 8), EVENT_SIZE, false };
	for (unsigned int i = 0; i < d->queues[INPUT_STATUS].size; i++)
		driver_add(d, INPUT_STATUS, &buf, 1);
	driver_kick(d, INPUT_STATUS);
	for (unsigned int i = 0; i < d->queues[INPUT_STATUS].size; i++) {
		assert_true(driver_take_used(d, INPUT_STATUS, &used));
		assert_int_equal(used.len, 0);
	}
	assert_true(d->irq.is_high);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tells_what_it_is),
		TEST(has_nothing_else),
		TEST(only_the_selectors_can_be_written),
		TEST(presses_the_keys),
		TEST(waits_for_buffers),
		TEST(says_when_nobody_listens),
		TEST(buffers_that_cannot_be),
		TEST(an_event_in_pieces),
		TEST(gives_states_back),
	};

	log_set_level(LOG_OFF);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
