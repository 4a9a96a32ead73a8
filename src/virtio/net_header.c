#include "virtio/net_header.h"

#include "util/bits.h"

#include <stddef.h>

enum { HDR_F_NEEDS_CSUM = 1 };
enum { GSO_NONE = 0, GSO_TCPV4 = 1, GSO_TCPV6 = 4, GSO_UDP_L4 = 5, GSO_ECN = 0x80 };
enum { CSUM_SIZE = 2 };

/* Each offload: the feature by which the guest leaves work to us, and we to it. */
static const struct {
	uint32_t offload;
	uint64_t host;
	uint64_t guest;
} offload_features[] = {
	{ NETDEV_CSUM, VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM },
	{ NETDEV_TSO4, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_GUEST_TSO4 },
	{ NETDEV_TSO6, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_GUEST_TSO6 },
	{ NETDEV_ECN, VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_GUEST_ECN },
	{ NETDEV_USO, VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_GUEST_USO4 | VIRTIO_NET_F_GUEST_USO6 },
};

uint64_t net_features_of(uint32_t offloads)
{
	uint64_t features = 0;

	for (size_t i = 0; i < ARRAY_SIZE(offload_features); i++) {
		if ((offloads & offload_features[i].offload) != 0)
			features |= offload_features[i].host | offload_features[i].guest;
	}
	return features;
}

/* 5.1.3.1: without those that they need, features are of no effect. */
static uint32_t with_what_they_need(uint32_t offloads)
{
	if ((offloads & NETDEV_CSUM) == 0)
		return 0;
	if ((offloads & (NETDEV_TSO4 | NETDEV_TSO6)) == 0)
		offloads &= ~(uint32_t)NETDEV_ECN;
	return offloads;
}

uint32_t net_host_offloads(uint64_t features)
{
	uint32_t offloads = 0;

	for (size_t i = 0; i < ARRAY_SIZE(offload_features); i++) {
		if ((features & offload_features[i].host) != 0)
			offloads |= offload_features[i].offload;
	}
	return with_what_they_need(offloads);
}

uint32_t net_guest_offloads(uint64_t features)
{
	uint32_t offloads = 0;

	for (size_t i = 0; i < ARRAY_SIZE(offload_features); i++) {
		uint64_t guest = offload_features[i].guest;

		if ((features & guest) == guest)
			offloads |= offload_features[i].offload;
	}
	return with_what_they_need(offloads);
}

/* May a frame with this header be given to somebody who does this work? */
static bool is_allowed(const struct net_header *header, uint32_t offloads)
{
	static const struct {
		uint8_t gso_type;
		uint32_t offloads;
	} types[] = {
		{ GSO_NONE, 0 },
		{ GSO_TCPV4, NETDEV_TSO4 },
		{ GSO_TCPV6, NETDEV_TSO6 },
		{ GSO_TCPV4 | GSO_ECN, NETDEV_TSO4 | NETDEV_ECN },
		{ GSO_TCPV6 | GSO_ECN, NETDEV_TSO6 | NETDEV_ECN },
		{ GSO_UDP_L4, NETDEV_USO },
	};

	if ((header->flags & HDR_F_NEEDS_CSUM) != 0 && (offloads & NETDEV_CSUM) == 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (types[i].gso_type == header->gso_type)
			return (offloads & types[i].offloads) == types[i].offloads;
	}
	return false;
}

bool net_header_judge_sent(struct net_header *header, uint32_t offloads, uint32_t frame_bytes)
{
	if (frame_bytes < NETDEV_FRAME_MIN || frame_bytes > NETDEV_FRAME_MAX ||
	    (header->flags & ~HDR_F_NEEDS_CSUM) != 0 || !is_allowed(header, offloads) ||
	    header->hdr_len > frame_bytes)
		return false;
	if ((header->flags & HDR_F_NEEDS_CSUM) == 0) {
		header->csum_start = 0;
		header->csum_offset = 0;
	} else if ((uint32_t)header->csum_start + header->csum_offset + CSUM_SIZE > frame_bytes) {
		return false;
	}
	if (net_header_is_plain(header))
		header->gso_size = 0;
	else if (header->gso_size == 0 || (header->flags & HDR_F_NEEDS_CSUM) == 0)
		return false;
	header->num_buffers = 0;
	return true;
}

bool net_header_judge_received(struct net_header *header, uint32_t offloads)
{
	if ((offloads & NETDEV_CSUM) == 0)
		header->flags &= HDR_F_NEEDS_CSUM; /* nothing about what was checked already */
	return is_allowed(header, offloads);
}

bool net_header_is_plain(const struct net_header *header)
{
	return header->gso_type == GSO_NONE;
}
