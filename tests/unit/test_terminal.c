#include "backend/terminal.h"

#include "pty.h"
#include "test.h"

#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* How a child leaves after making its terminal raw. */
static void leave_by_return(void)
{
	exit(0);
}

static void on_crash(int number)
{
	(void)number;
	terminal_restore();
	_exit(3);
}

static void leave_by_crash(void)
{
	/* The sanitizers have handlers of their own. */
	signal(SIGSEGV, on_crash);
	raise(SIGSEGV);
}

static void leave_twice(void)
{
	terminal_restore();
	terminal_restore();
	exit(0);
}

static bool is_raw(int fd)
{
	struct termios mode;

	return tcgetattr(fd, &mode) == 0 && (mode.c_lflag & (ICANON | ECHO | ISIG)) == 0 &&
	       (mode.c_oflag & OPOST) == 0;
}

/* The child tells by a byte that its terminal is raw and waits for one to go on. */
static void child(int fd, int tell, int go, void (*leave)(void))
{
	char byte = 0;

	if (terminal_raw(fd, NULL) != 0 || terminal_raw(fd, NULL) != 0)
		_exit(1);
	if (write(tell, &byte, 1) != 1 || read(go, &byte, 1) != 1)
		_exit(1);
	leave();
	_exit(1);
}

static void check(void (*leave)(void), int status)
{
	struct termios before = { 0 }; /* the padding too: they are compared whole */
	struct termios after = { 0 };
	struct pty pty;
	int tell[2];
	int go[2];
	char byte;
	int got;
	pid_t pid;

	assert_true(pty_open(&pty));
	assert_int_equal(pipe(tell), 0);
	assert_int_equal(pipe(go), 0);
	assert_int_equal(tcgetattr(pty.slave, &before), 0);
	assert_false(is_raw(pty.slave));
	pid = fork();
	if (pid == 0)
		child(pty.slave, tell[1], go[0], leave);
	assert_int_equal(read(tell[0], &byte, 1), 1);
	assert_true(is_raw(pty.slave));
	assert_int_equal(write(go[1], &byte, 1), 1);
	assert_int_equal(waitpid(pid, &got, 0), pid);
	assert_true(WIFEXITED(got));
	assert_int_equal(WEXITSTATUS(got), status);
	assert_int_equal(tcgetattr(pty.slave, &after), 0);
	assert_memory_equal(&after, &before, sizeof(before));
	for (int i = 0; i < 2; i++) {
		close(tell[i]);
		close(go[i]);
	}
	pty_close(&pty);
}

static void restored_at_exit(void **state)
{
	(void)state;
	check(leave_by_return, 0);
}

static void restored_from_a_signal_handler(void **state)
{
	(void)state;
	check(leave_by_crash, 3);
}

static void restored_twice(void **state)
{
	(void)state;
	check(leave_twice, 0);
}

/* On a terminal of its own, as a shell's job: \return which step went wrong */
static int go_on_after_a_stop(const struct pty *pty)
{
	struct termios cooked;

	if (setsid() < 0 || ioctl(pty->slave, TIOCSCTTY, 0) != 0 ||
	    tcgetattr(pty->slave, &cooked) != 0)
		return 1;
	if (terminal_raw(pty->slave, NULL) != 0 || !is_raw(pty->slave))
		return 2;
	/* The shell's doing, while the job was stopped. */
	if (tcsetattr(pty->slave, TCSANOW, &cooked) != 0)
		return 3;
	raise(SIGCONT);
	if (!is_raw(pty->slave))
		return 4;
	terminal_restore();
	raise(SIGCONT);
	return is_raw(pty->slave) ? 5 : 0;
}

static void raw_again_after_a_stop(void **state)
{
	struct pty pty;
	int status;
	pid_t pid;

	(void)state;
	assert_true(pty_open(&pty));
	pid = fork();
	if (pid == 0)
		_exit(go_on_after_a_stop(&pty));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	pty_close(&pty);
}

static void what_is_no_terminal_is_left_alone(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(terminal_raw(fds[0], NULL), 0);
	assert_int_equal(terminal_raw(-1, NULL), 0);
	terminal_restore();
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(restored_at_exit),
		cmocka_unit_test(restored_from_a_signal_handler),
		cmocka_unit_test(restored_twice),
		cmocka_unit_test(raw_again_after_a_stop),
		cmocka_unit_test(what_is_no_terminal_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
