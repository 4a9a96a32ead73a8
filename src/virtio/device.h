/*
 * What all virtio devices share: a constant class, which says what kind of device it is and what it
 * does, and the live state of one device, which is embedded in the structure of its kind.
 *
 * A device is guest memory, an interrupt line, its queues and its bytes of configuration. It does
 * not know its address, nor KVM, so it runs in a unit test on any machine.
 *
 * Threads. vCPU threads reach the registers (mmio.c). Queues are worked on by the I/O thread alone:
 * a kick is an eventfd, and KVM writes it while the vCPU goes on (ioeventfd). One lock covers both,
 * held during `process` and during every register access but those that each interrupt makes
 * (status and acknowledge), which have a lock of their own that nobody holds for long. So a device
 * that waits for a disk delays its driver's set-up, never its driver's interrupts.
 *
 * A reset waits for what is in flight, but nobody waits with the lock: not the loop, which has
 * other devices and signals to see to. The one exception is a device whose queues the host's kernel
 * works on (`is_offloaded`): taking them back, by a reset or because the device breaks, waits with
 * the lock for the piece of work that the kernel is doing, which it bounds.
 *
 * A guest that breaks a rule breaks its device (virtio_dev_break()): DEVICE_NEEDS_RESET is set, one
 * line is logged, the queues rest until the driver resets it. Nothing else is affected.
 */
#pragma once

#include "bus/irq.h"
#include "util/err.h"
#include "util/log.h"
#include "util/metrics.h"
#include "virtio/virtq.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct event;
struct event_base;
struct virtio_dev;

enum {
	VIRTIO_QUEUES_MAX = 5,
	VIRTIO_CONFIG_MAX = 64,
	/** chains of one queue handled before the loop's other work has its turn */
	VIRTIO_BUDGET = 64,
};

/* Features of every device; virtio 1.2, section 6. */
#define VIRTIO_F_INDIRECT_DESC (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX     (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1     (UINT64_C(1) << 32)

/* Device status; 2.1. */
enum virtio_status {
	VIRTIO_STATUS_ACKNOWLEDGE = 1,
	VIRTIO_STATUS_DRIVER = 2,
	VIRTIO_STATUS_DRIVER_OK = 4,
	VIRTIO_STATUS_FEATURES_OK = 8,
	VIRTIO_STATUS_NEEDS_RESET = 64,
	VIRTIO_STATUS_FAILED = 128,
};

/* Reasons of an interrupt; 4.2.2, InterruptStatus. */
enum virtio_isr {
	VIRTIO_ISR_QUEUE = 1,
	VIRTIO_ISR_CONFIG = 2,
};

/** A kind of device. Functions run with the device's lock held; NULL where not needed. */
struct virtio_dev_class {
	const char *name;   /**< in messages: "blk" */
	uint32_t device_id; /**< section 5 */
	uint64_t features; /**< offered besides the three above; virtio_dev.offered may have more */
	unsigned int n_queues;
	uint16_t queue_size; /**< the most each may have; a power of two */

	/**
	 * Work on a queue: called on the I/O thread after a kick, and once when the driver is
	 * ready.
	 * \return true when there is more to do than VIRTIO_BUDGET: it is called again soon
	 */
	bool (*process)(struct virtio_dev *dev, unsigned int queue);
	/** The driver is ready, and its queues are where memory is. On a vCPU thread. */
	void (*ready)(struct virtio_dev *dev);
	/** The driver has given up, or the device is broken: have the queues rest until a reset,
	 * where another than `process` works on them. May come with none at work, and twice. Any
	 * thread. */
	void (*rest)(struct virtio_dev *dev);
	/** The driver resets the device: give up what is in flight, without waiting. On a vCPU
	 * thread. */
	void (*reset)(struct virtio_dev *dev);
	/**
	 * Take in what has finished of what was in flight at a reset, which is complete when
	 * nothing is left: before, the guest's memory must not be put to other use. On any thread.
	 */
	bool (*is_idle)(struct virtio_dev *dev);
	/** The driver and we have agreed on `features`: it reads the configuration from now on. */
	void (*negotiated)(struct virtio_dev *dev);
	/** The driver wrote \p len bytes of the configuration, which lie inside it. */
	void (*write_config)(struct virtio_dev *dev, unsigned int offset, const uint8_t *bytes,
			     unsigned int len);
};

/** The registers as memory. See mmio.h. */
struct virtio_page {
	uint8_t *bytes; /**< NULL: nobody reads them */
	/** Whether the guest reads the memory itself; NULL when it never does. */
	void (*set_visible)(void *ctx, bool is_visible);
	void *ctx;
};

/** Where a device's failures are counted; NULL: nowhere. Set after virtio_dev_init(). */
struct virtio_fails {
	_Atomic uint64_t *activate; /**< a driver that got ready with queues that cannot be */
	_Atomic uint64_t *event;    /**< rules that the guest broke */
	_Atomic uint64_t *config;   /**< writes of registers that had no effect */
};

