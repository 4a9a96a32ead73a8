/*
 * The transport and the queues, by a device that keeps some chains for a while and gives the others
 * back at once. Rings are right first and then broken by the input; registers are written in any
 * order, at any width. What must hold: the status takes the steps of the specification and no
 * other, features are what was offered, queues stay as they were from DRIVER_OK on; a chain that is
 * handed out is bounded, inside guest RAM, adds up, and is no one that we have; and after a reset
 * all is well again.
 */
#include "driver.h"
#include "util/assert.h"
#include "util/bits.h"
#include "util/log.h"
#include "virtio/device.h"
#include "virtio/mmio.h"

#include <event2/event.h>
#include <string.h>

enum {
	N_PAGES = 16,
	N_QUEUES = 2,
	QUEUE_SIZE = 16,
	STEP_BYTES = 8,
	CONFIG_SIZE = 7,
	DATA_SIZE = 8192,
	TABLE_SIZE = VIRTQ_CHAIN_MAX,
	REG_STATUS = 0x70,
	READY = 15,
	FAILED = 128,
	NEEDS_RESET = 64,
};

struct model {
	struct virtio_dev dev;
	struct driver d;
	uint64_t data_gpa;
	uint64_t table_gpa; /* for indirect descriptors */
	uint64_t features;  /* as written so far, by our count */
	uint32_t features_sel;
	struct virtq frozen[N_QUEUES]; /* at DRIVER_OK */
	bool is_keeping;
	bool is_undoing;
	struct virtq_chain chain;
	uint16_t kept[N_QUEUES][QUEUE_SIZE]; /* heads */
	unsigned int n_kept[N_QUEUES];
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the device ---- */

static void check_buffers(const struct model *model, const struct iovec *iov, unsigned int n,
			  uint64_t bytes)
{
	for (unsigned int i = 0; i < n; i++) {
		const uint8_t *first = iov[i].iov_base;

		ASSERT(iov[i].iov_len > 0 && iov[i].iov_len <= bytes);
		ASSERT(first >= model->d.ram);
		ASSERT(first + iov[i].iov_len <= model->d.ram + model->d.ram_size);
		bytes -= iov[i].iov_len;
	}
	ASSERT(bytes == 0);
}

static void check_chain(const struct model *model, unsigned int queue)
{
	const struct virtq_chain *chain = &model->chain;

	ASSERT(chain->head < model->dev.queues[queue].size);
	ASSERT(chain->n_readable + chain->n_writable <= VIRTQ_CHAIN_MAX);
	check_buffers(model, chain->iov, chain->n_readable, chain->readable_bytes);
	check_buffers(model, virtq_chain_writable(chain), chain->n_writable, chain->writable_bytes);
	for (unsigned int i = 0; i < model->n_kept[queue]; i++)
		ASSERT(model->kept[queue][i] != chain->head);
}

static void echo(struct model *model, unsigned int queue)
{
	const struct virtq_chain *chain = &model->chain;
	uint8_t bytes[100];
	size_t len = virtq_chain_read(chain, 0, bytes, sizeof(bytes));

	ASSERT(len == MIN((size_t)chain->readable_bytes, sizeof(bytes)));
	len = virtq_chain_write(chain, 0, bytes, len);
	virtq_push(&model->dev.queues[queue], chain->head, (uint32_t)len);
}

static bool process(struct virtio_dev *dev, unsigned int queue)
{
	struct model *model = container_of(dev, struct model, dev);

	for (unsigned int i = 0; i < VIRTIO_BUDGET; i++) {
		if (!virtio_dev_pop(dev, queue, &model->chain))
			break;
		check_chain(model, queue);
		if (model->is_undoing) {
			virtq_unpop(&dev->queues[queue], model->chain.head);
			break;
		}
		if (model->is_keeping)
			model->kept[queue][model->n_kept[queue]++] = model->chain.head;
		else
			echo(model, queue);
	}
	virtio_dev_signal_all(dev);
	return false;
}

static void reset(struct virtio_dev *dev)
{
	memset(container_of(dev, struct model, dev)->n_kept, 0,
	       sizeof(((struct model *)0)->n_kept));
}

static void write_config(struct virtio_dev *dev, unsigned int offset, const uint8_t *bytes,
			 unsigned int len)
{
	ASSERT(offset + len <= CONFIG_SIZE);
	memcpy(dev->config + offset, bytes, len);
}

static const struct virtio_dev_class class = {
	.name = "echo",
	.device_id = 42,
	.features = BIT(1) | BIT(40),
	.n_queues = N_QUEUES,
	.queue_size = QUEUE_SIZE,
	.process = process,
	.reset = reset,
	.write_config = write_config,
};

/* Give one back that was kept, whichever. */
static void complete(struct model *model, uint8_t queue, uint8_t which)
{
	unsigned int *n = &model->n_kept[queue % N_QUEUES];
	uint16_t *kept = model->kept[queue % N_QUEUES];

	if (*n == 0 || !virtio_dev_is_active(&model->dev))
		return;
	virtq_push(&model->dev.queues[queue % N_QUEUES], kept[which % *n], 0);
	kept[which % *n] = kept[*n - 1];
	(*n)--;
	virtio_dev_signal_all(&model->dev);
}

/* ---- registers ---- */

static bool has_agreed(const struct model *model)
{
	return (model->features & VIRTIO_F_VERSION_1) != 0 &&
	       (model->features & ~model->dev.offered) == 0;
}

/* 3.1.1, written out once more. \return the status that must be there, but for NEEDS_RESET */
static uint8_t status_after(const struct model *model, uint8_t from, uint32_t to)
{
	static const uint8_t steps[][2] = { { 0, 1 }, { 0, 3 }, { 1, 3 }, { 11, READY } };

	if (to == 0 || to == (from | (uint32_t)FAILED))
		return (uint8_t)to;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		if (from == steps[i][0] && to == steps[i][1])
			return (uint8_t)to;
	}
	return from == 3 && to == 11 && has_agreed(model) ? 11 : from;
}

