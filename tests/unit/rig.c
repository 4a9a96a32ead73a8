#include "rig.h"

#include "backend/disk.h"
#include "util/assert.h"
#include "util/bits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void sink_raise(struct irq_sink *sink, uint32_t source)
{
	struct rig_irq *irq = container_of(sink, struct rig_irq, sink);

	ASSERT(source == RIG_IRQ_SOURCE);
	irq->n_raised++;
	irq->is_high = true;
	irq->edge = true;
}

static void sink_lower(struct irq_sink *sink, uint32_t source)
{
	struct rig_irq *irq = container_of(sink, struct rig_irq, sink);

	ASSERT(source == RIG_IRQ_SOURCE);
	irq->n_lowered++;
	irq->is_high = false;
}

void rig_irq_init(struct rig_irq *irq)
{
	*irq = (struct rig_irq){ .sink = { .raise = sink_raise, .lower = sink_lower } };
	irq->line = (struct irq_line){ .sink = &irq->sink, .source = RIG_IRQ_SOURCE };
}

bool rig_irq_take_edge(struct rig_irq *irq)
{
	return atomic_exchange(&irq->edge, false);
}

uint64_t rig_read(const struct rig_mmio *mmio, uint64_t offset, unsigned int len)
{
	return mmio->ops->read(mmio->device, offset, len);
}

void rig_write(const struct rig_mmio *mmio, uint64_t offset, unsigned int len, uint64_t value)
{
	mmio->ops->write(mmio->device, offset, len, value);
}

uint8_t rig_read8(const struct rig_mmio *mmio, uint64_t offset)
{
	return (uint8_t)rig_read(mmio, offset, 1);
}

void rig_write8(const struct rig_mmio *mmio, uint64_t offset, uint8_t value)
{
	rig_write(mmio, offset, 1, value);
}

uint32_t rig_read32(const struct rig_mmio *mmio, uint64_t offset)
{
	return (uint32_t)rig_read(mmio, offset, 4);
}

void rig_write32(const struct rig_mmio *mmio, uint64_t offset, uint32_t value)
{
	rig_write(mmio, offset, 4, value);
}

uint32_t rig_random(uint32_t *state)
{
	/* xorshift32 */
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

bool rig_has_io_uring(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);
	struct disk disk;
	struct err err;
	int result;

	ASSERT(fd >= 0);
	result = disk_init_take_fd(&disk, fd, "a file", true, DISK_ENGINE_IO_URING, &err);
	disk_close(&disk);
	if (result != 0)
		printf("without io_uring: %s\n", err.text);
	return result == 0;
}

struct rig_args rig_args_make(const char *const words[])
{
	struct rig_args args = { 0 };

	for (; words[args.argc] != NULL; args.argc++) {
		ASSERT(args.argc < RIG_ARGS_MAX);
		args.argv[args.argc] = strdup(words[args.argc]);
	}
	return args;
}

void rig_args_free(struct rig_args *args)
{
	for (int i = 0; i < args->argc; i++)
		free(args->argv[i]);
}
