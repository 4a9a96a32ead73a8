/*
 * The transport and the queues, by a device that gives every chain back with its readable bytes
 * copied into its writable ones.
 */
#include "driver.h"
#include "test.h"
#include "util/bits.h"
#include "virtio/mmio.h"

#include <event2/event.h>
#include <pthread.h>

enum { QUEUE_SIZE = VIRTQ_SIZE_MAX, N_PAGES = 64 };

struct echo {
	struct virtio_dev dev;
	struct driver d;
	unsigned int n_resets;
	unsigned int n_chains;
	uint8_t config_written[8];
};

static bool echo_process(struct virtio_dev *dev, unsigned int queue)
{
	struct echo *echo = container_of(dev, struct echo, dev);
	static struct virtq_chain chain;
	uint8_t bytes[64];

	for (unsigned int i = 0; i < VIRTIO_BUDGET; i++) {
		size_t len;

		if (!virtio_dev_pop(dev, queue, &chain)) {
			virtio_dev_signal(dev, queue);
			return false;
		}
		echo->n_chains++;
		len = virtq_chain_read(&chain, 0, bytes, sizeof(bytes));
		len = virtq_chain_write(&chain, 0, bytes, len);
		virtq_push(&dev->queues[queue], chain.head, (uint32_t)len);
	}
	virtio_dev_signal(dev, queue);
	return true;
}

static void echo_reset(struct virtio_dev *dev)
{
	container_of(dev, struct echo, dev)->n_resets++;
}

static void echo_write_config(struct virtio_dev *dev, unsigned int offset, const uint8_t *bytes,
			      unsigned int len)
{
	memcpy(container_of(dev, struct echo, dev)->config_written + offset, bytes, len);
}

static const struct virtio_dev_class echo_class = {
	.name = "echo",
	.device_id = 42,
	.features = BIT(3) | BIT(35),
	.n_queues = 2,
	.queue_size = QUEUE_SIZE,
	.process = echo_process,
	.reset = echo_reset,
	.write_config = echo_write_config,
};

static int set_up(void **state)
{
	static struct echo echo;
	struct err err;

	echo = (struct echo){ 0 };
	driver_init(&echo.d, N_PAGES);
	assert_int_equal(
		virtio_dev_init(&echo.dev, &echo_class, "e0", &echo.d.mem, &echo.d.irq.line, &err),
		0);
	echo.dev.config_size = 6;
	memcpy(echo.dev.config, "abcdef", 6);
	driver_attach(&echo.d, &echo.dev);
	*state = &echo;
	return 0;
}

static int tear_down(void **state)
{
	struct echo *echo = *state;

	virtio_dev_deinit(&echo->dev);
	driver_deinit(&echo->d);
	return 0;
}

static uint64_t text_at(struct driver *d, const char *text)
{
	uint64_t gpa = driver_alloc(d, strlen(text) + 1, 1);

	memcpy(driver_ptr(d, gpa), text, strlen(text));
	return gpa;
}

static bool needs_reset(const struct driver *d)
{
	return (driver_status(d) & VIRTIO_STATUS_NEEDS_RESET) != 0;
}

/* ---- the transport ---- */

static void identity(void **state)
{
	struct driver *d = &((struct echo *)*state)->d;

	assert_int_equal(rig_read32(&d->mmio, 0x00), 0x74726976);
	assert_int_equal(rig_read32(&d->mmio, 0x04), 2);
	assert_int_equal(rig_read32(&d->mmio, 0x08), 42);
	rig_write32(&d->mmio, 0x14, 0);
	assert_int_equal(rig_read32(&d->mmio, 0x10), BIT(3) | BIT(28) | BIT(29));
	rig_write32(&d->mmio, 0x14, 1);
	assert_int_equal(rig_read32(&d->mmio, 0x10), BIT(0) | BIT(3));
	rig_write32(&d->mmio, 0x14, 2);
	assert_int_equal(rig_read32(&d->mmio, 0x10), 0);
	assert_int_equal(rig_read32(&d->mmio, 0xb0), UINT32_MAX);
}

/* T01, T05 */
static void odd_accesses(void **state)
{
	struct driver *d = &((struct echo *)*state)->d;

	assert_int_equal(rig_read(&d->mmio, 0x00, 1), 0x76);
	assert_int_equal(rig_read(&d->mmio, 0x00, 8), 0x0000000274726976);
	assert_int_equal(rig_read(&d->mmio, 0x02, 4), 0x00027472);
	rig_write(&d->mmio, 0x70, 1, 1);
	rig_write(&d->mmio, 0x70, 8, 1);
	assert_int_equal(driver_status(d), 0);
	rig_write32(&d->mmio, 0x00, 7);
	assert_int_equal(rig_read32(&d->mmio, 0x00), 0x74726976);
	assert_int_equal(rig_read32(&d->mmio, 0x30), 0);
}

