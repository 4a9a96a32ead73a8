/*
 * A request of a block device: from the driver's chain (virtio 1.2, 5.2.6) to what its disk is
 * asked for. This is the inside of blk.c, which begins requests and ends them.
 *
 * blk_request_parse() copies the header, and the ranges of DISCARD and WRITE_ZEROES, out of the
 * guest's memory once, judges them, and says what to answer. Or it is for the disk to say: then
 * `io` is what to ask it for. READ, WRITE and FLUSH are asked for at once. Ranges are work in
 * steps, which blk_request_next_step() puts into `io` one after the other.
 *
 * On the I/O thread, with the device's lock held.
 */
#pragma once

#include "util/bits.h"
#include "virtio/blk.h"

/* 5.2.3: features that allow a kind of request */
#define BLK_F_DISCARD      BIT(13)
#define BLK_F_WRITE_ZEROES BIT(14)

/* Of one range; the configuration tells. Zeros may have to be written, so those are fewer. */
enum {
	BLK_DISCARD_SECTORS_MAX = GIB / DISK_SECTOR,
	BLK_WRITE_ZEROES_SECTORS_MAX = 16 * MIB / DISK_SECTOR,
};

/** What a request is answered, 5.2.6; or that it is not yet. */
enum blk_verdict {
	BLK_OK = 0,
	BLK_IOERR = 1,
	BLK_UNSUPP = 2,
	BLK_FOR_DISK = UINT8_MAX,
};

struct blk_range {
	uint64_t sector;
	uint32_t n_sectors;
	uint32_t flags;
};
static_assert(sizeof(struct blk_range) == 16, "as the specification has it");

/**
 * A request in work. The chain's buffers become those of the data, in place. A large structure, but
 * only as many are ever touched as were in work at once.
 */
struct blk_request {
	struct disk_request io;
	struct blk *blk;
	uint16_t head;
	uint32_t written; /**< told to the driver: all up to the status, which stands last */
	uint8_t *status;
	uint64_t bytes;    /**< of READ and WRITE: to count them */
	uint64_t begin_us; /**< when it was begun */
	uint16_t n_ranges;
	uint16_t next_range;
	struct blk_range ranges[BLK_RANGES_MAX]; /**< used up on the way */
	struct blk_request *next_paused;
	struct virtq_chain chain;
};

/**
 * Set a request up from its chain, which was taken out of the queue.
 * \return false when it has no whole header, or no room for a status: it cannot be answered
 */
__attribute__((warn_unused_result)) bool blk_request_init(struct blk_request *req, struct blk *blk);

/** \return BLK_FOR_DISK with `io` filled, but for `done`; or the answer */
__attribute__((warn_unused_result)) enum blk_verdict blk_request_parse(struct blk_request *req);

/** Bytes that count for a limit of the rate: what is or may have to be moved. */
uint64_t blk_request_cost(const struct blk_request *req);

/** Is there another step to be made for its ranges? */
static inline bool blk_request_has_step(const struct blk_request *req)
{
	return req->next_range < req->n_ranges;
}

/**
 * Put the next step into `io`: a range, or a part of one.
 * \return what it counts of the bytes of a turn: a hole is cheaper than zeros
 */
uint64_t blk_request_next_step(struct blk_request *req);
