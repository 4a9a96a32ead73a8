/*
 * A client for the API of a machine: one request over a Unix socket and its answer. It blocks, and
 * is for commands that do one thing and end.
 *
 * The answer is not trusted: whoever listens on the socket may send anything. Its size is bounded,
 * what is not plain HTTP/1 with a length is refused, and nobody waits for ever.
 */
#pragma once

#include "util/err.h"

#include <stddef.h>

enum {
	HTTP_ANSWER_HEAD_MAX = 16 << 10, /**< bytes of status line and headers */
	HTTP_ANSWER_BODY_MAX = 16 << 20,
	HTTP_TIMEOUT_S = 60, /**< without a byte */
};

struct http_answer {
	unsigned int status; /**< 200 to 999 */
	char *body;          /**< owned, NUL-terminated; NULL: it has none */
	size_t len;
};

/** \return an owned descriptor, or a negative errno with a sentence that names the socket */
__attribute__((warn_unused_result)) int http_connect(const char *path, struct err *err);

/**
 * Send a request and read its answer; then another may follow.
 * \param target like "/vm/config"
 * \param body JSON; NULL: none
 * \param answer zeroed; filled, to be freed by http_answer_deinit()
 * \return 0; -EINVAL: the target is none; -EPROTO, -EMSGSIZE: the answer is none that we
 * understand; another negative errno. Each with a sentence.
 */
__attribute__((warn_unused_result)) int http_ask(int fd, const char *method, const char *target,
						 const char *body, struct http_answer *answer,
						 struct err *err);

/** Read an answer, over those of "go on" before it: a part of http_ask(). */
__attribute__((warn_unused_result)) int http_read_answer(int fd, struct http_answer *answer,
							 struct err *err);

/** Legal on a zeroed answer, and twice. */
void http_answer_deinit(struct http_answer *answer);
