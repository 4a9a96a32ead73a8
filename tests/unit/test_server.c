/*
 * The start forms without a command word: what their flags say and refuse, and how a process ends
 * that gets no further than to its machine. Each runs in a process of its own, since it is the
 * whole process that they set up. What needs a machine is tests/system/test_server.py.
 */
#include "cli/server.h"

#include "cli/server_flags.h"
#include "config/exit_status.h"
#include "rig.h"
#include "test.h"
#include "util/bits.h"
#include "util/io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SAID_MAX = 16384 };

/* ---- flags ---- */

static void nothing_is_the_defaults(void **state)
{
	struct server_options options;

	(void)state;
	assert_int_equal(server_options_parse(&options, 0, NULL, NULL), 0);
	assert_string_equal(options.sock, "/run/firecracker.socket");
	assert_string_equal(options.id, "anonymous-instance");
	assert_null(options.config_path);
	assert_null(options.metadata_path);
	assert_null(options.log_path);
	assert_null(options.metrics_path);
	assert_int_equal(options.max_payload, 0);
	assert_int_equal(options.mmds_limit, 0);
	assert_false(options.has_no_api || options.has_boot_timer || options.wants_version);
	assert_false(options.has_start_time || options.has_start_time_cpu);
}

static void every_flag(void **state)
{
	static const char *const words[] = {
		"--api-sock=s",
		"--id=a-1",
		"--config-file=c",
		"--no-api",
		"--metadata=m",
		"--log-path=l",
		"--level=Debug",
		"--module=virtio",
		"--show-level",
		"--show-log-origin",
		"--metrics-path=p",
		"--boot-timer",
		"--http-api-max-payload-size=1000",
		"--no-seccomp",
		"--start-time-us=1",
		NULL,
	};
	static const char *const more[] = { "--start-time-cpu-us",
					    "2",
					    "--parent-cpu-time-us",
					    "3",
					    "--mmds-size-limit",
					    "70000",
					    "--version",
					    NULL };
	struct server_options options;
	struct rig_args args = rig_args_make(words);
	struct rig_args more_args = rig_args_make(more);

	(void)state;
	assert_int_equal(server_options_parse(&options, args.argc, args.argv, NULL), 0);
	assert_string_equal(options.sock, "s");
	assert_string_equal(options.id, "a-1");
	assert_string_equal(options.config_path, "c");
	assert_string_equal(options.metadata_path, "m");
	assert_string_equal(options.log_path, "l");
	assert_string_equal(options.log_level, "Debug");
	assert_string_equal(options.log_module, "virtio");
	assert_string_equal(options.metrics_path, "p");
	assert_true(options.has_no_api && options.has_boot_timer);
	assert_true(options.show_log_level && options.show_log_origin);
	assert_int_equal(options.max_payload, 1000);
	assert_int_equal(options.mmds_limit, 1000);
	assert_true(options.has_start_time);
	assert_int_equal(options.start_time_us, 1);
	rig_args_free(&args);
	assert_int_equal(server_options_parse(&options, more_args.argc, more_args.argv, NULL), 0);
	assert_true(options.has_start_time_cpu && !options.has_start_time);
	assert_int_equal(options.start_time_cpu_us, 2);
	assert_int_equal(options.parent_cpu_time_us, 3);
	assert_int_equal(options.mmds_limit, 70000);
	assert_true(options.wants_version);
	rig_args_free(&more_args);
}

#define CHARS_16 "0123456789abcdef"
#define CHARS_64 CHARS_16 CHARS_16 CHARS_16 CHARS_16

