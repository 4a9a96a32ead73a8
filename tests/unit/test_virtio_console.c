/* The console device. C01 to C04 of the list of hostile inputs, with pipes and a terminal. */
#include "driver.h"
#include "pty.h"
#include "test.h"
#include "util/bits.h"
#include "virtio/virtio_console.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <time.h>

enum { N_PAGES = 1024, RX = 0, TX = 1, CONFIG = 0x100 };

struct rig {
	struct virtio_console vc;
	struct driver d;
	struct pty pty;
	int in[2];
	int out[2];
	unsigned int n_leaves;
};

static void on_leave(void *ctx)
{
	((struct rig *)ctx)->n_leaves++;
}

static void start(struct rig *rig, int in_fd, int out_fd)
{
	const struct virtio_console_config config = {
		.in_fd = in_fd,
		.out_fd = out_fd,
		.leave = on_leave,
		.ctx = rig,
	};

	driver_init(&rig->d, N_PAGES);
	assert_int_equal(virtio_console_init(&rig->vc, "c0", &config, &rig->d.mem, &rig->d.irq.line,
					     rig->d.base, NULL),
			 0);
	driver_attach(&rig->d, &rig->vc.dev);
}

static int set_up(void **state)
{
	static struct rig rig;

	rig = (struct rig){ .pty = { -1, -1 } };
	assert_int_equal(pipe2(rig.in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(rig.out, O_CLOEXEC | O_NONBLOCK), 0);
	start(&rig, rig.in[0], rig.out[1]);
	driver_boot(&rig.d, 0);
	*state = &rig;
	return 0;
}

static void stop(struct rig *rig)
{
	virtio_console_deinit(&rig->vc);
	virtio_console_deinit(&rig->vc);
	driver_deinit(&rig->d);
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	stop(rig);
	for (int i = 0; i < 2; i++) {
		close(rig->in[i]);
		close(rig->out[i]);
	}
	return 0;
}

/* Timers of the console are a millisecond at most, but for the second that makes a reader stuck. */
static void pump(struct rig *rig, unsigned int ms)
{
	const struct timeval end = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000L };

	event_base_loopexit(rig->d.base, &end);
	event_base_dispatch(rig->d.base);
	driver_settle(&rig->d);
}

static uint16_t print(struct driver *d, const char *text)
{
	const struct driver_buf buf = {
		.gpa = driver_alloc(d, strlen(text), 1),
		.len = (uint32_t)strlen(text),
	};
	uint16_t head;

	memcpy(driver_ptr(d, buf.gpa), text, strlen(text));
	head = driver_add(d, TX, &buf, 1);
	driver_kick(d, TX);
	return head;
}

static void assert_printed(struct rig *rig, const char *text)
{
	char got[256] = { 0 };
	ssize_t n;

	pump(rig, 20);
	n = read(rig->out[0], got, sizeof(got) - 1);
	assert_int_equal(n, strlen(text));
	assert_string_equal(got, text);
}

static void assert_used(struct driver *d, unsigned int queue, uint16_t head, uint32_t len)
{
	struct driver_used used;

	assert_true(driver_take_used(d, queue, &used));
	assert_int_equal(used.head, head);
	assert_int_equal(used.len, len);
}

static bool is_broken(struct driver *d)
{
	return (driver_status(d) & VIRTIO_STATUS_NEEDS_RESET) != 0;
}

/* ---- output ---- */

static void prints(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	const struct driver_buf bufs[] = {
		{ .gpa = driver_alloc(d, 6, 1), .len = 3 },
		{ .gpa = d->free_gpa - 3, .len = 2 },
		{ .gpa = d->free_gpa - 1, .len = 1 },
	};
	uint16_t head;

	memcpy(driver_ptr(d, bufs[0].gpa), "abcdef", 6);
	head = driver_add(d, TX, bufs, 3);
	driver_kick(d, TX);
	assert_used(d, TX, head, 0);
	assert_used(d, TX, print(d, "ghi\n"), 0);
	assert_used(d, TX, print(d, ""), 0);
	assert_printed(rig, "abcdefghi\n");
}

/* C04: whatever bytes, as they are */
static void control_bytes(void **state)
{
	struct rig *rig = *state;

	print(&rig->d, "\x1b[2J\x01x\x07\n");
	assert_printed(rig, "\x1b[2J\x01x\x07\n");
	assert_int_equal(rig->n_leaves, 0);
}

