/*
 * What measure.c and phases.c share: a monitor that runs in the host, with pipes for its console,
 * and clocks to tell what it took. Where the host counts instructions, so do its clocks.
 */
#ifndef BENCH_MONITOR_H
#define BENCH_MONITOR_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/*
 * By the host's clock, and so never waited for: a counting host's clock jumps ahead when there is
 * nothing to do. It does so while the disk is read, too, hence the length.
 */
#define TIMEOUT_MS 3600000

struct monitor {
	pid_t pid;
	int input;  /* of its console, for us to write to */
	int output; /* for us to read */
	int64_t begin;
};

/** \return nanoseconds */
int64_t read_clock(clockid_t clock);

/** Start a command; the clock is read right before. Ends the program when that fails. */
void monitor_start(struct monitor *monitor, char **command);

/** Kill all that were started, and wait for their end. */
void kill_monitors(void);

/** Say what is wrong, kill all monitors, and end. */
__attribute__((noreturn)) void die(const char *what);

/**
 * KVM's own counts of a machine are in a folder.
 * \return whether there is one; then \p path has its name
 */
int kvm_folder(pid_t pid, char *path, size_t size);

#endif
