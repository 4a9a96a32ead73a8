/*
 * Section V: packets that a guest sends.
 */
#include "hostile.h"

enum {
	GUEST_CID = 42,
	RX = 0,
	EVENT = 2,
	RX_BYTES = 512,
	AT_PACKET = 0,
	AT_RX = PAGE,
	AT_MANY = 2 * PAGE,
	REQUEST = 1,
	RESPONSE,
	RST,
	SHUTDOWN,
	RW,
	CREDIT_UPDATE,
	CREDIT_REQUEST,
};

static struct vsock_header packet(uint16_t op)
{
	return (struct vsock_header){
		.src_cid = GUEST_CID,
		.dst_cid = 2,
		.src_port = 1000,
		.dst_port = 2000,
		.type = 1,
		.op = op,
		.buf_alloc = 65536,
	};
}

static void give(struct dev *d)
{
	const struct buf buf = { scratch(d) + AT_RX, RX_BYTES, true };

	dev_add(d, RX, &buf, 1);
	dev_kick(d, RX);
}

static verdict send_len(struct dev *d, const struct vsock_header *header, uint32_t len)
{
	const struct buf buf = { scratch(d) + AT_PACKET, len, false };
	struct used_elem used;

	*(struct vsock_header *)dev_ptr(d, scratch(d) + AT_PACKET) = *header;
	dev_add(d, d->queue, &buf, 1);
	return expect_served(d, &used);
}

/* The answer is an RST to where it came from, with the ports the other way round. */
static verdict expect_rst(struct dev *d, const struct vsock_header *sent)
{
	const struct vsock_header *answer = dev_ptr(d, scratch(d) + AT_RX);
	struct used_elem used;

	REQUIRE(dev_wait_used(d, RX, &used));
	REQUIRE(used.len == sizeof(*answer));
	REQUIRE(answer->op == RST);
	REQUIRE(answer->len == 0);
	REQUIRE(answer->type == sent->type);
	REQUIRE(answer->src_cid == 2 && answer->dst_cid == GUEST_CID);
	REQUIRE(answer->src_port == sent->dst_port && answer->dst_port == sent->src_port);
	return NULL;
}

static verdict is_reset(struct dev *d, const struct vsock_header *header, uint32_t len)
{
	give(d);
	CHECK(send_len(d, header, len));
	return expect_rst(d, header);
}

/* Behind it another packet is sent, whose answer is then the first. */
static verdict is_ignored(struct dev *d, const struct vsock_header *header)
{
	struct vsock_header next = packet(RW);

	next.src_port = 77;
	CHECK(send_len(d, header, sizeof(*header)));
	return is_reset(d, &next, sizeof(next));
}

static verdict lengths(struct dev *d)
{
	static const uint32_t lens[] = { 1, 4, 65535, 65536, 65537, 0x80000000, 0xffffffff };

	dev_boot(d);
	for (unsigned int i = 0; i < COUNT(lens); i++) {
		for (uint16_t op = REQUEST; op <= CREDIT_REQUEST; op++) {
			struct vsock_header header = packet(op);

			header.len = lens[i];
			if (op != RST)
				CHECK(is_reset(d, &header, sizeof(header)));
		}
	}
	return NULL;
}

static verdict no_whole_header(struct dev *d)
{
	static const uint32_t lens[] = { 0, 1, sizeof(struct vsock_header) - 1 };
	const struct vsock_header header = packet(RW);

	for (unsigned int i = 0; i < COUNT(lens); i++) {
		const struct buf buf = { scratch(d) + AT_PACKET, lens[i], false };

		dev_boot(d);
		*(struct vsock_header *)dev_ptr(d, scratch(d)) = header;
		dev_add(d, d->queue, &buf, 1);
		CHECK(expect_kick_breaks(d));
	}
	return NULL;
}

static verdict header_in_pieces(struct dev *d)
{
	struct buf bufs[sizeof(struct vsock_header)];
	const struct vsock_header header = packet(RW);
	struct used_elem used;

	dev_boot(d);
	give(d);
	*(struct vsock_header *)dev_ptr(d, scratch(d)) = header;
	for (unsigned int i = 0; i < sizeof(header); i++)
		bufs[i] = (struct buf){ scratch(d) + i, 1, false };
	dev_add(d, d->queue, bufs, sizeof(header));
	CHECK(expect_served(d, &used));
	return expect_rst(d, &header);
}

static verdict addresses(struct dev *d)
{
	static const uint64_t cids[] = {
		0,
		1,
		3,
		41,
		43,
		UINT32_MAX,
		UINT64_MAX,
		(UINT64_C(1) << 32) + 2,
		(UINT64_C(1) << 32) + GUEST_CID,
	};

	dev_boot(d);
	for (unsigned int i = 0; i < COUNT(cids); i++) {
		struct vsock_header header = packet(REQUEST);

		header.src_cid = cids[i];
		CHECK(is_ignored(d, &header));
		header = packet(REQUEST);
		header.dst_cid = cids[i];
		CHECK(is_ignored(d, &header));
	}
	return NULL;
}

