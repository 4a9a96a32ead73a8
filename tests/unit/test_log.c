#include "test.h"
#include "util/bits.h"
#include "util/err.h"
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int pipe_fds[2];

static int set_up(void **state)
{
	(void)state;
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_true(fcntl(pipe_fds[1], F_SETPIPE_SZ, 65536) >= 65536);
	assert_int_equal(fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK), 0);
	log_set_fd(pipe_fds[1]);
	log_set_level(LOG_INFO);
	log_set_raw(false);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	log_set_fd(STDERR_FILENO);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return 0;
}

static size_t drain(char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size - 1 && (n = read(pipe_fds[0], text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return len;
}

static void lines_and_levels(void **state)
{
	char text[512];

	(void)state;
	log_error("broken %d", 1);
	log_warn("odd");
	log_info("fine");
	log_debug("not told");
	log_set_level(LOG_ERROR);
	log_warn("not told either");
	drain(text, sizeof(text));
	assert_string_equal(text, "televm: error: broken 1\ntelevm: warning: odd\ntelevm: fine\n");
	log_set_raw(true);
	log_error("raw");
	drain(text, sizeof(text));
	assert_string_equal(text, "televm: error: raw\r\n");
}

/* C04 of the hostile-input checklist: no escape sequence of a guest reaches a terminal. */
static void control_characters_are_masked(void **state)
{
	char text[512];

	(void)state;
	log_error("a\033[2Jb\nc\x7f");
	drain(text, sizeof(text));
	assert_string_equal(text, "televm: error: a?[2Jb?c?\n");
}

static void long_lines_are_cut(void **state)
{
	char text[4096];
	char huge[3000];

	(void)state;
	memset(huge, 'x', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	log_error("%s", huge);
	assert_int_equal(drain(text, sizeof(text)), 1024 - 2);
	assert_int_equal(text[1024 - 3], '\n');
}

static void a_stuck_reader_loses_lines_not_time(void **state)
{
	static char text[128 * KIB];

	(void)state;
	for (int i = 0; i < 10000; i++)
		log_error("line %d, and something to make the pipe fill up sooner", i);
	assert_true(drain(text, sizeof(text)) <= 64 * KIB);
	log_error("again");
	drain(text, sizeof(text));
	assert_non_null(strstr(text, "log lines could not be written"));
	assert_non_null(strstr(text, "again\n"));
}

static void a_guest_cannot_flood(void **state)
{
	struct log_limit limit = { 0 };
	char text[4096];
	unsigned int n_lines = 0;

	(void)state;
	for (int i = 0; i < 10000; i++)
		log_guest(&limit, "guest did it again");
	drain(text, sizeof(text));
	for (const char *at = text; *at != '\0'; at++)
		n_lines += *at == '\n';
	/* Five a second; the loop may cross a second or two. */
	assert_in_range(n_lines, 5, 40);
}

static void errors_are_sentences(void **state)
{
	struct err err = { 0 };

	(void)state;
	errno = ENOENT;
	assert_int_equal(err_sys(&err, "open '%s'", "/x"), -ENOENT);
	assert_string_equal(err.text, "open '/x': No such file or directory");
	assert_int_equal(err_prefix(&err, "drive '%s'", "root"), -ENOENT);
	assert_string_equal(err.text, "drive 'root': open '/x': No such file or directory");
	assert_int_equal(err_set(NULL, -EINVAL, "nobody reads this"), -EINVAL);
	assert_int_equal(err_prefix(NULL, "nor this"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(lines_and_levels, set_up, tear_down),
		cmocka_unit_test_setup_teardown(control_characters_are_masked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(long_lines_are_cut, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_stuck_reader_loses_lines_not_time, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_guest_cannot_flood, set_up, tear_down),
		cmocka_unit_test(errors_are_sentences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