static char pattern(size_t at)
{
	return (char)('a' + at % 23 + at / 23 % 3);
}

/* Chains of 40000 bytes each, in pieces of odd lengths. */
enum { N_CHAINS = 16, CHAIN_BYTES = 40000 };

static void print_much(struct driver *d)
{
	for (size_t i = 0; i < N_CHAINS; i++) {
		const uint64_t gpa = driver_alloc(d, CHAIN_BYTES, 1);
		const struct driver_buf bufs[] = { { gpa, 16385, false },
						   { gpa + 16385, 1, false },
						   { gpa + 16386, CHAIN_BYTES - 16386, false } };
		char *at = driver_ptr(d, gpa);

		for (size_t j = 0; j < CHAIN_BYTES; j++)
			at[j] = pattern(i * CHAIN_BYTES + j);
		driver_add(d, TX, bufs, 3);
	}
	driver_kick(d, TX);
}

/* \return bytes read, which are the next of the pattern */
static size_t read_much(struct rig *rig, size_t n_before)
{
	static char bytes[65536];
	ssize_t n = read(rig->out[0], bytes, sizeof(bytes));

	for (ssize_t i = 0; i < n; i++)
		assert_int_equal(bytes[i], pattern(n_before + (size_t)i));
	return n > 0 ? (size_t)n : 0;
}

/* C01: more than there is room for waits in the queue, in order, and nobody waits for it. */
static void a_slow_reader(void **state)
{
	struct rig *rig = *state;
	size_t n = 0;

	print_much(&rig->d);
	pump(rig, 20);
	assert_in_range(rig->d.queues[TX].used[1], 1, N_CHAINS - 1);
	while (n < (size_t)N_CHAINS * CHAIN_BYTES) {
		n += read_much(rig, n);
		driver_kick(&rig->d, TX); /* of no use, but legal */
		event_base_loop(rig->d.base, EVLOOP_NONBLOCK);
	}
	assert_int_equal(n, N_CHAINS * CHAIN_BYTES);
	assert_int_equal(rig->d.queues[TX].used[1], N_CHAINS);
}

/* C01: nobody reads at all: after a second the guest goes on. */
static void a_stuck_reader(void **state)
{
	struct rig *rig = *state;

	print_much(&rig->d);
	pump(rig, 1500);
	assert_int_equal(rig->d.queues[TX].used[1], N_CHAINS);
	for (int i = 0; i < 1000; i++)
		print(&rig->d, "");
	assert_int_equal(rig->d.queues[TX].used[1], N_CHAINS + 1000);
}

