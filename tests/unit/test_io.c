#include "test.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char dir[] = "/tmp/televm-io-XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) == NULL ? -1 : chdir(dir);
}

static int remove_dir(void **state)
{
	(void)state;
	unlink("file");
	unlink("fifo");
	unlink("socket");
	rmdir("folder");
	return chdir("/") != 0 || rmdir(dir) != 0;
}

static void bind_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
}

static void opens_regular_files_only(void **state)
{
	static const struct {
		const char *path;
		int code;
		const char *reason;
	} rows[] = {
		{ "missing", -ENOENT, "No such file" },
		{ "folder", -EINVAL, "a directory" },
		{ "fifo", -EINVAL, "a FIFO" }, /* and nobody waits for its writer */
		{ "socket", -ENXIO, "No such device" },
		{ "/dev/null", -EINVAL, "a character device" },
	};
	struct err err = { 0 };
	uint64_t size = 0;
	int fd;

	(void)state;
	assert_int_equal(mkdir("folder", 0700), 0);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	bind_socket("socket");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(open_regular(rows[i].path, &size, &err), rows[i].code);
		assert_non_null(strstr(err.text, rows[i].path));
		assert_non_null(strstr(err.text, rows[i].reason));
	}
	fd = open("file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write_all(fd, "twelve bytes", 12), 0);
	close(fd);
	fd = open_regular("file", &size, &err);
	assert_true(fd >= 0);
	assert_int_equal(size, 12);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
}

static void reads_to_the_end(void **state)
{
	int fd = memfd_create("io", MFD_CLOEXEC);
	char text[16] = "";

	(void)state;
	assert_int_equal(write_all(fd, "0123456789", 10), 0);
	assert_int_equal(pread_all(fd, text, 4, 3), 4);
	assert_memory_equal(text, "3456", 4);
	assert_int_equal(pread_all(fd, text, sizeof(text), 8), 2);
	assert_int_equal(pread_all(fd, text, sizeof(text), 10), 0);
	close(fd);
	assert_int_equal(pread_all(fd, text, 1, 0), -EBADF);
	assert_int_equal(write_all(fd, "x", 1), -EBADF);
}

static void cleanup_closes_what_was_not_taken(void **state)
{
	int kept;
	int closed;

	(void)state;
	{
		cleanup_close int first = memfd_create("first", MFD_CLOEXEC);
		cleanup_close int second = memfd_create("second", MFD_CLOEXEC);

		closed = second;
		kept = take_fd(&first);
		assert_int_equal(first, -1);
	}
	assert_int_equal(fcntl(closed, F_GETFD), -1);
	assert_int_equal(fcntl(kept, F_GETFD), FD_CLOEXEC);
	close_fd(&kept);
	assert_int_equal(kept, -1);
	close_fd(&kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(opens_regular_files_only, make_dir, remove_dir),
		cmocka_unit_test(reads_to_the_end),
		cmocka_unit_test(cleanup_closes_what_was_not_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
