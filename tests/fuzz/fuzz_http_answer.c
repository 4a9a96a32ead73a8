/*
 * What `televm ctl` is answered made of any bytes: the answer is read to its end or refused, with a
 * sentence, and never more than what was sent.
 */
#include "cli/http_client.h"
#include "util/assert.h"
#include "util/io.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SIZE_MAX_BYTES = 64 << 10 }; /* what a socket takes without a reader */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_answer answer = { 0 };
	struct err err = { 0 };
	int fds[2];
	int ret;

	if (size > SIZE_MAX_BYTES)
		return 0;
	ASSERT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	ASSERT(write_all(fds[0], data, size) == 0);
	close(fds[0]);
	ret = http_read_answer(fds[1], &answer, &err);
	ASSERT(ret == 0 || (ret < 0 && err.code == ret && err.text[0] != '\0'));
	ASSERT(ret != 0 || (answer.status >= 200 && answer.status <= 999 && answer.len <= size));
	ASSERT(answer.body == NULL || (ret == 0 && answer.body[answer.len] == '\0'));
	http_answer_deinit(&answer);
	close(fds[1]);
	return 0;
}