static void write_status(struct model *model, uint32_t value)
{
	uint8_t before = model->dev.status;
	uint8_t expected = status_after(model, before, value);
	uint8_t after;

	rig_write32(&model->d.mmio, REG_STATUS, value);
	after = (uint8_t)rig_read32(&model->d.mmio, REG_STATUS);
	ASSERT((after & ~NEEDS_RESET) == (expected & ~NEEDS_RESET));
	ASSERT(value == 0 || (before & NEEDS_RESET) == 0 || (after & NEEDS_RESET) != 0);
	if (value == 0)
		model->features = 0;
	if (value == 0)
		model->features_sel = 0;
	if (before == 11 && value == READY)
		memcpy(model->frozen, model->dev.queues, sizeof(model->frozen));
}

static void note_features(struct model *model, uint32_t reg, uint32_t value)
{
	unsigned int shift = 32 * model->features_sel;

	if (reg == 0x24)
		model->features_sel = value;
	if (reg != 0x20 || model->dev.status != 3 || model->features_sel > 1)
		return;
	model->features &= ~((uint64_t)UINT32_MAX << shift);
	model->features |= (uint64_t)value << shift;
}

static void write_register(struct model *model, const uint8_t *step)
{
	static const uint8_t regs[] = { 0x00, 0x0c, 0x10, 0x14, 0x20, 0x24, 0x30, 0x34,
					0x38, 0x44, 0x50, 0x60, 0x64, 0x70, 0x80, 0x84,
					0x90, 0x94, 0xa0, 0xa4, 0xb0, 0xfc };
	static const uint32_t values[] = { 0,    1,       2,       3,          8,         11,
					   15,   16,      64,      128,        0xffff,    0x10000,
					   1024, 1 << 29, 1 << 28, 0x80000000, UINT32_MAX };
	uint32_t reg = regs[step[1] % ARRAY_SIZE(regs)];
	uint32_t value = values[step[2] % ARRAY_SIZE(values)];

	/* Places of rings: most are in RAM. */
	if (reg >= 0x80 && reg < 0xb0 && step[3] < 200)
		value = (reg & 4) != 0 ? 0 : DRIVER_RAM_GPA + (uint32_t)load_le(step + 4, 2) * 2;
	if (reg == REG_STATUS) {
		write_status(model, step[3] < 200 ? value : (uint32_t)load_le(step + 4, 4));
		return;
	}
	note_features(model, reg, value);
	rig_write32(&model->d.mmio, reg, value);
}

