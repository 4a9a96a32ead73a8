#include "platform/pvpanic.h"

enum { SUPPORTED = PVPANIC_PANICKED | PVPANIC_CRASH_LOADED };

static uint64_t mmio_read(void *device, uint64_t offset, unsigned int len)
{
	(void)device;
	(void)len;
	return offset == 0 ? SUPPORTED : 0;
}

static void mmio_write(void *device, uint64_t offset, unsigned int len, uint64_t value)
{
	struct pvpanic *pvpanic = device;
	unsigned int events = (unsigned int)value & SUPPORTED;

	(void)len;
	if (offset != 0)
		return;
	events &= ~atomic_fetch_or(&pvpanic->told, events);
	if (events != 0)
		pvpanic->on_panic(pvpanic->ctx, events);
}

const struct mmio_ops pvpanic_mmio_ops = { .read = mmio_read, .write = mmio_write };

void pvpanic_init(struct pvpanic *pvpanic, pvpanic_handler *on_panic, void *ctx)
{
	*pvpanic = (struct pvpanic){ .on_panic = on_panic, .ctx = ctx };
}
