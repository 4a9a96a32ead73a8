#include "virtio/blk.h"

#include "util/bits.h"
#include "util/cleanup.h"
#include "util/events.h"
#include "util/lazy_mem.h"
#include "virtio/blk_request.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { QUEUE = 0, QUEUE_SIZE = 256, DEVICE_ID = 2 };

/* What is begun in one turn of the loop. */
#define TURN_BYTES (16 * MIB)

/* Until the kernel may have memory again. */
static const struct timeval retry_pause = { .tv_usec = 10000 };

/* 5.2.3 */
#define F_SEG_MAX    BIT(2)
#define F_RO         BIT(5)
#define F_BLK_SIZE   BIT(6)
#define F_FLUSH      BIT(9)
#define F_CONFIG_WCE BIT(11)

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
	DISCARD_ALIGNMENT = 4096 / DISK_SECTOR, /* what file systems can make a hole of */
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
static void finish(struct blk *blk, const struct blk_request *req, enum blk_verdict status)
{
	if (virtio_dev_is_active(&blk->dev)) {
		*(volatile uint8_t *)req->status = (uint8_t)status;
		virtq_push(&blk->dev.queues[QUEUE], req->head, req->written);
	}
	put_request(blk, req);
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

	while (result == 0 && blk_request_has_step(req) && virtio_dev_is_active(&blk->dev)) {
		if (blk->turn_bytes >= TURN_BYTES) {
			pause_request(blk, req);
			return;
		}
		blk->turn_bytes += blk_request_next_step(req);
		result = disk_submit(blk->disk, &req->io);
	}
	if (result == DISK_PENDING)
		return;
	/* What was given up is neither done nor failed. */
	if (virtio_dev_is_active(&blk->dev))
		count_result(&blk->metrics, req, result);
	finish(blk, req, result == 0 ? BLK_OK : BLK_IOERR);
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

/* ---- taking requests out of the queue ---- */

/* \return false when it has to wait for the rate limiter: it is in the queue again */
static bool start_request(struct blk *blk, struct blk_request *req)
{
	enum blk_verdict verdict = blk_request_parse(req);

	if (verdict != BLK_FOR_DISK) {
		if (verdict != BLK_OK)
			metrics_inc(&blk->metrics.invalid_reqs_count);
		finish(blk, req, verdict);
		return true;
	}
	req->io.done = on_done;
	if (!rate_limiter_take(&blk->limiter, blk_request_cost(req))) {
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
	if (blk_request_init(req, blk))
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

	if ((blk->dev.offered & BLK_F_DISCARD) != 0) {
		config.max_discard_sectors = BLK_DISCARD_SECTORS_MAX;
		config.max_discard_seg = BLK_RANGES_MAX;
		config.discard_sector_alignment = DISCARD_ALIGNMENT;
	}
	if ((blk->dev.offered & BLK_F_WRITE_ZEROES) != 0) {
		config.max_write_zeroes_sectors = BLK_WRITE_ZEROES_SECTORS_MAX;
		config.max_write_zeroes_seg = BLK_RANGES_MAX;
		config.write_zeroes_may_unmap = disk->can_punch;
	}
	memcpy(blk->dev.config, &config, CONFIG_SIZE);
	blk->dev.config_size = CONFIG_SIZE;
}

/* 5.2.6.2: without it the driver takes what is written for stable. */
static void set_writeback(struct blk *blk, bool is_on)
{
	blk->dev.config[offsetof(struct config, writeback)] = is_on;
	blk->is_write_through = !is_on && blk->cache != BLK_CACHE_UNSAFE;
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
		blk->dev.offered |= BLK_F_WRITE_ZEROES | (disk->can_discard ? BLK_F_DISCARD : 0);
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

	blk->requests = lazy_mem_map(requests_bytes(blk));
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
		(void)blk_deinit(blk);
		return result;
	}
	offer_features(blk);
	set_writeback(blk, blk->cache == BLK_CACHE_WRITEBACK);
	store_config(blk);
	return 0;
}

bool blk_deinit(struct blk *blk)
{
	bool is_over;

	if (blk->dev.class == NULL)
		return true;
	/* What ends here is not acknowledged. */
	blk->dev.status = 0;
	give_up(blk);
	is_over = disk_drain(blk->disk, DISK_PATIENCE_MS);
	if (!is_over)
		log_error("blk '%s': its disk does not answer: what was under way may be lost",
			  blk->dev.id);
	free_event(&blk->reap_event);
	free_event(&blk->retry_event);
	rate_limiter_deinit(&blk->limiter);
	virtio_dev_deinit(&blk->dev);
	if (blk->requests != NULL && is_over)
		munmap(blk->requests, requests_bytes(blk));
	free(blk->free_requests);
	*blk = (struct blk){ 0 };
	return is_over;
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

static int set_file(struct blk *blk, int fd, const char *path, struct err *err)
{
	int result;

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
	return result;
}

int blk_update(struct blk *blk, const char *path, const struct rate_limiter_change *limits,
	       struct err *err)
{
	int result = 0;
	cleanup_close int fd = -1;

	if (path != NULL)
		fd = disk_open_file(path, blk->disk->is_read_only, err);
	if (path != NULL && fd < 0)
		return count_update(blk, fd);
	pthread_mutex_lock(&blk->dev.lock);
	if (limits != NULL)
		result = rate_limiter_prepare(&blk->limiter, limits, err);
	if (result == 0 && path != NULL)
		result = set_file(blk, take_fd(&fd), path, err);
	if (result == 0 && limits != NULL)
		rate_limiter_set(&blk->limiter, limits);
	virtio_dev_kick(&blk->dev, QUEUE);
	pthread_mutex_unlock(&blk->dev.lock);
	return count_update(blk, result);
}
