#include "api/http.h"

#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Parse a head from the heap, so that a byte read or written outside of it is found. */
static int parse(struct http_head *head, char **buf, const char *text, size_t len)
{
	struct err err = { 0 };
	ssize_t head_len;

	*buf = malloc(len);
	assert_non_null(*buf);
	memcpy(*buf, text, len);
	head_len = http_find_head_end(*buf, len, 0);
	if (head_len <= 0)
		return head_len == 0 ? -EAGAIN : (int)head_len;
	assert_true((size_t)head_len <= len);
	if (http_parse_head(head, *buf, (size_t)head_len, &err) == 0)
		return 0;
	assert_int_equal(err.code, -EINVAL);
	assert_true(strlen(err.text) > 0);
	return -EINVAL;
}

static void assert_refused(const char *text)
{
	struct http_head head;
	char *buf;

	if (parse(&head, &buf, text, strlen(text)) != -EINVAL)
		fail_msg("taken: %s", text);
	free(buf);
}

struct expected {
	const char *text;
	enum http_method method;
	const char *path;
	uint64_t body_len;
	bool expects_continue;
	bool is_last;
};

static void requests_are_understood(void **state)
{
	static const struct expected cases[] = {
		{ "GET / HTTP/1.1\r\n\r\n", HTTP_GET, "/", 0, false, false },
		{ "GET /version HTTP/1.0\r\n\r\n", HTTP_GET, "/version", 0, false, true },
		{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", HTTP_GET, "/", 0, false,
		  false },
		{ "DELETE /drives/a HTTP/1.1\r\nConnection: foo, close\r\n\r\n", HTTP_DELETE,
		  "/drives/a", 0, false, true },
		{ "PUT http://localhost/actions HTTP/1.1\r\ncontent-length: 12\r\n\r\n", HTTP_PUT,
		  "/actions", 12, false, false },
		{ "PATCH http://localhost HTTP/1.1\r\nContent-Length:5 \r\nExpect: "
		  "100-Continue\r\n\r\n",
		  HTTP_PATCH, "/", 5, true, false },
		{ "PUT /a HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", HTTP_PUT,
		  "/a", 5, false, true },
		{ "PUT /a HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n", HTTP_PUT, "/a",
		  UINT64_MAX, false, false },
		{ "PUT /a HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", HTTP_PUT,
		  "/a", 3, false, false },
		{ "GET / HTTP/1.1\r\nAccept: text/html\r\nX-Whatever:\r\nAccept-Encoding: gzip, "
		  "identity;q=0.5\r\n\r\n",
		  HTTP_GET, "/", 0, false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_head head;
		char *buf;

		assert_int_equal(parse(&head, &buf, cases[i].text, strlen(cases[i].text)), 0);
		assert_int_equal(head.method, cases[i].method);
		assert_string_equal(head.path, cases[i].path);
		assert_true(head.body_len == cases[i].body_len);
		assert_int_equal(head.expects_continue, cases[i].expects_continue);
		assert_int_equal(head.is_last, cases[i].is_last);
		free(buf);
	}
}

static void what_is_no_request_is_refused(void **state)
{
	static const char *const cases[] = {
		"\r\n\r\n",
		"GET\r\n\r\n",
		"GET /\r\n\r\n",
		"GET / HTTP/2.0\r\n\r\n",
		"GET / HTTP/1.1 \r\n\r\n",
		"GET  / HTTP/1.1\r\n\r\n",
		"get / HTTP/1.1\r\n\r\n",
		"POST / HTTP/1.1\r\n\r\n",
		"HEAD / HTTP/1.1\r\n\r\n",
		"GET version HTTP/1.1\r\n\r\n",
		"GET /a\tb HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\nHost: a\n\n",
		"GET / HTTP/1.1\r\nHost\r\n\r\n",
		"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
		"GET / HTTP/1.1\r\n: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n",
		"GET /\xff HTTP/1.1\r\n\r\n",
		"GET /\x01 HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nA: a\rb\r\n\r\n",
		"PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
		"PUT / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
		"PUT / HTTP/1.1\r\nContent-Length: 0x10\r\n\r\n",
		"PUT / HTTP/1.1\r\nContent-Length:\r\n\r\n",
		"PUT / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n",
		"PUT / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n",
		"PUT / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
		"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
		"PUT / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
		"GET / HTTP/1.1\r\nAccept-Encoding: identity;q=0\r\n\r\n",
		"GET / HTTP/1.1\r\nAccept-Encoding: gzip, *; q=0.0\r\n\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_refused(cases[i]);
}

static void a_nul_is_refused_where_it_comes(void **state)
{
	struct http_head head;
	char *buf;

	(void)state;
	assert_int_equal(parse(&head, &buf, "GET /\0 HTTP/1.1\r\n\r\n", 19), -EINVAL);
	free(buf);
	assert_int_equal(parse(&head, &buf, "\0", 1), -EINVAL);
	free(buf);
}

/* A request of one long line, whose other bytes are few. */
static int parse_line_of(size_t len)
{
	struct http_head head;
	char *text = malloc(len + 64);
	char *buf;
	int n;
	int ret;

	assert_non_null(text);
	n = sprintf(text, "GET / HTTP/1.1\r\nA: ");
	memset(text + n, 'a', len - 3);
	strcpy(text + n + len - 3, "\r\n\r\n");
	ret = parse(&head, &buf, text, strlen(text));
	free(buf);
	free(text);
	return ret;
}

static void lines_and_heads_have_limits(void **state)
{
	(void)state;
	assert_int_equal(parse_line_of(HTTP_LINE_MAX), 0);
	assert_int_equal(parse_line_of(HTTP_LINE_MAX + 1), -EINVAL);
	assert_int_equal(parse_line_of(2 * HTTP_HEAD_MAX), -EINVAL);
	assert_int_equal(parse_line_of(1 << 20), -EINVAL);
}

/* Of a head of \p len bytes, all there at once, whose lines are short. */
static ssize_t find_end_of(size_t len)
{
	char *text = malloc(len);
	ssize_t ret;

	assert_non_null(text);
	memset(text, 'a', len);
	for (size_t i = 100; i < len; i += 100)
		memcpy(text + i - 2, "\r\n", 2);
	memcpy(text + len - 4, "\r\n\r\n", 4);
	ret = http_find_head_end(text, len, 0);
	free(text);
	return ret;
}

static void a_whole_head_has_a_limit(void **state)
{
	(void)state;
	assert_int_equal(find_end_of(HTTP_HEAD_MAX), HTTP_HEAD_MAX);
	assert_int_equal(find_end_of(HTTP_HEAD_MAX + 1), -EINVAL);
}

static void the_end_is_found_however_the_bytes_come(void **state)
{
	static const char text[] = "PUT /a HTTP/1.1\r\nContent-Length: 4\r\n\r\n\n\0\r\n";
	const ssize_t whole = 38;

	(void)state;
	for (size_t step = 1; step < sizeof(text); step++) {
		ssize_t found = 0;
		size_t len = 0;

		while (found == 0) {
			size_t from = len;

			len += step;
			assert_true(len < sizeof(text) + step);
			found = http_find_head_end(text, len < sizeof(text) ? len : sizeof(text),
						   from);
		}
		assert_int_equal(found, whole);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_understood),
		cmocka_unit_test(what_is_no_request_is_refused),
		cmocka_unit_test(a_nul_is_refused_where_it_comes),
		cmocka_unit_test(lines_and_heads_have_limits),
		cmocka_unit_test(a_whole_head_has_a_limit),
		cmocka_unit_test(the_end_is_found_however_the_bytes_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
