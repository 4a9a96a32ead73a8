/*
 * A gzip file, inflated piece by piece to wherever the caller wants it.
 *
 * The file is the user's and may hold anything. No more is ever written than was asked for, and
 * the end of the stream only counts once its length and CRC were right.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <zlib.h>

struct gunzip {
	z_stream z;
	int fd;          /**< borrowed */
	uint64_t offset; /**< of what has been read from the file */
	bool ended;      /**< the stream is over, and was right */
	uint8_t in[16384];
};

/**
 * Begin at the start of a file.
 * \param fd borrowed until gunzip_deinit(); its file position is not used
 * \return 0 or -ENOMEM; after a failure there is nothing to deinit
 */
__attribute__((warn_unused_result)) int gunzip_init(struct gunzip *gz, int fd);

/**
 * Inflate the next \p len bytes to \p to.
 * \param got set in any case; without an error it is less than \p len only where the stream ends
 * \return 0; -EBADMSG for what is not gzip; -ENODATA when the file ends before the stream; -errno
 */
__attribute__((warn_unused_result)) int gunzip_read(struct gunzip *gz, void *to, uint64_t len,
						    uint64_t *got);

/**
 * Once the stream has ended: does anything follow it? Further streams would not be read.
 * \return 1 or 0; -errno when it cannot be read
 */
__attribute__((warn_unused_result)) int gunzip_has_more(struct gunzip *gz);

/** Free what gunzip_init() made. */
void gunzip_deinit(struct gunzip *gz);
