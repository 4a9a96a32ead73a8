/*
 * The head of an HTTP/1.x request, as text in memory: pure functions, without sockets.
 *
 * Only what Firecracker's clients send is understood: GET, PUT, PATCH and DELETE with a body of a
 * known length. Lines end in CR LF, their bytes are printable ASCII, and each has at most
 * HTTP_LINE_MAX of them. Whatever else comes is refused by a sentence, since two who understand
 * the same bytes differently are a danger.
 */
#pragma once

#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	HTTP_LINE_MAX = 1024, /**< bytes of a line, without its end */
	HTTP_HEAD_MAX = 8192, /**< and of all lines, with their ends */
};

enum http_method { HTTP_GET, HTTP_PUT, HTTP_PATCH, HTTP_DELETE };

struct http_head {
	enum http_method method;
	const char *path;  /**< in the buffer; begins with '/' */
	uint64_t body_len; /**< bytes that follow the head; 0: no body */
	bool is_1_0;       /**< HTTP/1.0 */
	bool expects_continue;
	bool is_last; /**< the client will send no other request on this connection */
};

/** "GET" */
const char *http_method_name(enum http_method method);

/**
 * Where the head ends.
 * \param from how many bytes were looked at before
 * \return its length with the empty line; 0: it is not all there; -EINVAL: it cannot be a head
 */
__attribute__((warn_unused_result)) ssize_t http_find_head_end(const char *buf, size_t len,
							       size_t from);

/**
 * Understand a head.
 * \param buf a whole head of \p len bytes; NULs are written into it
 * \param head filled; borrows \p buf
 * \return 0, or -EINVAL with a sentence
 */
__attribute__((warn_unused_result)) int http_parse_head(struct http_head *head, char *buf,
							size_t len, struct err *err);

/**
 * Cut a line of a head, without its end, into a header's name and value; blanks around the value
 * go.
 * \param line changed: the name is then all of it
 * \return the value, in \p line; NULL: it is no header
 */
__attribute__((warn_unused_result)) char *http_cut_header(char *line);

/**
 * Take the value of a Content-Length, of which there may be several that say the same.
 * \param has_length whether there was one before; set
 * \param length what that said; set
 * \return 0 or -EINVAL
 */
__attribute__((warn_unused_result)) int http_take_length(const char *value, bool *has_length,
							 uint64_t *length);

/** The text that is sent for a status, after its number: "OK"; for logs, not for answers. */
const char *http_status_text(unsigned int status);
