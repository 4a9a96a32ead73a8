/*
 * `televm ctl` against a listener that the test plays: it keeps what was asked and answers what the
 * test says, so that answers no honest machine gives are met too.
 */
#include "cli/cli.h"
#include "cli/ctl.h"
#include "cli/http_client.h"
#include "config/exit_status.h"
#include "test.h"
#include "util/bits.h"
#include "util/io.h"
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ANSWERS_MAX = 3, ASKED_MAX = 4096, SAID_MAX = 65536 };

#define OK_HEAD "HTTP/1.1 200 \r\nServer: Firecracker API\r\nContent-Length: %zu\r\n\r\n%s"

static struct {
	char folder[32];
	char sock[64];
	int fd;
	const char *answers[ANSWERS_MAX + 1]; /**< whole ones, one for each connection */
	char asked[ASKED_MAX];                /**< all requests, one behind the other */
	pthread_t thread;
} server;

static bool is_whole(const char *request)
{
	const char *end = strstr(request, "\r\n\r\n");
	const char *length = strstr(request, "Content-Length: ");

	if (end == NULL)
		return false;
	return length == NULL || strlen(end + 4) >= (size_t)atoi(length + 16);
}

static void take_request(int fd)
{
	size_t start = strlen(server.asked);
	size_t len = start;

	while (!is_whole(server.asked + start)) {
		ssize_t n = read(fd, server.asked + len, ASKED_MAX - 1 - len);

		if (n <= 0)
			return;
		len += (size_t)n;
		server.asked[len] = '\0';
	}
}

