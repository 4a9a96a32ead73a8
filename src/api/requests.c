#include "api/requests.h"

#include "api/microvm.h"
#include "api/operations.h"
#include "config/json_write.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/metrics.h"
#include "util/text.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum {
	TOKENS_MAX = 4,
	TOKEN_SIZE = 128, /* of what is told of an unknown path, and of an id */
	LOGGED_BODY_SIZE = 700,
};

/* A path between its slashes, each part cut to TOKEN_SIZE. */
struct path {
	char tokens[TOKENS_MAX][TOKEN_SIZE];
	unsigned int n_tokens;
};

static void split_path(struct path *path, const char *text)
{
	path->n_tokens = 0;
	text += strspn(text, "/");
	while (*text != '\0' && path->n_tokens < TOKENS_MAX) {
		size_t len = strcspn(text, "/");

		snprintf(path->tokens[path->n_tokens++], TOKEN_SIZE, "%.*s",
			 (int)MIN(len, TOKEN_SIZE - 1), text);
		text += len;
		if (*text == '/')
			text++;
	}
}

static const char *token(const struct path *path, unsigned int i)
{
	return i < path->n_tokens ? path->tokens[i] : "";
}

/* Is \p path what \p operation is for? \param id set to the part that is an id, which may be empty
 */
static bool matches(const struct operation *operation, const struct path *path, const char **id)
{
	struct path pattern;

	split_path(&pattern, operation->path);
	for (unsigned int i = 0; i < pattern.n_tokens; i++) {
		if (strcmp(pattern.tokens[i], "*") == 0)
			*id = token(path, i);
		else if (strcmp(pattern.tokens[i], token(path, i)) != 0)
			return false;
	}
	return path->n_tokens <= pattern.n_tokens || (pattern.n_tokens > 0 && !operation->is_exact);
}

static const struct operation *find_operation(enum http_method method, const struct path *path,
					      const char **id)
{
	for (unsigned int i = 0; i < n_operations; i++) {
		*id = NULL;
		if (operations[i].method == method && matches(&operations[i], path, id))
			return &operations[i];
	}
	return NULL;
}

static int refuse_path(enum http_method method, const struct path *path, struct err *err)
{
	if (path->n_tokens < 2)
		return err_set(err, -EINVAL, "Invalid request method and/or path: %s %s.",
			       http_method_name(method), token(path, 0));
	return err_set(err, -EINVAL, "Invalid request method and/or path: %s /%s/%s.",
		       http_method_name(method), token(path, 0), token(path, 1));
}

/* The letters and digits of ASCII: what a name of a file or device can have everywhere. */
static int check_id(const char *id, struct err *err)
{
	if (id[0] == '\0')
		return err_set(err, -EINVAL, "The ID cannot be empty.");
	for (; *id != '\0'; id++) {
		if (!((*id >= '0' && *id <= '9') || (*id >= 'a' && *id <= 'z') ||
		      (*id >= 'A' && *id <= 'Z') || *id == '_'))
			return err_set(err, -EINVAL,
				       "API Resource IDs can only contain alphanumeric characters "
				       "and underscores.");
	}
	return 0;
}

static int check_body(const struct api_request *request, const struct operation *operation,
		      struct err *err)
{
	bool has_body = request->body != NULL;

	switch (request->method) {
	case HTTP_GET:
		return has_body ? err_set(err, -EINVAL, "GET request cannot have a body.") : 0;
	case HTTP_PUT:
		return has_body ? 0 : err_set(err, -EINVAL, "Empty PUT request.");
	case HTTP_PATCH:
		return has_body || (operation != NULL && operation->is_body_optional)
			       ? 0
			       : err_set(err, -EINVAL, "Empty PATCH request.");
	case HTTP_DELETE: /* the words are Firecracker's; it means the opposite */
		return has_body ? err_set(err, -EINVAL, "Empty Delete request.") : 0;
	}
	return 0;
}

static int check_state(const struct microvm *microvm, const struct operation *operation,
		       struct err *err)
{
	enum vm_state state = microvm_get_state(microvm);

	if (state == VM_STATE_ENDED && operation->method != HTTP_GET)
		return err_set(err, -EINVAL, "The microVM has come to its end.");
	if (operation->when == WHEN_AFTER_START && state == VM_STATE_NOT_STARTED)
		return err_set(err, -EINVAL,
			       "The requested operation is not supported before starting the "
			       "microVM.");
	if (operation->when == WHEN_BEFORE_START && state != VM_STATE_NOT_STARTED)
		return err_set(err, -EINVAL,
			       "The requested operation is not supported after starting the "
			       "microVM.");
	return 0;
}

