#include "api/http.h"

#include "util/bits.h"
#include "util/parse.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static const char *const method_names[] = {
	[HTTP_GET] = "GET",
	[HTTP_PUT] = "PUT",
	[HTTP_PATCH] = "PATCH",
	[HTTP_DELETE] = "DELETE",
};

const char *http_method_name(enum http_method method)
{
	return method_names[method];
}

const char *http_status_text(unsigned int status)
{
	static const struct {
		unsigned int status;
		const char *text;
	} texts[] = {
		{ 200, "OK" },
		{ 204, "No Content" },
		{ 400, "Bad Request" },
		{ 413, "Payload Too Large" },
		{ 503, "Service Unavailable" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (texts[i].status == status)
			return texts[i].text;
	}
	return "";
}

ssize_t http_find_head_end(const char *buf, size_t len, size_t from)
{
	/* However much has come at once. */
	for (size_t i = from; i < MIN(len, (size_t)HTTP_HEAD_MAX); i++) {
		if (buf[i] == '\0')
			return -EINVAL;
		if (buf[i] != '\n')
			continue;
		if (i == 0 || buf[i - 1] != '\r')
			return -EINVAL;
		if (i >= 2 && buf[i - 2] == '\n')
			return (ssize_t)i + 1;
	}
	return len >= HTTP_HEAD_MAX ? -EINVAL : 0;
}

/* Cut the next line off \p *rest, which is a whole head: every '\n' has a '\r' before it. */
static char *next_line(char **rest)
{
	char *line = *rest;
	char *end = strchr(line, '\n');

	end[-1] = '\0';
	*rest = end + 1;
	return line;
}

static int check_line(const char *line, struct err *err)
{
	size_t len = strlen(line);

	if (len > HTTP_LINE_MAX)
		return err_set(err, -EINVAL, "A line of the request is longer than %d bytes.",
			       HTTP_LINE_MAX);
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)line[i] < 0x20 && line[i] != '\t')
			return err_set(err, -EINVAL, "A control character is in the request.");
		if ((unsigned char)line[i] >= 0x7f)
			return err_set(err, -EINVAL, "A line of the request is not ASCII text.");
	}
	return 0;
}

static int parse_method(struct http_head *head, const char *name, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(method_names); i++) {
		if (strcmp(name, method_names[i]) == 0) {
			head->method = (enum http_method)i;
			return 0;
		}
	}
	return err_set(err, -EINVAL, "Invalid HTTP Method: Unsupported HTTP method.");
}

/* The path of a URI in its absolute form too: http://localhost/x. */
static int parse_uri(struct http_head *head, const char *uri, struct err *err)
{
	static const char scheme[] = "http://";

	if (strncmp(uri, scheme, strlen(scheme)) == 0) {
		uri = strchr(uri + strlen(scheme), '/');
		if (uri == NULL)
			uri = "/";
	}
	if (uri[0] != '/' || strchr(uri, '\t') != NULL)
		return err_set(err, -EINVAL, "Invalid URI.");
	head->path = uri;
	return 0;
}

static int parse_version(struct http_head *head, const char *version, struct err *err)
{
	head->is_1_0 = strcmp(version, "HTTP/1.0") == 0;
	head->is_last = head->is_1_0;
	if (!head->is_1_0 && strcmp(version, "HTTP/1.1") != 0)
		return err_set(err, -EINVAL, "Invalid HTTP Version: Unsupported HTTP version.");
	return 0;
}

static int parse_request_line(struct http_head *head, char *line, struct err *err)
{
	char *uri = strchr(line, ' ');
	char *version;
	int ret;

	if (uri == NULL)
		return err_set(err, -EINVAL, "Invalid HTTP request line.");
	*uri++ = '\0';
	version = strchr(uri, ' ');
	if (version == NULL)
		return err_set(err, -EINVAL, "Invalid HTTP request line.");
	*version++ = '\0';
	ret = parse_method(head, line, err);
	if (ret == 0)
		ret = parse_uri(head, uri, err);
	return ret == 0 ? parse_version(head, version, err) : ret;
}

