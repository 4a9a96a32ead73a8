#include "api/client.h"

#include "api/http.h"
#include "api/requests.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/events.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
	FIRST_ROOM = 1024,       /* bytes of a new buffer */
	ANSWER_HEAD_MAX = 256,   /* more than the longest head of an answer */
	DRAIN_MAX = 1024 * 1024, /* bytes that are thrown away before closing */
	DRAIN_CHUNK = 4096,
};

/* What is to be done next, when the socket can be read or written. */
enum phase {
	PHASE_HEAD,  /* read until the head is whole */
	PHASE_BODY,  /* then the body */
	PHASE_SEND,  /* send the answer */
	PHASE_DRAIN, /* throw away what still comes */
};

/* What became of one step. */
enum step { STEP_AGAIN, STEP_WAIT, STEP_CLOSE };

struct client {
	const struct client_env *env;
	int fd;
	enum phase phase;
	struct event *readable;
	struct event *writable;
	struct event *timeout; /* armed unless nothing is on the way */

	char *in; /* NULL while nothing is in it */
	size_t in_len;
	size_t in_room;
	size_t n_scanned; /* of the head */
	struct http_head head;
	size_t head_len;

	char *out;
	size_t out_len;
	size_t n_sent;
	size_t n_drained;
	bool is_last; /* close when the answer is sent */
};

static void arm_timeout(struct client *client)
{
	const struct timeval patience = {
		.tv_sec = client->env->patience_ms / 1000,
		.tv_usec = client->env->patience_ms % 1000 * 1000L,
	};

	event_add(client->timeout, &patience);
}

/* Wait for the socket to be readable or writable, never both. */
static void wait_for(struct client *client, struct event *event)
{
	event_del(event == client->readable ? client->writable : client->readable);
	event_add(event, NULL);
}

static bool grow(struct client *client, size_t room)
{
	char *in = realloc(client->in, room);

	if (in == NULL)
		return false;
	client->in = in;
	client->in_room = room;
	return true;
}

/* Read what there is room for. */
static enum step fill(struct client *client)
{
	ssize_t n = recv(client->fd, client->in + client->in_len, client->in_room - client->in_len,
			 MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		wait_for(client, client->readable);
		return STEP_WAIT;
	}
	if (n <= 0)
		return STEP_CLOSE;
	/* The time counts from a request's first byte. */
	if (client->in_len == 0)
		arm_timeout(client);
	client->in_len += (size_t)n;
	return STEP_AGAIN;
}

/* Put an answer on the way; it frees the answer's body. */
static enum step send_answer(struct client *client, struct api_answer *answer)
{
	cleanup_free char *body = answer->body;
	size_t body_len = body == NULL ? 0 : strlen(body);
	int len;

	client->out = malloc(ANSWER_HEAD_MAX + body_len);
	if (client->out == NULL)
		return STEP_CLOSE;
	len = snprintf(client->out, ANSWER_HEAD_MAX,
		       "HTTP/1.1 %u \r\nServer: Firecracker API\r\nConnection: %s\r\n%s",
		       answer->status, client->is_last ? "close" : "keep-alive",
		       answer->is_deprecated ? "Deprecation: true\r\n" : "");
	if (body != NULL)
		len += snprintf(client->out + len, ANSWER_HEAD_MAX - (size_t)len,
				"Content-Type: application/json\r\nContent-Length: %zu\r\n",
				body_len);
	else if (answer->status != 204) /* no memory for it */
		len += snprintf(client->out + len, ANSWER_HEAD_MAX - (size_t)len,
				"Content-Length: 0\r\n");
	len += snprintf(client->out + len, ANSWER_HEAD_MAX - (size_t)len, "\r\n");
	if (body_len > 0)
		memcpy(client->out + len, body, body_len);
	client->out_len = (size_t)len + body_len;
	client->n_sent = 0;
	client->phase = PHASE_SEND;
	arm_timeout(client);
	return STEP_AGAIN;
}

/* Answer what is not a request that can be understood: it is the connection's last. */
static enum step refuse(struct client *client, const char *text)
{
	struct api_answer answer = { 0 };
	char line[sizeof(((struct err *)0)->text) + 64];

	snprintf(line, sizeof(line), "%s\nAll previous unanswered requests will be dropped.", text);
	api_refuse(&answer, 400, "error", line);
	client->is_last = true;
	return send_answer(client, &answer);
}

static enum step read_head(struct client *client)
{
	struct err err = { 0 };
	ssize_t len = http_find_head_end(client->in, client->in_len, client->n_scanned);

	client->n_scanned = client->in_len;
	if (len < 0)
		return refuse(client, "Invalid HTTP request.");
	if (len == 0) {
		if (client->in_len == client->in_room &&
		    !grow(client, client->in_room == 0 ? FIRST_ROOM : 2 * client->in_room))
			return STEP_CLOSE;
		return fill(client);
	}
	if (http_parse_head(&client->head, client->in, (size_t)len, &err) != 0)
		return refuse(client, err.text);
	if (client->head.body_len > client->env->max_payload) {
		err_set(&err, -EFBIG,
			"Request payload with size %llu is larger than the limit of %zu allowed by "
			"server.",
			(unsigned long long)client->head.body_len, client->env->max_payload);
		return refuse(client, err.text);
	}
	client->head_len = (size_t)len;
	client->phase = PHASE_BODY;
	return STEP_AGAIN;
}

