#include "virtio/blk.h"

#include "util/bits.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { QUEUE = 0, QUEUE_SIZE = 256, DEVICE_ID = 2 };

/* What one request may move, and what is begun in one turn of the loop. Linux asks for 1.25 MiB. */
#define TRANSFER_MAX (32 * MIB)
#define TURN_BYTES   (16 * MIB)

/* A hole is made in steps of this size, and counts as less: no data is moved for it. */
#define DISCARD_STEP (64 * MIB)
enum { DISCARD_CHEAPER = 8 };

/* Until the kernel may have memory again. */
static const struct timeval retry_pause = { .tv_usec = 10000 };

/* 5.2.3 */
#define F_SEG_MAX      BIT(2)
#define F_RO           BIT(5)
#define F_BLK_SIZE     BIT(6)
#define F_FLUSH        BIT(9)
#define F_CONFIG_WCE   BIT(11)
#define F_DISCARD      BIT(13)
#define F_WRITE_ZEROES BIT(14)

/* 5.2.6 */
enum {
	T_IN = 0,
	T_OUT = 1,
	T_FLUSH = 4,
	T_GET_ID = 8,
	T_DISCARD = 11,
	T_WRITE_ZEROES = 13,
};

enum status { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };

struct header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};
static_assert(sizeof(struct header) == 16, "as the specification has it");

struct range {
	uint64_t sector;
	uint32_t n_sectors;
	uint32_t flags;
};
static_assert(sizeof(struct range) == 16, "as the specification has it");

enum { RANGE_F_UNMAP = 1 };

/* 5.2.4; up to what we use of it */
struct config {
	uint64_t capacity; /* sectors */
	uint32_t size_max;
	uint32_t seg_max;
	uint8_t geometry[4];
	uint32_t blk_size;
	uint8_t topology[8];
	uint8_t writeback;
	uint8_t unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors;
	uint32_t max_discard_seg;
	uint32_t discard_sector_alignment;
	uint32_t max_write_zeroes_sectors;
	uint32_t max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap;
	uint8_t unused1[3];
};
static_assert(sizeof(struct config) == 64, "with padding at its end");
static_assert(offsetof(struct config, write_zeroes_may_unmap) == 56, "as the specification has it");
static_assert(sizeof(struct config) <= VIRTIO_CONFIG_MAX, "fits");

enum {
	CONFIG_SIZE = 60,
	/* Of one range. Zeros may have to be written, so those are fewer. */
	DISCARD_SECTORS_MAX = GIB / DISK_SECTOR,
	WRITE_ZEROES_SECTORS_MAX = 16 * MIB / DISK_SECTOR,
	DISCARD_ALIGNMENT = 4096 / DISK_SECTOR, /* what file systems can make a hole of */
};

/*
 * A request in work. The chain's buffers become those of the data, in place. A large structure, but
 * only as many are ever touched as were in work at once.
 */
struct blk_request {
	struct disk_request io;
	struct blk *blk;
	uint16_t head;
	uint32_t written; /* told to the driver: all up to the status, which stands last */
	uint8_t *status;
	uint64_t bytes;    /* of READ and WRITE: to count them */
	uint64_t begin_us; /* when it was begun */
	uint16_t n_ranges;
	uint16_t next_range;
	struct range ranges[BLK_RANGES_MAX]; /* used up on the way */
	struct blk_request *next_paused;
	struct virtq_chain chain;
};

/* ---- the end of a request ---- */

static struct blk_request *get_request(struct blk *blk)
{
	return &blk->requests[blk->free_requests[--blk->n_free]];
}

static void put_request(struct blk *blk, const struct blk_request *req)
{
	blk->free_requests[blk->n_free++] = (uint8_t)(req - blk->requests);
}

