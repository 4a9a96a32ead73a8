/*
 * Talks over vsock in a guest, for trying and testing:
 *
 *   vsock listen PORT             answer every connection with what comes from it, for ever
 *   vsock connect CID PORT N SIZE make N connections at once, send SIZE bytes over each, and
 * compare what comes back; ends with 0 when all are right vsock wait CID PORT           make one
 * connection, say so, and wait until it ends
 *
 * It has no C library, like init.c, and for the same reason: our initramfs stays small.
 */

#include <asm/unistd.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define BUFFER_SIZE 65536

static long call6(long number, long a, long b, long c, long d, long e, long f)
{
	register long a0 __asm__("a0") = a;
	register long a1 __asm__("a1") = b;
	register long a2 __asm__("a2") = c;
	register long a3 __asm__("a3") = d;
	register long a4 __asm__("a4") = e;
	register long a5 __asm__("a5") = f;
	register long a7 __asm__("a7") = number;

	__asm__ volatile("ecall"
			 : "+r"(a0)
			 : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7)
			 : "memory");
	return a0;
}

#define CALL(number, a, b, c, d, e, f, ...)                                                        \
	call6(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define call(...) CALL(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

/* The compiler calls these by itself. */
void *memset(void *to, int byte, size_t length)
{
	char volatile *p = to;

	while (length--)
		*p++ = (char)byte;
	return to;
}

void *memcpy(void *to, const void *from, size_t length)
{
	char volatile *p = to;
	const char *q = from;

	while (length--)
		*p++ = *q++;
	return to;
}

static void print(const char *text)
{
	size_t n = 0;

	while (text[n])
		n++;
	call(__NR_write, 1, text, n);
}

static void print_number(unsigned long number)
{
	char digits[24];
	char *at = digits + sizeof(digits) - 1;

	*at = 0;
	do
		*--at = (char)('0' + number % 10);
	while (number /= 10);
	print(at);
}

static __attribute__((noreturn)) void leave(int status)
{
	call(__NR_exit_group, status);
	__builtin_unreachable();
}

/* Tell which call failed, in one write: others may print too. */
static __attribute__((noreturn)) void fail(const char *what, long error)
{
	char line[64] = "vsock: ";
	char *to = line + 7;
	unsigned long number = (unsigned long)-error;

	while (*what)
		*to++ = *what++;
	for (const char *p = ": error "; *p;)
		*to++ = *p++;
	if (number >= 100)
		*to++ = (char)('0' + number / 100);
	*to++ = (char)('0' + number / 10 % 10);
	*to++ = (char)('0' + number % 10);
	*to++ = '\n';
	*to = 0;
	print(line);
	leave(1);
}

static unsigned long number_of(const char *text)
{
	unsigned long number = 0;

	while (*text >= '0' && *text <= '9')
		number = number * 10 + (unsigned long)(*text++ - '0');
	return number;
}

static int is_word(const char *text, const char *word)
{
	while (*text && *text == *word) {
		text++;
		word++;
	}
	return *text == *word;
}

static int make_socket(void)
{
	long fd = call(__NR_socket, AF_VSOCK, SOCK_STREAM, 0);

	if (fd < 0)
		fail("socket", fd);
	return (int)fd;
}

static int connect_to(unsigned int cid, unsigned int port)
{
	struct sockaddr_vm address = { .svm_family = AF_VSOCK, .svm_port = port, .svm_cid = cid };
	int fd = make_socket();
	long result = call(__NR_connect, fd, &address, sizeof(address));

	if (result < 0)
		fail("connect", result);
	return fd;
}

static long send_all(int fd, const char *bytes, long n)
{
	while (n > 0) {
		long done = call(__NR_sendto, fd, bytes, n, MSG_NOSIGNAL);

		if (done < 0)
			return done;
		bytes += done;
		n -= done;
	}
	return 0;
}

/* ---- listen ---- */

static char buffer[BUFFER_SIZE];

static __attribute__((noreturn)) void echo(int fd)
{
	long n;

	while ((n = call(__NR_recvfrom, fd, buffer, sizeof(buffer), 0)) > 0)
		if (send_all(fd, buffer, n) < 0)
			leave(1);
	leave(n < 0);
}

static __attribute__((noreturn)) void listen_on(unsigned int port)
{
	/* Ends of children are not waited for. */
	static const struct {
		unsigned long handler, flags, mask;
	} ignore = { .handler = 1 };
	struct sockaddr_vm address = { .svm_family = AF_VSOCK,
				       .svm_port = port,
				       .svm_cid = VMADDR_CID_ANY };
	int fd = make_socket();
	long result = call(__NR_bind, fd, &address, sizeof(address));

	if (result == 0)
		result = call(__NR_listen, fd, 128);
	if (result < 0)
		fail("listen", result);
	call(__NR_rt_sigaction, SIGCHLD, &ignore, 0, 8);
	print("vsock: listening\n");
	for (;;) {
		long client = call(__NR_accept4, fd, 0, 0, 0);

		if (client < 0)
			fail("accept", client);
		if (call(__NR_clone, SIGCHLD) == 0)
			echo((int)client);
		call(__NR_close, client);
	}
}

/* ---- connect ---- */

/* Bytes that differ by connection and place: xorshift. */
struct stream {
	uint64_t state;
};

static char next_byte(struct stream *stream)
{
	stream->state ^= stream->state << 13;
	stream->state ^= stream->state >> 7;
	stream->state ^= stream->state << 17;
	return (char)(stream->state >> 24);
}

static long refill(struct stream *stream, char *bytes, unsigned long left)
{
	long n = 4096;

	if (left < (unsigned long)n)
		n = (long)left;
	for (long i = 0; i < n; i++)
		bytes[i] = next_byte(stream);
	return n;
}

static void compare(struct stream *expected, const char *bytes, long n)
{
	for (long i = 0; i < n; i++)
		if (bytes[i] != next_byte(expected)) {
			print("vsock: other bytes came back\n");
			leave(1);
		}
}

static __attribute__((noreturn)) void converse(int fd, uint64_t seed, unsigned long size)
{
	static char out[4096];
	struct stream sent = { .state = seed };
	struct stream expected = sent;
	struct pollfd pollfd = { .fd = fd };
	unsigned long to_send = size;
	unsigned long to_come = size;
	long from = 0;
	long have = 0;
	long n;

	while (to_come > 0) {
		if (from == have && to_send > 0) {
			from = 0;
			have = refill(&sent, out, to_send);
		}
		pollfd.events = (short)(POLLIN | (to_send > 0 ? POLLOUT : 0));
		call(__NR_ppoll, &pollfd, 1, NULL, NULL, 0);
		if (to_send > 0 && pollfd.revents & POLLOUT) {
			n = call(__NR_sendto, fd, out + from, have - from,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
			if (n < 0 && n != -EAGAIN)
				fail("send", n);
			if (n > 0) {
				from += n;
				to_send -= (unsigned long)n;
				if (to_send == 0)
					call(__NR_shutdown, fd, SHUT_WR);
			}
		}
		n = call(__NR_recvfrom, fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		if (n == -EAGAIN)
			continue;
		if (n <= 0)
			fail("receive", n);
		compare(&expected, buffer, n);
		to_come -= (unsigned long)n;
	}
	n = call(__NR_recvfrom, fd, buffer, sizeof(buffer), 0);
	if (n != 0)
		fail("receive the end", n);
	leave(0);
}

static __attribute__((noreturn)) void connect_many(unsigned int cid, unsigned int port,
						   unsigned long count, unsigned long size)
{
	unsigned long n_bad = 0;

	for (unsigned long i = 0; i < count; i++)
		if (call(__NR_clone, SIGCHLD) == 0)
			converse(connect_to(cid, port), 88172645463325252u + i, size);
	for (unsigned long i = 0; i < count; i++) {
		int status = 1;

		call(__NR_wait4, -1, &status);
		n_bad += status != 0;
	}
	print("vsock: ");
	print_number(count - n_bad);
	print(" of ");
	print_number(count);
	print(" connections were right\n");
	leave(n_bad > 0);
}

static __attribute__((noreturn)) void wait_for_end(unsigned int cid, unsigned int port)
{
	int fd = connect_to(cid, port);
	long n;

	print("vsock: connected\n");
	do
		n = call(__NR_recvfrom, fd, buffer, sizeof(buffer), 0);
	while (n > 0);
	if (n < 0)
		fail("receive", n);
	print("vsock: end\n");
	leave(0);
}

static __attribute__((used, noreturn)) void start_of_program(char **stack)
{
	long argc = *(long *)(void *)stack;
	char **argv = stack + 1;

	if (argc == 3 && is_word(argv[1], "listen"))
		listen_on((unsigned int)number_of(argv[2]));
	if (argc == 6 && is_word(argv[1], "connect"))
		connect_many((unsigned int)number_of(argv[2]), (unsigned int)number_of(argv[3]),
			     number_of(argv[4]), number_of(argv[5]));
	if (argc == 4 && is_word(argv[1], "wait"))
		wait_for_end((unsigned int)number_of(argv[2]), (unsigned int)number_of(argv[3]));
	print("usage: vsock listen PORT | connect CID PORT N SIZE | wait CID PORT\n");
	leave(2);
}

__asm__(".globl _start\n"
	"_start:\n"
	"	mv a0, sp\n"
	"	call start_of_program\n");
