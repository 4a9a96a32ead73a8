/*
 * The virtio-mmio transport, version 2 (virtio 1.2, section 4.2): the register file by which a
 * driver finds a device, agrees on features, places the queues, and hears of interrupts.
 *
 * Registers are a page of memory, kept up to date, which a guest may have mapped, read-only: it
 * then reads them without an exit, the status of each interrupt above all. A write is an exit
 * always. Control registers are 32 bits wide and written whole: other writes do nothing. The
 * configuration behind them takes accesses of 1, 2, 4 and 8 bytes at any offset; what lies past its
 * end reads 0.
 *
 * A driver reads the configuration in pieces and trusts its generation to tell if they belong
 * together. No order of writing to memory could keep that promise, so the page is hidden from the
 * guest while we change the configuration: it then exits, and waits for the device's lock.
 *
 * The driver's progress is a table of allowed steps of the status register; a write that is none of
 * them changes nothing. What a driver sets is frozen when the specification says it is done
 * setting: features at FEATURES_OK, queues at DRIVER_OK. Writes without effect are counted.
 *
 * QUEUE_NOTIFY is an ioeventfd where KVM is (see VIRTIO_MMIO_QUEUE_NOTIFY), so that a write does
 * not reach us; where it does, the same eventfd is written here.
 */
#pragma once

#include "bus/mmio_bus.h"

struct virtio_dev;
struct virtio_page;

enum {
	VIRTIO_MMIO_QUEUE_NOTIFY = 0x50, /**< a 32-bit write of the queue's number */
	VIRTIO_MMIO_CONFIG = 0x100,
	VIRTIO_MMIO_SIZE = 0x1000,
};

/**
 * Keep the registers in memory from now on; before the guest runs.
 * \param page its bytes: VIRTIO_MMIO_SIZE of them, zeroed, aligned to 4, borrowed
 */
void virtio_mmio_attach(struct virtio_dev *dev, const struct virtio_page *page);

/* ---- for device.c: each where there is a page ---- */

/** What a driver reads may have changed, but not by us its configuration. Lock held. */
void virtio_mmio_show(struct virtio_dev *dev);

/** We have changed the configuration. Lock held. */
void virtio_mmio_show_config(struct virtio_dev *dev);

/** The reasons for interrupts have changed. Their lock held. */
void virtio_mmio_show_isr(struct virtio_dev *dev);

/** The registers of a struct virtio_dev, for the bus. Any thread. */
extern const struct mmio_ops virtio_mmio_ops;
