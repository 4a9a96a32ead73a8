/*
 * The virtio-mmio transport, version 2 (virtio 1.2, section 4.2): the register file by which a
 * driver finds a device, agrees on features, places the queues, and hears of interrupts.
 *
 * Control registers are 32 bits wide and accessed whole: other accesses read 0 and write nothing.
 * The configuration behind them takes accesses of 1, 2, 4 and 8 bytes at any offset; what lies past
 * its end reads 0.
 *
 * The driver's progress is a table of allowed steps of the status register; a write that is none of
 * them changes nothing. What a driver sets is frozen when the specification says it is done
 * setting: features at FEATURES_OK, queues at DRIVER_OK.
 *
 * QUEUE_NOTIFY is an ioeventfd where KVM is (see VIRTIO_MMIO_QUEUE_NOTIFY), so that a write does
 * not reach us; where it does, the same eventfd is written here.
 */
#pragma once

#include "bus/mmio_bus.h"

enum {
	VIRTIO_MMIO_QUEUE_NOTIFY = 0x50, /**< a 32-bit write of the queue's number */
	VIRTIO_MMIO_CONFIG = 0x100,
};

/** The registers of a struct virtio_dev, for the bus. Any thread. */
extern const struct mmio_ops virtio_mmio_ops;
