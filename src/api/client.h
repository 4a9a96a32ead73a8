/*
 * One connection to the API server: bytes in, a request, an answer, bytes out, one after the other.
 *
 * While an answer is on its way nothing is read, so a client that sends and never reads stops
 * itself. What is kept of a client is one request, of limited size, and one answer; a connection
 * that is quiet keeps no buffer. Of several requests that came at once one is done in each turn of
 * the loop. After a request that is not HTTP the answer is sent, what the client still sends is
 * thrown away for a while so that it can read the answer, and the connection is closed.
 *
 * On the I/O thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct client;
struct event_base;
struct microvm;

struct client_env {
	struct event_base *base;
	struct microvm *microvm;
	size_t max_payload;
	unsigned int patience_ms; /**< for a request to be there, and for an answer to be taken */
	bool is_quiet;            /**< requests are logged at the level debug only */
	/** Called before a client frees itself. */
	void (*gone)(void *ctx, const struct client *client);
	void *ctx;
};

/**
 * \param clientp set to the client, which frees itself when the connection ends
 * \param fd taken over, in any case
 * \param env borrowed, as is all in it
 * \return 0 or -ENOMEM
 */
__attribute__((warn_unused_result)) int client_new(struct client **clientp, int fd,
						   const struct client_env *env);

/** Drop the connection; `gone` is not called. */
void client_free(struct client *client);