static bool is_body_logged(const struct api_request *request, const struct operation *operation)
{
	/* Whose path is none may be a secret with a mistake in its path. */
	if (request->body == NULL || operation == NULL || operation->is_secret)
		return false;
	return !operation->is_long || log_get_level() >= LOG_DEBUG;
}

static void log_request(const struct api_request *request, const struct operation *operation)
{
	static const char *const words[] = { "Get", "Put", "Patch", "Delete" };
	char body[LOGGED_BODY_SIZE];
	char cut[LOGGED_BODY_SIZE / 2];
	struct text text = { .bytes = body, .size = sizeof(body) - 1 };
	const char *word = words[request->method];
	enum log_level level = request->is_quiet ? LOG_DEBUG : LOG_INFO;

	if (!is_body_logged(request, operation)) {
		log_leveled(level, "The API server received a %s request on \"%.200s\".", word,
			    request->path);
		return;
	}
	snprintf(cut, sizeof(cut), "%.*s", (int)MIN(request->body_len, sizeof(cut) - 1),
		 request->body);
	text_add_json(&text, cut);
	body[text.len] = '\0';
	log_leveled(level, "The API server received a %s request on \"%.200s\" with body %s%s.",
		    word, request->path, body,
		    text.is_cut || request->body_len >= sizeof(cut) ? "..." : "");
}

static void log_answer(const struct api_answer *answer, const struct api_request *request,
		       const struct operation *operation, const struct call *call)
{
	const char *text = http_status_text(answer->status);
	bool is_quiet = request->is_quiet;
	bool is_secret = operation != NULL && operation->is_secret && call->quotes_body;

	if (answer->status < 300)
		log_leveled(is_quiet ? LOG_DEBUG : LOG_INFO,
			    "The request was executed successfully. Status code: %u %s.",
			    answer->status, text);
	else
		log_leveled(is_quiet ? LOG_DEBUG : LOG_ERROR,
			    "Received Error. Status code: %u %s. Message: %s", answer->status, text,
			    is_secret ? CALL_BAD_BODY "." : call->err.text);
}

void api_refuse(struct api_answer *answer, unsigned int status, const char *field, const char *text)
{
	json_t *body = json_object();

	answer->status = status;
	if (body != NULL && json_object_set_new(body, field, json_from_text(text)) == 0)
		answer->body = json_dumps(body, JSON_COMPACT);
	json_decref(body);
}

/* \return 0 when the operation may be tried */
static int check_request(const struct api_request *request, const struct operation *operation,
			 const struct path *path, struct call *call)
{
	int ret = check_body(request, operation, &call->err);

	if (ret == 0 && operation == NULL)
		ret = refuse_path(request->method, path, &call->err);
	if (ret == 0 && call->id != NULL)
		ret = check_id(call->id, &call->err);
	return ret == 0 ? check_state(call->microvm, operation, &call->err) : ret;
}

static int do_operation(const struct api_request *request, const struct operation *operation,
			struct call *call)
{
	json_t *body = NULL;
	int ret = 0;

	if (request->body != NULL)
		ret = json_parse_object(request->body, request->body_len, NULL, &body, &call->err);
	if (ret != 0)
		return call_refuse_body(call, ret);
	call->body = body;
	ret = operation->handle(call);
	json_decref(body);
	return ret;
}

static void count(const struct operation *operation, const struct call *call, bool has_failed)
{
	if (operation != NULL && operation->n_calls != NULL)
		metrics_inc(operation->n_calls);
	if (operation != NULL && operation->n_fails != NULL && has_failed)
		metrics_inc(operation->n_fails);
	if (call->notes.is_deprecated)
		metrics_inc(&metrics.deprecated_api.deprecated_http_api_calls);
}

void api_handle(struct microvm *microvm, const struct api_request *request,
		struct api_answer *answer)
{
	struct call call = { .microvm = microvm, .refusal = 400 };
	const struct operation *operation;
	struct path path;
	uint64_t start = metrics_now_us();

	*answer = (struct api_answer){ 0 };
	split_path(&path, request->path);
	operation = find_operation(request->method, &path, &call.id);
	log_request(request, operation);
	if (check_request(request, operation, &path, &call) != 0 ||
	    do_operation(request, operation, &call) != 0) {
		api_refuse(answer, call.refusal, "fault_message", call.err.text);
	} else if (call.answer == NULL) {
		answer->status = 204;
	} else {
		answer->status = 200;
		answer->body = json_dumps(call.answer, JSON_COMPACT);
	}
	json_decref(call.answer);
	count(operation, &call, answer->status >= 300);
	answer->is_deprecated = call.notes.is_deprecated;
	log_answer(answer, request, operation, &call);
	log_debug("Total previous API call duration: %" PRIu64 " us.", metrics_now_us() - start);
}
