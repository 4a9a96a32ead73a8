/*
 * A block device (virtio 1.2, section 5.2) on a disk of the host.
 *
 * The driver's request is a header (type, sector), data, and a byte for the status, which is the
 * last that the device may write. The header is copied and judged; data goes between the file and
 * the guest's memory with no copy in between. How many requests are worked on at once is up to the
 * disk's engine: the others wait in the queue, in the guest's memory.
 *
 * Cache. With BLK_CACHE_WRITEBACK the device offers FLUSH, and what was flushed is on stable
 * storage; with a driver that does not use FLUSH, or has turned the cache off, each write is synced
 * before it is done. With BLK_CACHE_UNSAFE nothing is ever synced and nothing said about it.
 *
 * The I/O thread does the work, and goes on to other devices after a while: a request of many
 * ranges is done over several turns of the loop. A reset, on a vCPU thread, has the disk give up
 * what is in flight, and is complete when the last of it is over.
 *
 * blk_request.[ch] judge requests; the queue, the disk and the device's life are here.
 */
#pragma once

#include "backend/disk.h"
#include "backend/rate_limiter.h"
#include "virtio/device.h"

enum blk_cache { BLK_CACHE_UNSAFE, BLK_CACHE_WRITEBACK };

enum {
	BLK_SERIAL_MAX = 20, /**< 5.2.6, GET_ID */
	/** ranges of one DISCARD or WRITE_ZEROES */
	BLK_RANGES_MAX = 16,
};

struct blk_config {
	const char *id; /**< names it in messages; borrowed */
	enum blk_cache cache;
	const char *serial; /**< at most BLK_SERIAL_MAX bytes; NULL: made from the file */
	struct rate_limiter_config limits;
};

struct blk_request;

struct blk {
	struct virtio_dev dev;
	struct disk *disk;
	enum blk_cache cache;
	bool is_write_through; /**< each write is synced before it is done */
	bool has_own_serial;
	char serial[BLK_SERIAL_MAX];
	struct rate_limiter limiter;
	struct event *reap_event; /**< NULL where nothing is ever pending */
	struct blk_request *requests;
	uint8_t *free_requests; /**< a stack of indices: the latest used is used again */
	unsigned int n_free;
	struct blk_request *paused;   /**< those to be gone on with in the next turn */
	struct event *retry_event;    /**< for a kernel that had no memory */
	uint64_t turn_bytes;          /**< asked for in this turn of the loop */
	bool is_starved;              /**< it stopped looking at the queue when none was free */
	struct metrics_block metrics; /**< for metrics_add_block() */
};

/**
 * \param blk zeroed storage
 * \param disk borrowed: open, and to be closed after blk_deinit()
 * \param base the loop; virtio_dev_start() is the caller's to call
 */
__attribute__((warn_unused_result)) int blk_init(struct blk *blk, const struct blk_config *config,
						 struct disk *disk, const struct guest_mem *mem,
						 const struct irq_line *irq,
						 struct event_base *base, struct err *err);

/**
 * On the I/O thread, after the vCPUs have ended. Gives up what is in flight. Legal on a zeroed
 * object, and twice.
 * \return false: the disk does not answer, and the kernel may yet read and write what requests
 * named. That is left behind, as guest memory must be
 */
bool blk_deinit(struct blk *blk);

/* While the guest runs; on the I/O thread, without the lock. */

/**
 * Put another file in the disk's place, or the same one again, which may have another size now, and
 * tell the driver; and set other limits, with full buckets. All of it, or where it fails nothing.
 * Waits for what is in flight, but no longer than DISK_PATIENCE_MS for a disk that does not answer.
 * \param path NULL: the file stays
 * \param limits NULL: they stay
 * \return 0; -EBUSY when the disk does not answer; as disk_open_file(), disk_set_file_take_fd() and
 * rate_limiter_prepare()
 */
__attribute__((warn_unused_result)) int blk_update(struct blk *blk, const char *path,
						   const struct rate_limiter_change *limits,
						   struct err *err);
