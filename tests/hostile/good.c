/*
 * A request that each kind of device must serve: how it is known that a device works.
 */
#include "hostile.h"

enum {
	/* Parts of a device's page for good requests. */
	AT_OUT = 0,
	AT_IN = 1024,
	AT_END = 3072,

	GUEST_CID = 42,
	VSOCK_RX = 0,
	PORT_OF_NOBODY = 9,
	OP_RST = 3,
	OP_RW = 5,
};

static struct buf part(const struct dev *d, unsigned int at, uint32_t len, bool is_writable)
{
	return (struct buf){ .gpa = d->good_gpa + at, .len = len, .is_writable = is_writable };
}

/* ---- blk: read sector 1 ---- */

static void blk_put(struct dev *d)
{
	struct blk_header *header = dev_ptr(d, d->good_gpa + AT_OUT);
	const struct buf bufs[] = {
		part(d, AT_OUT, sizeof(*header), false),
		part(d, AT_IN, SECTOR, true),
		part(d, AT_END, 1, true),
	};

	header->type = 0;
	header->sector = 1;
	dev_add(d, d->queue, bufs, COUNT(bufs));
}

static verdict blk_get(const struct dev *d, const struct used_elem *used)
{
	const uint8_t *bytes = dev_ptr(d, d->good_gpa + AT_IN);
	const uint8_t *status = dev_ptr(d, d->good_gpa + AT_END);

	REQUIRE(used->len == SECTOR + 1);
	REQUIRE(*status == 0);
	for (unsigned int i = 0; i < SECTOR; i++)
		REQUIRE(bytes[i] == GOOD_BYTE);
	return NULL;
}

/* ---- net: send a broadcast of no known protocol ---- */

static void net_put(struct dev *d)
{
	enum { HEADER = 12, FRAME = 60, ADDRESSES = 12, TYPE = 0x88b5 };
	uint8_t *bytes = dev_ptr(d, d->good_gpa + AT_OUT);
	const struct buf bufs[] = { part(d, AT_OUT, HEADER + FRAME, false) };

	fill(bytes, 0, HEADER + FRAME);
	fill(bytes + HEADER, 0xff, 6);
	bytes[HEADER + 6] = 2;
	bytes[HEADER + ADDRESSES] = TYPE >> 8;
	bytes[HEADER + ADDRESSES + 1] = TYPE & 0xff;
	dev_add(d, d->queue, bufs, COUNT(bufs));
}

/* ---- vsock: a packet of no connection is answered by an RST ---- */

static void vsock_put(struct dev *d)
{
	struct vsock_header *header = dev_ptr(d, d->good_gpa + AT_OUT);
	const struct buf rx[] = { part(d, AT_IN, 1024, true) };
	const struct buf tx[] = { part(d, AT_OUT, sizeof(*header), false) };

	*header = (struct vsock_header){
		.src_cid = GUEST_CID,
		.dst_cid = 2,
		.src_port = PORT_OF_NOBODY,
		.dst_port = PORT_OF_NOBODY,
		.type = 1,
		.op = OP_RW,
	};
	dev_add(d, VSOCK_RX, rx, COUNT(rx));
	dev_add(d, d->queue, tx, COUNT(tx));
}

static verdict vsock_get(struct dev *d)
{
	const struct vsock_header *answer = dev_ptr(d, d->good_gpa + AT_IN);
	struct used_elem used;

	REQUIRE(dev_wait_used(d, VSOCK_RX, &used));
	REQUIRE(used.len == sizeof(*answer));
	REQUIRE(answer->op == OP_RST);
	REQUIRE(answer->dst_port == PORT_OF_NOBODY);
	return NULL;
}

/* ---- rng: 64 bytes ---- */

static void rng_put(struct dev *d)
{
	const struct buf bufs[] = { part(d, AT_IN, 64, true) };

	dev_add(d, d->queue, bufs, COUNT(bufs));
}

/* ---- balloon: give one page away ---- */

static void balloon_put(struct dev *d)
{
	uint32_t *pfn = dev_ptr(d, d->good_gpa + AT_OUT);
	const struct buf bufs[] = { part(d, AT_OUT, sizeof(*pfn), false) };

	/* The page behind: see add_device(). */
	*pfn = (uint32_t)(d->good_gpa / PAGE + 1);
	fill(dev_ptr(d, d->good_gpa + PAGE), 1, 1);
	dev_add(d, d->queue, bufs, COUNT(bufs));
}

static verdict balloon_get(const struct dev *d)
{
	const volatile uint8_t *page = dev_ptr(d, d->good_gpa + PAGE);

	REQUIRE(*page == 0);
	return NULL;
}

/* ---- console: a newline ---- */

static void console_put(struct dev *d)
{
	const struct buf bufs[] = { part(d, AT_OUT, 1, false) };

	fill(dev_ptr(d, d->good_gpa + AT_OUT), '\n', 1);
	dev_add(d, d->queue, bufs, COUNT(bufs));
}

/* ---- input: a state of lights ---- */

static void input_put(struct dev *d)
{
	enum { EVENT = 8 };
	const struct buf bufs[] = { part(d, AT_OUT, EVENT, false) };

	fill(dev_ptr(d, d->good_gpa + AT_OUT), 0, EVENT);
	dev_add(d, d->queue, bufs, COUNT(bufs));
}

/* ---- any of them ---- */

unsigned int good_descs(const struct dev *d)
{
	return d->kind == BLK ? 3 : 1;
}

void good_put(struct dev *d)
{
	switch (d->kind) {
	case BLK:
		blk_put(d);
		break;
	case NET:
		net_put(d);
		break;
	case VSOCK:
		vsock_put(d);
		break;
	case RNG:
		rng_put(d);
		break;
	case BALLOON:
		balloon_put(d);
		break;
	case INPUT:
		input_put(d);
		break;
	case CONSOLE:
	case EVERY:
	default:
		console_put(d);
		break;
	}
}

void good_kick(const struct dev *d)
{
	if (d->kind == VSOCK)
		dev_kick(d, VSOCK_RX);
	dev_kick(d, d->queue);
}

verdict good_get(struct dev *d)
{
	struct used_elem used;

	if (!dev_wait_used(d, d->queue, &used))
		return (dev_status(d) & NEEDS_RESET) != 0 ? "a good request breaks it"
							  : "a good request gets no answer";
	switch (d->kind) {
	case BLK:
		return blk_get(d, &used);
	case VSOCK:
		return vsock_get(d);
	case RNG:
		return used.len == 64 ? NULL : "fewer random bytes than were asked for";
	case BALLOON:
		return balloon_get(d);
	default:
		return NULL;
	}
}

verdict good(struct dev *d)
{
	good_put(d);
	good_kick(d);
	return good_get(d);
}