/* T04 */
static void configuration(void **state)
{
	struct echo *echo = *state;
	struct driver *d = &echo->d;
	_Atomic uint64_t n_fails = 0;

	assert_int_equal(rig_read(&d->mmio, 0x100, 1), 'a');
	assert_int_equal(rig_read(&d->mmio, 0x101, 2), 'b' | 'c' << 8);
	assert_int_equal(rig_read(&d->mmio, 0x104, 4), 'e' | 'f' << 8);
	assert_int_equal(rig_read(&d->mmio, 0x104, 8), 'e' | 'f' << 8);
	assert_int_equal(rig_read(&d->mmio, 0xff8, 8), 0);
	echo->dev.fails.config = &n_fails;
	rig_write(&d->mmio, 0x102, 2, 0x2221);
	rig_write(&d->mmio, 0x105, 2, 0x4443); /* ends past it */
	rig_write(&d->mmio, 0x106, 1, 0x55);
	assert_int_equal(n_fails, 2);
	assert_memory_equal(echo->config_written, "\0\0\x21\x22\0\0\0\0", 8);
}

/* T12 */
static void status_steps(void **state)
{
	struct echo *echo = *state;
	struct driver *d = &echo->d;
	static const uint8_t refused_at_0[] = { 2, 4, 8, 3 | 8, 15, 64, 16, 0xff };
	_Atomic uint64_t n_dropped = 0;

	echo->dev.fails.config = &n_dropped;
	for (size_t i = 0; i < sizeof(refused_at_0); i++) {
		rig_write32(&d->mmio, 0x70, refused_at_0[i]);
		assert_int_equal(driver_status(d), 0);
	}
	assert_int_equal(n_dropped, sizeof(refused_at_0));
	rig_write32(&d->mmio, 0x70, 1);
	rig_write32(&d->mmio, 0x70, 3);
	assert_int_equal(n_dropped, sizeof(refused_at_0));
	rig_write32(&d->mmio, 0x70, 1); /* no way back */
	assert_int_equal(driver_status(d), 3);
	rig_write32(&d->mmio, 0x70, 3 | 8); /* without VERSION_1 */
	assert_int_equal(driver_status(d), 3);
	assert_int_equal(n_dropped, sizeof(refused_at_0) + 2);
	rig_write32(&d->mmio, 0x70, 3 | 128);
	assert_int_equal(driver_status(d), 3 | 128);
	rig_write32(&d->mmio, 0x70, 15 | 128);
	assert_int_equal(driver_status(d), 3 | 128);
	rig_write32(&d->mmio, 0x70, 0);
	assert_int_equal(driver_status(d), 0);
	assert_int_equal(n_dropped, sizeof(refused_at_0) + 3);
}

/* A driver that keeps to the order loses no write, Linux's at its end included. */
static void nothing_dropped_of_what_is_right(void **state)
{
	struct echo *echo = *state;
	struct driver *d = &echo->d;
	_Atomic uint64_t n_dropped = 0;

	echo->dev.fails.config = &n_dropped;
	driver_boot(d, VIRTIO_F_EVENT_IDX);
	driver_kick(d, 0);
	rig_write32(&d->mmio, 0x64, 3);
	rig_write32(&d->mmio, 0x70, 0);
	for (uint32_t i = 0; i < 2; i++) {
		rig_write32(&d->mmio, 0x30, i);
		rig_write32(&d->mmio, 0x44, 0);
	}
	assert_int_equal(n_dropped, 0);
}

/* T13 */
static void features_that_are_not_offered(void **state)
{
	struct echo *echo = *state;
	struct driver *d = &echo->d;

	assert_false(driver_negotiate(d, VIRTIO_F_VERSION_1 | BIT(4)));
	assert_false(driver_negotiate(d, VIRTIO_F_VERSION_1 | BIT(63)));
	assert_true(driver_negotiate(d, VIRTIO_F_VERSION_1 | BIT(35)));
	rig_write32(&d->mmio, 0x24, 0);
	rig_write32(&d->mmio, 0x20, (uint32_t)BIT(3)); /* too late */
	assert_int_equal(echo->dev.features, VIRTIO_F_VERSION_1 | BIT(35));
}

/* T06 */
static void queues_that_are_not_there(void **state)
{
	struct driver *d = &((struct echo *)*state)->d;
	static const uint32_t numbers[] = { 2, 0xffff, 0x10000, UINT32_MAX };

	driver_negotiate(d, VIRTIO_F_VERSION_1);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		rig_write32(&d->mmio, 0x30, numbers[i]);
		assert_int_equal(rig_read32(&d->mmio, 0x34), 0);
		rig_write32(&d->mmio, 0x38, 8);
		rig_write32(&d->mmio, 0x44, 1);
		assert_int_equal(rig_read32(&d->mmio, 0x44), 0);
		rig_write32(&d->mmio, 0x50, numbers[i]); /* T07 */
	}
	driver_settle(d);
}

/* T08 */
static void sizes_that_cannot_be(void **state)
{
	struct driver *d = &((struct echo *)*state)->d;
	static const uint32_t sizes[] = {
		0, 3, 255, 257, 512, 0xffff, 0x10000, 0x10010, UINT32_MAX
	};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		driver_negotiate(d, VIRTIO_F_VERSION_1);
		driver_place_queue(d, 0, QUEUE_SIZE);
		d->queues[0].size = 0;
		driver_set_queue(d, 0); /* leaves the addresses */
		rig_write32(&d->mmio, 0x38, sizes[i]);
		rig_write32(&d->mmio, 0x44, 1);
		assert_int_equal(rig_read32(&d->mmio, 0x44), 0);
		rig_write32(&d->mmio, 0x70, 15);
		assert_true(needs_reset(d));
	}
}