static void count_done(struct metrics_block *counts, const struct blk_request *req)
{
	switch (req->io.op) {
	case DISK_READ:
		metrics_inc(&counts->read_count);
		metrics_add(&counts->read_bytes, req->bytes);
		metrics_add_time(&counts->read_agg, req->begin_us);
		break;
	case DISK_WRITE:
		metrics_inc(&counts->write_count);
		metrics_add(&counts->write_bytes, req->bytes);
		metrics_add_time(&counts->write_agg, req->begin_us);
		break;
	case DISK_FLUSH:
		metrics_inc(&counts->flush_count);
		break;
	case DISK_DISCARD:
	case DISK_WRITE_ZEROES:
		break;
	}
}

/* A device that was broken meanwhile does not touch its queue any more. */
static void finish(struct blk *blk, const struct blk_request *req, enum status status)
{
	if (virtio_dev_is_active(&blk->dev)) {
		*(volatile uint8_t *)req->status = (uint8_t)status;
		virtq_push(&blk->dev.queues[QUEUE], req->head, req->written);
	}
	put_request(blk, req);
}

/* A step of a range, or all of it. */
static int submit_next_step(struct blk_request *req)
{
	struct range *range = &req->ranges[req->next_range];
	bool is_discard = req->io.op == DISK_DISCARD;
	uint32_t n_sectors = range->n_sectors;

	if (is_discard)
		n_sectors = MIN(n_sectors, (uint32_t)(DISCARD_STEP / DISK_SECTOR));
	req->io.offset = range->sector * DISK_SECTOR;
	req->io.len = (uint64_t)n_sectors * DISK_SECTOR;
	req->io.may_unmap = (range->flags & RANGE_F_UNMAP) != 0;
	req->blk->turn_bytes += req->io.len / (is_discard ? DISCARD_CHEAPER : 1);
	range->sector += n_sectors;
	range->n_sectors -= n_sectors;
	if (range->n_sectors == 0)
		req->next_range++;
	return disk_submit(req->blk->disk, &req->io);
}

static void pause_request(struct blk *blk, struct blk_request *req)
{
	req->next_paused = blk->paused;
	blk->paused = req;
}

static void count_result(struct metrics_block *counts, const struct blk_request *req, int result)
{
	if (result == 0)
		count_done(counts, req);
	else
		metrics_inc(&counts->execute_fails);
}

/* Go on with what the disk has said of the part before. */
static void go_on(struct blk_request *req, int result)
{
	struct blk *blk = req->blk;

	while (result == 0 && req->next_range < req->n_ranges && virtio_dev_is_active(&blk->dev)) {
		if (blk->turn_bytes >= TURN_BYTES) {
			pause_request(blk, req);
			return;
		}
		result = submit_next_step(req);
	}
	if (result == DISK_PENDING)
		return;
	/* What was given up is neither done nor failed. */
	if (virtio_dev_is_active(&blk->dev))
		count_result(&blk->metrics, req, result);
	finish(blk, req, result == 0 ? S_OK : S_IOERR);
}

static struct blk_request *take_paused(struct blk *blk)
{
	struct blk_request *req = blk->paused;

	if (req != NULL)
		blk->paused = req->next_paused;
	return req;
}

/* In a new turn. */
static void go_on_with_paused(struct blk *blk)
{
	while (blk->paused != NULL && blk->turn_bytes < TURN_BYTES)
		go_on(take_paused(blk), 0);
}

static void on_done(struct disk_request *io, int result)
{
	go_on(container_of(io, struct blk_request, io), result);
}

/* ---- the kinds of requests ---- */

/* What a request turned out to be. */
enum verdict {
	ANSWER_OK = S_OK,
	ANSWER_IOERR = S_IOERR,
	ANSWER_UNSUPP = S_UNSUPP,
	FOR_DISK = UINT8_MAX,
};

static bool is_inside(const struct blk *blk, uint64_t sector, uint64_t n_sectors)
{
	uint64_t capacity = blk->disk->size / DISK_SECTOR;

	return sector <= capacity && n_sectors <= capacity - sector;
}

