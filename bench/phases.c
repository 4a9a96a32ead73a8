/*
 * Runs in the host: starts a monitor whose guest does one thing after the other, and counts each.
 *
 *   phases [-p PID] COMMAND [ARGUMENT]...      -p: a program that the guest talks to
 *
 * Before and after each phase the guest prints a line (mark.c) and waits for one from us, so
 * nothing of it runs while we read counters:
 *
 *   bench: mark NAME INTERRUPTS       the phase NAME begins; "-" for what is not counted
 *   bench: end                        all is done
 *
 * For each mark it prints
 *
 *   phase NAME INTERRUPTS EXITS MMIO MMIO-KERNEL WALL CPU PEER BUSY WALL CPU PEER BUSY
 *
 * the counters of guest and KVM so far, and the clocks twice: when the mark came, and when the
 * guest was let go. CPU is processor time of the monitor's threads with their guest, PEER of the
 * other program, BUSY of all programs. Of a phase whose NAME begins with "traced" a line before the
 * next mark's tells
 *
 *   guest NS ENTRIES SHORTEST
 *
 * the time between entering the guest and leaving it, how often that was, and the shortest of them,
 * by KVM's tracepoints. Those cost, so other counts of such a phase are too high.
 *
 * A plugin in the emulator (profile.c) sees where phases begin and end by instructions that do
 * nothing and that nothing else has.
 */

#include "monitor.h"

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRACING      "/sys/kernel/tracing/"
#define LINE         256
#define QUIET_MS     2
#define N_EXIT_STATS 3

static const char *const exit_stats[N_EXIT_STATS] = { "exits", "mmio_exit_user",
						      "mmio_exit_kernel" };

struct counting {
	struct monitor monitor;
	clockid_t cpu_clock;
	bool has_peer;
	clockid_t peer_clock;
	char kvm[LINE];
	bool is_traced;
};

struct clocks {
	int64_t wall;
	int64_t cpu;
	int64_t peer;
	int64_t busy;
};

/* ---- counters ---- */

/* Processor time of all programs: cpu0's seventh number. */
static int64_t busy(void)
{
	char line[LINE];
	long long found = -1;
	FILE *file = fopen("/proc/schedstat", "re");

	while (file && found < 0 && fgets(line, sizeof(line), file))
		if (sscanf(line, "cpu0 %*u %*u %*u %*u %*u %*u %lld", &found) != 1)
			found = -1;
	if (!file || found < 0)
		die("no /proc/schedstat");
	fclose(file);
	return found;
}

static struct clocks read_clocks(const struct counting *counting)
{
	return (struct clocks){
		.wall = read_clock(CLOCK_MONOTONIC),
		.cpu = read_clock(counting->cpu_clock),
		.peer = counting->has_peer ? read_clock(counting->peer_clock) : 0,
		.busy = busy(),
	};
}

static void print_clocks(const struct clocks *clocks)
{
	printf(" %lld %lld %lld %lld", (long long)clocks->wall, (long long)clocks->cpu,
	       (long long)clocks->peer, (long long)clocks->busy);
}

static void print_exits(const struct counting *counting)
{
	for (int i = 0; i < N_EXIT_STATS; i++) {
		char path[2 * LINE];
		long long count = 0;
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s", counting->kvm, exit_stats[i]);
		file = fopen(path, "re");
		if (!file || fscanf(file, "%lld", &count) != 1)
			die(path);
		fclose(file);
		printf(" %lld", count);
	}
}

/* ---- the trace ---- */

/* The kernel's ring buffer as it is read from trace_pipe_raw; events/header_page and header_event.
 */
enum {
	SUB_BUFFER = 4096,
	TYPE_LONG = 0, /* the length is in the word behind */
	TYPE_DATA_MAX = 28,
	TYPE_PADDING = 29,
	TYPE_EXTEND = 30, /* the delta goes on in the word behind */
	TYPE_STAMP = 31,
	TYPE_BITS = 5,
	DELTA_BITS = 27,
};

struct sub_buffer {
	uint64_t time;
	uint64_t committed;
	uint32_t words[(SUB_BUFFER - 16) / 4];
};

#define COMMITTED_MASK 0xfffff

struct trace {
	uint16_t entry_id;
	uint16_t exit_id;
	int64_t entered; /* -1: it has not been */
	int64_t total;
	int64_t shortest;
	long n;
};

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		die(path);
	close(fd);
}

static uint16_t event_id(const char *path)
{
	unsigned int id = 0;
	FILE *file = fopen(path, "re");

	if (!file || fscanf(file, "%u", &id) != 1)
		die(path);
	fclose(file);
	return (uint16_t)id;
}

static void on_event(struct trace *trace, uint16_t id, int64_t now)
{
	if (id == trace->exit_id && trace->entered >= 0) {
		int64_t time = now - trace->entered;

		trace->total += time;
		if (trace->n == 0 || time < trace->shortest)
			trace->shortest = time;
		trace->n++;
	}
	trace->entered = id == trace->entry_id ? now : -1;
}