static verdict ports_types_and_operations(struct dev *d)
{
	static const uint32_t ports[] = { 0, 1, 0x40000000, 0x7fffffff, 0x80000000, 0xffffffff };
	static const uint16_t types[] = { 0, 2, 3, 0x100, 0xffff };
	static const uint16_t ops[] = { 0, RESPONSE, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST,
					8, 0x101,    0xffff };
	struct vsock_header header;

	dev_boot(d);
	for (unsigned int i = 0; i < COUNT(ports); i++) {
		header = packet(REQUEST);
		header.dst_port = ports[i];
		CHECK(is_reset(d, &header, sizeof(header)));
		header.src_port = ports[i];
		CHECK(is_reset(d, &header, sizeof(header)));
	}
	for (unsigned int i = 0; i < COUNT(types); i++) {
		header = packet(REQUEST);
		header.type = types[i];
		CHECK(is_reset(d, &header, sizeof(header)));
	}
	for (unsigned int i = 0; i < COUNT(ops); i++) {
		header = packet(ops[i]);
		header.flags = 0xffffffff;
		CHECK(is_reset(d, &header, sizeof(header)));
	}
	header = packet(RST);
	return is_ignored(d, &header);
}

/* One of many packets, each from a port of its own. */
static void send_one_of(struct dev *d, uint16_t op, unsigned int i)
{
	enum { EACH = 64 };
	const struct buf buf = { scratch(d) + AT_MANY + i * EACH, sizeof(struct vsock_header),
				 false };
	struct vsock_header *header = dev_ptr(d, buf.gpa);

	*header = packet(op);
	header->src_port = 5000 + i;
	dev_add(d, d->queue, &buf, 1);
}

/* More than are kept. The rest wait in the guest's own queue until it takes the answers. */
static verdict storm(struct dev *d, uint16_t op, unsigned int n)
{
	unsigned int n_sent = 0;
	unsigned int n_given = 0;
	unsigned int n_answers = 0;
	unsigned int n_room;
	struct used_elem used;

	dev_boot(d);
	n_room = d->rings[d->queue].size;
	for (unsigned int i = 0; i < d->m->port->patience && n_answers < n; i++) {
		for (; n_sent < n && n_room > 0; n_room--)
			send_one_of(d, op, n_sent++);
		dev_kick(d, d->queue);
		while (dev_take_used(d, d->queue, &used))
			n_room++;
		/* Late, and one at a time. */
		if (n_given == n_answers) {
			give(d);
			n_given++;
		}
		d->m->port->rest(d->m->port);
		while (dev_take_used(d, RX, &used))
			n_answers++;
		REQUIRE(dev_status(d) == READY);
	}
	REQUIRE(n_answers == n);
	return NULL;
}

/* To nobody, more than there may be connections. */
static verdict storm_of_requests(struct dev *d)
{
	return storm(d, REQUEST, 1100);
}

/* Of no connection. */
static verdict storm_of_data(struct dev *d)
{
	return storm(d, RW, 600);
}

static verdict buffers_too_small(struct dev *d)
{
	static const uint32_t lens[] = { 0, 1, sizeof(struct vsock_header) - 1,
					 sizeof(struct vsock_header) };
	const struct vsock_header header = packet(RW);

	for (unsigned int i = 0; i < COUNT(lens); i++) {
		const struct buf buf = { scratch(d) + AT_RX, lens[i], true };

		dev_boot(d);
		dev_add(d, RX, &buf, 1);
		dev_kick(d, RX);
		(void)send_len(d, &header, sizeof(header));
		CHECK(expect_broken(d));
	}
	return NULL;
}

static verdict no_event_queue(struct dev *d)
{
	dev_negotiate(d, d->offered);
	for (unsigned int i = 0; i < EVENT; i++) {
		dev_place(d, i, 64);
		REQUIRE(dev_set_queue(d, i));
	}
	dev_write(d, REG_STATUS, READY);
	dev_kick(d, EVENT);
	CHECK(good(d));
	REQUIRE(dev_status(d) == READY);
	return NULL;
}

static verdict address_is_constant(struct dev *d)
{
	dev_boot(d);
	dev_write_len(d, REG_CONFIG, 8, 7);
	REQUIRE(dev_read_len(d, REG_CONFIG, 8) == GUEST_CID);
	return NULL;
}

const struct hostile_case vsock_cases[] = {
	{ "V01", VSOCK, lengths, "lengths that cannot be" },
	{ "V01", VSOCK, no_whole_header, "no whole header" },
	{ "V01", VSOCK, header_in_pieces, "a header in 44 buffers" },
	{ "V01", VSOCK, buffers_too_small, "buffers that hold no packet" },
	{ "V02", VSOCK, addresses, "CIDs that are not one's own" },
	{ "V02", VSOCK, ports_types_and_operations, "ports, types and operations of nobody" },
	{ "V02", VSOCK, address_is_constant, "writes to the CID" },
	{ "V03", VSOCK, storm_of_requests, "more requests than answers are taken" },
	{ "V03", VSOCK, storm_of_data, "more data than answers are taken" },
	{ "V08", VSOCK, no_event_queue, "no event queue" },
	{ NULL, EVERY, NULL, NULL },
};
