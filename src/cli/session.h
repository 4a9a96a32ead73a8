/*
 * A machine with an API, and the loop that serves both, from the beginning of the process to its
 * end: what the start forms share that can be steered from outside.
 */
#pragma once

#include "cli/loop.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>

struct api_options;
struct api_server;
struct microvm;

struct session {
	struct loop loop;
	struct microvm *microvm;
	struct api_server *api; /**< NULL: nobody is listened to */
};

struct session_options {
	const char *id;
	bool has_boot_timer;
	size_t mmds_limit; /**< in bytes; 0: the default */
};

/** \return 0 or a negative errno with a sentence; then too session_deinit() is wanted */
__attribute__((warn_unused_result)) int session_init(struct session *session,
						     const struct session_options *options,
						     struct err *err);

/** Serve the API on a socket. \param options without the loop, which is filled in */
__attribute__((warn_unused_result)) int session_listen(struct session *session,
						       struct api_options *options,
						       struct err *err);

/** After the loop: what the guest printed last is written, and the metrics' last line. */
void session_close(struct session *session);

/** Close if that was not done, and free. Legal on a zeroed object, and twice. */
void session_deinit(struct session *session);
