/*
 * A stream over vsock or TCP, with the same program in the guest and in the host.
 *
 *   stream serve unix PATH         in the host, for a monitor that speaks vsock by Unix sockets
 *   stream serve vsock PORT        in the host, for one that leaves it to the kernel
 *   stream serve tcp PORT          in the host
 *   stream send|receive CID|ADDRESS PORT BYTES       in the guest: an ADDRESS has dots
 *
 * A client's first 16 bytes say how many follow, and whether it is to receive them. Who has
 * received all closes, and that ends the other.
 */

#include <arpa/inet.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BUFFER 65536

struct request {
	uint64_t bytes;
	uint64_t is_to_receive;
};

static char buffer[BUFFER];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void send_bytes(int fd, uint64_t bytes)
{
	while (bytes > 0) {
		ssize_t n = write(fd, buffer, bytes < BUFFER ? bytes : BUFFER);

		if (n <= 0)
			die("send");
		bytes -= (uint64_t)n;
	}
	if (read(fd, buffer, 1) != 0)
		die("wait for the end");
}

static void receive_bytes(int fd, uint64_t bytes)
{
	while (bytes > 0) {
		ssize_t n = read(fd, buffer, bytes < BUFFER ? bytes : BUFFER);

		if (n <= 0)
			die("receive");
		bytes -= (uint64_t)n;
	}
}

static int listen_unix(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 1) != 0)
		die(path);
	return fd;
}

static struct sockaddr_vm vsock_address(unsigned int cid, const char *port)
{
	return (struct sockaddr_vm){
		.svm_family = AF_VSOCK,
		.svm_cid = cid,
		.svm_port = (unsigned int)atoi(port),
	};
}

static int listen_vsock(const char *port)
{
	struct sockaddr_vm address = vsock_address(VMADDR_CID_ANY, port);
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 1) != 0)
		die("listen on vsock");
	return fd;
}

static struct sockaddr_in tcp_address(const char *address, const char *port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr.s_addr = inet_addr(address),
		.sin_port = htons((uint16_t)atoi(port)),
	};
}

static int listen_tcp(const char *port)
{
	struct sockaddr_in address = tcp_address("0.0.0.0", port);
	const int is_on = 1;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	/* Connections to the one before us may not have been forgotten yet. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &is_on, sizeof(is_on));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 1) != 0)
		die("listen on TCP");
	return fd;
}

static int listen_on(const char *kind, const char *where)
{
	if (strcmp(kind, "unix") == 0)
		return listen_unix(where);
	return strcmp(kind, "tcp") == 0 ? listen_tcp(where) : listen_vsock(where);
}

static int connect_vsock(const char *cid, const char *port)
{
	struct sockaddr_vm address = vsock_address((unsigned int)atoi(cid), port);
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		die("connect");
	return fd;
}

static int connect_tcp(const char *host, const char *port)
{
	struct sockaddr_in address = tcp_address(host, port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		die("connect");
	return fd;
}

static void serve(int listener)
{
	for (;;) {
		struct request request;
		int fd = accept(listener, NULL, NULL);

		if (fd < 0 || read(fd, &request, sizeof(request)) != sizeof(request))
			die("accept");
		if (request.is_to_receive)
			send_bytes(fd, request.bytes);
		else
			receive_bytes(fd, request.bytes);
		close(fd);
	}
}

static void ask(const char *host, const char *port, const struct request *request)
{
	int fd = strchr(host, '.') ? connect_tcp(host, port) : connect_vsock(host, port);

	if (write(fd, request, sizeof(*request)) != sizeof(*request))
		die("ask");
	if (request->is_to_receive)
		receive_bytes(fd, request->bytes);
	else
		send_bytes(fd, request->bytes);
	close(fd);
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	signal(SIGPIPE, SIG_IGN);
	if (argc == 4 && strcmp(verb, "serve") == 0) {
		serve(listen_on(argv[2], argv[3]));
	} else if (argc == 5) {
		struct request request = {
			.bytes = strtoull(argv[4], NULL, 0),
			.is_to_receive = strcmp(verb, "receive") == 0,
		};

		ask(argv[2], argv[3], &request);
	}
	return 0;
}
