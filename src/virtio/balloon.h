/*
 * The memory balloon (virtio 1.2, section 5.5): the guest gives pages of its memory back to the
 * host, because it was asked to (a target for the balloon's size), because nobody uses them (free
 * page reporting), or during a run that the host starts (free page hinting). The pages stay part
 * of guest RAM: whichever the guest touches again is there, as zeros.
 *
 * Queues. Number 0 inflates and 1 deflates. Those for statistics, hints and reports follow in this
 * order, and one whose feature is not negotiated is left out of the numbers: this is how Linux
 * counts them.
 *
 * Trust. A guest names pages as it likes: guest_mem_discard() takes only RAM. Numbers that it
 * reports (statistics, `actual`) are told to whoever asks, and used for nothing. A chain that names
 * more memory than one turn of the loop should take is worked off in several turns.
 *
 * Statistics. The driver hands in a buffer of them, which is kept for the polling interval; to give
 * it back asks for new ones.
 *
 * Hinting. A run has a number, 2 or more, which the driver reads from the configuration and sends
 * before its hints; hints of any other run are dropped. STOP of the driver ends its list. A driver
 * shall hold the pages until the configuration says DONE, but Linux takes them back when it is
 * short of memory, hints on the way or not: then memory that is in use again may become zeros. So
 * the API has it as Firecracker has, as a preview; reporting, for which Linux waits, is the safe
 * way.
 *
 * VIRTIO_BALLOON_F_PAGE_POISON is not offered, so no page that is given back is promised any
 * content, nor MUST_TELL_HOST: deflating needs no answer of ours.
 *
 * All functions run on the I/O thread; those for the host's side take the device's lock.
 */
#pragma once

#include "virtio/device.h"

enum { BALLOON_PAGE_SIZE = 4096 };

struct balloon_config {
	uint64_t target_mib;           /**< no more than the guest has */
	bool deflate_on_oom;           /**< the guest may take pages back when it has no others */
	unsigned int stats_interval_s; /**< 0: no statistics */
	bool reporting;
	bool hinting;
};

/** What a statistic is about, in its number on the queue (5.5.6.4; from OOM_KILL on, Linux). */
enum balloon_stat {
	BALLOON_STAT_SWAP_IN,
	BALLOON_STAT_SWAP_OUT,
	BALLOON_STAT_MAJOR_FAULTS,
	BALLOON_STAT_MINOR_FAULTS,
	BALLOON_STAT_FREE_MEMORY,
	BALLOON_STAT_TOTAL_MEMORY,
	BALLOON_STAT_AVAILABLE_MEMORY,
	BALLOON_STAT_DISK_CACHES,
	BALLOON_STAT_HUGETLB_ALLOCATIONS,
	BALLOON_STAT_HUGETLB_FAILURES,
	BALLOON_STAT_OOM_KILL,
	BALLOON_STAT_ALLOC_STALL,
	BALLOON_STAT_ASYNC_SCAN,
	BALLOON_STAT_DIRECT_SCAN,
	BALLOON_STAT_ASYNC_RECLAIM,
	BALLOON_STAT_DIRECT_RECLAIM,
	BALLOON_N_STATS,
};

struct balloon_stats {
	uint32_t present; /**< a bit for each that the guest told */
	uint64_t values[BALLOON_N_STATS];
};

/** What the host may ask. */
struct balloon_status {
	uint32_t target_pages;
	uint32_t actual_pages; /**< as the guest says */
	struct balloon_stats stats;
};

struct balloon_hinting_status {
	uint32_t host_cmd;  /**< 0 stopped, 1 done, else the number of the run */
	uint32_t guest_cmd; /**< the latest that the guest sent */
	bool has_guest_cmd;
};

struct balloon {
	struct virtio_dev dev;
	struct virtio_dev_class class; /**< with as many queues as are offered */
	const struct guest_mem *mem;

	/* The I/O thread's own. */
	struct event *stats_timer; /**< armed while there is a buffer of statistics */
	unsigned int stats_interval_s;
	uint32_t last_run; /**< of hinting */
	bool acknowledge_on_stop;

	/* Under the device's lock. */
	uint64_t done[VIRTIO_QUEUES_MAX]; /**< bytes done of the queue's next chain */
	bool has_stats_buffer;
	uint16_t stats_head;
	struct balloon_stats stats;
	struct balloon_hinting_status hinting;
};

/**
 * \param balloon zeroed storage
 * \param id borrowed; names it in messages
 * \param mem borrowed, as is what \p irq points to
 * \param base whose loop's thread is the I/O thread; virtio_dev_start() is the caller's
 * \return 0; -EINVAL for a target beyond the guest's memory
 */
__attribute__((warn_unused_result)) int balloon_init(struct balloon *balloon, const char *id,
						     const struct balloon_config *config,
						     const struct guest_mem *mem,
						     const struct irq_line *irq,
						     struct event_base *base, struct err *err);

/** On the I/O thread, after the vCPUs have ended. Legal on a zeroed object, and twice. */
void balloon_deinit(struct balloon *balloon);

/** Ask the guest for a balloon of this size. \return 0; -EINVAL: more than it has */
__attribute__((warn_unused_result)) int balloon_set_target(struct balloon *balloon, uint64_t mib,
							   struct err *err);

/** \return 0; -EINVAL: from or to 0, since whether there are statistics is settled at the start */
__attribute__((warn_unused_result)) int balloon_set_stats_interval(struct balloon *balloon,
								   unsigned int interval_s,
								   struct err *err);

void balloon_get_status(struct balloon *balloon, struct balloon_status *status);

/**
 * Begin a run of hinting, or a new one.
 * \param acknowledge_on_stop end it by ourselves when the guest has told all; else the guest holds
 * the pages until balloon_stop_hinting()
 * \return 0; -ENOTSUP: not configured, or the guest's driver does not do it; -EAGAIN: no driver yet
 */
__attribute__((warn_unused_result)) int balloon_start_hinting(struct balloon *balloon,
							      bool acknowledge_on_stop,
							      struct err *err);

/** The guest may have its pages back. \return as balloon_start_hinting() */
__attribute__((warn_unused_result)) int balloon_stop_hinting(struct balloon *balloon,
							     struct err *err);

void balloon_get_hinting(struct balloon *balloon, struct balloon_hinting_status *status);