/* Any width, any place: what is no whole register changes nothing but the configuration. */
static void access_oddly(struct model *model, const uint8_t *step)
{
	unsigned int len = 1U << step[1] % 4;
	uint64_t at = load_le(step + 2, 2) % (VIRTIO_MMIO_SIZE - 8);
	uint64_t value = load_le(step + 4, 4);

	if (step[1] < 128)
		at = VIRTIO_MMIO_CONFIG + at % 80;
	else if (at < VIRTIO_MMIO_CONFIG && len == 4 && at % 4 == 0)
		return;
	rig_write(&model->d.mmio, at, len, value);
	value = rig_read(&model->d.mmio, at, len);
	ASSERT(value == load_le(model->d.registers + at, len));
	ASSERT(at < VIRTIO_MMIO_CONFIG + CONFIG_SIZE || value == 0);
}

/* ---- rings ---- */

static void boot(struct model *model, uint64_t features)
{
	driver_boot(&model->d, features);
	model->features = features | VIRTIO_F_VERSION_1;
	model->features_sel = 1;
	memcpy(model->frozen, model->dev.queues, sizeof(model->frozen));
}

static struct driver_buf make_buf(const struct model *model, uint8_t at, uint8_t len)
{
	return (struct driver_buf){
		.gpa = model->data_gpa + (uint64_t)at * 16,
		.len = len * 16U,
		.is_writable = at >= 128,
	};
}

static void add_chain(struct model *model, const uint8_t *step)
{
	const struct driver_buf bufs[] = {
		make_buf(model, step[2] & 127, step[3]),
		make_buf(model, step[4], step[5]),
		make_buf(model, step[6] | 128, step[7]),
	};
	unsigned int n = 1 + step[1] / 2 % 3;

	driver_add(&model->d, step[1] % N_QUEUES, bufs, n);
}

/* Its descriptor alone, or behind another: then the largest table is one buffer too many. */
static void add_indirect(struct model *model, const uint8_t *step)
{
	struct driver_queue *q = &model->d.queues[step[1] % N_QUEUES];
	struct driver_desc *table = driver_ptr(&model->d, model->table_gpa);
	unsigned int n = step[2] < 192 ? 1 + step[2] % 8 : TABLE_SIZE - step[2] % 2;
	uint16_t head = step[5] % QUEUE_SIZE;
	uint16_t at = (uint16_t)(head + step[7] % 2) % QUEUE_SIZE;

	for (unsigned int i = 0; i < n; i++)
		table[i] = (struct driver_desc){
			.gpa = model->data_gpa + i,
			.len = step[3],
			.flags = (uint16_t)((i + 1 < n ? DRIVER_NEXT : 0) |
					    (i >= step[4] ? DRIVER_WRITE : 0)),
			.next = (uint16_t)(i + 1),
		};
	q->desc[head] = (struct driver_desc){ model->data_gpa, 1, DRIVER_NEXT, at };
	q->desc[at] = (struct driver_desc){
		.gpa = model->table_gpa,
		.len = n * (uint32_t)sizeof(*table) + (step[6] == 255),
		.flags = DRIVER_INDIRECT,
	};
	driver_offer(&model->d, step[1] % N_QUEUES, head);
}

static void break_desc(struct model *model, const uint8_t *step)
{
	struct driver_desc *desc = &model->d.queues[step[1] % N_QUEUES].desc[step[1] / 16];

	if ((step[2] & 8) != 0)
		desc = (struct driver_desc *)driver_ptr(&model->d, model->table_gpa) + step[3];
	switch (step[2] % 4) {
	case 0:
		desc->gpa += load_le(step + 4, 4) << step[3] % 32;
		break;
	case 1:
		desc->len = (uint32_t)load_le(step + 4, 4);
		break;
	case 2:
		desc->flags ^= step[4] % 8;
		break;
	default:
		desc->next = (uint16_t)load_le(step + 4, 2);
		break;
	}
}

