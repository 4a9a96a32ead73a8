/*
 * `televm ctl`: a person's or script's way to a machine that runs, over the socket of its API.
 *
 * A command is a row of a table (ctl.c): its operands, flags, help, and a function that asks and
 * shows. What comes back is not trusted: it is bounded (http_client.h), parsed strictly, and shown
 * without a byte that would steer a terminal.
 */
#pragma once

#include "cli/options.h"
#include "util/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/** Exit statuses beside 0 and that of bad arguments. */
enum ctl_status {
	CTL_REFUSED = 1,   /**< the machine says no, or has not done it in time */
	CTL_NO_ANSWER = 2, /**< nobody listens, or what came back makes no sense */
};

/** One call of `televm ctl`. */
struct ctl {
	const char *sock; /**< path */
	bool is_json;     /**< print what a program reads */
	bool is_prometheus;
	bool has_all;
	bool has_wait;
	bool has_timeout;
	uint64_t timeout_s;
	struct err err; /**< why a command failed */
};

struct ctl_command {
	const char *name;
	const char *operands; /**< as in the line of usage */
	const char *help;     /**< a few words */
	const char *text;     /**< more of it, and examples; lines */
	const struct option_row *flags;
	int min_operands;
	int max_operands;
	/** \return the exit status; not 0: \p ctl->err has the sentence */
	int (*run)(struct ctl *ctl, int argc, char **argv);
};

extern const struct ctl_command ctl_commands[]; /**< ends with a row without a name */

/* ---- asking: ctl_ask.c ---- */

/**
 * Ask and take the answer's body.
 * \param body taken over, also on failure; NULL: none
 * \param answer set to a new reference when the answer has a body, otherwise NULL; NULL when it is
 * not wanted
 * \return 0; CTL_REFUSED with the machine's sentence; CTL_NO_ANSWER
 */
int ctl_ask(struct ctl *ctl, const char *method, const char *target, json_t *body, json_t **answer);

/** GET, where an object is to come back; cleanup with `cleanup_json`. */
int ctl_get(struct ctl *ctl, const char *target, json_t **answer);

/** A body of one field. */
json_t *ctl_body(const char *name, json_t *value);

/**
 * PATCH of a device: its id is in the path and in the body.
 * \param path of its kind, like "/drives"
 * \param id_name the field's, like "drive_id"
 * \param body taken over
 */
int ctl_patch_device(struct ctl *ctl, const char *path, const char *id_name, const char *id,
		     json_t *body);

/** Say that an operand is wrong. \return EXIT_STATUS_BAD_ARGUMENTS */
int ctl_bad_argument(struct ctl *ctl, const char *what, const char *value, const char *wanted);

static inline void cleanup_json_(json_t **json)
{
	json_decref(*json);
}

#define cleanup_json __attribute__((cleanup(cleanup_json_)))

/* ---- showing: ctl_show.c. All: \return 0; CTL_REFUSED when standard output takes nothing ---- */

/** One row of a table. */
__attribute__((format(printf, 3, 4))) int ctl_row(struct ctl *ctl, const char *name,
						  const char *format, ...);

/** A row for each member of an object that is no object itself: `prefix` stands before the names.
 */
int ctl_rows(struct ctl *ctl, const char *prefix, const json_t *object);

/** JSON: indented, or on one line with --json. */
int ctl_print_json(struct ctl *ctl, const json_t *json);

/** Text of our own making with what the machine said in it. */
int ctl_print(struct ctl *ctl, const char *text);

/* ---- the commands ---- */

int ctl_status(struct ctl *ctl, int argc, char **argv);  /* ctl_status.c */
int ctl_metrics(struct ctl *ctl, int argc, char **argv); /* ctl_metrics.c */
int ctl_stop(struct ctl *ctl, int argc, char **argv);    /* ctl_process.c */
int ctl_limits(struct ctl *ctl, int argc, char **argv);  /* ctl_limits.c */
int ctl_kill(struct ctl *ctl, int argc, char **argv);

/** The process on the other side of the socket. \return its id; 0: it cannot be seen from here */
int ctl_find_process(int fd);
