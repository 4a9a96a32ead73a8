#include "virtio/balloon.h"

#include "util/bits.h"
#include "util/events.h"

#include <errno.h>
#include <event2/event.h>
#include <string.h>

/* virtio 1.2, 5.5.3; 5.5.6.7 */
#define F_STATS_VQ       BIT(1)
#define F_DEFLATE_ON_OOM BIT(2)
#define F_FREE_PAGE_HINT BIT(3)
#define F_PAGE_REPORTING BIT(5)

enum { HINT_STOP = 0, HINT_DONE = 1, HINT_FIRST_RUN = 2 };

/* 5.5.4 */
struct config {
	uint32_t num_pages;
	uint32_t actual;
	uint32_t free_page_hint_cmd_id;
};
static_assert(sizeof(struct config) == 12, "as the specification has it");

/* 5.5.6.3 */
struct stat {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));
static_assert(sizeof(struct stat) == 10, "as the specification has it");

enum {
	DEVICE_ID = 5,
	QUEUE_SIZE = 128, /* reports of Linux need 32 */
	PAGES_PER_MIB = MIB / BALLOON_PAGE_SIZE,
	/* What a turn may give back. To unmap it takes the host a few milliseconds. */
	BUDGET_BYTES = 32 * MIB,
	PFNS_AT_ONCE = 256,
	/* More in one buffer than there are kinds: some that we do not know. */
	STATS_AT_ONCE = 2 * BALLOON_N_STATS,
};

enum role { INFLATE, DEFLATE, STATS, HINTS, REPORTS, N_ROLES };

static enum role role_of(const struct balloon *balloon, unsigned int queue)
{
	static const uint64_t features[N_ROLES] = {
		[STATS] = F_STATS_VQ,
		[HINTS] = F_FREE_PAGE_HINT,
		[REPORTS] = F_PAGE_REPORTING,
	};

	for (unsigned int role = 0; role < N_ROLES; role++) {
		bool is_left_out =
			features[role] != 0 && !virtio_dev_has(&balloon->dev, features[role]);

		if (!is_left_out && queue-- == 0)
			return (enum role)role;
	}
	return DEFLATE; /* beyond those negotiated: what comes there is given back, as it is */
}

static void set_config(struct balloon *balloon, size_t offset, uint32_t value)
{
	memcpy(balloon->dev.config + offset, &value, sizeof(value));
}

static uint32_t get_config(const struct balloon *balloon, size_t offset)
{
	return (uint32_t)load_le(balloon->dev.config + offset, sizeof(uint32_t));
}

static void check_discard(struct balloon *balloon, int ret)
{
	if (ret == -EFAULT) {
		virtio_dev_count_fail(balloon->dev.fails.event);
		log_guest(&balloon->dev.log_limit,
			  "balloon '%s': its driver gives back memory that is not there",
			  balloon->dev.id);
	} else if (ret != 0) {
		log_guest(&balloon->dev.log_limit,
			  "balloon '%s': the host does not take memory back: %s", balloon->dev.id,
			  strerror(-ret));
	}
}

/* A piece of free memory that the guest told of. */
static void count_freed(enum role role, uint64_t len, int ret)
{
	struct metrics_balloon *m = &metrics.balloon;
	bool is_hint = role == HINTS;

	metrics_inc(is_hint ? &m->free_page_hint_count : &m->free_page_report_count);
	if (ret == 0)
		metrics_add(is_hint ? &m->free_page_hint_freed : &m->free_page_report_freed, len);
	else
		metrics_inc(is_hint ? &m->free_page_hint_fails : &m->free_page_report_fails);
}

/* ---- inflating: a list of page numbers ---- */

/* Neighbours are given back in one call; lists come upwards or downwards. */
struct run {
	uint64_t first;
	uint64_t n;
};

static void flush_run(struct balloon *balloon, struct run *run)
{
	/* Numbers have 32 bits, so addresses 44. */
	if (run->n > 0)
		check_discard(balloon,
			      guest_mem_discard(balloon->mem, run->first * BALLOON_PAGE_SIZE,
						run->n * BALLOON_PAGE_SIZE));
	run->n = 0;
}

static void add_page(struct balloon *balloon, struct run *run, uint32_t pfn)
{
	if (run->n > 0 && pfn == run->first + run->n) {
		run->n++;
	} else if (run->n > 0 && (uint64_t)pfn + 1 == run->first) {
		run->first--;
		run->n++;
	} else {
		flush_run(balloon, run);
		*run = (struct run){ .first = pfn, .n = 1 };
	}
}

