#include "cli/http_client.h"

#include "api/http.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/io.h"
#include "util/parse.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>

/* ---- connecting ---- */

int http_connect(const char *path, struct err *err)
{
	const struct timeval timeout = { .tv_sec = HTTP_TIMEOUT_S };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	cleanup_close int fd = -1;
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(addr.sun_path))
		return err_set(err, -ENAMETOOLONG,
			       "'%.128s' is no path of a socket: 1 to %zu bytes", path,
			       sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, len);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(err, "create a socket");
	/* Connecting waits as sending does. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) != 0)
		return err_sys(err, "set a time limit");
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0)
		return err_sys(err, "connect to '%.128s'", path);
	return take_fd(&fd);
}

/* ---- reading ---- */

static int refuse(struct err *err, const char *why)
{
	return err_set(err, -EPROTO, "the answer is not one of an API: %s", why);
}

/* \return bytes read, 0 at the end, or a negative errno with a sentence */
static ssize_t read_some(int fd, char *buf, size_t size, struct err *err)
{
	ssize_t n;

	do {
		n = read(fd, buf, size);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return err_set(err, -ETIMEDOUT, "no answer in %d seconds", HTTP_TIMEOUT_S);
	return n < 0 ? err_sys(err, "read the answer") : n;
}

/* What is read ahead: the end of it may be the begin of the body, or of the next answer. */
struct head {
	char text[HTTP_ANSWER_HEAD_MAX + 1];
	size_t len;      /**< of what was read */
	size_t head_len; /**< up to the empty line */
	unsigned int status;
	bool has_length;
	uint64_t length; /**< of the body */
};

/* \return the empty line's end, or NULL */
static const char *find_end(const struct head *head)
{
	const char *end = memmem(head->text, head->len, "\r\n\r\n", 4);

	return end == NULL ? NULL : end + 4;
}

static int read_head(int fd, struct head *head, struct err *err)
{
	const char *end;

	while ((end = find_end(head)) == NULL) {
		ssize_t n;

		if (head->len == HTTP_ANSWER_HEAD_MAX)
			return err_set(err, -EMSGSIZE, "the answer's head is longer than %d bytes",
				       HTTP_ANSWER_HEAD_MAX);
		n = read_some(fd, head->text + head->len, HTTP_ANSWER_HEAD_MAX - head->len, err);
		if (n == 0)
			return refuse(err, head->len == 0 ? "the connection was closed"
							  : "it ends in its head");
		if (n < 0)
			return (int)n;
		head->len += (size_t)n;
	}
	head->head_len = (size_t)(end - head->text);
	if (memchr(head->text, '\0', head->head_len) != NULL)
		return refuse(err, "a NUL in its head");
	return 0;
}

static int parse_status(struct head *head, const char *line, struct err *err)
{
	uint64_t status;
	char digits[4];

	if (strncmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') ||
	    line[8] != ' ')
		return refuse(err, "no status line of HTTP/1");
	snprintf(digits, sizeof(digits), "%.3s", line + 9);
	if (parse_uint(digits, 999, &status) != 0 || status < 100 ||
	    (line[12] != ' ' && line[12] != '\0'))
		return refuse(err, "no status");
	head->status = (unsigned int)status;
	return 0;
}

static int parse_length(struct head *head, const char *value, struct err *err)
{
	if (http_take_length(value, &head->has_length, &head->length) != 0)
		return refuse(err, "its length is no number, or there are two");
	if (head->length > HTTP_ANSWER_BODY_MAX)
		return err_set(err, -EMSGSIZE, "the answer is longer than %d bytes",
			       HTTP_ANSWER_BODY_MAX);
	return 0;
}

static int parse_header(struct head *head, char *line, struct err *err)
{
	const char *value = http_cut_header(line);

	if (value == NULL)
		return refuse(err, "a line of its head is no header");
	if (strcasecmp(line, "Transfer-Encoding") == 0)
		return refuse(err, "it has no plain length");
	return strcasecmp(line, "Content-Length") == 0 ? parse_length(head, value, err) : 0;
}

/* Takes the lines apart, up to the empty one. */
static int parse_head(struct head *head, struct err *err)
{
	char *line = head->text;
	int ret = 0;

	for (bool is_first = true; ret == 0; is_first = false) {
		char *end = strstr(line, "\r\n");

		*end = '\0';
		if (is_first)
			ret = parse_status(head, line, err);
		else if (end == line)
			return 0;
		else
			ret = parse_header(head, line, err);
		line = end + 2;
	}
	return ret;
}

static bool may_have_body(const struct head *head)
{
	return head->status >= 200 && head->status != 204 && head->status != 304;
}

/* Read into \p body what is missing of \p size bytes; fewer only where the end gives the length. */
static int read_body(int fd, char *body, size_t size, size_t *len, bool to_the_end, struct err *err)
{
	while (*len < size) {
		ssize_t n = read_some(fd, body + *len, size - *len, err);

		if (n < 0)
			return (int)n;
		if (n == 0)
			return to_the_end ? 0 : refuse(err, "it ends in its body");
		*len += (size_t)n;
	}
	return to_the_end ? err_set(err, -EMSGSIZE, "the answer is longer than %d bytes",
				    HTTP_ANSWER_BODY_MAX)
			  : 0;
}

static int take_body(int fd, const struct head *head, struct http_answer *answer, struct err *err)
{
	size_t size = head->has_length ? head->length : HTTP_ANSWER_BODY_MAX + 1;
	size_t ahead = MIN(head->len - head->head_len, size);
	int ret;

	answer->body = malloc(size + 1);
	if (answer->body == NULL)
		return err_set(err, -ENOMEM, "no memory for the answer");
	memcpy(answer->body, head->text + head->head_len, ahead);
	answer->len = ahead;
	ret = read_body(fd, answer->body, size, &answer->len, !head->has_length, err);
	answer->body[answer->len] = '\0';
	return ret;
}

/* An answer of "go on" is before the one that counts. */
static void skip_head(struct head *head)
{
	size_t rest = head->len - head->head_len;

	memmove(head->text, head->text + head->head_len, rest);
	head->len = rest;
	head->has_length = false;
}

int http_read_answer(int fd, struct http_answer *answer, struct err *err)
{
	cleanup_free struct head *head = calloc(1, sizeof(*head));
	int ret = 0;

	if (head == NULL)
		return err_set(err, -ENOMEM, "no memory for the answer");
	do {
		skip_head(head);
		head->head_len = 0;
		ret = read_head(fd, head, err);
		if (ret == 0)
			ret = parse_head(head, err);
	} while (ret == 0 && head->status < 200);
	if (ret == 0) {
		answer->status = head->status;
		ret = may_have_body(head) ? take_body(fd, head, answer, err) : 0;
	}
	if (ret != 0)
		http_answer_deinit(answer);
	return ret;
}

/* ---- asking ---- */

static bool is_target(const char *target)
{
	for (const char *at = target; *at != '\0'; at++) {
		if (*at <= ' ' || *at >= 0x7f)
			return false;
	}
	return target[0] == '/';
}

static int send_request(int fd, const char *method, const char *target, const char *body,
			struct err *err)
{
	cleanup_free char *text = NULL;
	int len;
	int ret;

	if (body == NULL)
		len = asprintf(&text, "%s %s HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
			       method, target);
	else
		len = asprintf(&text,
			       "%s %s HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n"
			       "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
			       method, target, strlen(body), body);
	if (len < 0)
		return err_set(err, -ENOMEM, "no memory for the request");
	ret = write_all(fd, text, (size_t)len);
	if (ret == -EAGAIN)
		return err_set(err, -ETIMEDOUT, "the request was not taken in %d seconds",
			       HTTP_TIMEOUT_S);
	/* One that has answered without reading all has closed: the answer says why. */
	return ret == 0 || ret == -EPIPE ? 0 : err_set(err, ret, "send: %s", strerror(-ret));
}

int http_ask(int fd, const char *method, const char *target, const char *body,
	     struct http_answer *answer, struct err *err)
{
	int ret;

	if (!is_target(target))
		return err_set(err, -EINVAL, "'%.128s' is not a path like /vm/config", target);
	ret = send_request(fd, method, target, body, err);
	return ret != 0 ? ret : http_read_answer(fd, answer, err);
}

void http_answer_deinit(struct http_answer *answer)
{
	free(answer->body);
	*answer = (struct http_answer){ 0 };
}
