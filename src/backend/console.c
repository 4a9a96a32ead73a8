#include "backend/console.h"

#include "util/bits.h"
#include "util/clock.h"
#include "util/events.h"
#include "util/log.h"
#include "util/metrics.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
	GATHER_NS = 1000000,  /* how long less than a line may wait for more */
	WRITES_PER_CALL = 16, /* then other events get their turn */
	CTRL_A = 0x01,
};

/* How long a reader may take nothing before output is dropped, and a guest before keys are. */
static const struct timeval stall_time = { .tv_sec = 1 };

static void call_io_thread(const struct console *console, long delay_ns)
{
	struct itimerspec at = { .it_value.tv_nsec = delay_ns };

	timerfd_settime(console->wake_fd, 0, &at, NULL);
}

/*
 * Output.
 */

/* \param has_line is set when the end of a line is among what is taken. It is looked for in the
 * copy: the guest may change what it gave meanwhile. */
static size_t append(struct console *console, const uint8_t *bytes, size_t len, bool *has_line)
{
	unsigned int end = (console->start + console->used) % CONSOLE_RING_SIZE;
	size_t taken = MIN(len, (size_t)(CONSOLE_RING_SIZE - console->used));
	size_t kept = token_bucket_take_some(&console->limit, taken);
	size_t before_wrap = MIN(kept, (size_t)(CONSOLE_RING_SIZE - end));

	/* Once the limit is reached the rest is over it, and what is thrown away needs no room. */
	if (kept < taken) {
		taken = len;
		console->n_over += len - kept;
		metrics_add(&metrics.uart.rate_limiter_dropped_bytes, len - kept);
	}
	memcpy(console->ring + end, bytes, before_wrap);
	memcpy(console->ring, bytes + before_wrap, kept - before_wrap);
	*has_line |= memchr(console->ring + end, '\n', before_wrap) != NULL ||
		     memchr(console->ring, '\n', kept - before_wrap) != NULL;
	console->used += (unsigned int)kept;
	return taken;
}

static unsigned int oldest_len(const struct console *console)
{
	return MIN(console->used, CONSOLE_RING_SIZE - console->start);
}

static void drop_oldest(struct console *console, unsigned int len)
{
	console->start = (console->start + len) % CONSOLE_RING_SIZE;
	console->used -= len;
	/* Start over in front: little output then touches few pages. */
	if (console->used == 0)
		console->start = 0;
}

/*
 * Under the lock, on the guest's thread: write a line at once where that never waits. What is not
 * taken, and errors, are left to the I/O thread, which meets them again.
 */
static void write_line(struct console *console)
{
	unsigned int len = oldest_len(console);
	ssize_t n;

	if (console->is_writing || console->wake == CONSOLE_CALLED_NOW ||
	    (console->out.mode != STREAM_NONBLOCK && console->out.mode != STREAM_SOCKET))
		return;
	n = stream_write(&console->out, console->ring + console->start, len);
	if (n > 0)
		drop_oldest(console, (unsigned int)n);
}

/* Under the lock, after an append. \return the delay to call the I/O thread with, or 0: not now */
static long note_wake(struct console *console, bool has_line)
{
	bool is_urgent = has_line || console->used >= CONSOLE_RING_SIZE / 2;

	if (console->wake == CONSOLE_CALLED_NOW || (console->wake == CONSOLE_CALLED && !is_urgent))
		return 0;
	console->wake = is_urgent ? CONSOLE_CALLED_NOW : CONSOLE_CALLED;
	return is_urgent ? 1 : GATHER_NS;
}

static size_t output(struct console *console, const uint8_t *bytes, size_t len, bool is_whole)
{
	long delay_ns = 0;
	size_t taken = len;
	bool has_line = is_whole;

	if (len == 0)
		return 0;
	pthread_mutex_lock(&console->lock);
	if (console->is_dropping) {
		console->n_lost += len;
	} else {
		taken = append(console, bytes, len, &has_line);
		console->was_refused |= taken < len;
		/* Room that somebody waits for is told of by the I/O thread: then it shall write.
		 */
		if (has_line && !console->was_refused)
			write_line(console);
		if (taken > 0 && console->used > 0)
			delay_ns = note_wake(console, has_line);
	}
	pthread_mutex_unlock(&console->lock);
	/* Two threads may set the timer in either order: at worst a line waits a millisecond. */
	if (delay_ns != 0)
		call_io_thread(console, delay_ns);
	return taken;
}