/* 5.2.6.2: without FLUSH the driver takes what is written for stable. */
static bool is_write_through(const struct blk *blk)
{
	if (blk->cache == BLK_CACHE_UNSAFE)
		return false;
	if (!virtio_dev_has(&blk->dev, F_FLUSH))
		return true;
	return virtio_dev_has(&blk->dev, F_CONFIG_WCE) &&
	       blk->dev.config[offsetof(struct config, writeback)] == 0;
}

static enum verdict parse_transfer(const struct blk *blk, struct blk_request *req, uint64_t sector,
				   uint64_t len)
{
	/* A chain may name the same memory many times: what it adds up to is no limit of its own.
	 */
	if (len % DISK_SECTOR != 0 || len > TRANSFER_MAX ||
	    !is_inside(blk, sector, len / DISK_SECTOR))
		return ANSWER_IOERR;
	req->io.offset = sector * DISK_SECTOR;
	req->io.len = len;
	req->io.iov = req->chain.iov;
	return FOR_DISK;
}

static enum verdict parse_in(const struct blk *blk, struct blk_request *req, uint64_t sector)
{
	struct virtq_chain *chain = &req->chain;
	uint64_t len = chain->writable_bytes - 1;

	req->io.op = DISK_READ;
	req->io.n_iov =
		iov_slice(virtq_chain_writable(chain), chain->n_writable, 0, len, chain->iov);
	return parse_transfer(blk, req, sector, len);
}

static enum verdict parse_out(const struct blk *blk, struct blk_request *req, uint64_t sector)
{
	struct virtq_chain *chain = &req->chain;
	uint64_t len = chain->readable_bytes - sizeof(struct header);

	if (blk->disk->is_read_only)
		return ANSWER_IOERR;
	req->io.op = DISK_WRITE;
	req->io.is_durable = is_write_through(blk);
	req->io.n_iov =
		iov_slice(chain->iov, chain->n_readable, sizeof(struct header), len, chain->iov);
	return parse_transfer(blk, req, sector, len);
}

static enum verdict parse_flush(const struct blk *blk, struct blk_request *req)
{
	if (blk->cache == BLK_CACHE_UNSAFE)
		return ANSWER_UNSUPP;
	req->io.op = DISK_FLUSH;
	return FOR_DISK;
}

static enum verdict answer_id(const struct blk *blk, const struct blk_request *req)
{
	size_t len = MIN(sizeof(blk->serial), req->chain.writable_bytes - 1);

	virtq_chain_write(&req->chain, 0, blk->serial, len);
	return ANSWER_OK;
}

static enum verdict judge_range(const struct blk *blk, const struct blk_request *req,
				const struct range *range)
{
	bool is_discard = req->io.op == DISK_DISCARD;
	uint32_t n_max = is_discard ? DISCARD_SECTORS_MAX : WRITE_ZEROES_SECTORS_MAX;

	if ((range->flags & ~(is_discard ? 0U : (uint32_t)RANGE_F_UNMAP)) != 0)
		return ANSWER_UNSUPP;
	if (range->n_sectors > n_max || !is_inside(blk, range->sector, range->n_sectors))
		return ANSWER_IOERR;
	return FOR_DISK;
}

/* All ranges are copied and judged before the first is begun. */
static enum verdict parse_ranges(const struct blk *blk, struct blk_request *req, enum disk_op op)
{
	uint64_t len = req->chain.readable_bytes - sizeof(struct header);
	enum verdict verdict = FOR_DISK;

	if (!virtio_dev_has(&blk->dev, op == DISK_DISCARD ? F_DISCARD : F_WRITE_ZEROES))
		return ANSWER_UNSUPP;
	if (blk->disk->is_read_only || len == 0 || len > sizeof(req->ranges) ||
	    len % sizeof(struct range) != 0)
		return ANSWER_IOERR;
	virtq_chain_read(&req->chain, sizeof(struct header), req->ranges, len);
	req->n_ranges = (uint16_t)(len / sizeof(struct range));
	req->io.op = op;
	req->io.is_durable = op == DISK_WRITE_ZEROES && is_write_through(blk);
	for (unsigned int i = 0; i < req->n_ranges && verdict == FOR_DISK; i++)
		verdict = judge_range(blk, req, &req->ranges[i]);
	return verdict;
}

