#include "backend/console.h"

#include "pty.h"
#include "test.h"
#include "util/bits.h"
#include "util/io.h"
#include "util/log.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* A console between a host that the test plays and a guest that the test plays. */
struct rig {
	struct event_base *base;
	struct console console;
	struct pty pty;
	int in[2];      /* the host's input pipe */
	int out[2];     /* and output pipe */
	int log[2];     /* what the log says */
	uint8_t *taken; /* by the guest */
	size_t n_taken;
	size_t guest_room; /* the guest takes no more than this */
	size_t until;      /* pump() ends when the guest has taken so many */
	unsigned int n_ready;
	unsigned int n_leaves;
	bool is_endless;       /* the guest has more whenever it is told that it may print */
	bool was_dropping;     /* when the guest was told that it may print on */
	_Atomic bool is_ready; /* for a guest on another thread */
};

enum { TAKEN_SIZE = 4 * MIB };

static size_t guest_input(void *ctx, const uint8_t *bytes, size_t len)
{
	struct rig *rig = ctx;
	size_t n = MIN(len, rig->guest_room);

	assert_true(rig->n_taken + n <= TAKEN_SIZE);
	memcpy(rig->taken + rig->n_taken, bytes, n);
	rig->n_taken += n;
	rig->guest_room -= n;
	if (rig->until != 0 && rig->n_taken >= rig->until)
		event_base_loopbreak(rig->base);
	return n;
}

static void guest_output_ready(void *ctx)
{
	struct rig *rig = ctx;

	rig->n_ready++;
	rig->was_dropping = rig->console.is_dropping;
	rig->is_ready = true;
	while (rig->is_endless && console_output(&rig->console, rig->taken, 4096) == 4096)
		;
}

static void user_leaves(void *ctx)
{
	struct rig *rig = ctx;

	rig->n_leaves++;
	event_base_loopbreak(rig->base);
}

static const struct console_ops ops = { guest_input, guest_output_ready, user_leaves };

/* -1 for \p in_fd or \p out_fd: the rig's own pipes. */
static void rig_init(struct rig *rig, int in_fd, int out_fd)
{
	*rig = (struct rig){ .base = event_base_new(), .guest_room = SIZE_MAX };
	rig->taken = malloc(TAKEN_SIZE);
	assert_true(rig->base != NULL && rig->taken != NULL);
	assert_int_equal(pipe(rig->in), 0);
	assert_int_equal(pipe(rig->out), 0);
	assert_int_equal(pipe2(rig->log, O_NONBLOCK), 0);
	log_set_fd(rig->log[1]);
	assert_int_equal(console_init(&rig->console, rig->base, in_fd < 0 ? rig->in[0] : in_fd,
				      out_fd < 0 ? rig->out[1] : out_fd, &ops, rig, NULL),
			 0);
}

