/*
 * A disk of the host: a raw file or a block device, and an engine that works on it.
 *
 * The bytes of the file are the bytes of the disk, for ever: nothing in them is looked at, so no
 * guest can make its disk look like an image format that names other files.
 *
 * A request (struct disk_request) is a few system calls in a row: a transfer that came short is
 * continued, zeros are written where the file system cannot make them, a durable write is followed
 * by fdatasync. disk.c decides which call is next; an engine makes it. The sync engine makes all of
 * them within disk_submit(). The io_uring engine hands them to the kernel, and disk_reap() takes
 * the results when the descriptor of disk_event_fd() is readable.
 *
 * A failed fdatasync may have thrown the data away, and the next one would not tell (Linux reports
 * an error once). So it stays failed: every later flush and durable write fails too, until the file
 * is replaced.
 *
 * The file is locked: one disk that writes, or many that read. The lock is advisory and belongs to
 * the open file, so it goes with a descriptor that is handed over from another process.
 *
 * Not locked against threads: the lock of the device covers its disk. Sizes and offsets were judged
 * by the device; the file's own behaviour is not trusted beyond being an error or not.
 */
#pragma once

#include "util/err.h"
#include "util/log.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
	DISK_SECTOR = 512,
	DISK_PENDING = 1, /**< not a result yet */
	/** how long one waits for a file that does not answer */
	DISK_PATIENCE_MS = 2000,
};

enum disk_engine { DISK_ENGINE_SYNC, DISK_ENGINE_IO_URING };

enum disk_op { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_DISCARD, DISK_WRITE_ZEROES };

/** A system call of a request: between disk.c and the engines. */
enum disk_call {
	DISK_CALL_READ,
	DISK_CALL_WRITE,
	DISK_CALL_SYNC,
	DISK_CALL_FALLOCATE, /**< punch a hole, or zero a range */
	DISK_CALL_DISCARD,   /**< of a block device */
};

struct disk_request {
	/* Set by who submits it, who keeps it, and what `iov` points to, until it is done. */
	enum disk_op op;
	bool is_durable; /**< of what writes: done when it is on stable storage */
	bool may_unmap;  /**< WRITE_ZEROES may give the blocks back */
	uint64_t offset; /**< bytes; the request moves it on */
	uint64_t len;
	struct iovec *iov; /**< of READ and WRITE: `len` bytes in all; used up on the way */
	unsigned int n_iov;
	void (*done)(struct disk_request *req,
		     int result); /**< if pending: 0 or a negative errno */

	/* The call that is next or being made. */
	enum disk_call call;
	int mode;                  /**< of fallocate */
	struct iovec zero_iov;     /**< what is written where the file system cannot zero */
	struct disk_request *next; /**< the engine's */
};

struct disk;

/** As the functions below. */
struct disk_ops {
	unsigned int depth; /**< how many requests it works on at once */
	int (*init)(struct disk *disk, struct err *err);
	/** Make the request's calls. \return its result, or DISK_PENDING */
	int (*start)(struct disk *disk, struct disk_request *req);
	/* What is NULL is not needed. */
	bool (*commit)(struct disk *disk);
	void (*reap)(struct disk *disk);
	void (*cancel)(struct disk *disk);
	bool (*drain)(struct disk *disk, unsigned int timeout_ms);
	/** Work on \p fd from now on; nothing is in flight. */
	int (*set_fd)(struct disk *disk, int fd, struct err *err);
	void (*deinit)(struct disk *disk);
};

struct disk_uring;

struct disk {
	const struct disk_ops *ops;
	struct disk_uring *uring;
	int fd;
	char *path; /**< names it in messages; owned */
	bool is_read_only;
	bool is_block_device;
	uint64_t size;       /**< bytes, a multiple of DISK_SECTOR */
	uint32_t block_size; /**< the smallest unit that the host reads and writes as one */
	char id[21];         /**< made from device and inode: the same file has the same */

	/* What the file is found able to do. */
	bool can_discard;
	bool can_punch;
	bool can_zero;

