#include "test.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/log.h"
#include "util/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
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

/* ---- Firecracker's format: in a process of its own, since there is no way back ---- */

static char folder[32];
static char path[64];

static int set_up_folder(void **state)
{
	(void)state;
	memset(&metrics, 0, sizeof(metrics));
	strcpy(folder, "/tmp/test_log.XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/log", folder);
	return 0;
}

static int tear_down_folder(void **state)
{
	log_set_fd(STDERR_FILENO);
	log_set_level(LOG_INFO);
	log_set_module(NULL);
	unlink(path);
	rmdir(folder);
	(void)state;
	return 0;
}

static size_t read_log(char *text, size_t size)
{
	cleanup_close int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	assert_true(fd >= 0);
	while (len < size - 1 && (n = read(fd, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return len;
}

/* \param pattern of all lines together, an extended regular expression */
static void expect_log(const char *pattern)
{
	char text[4096];
	regex_t regex;

	read_log(text, sizeof(text));
	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&regex, text, 0, NULL, 0) != 0)
		fail_msg("the log is\n%s", text);
	regfree(&regex);
}

/* \param say what the child says; it ends with status 7, or by saying so itself */
static void in_child(void (*say)(void))
{
	struct err err = { 0 };
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (log_open(path, &err) != 0)
			_exit(1);
		log_use_firecracker_format("my-id");
		say();
		_exit(7);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 7);
}

#define TIME "20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{9}"

static void say_plainly(void)
{
	log_error("broken %d", 1);
	log_debug("not told");
}

static void firecrackers_line(void **state)
{
	(void)state;
	in_child(say_plainly);
	expect_log("^" TIME " \\[my-id:firecracker\\] broken 1\n$");
}

static void *name_and_say(void *arg)
{
	(void)arg;
	prctl(PR_SET_NAME, "fc_vcpu 3");
	log_warn("from a vCPU");
	return NULL;
}

static void say_with_all(void)
{
	pthread_t thread;

	log_show(true, true);
	log_set_level(LOG_TRACE);
	log_info("one");
	log_trace("two");
	if (pthread_create(&thread, NULL, name_and_say, NULL) == 0)
		pthread_join(thread, NULL);
	log_show(true, false);
	log_debug("three");
	log_show(false, true);
	log_error("four");
}

static void level_origin_and_thread(void **state)
{
	(void)state;
	in_child(say_with_all);
	expect_log("^" TIME
		   " \\[my-id:firecracker:INFO:[./]*tests/unit/test_log.c:[0-9]+\\] one\n" TIME
		   " \\[my-id:firecracker:TRACE:[^]]*:[0-9]+\\] two\n" TIME
		   " \\[my-id:fc_vcpu 3:WARN:[^]]*:[0-9]+\\] from a vCPU\n" TIME
		   " \\[my-id:firecracker:DEBUG\\] three\n" TIME
		   " \\[my-id:firecracker:[^]]*test_log.c:[0-9]+\\] four\n$");
}

static void say_in_signal(int signo)
{
	(void)signo;
	log_write_in_signal(LOG_ERROR, "../../src/vm/vm.c", 12, "the end");
	_exit(7);
}

static void die(void)
{
	log_show(true, true);
	signal(SIGUSR1, say_in_signal);
	log_info("still here");
	raise(SIGUSR1);
}

static void signal_handlers_have_a_line(void **state)
{
	(void)state;
	in_child(die);
	expect_log("^" TIME " [^\n]*still here\n" TIME
		   " \\[my-id:firecracker:ERROR:vm/vm.c:12\\] the end\n$");
}

static void say_in_a_zone(void)
{
	setenv("TZ", "XYZ-5:30", 1); /* read by tzset() in log_use_firecracker_format() */
	log_use_firecracker_format("my-id");
	log_info("now");
}

static void the_time_is_local(void **state)
{
	char text[128];
	char expected[32];
	time_t before = time(NULL);
	time_t at;
	struct tm tm = { 0 };
	bool is_found = false;

	(void)state;
	in_child(say_in_a_zone);
	read_log(text, sizeof(text));
	text[19] = '\0';
	/* One of the seconds that the child can have lived in. */
	for (at = before; at <= time(NULL) && !is_found; at++) {
		time_t local = at + 5 * 3600 + 30 * 60;

		strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S", gmtime_r(&local, &tm));
		is_found = strcmp(text, expected) == 0;
	}
	if (!is_found)
		fail_msg("%s is not the time", text);
}

/* ---- where it goes ---- */

static void a_module_alone(void **state)
{
	(void)state;
	assert_int_equal(log_open(path, NULL), 0);
	log_set_module("virtio/blk");
	log_write(LOG_INFO, "../../src/virtio/blk.c", 1, "wanted");
	log_write(LOG_INFO, "src/virtio/block_of_another.c", 1, "not wanted");
	log_write(LOG_ERROR, "../../src/vm/virtio/blk.c", 1, "nor this");
	log_set_module("virtio/");
	log_write(LOG_INFO, "/usr/src/televm/src/virtio/net.c", 1, "wanted too");
	log_set_module(NULL);
	log_info("all");
	expect_log("^televm: wanted\ntelevm: wanted too\ntelevm: all\n$");
}