/* C03 */
static void the_reader_goes(void **state)
{
	struct rig *rig = *state;

	close(rig->out[0]);
	rig->out[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	print_much(&rig->d);
	pump(rig, 20);
	assert_int_equal(rig->d.queues[TX].used[1], N_CHAINS);
	assert_false(is_broken(&rig->d));
}

/* C03 */
static void a_full_disk(void **state)
{
	struct rig *rig = *state;
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	stop(rig);
	memset(&rig->vc, 0, sizeof(rig->vc));
	start(rig, -1, fd);
	driver_boot(&rig->d, 0);
	print_much(&rig->d);
	pump(rig, 20);
	assert_int_equal(rig->d.queues[TX].used[1], N_CHAINS);
	close(fd);
}

/* What is in the queue when the machine ends is printed, if it is read. */
static void *read_all(void *arg)
{
	struct rig *rig = arg;
	size_t n = 0;

	while (n < (size_t)N_CHAINS * CHAIN_BYTES) {
		poll(&(struct pollfd){ .fd = rig->out[0], .events = POLLIN }, 1, 5000);
		n += read_much(rig, n);
	}
	return NULL;
}

static void flushes(void **state)
{
	struct rig *rig = *state;
	pthread_t reader;

	print_much(&rig->d);
	assert_int_equal(pthread_create(&reader, NULL, read_all, rig), 0);
	virtio_console_flush(&rig->vc, 5000);
	pthread_join(reader, NULL);
	assert_int_equal(rig->d.queues[TX].used[1], N_CHAINS);
}

static void flushes_not_for_ever(void **state)
{
	struct rig *rig = *state;
	struct virtio_console none = { 0 };

	print_much(&rig->d);
	virtio_console_flush(&rig->vc, 50);
	virtio_console_flush(&none, 50);
}

static void drain(struct rig *rig)
{
	char bytes[65536];

	for (int i = 0; i < 5; i++) {
		while (read(rig->out[0], bytes, sizeof(bytes)) > 0)
			event_base_loop(rig->d.base, EVLOOP_NONBLOCK);
		pump(rig, 5);
	}
}

/* T14: what is half out when the driver resets is not continued by the next one's. */
static void reset_while_waiting(void **state)
{
	struct rig *rig = *state;

	print_much(&rig->d);
	pump(rig, 20);
	rig_write32(&rig->d.mmio, 0x70, 0);
	assert_int_equal(rig->vc.n_sent, 0);
	drain(rig);
	driver_boot(&rig->d, 0);
	assert_used(&rig->d, TX, print(&rig->d, "next\n"), 0);
	assert_printed(rig, "next\n");
}

/* ---- input ---- */

static uint16_t offer(struct driver *d, uint32_t len, uint64_t *gpa)
{
	struct driver_buf buf = { driver_alloc(d, len, 1), len, true };

	*gpa = buf.gpa;
	return driver_add(d, RX, &buf, 1);
}

static void type(struct rig *rig, const char *text)
{
	assert_int_equal(write(rig->in[1], text, strlen(text)), strlen(text));
	pump(rig, 20);
}

static void receives(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	uint16_t heads[3];
	uint64_t gpas[3];

	heads[0] = offer(d, 100, &gpas[0]);
	heads[1] = offer(d, 4, &gpas[1]);
	heads[2] = offer(d, 100, &gpas[2]);
	driver_kick(d, RX);
	type(rig, "hello");
	assert_used(d, RX, heads[0], 5);
	assert_memory_equal(driver_ptr(d, gpas[0]), "hello\0", 6);
	assert_true(d->irq.is_high);
	type(rig, "world!"); /* more than the next buffer takes */
	assert_used(d, RX, heads[1], 4);
	assert_memory_equal(driver_ptr(d, gpas[1]), "worl", 4);
	assert_used(d, RX, heads[2], 2);
	assert_memory_equal(driver_ptr(d, gpas[2]), "d!\0", 3);
}

/* C02: 100 KiB more than the guest has room for stays where it comes from. */
static void a_flood(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	struct driver_used used;
	static char text[60001];
	uint64_t gpa;
	size_t n = 0;

	for (size_t i = 0; i < sizeof(text) - 1; i++)
		text[i] = pattern(i);
	type(rig, text);
	assert_in_range(rig->vc.console.n_input, 1, CONSOLE_INPUT_SIZE);
	assert_false(driver_take_used(d, RX, &used));
	while (n < sizeof(text) - 1) {
		struct timespec ms = { .tv_nsec = 100000 };

		d->free_gpa = DRIVER_RAM_GPA + 128 * DRIVER_PAGE;
		offer(d, 700, &gpa);
		rig_write32(&d->mmio, 0x50, RX);
		while (!driver_take_used(d, RX, &used)) {
			event_base_loop(d->base, EVLOOP_NONBLOCK);
			nanosleep(&ms, NULL);
		}
		assert_in_range(used.len, 1, 700);
		assert_memory_equal(driver_ptr(d, gpa), text + n, used.len);
		n += used.len;
	}
}

/* What is typed before there is a driver is kept for it. */
static void typed_early(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	uint16_t head;
	uint64_t gpa;

	rig_write32(&d->mmio, 0x70, 0);
	type(rig, "early");
	driver_boot(d, VIRTIO_F_EVENT_IDX);
	pump(rig, 20);
	head = offer(d, 100, &gpa);
	driver_kick(d, RX);
	pump(rig, 20);
	assert_used(d, RX, head, 5);
}

static void the_end_of_input(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	struct driver_used used;
	uint64_t gpa;

	offer(d, 100, &gpa);
	driver_kick(d, RX);
	close(rig->in[1]);
	rig->in[1] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pump(rig, 20);
	assert_false(driver_take_used(d, RX, &used));
	assert_used(d, TX, print(d, "on\n"), 0);
}

/* ---- drivers that break the rules ---- */

static void assert_breaks(struct rig *rig, unsigned int queue, const struct driver_buf *bufs,
			  unsigned int n)
{
	struct driver *d = &rig->d;
	struct driver_used used;

	driver_boot(d, 0);
	driver_add(d, queue, bufs, n);
	driver_kick(d, queue);
	type(rig, "x");
	assert_true(is_broken(d));
	assert_false(driver_take_used(d, queue, &used));
	driver_boot(d, 0);
	assert_used(d, TX, print(d, "y"), 0);
}

static void buffers_of_the_wrong_kind(void **state)
{
	struct rig *rig = *state;
	const struct driver_buf readable = { DRIVER_RAM_GPA, 8, false };
	const struct driver_buf writable = { DRIVER_RAM_GPA, 8, true };
	const struct driver_buf empty = { DRIVER_RAM_GPA, 0, true };
	const struct driver_buf both[] = { readable, writable };

	assert_breaks(rig, TX, &writable, 1);
	assert_breaks(rig, TX, both, 2);
	assert_breaks(rig, RX, &readable, 1);
	assert_breaks(rig, RX, both, 2);
	assert_breaks(rig, RX, &empty, 1);
}

/* ---- a terminal ---- */

static void a_terminal(void **state)
{
	struct rig *rig = *state;
	struct driver *d = &rig->d;
	struct winsize size = { .ws_col = 132, .ws_row = 43 };
	uint16_t head;
	uint64_t gpa;

	rig_write32(&d->mmio, 0x14, 0);
	assert_int_equal(rig_read32(&d->mmio, 0x10) & 7, 0); /* a pipe has no size */
	assert_int_equal(rig_read32(&d->mmio, CONFIG), 0);
	stop(rig);
	memset(&rig->vc, 0, sizeof(rig->vc));
	assert_true(pty_open(&rig->pty) && pty_make_raw(&rig->pty));
	assert_int_equal(ioctl(rig->pty.master, TIOCSWINSZ, &size), 0);
	start(rig, rig->pty.slave, rig->out[1]);
	assert_int_equal(rig_read32(&d->mmio, 0x10) & 7, 1);
	driver_boot(d, 1);
	assert_int_equal(rig_read(&d->mmio, CONFIG, 2), 132);
	assert_int_equal(rig_read(&d->mmio, CONFIG + 2, 2), 43);
	assert_int_equal(rig_read32(&d->mmio, CONFIG + 4), 0);
	head = offer(d, 100, &gpa);
	driver_kick(d, RX);
	assert_int_equal(write(rig->pty.master, "a\x01\x01", 3), 3);
	pump(rig, 20);
	assert_used(d, RX, head, 2);
	assert_memory_equal(driver_ptr(d, gpa), "a\x01", 2);
	assert_int_equal(write(rig->pty.master, "\x01x", 2), 2);
	pump(rig, 20);
	assert_int_equal(rig->n_leaves, 1);
	/* C03: the terminal goes */
	close(rig->pty.master);
	pump(rig, 20);
	assert_used(d, TX, print(d, "on\n"), 0);
	close(rig->pty.slave);
}

/* ---- two threads ---- */

static void *reset_again_and_again(void *arg)
{
	struct driver *d = arg;

	for (uint32_t i = 0; i < 300; i++) {
		rig_write32(&d->mmio, 0x50, i % 2);
		rig_write32(&d->mmio, 0x70, 0);
	}
	return NULL;
}

/* T14, T18 */
static void reset_meanwhile(void **state)
{
	struct rig *rig = *state;
	pthread_t vcpu;
	uint64_t gpa;

	offer(&rig->d, 16, &gpa);
	print_much(&rig->d);
	assert_int_equal(pthread_create(&vcpu, NULL, reset_again_and_again, &rig->d), 0);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(write(rig->in[1], "key", 3), 3);
		event_base_loop(rig->d.base, EVLOOP_NONBLOCK);
	}
	pthread_join(vcpu, NULL);
	drain(rig);
	driver_boot(&rig->d, 0);
	assert_used(&rig->d, TX, print(&rig->d, "x"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(prints),
		TEST(control_bytes),
		TEST(a_slow_reader),
		TEST(a_stuck_reader),
		TEST(the_reader_goes),
		TEST(a_full_disk),
		TEST(flushes),
		TEST(flushes_not_for_ever),
		TEST(reset_while_waiting),
		TEST(receives),
		TEST(a_flood),
		TEST(typed_early),
		TEST(the_end_of_input),
		TEST(buffers_of_the_wrong_kind),
		TEST(a_terminal),
		TEST(reset_meanwhile),
	};

	log_set_level(LOG_OFF);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
