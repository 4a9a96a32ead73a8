/*
 * The driver's half of virtio, for tests of devices: guest RAM between guard pages, the registers,
 * and rings whose every field a test can set as it likes.
 *
 *	struct driver d;
 *
 *	driver_init(&d, N_PAGES);
 *	blk_init(&blk, …, &d.mem, &d.irq.line, …);
 *	driver_attach(&d, &blk.dev);
 *	driver_boot(&d, features);
 *	head = driver_add(&d, 0, bufs, n_bufs);
 *	driver_kick(&d, 0);                     runs the device's loop until it rests
 *	driver_take_used(&d, 0, &used);
 *
 * The rings of queue 0 lie at the very end of RAM, the used ring last: an index too far faults.
 */
#pragma once

#include "mem/guest_mem.h"
#include "rig.h"
#include "virtio/device.h"

#include <stdbool.h>
#include <stdint.h>

struct event_base;

enum { DRIVER_RAM_GPA = 0x80000000u, DRIVER_PAGE = 4096, DRIVER_SIZE_MAX = VIRTQ_SIZE_MAX };

/* Flags of a descriptor. */
enum { DRIVER_NEXT = 1, DRIVER_WRITE = 2, DRIVER_INDIRECT = 4 };

struct driver_desc {
	uint64_t gpa;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct driver_used {
	uint32_t head;
	uint32_t len;
};

/** One queue's rings, in guest memory. */
struct driver_queue {
	uint16_t size;
	uint64_t desc_gpa;
	uint64_t avail_gpa;
	uint64_t used_gpa;
	struct driver_desc *desc;
	uint16_t *avail;    /**< flags, idx, ring[size], used_event */
	uint16_t *used;     /**< flags, idx, then elements of two 32-bit words, avail_event */
	uint16_t next_free; /**< descriptors are handed out round the table */
	uint16_t last_used;
};

struct driver {
	struct guest_mem mem;
	uint8_t *ram;
	uint64_t ram_size;
	uint64_t free_gpa; /**< driver_alloc() hands out from here */
	struct rig_irq irq;
	struct event_base *base;
	struct virtio_dev *dev;
	struct rig_mmio mmio;
	struct driver_queue queues[VIRTIO_QUEUES_MAX];
	_Alignas(uint32_t) uint8_t registers[DRIVER_PAGE];
};

/** A buffer of a chain. */
struct driver_buf {
	uint64_t gpa;
	uint32_t len;
	bool is_writable;
};

/** RAM of \p n_pages pages, an interrupt line and a loop; no device yet. */
void driver_init(struct driver *d, unsigned int n_pages);

/** Drive \p dev: its kicks are watched on the driver's loop. */
void driver_attach(struct driver *d, struct virtio_dev *dev);

/** The device is the test's to free, before this. */
void driver_deinit(struct driver *d);

/** \p len bytes of zeroed guest memory, aligned to \p align. */
uint64_t driver_alloc(struct driver *d, uint64_t len, uint64_t align);

/** Where a guest address lies here; any address inside RAM, unchecked. */
void *driver_ptr(const struct driver *d, uint64_t gpa);

/** The whole dance of 3.1.1, from reset on: all queues of full size, VERSION_1 added. */
void driver_boot(struct driver *d, uint64_t features);

/** Its parts. driver_negotiate() ends at FEATURES_OK; \return did that bit stay? */
bool driver_negotiate(struct driver *d, uint64_t features);
void driver_place_queue(struct driver *d, unsigned int queue, uint16_t size);
void driver_set_queue(struct driver *d, unsigned int queue); /**< writes the registers */

uint32_t driver_status(const struct driver *d);

/** Put a chain of these buffers into the available ring. \return its head */
uint16_t driver_add(struct driver *d, unsigned int queue, const struct driver_buf *bufs,
		    unsigned int n_bufs);

/** Put a head there, whatever it is. */
void driver_offer(struct driver *d, unsigned int queue, uint16_t head);

/** Notify by the register and let the device work until nothing is left to do. */
void driver_kick(struct driver *d, unsigned int queue);

/** Let the device's loop run until it rests. */
void driver_settle(struct driver *d);

/** The next used element. \return false when there is none */
bool driver_take_used(struct driver *d, unsigned int queue, struct driver_used *used);