size_t console_output(struct console *console, const uint8_t *bytes, size_t len)
{
	return output(console, bytes, len, false);
}

size_t console_output_whole(struct console *console, const uint8_t *bytes, size_t len)
{
	return output(console, bytes, len, true);
}

/* Under the lock. \return whether to call output_ready() once it is released */
static bool take_refused(struct console *console)
{
	bool was_refused = console->was_refused;

	console->was_refused = false;
	return was_refused;
}

/* The oldest bytes that lie in one piece. They stay where they are until consumed(), since other
 * threads only append: so they are written without the lock. */
static unsigned int oldest(struct console *console, const uint8_t **bytes)
{
	unsigned int len;

	pthread_mutex_lock(&console->lock);
	if (console->used == 0)
		console->wake = CONSOLE_ASLEEP;
	*bytes = console->ring + console->start;
	len = oldest_len(console);
	console->is_writing = len > 0;
	pthread_mutex_unlock(&console->lock);
	return len;
}

static void tell_lost(uint64_t n_lost)
{
	if (n_lost > 0)
		log_warn("console: %llu bytes of output are lost: nobody read them in time",
			 (unsigned long long)n_lost);
}

static void consumed(struct console *console, unsigned int len)
{
	uint64_t n_lost;
	bool is_ready;

	pthread_mutex_lock(&console->lock);
	console->is_writing = false;
	drop_oldest(console, len);
	console->is_dropping = false;
	n_lost = console->n_lost;
	console->n_lost = 0;
	/* Room for a byte is not worth a turn of the guest; half the ring is. */
	is_ready = console->used <= CONSOLE_RING_SIZE / 2 && take_refused(console);
	pthread_mutex_unlock(&console->lock);
	tell_lost(n_lost);
	if (is_ready)
		console->ops->output_ready(console->ctx);
}

/* From now on, or until bytes are taken again, the guest's output is taken and thrown away. */
static void start_dropping(struct console *console)
{
	bool is_ready;

	pthread_mutex_lock(&console->lock);
	console->is_dropping = true;
	is_ready = take_refused(console);
	pthread_mutex_unlock(&console->lock);
	if (is_ready)
		console->ops->output_ready(console->ctx);
}

static void end_output(struct console *console, int code)
{
	pthread_mutex_lock(&console->lock);
	drop_oldest(console, console->used);
	console->is_writing = false;
	pthread_mutex_unlock(&console->lock);
	console->is_out_dead = true;
	start_dropping(console);
	log_warn("console: output is dropped from now on: %s", strerror(-code));
}

/* \return 1 after writing something; 0 when nothing is left to write; -EAGAIN when it must wait */
static int write_batch(struct console *console)
{
	const uint8_t *bytes;
	unsigned int len = oldest(console, &bytes);
	ssize_t n;

	if (len == 0 || console->is_out_dead)
		return 0;
	n = stream_write(&console->out, bytes, len);
	if (n > 0) {
		consumed(console, (unsigned int)n);
		return 1;
	}
	if ((n == 0 || n == -EAGAIN) && console->out.is_pollable) {
		pthread_mutex_lock(&console->lock);
		console->is_writing = false;
		pthread_mutex_unlock(&console->lock);
		return -EAGAIN;
	}
	end_output(console, n == 0 ? -EIO : (int)n);
	return 0;
}

/* Other threads read `is_dropping` and only this one sets it, so here it needs no lock. */
static void drain(struct console *console)
{
	for (int i = 0; i < WRITES_PER_CALL; i++) {
		int ret = write_batch(console);

		if (ret == 0)
			return;
		if (ret == -EAGAIN) {
			event_add(console->out_event, console->is_dropping ? NULL : &stall_time);
			return;
		}
	}
	call_io_thread(console, 1);
}

