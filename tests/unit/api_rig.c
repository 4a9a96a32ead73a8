#include "api_rig.h"

#include "test.h"
#include "util/log.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { TURNS = 8 };

static void ended(void *ctx, enum vm_end end)
{
	(void)ctx;
	(void)end;
}

void api_rig_init(struct api_rig *rig, const struct api_options *options)
{
	struct api_options full = options == NULL ? (struct api_options){ 0 } : *options;
	struct microvm_options microvm_options = { .id = "test", .ended = ended };
	struct err err = { 0 };

	log_set_level(LOG_OFF);
	*rig = (struct api_rig){ .dir = "/tmp/televm-api-XXXXXX" };
	assert_non_null(mkdtemp(rig->dir));
	snprintf(rig->socket, sizeof(rig->socket), "%s/api", rig->dir);
	rig->base = event_base_new();
	assert_non_null(rig->base);
	microvm_options.base = rig->base;
	if (microvm_new(&rig->microvm, &microvm_options, &err) != 0)
		fail_msg("%s", err.text);
	full.path = rig->socket;
	full.base = rig->base;
	if (api_server_new(&rig->server, &full, rig->microvm, &err) != 0)
		fail_msg("%s", err.text);
}

static int remove_file(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

void api_rig_deinit(struct api_rig *rig)
{
	api_rig_turn(rig);
	api_server_free(rig->server);
	assert_int_equal(access(rig->socket, F_OK), -1);
	microvm_free(rig->microvm);
	assert_int_equal(event_base_get_num_events(rig->base, EVENT_BASE_COUNT_ADDED), 0);
	event_base_free(rig->base);
	assert_int_equal(nftw(rig->dir, remove_file, 8, FTW_DEPTH | FTW_PHYS), 0);
}

const char *api_rig_path(const struct api_rig *rig, const char *name)
{
	static char paths[4][128];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", rig->dir, name);
	return path;
}

const char *api_rig_file(const struct api_rig *rig, const char *name, const void *bytes, size_t len)
{
	const char *path = api_rig_path(rig, name);
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_true(write(fd, bytes, len) == (ssize_t)len);
	close(fd);
	return path;
}

void api_rig_turn(struct api_rig *rig)
{
	for (unsigned int i = 0; i < TURNS; i++)
		event_base_loop(rig->base, EVLOOP_NONBLOCK);
}

int api_rig_connect(struct api_rig *rig)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(address.sun_path, rig->socket);
	assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	api_rig_turn(rig);
	return fd;
}

void api_rig_send(struct api_rig *rig, int fd, const char *text)
{
	size_t len = strlen(text);

	while (len > 0) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		assert_true(n > 0 || errno == EAGAIN);
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
		api_rig_turn(rig);
	}
}

ssize_t api_rig_receive(struct api_rig *rig, int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	do {
		api_rig_turn(rig);
		n = recv(fd, buf + len, size - 1 - len, 0);
		if (n > 0)
			len += (size_t)n;
	} while (n > 0 && len < size - 1);
	buf[len] = '\0';
	if (len == 0 && (n == 0 || (n < 0 && errno != EAGAIN)))
		return -1;
	return (ssize_t)len;
}

int api_rig_do(struct api_rig *rig, const char *method, const char *path, const char *body,
	       char *answer, size_t size)
{
	size_t room = strlen(path) + (body == NULL ? 0 : strlen(body)) + 256;
	char *request = malloc(room);
	char *buf = malloc(size + 1024);
	int fd = api_rig_connect(rig);
	const char *start;
	int status = 0;

	assert_non_null(request);
	assert_non_null(buf);
	if (body == NULL)
		snprintf(request, room, "%s %s HTTP/1.1\r\nHost: localhost\r\n\r\n", method, path);
	else
		snprintf(request, room, "%s %s HTTP/1.1\r\nContent-Length: %zu\r\n\r\n%s", method,
			 path, strlen(body), body);
	api_rig_send(rig, fd, request);
	assert_true(api_rig_receive(rig, fd, buf, size + 1024) > 0);
	assert_int_equal(sscanf(buf, "HTTP/1.1 %d \r\n", &status), 1);
	start = strstr(buf, "\r\n\r\n");
	assert_non_null(start);
	assert_true(strlen(start + 4) < size);
	strcpy(answer, start + 4);
	close(fd);
	free(request);
	free(buf);
	api_rig_turn(rig);
	return status;
}

void api_rig_expect(struct api_rig *rig, const char *method, const char *path, const char *body,
		    int status, const char *part)
{
	char answer[65536];
	int got = api_rig_do(rig, method, path, body, answer, sizeof(answer));

	if (got != status || strstr(answer, part) == NULL)
		fail_msg("%s %s %s: %d %s; expected %d with %s", method, path,
			 body == NULL ? "" : body, got, answer, status, part);
}
