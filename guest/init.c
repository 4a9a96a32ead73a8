/*
 * The first program of our guests: says that user space is reached, does what the kernel command
 * line asks, and ends the machine.
 *
 *   televm.exec=COMMAND   run it (by sh -c where there is a shell; quote it to hold spaces);
 *                         without this word an interactive shell runs on the console
 *   televm.end=HOW        afterwards: poweroff (default), reboot, halt or panic
 *
 * The power key of a keyboard, if there is one, ends the machine too.
 *
 * It has no C library: a static program of a few KiB touches a handful of pages, and its first
 * line comes after three system calls, so that benchmarks measure the kernel and not us. The same
 * program serves all our initramfs; where there is a list /etc/modules, its modules are loaded.
 */

#include <asm/ioctls.h>
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/reboot.h>
#include <linux/signal.h>
#include <linux/stat.h>
#include <linux/utsname.h>
#include <stddef.h>

#define ENDS_POWEROFF SIGUSR2 /* as busybox's poweroff, halt and reboot tell process 1 */
#define ENDS_HALT     SIGUSR1
#define ENDS_REBOOT   SIGTERM

#define MAX_WORDS 32

static long call6(long number, long a, long b, long c, long d, long e, long f)
{
	register long a0 __asm__("a0") = a;
	register long a1 __asm__("a1") = b;
	register long a2 __asm__("a2") = c;
	register long a3 __asm__("a3") = d;
	register long a4 __asm__("a4") = e;
	register long a5 __asm__("a5") = f;
	register long a7 __asm__("a7") = number;

	__asm__ volatile("ecall"
			 : "+r"(a0)
			 : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7)
			 : "memory");
	return a0;
}

