/* The API server as clients of all kinds meet it: what they send is HTTP, more or less. */
#include "api_rig.h"
#include "test.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char version_request[] = "GET /version HTTP/1.1\r\n\r\n";

static int setup(void **state)
{
	static struct api_rig rig;

	api_rig_init(&rig, NULL);
	*state = &rig;
	return 0;
}

static int setup_impatient(void **state)
{
	static struct api_rig rig;

	api_rig_init(&rig, &(struct api_options){ .patience_ms = 20 });
	*state = &rig;
	return 0;
}

static int teardown(void **state)
{
	api_rig_deinit(*state);
	return 0;
}

/* ---- the socket ---- */

static void assert_path_refused(struct api_rig *rig, const char *path)
{
	struct api_options options = { .path = path, .base = rig->base };
	struct api_server *server;
	struct err err = { 0 };
	char expected[256];
	struct stat before;
	struct stat after;

	snprintf(expected, sizeof(expected),
		 "Failed to open the API socket at: %s. Check that it is not already used.", path);
	assert_int_equal(lstat(path, &before), 0);
	assert_int_equal(api_server_new(&server, &options, rig->microvm, &err), -EADDRINUSE);
	assert_null(server);
	assert_string_equal(err.text, expected);
	assert_int_equal(lstat(path, &after), 0);
	assert_true(before.st_ino == after.st_ino);
}

static void stale_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
}

static void what_is_there_is_never_taken_over(void **state)
{
	struct api_rig *rig = *state;
	const char *path = api_rig_path(rig, "stale");

	assert_path_refused(rig, rig->socket);
	stale_socket(path);
	assert_path_refused(rig, path);
	assert_path_refused(rig, api_rig_file(rig, "file", "x", 1));
	assert_path_refused(rig, rig->dir);
	path = api_rig_path(rig, "link");
	assert_int_equal(symlink("nowhere", path), 0);
	assert_path_refused(rig, path);
	assert_int_equal(access(api_rig_path(rig, "nowhere"), F_OK), -1);
	api_rig_expect(rig, "GET", "/version", NULL, 200, "firecracker_version");
}

static void a_path_that_cannot_be_is_refused(void **state)
{
	struct api_rig *rig = *state;
	char path[200];
	struct api_options options = { .path = path, .base = rig->base };
	struct api_server *server;
	struct err err = { 0 };

	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(api_server_new(&server, &options, rig->microvm, &err), -ENAMETOOLONG);
	snprintf(path, sizeof(path), "%s/no/api", rig->dir);
	assert_int_equal(api_server_new(&server, &options, rig->microvm, &err), -ENOENT);
	path[0] = '\0';
	assert_int_equal(api_server_new(&server, &options, rig->microvm, &err), -EINVAL);
}

static void another_socket_in_its_place_is_not_removed(void **state)
{
	struct api_rig *rig = *state;
	const char *path = api_rig_path(rig, "second");
	struct api_options options = { .path = path, .base = rig->base };
	struct api_server *server;

	assert_int_equal(api_server_new(&server, &options, rig->microvm, NULL), 0);
	assert_int_equal(unlink(path), 0);
	stale_socket(path);
	api_server_free(server);
	assert_int_equal(access(path, F_OK), 0);
}

static void the_mode_is_the_umasks(void **state)
{
	struct api_rig *rig = *state;
	const char *path = api_rig_path(rig, "second");
	struct api_options options = { .path = path, .base = rig->base };
	struct api_server *server;
	struct stat st;
	mode_t old = umask(0027);

	assert_int_equal(api_server_new(&server, &options, rig->microvm, NULL), 0);
	umask(old);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	api_server_free(server);
}

/* ---- answers ---- */