static enum verdict parse(const struct blk *blk, struct blk_request *req)
{
	struct header header;

	virtq_chain_read(&req->chain, 0, &header, sizeof(header));
	switch (header.type) {
	case T_IN:
		return parse_in(blk, req, header.sector);
	case T_OUT:
		return parse_out(blk, req, header.sector);
	case T_FLUSH:
		return parse_flush(blk, req);
	case T_GET_ID:
		return answer_id(blk, req);
	case T_DISCARD:
		return parse_ranges(blk, req, DISK_DISCARD);
	case T_WRITE_ZEROES:
		return parse_ranges(blk, req, DISK_WRITE_ZEROES);
	default:
		return ANSWER_UNSUPP;
	}
}

/* ---- taking requests out of the queue ---- */

/* Bytes that count for the limit: what is or may have to be moved. */
static uint64_t cost(const struct blk_request *req)
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

/* The status is the last byte that the device may write; no buffer of a chain is empty. */
static void set_up_request(struct blk *blk, struct blk_request *req)
{
	const struct virtq_chain *chain = &req->chain;
	const struct iovec *last = &chain->iov[chain->n_readable + chain->n_writable - 1];

	req->io = (struct disk_request){ .done = on_done };
	req->blk = blk;
	req->head = chain->head;
	req->written = chain->writable_bytes;
	req->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	req->n_ranges = 0;
	req->next_range = 0;
}

/* \return false when it has to wait for the rate limiter: it is in the queue again */
static bool start_request(struct blk *blk, struct blk_request *req)
{
	enum verdict verdict;

	set_up_request(blk, req);
	verdict = parse(blk, req);
	if (verdict != FOR_DISK) {
		if (verdict != ANSWER_OK)
			metrics_inc(&blk->metrics.invalid_reqs_count);
		finish(blk, req, (enum status)verdict);
		return true;
	}
	if (!rate_limiter_take(&blk->limiter, cost(req))) {
		metrics_inc(&blk->metrics.rate_limiter_throttled_events);
		virtq_unpop(&blk->dev.queues[QUEUE], req->head);
		put_request(blk, req);
		return false;
	}
	req->bytes = req->io.len;
	req->begin_us = metrics_now_us();
	if (req->n_ranges > 0) {
		go_on(req, 0);
	} else {
		blk->turn_bytes += req->io.len;
		go_on(req, disk_submit(blk->disk, &req->io));
	}
	return true;
}

/* \return false when there is nothing to take now */
static bool take_request(struct blk *blk)
{
	struct blk_request *req;

	if (rate_limiter_is_waiting(&blk->limiter))
		return false;
	blk->is_starved = blk->n_free == 0;
	if (blk->is_starved) {
		metrics_inc(&blk->metrics.io_engine_throttled_events);
		return false;
	}
	req = get_request(blk);
	if (!virtio_dev_pop(&blk->dev, QUEUE, &req->chain)) {
		put_request(blk, req);
		return false;
	}
	if (req->chain.readable_bytes >= sizeof(struct header) && req->chain.writable_bytes > 0)
		return start_request(blk, req);
	virtio_dev_break(&blk->dev, "its driver made a request without a header or a status");
	put_request(blk, req);
	return false;
}

/* On the I/O thread. */
static void commit(struct blk *blk)
{
	if (!disk_commit(blk->disk))
		event_add(blk->retry_event, &retry_pause);
}

