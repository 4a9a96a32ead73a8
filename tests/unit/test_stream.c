#include "backend/stream.h"

#include "pty.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint8_t bytes[65536] = "televm";

/* Write until the other side would have to read. \return what was taken in all */
static size_t fill(const struct stream *stream)
{
	size_t total = 0;
	ssize_t n;

	while ((n = stream_write(stream, bytes, sizeof(bytes))) > 0)
		total += (size_t)n;
	assert_int_equal(n, -EAGAIN);
	return total;
}

static void assert_flags_untouched(int fd)
{
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
}

static void pipe_never_waits(void **state)
{
	struct stream in;
	struct stream out;
	uint8_t buf[16];
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	stream_init(&in, fds[0]);
	stream_init(&out, fds[1]);
	assert_int_equal(out.mode, STREAM_NONBLOCK);
	assert_int_not_equal(out.fd, fds[1]);
	assert_true(in.is_pollable && out.is_pollable && !in.is_terminal);
	assert_int_equal(stream_read(&in, buf, sizeof(buf)), -EAGAIN);
	assert_int_equal(stream_write(&out, "abc", 3), 3);
	assert_int_equal(stream_read(&in, buf, sizeof(buf)), 3);
	assert_true(fill(&out) >= 4096);
	assert_flags_untouched(fds[0]);
	assert_flags_untouched(fds[1]);
	stream_deinit(&out);
	stream_deinit(&in);
	stream_deinit(&in);
	close(fds[0]);
	close(fds[1]);
}

static void terminal_never_waits(void **state)
{
	struct stream stream;
	struct pty pty;
	uint8_t buf[16];

	(void)state;
	assert_true(pty_open(&pty) && pty_make_raw(&pty));
	stream_init(&stream, pty.slave);
	assert_int_equal(stream.mode, STREAM_NONBLOCK);
	assert_true(stream.is_terminal && stream.is_pollable);
	assert_int_equal(stream_read(&stream, buf, sizeof(buf)), -EAGAIN);
	assert_true(fill(&stream) > 0);
	assert_flags_untouched(pty.slave);
	stream_deinit(&stream);
	pty_close(&pty);
}

static void socket_never_waits(void **state)
{
	struct stream stream;
	uint8_t buf[16];
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	stream_init(&stream, fds[0]);
	assert_int_equal(stream.mode, STREAM_SOCKET);
	assert_int_equal(stream_read(&stream, buf, sizeof(buf)), -EAGAIN);
	assert_true(fill(&stream) > 0);
	close(fds[1]);
	assert_int_equal(stream_write(&stream, "a", 1), -EPIPE);
	assert_flags_untouched(fds[0]);
	stream_deinit(&stream);
	close(fds[0]);
}

/* Where opening again fails: nothing is written that is not sure to be taken. A wait would hang
 * this test. */
static void poll_mode_never_waits(void **state)
{
	struct stream out = { .mode = STREAM_POLL, .chunk = PIPE_BUF };
	struct stream in = { .mode = STREAM_POLL };
	uint8_t buf[16];
	struct pty pty;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	in.fd = fds[0];
	out.fd = fds[1];
	assert_int_equal(stream_read(&in, buf, sizeof(buf)), -EAGAIN);
	assert_true(fill(&out) >= PIPE_BUF);
	assert_int_equal(stream_read(&in, buf, sizeof(buf)), sizeof(buf));
	assert_int_equal(stream_write(&out, bytes, sizeof(bytes)), -EAGAIN);
	close(fds[0]);
	assert_int_equal(stream_write(&out, bytes, sizeof(bytes)), -EPIPE);
	close(fds[1]);

	assert_true(pty_open(&pty) && pty_make_raw(&pty));
	out = (struct stream){ .fd = pty.slave, .mode = STREAM_POLL, .chunk = 1 };
	assert_true(fill(&out) > 0);
	pty_close(&pty);
}

/* /proc/self/fd/N of a master is not the same terminal but a new one. */
static void pty_master_is_not_opened_again(void **state)
{
	struct stream stream;
	struct pty pty;
	char buf[4] = "";

	(void)state;
	assert_true(pty_open(&pty) && pty_make_raw(&pty));
	stream_init(&stream, pty.master);
	assert_int_equal(stream.fd, pty.master);
	assert_int_equal(stream.mode, STREAM_POLL);
	assert_int_equal(stream_write(&stream, "k", 1), 1);
	assert_int_equal(read(pty.slave, buf, sizeof(buf)), 1);
	stream_deinit(&stream);
	assert_int_not_equal(fcntl(pty.master, F_GETFL), -1);
	pty_close(&pty);
}

/* The offset is shared with whoever else writes to the file. */
static void file_is_used_as_it_is(void **state)
{
	char path[] = "/tmp/televm-test-XXXXXX";
	int fd = mkstemp(path);
	struct stream stream;
	char buf[8] = "";

	(void)state;
	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(write(fd, "ab", 2), 2);
	stream_init(&stream, fd);
	assert_int_equal(stream.mode, STREAM_PLAIN);
	assert_false(stream.is_pollable);
	assert_int_equal(stream_write(&stream, "cd", 2), 2);
	assert_int_equal(write(fd, "ef", 2), 2);
	assert_int_equal(pread(fd, buf, sizeof(buf), 0), 6);
	assert_memory_equal(buf, "abcdef", 6);
	assert_int_equal(stream_read(&stream, buf, sizeof(buf)), 0);
	stream_deinit(&stream);
	close(fd);
}

static void devices(void **state)
{
	int null_fd = open("/dev/null", O_RDWR);
	int full_fd = open("/dev/full", O_RDWR);
	struct stream stream;
	char buf[4];

	(void)state;
	stream_init(&stream, null_fd);
	assert_false(stream.is_pollable);
	assert_int_equal(stream_read(&stream, buf, sizeof(buf)), 0);
	assert_int_equal(stream_write(&stream, "abc", 3), 3);
	stream_init(&stream, full_fd);
	assert_int_equal(stream_write(&stream, "abc", 3), -ENOSPC);
	close(null_fd);
	close(full_fd);
}

static void closed_descriptor(void **state)
{
	struct stream stream;
	int fd = dup(STDIN_FILENO);

	(void)state;
	close(fd);
	stream_init(&stream, fd);
	assert_int_equal(stream.fd, -1);
	stream_init(&stream, -1);
	assert_int_equal(stream.fd, -1);
	stream_deinit(&stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pipe_never_waits),
		cmocka_unit_test(terminal_never_waits),
		cmocka_unit_test(socket_never_waits),
		cmocka_unit_test(poll_mode_never_waits),
		cmocka_unit_test(pty_master_is_not_opened_again),
		cmocka_unit_test(file_is_used_as_it_is),
		cmocka_unit_test(devices),
		cmocka_unit_test(closed_descriptor),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
