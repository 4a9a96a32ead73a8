/*
 * Section N: what a guest sends, and its buffers to receive into.
 */
#include "hostile.h"

enum { HEADER = 12, ETHERNET = 14, FRAME = 60, RX = 0, FRAME_MAX = 65550 };

#define F_CSUM      (UINT64_C(1) << 0)
#define F_MAC       (UINT64_C(1) << 5)
#define F_HOST_TSO4 (UINT64_C(1) << 11)
#define F_CTRL_VQ   (UINT64_C(1) << 17)

static verdict transmit(struct dev *d, uint32_t len)
{
	const struct buf buf = { scratch(d), len, false };
	struct used_elem used;

	dev_add(d, d->queue, &buf, 1);
	CHECK(expect_served(d, &used));
	REQUIRE(used.len == 0);
	return NULL;
}

static verdict frames_of_any_length(struct dev *d)
{
	static const uint32_t lens[] = { 0,
					 1,
					 11,
					 HEADER,
					 HEADER + 1,
					 HEADER + ETHERNET - 1,
					 HEADER + ETHERNET,
					 HEADER + ETHERNET + 1,
					 HEADER + 65535,
					 HEADER + FRAME_MAX,
					 HEADER + FRAME_MAX + 1,
					 SCRATCH_SIZE };

	dev_boot(d);
	for (unsigned int i = 0; i < COUNT(lens); i++)
		CHECK(transmit(d, lens[i]));
	return NULL;
}

static verdict a_frame_of_256_bytes(struct dev *d)
{
	struct used_elem used;

	dev_boot(d);
	for (uint16_t i = 0; i < 256; i++)
		dev_desc(d, i, scratch(d) + i, 1, i < 255 ? D_NEXT : 0, (uint16_t)(i + 1));
	dev_offer(d, d->queue, 0);
	return expect_served(d, &used);
}

/* Everything is given back and the device goes on; what can be no frame is dropped on the way. */
static verdict headers(struct dev *d, uint64_t features)
{
	static const struct frame_header rows[] = {
		{ .flags = 1 },
		{ .flags = 2 },
		{ .flags = 0xff },
		{ .gso_type = 1 },
		{ .gso_type = 2 },
		{ .gso_type = 3 },
		{ .gso_type = 4 },
		{ .gso_type = 5 },
		{ .gso_type = 0x80 },
		{ .gso_type = 0xff },
		{ .flags = 1, .gso_type = 1, .gso_size = 0 },
		{ .flags = 1, .gso_type = 1, .gso_size = 1, .hdr_len = 54 },
		{ .flags = 1, .gso_type = 1, .gso_size = 0xffff, .hdr_len = 54 },
		{ .flags = 1, .gso_type = 4, .gso_size = 1, .hdr_len = 14 },
		{ .flags = 1, .gso_type = 5, .gso_size = 1, .hdr_len = 0 },
		{ .flags = 1, .gso_type = 0x81, .gso_size = 1, .hdr_len = 54 },
		{ .hdr_len = FRAME + 1 },
		{ .hdr_len = 0xffff },
		{ .flags = 1, .csum_start = FRAME - 1, .csum_offset = 0 },
		{ .flags = 1, .csum_start = FRAME - 2, .csum_offset = 0 },
		{ .flags = 1, .csum_start = 0, .csum_offset = FRAME },
		{ .flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff },
		{ .flags = 1, .csum_start = 34, .csum_offset = 16 },
		{ .csum_start = 0xffff, .csum_offset = 0xffff, .gso_size = 0xffff },
		{ .num_buffers = 0xffff },
	};
	struct frame_header *header = dev_ptr(d, scratch(d));

	dev_boot_with(d, features);
	for (unsigned int i = 0; i < COUNT(rows); i++) {
		*header = rows[i];
		CHECK(transmit(d, HEADER + FRAME));
		CHECK(transmit(d, HEADER + ETHERNET));
	}
	return NULL;
}

