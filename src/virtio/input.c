#include "virtio/input.h"

#include "util/bits.h"

#include <errno.h>
#include <string.h>

enum {
	DEVICE_ID = 18, /* virtio 1.2, section 5 */
	QUEUE_SIZE = 64,
};

/* 5.8.4 */
enum select { ID_NAME = 0x01, ID_DEVIDS = 0x03, EV_BITS = 0x11 };

/* 5.8.4; less of the union than it may have: what is more reads as zeros */
struct config {
	uint8_t select;
	uint8_t subsel;
	uint8_t size;
	uint8_t reserved[5];
	union {
		char string[56];
		uint8_t bitmap[56];
		struct {
			uint16_t bustype;
			uint16_t vendor;
			uint16_t product;
			uint16_t version;
		} ids;
	} u;
};
static_assert(offsetof(struct config, u) == 8, "as the specification has it");
static_assert(sizeof(struct config) <= VIRTIO_CONFIG_MAX, "fits");

/* 5.8.6; numbers are those of Linux (input-event-codes.h) */
struct event {
	uint16_t type;
	uint16_t code;
	uint32_t value;
};
static_assert(sizeof(struct event) == 8, "as the specification has it");

enum { EV_SYN = 0, EV_KEY = 1, BUS_VIRTUAL = 6 };
enum { KEY_LEFTCTRL = 29, KEY_LEFTALT = 56, KEY_DELETE = 111, KEY_POWER = 116 };

static const uint16_t keys[] = { KEY_LEFTCTRL, KEY_LEFTALT, KEY_DELETE, KEY_POWER };

static const struct event press[] = {
	{ EV_KEY, KEY_POWER, 1 },    { EV_SYN, 0, 0 },
	{ EV_KEY, KEY_POWER, 0 },    { EV_SYN, 0, 0 },
	{ EV_KEY, KEY_LEFTCTRL, 1 }, { EV_KEY, KEY_LEFTALT, 1 },
	{ EV_KEY, KEY_DELETE, 1 },   { EV_SYN, 0, 0 },
	{ EV_KEY, KEY_DELETE, 0 },   { EV_KEY, KEY_LEFTALT, 0 },
	{ EV_KEY, KEY_LEFTCTRL, 0 }, { EV_SYN, 0, 0 },
};

enum { N_EVENTS = ARRAY_SIZE(press) };

/* ---- configuration ---- */

/* \return the bytes of it that count */
static size_t key_bits(uint8_t bitmap[])
{
	size_t size = 0;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		bitmap[keys[i] / 8] |= (uint8_t)BIT(keys[i] % 8);
		size = MAX(size, (size_t)keys[i] / 8 + 1);
	}
	return size;
}

static void store_config(struct input *input)
{
	static const char name[] = "TeleVM power key";
	struct config config = { .select = input->select, .subsel = input->subsel };

	if (input->select == ID_NAME && input->subsel == 0) {
		config.size = sizeof(name) - 1;
		memcpy(config.u.string, name, sizeof(name));
	} else if (input->select == ID_DEVIDS && input->subsel == 0) {
		config.size = sizeof(config.u.ids);
		config.u.ids.bustype = BUS_VIRTUAL;
	} else if (input->select == EV_BITS && input->subsel == EV_KEY) {
		config.size = (uint8_t)key_bits(config.u.bitmap);
	}
	memcpy(input->dev.config, &config, sizeof(config));
}

static void write_config(struct virtio_dev *dev, unsigned int offset, const uint8_t *bytes,
			 unsigned int len)
{
	struct input *input = container_of(dev, struct input, dev);

	for (unsigned int i = 0; i < len; i++) {
		if (offset + i == offsetof(struct config, select))
			input->select = bytes[i];
		if (offset + i == offsetof(struct config, subsel))
			input->subsel = bytes[i];
	}
	store_config(input);
}

/* ---- queues ---- */

/* \return false when there is no buffer for it */
static bool send_event(struct input *input, const struct event *event)
{
	struct virtio_dev *dev = &input->dev;
	struct virtq_chain chain;

	if (!virtio_dev_pop(dev, INPUT_EVENTS, &chain))
		return false;
	if (chain.n_readable > 0 || chain.writable_bytes < sizeof(*event)) {
		virtio_dev_break(dev, "its driver gave a buffer that no event can be put into");
		return false;
	}
	virtq_chain_write(&chain, 0, event, sizeof(*event));
	virtq_push(&dev->queues[INPUT_EVENTS], chain.head, sizeof(*event));
	return true;
}

static void send_events(struct input *input)
{
	while (input->n_sent < N_EVENTS && send_event(input, &press[input->n_sent]))
		input->n_sent++;
	virtio_dev_signal(&input->dev, INPUT_EVENTS);
}

/* There are no lights, so nobody looks at what is in it. */
static bool take_status(struct virtio_dev *dev)
{
	struct virtq_chain chain;

	if (!virtio_dev_pop(dev, INPUT_STATUS, &chain))
		return false;
	if (chain.n_writable > 0) {
		virtio_dev_break(dev, "its driver sent a state that is to be written");
		return false;
	}
	virtq_push(&dev->queues[INPUT_STATUS], chain.head, 0);
	return true;
}

static bool process(struct virtio_dev *dev, unsigned int queue)
{
	struct input *input = container_of(dev, struct input, dev);
	unsigned int n = 0;

	if (queue == INPUT_EVENTS) {
		send_events(input);
		return false;
	}
	while (n < VIRTIO_BUDGET && take_status(dev))
		n++;
	virtio_dev_signal(dev, INPUT_STATUS);
	return n == VIRTIO_BUDGET;
}

static void reset(struct virtio_dev *dev)
{
	struct input *input = container_of(dev, struct input, dev);

	input->n_sent = N_EVENTS;
	input->select = 0;
	input->subsel = 0;
	store_config(input);
}

static const struct virtio_dev_class input_class = {
	.name = "input",
	.device_id = DEVICE_ID,
	.n_queues = INPUT_N_QUEUES,
	.queue_size = QUEUE_SIZE,
	.process = process,
	.reset = reset,
	.write_config = write_config,
};

int input_init(struct input *input, const char *id, const struct guest_mem *mem,
	       const struct irq_line *irq, struct err *err)
{
	int ret = virtio_dev_init(&input->dev, &input_class, id, mem, irq, err);

	if (ret != 0)
		return ret;
	input->dev.config_size = sizeof(struct config);
	reset(&input->dev);
	return 0;
}

void input_deinit(struct input *input)
{
	virtio_dev_deinit(&input->dev);
}

/* Lock held. */
static int try_press(struct input *input, struct err *err)
{
	if (!virtio_dev_is_active(&input->dev) || !input->dev.queues[INPUT_EVENTS].is_ready)
		return err_set(err, -ENODEV, "the guest has no driver for the power key");
	if (input->n_sent < N_EVENTS)
		return err_set(err, -ENODEV,
			       "the guest has not taken the last press of the power "
			       "key yet");
	input->n_sent = 0;
	send_events(input);
	if (input->n_sent > 0)
		return 0;
	input->n_sent = N_EVENTS;
	return err_set(err, -ENODEV, "the guest's driver for the power key takes no events");
}

int input_press_power(struct input *input, struct err *err)
{
	int ret;

	pthread_mutex_lock(&input->dev.lock);
	ret = try_press(input, err);
	pthread_mutex_unlock(&input->dev.lock);
	return ret;
}