static void close_both(int fds[2])
{
	for (int i = 0; i < 2; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

static void rig_deinit(struct rig *rig)
{
	console_deinit(&rig->console);
	console_deinit(&rig->console);
	event_base_free(rig->base);
	log_set_fd(STDERR_FILENO);
	close_both(rig->in);
	close_both(rig->out);
	close_both(rig->log);
	free(rig->taken);
}

static void rig_init_pty(struct rig *rig)
{
	struct pty pty;

	assert_true(pty_open(&pty) && pty_make_raw(&pty));
	rig_init(rig, pty.slave, -1);
	rig->pty = pty;
}

static void rig_deinit_pty(struct rig *rig)
{
	struct pty pty = rig->pty;

	rig_deinit(rig);
	pty_close(&pty);
}

/* Let the I/O thread work, at most so long. */
static void pump(struct rig *rig, unsigned int ms)
{
	struct timeval time = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	event_base_loopexit(rig->base, &time);
	assert_int_not_equal(event_base_dispatch(rig->base), -1);
}

static void pump_until_taken(struct rig *rig, size_t n)
{
	rig->until = n;
	if (rig->n_taken < n)
		pump(rig, 20000);
	rig->until = 0;
	assert_true(rig->n_taken >= n);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static size_t say(struct rig *rig, const char *text)
{
	return console_output(&rig->console, (const uint8_t *)text, strlen(text));
}

static void type(const struct rig *rig, const char *keys)
{
	assert_int_equal(write_all(rig->pty.master, keys, strlen(keys)), 0);
}

/* What can be read now, terminated. */
static size_t read_now(int fd, char *buf, size_t size)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	size_t len = 0;

	while (len < size - 1 && poll(&pollfd, 1, 0) == 1 && (pollfd.revents & POLLIN) != 0) {
		ssize_t n = read(fd, buf + len, size - 1 - len);

		assert_true(n > 0);
		len += (size_t)n;
	}
	buf[len] = '\0';
	return len;
}

static unsigned int log_lines(const struct rig *rig, const char *expected)
{
	unsigned int n_lines = 0;
	char text[4096];

	read_now(rig->log[0], text, sizeof(text));
	for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
		n_lines++;
	if (n_lines > 0)
		assert_non_null(strstr(text, expected));
	return n_lines;
}

/* A byte that tells its place in a stream, with a newline now and then. */
static uint8_t pattern(size_t at)
{
	return at % 61 == 60 ? '\n' : (uint8_t)(at * 7 + at / 251);
}

static void fill_pattern(uint8_t *buf, size_t len, size_t at)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = pattern(at + i);
}

/*
 * Output.
 */

static void output_of_a_line_and_of_less(void **state)
{
	struct rig rig;
	char buf[64];

	(void)state;
	rig_init(&rig, -1, -1);
	assert_int_equal(say(&rig, "hello\n"), 6);
	pump(&rig, 20);
	read_now(rig.out[0], buf, sizeof(buf));
	assert_string_equal(buf, "hello\n");
	assert_int_equal(say(&rig, "login: "), 7);
	assert_int_equal(say(&rig, ""), 0);
	pump(&rig, 50);
	read_now(rig.out[0], buf, sizeof(buf));
	assert_string_equal(buf, "login: ");
	assert_int_equal(fcntl(rig.out[1], F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(fcntl(rig.in[0], F_GETFL) & O_NONBLOCK, 0);
	rig_deinit(&rig);
}

/*
 * Each write(2) is a packet here: bytes that come one by one leave together, with their line's end
 * and without the I/O thread; and what comes as a whole leaves at once.
 */
static void output_leaves_in_batches(void **state)
{
	struct rig rig;
	char buf[256];
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	rig_init(&rig, -1, fds[1]);
	for (int i = 0; i < 100; i++)
		assert_int_equal(say(&rig, i % 50 == 49 ? "\n" : "x"), 1);
	assert_int_equal(recv(fds[0], buf, sizeof(buf), MSG_DONTWAIT), 50);
	assert_int_equal(recv(fds[0], buf, sizeof(buf), MSG_DONTWAIT), 50);
	assert_int_equal(say(&rig, "more"), 4);
	assert_int_equal(recv(fds[0], buf, sizeof(buf), MSG_DONTWAIT), -1);
	assert_int_equal(console_output_whole(&rig.console, (const uint8_t *)"?", 1), 1);
	assert_int_equal(recv(fds[0], buf, sizeof(buf), MSG_DONTWAIT), 5);
	pump(&rig, 20);
	assert_int_equal(recv(fds[0], buf, sizeof(buf), MSG_DONTWAIT), -1);
	rig_deinit(&rig);
	close_both(fds);
}

/* A guest that prints a byte now and then, the I/O thread running all the time. */
static void less_than_a_line_waits_for_more(void **state)
{
	unsigned int n_packets = 0;
	struct rig rig;
	char buf[2048];
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	rig_init(&rig, -1, fds[1]);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(say(&rig, "x"), 1);
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
		n_packets += recv(fds[0], buf, sizeof(buf), MSG_DONTWAIT) > 0;
	}
	assert_true(n_packets < 500);
	rig_deinit(&rig);
	close_both(fds);
}

/* Where only a byte at a time is sure to be taken, and so more than the writes of one turn. */
static void output_byte_by_byte(void **state)
{
	struct rig rig;
	char line[201];
	char buf[256];

	(void)state;
	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 2] = '\n';
	line[sizeof(line) - 1] = '\0';
	rig_init(&rig, -1, -1);
	rig.console.out.mode = STREAM_POLL;
	rig.console.out.chunk = 1;
	assert_int_equal(say(&rig, line), sizeof(line) - 1);
	pump(&rig, 50);
	read_now(rig.out[0], buf, sizeof(buf));
	assert_string_equal(buf, line);
	rig_deinit(&rig);
}

enum { SLOW_BYTES = 2 * 1024 * 1024 };

/* A vCPU that waits while the console takes less than it is offered. */
static void *guest_prints(void *ctx)
{
	struct rig *rig = ctx;
	uint8_t buf[1500];
	size_t at = 0;

	while (at < SLOW_BYTES) {
		size_t len = MIN(sizeof(buf), SLOW_BYTES - at);
		size_t n;

		fill_pattern(buf, len, at);
		rig->is_ready = false;
		n = console_output(&rig->console, buf, len);
		at += n;
		while (n < len && !rig->is_ready)
			usleep(100);
	}
	return NULL;
}

static void *reader_reads_slowly(void *ctx)
{
	struct rig *rig = ctx;
	uint8_t buf[20000];
	size_t at = 0;

	while (at < SLOW_BYTES) {
		ssize_t n = read(rig->out[0], buf, sizeof(buf));

		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++) {
			if (buf[i] != pattern(at + (size_t)i))
				return rig;
		}
		at += (size_t)n;
		usleep(500);
	}
	event_base_loopbreak(rig->base);
	return at == SLOW_BYTES ? NULL : rig;
}

