/*
 * What the tests of the API share: a microVM that was not started, a server for it in a folder of
 * its own, and clients that are served by turns of the loop, all on one thread.
 */
#pragma once

#include "api/microvm.h"
#include "api/server.h"

#include <stddef.h>

struct api_rig {
	struct event_base *base;
	struct microvm *microvm;
	struct api_server *server;
	char dir[32];
	char socket[64];
};

/** \param options without path and base; NULL: defaults */
void api_rig_init(struct api_rig *rig, const struct api_options *options);

/** Also asserts that no client, nor the socket's file, is left. */
void api_rig_deinit(struct api_rig *rig);

/** The path of a file in the rig's folder. \return static storage of 4 paths, used in turn */
const char *api_rig_path(const struct api_rig *rig, const char *name);

/** Make a file there. \return its path */
const char *api_rig_file(const struct api_rig *rig, const char *name, const void *bytes,
			 size_t len);

/** Let the server do all it can without waiting. */
void api_rig_turn(struct api_rig *rig);

/** A new client. \return its non-blocking socket */
int api_rig_connect(struct api_rig *rig);

/** Send all, or fail. */
void api_rig_send(struct api_rig *rig, int fd, const char *text);

/** Take what is there. \param buf ended by a NUL \return bytes; 0: nothing; -1: the end, or a reset
 */
ssize_t api_rig_receive(struct api_rig *rig, int fd, char *buf, size_t size);

/**
 * Do one request on a connection of its own.
 * \param body NULL: none
 * \param answer the answer's body, "" for none; 4096 bytes or more
 * \return its status
 */
int api_rig_do(struct api_rig *rig, const char *method, const char *path, const char *body,
	       char *answer, size_t size);

/** The same for who wants to know only this: the status, and that the answer has \p part in it. */
void api_rig_expect(struct api_rig *rig, const char *method, const char *path, const char *body,
		    int status, const char *part);