/* T09 */
static void rings_that_cannot_be(void **state)
{
	struct echo *echo = *state;
	struct driver *d = &echo->d;
	const uint64_t end = DRIVER_RAM_GPA + d->ram_size;
	_Atomic uint64_t n_activate_fails = 0;
	_Atomic uint64_t n_event_fails = 0;
	const struct {
		uint64_t desc;
		uint64_t avail;
		uint64_t used;
	} bad[] = {
		{ DRIVER_RAM_GPA + 8, DRIVER_RAM_GPA + 4096, DRIVER_RAM_GPA + 8192 },
		{ DRIVER_RAM_GPA, DRIVER_RAM_GPA + 4097, DRIVER_RAM_GPA + 8192 },
		{ DRIVER_RAM_GPA, DRIVER_RAM_GPA + 4096, DRIVER_RAM_GPA + 8194 },
		{ 0, DRIVER_RAM_GPA, DRIVER_RAM_GPA },
		{ DRIVER_RAM_GPA, end - 32, DRIVER_RAM_GPA },
		{ end - 16, DRIVER_RAM_GPA, DRIVER_RAM_GPA },
		{ DRIVER_RAM_GPA, DRIVER_RAM_GPA, UINT64_MAX - 3 },
		{ DRIVER_RAM_GPA - 16, DRIVER_RAM_GPA, DRIVER_RAM_GPA },
	};

	echo->dev.fails.activate = &n_activate_fails;
	echo->dev.fails.event = &n_event_fails;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		driver_negotiate(d, VIRTIO_F_VERSION_1);
		driver_place_queue(d, 0, QUEUE_SIZE);
		d->queues[0].desc_gpa = bad[i].desc;
		d->queues[0].avail_gpa = bad[i].avail;
		d->queues[0].used_gpa = bad[i].used;
		driver_set_queue(d, 0);
		assert_int_equal(rig_read32(&d->mmio, 0x44), 0);
		rig_write32(&d->mmio, 0x70, 15);
		assert_true(needs_reset(d));
		d->queues[0].desc_gpa = 0;
	}
	assert_int_equal(n_activate_fails, ARRAY_SIZE(bad));
	assert_int_equal(n_event_fails, ARRAY_SIZE(bad));
	driver_boot(d, 0);
	assert_int_equal(driver_status(d), 15);
}

/* T11 */
static void frozen_when_ready(void **state)
{
	struct echo *echo = *state;
	struct driver *d = &echo->d;
	static const uint64_t registers[] = {
		0x20, 0x38, 0x44, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4
	};
	_Atomic uint64_t n_dropped = 0;
	struct virtq before;

	driver_boot(d, 0);
	echo->dev.fails.config = &n_dropped;
	before = echo->dev.queues[0];
	rig_write32(&d->mmio, 0x30, 0);
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		rig_write32(&d->mmio, registers[i], 0xdeadbeef);
		rig_write32(&d->mmio, registers[i], 0);
	}
	assert_memory_equal(&before, &echo->dev.queues[0], sizeof(before));
	assert_int_equal(driver_status(d), 15);
	/* All but the 0 to QUEUE_READY, which Linux writes when it need not. */
	assert_int_equal(n_dropped, 2 * ARRAY_SIZE(registers) - 1);
}

/* 4.2.2.2: a driver whose set-up fails writes 0, reads it back, and may begin again. */
static void a_queue_taken_back(void **state)
{
	struct driver *d = &((struct echo *)*state)->d;

	driver_negotiate(d, VIRTIO_F_VERSION_1);
	driver_place_queue(d, 0, QUEUE_SIZE);
	driver_set_queue(d, 0);
	assert_int_equal(rig_read32(&d->mmio, 0x44), 1);
	rig_write32(&d->mmio, 0x44, 0);
	assert_int_equal(rig_read32(&d->mmio, 0x44), 0);
	driver_set_queue(d, 0);
	assert_int_equal(rig_read32(&d->mmio, 0x44), 1);
}

/* T14 */
static void reset_storm(void **state)
{
	struct echo *echo = *state;
	struct driver *d = &echo->d;

	for (int i = 0; i < 1000; i++)
		driver_boot(d, VIRTIO_F_EVENT_IDX);
	assert_int_equal(echo->n_resets, 1000);
}

/* T15 */
static void chains_from_before_it_was_ready(void **state)
{
	struct echo *echo = *state;
	struct driver *d = &echo->d;
	struct driver_buf buf = { .gpa = text_at(d, "early"), .len = 5 };
	struct driver_used used;

	driver_negotiate(d, VIRTIO_F_VERSION_1);
	driver_place_queue(d, 0, QUEUE_SIZE);
	driver_set_queue(d, 0);
	driver_add(d, 0, &buf, 1);
	driver_kick(d, 0);
	assert_int_equal(echo->n_chains, 0);
	rig_write32(&d->mmio, 0x70, 15);
	driver_settle(d);
	assert_true(driver_take_used(d, 0, &used));
}

