/*
 * Runs in the host: a client of TeleVM's API that tells what three things cost. Where the host
 * counts instructions, so do its clocks: a nanosecond is one.
 *
 *   api SOCKET KERNEL COMMAND [ARGUMENT]...
 *
 * COMMAND serves its API at SOCKET, which is not there yet. A line is printed for each:
 *
 *   start WALL CPU    from before vfork to the answer to the first request
 *   get WALL CPU      from before a GET / to its answer, on a connection that is there; the average
 * of GETS boot WALL CPU     from before InstanceStart to the first character that KERNEL prints
 *
 * WALL is in nanoseconds, CPU those of processor time that COMMAND used in between.
 */

#include "monitor.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define GET     "GET / HTTP/1.1\r\n\r\n"
#define GETS    16
#define SAID_OK "HTTP/1.1 20" /* 200 or 204 */

struct client {
	struct monitor monitor;
	struct sockaddr_un address;
	clockid_t cpu_clock;
	int socket;
	int folder; /* inotify */
};

struct moment {
	int64_t wall;
	int64_t cpu;
};

static struct moment now(const struct client *client)
{
	return (struct moment){ .wall = read_clock(CLOCK_MONOTONIC),
				.cpu = read_clock(client->cpu_clock) };
}

/* What TIMES of something took, each. */
static void tell(const char *what, const struct client *client, struct moment begin, int times)
{
	struct moment end = now(client);

	printf("%s %lld %lld\n", what, (long long)(end.wall - begin.wall) / times,
	       (long long)(end.cpu - begin.cpu) / times);
}

/* Sleep until FD has something to read; whoever has taken longer than any machine needs has hung.
 */
static void wait_for(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	if (poll(&poll_fd, 1, TIMEOUT_MS) != 1)
		die("the monitor says nothing");
}

/* Watch the folder in which the socket will be. */
static void watch(struct client *client, const char *path)
{
	char folder[sizeof(client->address.sun_path)];
	char *slash;

	client->address.sun_family = AF_UNIX;
	if ((size_t)snprintf(client->address.sun_path, sizeof(client->address.sun_path), "%s",
			     path) >= sizeof(client->address.sun_path))
		die("the socket's name is too long");
	strcpy(folder, client->address.sun_path);
	slash = strrchr(folder, '/');
	if (!slash)
		die("the socket's name has no folder");
	*slash = 0;
	client->folder = inotify_init1(IN_CLOEXEC);
	if (client->folder < 0 || inotify_add_watch(client->folder, folder, IN_CREATE) < 0)
		die("cannot watch the socket's folder");
}

static void connect_to(struct client *client)
{
	wait_for(client->folder);
	client->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* It has a name a moment before it listens. */
	while (connect(client->socket, (const struct sockaddr *)&client->address,
		       sizeof(client->address)) != 0)
		if (errno != ECONNREFUSED || sched_yield() != 0)
			die("cannot connect to the API");
}

static void ask(const struct client *client, const char *request)
{
	char answer[4096];
	ssize_t n;

	if (send(client->socket, request, strlen(request), MSG_NOSIGNAL) !=
	    (ssize_t)strlen(request))
		die("cannot send a request");
	wait_for(client->socket);
	n = recv(client->socket, answer, sizeof(answer) - 1, 0);
	answer[n < 0 ? 0 : n] = 0;
	if (strncmp(answer, SAID_OK, strlen(SAID_OK)) != 0) {
		fprintf(stderr, "%s\n%s\n", request, answer);
		die("a request was refused");
	}
}

static void put(const struct client *client, const char *path, const char *body)
{
	char request[2048];

	snprintf(request, sizeof(request),
		 "PUT %s HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: "
		 "%zu\r\n\r\n%s",
		 path, strlen(body), body);
	ask(client, request);
}

static void start(struct client *client, const char *socket_path, char **command)
{
	struct moment begin = { .cpu = 0 };

	watch(client, socket_path);
	monitor_start(&client->monitor, command);
	if (clock_getcpuclockid(client->monitor.pid, &client->cpu_clock) != 0)
		die("the monitor ended");
	begin.wall = client->monitor.begin;
	connect_to(client);
	ask(client, GET);
	tell("start", client, begin, 1);
}

static void boot(const struct client *client, const char *kernel)
{
	char body[1024];
	struct moment begin;

	snprintf(body, sizeof(body), "{\"kernel_image_path\":\"%s\"}", kernel);
	put(client, "/boot-source", body);
	put(client, "/machine-config", "{\"vcpu_count\":1,\"mem_size_mib\":128}");
	begin = now(client);
	put(client, "/actions", "{\"action_type\":\"InstanceStart\"}");
	wait_for(client->monitor.output);
	tell("boot", client, begin, 1);
}

int main(int argc, char **argv)
{
	struct client client = { .socket = -1 };
	struct moment begin;

	if (argc < 4)
		die("usage: api SOCKET KERNEL COMMAND [ARGUMENT]...");
	start(&client, argv[1], argv + 3);
	/* The first on a connection is no different, but its buffers are new. */
	ask(&client, GET);
	begin = now(&client);
	for (int i = 0; i < GETS; i++)
		ask(&client, GET);
	tell("get", &client, begin, GETS);
	boot(&client, argv[2]);
	kill_monitors();
	unlink(argv[1]);
	return 0;
}
