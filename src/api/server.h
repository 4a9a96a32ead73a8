/*
 * The API server: HTTP/1.1 on a Unix stream socket, on the loop of the I/O thread. What the paths
 * and bodies mean is in api/requests.h; one client, in api/client.h.
 *
 * The socket is made here and nothing that is there already is taken over; the file goes when the
 * server does. At most 10 clients are connected at once, the next is told so and let go. A client's
 * requests are answered one after the other, in their order; each is done when its answer is sent.
 *
 * Clients are trusted with the machine, but not to be well: one that sends half a request, never
 * reads or sends without end costs a bounded amount of memory and no time of the machine's. A
 * request has to be there within seconds of its first byte, what one client can have on the way is
 * limited in both directions, and the loop never waits for a socket.
 */
#pragma once

#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>

struct api_server;
struct event_base;
struct microvm;

enum {
	API_MAX_PAYLOAD = 51200, /**< default limit of a request's body, in bytes */
	API_CLIENTS_MAX = 10,
};

struct api_options {
	const char *path;        /**< of the socket; copied */
	size_t max_payload;      /**< the limit of a request's body; 0: API_MAX_PAYLOAD */
	struct event_base *base; /**< borrowed */
	/** How long a request may take to come, and an answer to be taken; 0: 30 seconds. */
	unsigned int patience_ms;
	bool is_quiet; /**< what it does is logged at the level debug only */
};

/**
 * Listen, and serve from the loop.
 * \param serverp set to the server, owned by the caller
 * \param microvm borrowed; outlives the server
 * \return 0; a negative errno with a sentence: "Failed to open the API socket at: PATH. Check that
 * it is not already used." when anything is there
 */
__attribute__((warn_unused_result)) int api_server_new(struct api_server **serverp,
						       const struct api_options *options,
						       struct microvm *microvm, struct err *err);

/** Stop listening, drop the clients, remove the socket. Legal on NULL. */
void api_server_free(struct api_server *server);