static void on_out(evutil_socket_t fd, short what, void *arg)
{
	struct console *console = arg;

	(void)fd;
	/* When this thread is late itself, the timeout hides that the reader has read meanwhile. */
	if ((what & EV_TIMEOUT) != 0 && write_batch(console) == -EAGAIN)
		start_dropping(console);
	drain(console);
}

void console_flush(struct console *console, unsigned int timeout_ms)
{
	const uint64_t last_end = clock_ms() + 10 * (uint64_t)timeout_ms;
	uint64_t end = clock_ms() + timeout_ms;
	int ret;

	if (!console->is_init)
		return;
	while ((ret = write_batch(console)) != 0) {
		struct pollfd pollfd = { .fd = console->out.fd, .events = POLLOUT };
		uint64_t now = clock_ms();

		if (ret > 0)
			end = MIN(now + timeout_ms, last_end);
		if (now >= end || (ret == -EAGAIN && console->is_dropping))
			break;
		if (ret == -EAGAIN)
			poll(&pollfd, 1, (int)(end - now));
	}
	if (!console->is_out_dead)
		tell_lost(console->used + console->n_lost);
	if (console->n_over > 0)
		log_warn("console: %llu bytes of output were over its limit and are lost",
			 (unsigned long long)console->n_over);
}

/*
 * Input.
 */

static ssize_t write_help(const struct stream *to)
{
	static const char help[] = "\r\ntelevm: Ctrl-a x       end the virtual machine\r\n"
				   "televm: Ctrl-a c       show this\r\n"
				   "televm: Ctrl-a Ctrl-a  send Ctrl-a\r\n";
	size_t done = 0;
	ssize_t n = 0;

	while (done < sizeof(help) - 1) {
		n = stream_write(to, help + done, sizeof(help) - 1 - done);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return n;
}

static void show_help(const struct console *console)
{
	struct stream errors;

	/* To the terminal itself: standard output may be a file. */
	if (write_help(&console->in) != -EBADF)
		return;
	/* As in "</dev/tty": the terminal is open for reading only. */
	stream_init(&errors, STDERR_FILENO);
	write_help(&errors);
	stream_deinit(&errors);
}

static void put(struct console *console, uint8_t byte)
{
	if (console->n_input < CONSOLE_INPUT_SIZE)
		console->input[console->n_input++] = byte;
}

static void put_escaped(struct console *console, uint8_t key)
{
	switch (key) {
	case 'x':
		console->ops->leave(console->ctx);
		break;
	case 'c':
	case 'h':
	case '?':
		show_help(console);
		break;
	case CTRL_A:
		put(console, CTRL_A);
		break;
	default:
		put(console, CTRL_A);
		put(console, key);
		break;
	}
}

static void put_key(struct console *console, uint8_t key)
{
	if (console->is_escaped) {
		console->is_escaped = false;
		put_escaped(console, key);
	} else if (key == CTRL_A && console->in.is_terminal) {
		console->is_escaped = true;
	} else {
		put(console, key);
	}
}

static void start_reading(struct console *console)
{
	static const struct timeval at_once = { 0 };

	if (console->in_event != NULL)
		event_add(console->in_event, console->in.is_pollable ? NULL : &at_once);
}

static void stop_reading(struct console *console)
{
	if (console->in_event != NULL)
		event_del(console->in_event);
}

static void end_input(struct console *console)
{
	free_event(&console->in_event);
}

/* What follows from how much the guest has left over: read on, or wait for it. */
static void choose_reading(struct console *console, bool has_taken)
{
	if (console->n_input == 0 || has_taken)
		console->is_stalled = false;
	if (console->n_input == 0) {
		console->wants_room = false;
		event_del(console->stall_event);
		start_reading(console);
	} else if (!console->is_stalled) {
		stop_reading(console);
		if (console->in.is_terminal &&
		    (has_taken || !event_pending(console->stall_event, EV_TIMEOUT, NULL)))
			event_add(console->stall_event, &stall_time);
	}
}

static void give_input(struct console *console)
{
	size_t taken = 0;

	if (console->n_input > 0) {
		/* Before the guest is asked: room made right after it refused must be told. */
		console->wants_room = true;
		taken = console->ops->input(console->ctx, console->input, console->n_input);
		console->n_input -= (unsigned int)taken;
		memmove(console->input, console->input + taken, console->n_input);
	}
	choose_reading(console, taken > 0);
}

static void on_in(evutil_socket_t fd, short what, void *arg)
{
	struct console *console = arg;
	uint8_t keys[CONSOLE_INPUT_SIZE - 1]; /* a Ctrl-a of before may come on top */
	ssize_t n = stream_read(&console->in, keys, sizeof(keys));

	(void)fd;
	(void)what;
	if (n == -EAGAIN)
		return;
	if (n <= 0)
		end_input(console);
	for (ssize_t i = 0; i < n; i++)
		put_key(console, keys[i]);
	give_input(console);
}

static void on_stall(evutil_socket_t fd, short what, void *arg)
{
	struct console *console = arg;

	(void)fd;
	(void)what;
	console->is_stalled = true;
	start_reading(console);
}

void console_input_room(struct console *console)
{
	if (atomic_load_explicit(&console->wants_room, memory_order_relaxed) &&
	    atomic_exchange(&console->wants_room, false))
		call_io_thread(console, 1);
}

/*
 * Both.
 */

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct console *console = arg;
	uint64_t n_expired;

	(void)what;
	/* Empty when the timer was set again since: it will come again. */
	if (read(fd, &n_expired, sizeof(n_expired)) < 0)
		return;
	if (console->n_input > 0)
		give_input(console);
	/* While the reader is waited for, trying again would only put off the end of its second. */
	if (console->out_event == NULL || !event_pending(console->out_event, EV_WRITE, NULL))
		drain(console);
}

