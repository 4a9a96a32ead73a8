/*
 * What a request of the API does: from method, path and body to an answer, without sockets. The
 * operations themselves are rows of the table in api/operations.h.
 *
 * On the I/O thread.
 */
#pragma once

#include "api/http.h"

#include <stdbool.h>
#include <stddef.h>

struct microvm;

struct api_request {
	enum http_method method;
	const char *path; /**< begins with '/' */
	const char *body; /**< NULL: none */
	size_t body_len;
	bool is_quiet; /**< logged at the level debug only */
};

struct api_answer {
	unsigned int status;
	char *body; /**< JSON; NULL: none, or no memory. Owned by whoever asked */
	bool is_deprecated;
};

/** Do what \p request asks of \p microvm. \param answer filled in any case */
void api_handle(struct microvm *microvm, const struct api_request *request,
		struct api_answer *answer);

/** An answer that refuses. \param field of the body: "fault_message" \param text any bytes */
void api_refuse(struct api_answer *answer, unsigned int status, const char *field,
		const char *text);
