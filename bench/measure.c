/*
 * Runs in the host: starts a monitor, waits until the guest has printed what is expected, and
 * tells what that took. Where the host counts instructions, so do its clocks: a nanosecond is one.
 *
 *   measure [OPTION]... COMMAND [ARGUMENT]...
 *
 *   -m TEXT    wait for TEXT and the end of its line (otherwise for the first character)
 *   -n COUNT   so many monitors, one after the other, all running in the end
 *   -i MS      wait so long before and after, and show what the kernel knows of the last one
 *   -x         wait for the monitor's own end instead of killing it
 *
 * It prints a line for each monitor,
 *
 *   run PID WALL CPU     nanoseconds from before vfork to the text, and of processor time used
 *
 * then with -i files as "file PATH", their lines after a tab each, and with -x "end STATUS WALL".
 */

#include "monitor.h"

#include <dirent.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_RUNS  64
#define SETTLE_MS 2000 /* a monitor may put things away a while after the start */

struct options {
	const char *text;
	int count;
	int idle_ms;
	bool to_end;
	char **command;
};

static struct monitor runs[MAX_RUNS];
static int n_runs;

static bool seen(const char *output, const char *text)
{
	const char *at = text ? strstr(output, text) : output;

	return at && (text ? strchr(at, '\n') != NULL : *at != 0);
}

static void wait_for_text(struct monitor *run, const char *text)
{
	static char output[65536];
	size_t used = 0;
	struct pollfd poll_fd = { .fd = run->output, .events = POLLIN };
	ssize_t n;

	output[0] = 0;
	while (!seen(output, text)) {
		n = 0;
		if (used == sizeof(output) - 1 || poll(&poll_fd, 1, TIMEOUT_MS) <= 0 ||
		    (n = read(run->output, output + used, sizeof(output) - 1 - used)) <= 0) {
			fprintf(stderr, "%s\n", output);
			die(n < 0 ? "cannot read" : "the guest did not print what was expected");
		}
		used += (size_t)n;
		output[used] = 0;
	}
}

static void measure(const struct options *options)
{
	struct monitor *run = &runs[n_runs++];
	clockid_t cpu_clock;
	int64_t wall;

	monitor_start(run, options->command);
	wait_for_text(run, options->text);
	wall = read_clock(CLOCK_MONOTONIC) - run->begin;
	clock_getcpuclockid(run->pid, &cpu_clock);
	printf("run %d %lld %lld\n", run->pid, (long long)wall, (long long)read_clock(cpu_clock));
}

static void show_file(const char *path)
{
	char line[4096];
	FILE *file = fopen(path, "r");

	if (!file)
		return;
	printf("file %s\n", path);
	while (fgets(line, sizeof(line), file))
		printf("\t%s", line);
	fclose(file);
}

static void show_folder(const char *folder)
{
	char path[512];
	struct dirent *entry;
	DIR *dir = opendir(folder);

	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (entry->d_type == DT_REG)
			show_file(path);
	}
	if (dir)
		closedir(dir);
}

/* What is free and what for the rest is used; zoneinfo has the free pages that meminfo omits. */
static void show_memory(void)
{
	show_file("/proc/meminfo");
	show_file("/proc/zoneinfo");
}

static void show(pid_t pid)
{
	static const char *const names[] = { "status", "smaps" };
	char path[256];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, names[i]);
		show_file(path);
	}
	if (kvm_folder(pid, path, sizeof(path)))
		show_folder(path);
	show_memory();
}

static void parse(struct options *options, int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "+m:n:i:x")) != -1)
		if (option == 'm')
			options->text = optarg;
		else if (option == 'n')
			options->count = atoi(optarg);
		else if (option == 'i')
			options->idle_ms = atoi(optarg);
		else if (option == 'x')
			options->to_end = true;
		else
			exit(2);
	options->command = argv + optind;
	if (optind == argc || options->count < 1 || options->count > MAX_RUNS)
		die("usage: measure [-m TEXT] [-n COUNT] [-i MS] [-x] COMMAND [ARGUMENT]...");
}

int main(int argc, char **argv)
{
	struct options options = { .count = 1 };
	int status;

	parse(&options, argc, argv);
	/* What ran before us may still be freeing its memory. */
	poll(NULL, 0, options.idle_ms ? options.idle_ms : SETTLE_MS);
	if (options.idle_ms)
		show_memory();
	while (n_runs < options.count)
		measure(&options);
	if (options.idle_ms) {
		poll(NULL, 0, options.idle_ms);
		show(runs[n_runs - 1].pid);
	}
	if (options.to_end) {
		waitpid(runs[0].pid, &status, 0);
		printf("end %d %lld\n", status,
		       (long long)(read_clock(CLOCK_MONOTONIC) - runs[0].begin));
	} else {
		kill_monitors();
	}
	return 0;
}