static void mistakes_are_named(void **state)
{
	static const struct {
		const char *words[4];
		const char *said;
	} rows[] = {
		{ { "--api-sok=x" }, "unknown flag '--api-sok'; did you mean --api-sock?" },
		{ { "--api-sock" }, "--api-sock needs a value: --api-sock FILE" },
		{ { "--api-sock=a", "--api-sock=b" }, "--api-sock is given twice" },
		{ { "--no-seccomp", "--no-seccomp" }, "--no-seccomp is given twice" },
		{ { "vm.json" }, "unexpected argument 'vm.json'" },
		{ { "--id=" }, "--id: 0 characters, 1 to 64 are allowed" },
		{ { "--id=" CHARS_64 "x" }, "--id: 65 characters" },
		{ { "--id=a_b" }, "--id: 'a_b' has something else" },
		{ { "--id=\xc3\xbc" }, "has something else" },
		{ { "--no-api" }, "--no-api needs --config-file" },
		{ { "--no-api", "--api-sock=x" }, "--no-api needs --config-file" },
		{ { "--http-api-max-payload-size=0" }, "is not a number of bytes" },
		{ { "--http-api-max-payload-size=50K" }, "'50K' is not a number of bytes" },
		{ { "--mmds-size-limit=4294967296" }, "is not a number of bytes" },
		{ { "--start-time-us=now" }, "'now' is not a number of microseconds" },
		{ { "--start-time-cpu-us=-1" }, "--start-time-cpu-us: '-1' is not" },
		{ { "--parent-cpu-time-us=" }, "--parent-cpu-time-us: '' is not" },
		{ { "--seccomp-filter=f" }, "--seccomp-filter: there is no sandbox yet" },
		{ { "--enable-pci" }, "--enable-pci: there is no PCI yet" },
		{ { "--snapshot-version" }, "there are no snapshots yet" },
		{ { "--describe-snapshot=f" }, "there are no snapshots yet" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct rig_args args = rig_args_make(rows[i].words);
		struct server_options options;
		struct err err = { 0 };

		assert_int_equal(server_options_parse(&options, args.argc, args.argv, &err),
				 -EINVAL);
		if (strstr(err.text, rows[i].said) == NULL)
			fail_msg("'%s' does not say '%s'", err.text, rows[i].said);
		rig_args_free(&args);
	}
}

/* ---- processes ---- */

static char folder[] = "/tmp/test_server.XXXXXX";

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(folder) == NULL || chdir(folder) != 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

static void write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static void read_file(const char *name, char said[SAID_MAX])
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n = pread_all(fd, said, SAID_MAX - 1, 0);

	assert_true(n >= 0);
	said[n] = '\0';
	close(fd);
}

/* Start it, with standard error in the file "err": this program, whose main() does it. */
static pid_t start(const char *const words[])
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		struct rig_args args = rig_args_make(words);

		dup2(open("err", O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
		setenv("TEST_SERVER_RUNS", "1", 1);
		execv("/proc/self/exe", args.argv);
		_exit(127);
	}
	return pid;
}

/* \return the status as a shell has it */
static int wait_for(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void what_ends_at_once(void **state)
{
	static const struct {
		const char *words[8];
		int status;
		const char *said;
	} rows[] = {
		{ { "televm", "--verbose" }, 153, "televm: error: unknown flag '--verbose'" },
		{ { "televm", "--level=Loud" }, 153, "Loud" },
		{ { "televm", "--api-sock=s", "--log-path=/nonexistent/log" },
		  1,
		  "/nonexistent/log" },
		{ { "televm", "--api-sock=s", "--metrics-path=/nonexistent/m" },
		  1,
		  "/nonexistent/m" },
		{ { "televm", "--api-sock=s", "--metadata=/nonexistent/m" }, 1, "--metadata: " },
		{ { "televm", "--api-sock=s", "--metadata=broken" }, 1, "--metadata: " },
		{ { "televm", "--api-sock=s", "--metadata=large", "--mmds-size-limit=10" },
		  1,
		  "--metadata: " },
		{ { "televm", "--api-sock=taken" },
		  1,
		  "Failed to open the API socket at: taken. Check that it is not already used." },
		{ { "televm", "--no-api", "--config-file=/nonexistent/c" },
		  152,
		  "Configuration for VMM from one single json failed: open '/nonexistent/c'" },
		{ { "televm", "--no-api", "--config-file=broken" },
		  152,
		  "Configuration for VMM from one single json failed: " },
		{ { "televm", "--api-sock=s", "--config-file=empty" },
		  152,
		  "Configuration for VMM from one single json failed: empty: missing field "
		  "`boot-source`" },
		{ { "televm", "--no-api", "--config-file=misspelt" },
		  152,
		  "the configuration has no part `network-interface`: it is passed over\n" },
		{ { "televm", "--no-api", "--config-file=no_kernel" },
		  152,
		  "Configuration for VMM from one single json failed: " },
	};
	char said[SAID_MAX];

	(void)state;
	write_file("broken", "{");
	write_file("empty", "{}");
	write_file("large", "{\"a\": \"0123456789\"}");
	write_file("taken", "");
	write_file("misspelt", "{\"network-interface\": []}");
	write_file("no_kernel", "{\"boot-source\": {\"kernel_image_path\": \"/nonexistent/k\"}, "
				"\"drives\": []}");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(wait_for(start(rows[i].words)), rows[i].status);
		read_file("err", said);
		if (strstr(said, rows[i].said) == NULL)
			fail_msg("'%s' does not say '%s'", said, rows[i].said);
		assert_int_not_equal(access("s", F_OK), 0);
	}
	assert_non_null(strstr(said, "Firecracker exiting with error. exit_code=152"));
	read_file("taken", said);
	assert_string_equal(said, "");
}

