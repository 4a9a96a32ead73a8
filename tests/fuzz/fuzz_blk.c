/*
 * The block device under requests that are right first and then broken by the input: types,
 * sectors, lengths, flags and links of descriptors, the ring's index, bytes of the request, resets.
 * What must hold: no byte past the disk's end and no byte of a read-only disk changes, the status
 * says OK only of what lies inside, no request is ever lost, and the device works again after a
 * reset.
 */
#include "backend/disk.h"
#include "util/assert.h"
#include "util/bits.h"
#include "virtio/blk.h"
#include "virtio/mmio.h"

#include <event2/event.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	RAM_GPA = 0x80000000u,
	RAM_SIZE = 128 * 1024,
	QUEUE_SIZE = 16,
	N_SECTORS = 64,
	TAIL = 100, /* bytes of the file that are not the disk's */
	DESC = 0,   /* places in RAM */
	AVAIL = 4096,
	USED = 8192,
	HEADERS = 12288,
	STATUSES = 16384,
	DATA = 20480,
	STEP_BYTES = 8,
	CANARY = 0x5a,
};

struct desc {
	uint64_t gpa;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

/* Once for all inputs: the machine around the device. */
struct world {
	struct guest_mem mem;
	uint8_t *ram;
	struct event_base *base;
	struct irq_sink sink;
	struct irq_line line;
	char path[32];
	int fd;
};

struct run {
	struct world *world;
	struct disk disk;
	struct blk blk;
	bool is_read_only;
	uint16_t slot; /* the next request's descriptors and buffers */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore_line(struct irq_sink *sink, uint32_t source)
{
	(void)sink;
	(void)source;
}

static struct world *the_world(void)
{
	static struct world world;
	struct err err;