static void nothing_is_lost_on_a_slow_reader(void **state)
{
	pthread_t guest;
	pthread_t reader;
	void *failed;
	struct rig rig;

	(void)state;
	rig_init(&rig, -1, -1);
	pthread_create(&guest, NULL, guest_prints, &rig);
	pthread_create(&reader, NULL, reader_reads_slowly, &rig);
	while (pthread_tryjoin_np(reader, &failed) != 0)
		pump(&rig, 20);
	assert_null(failed);
	pthread_join(guest, NULL);
	assert_true(rig.n_ready > 0);
	assert_int_equal(log_lines(&rig, ""), 0);
	rig_deinit(&rig);
}

/* C01 of the hostile-input checklist: a flood into a terminal or pipe that nobody reads. */
static void a_stuck_reader_holds_nobody_up(void **state)
{
	static uint8_t chunk[65536];
	static char buf[256 * 1024];
	struct rig rig;
	int64_t start;
	size_t total;
	size_t len;
	size_t n;

	(void)state;
	rig_init(&rig, -1, -1);
	fill_pattern(chunk, sizeof(chunk), 0);
	start = now_ms();
	/* At first the guest waits: its bytes may still be read. */
	total = console_output(&rig.console, chunk, sizeof(chunk));
	assert_int_equal(total, CONSOLE_RING_SIZE);
	for (n = total; n > 0 && now_ms() < start + 5000; total += n) {
		pump(&rig, 20);
		n = console_output(&rig.console, chunk + total % sizeof(chunk),
				   sizeof(chunk) - total % sizeof(chunk));
	}
	assert_int_equal(n, 0);
	while (say(&rig, "lost") == 0 && now_ms() < start + 5000)
		pump(&rig, 20);
	assert_true(now_ms() - start >= 900 && now_ms() - start < 3000);
	assert_true(rig.n_ready > 0);
	/* Then it need not: a gigabyte is nothing. */
	for (size_t i = 0; i < GIB / sizeof(chunk); i++)
		assert_int_equal(console_output(&rig.console, chunk, sizeof(chunk)), sizeof(chunk));
	pump(&rig, 20);
	assert_true(rig.console.n_lost >= GIB);
	assert_int_equal(log_lines(&rig, ""), 0);
	/* The reader is back: it gets what came first, is told of the gap, and then all again. */
	for (len = 0; len < total; pump(&rig, 10))
		len += read_now(rig.out[0], buf + len, sizeof(buf) - len);
	assert_int_equal(len, total);
	for (size_t i = 0; i < len; i++)
		assert_int_equal((uint8_t)buf[i], pattern(i % sizeof(chunk)));
	assert_int_equal(log_lines(&rig, "bytes of output are lost"), 1);
	assert_int_equal(say(&rig, "again\n"), 6);
	pump(&rig, 20);
	read_now(rig.out[0], buf, sizeof(buf));
	assert_string_equal(buf, "again\n");
	rig_deinit(&rig);
}

/* On a busy host it may be this program that gets no time for a second, and not the reader. */
static void a_late_console_does_not_blame_the_reader(void **state)
{
	static const uint8_t flood[4 * CONSOLE_RING_SIZE] = "";
	static char buf[4 * CONSOLE_RING_SIZE];
	struct rig rig;

	(void)state;
	rig_init(&rig, -1, -1);
	while (console_output(&rig.console, flood, sizeof(flood)) > 0)
		pump(&rig, 20);
	rig.n_ready = 0;
	usleep(1100 * 1000);
	read_now(rig.out[0], buf, sizeof(buf));
	pump(&rig, 20);
	assert_true(rig.n_ready > 0);
	assert_false(rig.was_dropping);
	assert_int_equal(log_lines(&rig, ""), 0);
	rig_deinit(&rig);
}

