#include "vm/fatal_signals.h"

#include "backend/terminal.h"
#include "pty.h"
#include "test.h"
#include "util/bits.h"
#include "util/log.h"
#include "util/metrics.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* How a child prepares itself, and what is known of its end. */
struct child {
	int signal;
	void (*prepare)(const struct child *child);
	int terminal; /* -1 for none */
	int status;   /* of waitpid() */
	char said[16384];
};

static void child_main(const struct child *child)
{
	alarm(20);
	if (child->prepare != NULL)
		child->prepare(child);
	if (child->terminal >= 0 && terminal_raw(child->terminal, NULL) != 0)
		_exit(99);
	fatal_signals_install();
	raise(child->signal);
	_exit(0);
}

static void run(struct child *child)
{
	int fds[2];
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		child_main(child);
	}
	close(fds[1]);
	assert_int_equal(waitpid(pid, &child->status, 0), pid);
	n = read(fds[0], child->said, sizeof(child->said) - 1);
	child->said[n > 0 ? n : 0] = '\0';
	close(fds[0]);
}

static void expect_line(const struct child *child)
{
	char line[128];

	snprintf(line, sizeof(line),
		 "televm: error: Shutting down VM after intercepting signal %d, code %d.\n",
		 child->signal, SI_TKILL);
	assert_string_equal(child->said, line);
}

static void statuses_are_firecrackers(void **state)
{
	static const struct {
		int signal;
		int status;
	} rows[] = {
		{ SIGSYS, 148 },  { SIGBUS, 149 }, { SIGSEGV, 150 }, { SIGXFSZ, 151 },
		{ SIGXCPU, 154 }, { SIGHUP, 156 }, { SIGILL, 157 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct child child = { .signal = rows[i].signal, .terminal = -1 };

		run(&child);
		expect_line(&child);
		assert_true(WIFEXITED(child.status));
		assert_int_equal(WEXITSTATUS(child.status), rows[i].status);
	}
}

/* Whatever ends the process, the terminal is as before. */
static void the_others_kill_and_restore_the_terminal(void **state)
{
	const int signals[] = { SIGABRT, SIGFPE,    SIGTRAP,   SIGQUIT,      SIGUSR1,
				SIGUSR2, SIGALRM,   SIGVTALRM, SIGPROF,      SIGIO,
				SIGPWR,  SIGSTKFLT, SIGRTMIN,  SIGRTMIN + 2, SIGRTMAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		struct child child = { .signal = signals[i] };
		struct termios before = { 0 };
		struct termios after = { 0 };
		struct pty pty;

		assert_true(pty_open(&pty));
		assert_int_equal(tcgetattr(pty.slave, &before), 0);
		child.terminal = pty.slave;
		run(&child);
		assert_non_null(strstr(child.said, "after intercepting signal"));
		assert_true(WIFSIGNALED(child.status));
		assert_int_equal(WTERMSIG(child.status), signals[i]);
		assert_int_equal(tcgetattr(pty.slave, &after), 0);
		assert_memory_equal(&after, &before, sizeof(before));
		pty_close(&pty);
	}
}

static void ignore(const struct child *child)
{
	signal(child->signal, SIG_IGN);
}

/* As after nohup, or for SIGINT and SIGQUIT in the background of a script. */
static void what_was_ignored_stays_so(void **state)
{
	static const int signals[] = { SIGHUP, SIGQUIT, SIGUSR1, SIGXFSZ };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		struct child child = { .signal = signals[i], .prepare = ignore, .terminal = -1 };

		run(&child);
		assert_string_equal(child.said, "");
		assert_int_equal(child.status, 0);
	}
	assert_false(signal_is_ignored(SIGINT));
	signal(SIGINT, SIG_IGN);
	assert_true(signal_is_ignored(SIGINT));
	signal(SIGINT, SIG_DFL);
}

/* But not a fault, which would come again for ever. */
static void a_fault_is_never_ignored(void **state)
{
	struct child child = { .signal = SIGSEGV, .prepare = ignore, .terminal = -1 };

	(void)state;
	run(&child);
	assert_true(WIFEXITED(child.status) && WEXITSTATUS(child.status) == 150);
}

static void fill_errors(const struct child *child)
{
	static const char byte;
	int fds[2];

	(void)child;
	if (pipe(fds) != 0 || fcntl(fds[1], F_SETFL, O_NONBLOCK) != 0)
		_exit(98);
	while (write(fds[1], &byte, 1) == 1)
		;
	fcntl(fds[1], F_SETFL, 0);
	dup2(fds[1], STDERR_FILENO);
}

static void a_stuck_reader_holds_nobody_up(void **state)
{
	struct child child = { .signal = SIGHUP, .prepare = fill_errors, .terminal = -1 };

	(void)state;
	run(&child);
	assert_true(WIFEXITED(child.status) && WEXITSTATUS(child.status) == 156);
}

/* Both go to the standard error that run() reads, as an open file of the child. */
static void open_log_and_metrics(const struct child *child)
{
	(void)child;
	if (log_open("/dev/null", NULL) != 0 ||
	    metrics_open("/proc/self/fd/2", NULL, NULL, 0, NULL) != 0)
		_exit(97);
	metrics_add(&metrics.vcpu.failures, 3);
}

static void metrics_are_flushed(void **state)
{
	static const struct {
		int signal;
		const char *told;
	} rows[] = {
		{ SIGBUS, "\"sigbus\":1," },     { SIGSEGV, "\"sigsegv\":1," },
		{ SIGXFSZ, "\"sigxfsz\":1," },   { SIGXCPU, "\"sigxcpu\":1," },
		{ SIGHUP, "\"sighup\":1," },     { SIGILL, "\"sigill\":1}" },
		{ SIGSYS, "\"num_faults\":1}" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct child child = {
			.signal = rows[i].signal,
			.prepare = open_log_and_metrics,
			.terminal = -1,
		};

		run(&child);
		assert_non_null(strstr(child.said, rows[i].told));
		assert_non_null(strstr(child.said, "\"failures\":3,"));
		assert_int_equal(child.said[strlen(child.said) - 1], '\n');
	}
}

static void a_broken_pipe_is_counted(void **state)
{
	int fds[2];

	(void)state;
	fatal_signals_install();
	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	assert_int_equal(write(fds[1], "x", 1), -1);
	close(fds[1]);
	assert_int_equal(metrics_get(&metrics.signals.sigpipe), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(statuses_are_firecrackers),
		cmocka_unit_test(the_others_kill_and_restore_the_terminal),
		cmocka_unit_test(what_was_ignored_stays_so),
		cmocka_unit_test(a_fault_is_never_ignored),
		cmocka_unit_test(a_stuck_reader_holds_nobody_up),
		cmocka_unit_test(metrics_are_flushed),
		cmocka_unit_test(a_broken_pipe_is_counted),
	};

	forget_ignored_signals();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