	if (world.ram != NULL)
		return &world;
	log_set_level(LOG_OFF);
	ASSERT(guest_mem_add(&world.mem, RAM_GPA, RAM_SIZE, GUEST_MEM_SMALL_PAGES, &err) == 0);
	world.ram = guest_mem_ptr(&world.mem, RAM_GPA, RAM_SIZE);
	world.base = event_base_new();
	world.sink = (struct irq_sink){ .raise = ignore_line, .lower = ignore_line };
	world.line = (struct irq_line){ .sink = &world.sink, .source = 1 };
	world.fd = memfd_create("disk", MFD_CLOEXEC);
	snprintf(world.path, sizeof(world.path), "/proc/self/fd/%d", world.fd);
	return &world;
}

static void fill_file(int fd)
{
	uint8_t bytes[N_SECTORS * DISK_SECTOR + TAIL];

	memset(bytes, CANARY, sizeof(bytes));
	ASSERT(pwrite(fd, bytes, sizeof(bytes), 0) == sizeof(bytes));
}

static void check_file(const struct run *run)
{
	uint8_t bytes[N_SECTORS * DISK_SECTOR + TAIL];
	size_t from = run->is_read_only ? 0 : N_SECTORS * DISK_SECTOR;
	struct stat st;

	ASSERT(fstat(run->world->fd, &st) == 0 && st.st_size == sizeof(bytes));
	ASSERT(pread(run->world->fd, bytes, sizeof(bytes), 0) == sizeof(bytes));
	for (size_t i = from; i < sizeof(bytes); i++)
		ASSERT(bytes[i] == CANARY);
}

static void write_reg(struct run *run, uint64_t reg, uint32_t value)
{
	virtio_mmio_ops.write(&run->blk.dev, reg, 4, value);
}

/* 3.1.1, with all that is offered */
static void boot(struct run *run)
{
	uint64_t features = run->blk.dev.offered;

	memset(run->world->ram, 0, DATA);
	run->slot = 0;
	write_reg(run, 0x70, 0);
	write_reg(run, 0x70, 1);
	write_reg(run, 0x70, 3);
	for (uint32_t i = 0; i < 2; i++) {
		write_reg(run, 0x24, i);
		write_reg(run, 0x20, (uint32_t)(features >> (32 * i)));
	}
	write_reg(run, 0x70, 11);
	write_reg(run, 0x30, 0);
	write_reg(run, 0x38, QUEUE_SIZE);
	write_reg(run, 0x80, RAM_GPA + DESC);
	write_reg(run, 0x90, RAM_GPA + AVAIL);
	write_reg(run, 0xa0, RAM_GPA + USED);
	write_reg(run, 0x44, 1);
	write_reg(run, 0x70, 15);
	ASSERT(run->blk.dev.status == 15);
}

static bool is_well(const struct run *run)
{
	return run->blk.dev.status == 15;
}

static void settle(struct run *run)
{
	/* One loop for the kick, and one for each budget's worth of what the ring may hold. */
	for (int i = 0; i < 4; i++)
		event_base_loop(run->world->base, EVLOOP_NONBLOCK);
	ASSERT(disk_drain(&run->disk, 60000));
	ASSERT(run->blk.n_free == disk_depth(&run->disk));
}

static struct desc *desc_at(struct run *run, unsigned int i)
{
	return (struct desc *)(void *)(run->world->ram + DESC) + i % QUEUE_SIZE;
}

static struct header *header_at(struct run *run, unsigned int slot)
{
	return (struct header *)(void *)(run->world->ram + HEADERS) + slot;
}

static void offer(struct run *run, uint16_t head)
{
	uint16_t *avail = (uint16_t *)(void *)(run->world->ram + AVAIL);

	avail[2 + avail[1] % QUEUE_SIZE] = head;
	avail[1]++;
}

/* Three descriptors of four that each slot has. */
static void make_request(struct run *run, uint32_t type, uint64_t sector, uint32_t len)
{
	static const uint8_t is_in[16] = { [0] = 1, [8] = 1 };
	uint16_t slot = run->slot++ % (QUEUE_SIZE / 4);
	uint16_t head = slot * 4;
	uint16_t flags = type < 16 && is_in[type] ? 1 | 2 : 1;

	*header_at(run, slot) = (struct header){ .type = type, .sector = sector };
	run->world->ram[STATUSES + slot] = 0xff;
	*desc_at(run, head) = (struct desc){ RAM_GPA + HEADERS + slot * sizeof(struct header),
					     sizeof(struct header), 1, head + 1 };
	*desc_at(run, head + 1) = (struct desc){ RAM_GPA + DATA, len, flags, head + 2 };
	*desc_at(run, head + 2) = (struct desc){ RAM_GPA + STATUSES + slot, 1, 2, 0 };
	offer(run, head);
}

/* Ranges for DISCARD and WRITE_ZEROES lie where data does. */
static void make_range(struct run *run, const uint8_t *step)
{
	uint8_t *at = run->world->ram + DATA + step[1] % 20 * 16;

	store_le(at, load_le(step + 2, 2), 8);
	if (step[4] == 255)
		memset(at, 255, 8);
	store_le(at + 8, step[5] == 255 ? UINT32_MAX : step[5], 4);
	store_le(at + 12, step[6] < 250 ? step[6] % 2 : step[6], 4);
}

static void ask(struct run *run, const uint8_t *step)
{
	static const uint32_t types[] = { 0, 1, 4, 8, 11, 13, 2, 0x80000000 };
	uint32_t type = types[step[1] % ARRAY_SIZE(types)];
	uint64_t sector = load_le(step + 2, 2) % (N_SECTORS + 8);
	uint32_t len = (uint32_t)load_le(step + 4, 2);

	if (type == 11 || type == 13)
		len = len % 20 * 16;
	else if (step[6] < 240)
		len = len % (N_SECTORS + 2) * DISK_SECTOR;
	if (step[7] == 255)
		sector = UINT64_MAX - sector;
	make_request(run, type, sector, len);
}

/* A request as it should be, and what its status must then be. */
static void ask_rightly(struct run *run, const uint8_t *step)
{
	uint64_t sector = step[1] % (N_SECTORS + 4);
	uint32_t n = step[2] % 16;
	bool is_write = step[3] % 2 != 0;
	uint16_t slot;

	/* From reset: what was left in the ring may write over this request. */
	boot(run);
	slot = run->slot % (QUEUE_SIZE / 4);
	make_request(run, is_write, sector, n * DISK_SECTOR);
	write_reg(run, 0x50, 0);
	settle(run);
	ASSERT(is_well(run));
	ASSERT(run->world->ram[STATUSES + slot] ==
	       (sector + n > N_SECTORS || (is_write && run->is_read_only)));
}

static void break_desc(struct run *run, const uint8_t *step)
{
	struct desc *desc = desc_at(run, step[1]);

	switch (step[2] % 5) {
	case 0:
		desc->gpa = RAM_GPA + load_le(step + 3, 4) % (2 * RAM_SIZE);
		break;
	case 1:
		desc->len = (uint32_t)load_le(step + 3, 4) >> step[7] % 32;
		break;
	case 2:
		desc->flags ^= step[3] % 8;
		break;
	case 3:
		desc->next = step[3] % (QUEUE_SIZE + 1);
		break;
	default:
		desc->gpa = UINT64_MAX - step[3];
		break;
	}
}

static void take_step(struct run *run, const uint8_t *step)
{
	switch (step[0] % 10) {
	case 0:
	case 1:
	case 2:
		ask(run, step);
		break;
	case 3:
		break_desc(run, step);
		break;
	case 4:
		make_range(run, step);
		break;
	case 5:
		ask_rightly(run, step);
		break;
	case 6:
		/* Any byte of rings, headers, statuses and some data. */
		run->world->ram[load_le(step + 1, 2) % (DATA + 512)] ^= step[3];
		break;
	case 7:
		if (step[1] < 64 || !is_well(run))
			boot(run);
		break;
	case 8:
		virtio_mmio_ops.write(&run->blk.dev, 0x100 + step[1] % 70, 1 << step[2] % 4,
				      step[3]);
		break;
	default:
		write_reg(run, 0x50, 0);
		settle(run);
		break;
	}
}

static void init(struct run *run, uint8_t options)
{
	const struct blk_config config = {
		.id = "b",
		.cache = options % 4 == 0 ? BLK_CACHE_UNSAFE : BLK_CACHE_WRITEBACK,
	};
	struct world *world = run->world;
	struct err err;

	fill_file(world->fd);
	run->is_read_only = options % 8 == 7;
	ASSERT(disk_open(&run->disk, world->path, run->is_read_only,
			 options >= 128 ? DISK_ENGINE_IO_URING : DISK_ENGINE_SYNC, &err) == 0);
	ASSERT(blk_init(&run->blk, &config, &run->disk, &world->mem, &world->line, world->base,
			&err) == 0);
	ASSERT(virtio_dev_start(&run->blk.dev, world->base, &err) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t last[STEP_BYTES] = { 5, 3, 2, 0 };
	struct run run = { .world = the_world() };

	if (size == 0)
		return 0;
	init(&run, data[0]);
	boot(&run);
	for (size_t at = 1; at + STEP_BYTES <= size; at += STEP_BYTES)
		take_step(&run, data + at);
	settle(&run);
	ask_rightly(&run, last);
	check_file(&run);
	blk_deinit(&run.blk);
	disk_close(&run.disk);
	return 0;
}