/* Not waited for: the socket has room, or the client has not read for long. */
static bool tell_to_continue(const struct client *client)
{
	static const char text[] = "HTTP/1.1 100 \r\n\r\n";

	return send(client->fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) ==
	       sizeof(text) - 1;
}

static enum step answer_request(struct client *client)
{
	const struct api_request request = {
		.method = client->head.method,
		.path = client->head.path,
		.body = client->head.body_len == 0 ? NULL : client->in + client->head_len,
		.body_len = (size_t)client->head.body_len,
		.is_quiet = client->env->is_quiet,
	};
	struct api_answer answer = { 0 };
	size_t used = client->head_len + request.body_len;

	client->is_last = client->head.is_last;
	api_handle(client->env->microvm, &request, &answer);
	client->in_len -= used;
	client->n_scanned = 0;
	if (client->in_len == 0) {
		free(take_ptr(client->in));
		client->in_room = 0;
	} else {
		memmove(client->in, client->in + used, client->in_len);
	}
	return send_answer(client, &answer);
}

static enum step read_body(struct client *client)
{
	size_t whole = client->head_len + (size_t)client->head.body_len;

	if (client->in_len >= whole)
		return answer_request(client);
	if (client->head.expects_continue) {
		client->head.expects_continue = false;
		if (!tell_to_continue(client))
			return STEP_CLOSE;
	}
	if (client->in_room < whole) {
		const ptrdiff_t path = client->head.path - client->in;

		if (!grow(client, whole))
			return STEP_CLOSE;
		client->head.path = client->in + path;
	}
	return fill(client);
}

static enum step send_more(struct client *client)
{
	ssize_t n = send(client->fd, client->out + client->n_sent, client->out_len - client->n_sent,
			 MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return STEP_CLOSE;
	if (n > 0)
		client->n_sent += (size_t)n;
	if (client->n_sent < client->out_len) {
		wait_for(client, client->writable);
		return STEP_WAIT;
	}
	free(take_ptr(client->out));
	if (client->is_last) {
		shutdown(client->fd, SHUT_WR);
		client->phase = PHASE_DRAIN;
		return STEP_AGAIN;
	}
	client->phase = PHASE_HEAD;
	if (client->in_len == 0) {
		event_del(client->timeout);
		wait_for(client, client->readable);
	} else {
		arm_timeout(client);
		/* The next request is here already: but for the loop's next turn, when it has seen
		 * what others have to do. An event made active would be done in this one. */
		wait_for(client, client->writable);
	}
	return STEP_WAIT;
}

static enum step drain(struct client *client)
{
	char chunk[DRAIN_CHUNK];
	ssize_t n = recv(client->fd, chunk, sizeof(chunk), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		wait_for(client, client->readable);
		return STEP_WAIT;
	}
	if (n <= 0)
		return STEP_CLOSE;
	client->n_drained += (size_t)n;
	wait_for(client, client->readable);
	return client->n_drained > DRAIN_MAX ? STEP_CLOSE : STEP_WAIT;
}

static enum step step(struct client *client)
{
	switch (client->phase) {
	case PHASE_HEAD:
		return read_head(client);
	case PHASE_BODY:
		return read_body(client);
	case PHASE_SEND:
		return send_more(client);
	case PHASE_DRAIN:
		return drain(client);
	}
	return STEP_CLOSE;
}

static void give_up(struct client *client)
{
	client->env->gone(client->env->ctx, client);
	client_free(client);
}

static void go_on(evutil_socket_t fd, short what, void *ctx)
{
	struct client *client = ctx;
	enum step next;

	(void)fd;
	(void)what;
	do {
		next = step(client);
	} while (next == STEP_AGAIN);
	if (next == STEP_CLOSE)
		give_up(client);
}

static void time_is_up(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	give_up(ctx);
}

int client_new(struct client **clientp, int fd, const struct client_env *env)
{
	struct client *client = calloc(1, sizeof(*client));

	*clientp = NULL;
	if (client == NULL) {
		close(fd);
		return -ENOMEM;
	}
	client->env = env;
	client->fd = fd;
	client->readable = event_new(env->base, fd, EV_READ | EV_PERSIST, go_on, client);
	client->writable = event_new(env->base, fd, EV_WRITE | EV_PERSIST, go_on, client);
	client->timeout = evtimer_new(env->base, time_is_up, client);
	if (client->readable == NULL || client->writable == NULL || client->timeout == NULL ||
	    event_add(client->readable, NULL) != 0) {
		client_free(client);
		return -ENOMEM;
	}
	*clientp = client;
	return 0;
}

void client_free(struct client *client)
{
	free_event(&client->readable);
	free_event(&client->writable);
	free_event(&client->timeout);
	close(client->fd);
	free(client->in);
	free(client->out);
	free(client);
}
