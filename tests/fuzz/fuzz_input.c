/*
 * The keyboard under any sequence of buffers, kicks, registers and key presses. What must hold: as
 * long as the driver keeps the rules, each event comes whole and in order, what is asked of the
 * configuration fits into it, and states come back. Once the input has broken the rings, that the
 * process lives.
 */
#include "driver.h"
#include "util/assert.h"
#include "util/bits.h"
#include "util/log.h"
#include "virtio/input.h"

#include <event2/event.h>
#include <string.h>

enum {
	N_PAGES = 64,
	STEP_BYTES = 4,
	CONFIG = 0x100,
	EVENT_SIZE = 8,
	N_EVENTS = 12,
	ROOM = 56,
};

struct model {
	struct driver d;
	struct input input;
	uint64_t gpa;         /* of buffers, one after the other and round */
	unsigned int n_given; /* since the start of the driver */
	unsigned int n_taken;
	bool is_clean;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void boot(struct model *model)
{
	struct driver *d = &model->d;

	memset(d->queues, 0, sizeof(d->queues));
	d->free_gpa = DRIVER_RAM_GPA;
	model->gpa = driver_alloc(d, DRIVER_PAGE, DRIVER_PAGE);
	model->n_given = 0;
	model->n_taken = 0;
	driver_boot(d, VIRTIO_F_EVENT_IDX);
	model->is_clean = true;
}

static uint64_t buffer_gpa(const struct model *model, unsigned int i)
{
	return model->gpa + i % (DRIVER_PAGE / EVENT_SIZE) * EVENT_SIZE;
}

static void give_buffer(struct model *model)
{
	const struct driver_buf buf = { buffer_gpa(model, model->n_given), EVENT_SIZE, true };

	if (model->n_given - model->n_taken >= model->d.queues[INPUT_EVENTS].size)
		return;
	driver_add(&model->d, INPUT_EVENTS, &buf, 1);
	model->n_given++;
}

static void send_state(struct model *model, const uint8_t *step)
{
	const struct driver_buf buf = { model->gpa, EVENT_SIZE + step[1], false };
	struct driver_used used;

	driver_add(&model->d, INPUT_STATUS, &buf, 1);
	driver_kick(&model->d, INPUT_STATUS);
	if (model->is_clean)
		ASSERT(driver_take_used(&model->d, INPUT_STATUS, &used) && used.len == 0);
}

static void add_nonsense(struct model *model, const uint8_t *step)
{
	unsigned int queue = step[1] & 1;
	const struct driver_buf bufs[] = {
		{ model->gpa + step[2], step[3], (step[1] & 2) != 0 },
		{ model->gpa + step[3], step[2], (step[1] & 4) != 0 },
	};

	model->is_clean = false;
	if ((step[1] & 8) != 0)
		driver_offer(&model->d, queue, (uint16_t)(step[2] << 8 | step[3]));
	else
		driver_add(&model->d, queue, bufs, 1 + (step[1] >> 7));
}

static void break_memory(struct model *model, const uint8_t *step)
{
	uint64_t end = DRIVER_RAM_GPA + (uint64_t)N_PAGES * DRIVER_PAGE;
	uint64_t at = ((uint64_t)step[1] << 8 | step[2]) % 16384;

	memset(driver_ptr(&model->d, end - 16384 + at), step[3], end - at > 1 ? 1 : 0);
	model->is_clean = false;
}

/* A configuration access of any kind; what is selected survives the next boot no more. */
static void select_something(struct model *model, const uint8_t *step)
{
	const struct rig_mmio *mmio = &model->d.mmio;

	rig_write(mmio, CONFIG + step[1] % 80, 1U << (step[1] >> 6), step[2] | step[3] << 8);
	ASSERT(rig_read8(mmio, CONFIG + 2) <= ROOM);
}

static void press(struct model *model)
{
	int ret = input_press_power(&model->input, NULL);

	if (model->is_clean && ret == 0)
		ASSERT(model->n_given > model->n_taken);
}

/* Events come in the order of one press after the other. */
static void take_events(struct model *model)
{
	struct driver_used used;

	while (driver_take_used(&model->d, INPUT_EVENTS, &used)) {
		uint8_t event[EVENT_SIZE];
		unsigned int i = model->n_taken % N_EVENTS;
		bool is_syn = i == 1 || i == 3 || i == 7 || i == 11;

		memcpy(event, driver_ptr(&model->d, buffer_gpa(model, model->n_taken)), EVENT_SIZE);
		ASSERT(used.len == EVENT_SIZE);
		ASSERT(event[0] == !is_syn && event[1] == 0);
		ASSERT(i != 0 || (event[2] == 116 && event[4] == 1));
		model->n_taken++;
	}
}

static void check(struct model *model)
{
	driver_settle(&model->d);
	if (!model->is_clean)
		return;
	ASSERT(virtio_dev_is_active(&model->input.dev));
	take_events(model);
	ASSERT(model->n_taken <= model->n_given);
	ASSERT(model->input.n_sent == model->n_taken % N_EVENTS ||
	       (model->input.n_sent == N_EVENTS && model->n_taken % N_EVENTS == 0));
}

static void take_step(struct model *model, const uint8_t *step)
{
	switch (step[0] % 8) {
	case 0:
		for (unsigned int i = 0; i < step[1] % 16U; i++)
			give_buffer(model);
		break;
	case 1:
		driver_kick(&model->d, INPUT_EVENTS);
		break;
	case 2:
		press(model);
		break;
	case 3:
		send_state(model, step);
		break;
	case 4:
		select_something(model, step);
		break;
	case 5:
		if (step[1] < 32)
			add_nonsense(model, step);
		break;
	case 6:
		if (step[1] < 32)
			break_memory(model, step);
		break;
	default:
		if (step[1] < 32)
			boot(model);
		break;
	}
	check(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model model = { 0 };

	log_set_level(LOG_OFF);
	driver_init(&model.d, N_PAGES);
	if (input_init(&model.input, "keys", &model.d.mem, &model.d.irq.line, NULL) != 0)
		return 0;
	driver_attach(&model.d, &model.input.dev);
	boot(&model);
	for (; size >= STEP_BYTES; data += STEP_BYTES, size -= STEP_BYTES)
		take_step(&model, data);
	input_deinit(&model.input);
	driver_deinit(&model.d);
	return 0;
}