/* However much the user types meanwhile. */
static void input_does_not_put_off_dropping(void **state)
{
	static uint8_t chunk[65536];
	struct rig rig;
	int64_t start;

	(void)state;
	rig_init(&rig, -1, -1);
	rig.guest_room = 0;
	start = now_ms();
	assert_int_equal(write(rig.in[1], "abc", 3), 3);
	do {
		pump(&rig, 50);
		console_input_room(&rig.console);
	} while (console_output(&rig.console, chunk, sizeof(chunk)) < sizeof(chunk) &&
		 now_ms() < start + 5000);
	assert_true(now_ms() - start < 3000);
	rig_deinit(&rig);
}

/* C03: the reader is gone. The process is not killed, the guest goes on, one line is logged. */
static void a_closed_reader_ends_output(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig, -1, -1);
	close(rig.out[0]);
	rig.out[0] = -1;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(say(&rig, "into the void\n"), 14);
		pump(&rig, 10);
	}
	assert_int_equal(log_lines(&rig, "Broken pipe"), 1);
	rig_deinit(&rig);
}

static void a_full_disk_ends_output(void **state)
{
	static const uint8_t flood[CONSOLE_RING_SIZE + 1] = "";
	int fd = open("/dev/full", O_WRONLY);
	struct rig rig;

	(void)state;
	rig_init(&rig, -1, fd);
	assert_int_equal(console_output(&rig.console, flood, sizeof(flood)), CONSOLE_RING_SIZE);
	for (int i = 0; i < 3; i++) {
		pump(&rig, 10);
		assert_int_equal(console_output(&rig.console, flood, sizeof(flood)), sizeof(flood));
	}
	assert_int_equal(rig.n_ready, 1);
	assert_int_equal(log_lines(&rig, "No space left"), 1);
	rig_deinit(&rig);
	close(fd);
}

static void output_to_a_terminal_that_hangs_up(void **state)
{
	struct pty pty;
	struct rig rig;

	(void)state;
	assert_true(pty_open(&pty));
	rig_init(&rig, pty.slave, pty.slave);
	close(pty.master);
	say(&rig, "anybody?\n");
	pump(&rig, 20);
	assert_int_equal(log_lines(&rig, "Input/output error"), 1);
	assert_int_equal(say(&rig, "anybody?\n"), 9);
	rig_deinit(&rig);
	close(pty.slave);
}

/* More than the writes of one turn, at an offset shared with others. */
static void output_to_a_file(void **state)
{
	char path[] = "/tmp/televm-test-XXXXXX";
	int fd = mkstemp(path);
	uint8_t buf[4096];
	struct rig rig;

	(void)state;
	unlink(path);
	assert_int_equal(write(fd, "head", 4), 4);
	rig_init(&rig, -1, fd);
	for (size_t at = 0; at < 100 * sizeof(buf);) {
		fill_pattern(buf, sizeof(buf), at);
		at += console_output(&rig.console, buf, sizeof(buf));
		if (at % (4 * sizeof(buf)) == 0)
			pump(&rig, 5);
	}
	console_flush(&rig.console, 0);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 4 + 100 * sizeof(buf));
	for (size_t at = 0; at < 100 * sizeof(buf); at += sizeof(buf)) {
		assert_int_equal(pread(fd, buf, sizeof(buf), (off_t)(4 + at)), sizeof(buf));
		for (size_t i = 0; i < sizeof(buf); i++)
			assert_int_equal(buf[i], pattern(at + i));
	}
	rig_deinit(&rig);
	close(fd);
}

static void output_without_a_descriptor(void **state)
{
	struct rig rig;
	int fd = dup(STDIN_FILENO);

	(void)state;
	close(fd);
	rig_init(&rig, -1, fd + 100);
	assert_int_equal(say(&rig, "hello\n"), 6);
	pump(&rig, 10);
	console_flush(&rig.console, 1000);
	rig_deinit(&rig);
}