#define CALL(number, a, b, c, d, e, ...)                                                           \
	call6(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define call(...) CALL(__VA_ARGS__, 0, 0, 0, 0, 0, 0)

/* The compiler calls these by itself. */
void *memset(void *to, int byte, size_t length)
{
	char volatile *p = to;

	while (length--)
		*p++ = (char)byte;
	return to;
}

void *memcpy(void *to, const void *from, size_t length)
{
	char volatile *p = to;
	const char *q = from;

	while (length--)
		*p++ = *q++;
	return to;
}

static size_t length_of(const char *text)
{
	size_t n = 0;

	while (text[n])
		n++;
	return n;
}

/* Append @text to the text that ends at @to; return the new end. */
static char *append(char *to, const char *text)
{
	while (*text)
		*to++ = *text++;
	*to = 0;
	return to;
}

static char *append_number(char *to, unsigned int number)
{
	if (number >= 10)
		to = append_number(to, number / 10);
	*to++ = (char)('0' + number % 10);
	*to = 0;
	return to;
}

static void print(const char *text)
{
	call(__NR_write, 1, text, length_of(text));
}

static unsigned int online_harts(void)
{
	unsigned long mask[16];
	unsigned int count = 0;
	long bytes = call(__NR_sched_getaffinity, 0, sizeof(mask), mask);

	for (long i = 0; i < bytes / (long)sizeof(mask[0]); i++)
		for (unsigned long bits = mask[i]; bits; bits &= bits - 1)
			count++;
	return count;
}

static void announce(void)
{
	struct new_utsname name;
	char line[160];
	char *end = append(line, "televm-guest: user space reached, ");

	end = append_number(end, online_harts());
	call(__NR_uname, &name);
	end = append(append(end, " harts, Linux "), name.release);
	append(end, "\n");
	print(line);
}

static void mount_on(const char *type, const char *where, const char *options)
{
	call(__NR_mkdirat, AT_FDCWD, where, 0755);
	call(__NR_mount, type, where, type, MS_NOSUID, options);
}

static void mount_all(void)
{
	mount_on("proc", "/proc", NULL);
	mount_on("sysfs", "/sys", NULL);
	mount_on("devtmpfs", "/dev", NULL);
	mount_on("devpts", "/dev/pts", "gid=5,mode=620");
	mount_on("tmpfs", "/dev/shm", NULL);
	mount_on("tmpfs", "/run", NULL);
	mount_on("tmpfs", "/tmp", NULL);
	mount_on("cgroup2", "/sys/fs/cgroup", NULL);
}

/* Read the whole file into @buffer as a text; it is cut at the buffer's size. */
static size_t read_file(const char *path, char *buffer, size_t size)
{
	long fd = call(__NR_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	long n = 0;

	if (fd >= 0) {
		while (used < size - 1 &&
		       (n = call(__NR_read, fd, buffer + used, size - 1 - used)) > 0)
			used += (size_t)n;
		call(__NR_close, fd);
	}
	buffer[used] = 0;
	return used;
}

static void write_file(const char *path, const char *text)
{
	long fd = call(__NR_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC);

	call(__NR_write, fd, text, length_of(text));
	call(__NR_close, fd);
}

static void load_module(const char *path)
{
	char line[160];
	long fd = call(__NR_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	long result = fd < 0 ? fd : call(__NR_finit_module, fd, "", 0);

	if (result < 0) {
		char *end = append(append(line, "televm-guest: cannot load "), path);

		end = append_number(append(end, ": error "), (unsigned int)-result);
		append(end, "\n");
		print(line);
	}
	call(__NR_close, fd);
}

/* /etc/modules: one path a line, in an order that satisfies their dependencies. */
static void load_modules(void)
{
	static char list[8192];
	char *line = list;

	read_file("/etc/modules", list, sizeof(list));
	for (char *p = list; *p; p++)
		if (*p == '\n') {
			*p = 0;
			load_module(line);
			line = p + 1;
		}
}

/*
 * Cut the next word off @text, in place: words end at blanks outside double quotes, and the quotes
 * go. Return where the rest begins.
 */
static char *next_word(char *text, char **word)
{
	int quoted = 0;
	char *to;

	while (*text == ' ' || *text == '\n')
		text++;
	*word = to = text;
	for (; *text && (quoted || (*text != ' ' && *text != '\n')); text++)
		if (*text == '"')
			quoted = !quoted;
		else
			*to++ = *text;
	if (*text)
		text++;
	*to = 0;
	return text;
}

/* The rest of @word after @name, or NULL when it does not begin so. */
static char *value_of(char *word, const char *name)
{
	while (*name)
		if (*word++ != *name++)
			return NULL;
	return word;
}

struct request {
	char *exec;
	char *end;
};

static void read_request(struct request *request)
{
	static char line[4096];
	char *rest = line;
	char *word;
	char *value;

	read_file("/proc/cmdline", line, sizeof(line));
	for (rest = next_word(rest, &word); *word; rest = next_word(rest, &word)) {
		value = value_of(word, "televm.exec=");
		if (value)
			request->exec = value;
		value = value_of(word, "televm.end=");
		if (value)
			request->end = value;
	}
}

static void exec(char *const *arguments)
{
	static char *const environment[] = { "PATH=/sbin:/bin:/usr/sbin:/usr/bin", "HOME=/root",
					     "TERM=linux", "PS1=\\w # ", NULL };

	call(__NR_execve, arguments[0], arguments, environment);
}

static void exec_command(char *command)
{
	char *words[MAX_WORDS] = { "/bin/sh", "-c", command, NULL };
	int n = 0;

	exec(words);
	/* No shell: the command's words are a program and its arguments. */
	do
		command = next_word(command, &words[n]);
	while (*words[n] && ++n < MAX_WORDS - 1);
	words[n] = NULL;
	if (n > 0)
		exec(words);
	print("televm-guest: cannot run the command\n");
}

static void exec_shell(void)
{
	static char *const shell[] = { "/bin/sh", "-l", NULL };

	call(__NR_chdir, "/root");
	exec(shell);
	print("televm-guest: there is no shell here\n");
}

/*
 * Process 1 leads the session that has the console as its terminal. Were it the command, the end
 * of the command would hang up the terminal, and what it printed last would be thrown away.
 */
static void own_terminal(void)
{
	long fd;

	call(__NR_setsid);
	fd = call(__NR_openat, AT_FDCWD, "/dev/console", O_RDWR);
	if (fd < 0)
		return;
	call(__NR_ioctl, fd, TIOCSCTTY, 0);
	for (int i = 0; i < 3; i++)
		call(__NR_dup3, fd, i, 0);
	if (fd > 2)
		call(__NR_close, fd);
}

/* The calling process becomes the terminal's foreground job: Ctrl-C is for it. */
static void come_to_foreground(void)
{
	static const unsigned long ttou = 1UL << (SIGTTOU - 1);
	int group;

	call(__NR_setpgid, 0, 0);
	group = (int)call(__NR_getpid);
	/* Whoever is not in the foreground yet is stopped for asking, unless the signal is blocked.
	 */
	call(__NR_rt_sigprocmask, SIG_BLOCK, &ttou, NULL, sizeof(ttou));
	call(__NR_ioctl, 0, TIOCSPGRP, &group);
	call(__NR_rt_sigprocmask, SIG_UNBLOCK, &ttou, NULL, sizeof(ttou));
}

/* Wait until the terminal has sent what was written to it, which it does only for who is in the
 * foreground. */
static void drain_terminal(void)
{
	come_to_foreground();
	call(__NR_ioctl, 0, TCSBRK, 1);
}

static const unsigned long watched = 1UL << (SIGCHLD - 1) | 1UL << (ENDS_POWEROFF - 1) |
				     1UL << (ENDS_HALT - 1) | 1UL << (ENDS_REBOOT - 1);

struct input_event {
	long time[2];
	unsigned short type;
	unsigned short code;
	int value;
};

/* A process of its own waits for the key, and tells process 1 what busybox's poweroff would. */
static void watch_power_key(void)
{
	enum { EV_KEY = 1, KEY_POWER = 116 };
	long fd = call(__NR_openat, AT_FDCWD, "/dev/input/event0", O_RDONLY);
	struct input_event event;

	if (fd < 0)
		return;
	if (call(__NR_clone, SIGCHLD, 0, 0, 0, 0) != 0) {
		call(__NR_close, fd);
		return;
	}
	while (call(__NR_read, fd, &event, sizeof(event)) == sizeof(event))
		if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1)
			call(__NR_kill, 1, ENDS_POWEROFF);
	call(__NR_exit_group, 0);
}

static long start(const struct request *request)
{
	long pid = call(__NR_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid != 0)
		return pid;
	call(__NR_rt_sigprocmask, SIG_UNBLOCK, &watched, NULL, sizeof(watched));
	come_to_foreground();
	if (request->exec)
		exec_command(request->exec);
	else
		exec_shell();
	call(__NR_exit_group, 127);
	__builtin_unreachable();
}

/* Reap whatever ended; return 1 and the status when @pid is among it. */
static int reap(long pid, int *status)
{
	long ended;
	int result;

	while ((ended = call(__NR_wait4, -1, &result, 1 /* WNOHANG */, NULL)) > 0)
		if (ended == pid) {
			*status = result & 0x7f ? 128 + (result & 0x7f) : result >> 8 & 0xff;
			return 1;
		}
	return 0;
}

/* Wait for @pid; an end that poweroff, reboot or halt asked for is put into @request. */
static void wait_for(long pid, struct request *request)
{
	char line[64];
	int status = 127;

	while (!reap(pid, &status)) {
		switch (call(__NR_rt_sigtimedwait, &watched, NULL, NULL, sizeof(watched))) {
		case ENDS_POWEROFF:
			request->end = "poweroff";
			return;
		case ENDS_HALT:
			request->end = "halt";
			return;
		case ENDS_REBOOT:
			request->end = "reboot";
			return;
		}
	}
	append(append_number(append(line, "televm-guest: exit status "), (unsigned int)status),
	       "\n");
	print(line);
}

static void reboot(unsigned int how)
{
	call(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, how, NULL);
}

static void finish(char *how)
{
	drain_terminal();
	call(__NR_sync);
	if (value_of(how, "reboot"))
		reboot(LINUX_REBOOT_CMD_RESTART);
	else if (value_of(how, "halt"))
		reboot(LINUX_REBOOT_CMD_HALT);
	else if (value_of(how, "panic"))
		write_file("/proc/sysrq-trigger", "c");
	else
		reboot(LINUX_REBOOT_CMD_POWER_OFF);
	/* The end of process 1 is a panic as well. */
	call(__NR_exit_group, 1);
}

void start_of_program(void)
{
	struct request request = { .exec = NULL, .end = "poweroff" };

	announce();
	mount_all();
	load_modules();
	call(__NR_rt_sigprocmask, SIG_BLOCK, &watched, NULL, sizeof(watched));
	read_request(&request);
	own_terminal();
	watch_power_key();
	wait_for(start(&request), &request);
	finish(request.end);
}

__asm__(".globl _start\n"
	"_start:\n"
	"	call start_of_program\n");