/* Until the log says so. */
static void wait_for_line(const char *name, const char *line)
{
	char said[SAID_MAX] = "";

	for (int i = 0; i < 10000; i++) {
		if (access(name, F_OK) == 0)
			read_file(name, said);
		if (strstr(said, line) != NULL)
			return;
		usleep(10000);
	}
	fail_msg("'%s' does not say '%s'", said, line);
}

static void log_lines_are_those_that_clients_look_for(void **state)
{
	static const char *const words[] = {
		"televm",       "--api-sock=sock", "--id=vm-1", "--log-path=log",
		"--show-level", "--metadata=data", NULL
	};
	static const char *const lines[] = {
		"Running Firecracker v1.12.1\n",
		"Successfully added metadata to mmds from file\n",
		"Listening on API socket (\"sock\").\n",
		"API server started.\n",
	};
	const char *at;
	char said[SAID_MAX];
	pid_t pid;

	(void)state;
	write_file("data", "{\"a\": 1}");
	write_file("log", "");
	pid = start(words);
	wait_for_line("log", lines[3]);
	read_file("log", said);
	at = said;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		const char *line = strstr(at, lines[i]);

		assert_non_null(line);
		/* 2023-06-16T07:45:41.767987318 [vm-1:firecracker:INFO] */
		assert_memory_equal(line - strlen("[vm-1:firecracker:INFO] "),
				    "[vm-1:firecracker:INFO] ", strlen("[vm-1:firecracker:INFO] "));
		at = line;
	}
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(wait_for(pid), 128 + SIGTERM);
	read_file("err", said);
	assert_string_equal(said, "");
	unlink("sock");
}

static void signals_before_there_is_a_machine(void **state)
{
	static const char *const words[] = { "televm", "--api-sock=sock", NULL };
	static const struct {
		int signal;
		int status;
	} rows[] = {
		{ SIGTERM, 128 + SIGTERM },
		{ SIGINT, 128 + SIGINT },
		{ SIGHUP, 156 },
		{ SIGXCPU, 154 },
		{ SIGXFSZ, 151 },
		{ SIGILL, 157 },
		{ SIGSYS, 148 },
		{ SIGBUS, 149 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		pid_t pid = start(words);

		wait_for_line("err", "API server started.");
		/* These do nothing. 35 is the kick of vCPUs. */
		assert_int_equal(kill(pid, SIGPIPE), 0);
		assert_int_equal(kill(pid, 35), 0);
		assert_int_equal(kill(pid, rows[i].signal), 0);
		assert_int_equal(wait_for(pid), rows[i].status);
		unlink("sock");
		unlink("err");
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_the_defaults),
		cmocka_unit_test(every_flag),
		cmocka_unit_test(mistakes_are_named),
		cmocka_unit_test(what_ends_at_once),
		cmocka_unit_test(log_lines_are_those_that_clients_look_for),
		cmocka_unit_test(signals_before_there_is_a_machine),
	};

	forget_ignored_signals();
	if (getenv("TEST_SERVER_RUNS") != NULL)
		return cli_server(argc, argv);
	return cmocka_run_group_tests_name("server", tests, set_up, tear_down);
}
