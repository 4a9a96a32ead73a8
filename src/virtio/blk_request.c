#include "virtio/blk_request.h"

/* What one request may move. Linux asks for 1.25 MiB. */
#define TRANSFER_MAX (32 * MIB)

/* A hole is made in steps of this size, and counts as less: no data is moved for it. */
#define DISCARD_STEP (64 * MIB)
enum { DISCARD_CHEAPER = 8 };

/* 5.2.6 */
enum {
	T_IN = 0,
	T_OUT = 1,
	T_FLUSH = 4,
	T_GET_ID = 8,
	T_DISCARD = 11,
	T_WRITE_ZEROES = 13,
};

struct header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};
static_assert(sizeof(struct header) == 16, "as the specification has it");

enum { RANGE_F_UNMAP = 1 };

bool blk_request_init(struct blk_request *req, struct blk *blk)
{
	const struct virtq_chain *chain = &req->chain;
	const struct iovec *last;

	if (chain->readable_bytes < sizeof(struct header) || chain->writable_bytes == 0)
		return false;
	/* The status is the last byte that the device may write; no buffer of a chain is empty. */
	last = &chain->iov[chain->n_readable + chain->n_writable - 1];
	req->io = (struct disk_request){ 0 };
	req->blk = blk;
	req->head = chain->head;
	req->written = chain->writable_bytes;
	req->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	req->n_ranges = 0;
	req->next_range = 0;
	return true;
}

static bool is_inside(const struct disk *disk, uint64_t sector, uint64_t n_sectors)
{
	uint64_t capacity = disk->size / DISK_SECTOR;

	return sector <= capacity && n_sectors <= capacity - sector;
}

/* ---- data ---- */

static enum blk_verdict parse_transfer(struct blk_request *req, uint64_t sector, uint64_t len)
{
	/* A chain may name the same memory many times: what it adds up to is no limit of its own.
	 */
	if (len % DISK_SECTOR != 0 || len > TRANSFER_MAX ||
	    !is_inside(req->blk->disk, sector, len / DISK_SECTOR))
		return BLK_IOERR;
	req->io.offset = sector * DISK_SECTOR;
	req->io.len = len;
	req->io.iov = req->chain.iov;
	return BLK_FOR_DISK;
}

static enum blk_verdict parse_in(struct blk_request *req, uint64_t sector)
{
	struct virtq_chain *chain = &req->chain;
	uint64_t len = chain->writable_bytes - 1;

	req->io.op = DISK_READ;
	req->io.n_iov =
		iov_slice(virtq_chain_writable(chain), chain->n_writable, 0, len, chain->iov);
	return parse_transfer(req, sector, len);
}

static enum blk_verdict parse_out(struct blk_request *req, uint64_t sector)
{
	struct virtq_chain *chain = &req->chain;
	uint64_t len = chain->readable_bytes - sizeof(struct header);

	if (req->blk->disk->is_read_only)
		return BLK_IOERR;
	req->io.op = DISK_WRITE;
	req->io.is_durable = req->blk->is_write_through;
	req->io.n_iov =
		iov_slice(chain->iov, chain->n_readable, sizeof(struct header), len, chain->iov);
	return parse_transfer(req, sector, len);
}

static enum blk_verdict parse_flush(struct blk_request *req)
{
	if (req->blk->cache == BLK_CACHE_UNSAFE)
		return BLK_UNSUPP;
	req->io.op = DISK_FLUSH;
	return BLK_FOR_DISK;
}

static enum blk_verdict answer_id(const struct blk_request *req)
{
	const char *serial = req->blk->serial;
	size_t len = MIN(sizeof(req->blk->serial), req->chain.writable_bytes - 1);

	virtq_chain_write(&req->chain, 0, serial, len);
	return BLK_OK;
}

/* ---- ranges ---- */

static enum blk_verdict judge_range(const struct blk_request *req, const struct blk_range *range)
{
	bool is_discard = req->io.op == DISK_DISCARD;
	uint32_t n_max = is_discard ? BLK_DISCARD_SECTORS_MAX : BLK_WRITE_ZEROES_SECTORS_MAX;

	if ((range->flags & ~(is_discard ? 0U : (uint32_t)RANGE_F_UNMAP)) != 0)
		return BLK_UNSUPP;
	if (range->n_sectors > n_max || !is_inside(req->blk->disk, range->sector, range->n_sectors))
		return BLK_IOERR;
	return BLK_FOR_DISK;
}

/* All ranges are copied and judged before the first is begun. */
static enum blk_verdict parse_ranges(struct blk_request *req, enum disk_op op)
{
	const struct blk *blk = req->blk;
	uint64_t len = req->chain.readable_bytes - sizeof(struct header);
	enum blk_verdict verdict = BLK_FOR_DISK;

	if (!virtio_dev_has(&blk->dev, op == DISK_DISCARD ? BLK_F_DISCARD : BLK_F_WRITE_ZEROES))
		return BLK_UNSUPP;
	if (blk->disk->is_read_only || len == 0 || len > sizeof(req->ranges) ||
	    len % sizeof(struct blk_range) != 0)
		return BLK_IOERR;
	virtq_chain_read(&req->chain, sizeof(struct header), req->ranges, len);
	req->n_ranges = (uint16_t)(len / sizeof(struct blk_range));
	req->io.op = op;
	req->io.is_durable = op == DISK_WRITE_ZEROES && blk->is_write_through;
	for (unsigned int i = 0; i < req->n_ranges && verdict == BLK_FOR_DISK; i++)
		verdict = judge_range(req, &req->ranges[i]);
	return verdict;
}

uint64_t blk_request_next_step(struct blk_request *req)
{
	struct blk_range *range = &req->ranges[req->next_range];
	bool is_discard = req->io.op == DISK_DISCARD;
	uint32_t n_sectors = range->n_sectors;

	if (is_discard)
		n_sectors = MIN(n_sectors, (uint32_t)(DISCARD_STEP / DISK_SECTOR));
	req->io.offset = range->sector * DISK_SECTOR;
	req->io.len = (uint64_t)n_sectors * DISK_SECTOR;
	req->io.may_unmap = (range->flags & RANGE_F_UNMAP) != 0;
	range->sector += n_sectors;
	range->n_sectors -= n_sectors;
	if (range->n_sectors == 0)
		req->next_range++;
	return req->io.len / (is_discard ? DISCARD_CHEAPER : 1);
}

/* ---- all kinds ---- */

enum blk_verdict blk_request_parse(struct blk_request *req)
{
	struct header header;

	virtq_chain_read(&req->chain, 0, &header, sizeof(header));
	switch (header.type) {
	case T_IN:
		return parse_in(req, header.sector);
	case T_OUT:
		return parse_out(req, header.sector);
	case T_FLUSH:
		return parse_flush(req);
	case T_GET_ID:
		return answer_id(req);
	case T_DISCARD:
		return parse_ranges(req, DISK_DISCARD);
	case T_WRITE_ZEROES:
		return parse_ranges(req, DISK_WRITE_ZEROES);
	default:
		return BLK_UNSUPP;
	}
}

uint64_t blk_request_cost(const struct blk_request *req)
{
	uint64_t n_sectors = 0;

	switch (req->io.op) {
	case DISK_READ:
	case DISK_WRITE:
		return req->io.len;
	case DISK_WRITE_ZEROES:
		for (unsigned int i = 0; i < req->n_ranges; i++)
			n_sectors += req->ranges[i].n_sectors;
		return n_sectors * DISK_SECTOR;
	case DISK_FLUSH:
	case DISK_DISCARD:
	default:
		return 0;
	}
}
