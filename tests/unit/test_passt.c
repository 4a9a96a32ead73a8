/*
 * Frames over a stream socket, with this test in the place of passt; then the program itself, where
 * it is installed and finds a network.
 */
#include "backend/passt.h"
#include "test.h"
#include "util/bits.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HEADER = NETDEV_HEADER_SIZE, TOTAL_MAX = HEADER + NETDEV_FRAME_MAX };

struct rig {
	struct netdev *netdev;
	int peer;
	uint8_t header[HEADER];
	uint8_t bytes[TOTAL_MAX + 100];
};

static int set_up(void **state)
{
	static struct rig rig;
	struct err err;
	int fds[2];

	rig = (struct rig){ 0 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(passt_new_take_fd(&rig.netdev, fds[0], &err), 0);
	rig.peer = fds[1];
	*state = &rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	netdev_free(rig->netdev);
	if (rig->peer >= 0)
		close(rig->peer);
	return 0;
}

static int send_frame(struct rig *rig, uint32_t len, uint8_t seed)
{
	struct iovec iov[3] = {
		{ .iov_base = rig->header, .iov_len = HEADER },
		{ .iov_base = rig->bytes, .iov_len = len / 3 },
		{ .iov_base = rig->bytes + len / 3, .iov_len = len - len / 3 },
	};

	for (uint32_t i = 0; i < len; i++)
		rig->bytes[i] = (uint8_t)(seed + i);
	return rig->netdev->ops->send(rig->netdev, iov, 3);
}

static ssize_t receive(struct rig *rig, size_t room)
{
	const struct iovec iov[2] = {
		{ .iov_base = rig->bytes, .iov_len = 5 },
		{ .iov_base = rig->bytes + 5, .iov_len = room - 5 },
	};

	memset(rig->bytes, 0xee, sizeof(rig->bytes));
	return rig->netdev->ops->receive(rig->netdev, iov, 2);
}

/* Read so many bytes as they come, letting the back end go on with what it keeps. */
static void peer_reads(struct rig *rig, uint8_t *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = recv(rig->peer, bytes, len, MSG_DONTWAIT);

		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		} else {
			assert_true(rig->netdev->has_backlog);
			assert_int_equal(rig->netdev->ops->flush(rig->netdev), 0);
		}
	}
}

static void expect_from_netdev(struct rig *rig, uint32_t len, uint8_t seed)
{
	uint32_t length;

	peer_reads(rig, (uint8_t *)&length, sizeof(length));
	assert_int_equal(ntohl(length), len);
	peer_reads(rig, rig->bytes, len);
	for (uint32_t i = 0; i < len; i++)
		assert_int_equal(rig->bytes[i], (uint8_t)(seed + i));
}

static void peer_writes_length(struct rig *rig, uint32_t length)
{
	length = htonl(length);
	assert_int_equal(write(rig->peer, &length, sizeof(length)), sizeof(length));
}

static void sends(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(rig->netdev->offloads, 0);
	assert_int_equal(rig->netdev->ops->set_offloads(rig->netdev, 0), 0);
	assert_int_equal(send_frame(rig, 60, 1), 0);
	assert_int_equal(send_frame(rig, 14, 2), 0);
	expect_from_netdev(rig, 60, 1);
	expect_from_netdev(rig, 14, 2);
}

/* A socket that is full takes a part: the rest follows, and no frame before it. */
static void sends_in_parts(void **state)
{
	struct rig *rig = *state;
	uint32_t first = 0;
	uint32_t next = 0;

	for (int round = 0; round < 20; round++) {
		int result;

		while ((result = send_frame(rig, NETDEV_FRAME_MAX, (uint8_t)next)) == 0)
			next++;
		assert_int_equal(result, -EAGAIN);
		assert_int_equal(send_frame(rig, 60, 0), -EAGAIN);
		expect_from_netdev(rig, NETDEV_FRAME_MAX, (uint8_t)first++);
		/* There is room now, but not before what was kept. */
		if (rig->netdev->has_backlog)
			assert_int_equal(send_frame(rig, 60, 0), -EAGAIN);
		if (rig->netdev->has_backlog)
			assert_int_equal(rig->netdev->ops->flush(rig->netdev), 0);
	}
	while (first < next)
		expect_from_netdev(rig, NETDEV_FRAME_MAX, (uint8_t)first++);
	assert_false(rig->netdev->has_backlog);
}

static void expect_header(const struct rig *rig)
{
	static const uint8_t zeros[HEADER];

	assert_memory_equal(rig->bytes, zeros, HEADER);
}

