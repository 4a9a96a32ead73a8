#include "cli/ctl.h"

#include "cli/http_client.h"
#include "config/exit_status.h"
#include "util/cleanup.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

static int parse_body(struct ctl *ctl, const struct http_answer *answer, json_t **json)
{
	json_error_t error;

	*json = json_loadb(answer->body, answer->len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
			   &error);
	if (*json != NULL)
		return 0;
	err_set(&ctl->err, -1, "the answer is no JSON: %.200s", error.text);
	return CTL_NO_ANSWER;
}

/* The sentence of a refusal has one name in most cases, and another where HTTP was at fault. */
static int tell_refusal(struct ctl *ctl, const struct http_answer *answer, const json_t *json)
{
	const char *why = json_string_value(json_object_get(json, "fault_message"));

	if (why == NULL)
		why = json_string_value(json_object_get(json, "error"));
	if (why == NULL)
		err_set(&ctl->err, -1, "refused with status %u", answer->status);
	else
		err_set(&ctl->err, -1, "%s", why);
	return CTL_REFUSED;
}

static int judge(struct ctl *ctl, const struct http_answer *answer, json_t **jsonp)
{
	cleanup_json json_t *json = NULL;
	bool is_done = answer->status < 300;

	if (answer->len > 0 && parse_body(ctl, answer, &json) != 0 && is_done)
		return CTL_NO_ANSWER;
	if (!is_done)
		return tell_refusal(ctl, answer, json);
	if (jsonp != NULL)
		*jsonp = take_ptr(json);
	return 0;
}

static int ask_text(struct ctl *ctl, const char *method, const char *target, const char *body,
		    json_t **json)
{
	struct http_answer answer = { 0 };
	cleanup_close int fd = http_connect(ctl->sock, &ctl->err);
	int status;
	int ret;

	if (fd < 0)
		return CTL_NO_ANSWER;
	ret = http_ask(fd, method, target, body, &answer, &ctl->err);
	if (ret == -EINVAL)
		return EXIT_STATUS_BAD_ARGUMENTS;
	if (ret != 0)
		return CTL_NO_ANSWER;
	status = judge(ctl, &answer, json);
	http_answer_deinit(&answer);
	return status;
}

int ctl_ask(struct ctl *ctl, const char *method, const char *target, json_t *body, json_t **answer)
{
	cleanup_free char *text = NULL;

	if (answer != NULL)
		*answer = NULL;
	if (body == NULL)
		return ask_text(ctl, method, target, NULL, answer);
	text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
	json_decref(body);
	if (text == NULL) {
		err_set(&ctl->err, -1, "what is asked for is not UTF-8");
		return CTL_REFUSED;
	}
	return ask_text(ctl, method, target, text, answer);
}

int ctl_get(struct ctl *ctl, const char *target, json_t **answer)
{
	int status = ctl_ask(ctl, "GET", target, NULL, answer);

	if (status != 0 || json_is_object(*answer))
		return status;
	err_set(&ctl->err, -1, "the answer to GET %s is no object", target);
	return CTL_NO_ANSWER;
}

json_t *ctl_body(const char *name, json_t *value)
{
	json_t *body = json_object();

	/* Where there is no memory, the request is one without a field, and refused. */
	if (json_object_set_new(body, name, value) != 0)
		json_object_clear(body);
	return body;
}

int ctl_patch_device(struct ctl *ctl, const char *path, const char *id_name, const char *id,
		     json_t *body)
{
	char target[PATH_MAX];

	if (json_object_set_new(body, id_name, json_string(id)) != 0) {
		json_decref(body);
		return ctl_bad_argument(ctl, id_name, id, "UTF-8");
	}
	snprintf(target, sizeof(target), "%s/%s", path, id);
	return ctl_ask(ctl, "PATCH", target, body, NULL);
}

int ctl_bad_argument(struct ctl *ctl, const char *what, const char *value, const char *wanted)
{
	err_set(&ctl->err, -EINVAL, "%s: '%.64s' is not %s", what, value, wanted);
	return EXIT_STATUS_BAD_ARGUMENTS;
}
