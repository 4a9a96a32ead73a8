/*
 * Reading and writing to the last byte, and opening files that users name.
 */
#pragma once

#include "util/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** Write all of \p len bytes, over short writes and signals. \return 0 or -errno */
__attribute__((warn_unused_result)) int write_all(int fd, const void *buf, size_t len);

/** Read \p len bytes at \p offset. \return bytes read (fewer only at the end), or -errno */
__attribute__((warn_unused_result)) ssize_t pread_all(int fd, void *buf, size_t len,
						      uint64_t offset);

/**
 * Open a regular file for reading. A directory, FIFO, socket or device is refused, and opening a
 * FIFO without a writer does not block.
 * \param size set to the file's size in bytes
 * \return an owned descriptor (close-on-exec), or a negative errno with a sentence that names it
 */
__attribute__((warn_unused_result)) int open_regular(const char *path, uint64_t *size,
						     struct err *err);

/**
 * Open a file, FIFO or character device to add lines to, without ever waiting for a reader: a FIFO
 * without one takes what its buffer holds, and keeps it for the next. A file is made if it is not
 * there, and added to if it is. What finds no room is refused by write(2) with EAGAIN; of more than
 * PIPE_BUF bytes a FIFO may take a part.
 * \return an owned descriptor (close-on-exec), or a negative errno with a sentence that names it
 */
__attribute__((warn_unused_result)) int open_sink(const char *path, struct err *err);