struct virtio_dev {
	const struct virtio_dev_class *class;
	const char *id; /**< names it in messages; borrowed */
	struct irq_line irq;
	struct virtq queues[VIRTIO_QUEUES_MAX];
	/** Another than `process` works on the queues and watches the kicks. Set before
	 * virtio_dev_start(). */
	bool is_offloaded;
	int kick_fds[VIRTIO_QUEUES_MAX]; /**< eventfds, for KVM's ioeventfd */
	struct event *kick_events[VIRTIO_QUEUES_MAX];

	pthread_mutex_t lock;     /**< of all below but isr */
	uint64_t offered;         /**< features; set before the guest runs */
	uint64_t features;        /**< negotiated; 0 before FEATURES_OK */
	uint64_t driver_features; /**< as written so far */
	uint32_t device_features_sel;
	uint32_t driver_features_sel;
	uint32_t queue_sel;
	_Atomic uint8_t status;
	bool is_resetting;  /**< something is in flight still, and the status NEEDS_RESET */
	bool has_bad_queue; /**< the driver set up rings that cannot be */
	uint32_t config_generation;
	uint8_t config[VIRTIO_CONFIG_MAX]; /**< as the driver reads it */
	unsigned int config_size;

	pthread_mutex_t irq_lock; /**< of isr, held_isr and the line's level together */
	uint32_t isr;
	uint32_t held_isr;       /**< see virtio_dev_hold_isr() */
	struct virtio_page page; /**< what the driver reads, kept by mmio.c */
	struct log_limit log_limit;
	struct virtio_fails fails;
};

/**
 * Tie a device together. Its owner may then add to `offered` and fill `config`.
 * \param dev zeroed storage, inside the device's own structure
 * \param id borrowed; names it in messages
 * \param mem borrowed, as is what \p irq points to
 */
__attribute__((warn_unused_result)) int virtio_dev_init(struct virtio_dev *dev,
							const struct virtio_dev_class *class,
							const char *id, const struct guest_mem *mem,
							const struct irq_line *irq,
							struct err *err);

/** Watch the kicks on \p base, whose loop's thread is the I/O thread from now on. */
__attribute__((warn_unused_result)) int virtio_dev_start(struct virtio_dev *dev,
							 struct event_base *base, struct err *err);

/** After the vCPUs have ended. Does not reset. Legal on a zeroed object, and twice. */
void virtio_dev_deinit(struct virtio_dev *dev);

/** Is the driver ready and the device not broken? Lock held. */
bool virtio_dev_is_active(const struct virtio_dev *dev);

/** \param metric of virtio_dev.fails; may be NULL */
static inline void virtio_dev_count_fail(_Atomic uint64_t *metric)
{
	if (metric != NULL)
		metrics_inc(metric);
}

static inline bool virtio_dev_has(const struct virtio_dev *dev, uint64_t feature)
{
	return (dev->features & feature) != 0;
}

/**
 * Take the next chain of a queue, for `process`. When the queue is empty the driver is asked to
 * kick for the next; when it is broken, so is the device.
 * \return false when there is none
 */
__attribute__((warn_unused_result)) bool virtio_dev_pop(struct virtio_dev *dev, unsigned int queue,
							struct virtq_chain *chain);

/** Interrupt the driver if it wants to hear of what was pushed. Lock held. */
void virtio_dev_signal(struct virtio_dev *dev, unsigned int queue);

/** The same for all queues, by one interrupt. Lock held. */
void virtio_dev_signal_all(struct virtio_dev *dev);

/** Have `process` called for the queue, from the loop. Any thread. */
void virtio_dev_kick(struct virtio_dev *dev, unsigned int queue);

/** The configuration has changed: interrupt the driver, if there is one. Lock held. */
void virtio_dev_config_changed(struct virtio_dev *dev);

/** The guest broke a rule. Lock held. */
__attribute__((format(printf, 2, 3))) void virtio_dev_break(struct virtio_dev *dev,
							    const char *format, ...);

/* ---- for transports; lock held ---- */

/**
 * Back to power-on state, but for what the owner set. While something is in flight the status is
 * not 0 yet, which a driver waits for (4.2.2), and nothing that a driver writes has an effect.
 */
void virtio_dev_reset(struct virtio_dev *dev);

/** Complete the reset if nothing is in flight. \return is none under way any more? Any thread. */
bool virtio_dev_end_reset(struct virtio_dev *dev);

/** Raise the line for \p reason. Any thread, lock held or not. */
void virtio_dev_interrupt(struct virtio_dev *dev, enum virtio_isr reason);

/** The driver has seen these reasons. Any thread. */
void virtio_dev_acknowledge(struct virtio_dev *dev, uint32_t reasons);

/**
 * Let the driver read these reasons at any interrupt, whether or not it has acknowledged them,
 * since somebody else raises the line for them. Any thread.
 */
void virtio_dev_hold_isr(struct virtio_dev *dev, uint32_t reasons);

/** The reasons that the driver reads. */
uint32_t virtio_dev_isr(struct virtio_dev *dev);