static int new_events(struct console *console, struct event_base *base)
{
	struct stream *in = &console->in;

	console->wake_event =
		event_new(base, console->wake_fd, EV_READ | EV_PERSIST, on_wake, console);
	console->stall_event = evtimer_new(base, on_stall, console);
	if (console->wake_event == NULL || console->stall_event == NULL)
		return -1;
	if (console->out.is_pollable) {
		console->out_event = event_new(base, console->out.fd, EV_WRITE, on_out, console);
		if (console->out_event == NULL)
			return -1;
	}
	if (in->fd >= 0) {
		console->in_event =
			event_new(base, in->is_pollable ? in->fd : -1,
				  in->is_pollable ? EV_READ | EV_PERSIST : 0, on_in, console);
		if (console->in_event == NULL)
			return -1;
	}
	return event_add(console->wake_event, NULL);
}

int console_init(struct console *console, struct event_base *base, int in_fd, int out_fd,
		 const struct console_ops *ops, void *ctx, struct err *err)
{
	/* All but the ring: a page of it that is never used shall never be touched. */
	memset(console, 0, offsetof(struct console, ring));
	console->ops = ops;
	console->ctx = ctx;
	console->is_init = true;
	pthread_mutex_init(&console->lock, NULL);
	stream_init(&console->in, in_fd);
	stream_init(&console->out, out_fd);
	if (console->out.fd < 0)
		console->is_dropping = console->is_out_dead = true;
	console->wake_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (console->wake_fd < 0 || new_events(console, base) != 0) {
		int ret = err_sys(err, "set up the console");

		console_deinit(console);
		return ret != 0 ? ret : -ENOMEM;
	}
	start_reading(console);
	return 0;
}

void console_set_limit(struct console *console, const struct token_bucket_config *limit)
{
	token_bucket_init(&console->limit, limit);
}

void console_deinit(struct console *console)
{
	if (!console->is_init)
		return;
	free_event(&console->wake_event);
	free_event(&console->out_event);
	free_event(&console->in_event);
	free_event(&console->stall_event);
	if (console->wake_fd >= 0)
		close(console->wake_fd);
	stream_deinit(&console->in);
	stream_deinit(&console->out);
	pthread_mutex_destroy(&console->lock);
	console->is_init = false;
}
