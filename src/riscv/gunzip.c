#include "riscv/gunzip.h"

#include "util/bits.h"
#include "util/io.h"

#include <errno.h>

int gunzip_init(struct gunzip *gz, int fd)
{
	gz->z = (z_stream){ 0 };
	gz->fd = fd;
	gz->offset = 0;
	gz->ended = false;
	/* 16: gzip's header and trailer and no others. */
	return inflateInit2(&gz->z, 16 + MAX_WBITS) == Z_OK ? 0 : -ENOMEM;
}

void gunzip_deinit(struct gunzip *gz)
{
	inflateEnd(&gz->z);
}

/* Have something to inflate. \return 0, -ENODATA at the end of the file, -errno */
static int refill(struct gunzip *gz)
{
	ssize_t n;

	if (gz->z.avail_in > 0)
		return 0;
	n = pread_all(gz->fd, gz->in, sizeof(gz->in), gz->offset);
	if (n <= 0)
		return n == 0 ? -ENODATA : (int)n;
	gz->offset += (uint64_t)n;
	gz->z.next_in = gz->in;
	gz->z.avail_in = (uInt)n;
	return 0;
}

int gunzip_read(struct gunzip *gz, void *to, uint64_t len, uint64_t *got)
{
	*got = 0;
	while (!gz->ended && *got < len) {
		uInt chunk = (uInt)MIN(len - *got, GIB);
		int ret = refill(gz);

		if (ret != 0)
			return ret;
		gz->z.next_out = (Bytef *)to + *got;
		gz->z.avail_out = chunk;
		ret = inflate(&gz->z, Z_NO_FLUSH);
		*got += chunk - gz->z.avail_out;
		if (ret == Z_STREAM_END)
			gz->ended = true;
		else if (ret != Z_OK)
			return ret == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
	}
	return 0;
}

int gunzip_has_more(struct gunzip *gz)
{
	int ret = refill(gz);

	if (ret == 0)
		return 1;
	return ret == -ENODATA ? 0 : ret;
}
