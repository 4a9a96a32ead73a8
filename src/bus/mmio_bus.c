#include "bus/mmio_bus.h"

#include "util/bits.h"

#include <errno.h>
#include <stdbool.h>

int mmio_bus_add(struct mmio_bus *bus, uint64_t gpa, uint64_t size, const struct mmio_ops *ops,
		 void *device, const char *name, struct err *err)
{
	unsigned int at = 0;
	uint64_t end;

	if (bus->n_ranges == MMIO_BUS_MAX_DEVICES)
		return err_set(err, -ENOSPC, "device '%s': the bus is full", name);
	if (size == 0 || __builtin_add_overflow(gpa, size, &end))
		return err_set(err, -EINVAL, "device '%s': bad address range", name);
	while (at < bus->n_ranges && bus->ranges[at].gpa < gpa)
		at++;
	if ((at > 0 && bus->ranges[at - 1].gpa + bus->ranges[at - 1].size > gpa) ||
	    (at < bus->n_ranges && bus->ranges[at].gpa < end))
		return err_set(err, -EINVAL, "device '%s': its addresses are another's", name);
	memmove(&bus->ranges[at + 1], &bus->ranges[at],
		(bus->n_ranges - at) * sizeof(bus->ranges[0]));
	bus->ranges[at] = (struct mmio_range){
		.gpa = gpa,
		.size = size,
		.ops = ops,
		.device = device,
		.name = name,
	};
	bus->n_ranges++;
	return 0;
}

/* The range that holds all of the access, or NULL. */
static const struct mmio_range *find(struct mmio_bus *bus, uint64_t gpa, unsigned int len)
{
	unsigned int low = 0;
	unsigned int high = bus->n_ranges;

	while (low < high) {
		unsigned int middle = low + (high - low) / 2;
		const struct mmio_range *range = &bus->ranges[middle];

		if (gpa < range->gpa)
			high = middle;
		else if (gpa - range->gpa >= range->size)
			low = middle + 1;
		else
			return len <= range->size - (gpa - range->gpa) ? range : NULL;
	}
	return NULL;
}

static bool is_access_length(unsigned int len)
{
	return len == 1 || len == 2 || len == 4 || len == 8;
}

static uint64_t low_bytes(uint64_t value, unsigned int len)
{
	return len >= 8 ? value : value & (BIT(8 * len) - 1);
}

uint64_t mmio_bus_read(struct mmio_bus *bus, uint64_t gpa, unsigned int len)
{
	const struct mmio_range *range = is_access_length(len) ? find(bus, gpa, len) : NULL;

	if (range == NULL) {
		atomic_fetch_add(&bus->n_unclaimed, 1);
		return low_bytes(UINT64_MAX, len);
	}
	return low_bytes(range->ops->read(range->device, gpa - range->gpa, len), len);
}

void mmio_bus_write(struct mmio_bus *bus, uint64_t gpa, unsigned int len, uint64_t value)
{
	const struct mmio_range *range = is_access_length(len) ? find(bus, gpa, len) : NULL;

	if (range == NULL) {
		atomic_fetch_add(&bus->n_unclaimed, 1);
		return;
	}
	range->ops->write(range->device, gpa - range->gpa, len, low_bytes(value, len));
}
