#include "api/server.h"

#include "api/client.h"
#include "backend/unix_listener.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/events.h"
#include "util/log.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* A half request, or an answer that nobody reads, is given up after this. */
enum { PATIENCE_MS = 30000, ACCEPT_AGAIN_S = 1 };

struct api_server {
	struct unix_listener listener;
	struct event *accept;
	struct event *accept_again; /* armed while the process is out of descriptors */
	struct client_env env;
	struct client *clients[API_CLIENTS_MAX];
};

static void client_gone(void *ctx, const struct client *client)
{
	struct api_server *server = ctx;

	for (unsigned int i = 0; i < API_CLIENTS_MAX; i++) {
		if (server->clients[i] == client)
			server->clients[i] = NULL;
	}
}

static struct client **find_place(struct api_server *server)
{
	for (unsigned int i = 0; i < API_CLIENTS_MAX; i++) {
		if (server->clients[i] == NULL)
			return &server->clients[i];
	}
	return NULL;
}

/* Without a struct client: a storm of connections costs no memory. */
static void turn_away(int fd)
{
	static const char answer[] = "HTTP/1.1 503 \r\n"
				     "Server: Firecracker API\r\n"
				     "Connection: close\r\n"
				     "Content-Type: application/json\r\n"
				     "Content-Length: 40\r\n"
				     "\r\n"
				     "{ \"error\": \"Too many open connections\" }";

	static_assert(sizeof("{ \"error\": \"Too many open connections\" }") - 1 == 40, "length");
	/* A new socket has room for it; if not, there is nobody to tell. */
	if (send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("a client of the API has gone before it was refused");
}

/* Out of descriptors or memory the socket stays readable: wait, instead of trying all the time. */
static void rest(struct api_server *server)
{
	const struct timeval later = { .tv_sec = ACCEPT_AGAIN_S };

	event_del(server->accept);
	event_add(server->accept_again, &later);
}

static void accept_client(evutil_socket_t listen_fd, short what, void *ctx)
{
	struct api_server *server = ctx;
	struct client **place;
	cleanup_close int fd = unix_listener_accept(&server->listener);

	(void)listen_fd;
	(void)what;
	if (fd == -EAGAIN)
		return;
	if (fd < 0) {
		rest(server);
		return;
	}
	place = find_place(server);
	if (place == NULL)
		turn_away(fd);
	else if (client_new(place, take_fd(&fd), &server->env) != 0)
		rest(server);
}

static void accept_again(evutil_socket_t fd, short what, void *ctx)
{
	struct api_server *server = ctx;

	(void)fd;
	(void)what;
	event_add(server->accept, NULL);
}

static int init_server(struct api_server *server, const struct api_options *options,
		       struct microvm *microvm, struct err *err)
{
	int ret = unix_listener_init(&server->listener, options->path, err);

	if (ret == -EADDRINUSE)
		return err_set(err, ret,
			       "Failed to open the API socket at: %s. Check that it is not already "
			       "used.",
			       options->path);
	if (ret != 0)
		return err_prefix(err, "Failed to open the API socket");
	server->env = (struct client_env){
		.base = options->base,
		.microvm = microvm,
		.max_payload = options->max_payload > 0 ? options->max_payload : API_MAX_PAYLOAD,
		.patience_ms = options->patience_ms > 0 ? options->patience_ms : PATIENCE_MS,
		.is_quiet = options->is_quiet,
		.gone = client_gone,
		.ctx = server,
	};
	server->accept = event_new(options->base, server->listener.fd, EV_READ | EV_PERSIST,
				   accept_client, server);
	server->accept_again = evtimer_new(options->base, accept_again, server);
	if (server->accept == NULL || server->accept_again == NULL ||
	    event_add(server->accept, NULL) != 0)
		return err_set(err, -ENOMEM, "no memory for the API server");
	return 0;
}

int api_server_new(struct api_server **serverp, const struct api_options *options,
		   struct microvm *microvm, struct err *err)
{
	const enum log_level level = options->is_quiet ? LOG_DEBUG : LOG_INFO;
	struct api_server *server = calloc(1, sizeof(*server));
	int ret;

	*serverp = NULL;
	if (server == NULL)
		return err_set(err, -ENOMEM, "no memory for the API server");
	ret = init_server(server, options, microvm, err);
	if (ret != 0) {
		api_server_free(server);
		return ret;
	}
	log_leveled(level, "Listening on API socket (\"%s\").", options->path);
	log_leveled(level, "API server started.");
	*serverp = server;
	return 0;
}

void api_server_free(struct api_server *server)
{
	if (server == NULL)
		return;
	for (unsigned int i = 0; i < API_CLIENTS_MAX; i++) {
		if (server->clients[i] != NULL)
			client_free(server->clients[i]);
	}
	free_event(&server->accept_again);
	free_event(&server->accept);
	unix_listener_deinit(&server->listener);
	free(server);
}