/* \param n_taken requests of this turn */
static void count_turn(struct blk *blk, unsigned int n_taken)
{
	struct metrics_block *counts = &blk->metrics;
	uint16_t n_left = virtq_n_waiting(&blk->dev.queues[QUEUE]);

	metrics_inc(&counts->queue_event_count);
	metrics_add(&counts->remaining_reqs_count, n_left);
	if (n_taken == 0 && n_left == 0)
		metrics_inc(&counts->no_avail_buffer);
}

static bool process(struct virtio_dev *dev, unsigned int queue)
{
	struct blk *blk = container_of(dev, struct blk, dev);
	unsigned int n = 0;

	blk->turn_bytes = 0;
	go_on_with_paused(blk);
	while (n < VIRTIO_BUDGET && blk->turn_bytes < TURN_BYTES && take_request(blk))
		n++;
	commit(blk);
	virtio_dev_signal(dev, queue);
	count_turn(blk, n);
	return n == VIRTIO_BUDGET || blk->turn_bytes >= TURN_BYTES;
}

/* What the disk has finished is the driver's, or was what a reset waited for. */
static void reap(struct blk *blk)
{
	pthread_mutex_lock(&blk->dev.lock);
	disk_reap(blk->disk);
	(void)virtio_dev_end_reset(&blk->dev);
	commit(blk);
	if (virtio_dev_is_active(&blk->dev)) {
		virtio_dev_signal(&blk->dev, QUEUE);
		if (blk->is_starved || blk->paused != NULL)
			virtio_dev_kick(&blk->dev, QUEUE);
	}
	pthread_mutex_unlock(&blk->dev.lock);
}

static void on_reap(evutil_socket_t fd, short what, void *ctx)
{
	uint64_t n_times;

	(void)what;
	if (read(fd, &n_times, sizeof(n_times)) == sizeof(n_times))
		reap(ctx);
}

static void on_retry(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	reap(ctx);
}

static void on_limiter_ready(void *ctx)
{
	struct blk *blk = ctx;

	metrics_inc(&blk->metrics.rate_limiter_event_count);
	virtio_dev_kick(&blk->dev, QUEUE);
}

/* ---- configuration ---- */

static void store_config(struct blk *blk)
{
	const struct disk *disk = blk->disk;
	struct config config = {
		.capacity = disk->size / DISK_SECTOR,
		.seg_max = VIRTQ_CHAIN_MAX - 2, /* the header and the status */
		.blk_size = disk->block_size,
		.writeback = blk->dev.config[offsetof(struct config, writeback)],
	};

	if ((blk->dev.offered & F_DISCARD) != 0) {
		config.max_discard_sectors = DISCARD_SECTORS_MAX;
		config.max_discard_seg = BLK_RANGES_MAX;
		config.discard_sector_alignment = DISCARD_ALIGNMENT;
	}
	if ((blk->dev.offered & F_WRITE_ZEROES) != 0) {
		config.max_write_zeroes_sectors = WRITE_ZEROES_SECTORS_MAX;
		config.max_write_zeroes_seg = BLK_RANGES_MAX;
		config.write_zeroes_may_unmap = disk->can_punch;
	}
	memcpy(blk->dev.config, &config, CONFIG_SIZE);
	blk->dev.config_size = CONFIG_SIZE;
}

static void set_writeback(struct blk *blk, bool is_on)
{
	blk->dev.config[offsetof(struct config, writeback)] = is_on;
}

static void write_config(struct virtio_dev *dev, unsigned int offset, const uint8_t *bytes,
			 unsigned int len)
{
	/* 5.2.5.1 and 5.2.5.2: the one field that may be written, by a driver that can flush. */
	if (offset == offsetof(struct config, writeback) && len == 1 &&
	    virtio_dev_has(dev, F_CONFIG_WCE) && virtio_dev_has(dev, F_FLUSH))
		set_writeback(container_of(dev, struct blk, dev), bytes[0] != 0);
}

static void negotiated(struct virtio_dev *dev)
{
	/* 5.2.5.2: a driver that cannot flush gets no cache. */
	if (!virtio_dev_has(dev, F_FLUSH))
		set_writeback(container_of(dev, struct blk, dev), false);
}