static void receives(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(receive(rig, TOTAL_MAX), -EAGAIN);
	peer_writes_length(rig, 14);
	assert_int_equal(write(rig->peer, "abcdefghijklmn", 14), 14);
	peer_writes_length(rig, 15);
	assert_int_equal(write(rig->peer, "ABCDEFGHIJKLMNO", 15), 15);
	assert_int_equal(receive(rig, TOTAL_MAX), HEADER + 14);
	expect_header(rig);
	assert_memory_equal(rig->bytes + HEADER, "abcdefghijklmn\xee", 15);
	/* What does not fit is cut off, and the next is whole again. */
	assert_int_equal(receive(rig, HEADER + 5), HEADER + 5);
	assert_memory_equal(rig->bytes + HEADER, "ABCDE\xee", 6);
	assert_int_equal(receive(rig, TOTAL_MAX), -EAGAIN);
	peer_writes_length(rig, 0);
	assert_int_equal(receive(rig, TOTAL_MAX), HEADER);
}

static void receives_byte_by_byte(void **state)
{
	struct rig *rig = *state;
	static const uint8_t stream[] = { 0, 0, 0, 3, 'x', 'y', 'z' };

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < sizeof(stream); i++) {
			assert_int_equal(receive(rig, TOTAL_MAX), -EAGAIN);
			assert_int_equal(write(rig->peer, &stream[i], 1), 1);
		}
		assert_int_equal(receive(rig, TOTAL_MAX), HEADER + 3);
		assert_memory_equal(rig->bytes + HEADER, "xyz", 3);
	}
}

static void receives_the_largest(void **state)
{
	struct rig *rig = *state;
	static uint8_t frame[NETDEV_FRAME_MAX];

	fcntl(rig->peer, F_SETFL, O_NONBLOCK);
	for (uint8_t round = 1; round < 4; round++) {
		size_t done = 0;
		ssize_t n = -EAGAIN;

		memset(frame, round, sizeof(frame));
		/* A frame in front, so that the buffer's end is reached in the middle. */
		peer_writes_length(rig, 100);
		assert_int_equal(write(rig->peer, frame, 100), 100);
		peer_writes_length(rig, NETDEV_FRAME_MAX);
		while (n != TOTAL_MAX) {
			ssize_t written = write(rig->peer, frame + done, sizeof(frame) - done);

			done += written > 0 ? (size_t)written : 0;
			n = receive(rig, TOTAL_MAX);
			assert_true(n == -EAGAIN || n == HEADER + 100 || n == TOTAL_MAX);
		}
		assert_int_equal(rig->bytes[TOTAL_MAX - 1], round);
		assert_int_equal(rig->bytes[TOTAL_MAX], 0xee);
	}
}

/* A program that was taken over says what it likes. */
static void lengths_that_cannot_be(void **state)
{
	static const uint32_t lengths[] = { NETDEV_FRAME_MAX + 1, 0x10000000, 0x7fffffff,
					    UINT32_MAX, UINT32_MAX - 3 };

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct rig *rig = *state;

		peer_writes_length(rig, lengths[i]);
		assert_int_equal(receive(rig, TOTAL_MAX), -EPROTO);
		assert_int_equal(receive(rig, TOTAL_MAX), -EPROTO);
		tear_down(state);
		set_up(state);
	}
}

static void other_side_closes(void **state)
{
	struct rig *rig = *state;

	peer_writes_length(rig, 14);
	close(rig->peer);
	rig->peer = -1;
	assert_int_equal(receive(rig, TOTAL_MAX), -EAGAIN);
	assert_int_equal(receive(rig, TOTAL_MAX), 0);
	assert_int_equal(send_frame(rig, 60, 0), -EPIPE);
}

static void closes_with_a_rest(void **state)
{
	struct rig *rig = *state;

	while (!rig->netdev->has_backlog && send_frame(rig, 1 + NETDEV_FRAME_MAX / 2, 0) == 0) {
	}
	close(rig->peer);
	rig->peer = -1;
	if (rig->netdev->has_backlog)
		assert_int_equal(rig->netdev->ops->flush(rig->netdev), -EPIPE);
	assert_false(rig->netdev->has_backlog);
}

/* ---- the program ---- */

static void program_that_is_not_there(void **state)
{
	const struct passt_config config = { .program = "no-such-passt" };
	struct netdev *netdev = NULL;
	struct err err;

	(void)state;
	assert_int_equal(passt_new(&netdev, &config, &err), -ENOENT);
	assert_null(netdev);
	assert_non_null(strstr(err.text, "apt install passt"));
}

static void program_that_is_none(void **state)
{
	const struct passt_config config = { .program = "/dev/null" };
	struct netdev *netdev = NULL;
	struct err err;

	(void)state;
	assert_int_equal(passt_new(&netdev, &config, &err), -EACCES);
	assert_null(netdev);
}