static void read_sub_buffer(struct trace *trace, const struct sub_buffer *buffer)
{
	size_t n_words = (buffer->committed & COMMITTED_MASK) / 4;
	int64_t now = (int64_t)buffer->time;

	for (size_t at = 0; at < n_words;) {
		uint32_t type = buffer->words[at] & ((1U << TYPE_BITS) - 1);
		uint64_t delta = buffer->words[at] >> TYPE_BITS;
		uint64_t more = (uint64_t)buffer->words[at + 1] << DELTA_BITS;

		if (type == TYPE_STAMP)
			die("the trace has a kind of time that is not expected");
		now += (int64_t)(type == TYPE_EXTEND ? delta + more : delta);
		if (type == TYPE_PADDING && delta == 0)
			return;
		if (type == TYPE_EXTEND) {
			at += 2;
		} else if (type == TYPE_LONG || type == TYPE_PADDING) {
			if (type == TYPE_LONG)
				on_event(trace, (uint16_t)buffer->words[at + 2], now);
			at += 1 + buffer->words[at + 1] / 4;
		} else {
			on_event(trace, (uint16_t)buffer->words[at + 1], now);
			at += 1 + type;
		}
	}
}

static void start_trace(void)
{
	write_file(TRACING "trace_clock", "mono");
	write_file(TRACING "trace", "\n");
	write_file(TRACING "events/kvm/kvm_entry/enable", "1");
	write_file(TRACING "events/kvm/kvm_exit/enable", "1");
}

static void print_guest_time(void)
{
	static struct sub_buffer buffer;
	struct trace trace = {
		.entry_id = event_id(TRACING "events/kvm/kvm_entry/id"),
		.exit_id = event_id(TRACING "events/kvm/kvm_exit/id"),
		.entered = -1,
	};
	int fd = open(TRACING "per_cpu/cpu0/trace_pipe_raw", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	while (fd >= 0 && read(fd, &buffer, sizeof(buffer)) > 0)
		read_sub_buffer(&trace, &buffer);
	if (fd < 0 || trace.n == 0)
		die("no trace");
	close(fd);
	printf("guest %lld %ld %lld\n", (long long)trace.total, trace.n, (long long)trace.shortest);
}

static void end_trace(void)
{
	write_file(TRACING "events/kvm/kvm_entry/enable", "0");
	write_file(TRACING "events/kvm/kvm_exit/enable", "0");
	print_guest_time();
}

/* ---- the guest's marks ---- */

/* slti zero, zero: profile.c has the same numbers. */
#define HINT_BEGIN "slti x0, x0, 0x5a5"
#define HINT_END   "slti x0, x0, 0x5a6"
#define HINT_ALL   "slti x0, x0, 0x5a7"

static void on_mark(struct counting *counting, const char *text)
{
	struct clocks clocks;
	char name[LINE] = "";
	long long n_interrupts = 0;

	__asm__ volatile(HINT_END);
	clocks = read_clocks(counting);
	if (sscanf(text, "%255s %lld", name, &n_interrupts) != 2)
		die("a mark without a name");
	if (counting->is_traced)
		end_trace();
	if (counting->kvm[0] == 0 &&
	    !kvm_folder(counting->monitor.pid, counting->kvm, sizeof(counting->kvm)))
		die("KVM has no counts of the monitor");
	printf("phase %s %lld", name, n_interrupts);
	print_exits(counting);
	print_clocks(&clocks);
	counting->is_traced = strncmp(name, "traced", strlen("traced")) == 0;
	if (counting->is_traced)
		start_trace();
	/* What we have just done, and what the monitor has still to do, is over. */
	poll(NULL, 0, QUIET_MS);
	clocks = read_clocks(counting);
	__asm__ volatile(HINT_BEGIN);
	if (write(counting->monitor.input, "\n", 1) != 1)
		die("the monitor takes no input");
	print_clocks(&clocks);
	putchar('\n');
	fflush(stdout);
}

/* \return false at the end */
static bool on_line(struct counting *counting, const char *line)
{
	const char *mark = strstr(line, "bench: mark ");

	fprintf(stderr, "%s\n", line);
	if (mark)
		on_mark(counting, mark + strlen("bench: mark "));
	return strstr(line, "bench: end") == NULL;
}

static void follow(struct counting *counting)
{
	char line[LINE];
	size_t used = 0;
	struct pollfd poll_fd = { .fd = counting->monitor.output, .events = POLLIN };

	for (;;) {
		if (used == sizeof(line) - 1)
			used = 0;
		if (poll(&poll_fd, 1, TIMEOUT_MS) <= 0 || read(poll_fd.fd, &line[used], 1) != 1)
			die("the guest did not come to its end");
		if (line[used] != '\n') {
			used++;
			continue;
		}
		line[used] = 0;
		used = 0;
		if (!on_line(counting, line))
			return;
	}
}

int main(int argc, char **argv)
{
	struct counting counting = { .has_peer = false };
	int option;

	while ((option = getopt(argc, argv, "+p:")) == 'p')
		counting.has_peer = clock_getcpuclockid(atoi(optarg), &counting.peer_clock) == 0;
	if (option != -1 || optind == argc)
		die("usage: phases [-p PID] COMMAND [ARGUMENT]...");
	monitor_start(&counting.monitor, argv + optind);
	if (clock_getcpuclockid(counting.monitor.pid, &counting.cpu_clock) != 0)
		die("no clock of the monitor");
	follow(&counting);
	__asm__ volatile(HINT_ALL);
	kill_monitors();
	return 0;
}
