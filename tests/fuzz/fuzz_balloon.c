/*
 * The balloon under any sequence of chains, kicks, registers, timers and calls of the host. What
 * must hold: as long as the driver keeps the rules, each chain comes back (but one of statistics),
 * and pages that it did not name keep what is in them. Once the input has broken the rings, that
 * the process lives.
 */
#include "driver.h"
#include "util/assert.h"
#include "util/bits.h"
#include "util/log.h"
#include "virtio/balloon.h"

#include <event2/event.h>

enum {
	N_PAGES = 256,
	/* Free memory, which the driver may name; around it lie the rings and lists. */
	FREE_FIRST = 96,
	FREE_LAST = 224,
	KEPT = FREE_LAST, /* a page that it never names, as long as it keeps the rules */
	STEP_BYTES = 4,
	CONFIG = 0x100,
	STATS = 2,
	ALL_FEATURES = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5,
	RAM_PFN = DRIVER_RAM_GPA / BALLOON_PAGE_SIZE,
};

struct model {
	struct driver d;
	struct balloon balloon;
	uint64_t list_gpa;
	bool is_clean;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void boot(struct model *model)
{
	struct driver *d = &model->d;

	memset(d->queues, 0, sizeof(d->queues));
	d->free_gpa = DRIVER_RAM_GPA;
	model->list_gpa = driver_alloc(d, DRIVER_PAGE, DRIVER_PAGE);
	driver_boot(d, ALL_FEATURES);
	memset(driver_ptr(d, DRIVER_RAM_GPA + (uint64_t)KEPT * DRIVER_PAGE), 0x5a, DRIVER_PAGE);
	model->is_clean = true;
}

/* A buffer of the list, for queues that are told numbers, or of free memory. */
static struct driver_buf make_buf(struct model *model, unsigned int queue, uint8_t where,
				  uint8_t len)
{
	if (queue < 3 || (where & 1) != 0)
		return (struct driver_buf){ model->list_gpa + where, len, false };
	return (struct driver_buf){
		.gpa = DRIVER_RAM_GPA + (uint64_t)(FREE_FIRST + (where & 63)) * DRIVER_PAGE +
		       (where & 64),
		.len = len * (DRIVER_PAGE / 4),
		.is_writable = true,
	};
}

static void add_chain(struct model *model, const uint8_t *step)
{
	unsigned int queue = step[1] % 5;
	struct driver_queue *q = &model->d.queues[queue];
	struct driver_buf bufs[2];
	unsigned int n = 1 + (step[1] >> 7);

	if (step[1] % 8 == 7)
		driver_offer(&model->d, queue, (uint16_t)(step[2] << 8 | step[3]));
	if (step[1] % 8 == 7 || (uint16_t)(q->avail[1] - q->used[1]) >= q->size / 2)
		model->is_clean = false;
	bufs[0] = make_buf(model, queue, step[2], step[3] & 127);
	bufs[1] = make_buf(model, queue, step[3] & 0xfe, step[2] & 127);
	/* What is read comes before what is written. */
	if (bufs[0].is_writable && !bufs[1].is_writable)
		n = 1;
	driver_add(&model->d, queue, bufs, n);
}

static void write_list(struct model *model, const uint8_t *step)
{
	uint32_t *list = driver_ptr(&model->d, model->list_gpa);
	/* Free pages of RAM, or what is none. */
	uint32_t pfn = step[3] < 128 ? RAM_PFN + FREE_FIRST + step[3] : RAM_PFN - step[3];

	for (unsigned int i = 0; i < 4; i++)
		list[(step[2] + i) % 96] = pfn + (step[1] & 1 ? i & 1 : 0);
	if (pfn == RAM_PFN + FREE_LAST - 1)
		model->is_clean = false;
	/* Or small numbers: commands, statistics. */
	if ((step[1] & 2) != 0)
		list[step[2] % 96] = step[3] & 7;
}

/* Any two bytes that are no free memory: rings, descriptors, lists. */
static void break_memory(struct model *model, const uint8_t *step)
{
	uint32_t at = (uint32_t)step[1] << 8 | step[2];
	uint64_t end = DRIVER_RAM_GPA + (uint64_t)N_PAGES * DRIVER_PAGE;

	if ((at & 1) != 0)
		memset(driver_ptr(&model->d, end - 8192 + at / 9), step[3], 2);
	else
		memset(driver_ptr(&model->d, DRIVER_RAM_GPA + at), step[3], 2);
	model->is_clean = false;
}

static void call_as_host(struct model *model, const uint8_t *step)
{
	struct balloon *balloon = &model->balloon;
	struct balloon_hinting_status hinting;
	struct balloon_status status;

	switch (step[1] % 4) {
	case 0:
		if (balloon_set_target(balloon, step[2], NULL) == 0) {
			balloon_get_status(balloon, &status);
			ASSERT(status.target_pages == step[2] * 256U);
		}
		break;
	case 1:
		if (balloon_start_hinting(balloon, (step[2] & 1) != 0, NULL) == 0) {
			balloon_get_hinting(balloon, &hinting);
			ASSERT(hinting.host_cmd >= 2);
		}
		break;
	case 2:
		if (balloon_stop_hinting(balloon, NULL) == 0) {
			balloon_get_hinting(balloon, &hinting);
			ASSERT(hinting.host_cmd == 1);
		}
		break;
	default:
		event_active(balloon->stats_timer, EV_TIMEOUT, 0);
		break;
	}
}

static void check(struct model *model)
{
	struct driver *d = &model->d;
	const uint8_t *kept = driver_ptr(d, DRIVER_RAM_GPA + (uint64_t)KEPT * DRIVER_PAGE);

	driver_settle(d);
	if (!model->is_clean)
		return;
	ASSERT(virtio_dev_is_active(&model->balloon.dev));
	ASSERT(kept[0] == 0x5a && kept[DRIVER_PAGE - 1] == 0x5a);
}

static void kick(struct model *model)
{
	struct driver *d = &model->d;

	for (unsigned int i = 0; i < 5; i++)
		driver_kick(d, i);
	if (!model->is_clean)
		return;
	for (unsigned int i = 0; i < 5; i++) {
		uint16_t n_left = (uint16_t)(d->queues[i].avail[1] - d->queues[i].used[1]);

		ASSERT(n_left <= (i == STATS));
	}
}

static void take_step(struct model *model, const uint8_t *step)
{
	switch (step[0] % 8) {
	case 0:
	case 1:
		add_chain(model, step);
		break;
	case 2:
		write_list(model, step);
		break;
	case 3:
		call_as_host(model, step);
		break;
	case 4:
		break_memory(model, step);
		break;
	case 5:
		rig_write(&model->d.mmio, CONFIG + step[1] % 16, 1U << (step[2] & 3), step[3]);
		break;
	case 6:
		if (step[1] < 16)
			boot(model);
		break;
	default:
		kick(model);
		break;
	}
	check(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct balloon_config config = {
		.stats_interval_s = 3600,
		.deflate_on_oom = true,
		.reporting = true,
		.hinting = true,
	};
	struct model model = { 0 };
	struct err err;
	int ret;

	log_set_level(LOG_OFF);
	driver_init(&model.d, N_PAGES);
	ret = balloon_init(&model.balloon, "b0", &config, &model.d.mem, &model.d.irq.line,
			   model.d.base, &err);
	ASSERT(ret == 0);
	driver_attach(&model.d, &model.balloon.dev);
	boot(&model);
	for (size_t at = 0; at + STEP_BYTES <= size; at += STEP_BYTES)
		take_step(&model, data + at);
	balloon_deinit(&model.balloon);
	driver_deinit(&model.d);
	return 0;
}