/* Nothing of what is in flight is looked for any more. */
static void give_up(struct blk *blk)
{
	struct blk_request *req;

	while ((req = take_paused(blk)) != NULL)
		put_request(blk, req);
	disk_cancel(blk->disk);
}

static void reset(struct virtio_dev *dev)
{
	struct blk *blk = container_of(dev, struct blk, dev);

	give_up(blk);
	blk->is_starved = false;
	set_writeback(blk, blk->cache == BLK_CACHE_WRITEBACK);
}

static bool is_idle(struct virtio_dev *dev)
{
	struct blk *blk = container_of(dev, struct blk, dev);

	disk_reap(blk->disk);
	return blk->n_free == disk_depth(blk->disk) && disk_drain(blk->disk, 0);
}

static const struct virtio_dev_class blk_class = {
	.name = "blk",
	.device_id = DEVICE_ID,
	.features = F_SEG_MAX | F_BLK_SIZE,
	.n_queues = 1,
	.queue_size = QUEUE_SIZE,
	.process = process,
	.negotiated = negotiated,
	.reset = reset,
	.is_idle = is_idle,
	.write_config = write_config,
};

/* ---- from birth to death ---- */

static void offer_features(struct blk *blk)
{
	const struct disk *disk = blk->disk;

	if (blk->cache == BLK_CACHE_WRITEBACK)
		blk->dev.offered |= F_FLUSH | F_CONFIG_WCE;
	if (disk->is_read_only)
		blk->dev.offered |= F_RO;
	else
		blk->dev.offered |= F_WRITE_ZEROES | (disk->can_discard ? F_DISCARD : 0);
}

static int set_serial(struct blk *blk, const char *serial, struct err *err)
{
	size_t len;

	blk->has_own_serial = serial != NULL;
	if (serial == NULL)
		serial = blk->disk->id;
	len = strlen(serial);
	if (blk->has_own_serial && len > sizeof(blk->serial))
		return err_set(err, -EINVAL, "blk '%s': the serial '%s' is longer than %zu bytes",
			       blk->dev.id, serial, sizeof(blk->serial));
	memset(blk->serial, 0, sizeof(blk->serial));
	memcpy(blk->serial, serial, MIN(len, sizeof(blk->serial)));
	return 0;
}

static size_t requests_bytes(const struct blk *blk)
{
	return disk_depth(blk->disk) * sizeof(*blk->requests);
}