static void flush_writes_what_is_left(void **state)
{
	static uint8_t chunk[65536];
	struct rig rig;
	char expected[128];
	char told[2048];
	char buf[64];
	int64_t start;

	(void)state;
	rig_init(&rig, -1, -1);
	say(&rig, "Power down");
	console_flush(&rig.console, 1000);
	read_now(rig.out[0], buf, sizeof(buf));
	assert_string_equal(buf, "Power down");
	/* Nobody reads: it waits as long as it may and not longer. */
	for (int i = 0; i < 8; i++) {
		assert_true(console_output(&rig.console, chunk, sizeof(chunk)) > 0 || i > 0);
		console_flush(&rig.console, 0);
	}
	read_now(rig.log[0], told, sizeof(told));
	start = now_ms();
	console_flush(&rig.console, 200);
	assert_true(now_ms() - start >= 200 && now_ms() - start < 1000);
	assert_true(rig.console.used > 0);
	snprintf(
		expected, sizeof(expected),
		"televm: warning: console: %u bytes of output are lost: nobody read them in time\n",
		rig.console.used);
	read_now(rig.log[0], told, sizeof(told));
	assert_string_equal(told, expected);
	rig_deinit(&rig);
}

struct slow_reader {
	int fd;
	unsigned int pause_ms;
	_Atomic size_t n_read;
};

