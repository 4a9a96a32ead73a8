/*
 * The MMIO bus: which device answers at which guest-physical address.
 *
 * One access goes to one device, whole: an access that starts in a device's window and ends past
 * it goes to nobody. What nobody answers reads as all ones and is not written anywhere, as on a
 * real bus without a target; it is counted, not logged.
 *
 * Devices are added before the guest runs; then the table does not change, so looking up needs no
 * lock. Accesses come from all vCPU threads at once: each device has its own lock.
 */
#pragma once

#include "util/err.h"

#include <stdatomic.h>
#include <stdint.h>

enum { MMIO_BUS_MAX_DEVICES = 64 };

/** What a device does with an access; \p len is 1, 2, 4 or 8 and \p offset + \p len fits. */
struct mmio_ops {
	/** \return the value read, in the low \p len bytes; the bus drops the others */
	uint64_t (*read)(void *device, uint64_t offset, unsigned int len);
	void (*write)(void *device, uint64_t offset, unsigned int len, uint64_t value);
};

struct mmio_range {
	uint64_t gpa;
	uint64_t size;
	const struct mmio_ops *ops;
	void *device;
	const char *name;
};

struct mmio_bus {
	struct mmio_range ranges[MMIO_BUS_MAX_DEVICES]; /**< sorted by address */
	unsigned int n_ranges;
	_Atomic uint64_t n_unclaimed; /**< accesses that no device answered */
};

/**
 * Claim [gpa, gpa + size) for a device.
 * \param device handed to \p ops; borrowed, must outlive the bus
 * \param name borrowed, for messages
 * \return 0; -EINVAL for an empty, wrapping or overlapping range; -ENOSPC when the bus is full
 */
__attribute__((warn_unused_result)) int mmio_bus_add(struct mmio_bus *bus, uint64_t gpa,
						     uint64_t size, const struct mmio_ops *ops,
						     void *device, const char *name,
						     struct err *err);

/** One load of \p len bytes. \return the value in the low bytes, the others 0; unclaimed: ones */
uint64_t mmio_bus_read(struct mmio_bus *bus, uint64_t gpa, unsigned int len);

/** One store of the low \p len bytes of \p value. */
void mmio_bus_write(struct mmio_bus *bus, uint64_t gpa, unsigned int len, uint64_t value);