static int alloc_requests(struct blk *blk, struct err *err)
{
	unsigned int n = disk_depth(blk->disk);

	/* Not from the heap, which may clear them: none takes memory before it is used. */
	void *requests = mmap(NULL, requests_bytes(blk), PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	blk->requests = requests == MAP_FAILED ? NULL : requests;
	blk->free_requests = calloc(n, sizeof(*blk->free_requests));
	if (blk->requests == NULL || blk->free_requests == NULL)
		return err_set(err, -ENOMEM, "blk '%s': no memory for its requests", blk->dev.id);
	for (unsigned int i = 0; i < n; i++)
		blk->free_requests[i] = (uint8_t)(n - 1 - i);
	blk->n_free = n;
	return 0;
}

static int watch_disk(struct blk *blk, struct event_base *base, struct err *err)
{
	int fd = disk_event_fd(blk->disk);

	if (fd < 0)
		return 0;
	blk->reap_event = event_new(base, fd, EV_READ | EV_PERSIST, on_reap, blk);
	blk->retry_event = event_new(base, -1, 0, on_retry, blk);
	if (blk->reap_event == NULL || blk->retry_event == NULL ||
	    event_add(blk->reap_event, NULL) != 0)
		return err_set(err, -ENOMEM, "blk '%s': no memory for the event loop", blk->dev.id);
	return 0;
}

int blk_init(struct blk *blk, const struct blk_config *config, struct disk *disk,
	     const struct guest_mem *mem, const struct irq_line *irq, struct event_base *base,
	     struct err *err)
{
	int result;

	*blk = (struct blk){ .disk = disk, .cache = config->cache };
	result = virtio_dev_init(&blk->dev, &blk_class, config->id, mem, irq, err);
	blk->dev.fails = (struct virtio_fails){ .activate = &blk->metrics.activate_fails,
						.event = &blk->metrics.event_fails,
						.config = &blk->metrics.cfg_fails };
	if (result == 0)
		result = set_serial(blk, config->serial, err);
	if (result == 0)
		result = alloc_requests(blk, err);
	if (result == 0)
		result = rate_limiter_init(&blk->limiter, &config->limits, base, on_limiter_ready,
					   blk, err);
	if (result == 0)
		result = watch_disk(blk, base, err);
	if (result != 0) {
		blk_deinit(blk);
		return result;
	}
	offer_features(blk);
	set_writeback(blk, blk->cache == BLK_CACHE_WRITEBACK);
	store_config(blk);
	return 0;
}

void blk_deinit(struct blk *blk)
{
	bool is_over;

	if (blk->dev.class == NULL)
		return;
	/* What ends here is not acknowledged. */
	blk->dev.status = 0;
	give_up(blk);
	is_over = disk_drain(blk->disk, DISK_PATIENCE_MS);
	if (!is_over)
		log_error("blk '%s': its disk does not answer: what was under way may be lost",
			  blk->dev.id);
	if (blk->reap_event != NULL)
		event_free(blk->reap_event);
	if (blk->retry_event != NULL)
		event_free(blk->retry_event);
	rate_limiter_deinit(&blk->limiter);
	virtio_dev_deinit(&blk->dev);
	if (blk->requests != NULL && is_over)
		munmap(blk->requests, requests_bytes(blk));
	free(blk->free_requests);
	*blk = (struct blk){ 0 };
}

/* ---- changes at run time ---- */

static void tell_driver(struct blk *blk)
{
	store_config(blk);
	virtio_dev_config_changed(&blk->dev);
}

static int count_update(struct blk *blk, int result)
{
	metrics_inc(result == 0 ? &blk->metrics.update_count : &blk->metrics.update_fails);
	return result;
}

/* Finish all that has been begun, if the disk answers. */
static void finish_all(struct blk *blk)
{
	bool is_over;

	do {
		blk->turn_bytes = 0;
		go_on_with_paused(blk);
		is_over = disk_drain(blk->disk, DISK_PATIENCE_MS);
	} while (is_over && blk->paused != NULL);
}

int blk_set_file_take_fd(struct blk *blk, int fd, const char *path, struct err *err)
{
	int result;

	pthread_mutex_lock(&blk->dev.lock);
	/* Or else the disk refuses. */
	finish_all(blk);
	result = disk_set_file_take_fd(blk->disk, fd, path, err);
	if (result == 0) {
		if (!blk->has_own_serial)
			result = set_serial(blk, NULL, err);
		tell_driver(blk);
	}
	/* What the wait has finished. */
	if (virtio_dev_is_active(&blk->dev))
		virtio_dev_signal(&blk->dev, QUEUE);
	virtio_dev_kick(&blk->dev, QUEUE);
	pthread_mutex_unlock(&blk->dev.lock);
	return count_update(blk, result);
}

int blk_set_file(struct blk *blk, const char *path, struct err *err)
{
	int fd = disk_open_file(path, blk->disk->is_read_only, err);

	return fd < 0 ? count_update(blk, fd) : blk_set_file_take_fd(blk, fd, path, err);
}

int blk_set_limits(struct blk *blk, const struct rate_limiter_config *limits, struct err *err)
{
	int result;

	pthread_mutex_lock(&blk->dev.lock);
	result = rate_limiter_set(&blk->limiter, limits, err);
	virtio_dev_kick(&blk->dev, QUEUE);
	pthread_mutex_unlock(&blk->dev.lock);
	return count_update(blk, result);
}