/* \return is the chain done? */
static bool inflate(struct balloon *balloon, const struct virtq_chain *chain, uint64_t *done,
		    uint64_t *budget)
{
	uint32_t pfns[PFNS_AT_ONCE];
	struct run run = { 0 };
	size_t n = 1;

	while (n > 0 && *budget > 0) {
		size_t max = MIN((uint64_t)PFNS_AT_ONCE, *budget / BALLOON_PAGE_SIZE);

		n = virtq_chain_read(chain, *done, pfns, max * sizeof(pfns[0])) / sizeof(pfns[0]);
		for (size_t i = 0; i < n; i++)
			add_page(balloon, &run, pfns[i]);
		*done += n * sizeof(pfns[0]);
		*budget -= n * BALLOON_PAGE_SIZE;
	}
	flush_run(balloon, &run);
	return n == 0;
}

/* ---- reports and hints: the buffers are the free memory itself ---- */

/* \return is the chain done? */
static bool discard_buffers(struct balloon *balloon, enum role role, struct virtq_chain *chain,
			    uint64_t *done, uint64_t *budget)
{
	uint64_t len = MIN(*budget, chain->writable_bytes - MIN(*done, chain->writable_bytes));
	struct iovec *buffers = chain->iov + chain->n_readable;
	unsigned int n = iov_slice(buffers, chain->n_writable, *done, len, buffers);

	for (unsigned int i = 0; i < n; i++) {
		int ret = guest_mem_discard_hva(balloon->mem, buffers[i].iov_base,
						buffers[i].iov_len);

		count_freed(role, buffers[i].iov_len, ret);
		check_discard(balloon, ret);
	}
	*done += len;
	*budget -= len;
	return *done >= chain->writable_bytes;
}

static void set_host_cmd(struct balloon *balloon, uint32_t cmd)
{
	balloon->hinting.host_cmd = cmd;
	set_config(balloon, offsetof(struct config, free_page_hint_cmd_id), cmd);
	virtio_dev_config_changed(&balloon->dev);
}

static void take_guest_cmd(struct balloon *balloon, const struct virtq_chain *chain)
{
	struct balloon_hinting_status *hinting = &balloon->hinting;
	bool was_running =
		hinting->host_cmd >= HINT_FIRST_RUN && hinting->guest_cmd == hinting->host_cmd;
	uint32_t cmd;

	if (virtq_chain_read(chain, 0, &cmd, sizeof(cmd)) != sizeof(cmd))
		return;
	hinting->guest_cmd = cmd;
	hinting->has_guest_cmd = true;
	/* STOP of a run before this one is no answer to this one. */
	if (cmd == HINT_STOP && was_running && balloon->acknowledge_on_stop)
		set_host_cmd(balloon, HINT_DONE);
}

/* \return is the chain done? */
static bool take_hints(struct balloon *balloon, struct virtq_chain *chain, uint64_t *done,
		       uint64_t *budget)
{
	const struct balloon_hinting_status *hinting = &balloon->hinting;

	if (*done == 0)
		take_guest_cmd(balloon, chain);
	/* After DONE the guest uses its pages again: hints that are still here are void. */
	if (hinting->host_cmd < HINT_FIRST_RUN || hinting->guest_cmd != hinting->host_cmd)
		return true;
	return discard_buffers(balloon, HINTS, chain, done, budget);
}

/* ---- queues that give chains back at once ---- */

static bool handle(struct balloon *balloon, enum role role, struct virtq_chain *chain,
		   uint64_t *done, uint64_t *budget)
{
	switch (role) {
	case INFLATE:
		return inflate(balloon, chain, done, budget);
	case HINTS:
		return take_hints(balloon, chain, done, budget);
	case REPORTS:
		return discard_buffers(balloon, REPORTS, chain, done, budget);
	default:
		return true; /* a page comes back by being touched */
	}
}

static bool process_pages(struct balloon *balloon, unsigned int queue, enum role role)
{
	struct virtq *vq = &balloon->dev.queues[queue];
	uint64_t *done = &balloon->done[queue];
	uint64_t budget = BUDGET_BYTES;
	struct virtq_chain chain;

	for (unsigned int i = 0; i < VIRTIO_BUDGET; i++) {
		if (!virtio_dev_pop(&balloon->dev, queue, &chain))
			return false;
		if (!handle(balloon, role, &chain, done, &budget)) {
			virtq_unpop(vq, chain.head);
			return true;
		}
		*done = 0;
		virtq_push(vq, chain.head, 0);
	}
	return true;
}

/* ---- statistics ---- */

static void read_stats(struct balloon *balloon, const struct virtq_chain *chain)
{
	struct stat stats[STATS_AT_ONCE];
	size_t n = virtq_chain_read(chain, 0, stats, sizeof(stats)) / sizeof(stats[0]);

	balloon->stats = (struct balloon_stats){ 0 };
	if (n == 0)
		metrics_inc(&metrics.balloon.stats_update_fails);
	for (size_t i = 0; i < n; i++) {
		if (stats[i].tag >= BALLOON_N_STATS)
			continue;
		balloon->stats.present |= 1U << stats[i].tag;
		balloon->stats.values[stats[i].tag] = stats[i].value;
	}
}