	int sync_error; /**< of the fdatasync that failed; 0 while none has */
	void *zeros;    /**< a mapping that is never written, so it costs no memory */
	struct log_limit log_limit;
};

/**
 * Open a file for a disk. Whether it is fit for one is judged by disk_init_take_fd().
 * \return an owned descriptor, or a negative errno with a sentence
 */
__attribute__((warn_unused_result)) int disk_open_file(const char *path, bool is_read_only,
						       struct err *err);

/**
 * A disk on an open file: check what it is, lock it, set the engine up.
 * \param disk zeroed storage
 * \param fd taken over, in any case; opened for writing unless \p is_read_only
 * \param path names the file in messages; copied
 */
__attribute__((warn_unused_result)) int disk_init_take_fd(struct disk *disk, int fd,
							  const char *path, bool is_read_only,
							  enum disk_engine engine, struct err *err);

/** disk_open_file() and disk_init_take_fd(). */
__attribute__((warn_unused_result)) int disk_open(struct disk *disk, const char *path,
						  bool is_read_only, enum disk_engine engine,
						  struct err *err);

/**
 * disk_open() for what is to take the place of a disk. It may be the same file: then it is locked
 * at every moment, by the one or the other. When it fails, \p old has its lock as before.
 * \param old to be closed after a success; NULL: there is none
 */
__attribute__((warn_unused_result)) int disk_open_in_place_of(struct disk *disk,
							      const struct disk *old,
							      const char *path, bool is_read_only,
							      enum disk_engine engine,
							      struct err *err);

/**
 * Go on with another file, or the same one opened again, which is locked at every moment. When it
 * fails, the disk is as before.
 * \param fd taken over, in any case; opened as the first one was
 * \return 0; -EBUSY when something is pending, or the file is locked; -EINVAL: it is fit for no
 * disk
 */
__attribute__((warn_unused_result)) int disk_set_file_take_fd(struct disk *disk, int fd,
							      const char *path, struct err *err);

/** Nothing is pending, or disk_drain() was in vain. Legal on a zeroed object, and twice. */
void disk_close(struct disk *disk);

/** How many requests may be pending at once. */
static inline unsigned int disk_depth(const struct disk *disk)
{
	return disk->ops->depth;
}

/** Readable when disk_reap() has something to do; -1: nothing is ever pending. Borrowed. */
int disk_event_fd(const struct disk *disk);

/**
 * Begin a request, at most disk_depth() of them at a time.
 * \return 0 or a negative errno: it is done, and `done` is not called. DISK_PENDING: `done` will be
 * called, by disk_reap() or disk_drain()
 */
__attribute__((warn_unused_result)) int disk_submit(struct disk *disk, struct disk_request *req);

/**
 * After a batch of disk_submit(), and after disk_reap(): have the kernel see what is to be made.
 * \return false when it has no memory just now: call it again after a pause
 */
__attribute__((warn_unused_result)) bool disk_commit(struct disk *disk);

/** Call `done` of what has finished, without waiting. */
void disk_reap(struct disk *disk);

/**
 * Give up what is pending, without waiting: calls that have not begun are not made, nor is another
 * one of any request. `done` is called of each as ever, with -ECANCELED if it did not come to its
 * end. The descriptor of disk_event_fd() becomes readable, so that disk_commit() is called.
 */
void disk_cancel(struct disk *disk);

/**
 * Wait until nothing is pending, nor a call of disk_cancel(); calls `done`.
 * \param timeout_ms 0: do not wait
 * \return false when something is, and for so long nothing has finished
 */
__attribute__((warn_unused_result)) bool disk_drain(struct disk *disk, unsigned int timeout_ms);

/* ---- for engines ---- */

extern const struct disk_ops disk_sync_ops;
extern const struct disk_ops disk_uring_ops;

/** Make the request's next call here and now. \return its result, a negative errno if it failed */
int64_t disk_make_call(const struct disk *disk, const struct disk_request *req);

/**
 * Take in what a call has given.
 * \return the request's result, or DISK_PENDING: there is another call to be made
 */
__attribute__((warn_unused_result)) int disk_call_done(struct disk *disk, struct disk_request *req,
						       int64_t result);