static void *read_slowly(void *arg)
{
	struct slow_reader *reader = arg;
	char buf[8192];
	ssize_t n;

	do {
		usleep(1000 * reader->pause_ms);
		n = read(reader->fd, buf, sizeof(buf));
		reader->n_read += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	return NULL;
}

/* \return bytes that a reader took which pauses so long before each read, of \p n_sent */
static size_t flush_to_slow_reader(unsigned int pause_ms, unsigned int timeout_ms, bool is_endless,
				   size_t *n_sent, int64_t *took_ms)
{
	static uint8_t chunk[4096];
	struct slow_reader reader = { .pause_ms = pause_ms };
	pthread_t thread;
	struct rig rig;
	int64_t start;
	size_t n;

	rig_init(&rig, -1, -1);
	fcntl(rig.out[1], F_SETPIPE_SZ, 4096);
	*n_sent = 0;
	while ((n = console_output(&rig.console, chunk, sizeof(chunk))) > 0)
		*n_sent += n;
	rig.is_endless = is_endless;
	reader.fd = rig.out[0];
	assert_int_equal(pthread_create(&thread, NULL, read_slowly, &reader), 0);
	start = now_ms();
	console_flush(&rig.console, timeout_ms);
	*took_ms = now_ms() - start;
	console_deinit(&rig.console);
	close(rig.out[1]);
	rig.out[1] = -1;
	pthread_join(thread, NULL);
	rig_deinit(&rig);
	return reader.n_read;
}

/* The time is counted from the last byte that was read, but not for ever. */
static void flush_waits_for_a_slow_reader(void **state)
{
	int64_t took_ms;
	size_t n_sent;
	size_t n_read;

	(void)state;
	n_read = flush_to_slow_reader(150, 400, false, &n_sent, &took_ms);
	assert_int_equal(n_read, n_sent);
	assert_int_equal(n_sent, CONSOLE_RING_SIZE);
	assert_true(took_ms > 400);
	n_read = flush_to_slow_reader(70, 10, false, &n_sent, &took_ms);
	assert_true(n_read < n_sent);
	assert_true(took_ms < 1000);
	flush_to_slow_reader(1, 100, true, &n_sent, &took_ms);
	assert_true(took_ms >= 1000 && took_ms < 5000);
}

/*
 * Input.
 */

/* C02: what the guest does not take stays in the pipe; nothing is lost or out of order. */
static void input_is_read_as_the_guest_takes_it(void **state)
{
	uint8_t sent[8192];
	struct rig rig;
	int left;

	(void)state;
	rig_init(&rig, -1, -1);
	fill_pattern(sent, sizeof(sent), 0);
	rig.guest_room = 0;
	assert_int_equal(write_all(rig.in[1], sent, sizeof(sent)), 0);
	pump(&rig, 50);
	assert_int_equal(rig.n_taken, 0);
	assert_int_equal(ioctl(rig.in[0], FIONREAD, &left), 0);
	assert_true((size_t)left >= sizeof(sent) - CONSOLE_INPUT_SIZE);
	rig.guest_room = 10;
	console_input_room(&rig.console);
	pump(&rig, 20);
	assert_int_equal(rig.n_taken, 10);
	while (rig.n_taken < sizeof(sent)) {
		rig.guest_room = 16;
		console_input_room(&rig.console);
		pump_until_taken(&rig, MIN(rig.n_taken + 16, sizeof(sent)));
	}
	assert_memory_equal(rig.taken, sent, sizeof(sent));
	rig_deinit(&rig);
}

/* The guest makes room on its own thread at any moment: no wake-up may be missed. */
static void *guest_reads(void *ctx)
{
	struct rig *rig = ctx;

	while (!rig->is_ready)
		console_input_room(&rig->console);
	return NULL;
}

static size_t one_byte_input(void *ctx, const uint8_t *bytes, size_t len)
{
	struct rig *rig = ctx;
	size_t room = rig->n_taken % 3; /* refuses a third of the time */

	rig->guest_room = SIZE_MAX;
	if (room == 0) {
		rig->taken[rig->n_taken++] = bytes[0];
		if (rig->n_taken >= rig->until)
			event_base_loopbreak(rig->base);
		return 1;
	}
	return guest_input(ctx, bytes, MIN(len, room));
}

static void room_is_never_missed(void **state)
{
	static const struct console_ops one_byte_ops = {
		one_byte_input,
		guest_output_ready,
		user_leaves,
	};
	static uint8_t sent[20000];
	pthread_t guest;
	struct rig rig;

	(void)state;
	rig_init(&rig, -1, -1);
	rig.console.ops = &one_byte_ops;
	fill_pattern(sent, sizeof(sent), 0);
	assert_int_equal(write_all(rig.in[1], sent, sizeof(sent)), 0);
	pthread_create(&guest, NULL, guest_reads, &rig);
	pump_until_taken(&rig, sizeof(sent));
	rig.is_ready = true;
	pthread_join(guest, NULL);
	assert_memory_equal(rig.taken, sent, sizeof(sent));
	rig_deinit(&rig);
}

static void input_from_a_file(void **state)
{
	static uint8_t sent[100000];
	char path[] = "/tmp/televm-test-XXXXXX";
	int fd = mkstemp(path);
	struct rig rig;

	(void)state;
	unlink(path);
	fill_pattern(sent, sizeof(sent), 0);
	assert_int_equal(write_all(fd, sent, sizeof(sent)), 0);
	lseek(fd, 0, SEEK_SET);
	rig_init(&rig, fd, -1);
	rig.guest_room = 100;
	pump(&rig, 20);
	assert_int_equal(rig.n_taken, 100);
	assert_true(lseek(fd, 0, SEEK_CUR) <= CONSOLE_INPUT_SIZE);
	rig.guest_room = SIZE_MAX;
	console_input_room(&rig.console);
	pump_until_taken(&rig, sizeof(sent));
	assert_memory_equal(rig.taken, sent, sizeof(sent));
	pump(&rig, 20);
	rig_deinit(&rig);
	close(fd);
}

/* The end of input is the end of nothing else, and costs no time. */
static void assert_output_goes_on(struct rig *rig)
{
	struct timespec before;
	struct timespec after;
	char buf[16];

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
	pump(rig, 100);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
	assert_true((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec <
		    50000000);
	assert_int_equal(say(rig, "alive\n"), 6);
	pump(rig, 20);
	read_now(rig->out[0], buf, sizeof(buf));
	assert_string_equal(buf, "alive\n");
}

static void input_that_is_none(void **state)
{
	int null_fd = open("/dev/null", O_RDONLY);
	int directory_fd = open("/tmp", O_RDONLY | O_DIRECTORY);
	const int fds[] = { null_fd, directory_fd, null_fd + 1000 };
	struct rig rig;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		rig_init(&rig, fds[i], -1);
		assert_output_goes_on(&rig);
		assert_int_equal(rig.n_taken, 0);
		rig_deinit(&rig);
	}
	close(null_fd);
	close(directory_fd);
}

static void input_that_ends(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig, -1, -1);
	assert_int_equal(write(rig.in[1], "last", 4), 4);
	close(rig.in[1]);
	rig.in[1] = -1;
	rig.guest_room = 2;
	assert_output_goes_on(&rig);
	rig.guest_room = 2;
	console_input_room(&rig.console);
	assert_output_goes_on(&rig);
	assert_int_equal(rig.n_taken, 4);
	assert_memory_equal(rig.taken, "last", 4);
	rig_deinit(&rig);
}

/*
 * Keys.
 */