static void a_file_is_added_to(void **state)
{
	(void)state;
	assert_int_equal(log_open(path, NULL), 0);
	log_set_raw(true);
	log_info("one");
	assert_int_equal(log_open(path, NULL), 0);
	log_info("two");
	log_set_raw(false);
	/* The terminal is elsewhere: no CR. */
	expect_log("^televm: one\ntelevm: two\n$");
}

static void what_is_no_file_is_refused(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct err err = { 0 };

	(void)state;
	assert_int_equal(log_open(folder, &err), -EINVAL);
	assert_non_null(strstr(err.text, folder));
	assert_non_null(strstr(err.text, "' is a directory, not a file or FIFO"));
	strcpy(addr.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(log_open(path, &err), -EINVAL);
	assert_non_null(strstr(err.text, "' is a socket, not a file or FIFO"));
	assert_int_equal(log_open("/no/such/log", &err), -ENOENT);
	assert_string_equal(err.text, "open '/no/such/log': No such file or directory");
}

static void a_fifo_without_a_reader(void **state)
{
	static char text[128 * KIB];
	uint64_t n_missed;
	unsigned int n_read = 0;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(log_open(path, NULL), 0);
	for (int i = 0; i < 10000; i++)
		log_error("line %d, and something to make the pipe fill up sooner", i);
	n_missed = metrics_get(&metrics.logger.missed_log_count);
	read_log(text, sizeof(text));
	for (const char *at = text; *at != '\0'; at++)
		n_read += *at == '\n';
	assert_int_equal(n_read + n_missed, 10000);
	log_error("again");
	snprintf(text, sizeof(text),
		 "^televm: warning: %llu log lines could not be written\ntelevm: error: again\n$",
		 (unsigned long long)n_missed);
	expect_log(text);
}

static void a_full_disk(void **state)
{
	(void)state;
	assert_int_equal(log_open("/dev/full", NULL), 0);
	log_error("one");
	log_error("two");
	assert_int_equal(metrics_get(&metrics.logger.missed_log_count), 2);
	assert_int_equal(log_open(path, NULL), 0);
	log_error("three");
	expect_log("^televm: warning: 2 log lines could not be written\ntelevm: error: three\n$");
}

enum { N_THREADS = 4, N_LINES = 500 };

static void *say_much(void *arg)
{
	for (int i = 0; i < N_LINES; i++)
		log_info("thread %c says one thing", *(const char *)arg);
	return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
	static char text[N_THREADS * N_LINES * 64];
	static const char expected[] = "televm: thread X says one thing";
	static const char names[] = "abcd";
	pthread_t threads[N_THREADS];
	char *line = text;

	(void)state;
	assert_int_equal(log_open(path, NULL), 0);
	for (int i = 0; i < N_THREADS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, say_much, (void *)(uintptr_t)&names[i]),
			0);
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(read_log(text, sizeof(text)), N_THREADS * N_LINES * sizeof(expected));
	for (int i = 0; i < N_THREADS * N_LINES; i++, line += sizeof(expected)) {
		assert_in_range(line[15], 'a', 'd');
		line[15] = 'X';
		assert_memory_equal(line, expected, sizeof(expected) - 1);
	}
}

static void what_a_guest_floods_is_counted(void **state)
{
	struct log_limit limit = { 0 };
	char text[8192];
	unsigned int n_lines = 0;
	uint64_t n_told = 0;

	(void)state;
	assert_int_equal(log_open(path, NULL), 0);
	for (int i = 0; i < 1000; i++)
		log_guest(&limit, "guest did it again");
	read_log(text, sizeof(text));
	for (const char *at = text; (at = strstr(at, "guest did")) != NULL; at++)
		n_lines++;
	for (const char *at = text; (at = strstr(at, "warning: ")) != NULL;) {
		at += strlen("warning: ");
		n_told += strtoull(at, NULL, 10);
	}
	assert_true(n_told <= metrics_get(&metrics.logger.rate_limited_log_count));
	assert_int_equal(n_lines + metrics_get(&metrics.logger.rate_limited_log_count), 1000);
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
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up_folder, tear_down_folder)
		TEST(firecrackers_line),
		TEST(level_origin_and_thread),
		TEST(signal_handlers_have_a_line),
		TEST(the_time_is_local),
		TEST(a_module_alone),
		TEST(a_file_is_added_to),
		TEST(what_is_no_file_is_refused),
		TEST(a_fifo_without_a_reader),
		TEST(a_full_disk),
		TEST(lines_of_threads_do_not_mix),
		TEST(what_a_guest_floods_is_counted),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