static void give_stats_buffer_back(struct balloon *balloon)
{
	/* Where it is at all, none that may be left out comes before it. */
	const unsigned int queue = STATS;

	virtq_push(&balloon->dev.queues[queue], balloon->stats_head, 0);
	balloon->has_stats_buffer = false;
	virtio_dev_signal(&balloon->dev, queue);
}

static void arm_stats_timer(struct balloon *balloon)
{
	const struct timeval in = { .tv_sec = (time_t)balloon->stats_interval_s };

	event_add(balloon->stats_timer, &in);
}

static bool process_stats(struct balloon *balloon, unsigned int queue)
{
	struct virtq_chain chain;

	for (unsigned int i = 0; i < VIRTIO_BUDGET; i++) {
		if (!virtio_dev_pop(&balloon->dev, queue, &chain))
			return false;
		/* 5.5.6.3: there is one buffer. Of more, only the latest is worth keeping. */
		if (balloon->has_stats_buffer)
			give_stats_buffer_back(balloon);
		metrics_inc(&metrics.balloon.stats_updates_count);
		read_stats(balloon, &chain);
		balloon->stats_head = chain.head;
		balloon->has_stats_buffer = true;
		arm_stats_timer(balloon);
	}
	return true;
}

static void on_stats_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct balloon *balloon = ctx;

	(void)fd;
	(void)what;
	pthread_mutex_lock(&balloon->dev.lock);
	if (virtio_dev_is_active(&balloon->dev) && balloon->has_stats_buffer)
		give_stats_buffer_back(balloon);
	pthread_mutex_unlock(&balloon->dev.lock);
}

/* ---- the device ---- */

static bool process(struct virtio_dev *dev, unsigned int queue)
{
	struct balloon *balloon = container_of(dev, struct balloon, dev);
	enum role role = role_of(balloon, queue);
	bool has_more;

	if (role == STATS)
		return process_stats(balloon, queue);
	if (role == INFLATE)
		metrics_inc(&metrics.balloon.inflate_count);
	if (role == DEFLATE)
		metrics_inc(&metrics.balloon.deflate_count);
	has_more = process_pages(balloon, queue, role);
	virtio_dev_signal(dev, queue);
	return has_more;
}

/* All pages are the guest's again, or rather the next driver's, who knows of no run. */
static void reset(struct virtio_dev *dev)
{
	struct balloon *balloon = container_of(dev, struct balloon, dev);

	memset(balloon->done, 0, sizeof(balloon->done));
	balloon->has_stats_buffer = false;
	balloon->stats = (struct balloon_stats){ 0 };
	balloon->hinting = (struct balloon_hinting_status){ .host_cmd = HINT_STOP };
	set_config(balloon, offsetof(struct config, actual), 0);
	set_config(balloon, offsetof(struct config, free_page_hint_cmd_id), HINT_STOP);
}

/* Of all, `actual` alone is the driver's to write. */
static void write_config(struct virtio_dev *dev, unsigned int offset, const uint8_t *bytes,
			 unsigned int len)
{
	const unsigned int start = offsetof(struct config, actual);

	for (unsigned int i = 0; i < len; i++) {
		if (offset + i >= start && offset + i < start + sizeof(uint32_t))
			dev->config[offset + i] = bytes[i];
	}
}

static const struct virtio_dev_class balloon_class = {
	.name = "balloon",
	.device_id = DEVICE_ID,
	.n_queues = STATS, /* and those that are configured */
	.queue_size = QUEUE_SIZE,
	.process = process,
	.reset = reset,
	.write_config = write_config,
};

static void offer(struct balloon *balloon, uint64_t feature, unsigned int n_queues)
{
	balloon->class.features |= feature;
	balloon->class.n_queues += n_queues;
}

static int check_target(const struct balloon *balloon, uint64_t mib, struct err *err)
{
	uint64_t limit_mib = MIN(guest_mem_size(balloon->mem) / MIB, UINT32_MAX / PAGES_PER_MIB);

	if (mib > limit_mib)
		return err_set(err, -EINVAL,
			       "balloon: a target of %llu MiB is more than the guest's %llu MiB",
			       (unsigned long long)mib, (unsigned long long)limit_mib);
	return 0;
}

int balloon_init(struct balloon *balloon, const char *id, const struct balloon_config *config,
		 const struct guest_mem *mem, const struct irq_line *irq, struct event_base *base,
		 struct err *err)
{
	int ret;