static void keys_reach_the_guest(void **state)
{
	static const struct {
		const char *typed;
		const char *taken;
	} rows[] = {
		{ "ls\r", "ls\r" },
		{ "\x01\x01", "\x01" },
		{ "\x01q", "\x01q" },
		{ "a\x01\x01z", "a\x01z" },
		{ "\x01\x01x", "\x01x" },
		{ "\x03\x04\x1a\x1c\x11\x13", "\x03\x04\x1a\x1c\x11\x13" },
	};
	struct rig rig;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		rig_init_pty(&rig);
		type(&rig, rows[i].typed);
		pump_until_taken(&rig, strlen(rows[i].taken));
		pump(&rig, 5);
		assert_int_equal(rig.n_taken, strlen(rows[i].taken));
		assert_memory_equal(rig.taken, rows[i].taken, rig.n_taken);
		assert_int_equal(rig.n_leaves, 0);
		rig_deinit_pty(&rig);
	}
}

/* Each key of a burst doubles at worst; a pending Ctrl-a comes on top. */
static void keys_in_bursts(void **state)
{
	struct rig rig;
	char keys[2001];

	(void)state;
	rig_init_pty(&rig);
	for (size_t i = 0; i < sizeof(keys) - 1; i++)
		keys[i] = i % 2 == 0 ? '\x01' : 'q';
	keys[sizeof(keys) - 1] = '\0';
	type(&rig, keys);
	pump_until_taken(&rig, sizeof(keys) - 1);
	assert_memory_equal(rig.taken, keys, sizeof(keys) - 1);
	rig_deinit_pty(&rig);
}

static void ctrl_a_x_leaves(void **state)
{
	struct rig rig;

	(void)state;
	rig_init_pty(&rig);
	type(&rig, "a\x01");
	pump(&rig, 20);
	assert_int_equal(rig.n_leaves, 0);
	type(&rig, "x");
	pump(&rig, 1000);
	assert_int_equal(rig.n_leaves, 1);
	assert_int_equal(rig.n_taken, 1);
	rig_deinit_pty(&rig);
}

static void ctrl_a_c_shows_help(void **state)
{
	static const char keys[] = "ch?";
	struct rig rig;
	char buf[1024];

	(void)state;
	for (const char *key = keys; *key != '\0'; key++) {
		char typed[] = { '\x01', *key, '\0' };

		rig_init_pty(&rig);
		type(&rig, typed);
		pump(&rig, 20);
		read_now(rig.pty.master, buf, sizeof(buf));
		assert_non_null(strstr(buf, "Ctrl-a x"));
		assert_int_equal(rig.n_taken, 0);
		assert_int_equal(read_now(rig.out[0], buf, sizeof(buf)), 0);
		rig_deinit_pty(&rig);
	}
}

/* Input of "</dev/tty": a terminal that cannot be written to. */
static void help_for_a_terminal_to_read_only(void **state)
{
	int saved = dup(STDERR_FILENO);
	char path[64];
	char buf[1024];
	struct rig rig;
	struct pty pty;
	int errors[2];
	int in;

	(void)state;
	assert_true(pty_open(&pty) && pty_make_raw(&pty));
	assert_int_equal(ptsname_r(pty.master, path, sizeof(path)), 0);
	in = open(path, O_RDONLY | O_NOCTTY);
	assert_true(in >= 0);
	assert_int_equal(pipe(errors), 0);
	rig_init(&rig, in, -1);
	dup2(errors[1], STDERR_FILENO);
	assert_int_equal(write(pty.master,
			       "\x01"
			       "c",
			       2),
			 2);
	pump(&rig, 20);
	dup2(saved, STDERR_FILENO);
	read_now(errors[0], buf, sizeof(buf));
	assert_non_null(strstr(buf, "Ctrl-a x"));
	rig_deinit(&rig);
	pty_close(&pty);
	close(in);
	close(saved);
	close_both(errors);
}

/* A guest that does not take its input must not lock its user in. */
static void leaving_a_guest_that_hangs(void **state)
{
	struct rig rig;
	int64_t start;

	(void)state;
	rig_init_pty(&rig);
	rig.guest_room = 0;
	for (int i = 0; i < 1000; i++)
		type(&rig, "why? ");
	pump(&rig, 50);
	type(&rig, "\x01x");
	start = now_ms();
	pump(&rig, 5000);
	assert_int_equal(rig.n_leaves, 1);
	assert_true(now_ms() - start < 3000);
	/* It wakes up: the first keys were kept, and typing goes on. */
	rig.guest_room = SIZE_MAX;
	console_input_room(&rig.console);
	pump(&rig, 20);
	assert_true(rig.n_taken >= 5 && rig.n_taken <= CONSOLE_INPUT_SIZE);
	assert_memory_equal(rig.taken, "why? why? ", 10);
	rig.n_taken = 0;
	type(&rig, "ls\r");
	pump_until_taken(&rig, 3);
	assert_memory_equal(rig.taken, "ls\r", 3);
	/* And so is patience: what comes while it is busy for a moment is all kept. */
	rig.guest_room = rig.n_taken = 0;
	for (int i = 0; i < 500; i++)
		type(&rig, "go ");
	pump(&rig, 50);
	rig.guest_room = SIZE_MAX;
	console_input_room(&rig.console);
	pump_until_taken(&rig, 1500);
	rig_deinit_pty(&rig);
}