static bool is_readable(const struct netdev *netdev, int timeout_ms)
{
	struct pollfd pollfd = { .fd = netdev->fd, .events = POLLIN };

	return poll(&pollfd, 1, timeout_ms) == 1;
}

static void program_that_ends(void **state)
{
	const struct passt_config config = { .program = "true" };
	struct netdev *netdev = NULL;
	struct err err;
	uint8_t bytes[64];
	const struct iovec iov = { .iov_base = bytes, .iov_len = sizeof(bytes) };

	(void)state;
	assert_int_equal(passt_new(&netdev, &config, &err), 0);
	assert_true(is_readable(netdev, 5000));
	assert_int_equal(netdev->ops->receive(netdev, &iov, 1), 0);
	netdev_free(netdev);
}

static pid_t start_child(int status)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(status);
	assert_true(pid > 0);
	return pid;
}

/* The loop asks how it ended, and of nobody else. */
static void program_that_ends_before_us(void **state)
{
	const struct passt_config config = { .program = "true" };
	struct event_base *base = event_base_new();
	pid_t other = start_child(7);
	struct netdev *netdev = NULL;
	struct err err;
	int status;

	(void)state;
	assert_int_equal(passt_new(&netdev, &config, &err), 0);
	netdev_watch(netdev, base);
	assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	assert_int_equal(waitpid(other, &status, 0), other);
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_int_equal(waitpid(-1, &status, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	netdev_free(netdev);
	event_base_free(base);
}

/* One that does not look at its socket. */
static void program_that_has_to_be_killed(void **state)
{
	static const char script[] = "#!/bin/sh\nexec sleep 1000\n";
	char path[] = "/tmp/test_passt.XXXXXX";
	const struct passt_config config = { .program = path };
	struct event_base *base = event_base_new();
	struct netdev *netdev = NULL;
	struct err err;
	int fd = mkostemp(path, O_CLOEXEC);

	(void)state;
	assert_int_equal(write(fd, script, strlen(script)), strlen(script));
	assert_int_equal(fchmod(fd, 0700), 0);
	close(fd);
	assert_int_equal(passt_new(&netdev, &config, &err), 0);
	netdev_watch(netdev, base);
	netdev_free(netdev);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	event_base_free(base);
	unlink(path);
}

static void too_many_arguments(void **state)
{
	const char *args[100];
	const struct passt_config config = { .args = args };
	struct netdev *netdev = NULL;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(args); i++)
		args[i] = i + 1 < ARRAY_SIZE(args) ? "-x" : NULL;
	assert_int_equal(passt_new(&netdev, &config, &err), -E2BIG);
	assert_null(netdev);
}

/* passt answers whoever asks for an address of its network. */
static void the_program_itself(void **state)
{
	const struct passt_config config = { 0 };
	struct netdev *netdev = NULL;
	struct err err;
	uint8_t header[HEADER] = { 0 };
	/* Who has 169.254.1.1? Padded. */
	uint8_t arp[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0,   1,   8, 6,
			    0,    1,    8,    0,    6,    4,    0, 1, 2, 0, 0,   0,   0, 1,
			    169,  254,  1,    2,    0,    0,    0, 0, 0, 0, 169, 254, 1, 1 };
	uint8_t answer[2000];
	struct iovec out[2] = { { .iov_base = header, .iov_len = sizeof(header) },
				{ .iov_base = arp, .iov_len = sizeof(arp) } };
	const struct iovec in = { .iov_base = answer, .iov_len = sizeof(answer) };
	ssize_t n = -EAGAIN;

	(void)state;
	if (passt_new(&netdev, &config, &err) != 0)
		skip();
	assert_int_equal(netdev->ops->send(netdev, out, 2), 0);
	while (n == -EAGAIN && is_readable(netdev, 5000))
		n = netdev->ops->receive(netdev, &in, 1);
	netdev_free(netdev);
	/* It ends at once where there is no network to stand for. */
	if (n <= 0)
		skip();
	assert_true(n >= HEADER + 42);
	assert_memory_equal(answer + HEADER, arp + 6, 6);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sends),
		TEST(sends_in_parts),
		TEST(receives),
		TEST(receives_byte_by_byte),
		TEST(receives_the_largest),
		TEST(lengths_that_cannot_be),
		TEST(other_side_closes),
		TEST(closes_with_a_rest),
		cmocka_unit_test(program_that_is_not_there),
		cmocka_unit_test(program_that_is_none),
		cmocka_unit_test(program_that_ends),
		cmocka_unit_test(program_that_ends_before_us),
		cmocka_unit_test(program_that_has_to_be_killed),
		cmocka_unit_test(too_many_arguments),
		cmocka_unit_test(the_program_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