static void *serve(void *arg)
{
	(void)arg;
	for (size_t i = 0; server.answers[i] != NULL; i++) {
		int fd = accept4(server.fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			break;
		take_request(fd);
		if (write_all(fd, server.answers[i], strlen(server.answers[i])) != 0)
			print_message("an answer was not taken\n");
		close(fd);
	}
	return NULL;
}

static int listen_on(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	assert_int_equal(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

static int set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	strcpy(server.folder, "/tmp/test_ctl.XXXXXX");
	assert_non_null(mkdtemp(server.folder));
	snprintf(server.sock, sizeof(server.sock), "%s/sock", server.folder);
	server.fd = listen_on(server.sock);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(server.fd);
	unlink(server.sock);
	rmdir(server.folder);
	return 0;
}

/* \return the exit status of `televm ctl WORDS`; "SOCK" stands for the socket. What it printed and
 * logged is in \p said. */
static int run_ctl(const char *const words[], char said[SAID_MAX])
{
	char *argv[8] = { NULL };
	FILE *out = tmpfile();
	int saved_out = dup(STDOUT_FILENO);
	int argc = 0;
	int status;

	for (; words[argc] != NULL; argc++)
		argv[argc] = strdup(strcmp(words[argc], "SOCK") == 0 ? server.sock : words[argc]);
	fflush(stdout);
	dup2(fileno(out), STDOUT_FILENO);
	log_set_fd(fileno(out));
	/* It moves them. */
	char *args[8];

	memcpy(args, argv, sizeof(args));
	status = cli_ctl(argc, args);
	log_set_fd(STDERR_FILENO);
	dup2(saved_out, STDOUT_FILENO);
	close(saved_out);
	rewind(out);
	said[fread(said, 1, SAID_MAX - 1, out)] = '\0';
	fclose(out);
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	return status;
}

/* The same, while these answers are given. */
static int ask(const char *const words[], const char *const answers[], char said[SAID_MAX])
{
	size_t n = 0;
	int status;

	for (; answers[n] != NULL; n++)
		server.answers[n] = answers[n];
	server.answers[n] = NULL;
	server.asked[0] = '\0';
	assert_int_equal(pthread_create(&server.thread, NULL, serve, NULL), 0);
	status = run_ctl(words, said);
	pthread_join(server.thread, NULL);
	return status;
}

static char *ok(const char *body)
{
	char *text;

	assert_true(asprintf(&text, OK_HEAD, strlen(body), body) > 0);
	return text;
}

static const char done[] = "HTTP/1.1 204 \r\nServer: Firecracker API\r\n\r\n";

static void assert_says(const char *said, const char *what)
{
	if (strstr(said, what) == NULL)
		fail_msg("'%s' does not say '%s'", said, what);
}

/* ---- what is asked ---- */

static void each_command_asks(void **state)
{
	static const struct {
		const char *words[7];
		const char *line;
		const char *body; /* NULL: none */
	} rows[] = {
		{ { "start" }, "PUT /actions", "{\"action_type\":\"InstanceStart\"}" },
		{ { "pause" }, "PATCH /vm", "{\"state\":\"Paused\"}" },
		{ { "resume" }, "PATCH /vm", "{\"state\":\"Resumed\"}" },
		{ { "stop" }, "PUT /actions", "{\"action_type\":\"SendCtrlAltDel\"}" },
		{ { "balloon", "64M" }, "PATCH /balloon", "{\"amount_mib\":64}" },
		{ { "balloon", "0" }, "PATCH /balloon", "{\"amount_mib\":0}" },
		{ { "disk", "data", "/b.img" },
		  "PATCH /drives/data",
		  "{\"path_on_host\":\"/b.img\",\"drive_id\":\"data\"}" },
		{ { "limits", "disk", "data", "bandwidth=1M,ops=off" },
		  "PATCH /drives/data",
		  "{\"rate_limiter\":{\"bandwidth\":{\"size\":1048576,\"refill_time\":1000},"
		  "\"ops\":{\"size\":0,\"refill_time\":0}},\"drive_id\":\"data\"}" },
		{ { "limits", "net", "eth0", "ops=5,tx-bandwidth=2K" },
		  "PATCH /network-interfaces/eth0",
		  "{\"rx_rate_limiter\":{\"ops\":{\"size\":5,\"refill_time\":1000}},"
		  "\"tx_rate_limiter\":{\"ops\":{\"size\":5,\"refill_time\":1000},"
		  "\"bandwidth\":{\"size\":2048,\"refill_time\":1000}},\"iface_id\":\"eth0\"}" },
		{ { "put", "/mmds", "{\"a\": [1, 2]}" }, "PUT /mmds", "{\"a\":[1,2]}" },
		{ { "put", "/mmds", "{}", "--json" }, "PUT /mmds", "{}" },
		{ { "patch", "/balloon/hinting/stop" }, "PATCH /balloon/hinting/stop", NULL },
		{ { "get", "/mmds" }, "GET /mmds", NULL },
	};
	static const char *const answers[] = { done, NULL };
	char said[SAID_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *words[8] = { "SOCK" };
		char line[128];
		const char *body;

		memcpy(words + 1, rows[i].words, sizeof(rows[i].words));
		assert_int_equal(ask(words, answers, said), 0);
		assert_string_equal(said, "");
		snprintf(line, sizeof(line), "%s HTTP/1.1\r\nHost: localhost\r\n", rows[i].line);
		assert_memory_equal(server.asked, line, strlen(line));
		body = strstr(server.asked, "\r\n\r\n") + 4;
		assert_string_equal(body, rows[i].body == NULL ? "" : rows[i].body);
		assert_int_equal(strstr(server.asked, "Content-Length") != NULL,
				 rows[i].body != NULL);
	}
}

static void relative_paths_are_made_whole(void **state)
{
	static const char *const words[] = { "SOCK", "disk", "d", "b.img", NULL };
	static const char *const answers[] = { done, NULL };
	char said[SAID_MAX];
	char folder[1024];
	char body[2048];

	(void)state;
	assert_int_equal(ask(words, answers, said), 0);
	assert_non_null(getcwd(folder, sizeof(folder)));
	snprintf(body, sizeof(body), "\"path_on_host\":\"%s/b.img\"", folder);
	assert_says(server.asked, body);
}

/* ---- what is shown ---- */

static const char instance[] = "{\"id\":\"vm1\",\"state\":\"Running\",\"vmm_version\":\"1.12.1\","
			       "\"app_name\":\"Firecracker\"}";
static const char config[] =
	"{\"boot-source\":{\"kernel_image_path\":\"Image\",\"initrd_path\":null},"
	"\"drives\":[{\"drive_id\":\"rootfs\",\"path_on_host\":\"/r.ext4\",\"is_root_device\":true,"
	"\"is_read_only\":true}],\"machine-config\":{\"vcpu_count\":2,\"mem_size_mib\":256},"
	"\"network-interfaces\":[{\"iface_id\":\"eth0\",\"host_dev_name\":\"tap0\","
	"\"guest_mac\":\"02:00:00:00:00:01\"},{\"iface_id\":\"net1\",\"host_dev_name\":null,"
	"\"user\":true}],\"vsock\":{\"guest_cid\":3,\"uds_path\":\"v.sock\"},"
	"\"balloon\":{\"amount_mib\":64},\"entropy\":null}";

static void status_is_a_table(void **state)
{
	static const char *const words[] = { "SOCK", "status", NULL };
	const char *answers[] = { ok(instance), ok(config), "", NULL };
	char said[SAID_MAX];
	char expected[1024];

	(void)state;
	snprintf(expected, sizeof(expected),
		 "id                   vm1\n"
		 "state                Running\n"
		 "process              %d\n"
		 "API                  Firecracker 1.12.1\n"
		 "vCPUs                2\n"
		 "memory               256 MiB\n"
		 "kernel               Image\n"
		 "disk                 rootfs: /r.ext4, root, read-only\n"
		 "network              eth0: tap0, 02:00:00:00:00:01\n"
		 "network              net1: user\n"
		 "vsock                cid 3: v.sock\n"
		 "balloon              64 MiB\n",
		 getpid());
	assert_int_equal(ask(words, answers, said), 0);
	assert_string_equal(said, expected);
	free((char *)(uintptr_t)answers[0]);
	free((char *)(uintptr_t)answers[1]);
}

static void status_for_programs(void **state)
{
	static const char *const words[] = { "SOCK", "status", "--json", NULL };
	const char *answers[] = { ok(instance), ok("{\"machine-config\":{}}"), "", NULL };
	char said[SAID_MAX];
	char expected[512];

	(void)state;
	snprintf(expected, sizeof(expected),
		 "{\"id\":\"vm1\",\"state\":\"Running\",\"vmm_version\":\"1.12.1\","
		 "\"app_name\":\"Firecracker\",\"pid\":%d,\"config\":{\"machine-config\":{}}}\n",
		 getpid());
	assert_int_equal(ask(words, answers, said), 0);
	assert_string_equal(said, expected);
	free((char *)(uintptr_t)answers[0]);
	free((char *)(uintptr_t)answers[1]);
}

/* One answer of status 200 with \p body to \p words. */
static void assert_shows(const char *const words[], const char *body, const char *expected)
{
	const char *answers[] = { ok(body), NULL };
	char said[SAID_MAX];

	assert_int_equal(ask(words, answers, said), 0);
	assert_string_equal(said, expected);
	free((char *)(uintptr_t)answers[0]);
}

static void objects_are_tables_or_json(void **state)
{
	static const char *const balloon[] = { "SOCK", "balloon", NULL };
	static const char *const stats[] = { "SOCK", "balloon", "stats", "--json", NULL };
	static const char *const version[] = { "SOCK", "version", NULL };
	static const char *const get[] = { "SOCK", "get", "/x", NULL };
	static const char *const get_json[] = { "SOCK", "--json", "get", NULL };
	static const char *const conf[] = { "SOCK", "config", NULL };
	char said[SAID_MAX];

	(void)state;
	assert_shows(balloon, "{\"amount_mib\":3,\"deflate_on_oom\":true,\"x\":{},\"n\":null}",
		     "amount_mib           3\ndeflate_on_oom       yes\n");
	assert_says(server.asked, "GET /balloon HTTP");
	assert_shows(stats, "{\"target_pages\": 1}", "{\"target_pages\":1}\n");
	assert_says(server.asked, "GET /balloon/statistics HTTP");
	assert_shows(version, "{\"firecracker_version\":\"1\"}", "firecracker_version  1\n");
	assert_shows(get, "{\"a\":[1]}", "{\n  \"a\": [\n    1\n  ]\n}\n");
	assert_shows(conf, "{\"a\":1}", "{\n  \"a\": 1\n}\n");
	assert_says(server.asked, "GET /vm/config HTTP");
	assert_int_equal(run_ctl(get_json, said), EXIT_STATUS_BAD_ARGUMENTS);
	assert_says(said, "flags stand behind the command");
}

static const char counters[] =
	"{\"utc_timestamp_ms\":5,\"vcpu\":{\"failures\":0,\"exit_mmio_read\":3,"
	"\"exit_mmio_read_agg\":{\"min_us\":1,\"max_us\":0,\"sum_us\":9}},"
	"\"block\":{\"read_bytes\":30},\"block_a\":{\"read_bytes\":30}}";

static void metrics_in_three_forms(void **state)
{
	static const char *const table[] = { "SOCK", "metrics", NULL };
	static const char *const all[] = { "SOCK", "metrics", "--all", NULL };
	static const char *const prom[] = { "SOCK", "metrics", "--prometheus", NULL };
	const char *answers[] = { ok(counters), NULL, NULL };
	char said[SAID_MAX];

	(void)state;
	assert_shows(table, counters,
		     "vcpu.exit_mmio_read  3\n"
		     "vcpu.exit_mmio_read_agg.min_us 1\n"
		     "vcpu.exit_mmio_read_agg.sum_us 9\n"
		     "block.read_bytes     30\n"
		     "block_a.read_bytes   30\n");
	assert_says(server.asked, "GET /metrics HTTP");
	assert_int_equal(ask(all, answers, said), 0);
	assert_says(said, "vcpu.failures        0\n");
	answers[1] = ok(instance);
	assert_int_equal(ask(prom, answers, said), 0);
	assert_says(said, "\ntelevm_vcpu_exit_mmio_read_total{vm=\"vm1\"} 3\n");
	assert_says(said, "\ntelevm_block_read_bytes_total{vm=\"vm1\",drive=\"a\"} 30\n");
	assert_null(strstr(said, "utc_timestamp"));
	free((char *)(uintptr_t)answers[0]);
	free((char *)(uintptr_t)answers[1]);
}

/* Nothing of what a machine says steers a terminal or makes a second row. */
static void nothing_steers_the_terminal(void **state)
{
	static const char *const balloon[] = { "SOCK", "balloon", NULL };
	static const char *const get[] = { "SOCK", "get", "/x", "--json", NULL };

	(void)state;
	assert_shows(balloon, "{\"a\\u001b\":\"\\u001b[2J\\n\xc2\x9b!\"}",
		     "a?                   ?[2J?\?\?!\n");
	assert_shows(get, "{\"a\":\"\\u001b\xc2\x9b\"}", "{\"a\":\"\\u001B\\u009B\"}\n");
}

/* ---- what goes wrong ---- */

static void refusals_are_told(void **state)
{
	static const char *const words[] = { "SOCK", "pause", NULL };
	static const struct {
		const char *answer;
		const char *said;
	} rows[] = {
		{ "HTTP/1.1 400 \r\nContent-Length: 28\r\n\r\n{\"fault_message\":\"Not now.\"}",
		  "televm: error: Not now.\n" },
		{ "HTTP/1.1 503 \r\nContent-Length: 18\r\n\r\n{ \"error\": \"Full\"}",
		  "televm: error: Full\n" },
		{ "HTTP/1.1 501 No\r\nContent-Length: 6\r\n\r\n<html>",
		  "televm: error: refused with status 501\n" },
		{ "HTTP/1.1 400 \r\n\r\n", "televm: error: refused with status 400\n" },
		{ "HTTP/1.1 400 \r\n\r\n{\"fault_message\":7}",
		  "televm: error: refused with status 400\n" },
	};
	char said[SAID_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *answers[] = { rows[i].answer, NULL };

		assert_int_equal(ask(words, answers, said), CTL_REFUSED);
		assert_string_equal(said, rows[i].said);
	}
}

static void answers_that_make_no_sense(void **state)
{
	static const char *const words[] = { "SOCK", "balloon", NULL };
	static const struct {
		const char *answer;
		const char *said;
	} rows[] = {
		{ "", "the connection was closed" },
		{ "HTTP/1.1 200 OK\r\n", "it ends in its head" },
		{ "HTTP/2 200 OK\r\n\r\n", "no status line of HTTP/1" },
		{ "HTTP/1.2 200 OK\r\n\r\n", "no status line of HTTP/1" },
		{ "HTTP/1.1\r\n\r\n", "no status line of HTTP/1" },
		{ "HTTP/1.1 \r\n\r\n", "no status" },
		{ "HTTP/1.1 20\r\n\r\n", "no status" },
		{ "HTTP/1.1 2000\r\n\r\n", "no status" },
		{ "HTTP/1.1 099\r\n\r\n", "no status" },
		{ "HTTP/1.1 +20 OK\r\n\r\n", "no status" },
		{ "\r\n\r\n", "no status line of HTTP/1" },
		{ "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "no header" },
		{ "HTTP/1.1 200 OK\r\n: x\r\n\r\n", "no header" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "its length is no number" },
		{ "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "its length is no number" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n", "its length is no number" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
		  "its length is no number" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 16777217\r\n\r\n", "longer than 16777216" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 3\r\n\r\n{}",
		  "its length is no number, or there are two" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", "it ends in its body" },
		{ "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		  "it has no plain length" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{", "the answer is no JSON" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{} x", "the answer is no JSON" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"a\":1,\"a\":2}",
		  "the answer is no JSON" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "is no object" },
		{ "HTTP/1.1 204 \r\n\r\n", "is no object" },
	};
	char said[SAID_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *answers[] = { rows[i].answer, NULL };

		if (ask(words, answers, said) != CTL_NO_ANSWER)
			fail_msg("'%s' was taken", rows[i].answer);
		assert_says(said, rows[i].said);
	}
}

static void plain_answers_of_other_kinds(void **state)
{
	static const char *const words[] = { "SOCK", "get", "/x", "--json", NULL };
	static const char *const rows[] = {
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
		"HTTP/1.0 200\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nContent-Length:2 \r\nX: \r\n\r\n{}and what follows",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
	};
	char said[SAID_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *answers[] = { rows[i], NULL };

		assert_int_equal(ask(words, answers, said), 0);
		assert_string_equal(said, "{}\n");
	}
}

static void endless_heads_end(void **state)
{
	static const char *const words[] = { "SOCK", "balloon", NULL };
	char *answer = calloc(1, 40000);
	const char *answers[] = { answer, NULL };
	char said[SAID_MAX];

	(void)state;
	strcpy(answer, "HTTP/1.1 200 OK\r\n");
	for (size_t at = strlen(answer); at < 39000; at += 6)
		strcpy(answer + at, "X: y\r\n");
	strcat(answer, "\r\n");
	assert_int_equal(ask(words, answers, said), CTL_NO_ANSWER);
	assert_says(said, "the answer's head is longer than 16384 bytes");
	free(answer);
}

static void nobody_listens(void **state)
{
	static const char *const missing[] = { "/nonexistent", "status", NULL };
	static const char *const gone[] = { "/nonexistent", "kill", NULL };
	static const char *const empty[] = { "", "status", NULL };
	char path[200];
	const char *too_long[] = { path, "status", NULL };
	char said[SAID_MAX];

	(void)state;
	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(run_ctl(missing, said), CTL_NO_ANSWER);
	assert_string_equal(
		said, "televm: error: connect to '/nonexistent': No such file or directory\n");
	assert_int_equal(run_ctl(gone, said), CTL_NO_ANSWER);
	assert_says(said, "connect to '/nonexistent'");
	assert_int_equal(run_ctl(empty, said), CTL_NO_ANSWER);
	assert_says(said, "is no path of a socket");
	assert_int_equal(run_ctl(too_long, said), CTL_NO_ANSWER);
	assert_says(said, "is no path of a socket: 1 to 107 bytes");
}

static void mistakes_are_named(void **state)
{
	static const struct {
		const char *words[6];
		const char *said;
	} rows[] = {
		{ { NULL }, "ctl needs a socket and a command" },
		{ { "SOCK" }, "ctl needs a socket and a command" },
		{ { "status" }, "ctl needs a socket and a command" },
		{ { "status", "vm.sock" },
		  "the socket stands before the command: televm ctl vm.sock status\n" },
		{ { "SOCK", "--json", "status" }, "flags stand behind the command" },
		{ { "--json", "SOCK", "status" }, "flags stand behind the command" },
		{ { "SOCK", "stauts" }, "unknown command 'stauts'; did you mean status?" },
		{ { "SOCK", "dance" }, "unknown command 'dance'\n" },
		{ { "SOCK", "status", "now" }, "status takes no more than: status" },
		{ { "SOCK", "status", "--jsn" }, "unknown flag '--jsn'; did you mean --json?" },
		{ { "SOCK", "status", "--json", "--json" }, "--json is given twice" },
		{ { "SOCK", "pause", "--json" }, "unknown flag '--json'" },
		{ { "SOCK", "balloon", "lots" }, "balloon: 'lots' is not a size in whole MiB" },
		{ { "SOCK", "balloon", "1K" }, "balloon: '1K' is not a size in whole MiB" },
		{ { "SOCK", "disk", "a" }, "disk needs more: disk ID PATH" },
		{ { "SOCK", "limits", "disk", "a" }, "limits needs more" },
		{ { "SOCK", "limits", "tape", "a", "ops=1" }, "'tape' is not disk or net" },
		{ { "SOCK", "limits", "disk", "a", "ops=x" }, "ops: 'x' is not a number" },
		{ { "SOCK", "limits", "disk", "a", "ops=0" }, "ops: '0' is not a number" },
		{ { "SOCK", "limits", "disk", "a", "bandwith=1" }, "did you mean bandwidth?" },
		{ { "SOCK", "limits", "disk", "a", "rx-ops=1" }, "unknown key 'rx-ops'" },
		{ { "SOCK", "limits", "net", "a", "bandwidth=0" }, "is not a size like 10M" },
		{ { "SOCK", "stop", "--timeout", "soon" }, "'soon' is not a number of seconds" },
		{ { "SOCK", "stop", "--timeout" }, "--timeout needs a value" },
		{ { "SOCK", "stop", "--timeout=5" }, "--timeout is for --wait" },
		{ { "SOCK", "metrics", "--json", "--prometheus" }, "exclude each other" },
		{ { "SOCK", "put", "/mmds", "{" }, "the body is no JSON" },
		{ { "SOCK", "put", "/mmds", "{\"a\":1,\"a\":2}" }, "the body is no JSON" },
	};
	char said[SAID_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(run_ctl(rows[i].words, said), EXIT_STATUS_BAD_ARGUMENTS);
		assert_says(said, rows[i].said);
	}
}

/* What would be two lines of a request is no path. */
static void paths_are_one_word(void **state)
{
	static const char *const rows[] = { "", "vm", "/a b", "/a\r\nX: y", "/\x7f", "/\xc3\xbc" };
	char said[SAID_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *const words[] = { "SOCK", "get", rows[i], NULL };
		const char *const answers[] = { "", NULL };

		assert_int_equal(ask(words, answers, said), EXIT_STATUS_BAD_ARGUMENTS);
		assert_says(said, "is not a path like /vm/config");
		assert_string_equal(server.asked, "");
	}
}

/* ---- the process ---- */

static pid_t fork_listener(const char *path)
{
	int ready[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		signal(SIGTERM, SIG_DFL);
		listen_on(path);
		close(ready[1]);
		pause();
		_exit(0);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 0);
	close(ready[0]);
	return pid;
}

static void kill_ends_the_process(void **state)
{
	char path[64];
	const char *words[] = { path, "kill", NULL };
	char said[SAID_MAX];
	int status;
	pid_t pid;

	(void)state;
	snprintf(path, sizeof(path), "%s/kill", server.folder);
	pid = fork_listener(path);
	assert_int_equal(run_ctl(words, said), 0);
	assert_string_equal(said, "");
	assert_int_equal(waitpid(pid, &status, WNOHANG), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	assert_int_equal(run_ctl(words, said), CTL_NO_ANSWER);
	unlink(path);
}

/* The test itself listens, and does not end. */
static void waiting_ends(void **state)
{
	static const char *const words[] = { "SOCK", "stop", "--wait", "--timeout=1", NULL };
	static const char *const answers[] = { "", done, NULL };
	char said[SAID_MAX];

	(void)state;
	assert_int_equal(ask(words, answers, said), CTL_REFUSED);
	assert_string_equal(said, "televm: error: it still runs after 1 s\n");
	assert_says(server.asked, "SendCtrlAltDel");
}

/* ---- help ---- */

static void every_command_has_help(void **state)
{
	static const char *const all[] = { "--help", NULL };
	static const char *const with_sock[] = { "SOCK", "-h", NULL };
	char general[SAID_MAX];
	char said[SAID_MAX];

	(void)state;
	assert_int_equal(run_ctl(all, general), 0);
	assert_int_equal(run_ctl(with_sock, said), 0);
	assert_string_equal(said, general);
	for (const struct ctl_command *row = ctl_commands; row->name != NULL; row++) {
		const char *const words[] = { "SOCK", row->name, "--help", NULL };
		const char *const without_sock[] = { row->name, "--help", NULL };
		char line[64];

		snprintf(line, sizeof(line), "\n  %s ", row->name);
		assert_says(general, line);
		assert_int_equal(run_ctl(words, said), 0);
		snprintf(line, sizeof(line), "Usage: televm ctl SOCK %s", row->name);
		assert_says(said, line);
		snprintf(line, sizeof(line), "televm ctl vm.sock %s", row->name);
		assert_says(said, line);
		for (const char *at = said; at != NULL; at = strchr(at + 1, '\n'))
			assert_true(strcspn(at + 1, "\n") <= 79);
		for (const struct option_row *flag = row->flags; flag->name != NULL; flag++)
			assert_says(said, flag->name);
		assert_int_equal(run_ctl(without_sock, general), 0);
		assert_string_equal(said, general);
		run_ctl(all, general);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_command_asks),
		cmocka_unit_test(relative_paths_are_made_whole),
		cmocka_unit_test(status_is_a_table),
		cmocka_unit_test(status_for_programs),
		cmocka_unit_test(objects_are_tables_or_json),
		cmocka_unit_test(metrics_in_three_forms),
		cmocka_unit_test(nothing_steers_the_terminal),
		cmocka_unit_test(refusals_are_told),
		cmocka_unit_test(answers_that_make_no_sense),
		cmocka_unit_test(plain_answers_of_other_kinds),
		cmocka_unit_test(endless_heads_end),
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(mistakes_are_named),
		cmocka_unit_test(paths_are_one_word),
		cmocka_unit_test(kill_ends_the_process),
		cmocka_unit_test(waiting_ends),
		cmocka_unit_test(every_command_has_help),
	};

	return cmocka_run_group_tests_name("ctl", tests, set_up, tear_down);
}
