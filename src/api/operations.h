/*
 * The operations of the API: each a row of a table, with the states in which it is allowed and a
 * function that does it. Finding the row and making the answer is api/requests.c's.
 *
 * On the I/O thread.
 */
#pragma once

#include "api/http.h"
#include "config/config_json.h"
#include "util/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct microvm;

/** One request on its way through an operation. */
struct call {
	struct microvm *microvm;
	const char *id;          /**< from the path, where the operation's path has one */
	const json_t *body;      /**< an object; NULL: none came, where that is allowed */
	json_t *answer;          /**< set by the operation: 200; NULL: 204. Owned by the caller */
	unsigned int refusal;    /**< status of a refusal: 400 unless the operation changes it */
	struct json_notes notes; /**< what was deprecated in the body */
	struct err err;          /**< why not: all of the message */
	bool quotes_body;        /**< words of the body may be in that */
};

enum operation_when { WHEN_BEFORE_START, WHEN_AFTER_START, WHEN_EVER };

struct operation {
	enum http_method method;
	enum operation_when when;
	const char *path; /**< without the first '/'; "*" is a place for an id */
	/** \return 0, or a negative errno with the message in call->err */
	int (*handle)(struct call *call);
	_Atomic uint64_t *n_calls; /**< metrics; NULL: there is none */
	_Atomic uint64_t *n_fails;
	bool is_exact;         /**< nothing may follow in the path */
	bool is_body_optional; /**< of PATCH */
	bool is_secret;        /**< nothing of its body is logged */
	bool is_long;          /**< its body is logged only at the level debug */
};

/** The table. */
extern const struct operation operations[];
extern const unsigned int n_operations;

/* What stands in the table and is not in operations.c: api/running.c. */

int patch_drive(struct call *call);
int patch_net(struct call *call);
int patch_vm(struct call *call);
int get_balloon(struct call *call);
int patch_balloon(struct call *call);
int get_balloon_stats(struct call *call);
int patch_balloon_stats(struct call *call);
int start_hinting(struct call *call);
int get_hinting(struct call *call);
int stop_hinting(struct call *call);

/** How the message begins about a body that is not what it should be. */
#define CALL_BAD_BODY "An error occurred when deserializing the json body of a request"

/** Refuse such a body. \param ret what reading it returned */
int call_refuse_body(struct call *call, int ret);

/** Set the answer. \param answer a reference, taken over; NULL: no memory */
int call_answer(struct call *call, json_t *answer);