/* Any bytes: rings, tables, event indices, data. */
static void break_memory(struct model *model, const uint8_t *step)
{
	uint64_t at = load_le(step + 1, 2) % (N_PAGES * DRIVER_PAGE - 2);

	memcpy(model->d.ram + at, step + 3, 2);
}

/* ---- steps ---- */

/* Once for the kicks: the device leaves nothing for another turn. */
static void settle(struct model *model)
{
	event_base_loop(model->d.base, EVLOOP_NONBLOCK);
}

static void check(const struct model *model)
{
	const struct virtio_dev *dev = &model->dev;
	uint8_t status = dev->status;

	ASSERT((dev->features & ~dev->offered) == 0);
	ASSERT(load_le(model->d.registers + REG_STATUS, 4) == status);
	ASSERT(load_le(model->d.registers + 0x60, 4) == dev->isr);
	ASSERT((dev->isr != 0) == model->d.irq.is_high);
	for (unsigned int i = 0; i < N_QUEUES && (status & VIRTIO_STATUS_DRIVER_OK) != 0; i++) {
		const struct virtq *now = &dev->queues[i];
		const struct virtq *then = &model->frozen[i];

		ASSERT(now->size == then->size && now->is_ready == then->is_ready);
		ASSERT(now->desc == then->desc && now->avail == then->avail);
		ASSERT(now->used == then->used && now->desc_gpa == then->desc_gpa);
	}
}

static void take_step(struct model *model, const uint8_t *step)
{
	switch (step[0] % 12) {
	case 0:
	case 1:
		write_register(model, step);
		break;
	case 2:
		access_oddly(model, step);
		break;
	case 3:
	case 4:
		add_chain(model, step);
		break;
	case 5:
		add_indirect(model, step);
		break;
	case 6:
		break_desc(model, step);
		break;
	case 7:
		break_memory(model, step);
		break;
	case 8:
		model->is_keeping = (step[1] & 1) != 0;
		model->is_undoing = (step[1] & 6) == 6;
		virtio_dev_config_changed(&model->dev);
		break;
	case 9:
		complete(model, step[1], step[2]);
		break;
	case 10:
		if (step[1] < 64)
			boot(model, model->dev.offered & ~((uint64_t)step[2] << 28));
		else
			driver_offer(&model->d, step[1] % N_QUEUES, step[2] % (QUEUE_SIZE + 1));
		break;
	default:
		rig_write32(&model->d.mmio, 0x50, step[1] % (N_QUEUES + 1));
		break;
	}
	settle(model);
	check(model);
}

/* After whatever was done to it: a reset, and a chain there and back. */
static void check_that_it_works(struct model *model)
{
	const struct driver_buf bufs[] = { make_buf(model, 0, 1), make_buf(model, 128, 1) };
	struct driver_used used;
	uint16_t head;

	model->is_keeping = false;
	model->is_undoing = false;
	write_status(model, 0);
	ASSERT(!model->d.irq.is_high);
	boot(model, 0);
	head = driver_add(&model->d, 1, bufs, ARRAY_SIZE(bufs));
	driver_kick(&model->d, 1);
	ASSERT(driver_take_used(&model->d, 1, &used) && used.head == head && used.len == 16);
	ASSERT(driver_status(&model->d) == READY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct model model;
	struct err err;
	int ret;

	if (size == 0)
		return 0;
	log_set_level(LOG_OFF);
	model = (struct model){ 0 };
	driver_init(&model.d, N_PAGES);
	ret = virtio_dev_init(&model.dev, &class, "e0", &model.d.mem, &model.d.irq.line, &err);
	ASSERT(ret == 0);
	model.dev.config_size = CONFIG_SIZE;
	driver_attach(&model.d, &model.dev);
	model.data_gpa = driver_alloc(&model.d, DATA_SIZE, 16);
	model.table_gpa = driver_alloc(&model.d, TABLE_SIZE * sizeof(struct driver_desc), 16);
	boot(&model, model.dev.offered);
	model.is_keeping = data[0] % 2 != 0;
	for (size_t at = 1; at + STEP_BYTES <= size; at += STEP_BYTES)
		take_step(&model, data + at);
	check_that_it_works(&model);
	virtio_dev_deinit(&model.dev);
	driver_deinit(&model.d);
	return 0;
}
