#include "monitor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NS           1000000000LL
#define MAX_MONITORS 64

static pid_t pids[MAX_MONITORS];
static int n_pids;

int64_t read_clock(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * NS + now.tv_nsec;
}

void kill_monitors(void)
{
	for (int i = 0; i < n_pids; i++)
		kill(pids[i], SIGKILL);
	while (wait(NULL) > 0)
		;
}

void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
	kill_monitors();
	exit(1);
}

void monitor_start(struct monitor *monitor, char **command)
{
	int in[2];
	int out[2];

	if (n_pids == MAX_MONITORS || pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
		die("no pipe");
	monitor->input = in[1];
	monitor->output = out[0];
	monitor->begin = read_clock(CLOCK_MONOTONIC);
	monitor->pid = vfork();
	if (monitor->pid < 0)
		die("no process");
	if (monitor->pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execv(command[0], command);
		_exit(127);
	}
	pids[n_pids++] = monitor->pid;
	close(in[0]);
	close(out[1]);
}

int kvm_folder(pid_t pid, char *path, size_t size)
{
	static const char kvm[] = "/sys/kernel/debug/kvm";
	char start_of_name[32];
	struct dirent *entry;
	DIR *dir = opendir(kvm);
	int found = 0;

	snprintf(start_of_name, sizeof(start_of_name), "%d-", pid);
	while (dir && !found && (entry = readdir(dir)))
		if (strncmp(entry->d_name, start_of_name, strlen(start_of_name)) == 0) {
			snprintf(path, size, "%s/%s", kvm, entry->d_name);
			found = 1;
		}
	if (dir)
		closedir(dir);
	return found;
}