static void an_answer_has_firecrackers_head(void **state)
{
	struct api_rig *rig = *state;
	int fd = api_rig_connect(rig);
	char buf[4096];

	api_rig_send(rig, fd, version_request);
	api_rig_receive(rig, fd, buf, sizeof(buf));
	assert_ptr_equal(strstr(buf, "HTTP/1.1 200 \r\nServer: Firecracker API\r\nConnection: "
				     "keep-alive\r\nContent-Type: application/json\r\n"
				     "Content-Length: "),
			 buf);
	api_rig_send(rig, fd, "PUT /mmds HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
	api_rig_receive(rig, fd, buf, sizeof(buf));
	assert_string_equal(buf, "HTTP/1.1 204 \r\nServer: Firecracker API\r\n"
				 "Connection: keep-alive\r\n\r\n");
	api_rig_send(rig, fd,
		     "PATCH /machine-config HTTP/1.1\r\nContent-Length: 24\r\n\r\n"
		     "{\"cpu_template\": \"None\"}");
	api_rig_receive(rig, fd, buf, sizeof(buf));
	assert_string_equal(buf, "HTTP/1.1 204 \r\nServer: Firecracker API\r\n"
				 "Connection: keep-alive\r\nDeprecation: true\r\n\r\n");
	close(fd);
}

static void a_client_that_says_close_gets_the_end(void **state)
{
	struct api_rig *rig = *state;
	int fd = api_rig_connect(rig);
	char buf[4096];

	api_rig_send(rig, fd, "GET /version HTTP/1.0\r\n\r\n");
	assert_true(api_rig_receive(rig, fd, buf, sizeof(buf)) > 0);
	assert_non_null(strstr(buf, "\r\nConnection: close\r\n"));
	assert_int_equal(api_rig_receive(rig, fd, buf, sizeof(buf)), -1);
	close(fd);
}

static void a_half_closed_client_gets_its_answer(void **state)
{
	struct api_rig *rig = *state;
	int fd = api_rig_connect(rig);
	char buf[4096];

	api_rig_send(rig, fd, version_request);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_true(api_rig_receive(rig, fd, buf, sizeof(buf)) > 0);
	assert_non_null(strstr(buf, "firecracker_version"));
	assert_int_equal(api_rig_receive(rig, fd, buf, sizeof(buf)), -1);
	close(fd);
}

static void who_expects_100_is_told_to_continue(void **state)
{
	struct api_rig *rig = *state;
	int fd = api_rig_connect(rig);
	char buf[4096];

	api_rig_send(rig, fd,
		     "PUT /mmds HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
	api_rig_receive(rig, fd, buf, sizeof(buf));
	assert_ptr_equal(strstr(buf, "HTTP/1.1 100 "), buf);
	assert_non_null(strstr(buf, "\r\n\r\n"));
	api_rig_send(rig, fd, "{}");
	api_rig_receive(rig, fd, buf, sizeof(buf));
	assert_ptr_equal(strstr(buf, "HTTP/1.1 204 "), buf);
	close(fd);
}

/* RFC 9110, 10.1.1: it would take the 100 for the answer. */
static void a_client_of_http_1_0_is_told_nothing_before_the_answer(void **state)
{
	struct api_rig *rig = *state;
	int fd = api_rig_connect(rig);
	char buf[4096];

	api_rig_send(rig, fd,
		     "PUT /mmds HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
	assert_int_equal(api_rig_receive(rig, fd, buf, sizeof(buf)), 0);
	api_rig_send(rig, fd, "{}");
	api_rig_receive(rig, fd, buf, sizeof(buf));
	assert_ptr_equal(strstr(buf, "HTTP/1.1 204 "), buf);
	close(fd);
}

/* ---- hostile clients ---- */

static void a_request_may_come_byte_by_byte(void **state)
{
	struct api_rig *rig = *state;
	static const char slow[] = "PUT /mmds HTTP/1.1\r\nContent-Length: 9\r\n\r\n{\"a\": 42}";
	int fd = api_rig_connect(rig);
	char buf[4096];

	for (size_t i = 0; i < sizeof(slow) - 1; i++) {
		char byte[2] = { slow[i], '\0' };

		assert_int_equal(api_rig_receive(rig, fd, buf, sizeof(buf)), 0);
		api_rig_send(rig, fd, byte);
		/* Another client is served at each step. */
		api_rig_expect(rig, "GET", "/version", NULL, 200, "firecracker_version");
	}
	assert_true(api_rig_receive(rig, fd, buf, sizeof(buf)) > 0);
	assert_ptr_equal(strstr(buf, "HTTP/1.1 204 "), buf);
	close(fd);
	api_rig_expect(rig, "GET", "/mmds", NULL, 200, "{\"a\":42}");
}

static void half_requests_cost_nothing_after_the_client_has_gone(void **state)
{
	struct api_rig *rig = *state;
	static const char whole[] = "PUT /mmds HTTP/1.1\r\nContent-Length: 9\r\n\r\n{\"a\": 42}";
	char part[sizeof(whole)];

	for (size_t len = 0; len < sizeof(whole) - 1; len++) {
		int fd = api_rig_connect(rig);

		memcpy(part, whole, len);
		part[len] = '\0';
		api_rig_send(rig, fd, part);
		close(fd);
		api_rig_turn(rig);
	}
	api_rig_expect(rig, "GET", "/mmds", NULL, 200, "{}");
}

/* Wait for the server to close. */
static void assert_dropped(struct api_rig *rig, int fd)
{
	char buf[4096];

	while (recv(fd, buf, sizeof(buf), 0) != 0) {
		assert_true(errno == EAGAIN);
		event_base_loop(rig->base, EVLOOP_ONCE);
	}
	close(fd);
}

static void a_half_request_is_given_up(void **state)
{
	struct api_rig *rig = *state;
	int head = api_rig_connect(rig);
	int body = api_rig_connect(rig);

	api_rig_send(rig, head, "GET /version HT");
	assert_dropped(rig, head);
	api_rig_send(rig, body, "PUT /mmds HTTP/1.1\r\nContent-Length: 20000\r\n\r\n{");
	assert_dropped(rig, body);
}

static void a_trickle_does_not_extend_the_time(void **state)
{
	struct api_rig *rig = *state;
	int fd = api_rig_connect(rig);

	/* A byte for each turn: never idle, and yet given up. */
	while (send(fd, "A", 1, MSG_NOSIGNAL) == 1 || errno == EAGAIN)
		event_base_loop(rig->base, EVLOOP_NONBLOCK);
	assert_int_equal(errno, EPIPE);
	close(fd);
}

static void who_never_reads_is_dropped(void **state)
{
	struct api_rig *rig = *state;
	int fd = api_rig_connect(rig);

	while (send(fd, version_request, strlen(version_request), MSG_NOSIGNAL) > 0 ||
	       errno == EAGAIN)
		event_base_loop(rig->base, EVLOOP_NONBLOCK);
	assert_int_equal(errno, EPIPE);
	close(fd);
}

static void a_quiet_connection_is_kept(void **state)
{
	struct api_rig *rig = *state;
	int quiet = api_rig_connect(rig);
	int half = api_rig_connect(rig);
	char buf[4096];

	/* It was asked something before, and is older than one that is given up. */
	api_rig_send(rig, quiet, version_request);
	assert_true(api_rig_receive(rig, quiet, buf, sizeof(buf)) > 0);
	api_rig_send(rig, half, "GET");
	assert_dropped(rig, half);
	api_rig_send(rig, quiet, version_request);
	assert_true(api_rig_receive(rig, quiet, buf, sizeof(buf)) > 0);
	close(quiet);
}

/* Look at the whole answers of alternating requests in \p text. \param n of them before \return
 * bytes looked at */
static size_t look_at_answers(const char *text, unsigned int *n)
{
	const char *at = text;
	const char *next;
	const char *body;

	/* An answer is whole when the next one begins, or when it is the last and ends in its body.
	 */
	while ((body = strstr(at, "\r\n\r\n")) != NULL && strchr(body, '}') != NULL) {
		next = strchr(body, '}') + 1;
		assert_ptr_equal(strstr(at, "HTTP/1.1 200 \r\n"), at);
		if (*n % 2 == 0)
			assert_ptr_equal(strstr(body, "\r\n\r\n{\"firecracker_version\":"), body);
		else
			assert_ptr_equal(strstr(body, "\r\n\r\n{}"), body);
		(*n)++;
		at = next;
	}
	return (size_t)(at - text);
}

static void pipelined_requests_wait_in_the_socket(void **state)
{
	struct api_rig *rig = *state;
	static const char two[] = "GET /version HTTP/1.1\r\n\r\nGET /mmds HTTP/1.1\r\n\r\n";
	enum { N = 10000 };
	const size_t total = N / 2 * (sizeof(two) - 1);
	int fd = api_rig_connect(rig);
	char answers[65536];
	size_t len = 0;
	size_t sent = 0;
	size_t done;
	bool was_stopped = false;
	unsigned int n = 0;

	while (n < N) {
		size_t at = sent % (sizeof(two) - 1);
		ssize_t ret =
			sent == total ? -1 : send(fd, two + at, sizeof(two) - 1 - at, MSG_NOSIGNAL);

		api_rig_turn(rig);
		if (ret > 0) {
			sent += (size_t)ret;
			continue;
		}
		/* Nothing is read before the server has stopped reading. */
		was_stopped |= sent < total;
		ret = api_rig_receive(rig, fd, answers + len, sizeof(answers) - len);
		assert_true(ret >= 0);
		len += (size_t)ret;
		done = look_at_answers(answers, &n);
		len -= done;
		memmove(answers, answers + done, len + 1);
	}
	assert_true(was_stopped);
	assert_int_equal(len, 0);
	close(fd);
}

static unsigned int count_answers(int fd)
{
	char buf[65536];
	ssize_t len = recv(fd, buf, sizeof(buf) - 1, 0);
	unsigned int n = 0;

	buf[len > 0 ? len : 0] = '\0';
	for (const char *at = buf; (at = strstr(at, "HTTP/1.1 200 ")) != NULL; at++)
		n++;
	return n;
}

/* What the devices have to do comes between two requests, however many wait. */
static void a_turn_of_the_loop_does_one_request(void **state)
{
	struct api_rig *rig = *state;
	enum { N = 50 };
	int fd = api_rig_connect(rig);

	for (unsigned int i = 0; i < N; i++)
		assert_int_equal(send(fd, version_request, strlen(version_request), MSG_NOSIGNAL),
				 strlen(version_request));
	for (unsigned int n = 0; n < N;) {
		unsigned int n_answers;

		event_base_loop(rig->base, EVLOOP_ONCE);
		n_answers = count_answers(fd);
		assert_in_range(n_answers, 0, 1);
		n += n_answers;
	}
	close(fd);
}

static void the_eleventh_client_is_turned_away(void **state)
{
	struct api_rig *rig = *state;
	int fds[API_CLIENTS_MAX];
	char buf[4096];
	int extra;

	for (unsigned int i = 0; i < API_CLIENTS_MAX; i++)
		fds[i] = api_rig_connect(rig);
	for (unsigned int i = 0; i < 2000; i++) {
		extra = api_rig_connect(rig);
		assert_true(api_rig_receive(rig, extra, buf, sizeof(buf)) > 0);
		assert_ptr_equal(strstr(buf, "HTTP/1.1 503 "), buf);
		assert_non_null(strstr(buf, "\r\nContent-Length: 40\r\n\r\n"
					    "{ \"error\": \"Too many open connections\" }"));
		assert_int_equal(api_rig_receive(rig, extra, buf, sizeof(buf)), -1);
		close(extra);
	}
	api_rig_send(rig, fds[0], version_request);
	assert_true(api_rig_receive(rig, fds[0], buf, sizeof(buf)) > 0);
	for (unsigned int i = 0; i < API_CLIENTS_MAX; i++)
		close(fds[i]);
	api_rig_turn(rig);
	api_rig_expect(rig, "GET", "/version", NULL, 200, "firecracker_version");
}

static void assert_bad(struct api_rig *rig, const char *request, const char *part)
{
	int fd = api_rig_connect(rig);
	char buf[4096];

	api_rig_send(rig, fd, request);
	assert_true(api_rig_receive(rig, fd, buf, sizeof(buf)) > 0);
	assert_ptr_equal(strstr(buf, "HTTP/1.1 400 \r\n"), buf);
	if (strstr(buf, part) == NULL)
		fail_msg("no '%s' in %s", part, buf);
	assert_non_null(strstr(buf, "\\nAll previous unanswered requests will be dropped.\"}"));
	assert_int_equal(api_rig_receive(rig, fd, buf, sizeof(buf)), -1);
	close(fd);
}

static void what_is_not_http_is_answered_and_closed(void **state)
{
	struct api_rig *rig = *state;

	assert_bad(rig, "POST / HTTP/1.1\r\n\r\n", "Unsupported HTTP method.");
	assert_bad(rig, "GET / HTTP/1.1\n\n", "Invalid HTTP request.");
	assert_bad(rig, "\x16\x03\x01\n", "Invalid HTTP request.");
	assert_bad(rig, "PUT /mmds HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "Content-Length: -1.");
	assert_bad(rig, "PUT /mmds HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n",
		   "Transfer-Encoding");
}

static void a_body_over_the_limit_is_refused_unread(void **state)
{
	struct api_rig *rig = *state;

	assert_bad(rig, "PUT /mmds HTTP/1.1\r\nContent-Length: 51201\r\n\r\n{",
		   "{\"error\":\"Request payload with size 51201 is larger than the limit of 51200 "
		   "allowed by server.\\n");
	assert_bad(rig, "PUT /mmds HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n{",
		   "size 18446744073709551615 is larger");
	assert_bad(rig,
		   "PUT /mmds HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 60000\r\n\r\n",
		   "size 60000 is larger");
}

static void a_body_of_the_limit_is_taken(void **state)
{
	struct api_rig *rig = *state;
	char *body = malloc(API_MAX_PAYLOAD + 1);
	char answer[4096];

	assert_non_null(body);
	memset(body, ' ', API_MAX_PAYLOAD);
	body[API_MAX_PAYLOAD] = '\0';
	body[0] = '{';
	body[API_MAX_PAYLOAD - 1] = '}';
	assert_int_equal(api_rig_do(rig, "PUT", "/mmds", body, answer, sizeof(answer)), 204);
	free(body);
}

/* The client reads its answer though it sent more than anybody read. */
static void who_sends_on_after_a_refusal_gets_it(void **state)
{
	struct api_rig *rig = *state;
	int fd = api_rig_connect(rig);
	char *noise = calloc(1, 100001);
	char buf[4096];

	assert_non_null(noise);
	memset(noise, 'a', 100000);
	api_rig_send(rig, fd, "PUT /mmds HTTP/1.1\r\nContent-Length: 100000\r\n\r\n");
	api_rig_send(rig, fd, noise);
	assert_true(api_rig_receive(rig, fd, buf, sizeof(buf)) > 0);
	assert_non_null(strstr(buf, "size 100000 is larger"));
	free(noise);
	close(fd);
}

static void out_of_descriptors_nobody_spins(void **state)
{
	struct api_rig *rig = *state;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int fds[4096];
	unsigned int n = 0;
	char buf[4096];

	strcpy(address.sun_path, rig->socket);
	while (n < 4096 && (fds[n] = dup(client)) >= 0)
		n++;
	assert_int_equal(connect(client, (const struct sockaddr *)&address, sizeof(address)), 0);
	if (n < 4096) {
		api_rig_turn(rig);
		/* Now there is nothing to do until a timer. */
		assert_int_equal(event_base_get_num_events(rig->base, EVENT_BASE_COUNT_ACTIVE), 0);
	}
	while (n > 0)
		close(fds[--n]);
	send(client, version_request, strlen(version_request), MSG_NOSIGNAL);
	while (recv(client, buf, sizeof(buf), 0) < 0)
		event_base_loop(rig->base, EVLOOP_ONCE);
	close(client);
}

#define TEST(name)           cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_IMPATIENT(name) cmocka_unit_test_setup_teardown(name, setup_impatient, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_there_is_never_taken_over),
		TEST(a_path_that_cannot_be_is_refused),
		TEST(another_socket_in_its_place_is_not_removed),
		TEST(the_mode_is_the_umasks),
		TEST(an_answer_has_firecrackers_head),
		TEST(a_client_that_says_close_gets_the_end),
		TEST(a_half_closed_client_gets_its_answer),
		TEST(who_expects_100_is_told_to_continue),
		TEST(a_client_of_http_1_0_is_told_nothing_before_the_answer),
		TEST(a_request_may_come_byte_by_byte),
		TEST(half_requests_cost_nothing_after_the_client_has_gone),
		TEST_IMPATIENT(a_half_request_is_given_up),
		TEST_IMPATIENT(a_trickle_does_not_extend_the_time),
		TEST_IMPATIENT(who_never_reads_is_dropped),
		TEST_IMPATIENT(a_quiet_connection_is_kept),
		TEST(pipelined_requests_wait_in_the_socket),
		TEST(a_turn_of_the_loop_does_one_request),
		TEST(the_eleventh_client_is_turned_away),
		TEST(what_is_not_http_is_answered_and_closed),
		TEST(a_body_over_the_limit_is_refused_unread),
		TEST(a_body_of_the_limit_is_taken),
		TEST(who_sends_on_after_a_refusal_gets_it),
		TEST(out_of_descriptors_nobody_spins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