static void no_keys_in_a_pipe(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig, -1, -1);
	assert_int_equal(write(rig.in[1], "\x01x\x01\x01", 4), 4);
	pump_until_taken(&rig, 4);
	assert_memory_equal(rig.taken, "\x01x\x01\x01", 4);
	assert_int_equal(rig.n_leaves, 0);
	rig_deinit(&rig);
}

/* Bytes beyond the limit are taken and lost, and counted. */
static void a_limit_of_output(void **state)
{
	enum { DAY_MS = 24 * 3600 * 1000 };
	const struct token_bucket_config limit = { .size = 10, .refill_ms = DAY_MS };
	static const uint8_t much[2 * CONSOLE_RING_SIZE];
	const uint8_t text[] = "0123456789abcdef\n";
	char got[64] = { 0 };
	char said[512] = { 0 };
	struct rig rig;

	(void)state;
	rig_init(&rig, -1, -1);
	console_set_limit(&rig.console, &limit);
	assert_int_equal(console_output(&rig.console, text, 6), 6);
	assert_int_equal(console_output(&rig.console, text + 6, 11), 11);
	for (int i = 0; i < 3 * CONSOLE_RING_SIZE; i++)
		assert_int_equal(console_output(&rig.console, text, 1), 1);
	/* Nothing of it waits for room: nobody would ever tell of it. */
	console_flush(&rig.console, 1000);
	assert_int_equal(console_output(&rig.console, much, sizeof(much)), sizeof(much));
	console_flush(&rig.console, 1000);
	assert_int_equal(read(rig.out[0], got, sizeof(got)), 10);
	assert_string_equal(got, "0123456789");
	assert_true(read(rig.log[0], said, sizeof(said) - 1) > 0);
	assert_non_null(strstr(said, "console: 49159 bytes of output were over its limit"));
	assert_non_null(strstr(said, "console: 81927 bytes of output were over its limit"));
	assert_int_equal(rig.n_ready, 0);
	rig_deinit(&rig);
}

static void deinit_of_nothing(void **state)
{
	static struct console console;

	(void)state;
	console_deinit(&console);
	console_flush(&console, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_of_a_line_and_of_less),
		cmocka_unit_test(output_leaves_in_batches),
		cmocka_unit_test(less_than_a_line_waits_for_more),
		cmocka_unit_test(output_byte_by_byte),
		cmocka_unit_test(nothing_is_lost_on_a_slow_reader),
		cmocka_unit_test(a_stuck_reader_holds_nobody_up),
		cmocka_unit_test(a_late_console_does_not_blame_the_reader),
		cmocka_unit_test(input_does_not_put_off_dropping),
		cmocka_unit_test(a_closed_reader_ends_output),
		cmocka_unit_test(a_full_disk_ends_output),
		cmocka_unit_test(output_to_a_terminal_that_hangs_up),
		cmocka_unit_test(output_to_a_file),
		cmocka_unit_test(output_without_a_descriptor),
		cmocka_unit_test(flush_writes_what_is_left),
		cmocka_unit_test(flush_waits_for_a_slow_reader),
		cmocka_unit_test(input_is_read_as_the_guest_takes_it),
		cmocka_unit_test(room_is_never_missed),
		cmocka_unit_test(input_from_a_file),
		cmocka_unit_test(input_that_is_none),
		cmocka_unit_test(input_that_ends),
		cmocka_unit_test(keys_reach_the_guest),
		cmocka_unit_test(keys_in_bursts),
		cmocka_unit_test(ctrl_a_x_leaves),
		cmocka_unit_test(ctrl_a_c_shows_help),
		cmocka_unit_test(help_for_a_terminal_to_read_only),
		cmocka_unit_test(leaving_a_guest_that_hangs),
		cmocka_unit_test(no_keys_in_a_pipe),
		cmocka_unit_test(a_limit_of_output),
		cmocka_unit_test(deinit_of_nothing),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