/* T16 */
static void interrupts(void **state)
{
	struct echo *echo = *state;
	struct driver *d = &echo->d;
	struct driver_buf buf = { .gpa = text_at(d, "x"), .len = 1 };

	driver_boot(d, 0);
	driver_add(d, 0, &buf, 1);
	driver_kick(d, 0);
	assert_int_equal(rig_read32(&d->mmio, 0x60), VIRTIO_ISR_QUEUE);
	assert_true(d->irq.is_high);
	pthread_mutex_lock(&echo->dev.lock);
	virtio_dev_config_changed(&echo->dev);
	pthread_mutex_unlock(&echo->dev.lock);
	assert_int_equal(rig_read32(&d->mmio, 0xfc), 1); /* T17 */
	rig_write32(&d->mmio, 0x64, VIRTIO_ISR_QUEUE);
	assert_true(d->irq.is_high); /* one reason is left */
	rig_write32(&d->mmio, 0x64, 0xfffffffe);
	assert_false(d->irq.is_high);
	rig_write32(&d->mmio, 0x64, 1);
	assert_int_equal(rig_read32(&d->mmio, 0x60), 0);
}

/* Somebody else raises the line: what for is to be read at any time, and it falls as ever. */
static void reasons_that_are_held(void **state)
{
	struct echo *echo = *state;
	struct driver *d = &echo->d;

	driver_boot(d, 0);
	virtio_dev_hold_isr(&echo->dev, VIRTIO_ISR_QUEUE);
	assert_false(d->irq.is_high);
	d->irq.is_high = true;
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(rig_read32(&d->mmio, 0x60), VIRTIO_ISR_QUEUE);
		assert_int_equal(load_le(d->registers + 0x60, 4), VIRTIO_ISR_QUEUE);
		rig_write32(&d->mmio, 0x64, VIRTIO_ISR_QUEUE);
		assert_false(d->irq.is_high);
	}
	/* A reason of ours keeps it high. */
	pthread_mutex_lock(&echo->dev.lock);
	virtio_dev_config_changed(&echo->dev);
	pthread_mutex_unlock(&echo->dev.lock);
	assert_int_equal(rig_read32(&d->mmio, 0x60), VIRTIO_ISR_QUEUE | VIRTIO_ISR_CONFIG);
	rig_write32(&d->mmio, 0x64, VIRTIO_ISR_QUEUE);
	assert_true(d->irq.is_high);
	rig_write32(&d->mmio, 0x64, VIRTIO_ISR_QUEUE | VIRTIO_ISR_CONFIG);
	assert_false(d->irq.is_high);
	assert_int_equal(rig_read32(&d->mmio, 0x60), VIRTIO_ISR_QUEUE);
	virtio_dev_hold_isr(&echo->dev, 0);
	assert_int_equal(rig_read32(&d->mmio, 0x60), 0);
}

/* ---- registers as memory ---- */

static uint32_t shown(const struct driver *d, unsigned int reg)
{
	return (uint32_t)load_le(d->registers + reg, 4);
}

