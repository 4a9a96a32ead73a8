/*
 * Bytes of a client into the API: first what they are cut into, then heads, bodies and all
 * operations of a machine that was not started. No new descriptor can be had meanwhile, so what
 * the bytes name is neither made nor opened.
 */
#include "api/client.h"
#include "api/microvm.h"
#include "util/log.h"

#include <errno.h>
#include <event2/event.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_PAYLOAD = 4096, SEND_STEPS = 16 };

static struct client *client;

static void gone(void *ctx, const struct client *which)
{
	(void)ctx;
	(void)which;
	client = NULL;
}

static void ended(void *ctx, enum vm_end end)
{
	(void)ctx;
	(void)end;
}

/* Read what was answered, so that the server goes on. */
static void turn(struct event_base *base, int fd)
{
	char buf[4096];

	event_base_loop(base, EVLOOP_NONBLOCK);
	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static void talk(struct event_base *base, int fd, const uint8_t *data, size_t size)
{
	size_t step = size == 0 ? 0 : (size_t)data[0] * data[0] + 1;

	for (size_t at = 1; at < size && client != NULL; at += step) {
		if (send(fd, data + at, at + step < size ? step : size - at,
			 MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
		turn(base, fd);
	}
	shutdown(fd, SHUT_WR);
	for (unsigned int i = 0; i < SEND_STEPS && client != NULL; i++)
		turn(base, fd);
}

static void set_descriptor_limit(rlim_t limit)
{
	struct rlimit rlimit;

	if (getrlimit(RLIMIT_NOFILE, &rlimit) != 0)
		abort();
	rlimit.rlim_cur = limit < rlimit.rlim_max ? limit : rlimit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &rlimit) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct event_base *base = event_base_new();
	struct microvm_options options = { .id = "fuzz", .base = base, .ended = ended };
	struct client_env env = {
		.base = base, .max_payload = MAX_PAYLOAD, .patience_ms = 1000, .gone = gone
	};
	struct microvm *microvm;
	int fds[2];

	log_set_level(LOG_OFF);
	if (base == NULL || microvm_new(&microvm, &options, NULL) != 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
		abort();
	env.microvm = microvm;
	if (client_new(&client, fds[0], &env) != 0)
		abort();
	set_descriptor_limit(0);
	talk(base, fds[1], data, size);
	set_descriptor_limit(RLIM_INFINITY);
	if (client != NULL)
		client_free(client);
	close(fds[1]);
	microvm_free(microvm);
	event_base_free(base);
	return 0;
}