static verdict headers_negotiated(struct dev *d)
{
	return headers(d, d->offered);
}

static verdict headers_not_negotiated(struct dev *d)
{
	return headers(d, 0);
}

/* Some depend on others: 5.1.3.1. */
static verdict headers_half_negotiated(struct dev *d)
{
	if ((d->offered & F_HOST_TSO4) == 0)
		return not_applicable;
	CHECK(headers(d, F_HOST_TSO4));
	return headers(d, F_CSUM);
}

static verdict buffers_that_cannot_be_written(struct dev *d)
{
	const struct buf bufs[] = {
		{ scratch(d), 2048, false },
		{ scratch(d), HEADER - 1, true },
		{ scratch(d), 0, true },
	};
	struct used_elem used;

	dev_boot(d);
	for (unsigned int i = 0; i < COUNT(bufs); i++) {
		dev_add(d, RX, &bufs[i], 1);
		dev_kick(d, RX);
		REQUIRE(dev_wait_used(d, RX, &used));
		REQUIRE(used.len == 0);
	}
	return good(d);
}

static verdict same_buffer_twice(struct dev *d)
{
	const struct buf buf = { scratch(d), 2048, true };
	uint16_t head;

	dev_boot(d);
	head = dev_add(d, RX, &buf, 1);
	dev_offer(d, RX, head);
	dev_kick(d, RX);
	return expect_broken(d);
}

static verdict small_ring_of_buffers(struct dev *d)
{
	const struct buf buf = { scratch(d), HEADER, true };

	dev_boot(d);
	for (unsigned int i = 0; i < QUEUE_SIZE_MAX; i++)
		dev_add(d, RX, &buf, 1);
	dev_kick(d, RX);
	dev_rest(d);
	return good(d);
}

static verdict no_control_queue(struct dev *d)
{
	REQUIRE((d->offered & F_CTRL_VQ) == 0);
	REQUIRE(d->n_queues == 2);
	return NULL;
}

static verdict another_source(struct dev *d)
{
	uint8_t *bytes = dev_ptr(d, scratch(d));

	dev_boot(d);
	fill(bytes, 0, HEADER);
	fill(bytes + HEADER, 0xff, 6);
	fill(bytes + HEADER + 6, 0x66, 6);
	CHECK(transmit(d, HEADER + FRAME));
	/* from all */
	fill(bytes + HEADER + 6, 0xff, 6);
	return transmit(d, HEADER + FRAME);
}

static verdict address_is_constant(struct dev *d)
{
	uint64_t before = dev_read_len(d, REG_CONFIG, 8);

	dev_boot(d);
	for (unsigned int i = 0; i < 12; i++)
		dev_write_len(d, REG_CONFIG + i, 1, 0xff);
	dev_write_len(d, REG_CONFIG, 8, UINT64_MAX);
	REQUIRE(dev_read_len(d, REG_CONFIG, 8) == before);
	REQUIRE((d->offered & F_MAC) != 0);
	REQUIRE((before & 1) == 0);
	return NULL;
}

const struct hostile_case net_cases[] = {
	{ "N01", NET, frames_of_any_length, "frames of any length" },
	{ "N01", NET, a_frame_of_256_bytes, "a frame in 256 buffers" },
	{ "N02", NET, headers_negotiated, "headers that cannot be" },
	{ "N02", NET, headers_not_negotiated, "offloads that were not agreed on" },
	{ "N02", NET, headers_half_negotiated, "offloads without those they need" },
	{ "N03", NET, buffers_that_cannot_be_written, "buffers that hold no frame" },
	{ "N03", NET, same_buffer_twice, "a buffer to receive into twice" },
	{ "N03", NET, small_ring_of_buffers, "buffers that hold a header each" },
	{ "N05", NET, no_control_queue, "there is no control queue" },
	{ "N07", NET, another_source, "another's address" },
	{ "N08", NET, address_is_constant, "writes to the address" },
	{ NULL, EVERY, NULL, NULL },
};