static void all_is_in_the_page(void **state)
{
	struct echo *echo = *state;
	struct driver *d = &echo->d;
	struct driver_buf buf = { .gpa = text_at(d, "x"), .len = 1 };

	driver_boot(d, 0);
	assert_int_equal(shown(d, 0x70), 15);
	rig_write32(&d->mmio, 0x30, 7);
	assert_int_equal(shown(d, 0x34), 0);
	rig_write32(&d->mmio, 0x30, 1);
	assert_int_equal(shown(d, 0x34), QUEUE_SIZE);
	assert_int_equal(shown(d, 0x44), 1);
	driver_add(d, 0, &buf, 1);
	driver_kick(d, 0);
	assert_int_equal(shown(d, 0x60), VIRTIO_ISR_QUEUE);
	rig_write32(&d->mmio, 0x64, VIRTIO_ISR_QUEUE);
	assert_int_equal(shown(d, 0x60), 0);
	pthread_mutex_lock(&echo->dev.lock);
	virtio_dev_break(&echo->dev, "for the test");
	pthread_mutex_unlock(&echo->dev.lock);
	assert_int_equal(shown(d, 0x70), 15 | VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(shown(d, 0x60), VIRTIO_ISR_CONFIG);
	rig_write32(&d->mmio, 0x70, 0);
	assert_int_equal(shown(d, 0x70), 0);
	assert_int_equal(shown(d, 0x60), 0);
}

struct watched {
	struct driver *d;
	unsigned int n_hidden;
	bool is_hidden;
};

static void watch_page(void *ctx, bool is_visible)
{
	struct watched *watched = ctx;

	/* What a driver reads without an exit belongs together: all of it is old, or new. */
	assert_int_equal(watched->d->registers[0x100], is_visible ? 'z' : 'a');
	assert_int_equal(shown(watched->d, 0xfc), is_visible ? 1 : 0);
	watched->is_hidden = !is_visible;
	watched->n_hidden += !is_visible;
}

static void hidden_while_it_changes(void **state)
{
	struct echo *echo = *state;
	struct watched watched = { .d = &echo->d };

	driver_boot(&echo->d, 0);
	echo->dev.page.set_visible = watch_page;
	echo->dev.page.ctx = &watched;
	pthread_mutex_lock(&echo->dev.lock);
	echo->dev.config[0] = 'z';
	virtio_dev_config_changed(&echo->dev);
	pthread_mutex_unlock(&echo->dev.lock);
	assert_int_equal(watched.n_hidden, 1);
	assert_false(watched.is_hidden);
}

/* ---- the queue ---- */

static void a_chain_there_and_back(void **state)
{
	struct driver *d = &((struct echo *)*state)->d;
	uint64_t in = driver_alloc(d, 16, 1);
	const struct driver_buf bufs[] = {
		{ .gpa = text_at(d, "hello "), .len = 6 },
		{ .gpa = text_at(d, "world"), .len = 5 },
		{ .gpa = in, .len = 3, .is_writable = true },
		{ .gpa = in + 3, .len = 13, .is_writable = true },
	};
	struct driver_used used;
	uint16_t head;

	driver_boot(d, 0);
	head = driver_add(d, 0, bufs, 4);
	driver_kick(d, 0);
	assert_true(driver_take_used(d, 0, &used));
	assert_int_equal(used.head, head);
	assert_int_equal(used.len, 11);
	assert_memory_equal(driver_ptr(d, in), "hello world\0\0\0\0\0", 16);
	assert_false(driver_take_used(d, 0, &used));
}

static void boot_with_size(struct driver *d, uint64_t features, uint16_t size)
{
	assert_true(driver_negotiate(d, VIRTIO_F_VERSION_1 | features));
	d->queues[0].desc_gpa = 0;
	driver_place_queue(d, 0, size);
	driver_set_queue(d, 0);
	rig_write32(&d->mmio, 0x70, 15);
	driver_settle(d);
}

/* Full rings of them, past the end of 16 bits. */
static void go_round(struct driver *d, uint16_t size)
{
	struct driver_buf buf = { .gpa = DRIVER_RAM_GPA, .len = 1 };
	struct driver_used used;
	uint16_t heads[QUEUE_SIZE];

	for (unsigned int n = 0; n < 0x10000 + 2 * QUEUE_SIZE; n += size) {
		for (uint16_t i = 0; i < size; i++)
			heads[i] = driver_add(d, 0, &buf, 1);
		rig_write32(&d->mmio, 0x50, 0);
		for (unsigned int i = 0; i <= size / VIRTIO_BUDGET; i++)
			event_base_loop(d->base, EVLOOP_NONBLOCK);
		for (uint16_t i = 0; i < size; i++) {
			assert_true(driver_take_used(d, 0, &used));
			assert_int_equal(used.head, heads[i]);
		}
	}
	assert_int_equal(driver_status(d), 15);
}

/* Q15 */
static void indices_wrap(void **state)
{
	struct driver *d = &((struct echo *)*state)->d;

	for (uint16_t size = 1; size <= QUEUE_SIZE; size *= 2) {
		boot_with_size(d, 0, size);
		go_round(d, size);
	}
}

/* Q13, Q15: an interrupt for each ring's last one, and no other, over the end of 16 bits. */
static void event_indices_wrap(void **state)
{
	struct driver *d = &((struct echo *)*state)->d;
	struct driver_buf buf = { .gpa = DRIVER_RAM_GPA, .len = 1 };
	struct driver_queue *q = &d->queues[0];
	enum { SIZE = 64 };
	struct driver_used used;

	boot_with_size(d, VIRTIO_F_EVENT_IDX, SIZE);
	for (unsigned int n = 0; n < 0x10000 + 4 * SIZE; n += SIZE) {
		unsigned int n_raised = d->irq.n_raised;

		q->avail[2 + SIZE] = (uint16_t)(n + SIZE - 1);
		for (uint16_t i = 0; i < SIZE; i++) {
			/* Where it wants to be kicked: at the next one. */
			assert_int_equal(q->used[2 + 4 * SIZE], (uint16_t)(n + i));
			assert_int_equal(d->irq.n_raised, n_raised);
			driver_add(d, 0, &buf, 1);
			rig_write32(&d->mmio, 0x50, 0);
			event_base_loop(d->base, EVLOOP_NONBLOCK);
			assert_true(driver_take_used(d, 0, &used));
		}
		assert_int_equal(d->irq.n_raised, n_raised + 1);
	}
}

enum { N_BESIDE = 30000 };

struct beside {
	struct driver *d;
	_Atomic bool is_over;
	unsigned int n_kicks;
};

/* 2.7.13.4.1, as Linux does it: a kick when the index passes the one that was asked for, only. */
static void add_and_kick_if_asked(struct beside *b, const struct driver_buf *buf)
{
	const struct driver_queue *q = &b->d->queues[0];
	uint16_t before = q->avail[1];
	uint16_t now;
	uint16_t event;

	driver_add(b->d, 0, buf, 1);
	now = q->avail[1];
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = __atomic_load_n(&q->used[2 + 4 * q->size], __ATOMIC_RELAXED);
	if ((uint16_t)(now - event - 1) < (uint16_t)(now - before)) {
		rig_write32(&b->d->mmio, 0x50, 0);
		b->n_kicks++;
	}
}

static void *drive_beside(void *ctx)
{
	struct beside *b = ctx;
	const struct driver_buf buf = { .gpa = DRIVER_RAM_GPA, .len = 1 };
	const struct driver_queue *q = &b->d->queues[0];

	for (unsigned int i = 0; i < N_BESIDE; i++) {
		uint16_t n_left = q->size;

		add_and_kick_if_asked(b, &buf);
		/* At times all, at times a few stay in the ring. */
		while (n_left > i % 3)
			n_left = (uint16_t)(q->avail[1] -
					    __atomic_load_n(&q->used[1], __ATOMIC_ACQUIRE));
	}
	b->is_over = true;
	return NULL;
}

/* Q13: no kick is lost between the device's last look at the ring and its wish for one. */
static void kicks_only_when_asked(void **state)
{
	struct driver *d = &((struct echo *)*state)->d;
	struct beside b = { .d = d };
	pthread_t thread;

	boot_with_size(d, VIRTIO_F_EVENT_IDX, 4);
	assert_int_equal(pthread_create(&thread, NULL, drive_beside, &b), 0);
	while (!b.is_over)
		event_base_loop(d->base, EVLOOP_NONBLOCK);
	pthread_join(thread, NULL);
	assert_true(b.n_kicks > 0);
}

/* The device asks for the index where it wants the next kick, and looks where we want ours. */
static void event_indices(void **state)
{
	struct driver *d = &((struct echo *)*state)->d;
	struct driver_buf buf = { .gpa = text_at(d, "x"), .len = 1 };
	struct driver_queue *q = &d->queues[0];

	driver_boot(d, VIRTIO_F_EVENT_IDX);
	q->avail[2 + QUEUE_SIZE] = 2; /* when the third is done */
	for (uint16_t i = 0; i < 3; i++) {
		assert_int_equal(d->irq.n_raised, 0);
		assert_int_equal(q->used[2 + 4 * QUEUE_SIZE], i);
		driver_add(d, 0, &buf, 1);
		driver_kick(d, 0);
	}
	assert_int_equal(d->irq.n_raised, 1);
}

static void no_interrupt_when_not_wanted(void **state)
{
	struct driver *d = &((struct echo *)*state)->d;
	struct driver_buf buf = { .gpa = text_at(d, "x"), .len = 1 };

	driver_boot(d, 0);
	d->queues[0].avail[0] = 1;
	driver_add(d, 0, &buf, 1);
	driver_kick(d, 0);
	assert_int_equal(d->irq.n_raised, 0);
}

static void indirect(void **state)
{
	struct driver *d = &((struct echo *)*state)->d;
	uint64_t table_gpa = driver_alloc(d, 33, 1) + 1; /* aligned to nothing */
	uint64_t in = driver_alloc(d, 4, 1);
	const struct driver_desc table[] = {
		{ .gpa = text_at(d, "data"), .len = 4, .flags = DRIVER_NEXT, .next = 1 },
		{ .gpa = in, .len = 4, .flags = DRIVER_WRITE },
	};
	struct driver_used used;

	memcpy(driver_ptr(d, table_gpa), table, sizeof(table));
	driver_boot(d, VIRTIO_F_INDIRECT_DESC);
	d->queues[0].desc[0] = (struct driver_desc){
		.gpa = table_gpa,
		.len = sizeof(table),
		.flags = DRIVER_INDIRECT,
	};
	driver_offer(d, 0, 0);
	driver_kick(d, 0);
	assert_true(driver_take_used(d, 0, &used));
	assert_memory_equal(driver_ptr(d, in), "data", 4);
}

/* Q06 */
static void empty_buffers(void **state)
{
	struct driver *d = &((struct echo *)*state)->d;
	uint64_t in = driver_alloc(d, 8, 1);
	const struct driver_buf bufs[] = {
		{ .gpa = 0, .len = 0 },
		{ .gpa = text_at(d, "abc"), .len = 3 },
		{ .gpa = UINT64_MAX, .len = 0, .is_writable = true },
		{ .gpa = in, .len = 8, .is_writable = true },
		{ .gpa = 0, .len = 0, .is_writable = true },
	};
	struct driver_used used;

	driver_boot(d, 0);
	driver_add(d, 0, bufs, 5);
	driver_add(d, 0, bufs, 1);
	driver_kick(d, 0);
	assert_true(driver_take_used(d, 0, &used));
	assert_int_equal(used.len, 3);
	assert_true(driver_take_used(d, 0, &used));
	assert_int_equal(used.len, 0);
}

/* Q08: a buffer may end exactly where RAM ends */
static void the_last_byte_of_ram(void **state)
{
	struct driver *d = &((struct echo *)*state)->d;
	const struct driver_buf buf = { .gpa = DRIVER_RAM_GPA + d->ram_size - 1, .len = 1 };
	struct driver_used used;

	driver_boot(d, 0);
	driver_add(d, 0, &buf, 1);
	driver_kick(d, 0);
	assert_true(driver_take_used(d, 0, &used));
}

/* ---- guests that break the rules ---- */

struct bad_chain {
	const char *what;
	struct driver_desc desc[4];
	bool is_table; /* desc[1] and on go into an indirect table that desc[0] refers to */
	uint32_t table_len;
};

#define RAM DRIVER_RAM_GPA

static const struct bad_chain bad_chains[] = {
	{ "Q03 next past the end", { { RAM, 1, DRIVER_NEXT, QUEUE_SIZE } }, false, 0 },
	{ "Q03 next far past the end", { { RAM, 1, DRIVER_NEXT, 0xffff } }, false, 0 },
	{ "Q03 a loop of one", { { RAM, 1, DRIVER_NEXT, 0 } }, false, 0 },
	{ "Q03 a loop of one empty buffer", { { RAM, 0, DRIVER_NEXT, 0 } }, false, 0 },
	{ "Q03 a loop of two",
	  { { RAM, 1, DRIVER_NEXT, 1 }, { RAM, 1, DRIVER_NEXT, 0 } },
	  false,
	  0 },
	{ "Q07 sum over 32 bits",
	  { { RAM, N_PAGES * 4096, DRIVER_NEXT, 1 }, { RAM, UINT32_MAX, 0, 0 } },
	  false,
	  0 },
	{ "Q08 wraps", { { UINT64_MAX - 1, 16, 0, 0 } }, false, 0 },
	{ "Q08 in a hole", { { 0x1000, 16, 0, 0 } }, false, 0 },
	{ "Q08 ends past RAM", { { RAM + N_PAGES * 4096 - 8, 16, 0, 0 } }, false, 0 },
	{ "Q08 starts before RAM", { { RAM - 8, 16, 0, 0 } }, false, 0 },
	{ "Q09 read after write",
	  { { RAM, 1, DRIVER_WRITE | DRIVER_NEXT, 1 }, { RAM, 1, 0, 0 } },
	  false,
	  0 },
	{ "Q05 indirect, length 0", { { RAM, 0, DRIVER_INDIRECT, 0 } }, false, 0 },
	{ "Q05 indirect, odd length", { { RAM, 17, DRIVER_INDIRECT, 0 } }, false, 0 },
	{ "Q05 indirect, too long",
	  { { RAM, 16 * (VIRTQ_CHAIN_MAX + 1), DRIVER_INDIRECT, 0 } },
	  false,
	  0 },
	{ "Q05 indirect, no memory", { { 0x1000, 16, DRIVER_INDIRECT, 0 } }, false, 0 },
	{ "Q05 indirect and next", { { RAM, 16, DRIVER_INDIRECT | DRIVER_NEXT, 1 } }, false, 0 },
	{ "Q05 indirect in indirect",
	  { { 0, 0, 0, 0 }, { RAM, 16, DRIVER_INDIRECT, 0 } },
	  true,
	  16 },
	{ "Q05 next past the table",
	  { { 0, 0, 0, 0 }, { RAM, 1, DRIVER_NEXT, 2 }, { RAM, 1, 0, 0 } },
	  true,
	  32 },
	{ "Q05 loop in the table", { { 0, 0, 0, 0 }, { RAM, 1, DRIVER_NEXT, 0 } }, true, 16 },
};

static void place_bad_chain(struct driver *d, const struct bad_chain *bad)
{
	struct driver_desc *desc = d->queues[0].desc;

	memcpy(desc, bad->desc, sizeof(bad->desc));
	if (bad->is_table) {
		uint64_t gpa = driver_alloc(d, bad->table_len, 16);

		memcpy(driver_ptr(d, gpa), &bad->desc[1], bad->table_len);
		desc[0] = (struct driver_desc){
			.gpa = gpa,
			.len = bad->table_len,
			.flags = DRIVER_INDIRECT,
		};
	}
}

static void assert_broken_then_mended(struct driver *d, const char *what)
{
	struct driver_buf good = { .gpa = RAM, .len = 1 };
	struct driver_used used;
	unsigned int n_raised = d->irq.n_raised;

	driver_kick(d, 0);
	if (!needs_reset(d))
		fail_msg("%s: not noticed", what);
	assert_int_equal(d->queues[0].used[1], 0);
	assert_int_equal(rig_read32(&d->mmio, 0x60), VIRTIO_ISR_CONFIG);
	driver_kick(d, 0);
	assert_int_equal(d->irq.n_raised, n_raised + 1); /* told once */
	driver_boot(d, 0);
	driver_add(d, 0, &good, 1);
	driver_kick(d, 0);
	assert_true(driver_take_used(d, 0, &used));
}

static void bad_chains_break_the_device(void **state)
{
	struct driver *d = &((struct echo *)*state)->d;

	for (size_t i = 0; i < ARRAY_SIZE(bad_chains); i++) {
		driver_boot(d, VIRTIO_F_INDIRECT_DESC);
		place_bad_chain(d, &bad_chains[i]);
		driver_offer(d, 0, 0);
		assert_broken_then_mended(d, bad_chains[i].what);
	}
}

/* Q05 */
static void indirect_without_being_agreed(void **state)
{
	struct driver *d = &((struct echo *)*state)->d;

	driver_boot(d, 0);
	d->queues[0].desc[0] = (struct driver_desc){ RAM, 16, DRIVER_INDIRECT, 0 };
	driver_offer(d, 0, 0);
	assert_broken_then_mended(d, "indirect");
}

/* Q01, Q02, Q10 */
static void bad_available_rings(void **state)
{
	struct driver *d = &((struct echo *)*state)->d;

	driver_boot(d, 0);
	d->queues[0].avail[1] = QUEUE_SIZE + 1;
	assert_broken_then_mended(d, "Q01 index too far");
	driver_boot(d, 0);
	d->queues[0].avail[1] = 0xffff;
	assert_broken_then_mended(d, "Q01 index goes back");
	driver_boot(d, 0);
	driver_offer(d, 0, QUEUE_SIZE);
	assert_broken_then_mended(d, "Q02 head past the table");
	driver_boot(d, 0);
	driver_offer(d, 0, 0xffff);
	assert_broken_then_mended(d, "Q02 head far past it");
}

/* Q10 */
static void a_head_in_flight(void **state)
{
	struct driver *d = &((struct echo *)*state)->d;
	struct virtq *vq = &((struct echo *)*state)->dev.queues[0];
	static struct virtq_chain chain;

	driver_boot(d, 0);
	d->queues[0].desc[5] = (struct driver_desc){ RAM, 1, 0, 0 };
	driver_offer(d, 0, 5);
	driver_offer(d, 0, 5);
	assert_int_equal(virtq_pop(vq, &chain), VIRTQ_OK);
	assert_int_equal(virtq_pop(vq, &chain), VIRTQ_E_BROKEN);
	virtq_unpop(vq, 5);
	assert_int_equal(virtq_pop(vq, &chain), VIRTQ_OK);
	virtq_push(vq, 5, 0);
	assert_int_equal(virtq_pop(vq, &chain), VIRTQ_OK);
}

static void count_turn(evutil_socket_t fd, short what, void *ctx)
{
	unsigned int *n_turns = ctx;

	(void)fd;
	(void)what;
	(*n_turns)++;
}

/* A busy queue does not keep the loop for itself: others have their turn in between. */
static void budget(void **state)
{
	struct echo *echo = *state;
	struct driver *d = &echo->d;
	struct driver_buf buf = { .gpa = RAM, .len = 1 };
	struct driver_used used;
	unsigned int n_turns = 0;
	struct event *other;

	driver_boot(d, 0);
	other = event_new(d->base, -1, EV_PERSIST, count_turn, &n_turns);
	for (int i = 0; i < QUEUE_SIZE; i++)
		driver_add(d, 0, &buf, 1);
	rig_write32(&d->mmio, 0x50, 0);
	for (unsigned int i = 1; i <= QUEUE_SIZE / VIRTIO_BUDGET; i++) {
		event_active(other, EV_READ, 0);
		event_base_loop(d->base, EVLOOP_ONCE);
		assert_int_equal(n_turns, i);
		assert_int_equal(echo->n_chains, i * VIRTIO_BUDGET);
	}
	for (int i = 0; i < QUEUE_SIZE; i++)
		assert_true(driver_take_used(d, 0, &used));
	event_free(other);
}

static void slices(void **state)
{
	char bytes[10];
	const struct iovec iov[] = { { bytes, 3 }, { bytes + 3, 4 }, { bytes + 7, 3 } };
	struct iovec out[3];

	(void)state;
	assert_int_equal(iov_slice(iov, 3, 0, 10, out), 3);
	assert_int_equal(iov_slice(iov, 3, 3, 4, out), 1);
	assert_ptr_equal(out[0].iov_base, bytes + 3);
	assert_int_equal(iov_slice(iov, 3, 2, 6, out), 3);
	assert_ptr_equal(out[0].iov_base, bytes + 2);
	assert_int_equal(out[0].iov_len, 1);
	assert_int_equal(out[2].iov_len, 1);
	assert_int_equal(iov_slice(iov, 3, 10, 1, out), 0);
	assert_int_equal(iov_slice(iov, 3, 9, 100, out), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(identity),
		TEST(odd_accesses),
		TEST(configuration),
		TEST(status_steps),
		TEST(nothing_dropped_of_what_is_right),
		TEST(features_that_are_not_offered),
		TEST(queues_that_are_not_there),
		TEST(sizes_that_cannot_be),
		TEST(rings_that_cannot_be),
		TEST(frozen_when_ready),
		TEST(a_queue_taken_back),
		TEST(reset_storm),
		TEST(chains_from_before_it_was_ready),
		TEST(interrupts),
		TEST(reasons_that_are_held),
		TEST(all_is_in_the_page),
		TEST(hidden_while_it_changes),
		TEST(a_chain_there_and_back),
		TEST(indices_wrap),
		TEST(event_indices),
		TEST(event_indices_wrap),
		TEST(kicks_only_when_asked),
		TEST(no_interrupt_when_not_wanted),
		TEST(indirect),
		TEST(empty_buffers),
		TEST(the_last_byte_of_ram),
		TEST(bad_chains_break_the_device),
		TEST(indirect_without_being_agreed),
		TEST(bad_available_rings),
		TEST(a_head_in_flight),
		TEST(budget),
		TEST(slices),
	};

	log_set_level(LOG_OFF);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