	*balloon = (struct balloon){
		.class = balloon_class,
		.mem = mem,
		.stats_interval_s = config->stats_interval_s,
		.last_run = HINT_FIRST_RUN - 1,
	};
	if (config->deflate_on_oom)
		offer(balloon, F_DEFLATE_ON_OOM, 0);
	if (config->stats_interval_s > 0)
		offer(balloon, F_STATS_VQ, 1);
	if (config->hinting)
		offer(balloon, F_FREE_PAGE_HINT, 1);
	if (config->reporting)
		offer(balloon, F_PAGE_REPORTING, 1);
	ret = check_target(balloon, config->target_mib, err);
	if (ret == 0)
		ret = virtio_dev_init(&balloon->dev, &balloon->class, id, mem, irq, err);
	if (ret != 0)
		return ret;
	balloon->dev.fails = (struct virtio_fails){ .activate = &metrics.balloon.activate_fails,
						    .event = &metrics.balloon.event_fails };
	balloon->dev.config_size = sizeof(struct config);
	set_config(balloon, offsetof(struct config, num_pages),
		   (uint32_t)(config->target_mib * PAGES_PER_MIB));
	balloon->stats_timer = evtimer_new(base, on_stats_timer, balloon);
	if (balloon->stats_timer == NULL)
		return err_set(err, -ENOMEM, "balloon: no memory for its timer");
	return 0;
}

void balloon_deinit(struct balloon *balloon)
{
	free_event(&balloon->stats_timer);
	virtio_dev_deinit(&balloon->dev);
}

/* ---- the host's side ---- */

int balloon_set_target(struct balloon *balloon, uint64_t mib, struct err *err)
{
	int ret = check_target(balloon, mib, err);

	if (ret != 0)
		return ret;
	pthread_mutex_lock(&balloon->dev.lock);
	set_config(balloon, offsetof(struct config, num_pages), (uint32_t)(mib * PAGES_PER_MIB));
	virtio_dev_config_changed(&balloon->dev);
	pthread_mutex_unlock(&balloon->dev.lock);
	return 0;
}

int balloon_set_stats_interval(struct balloon *balloon, unsigned int interval_s, struct err *err)
{
	if ((interval_s == 0) != (balloon->stats_interval_s == 0))
		return err_set(err, -EINVAL,
			       "balloon: statistics can be switched on or off only at the start");
	balloon->stats_interval_s = interval_s;
	if (event_pending(balloon->stats_timer, EV_TIMEOUT, NULL))
		arm_stats_timer(balloon);
	return 0;
}

void balloon_get_status(struct balloon *balloon, struct balloon_status *status)
{
	pthread_mutex_lock(&balloon->dev.lock);
	status->target_pages = get_config(balloon, offsetof(struct config, num_pages));
	status->actual_pages = get_config(balloon, offsetof(struct config, actual));
	status->stats = balloon->stats;
	pthread_mutex_unlock(&balloon->dev.lock);
}

/* Lock held. */
static int check_hinting(const struct balloon *balloon, struct err *err)
{
	if ((balloon->dev.offered & F_FREE_PAGE_HINT) == 0)
		return err_set(err, -ENOTSUP, "balloon: free page hinting is not enabled");
	if (!virtio_dev_is_active(&balloon->dev))
		return err_set(err, -EAGAIN, "balloon: the guest does not drive it");
	if (!virtio_dev_has(&balloon->dev, F_FREE_PAGE_HINT))
		return err_set(err, -ENOTSUP, "balloon: the guest does not do free page hinting");
	return 0;
}

int balloon_start_hinting(struct balloon *balloon, bool acknowledge_on_stop, struct err *err)
{
	int ret;

	pthread_mutex_lock(&balloon->dev.lock);
	ret = check_hinting(balloon, err);
	if (ret == 0) {
		balloon->last_run = MAX(balloon->last_run + 1, (uint32_t)HINT_FIRST_RUN);
		balloon->acknowledge_on_stop = acknowledge_on_stop;
		set_host_cmd(balloon, balloon->last_run);
	}
	pthread_mutex_unlock(&balloon->dev.lock);
	return ret;
}

int balloon_stop_hinting(struct balloon *balloon, struct err *err)
{
	int ret;

	pthread_mutex_lock(&balloon->dev.lock);
	ret = check_hinting(balloon, err);
	if (ret == 0)
		set_host_cmd(balloon, HINT_DONE);
	pthread_mutex_unlock(&balloon->dev.lock);
	return ret;
}

void balloon_get_hinting(struct balloon *balloon, struct balloon_hinting_status *status)
{
	pthread_mutex_lock(&balloon->dev.lock);
	*status = balloon->hinting;
	pthread_mutex_unlock(&balloon->dev.lock);
}