int http_take_length(const char *value, bool *has_length, uint64_t *length)
{
	uint64_t parsed;

	if (parse_uint(value, UINT64_MAX, &parsed) != 0 || (*has_length && parsed != *length))
		return -EINVAL;
	*length = parsed;
	*has_length = true;
	return 0;
}

char *http_cut_header(char *line)
{
	char *value = strchr(line, ':');

	if (value == NULL || value == line || strcspn(line, " \t") < (size_t)(value - line))
		return NULL;
	*value++ = '\0';
	value += strspn(value, " \t");
	for (size_t len = strlen(value); len > 0 && strchr(" \t", value[len - 1]) != NULL; len--)
		value[len - 1] = '\0';
	return value;
}

/* Has the list \p value, of words between commas, \p word? */
static bool has_word(const char *value, const char *word)
{
	size_t len;

	for (; *value != '\0'; value += len) {
		value += strspn(value, ", \t");
		len = strcspn(value, ", \t");
		if (len == strlen(word) && strncasecmp(value, word, len) == 0)
			return true;
	}
	return false;
}

/* "identity;q=0" or "*;q=0": an answer as it is would not be taken. */
static bool refuses_identity(const char *word)
{
	size_t len = strcspn(word, " \t;");
	const char *quality = word + len + strspn(word + len, " \t;");

	if (!(len == 8 && strncasecmp(word, "identity", len) == 0) && !(len == 1 && *word == '*'))
		return false;
	if (strncasecmp(quality, "q=0", 3) != 0)
		return false;
	quality += 3;
	return quality[strspn(quality, ".0 \t")] == '\0';
}

static int check_accept_encoding(char *value, struct err *err)
{
	char *word;

	while ((word = strsep(&value, ",")) != NULL) {
		if (refuses_identity(word + strspn(word, " \t")))
			return err_set(err, -EINVAL,
				       "Invalid header. Accept-Encoding: answers are not encoded.");
	}
	return 0;
}

static int parse_header(struct http_head *head, bool *has_length, char *line, struct err *err)
{
	char *value = http_cut_header(line);

	if (value == NULL)
		return err_set(err, -EINVAL, "Invalid header. %.64s.", line);
	if (strcasecmp(line, "Content-Length") == 0 &&
	    http_take_length(value, has_length, &head->body_len) != 0)
		return err_set(err, -EINVAL, "Invalid header. Content-Length: %.64s.", value);
	if (strcasecmp(line, "Transfer-Encoding") == 0)
		return err_set(err, -EINVAL,
			       "Invalid header. Transfer-Encoding: a body needs a Content-Length.");
	if (strcasecmp(line, "Accept-Encoding") == 0)
		return check_accept_encoding(value, err);
	/* RFC 9110, 10.1.1: for a client of HTTP/1.0 the 100 would be the answer. */
	if (strcasecmp(line, "Expect") == 0)
		head->expects_continue = !head->is_1_0 && strcasecmp(value, "100-continue") == 0;
	if (strcasecmp(line, "Connection") == 0) {
		if (has_word(value, "close"))
			head->is_last = true;
		else if (has_word(value, "keep-alive"))
			head->is_last = false;
	}
	return 0;
}

int http_parse_head(struct http_head *head, char *buf, size_t len, struct err *err)
{
	bool has_length = false;
	char *rest = buf;
	char *line = next_line(&rest);
	int ret = check_line(line, err);

	*head = (struct http_head){ 0 };
	if (ret == 0)
		ret = parse_request_line(head, line, err);
	while (ret == 0 && rest < buf + len) {
		line = next_line(&rest);
		if (line[0] == '\0')
			break;
		ret = check_line(line, err);
		if (ret == 0)
			ret = parse_header(head, &has_length, line, err);
	}
	return ret;
}
