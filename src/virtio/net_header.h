/*
 * The header before each frame of a network device (virtio 1.2, section 5.1.6), and the work that
 * it may ask for: a checksum to fill in, a large segment to cut.
 *
 * Who gets a frame does what its header says, so a header is judged first, on a copy of ours: it
 * may ask for nothing that was not negotiated, and name no place outside its frame. Offloads are
 * bits of enum netdev_offload (backend/netdev.h); negotiated features are made into them once.
 *
 * Nothing here has a state: any thread.
 */
#pragma once

#include "backend/netdev.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

/* Features; 5.1.3. Those of UDP segments are of version 1.3. */
#define VIRTIO_NET_F_CSUM       (UINT64_C(1) << 0)
#define VIRTIO_NET_F_GUEST_CSUM (UINT64_C(1) << 1)
#define VIRTIO_NET_F_GUEST_TSO4 (UINT64_C(1) << 7)
#define VIRTIO_NET_F_GUEST_TSO6 (UINT64_C(1) << 8)
#define VIRTIO_NET_F_GUEST_ECN  (UINT64_C(1) << 9)
#define VIRTIO_NET_F_HOST_TSO4  (UINT64_C(1) << 11)
#define VIRTIO_NET_F_HOST_TSO6  (UINT64_C(1) << 12)
#define VIRTIO_NET_F_HOST_ECN   (UINT64_C(1) << 13)
#define VIRTIO_NET_F_GUEST_USO4 (UINT64_C(1) << 54)
#define VIRTIO_NET_F_GUEST_USO6 (UINT64_C(1) << 55)
#define VIRTIO_NET_F_HOST_USO   (UINT64_C(1) << 56)

struct net_header {
	uint8_t flags;
	uint8_t gso_type; /**< 0: no segment to cut */
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers;
};
static_assert(sizeof(struct net_header) == NETDEV_HEADER_SIZE, "as the specification has it");

/** \return the features that stand for this work, in both directions: what to offer */
uint64_t net_features_of(uint32_t offloads);

/** \return what the driver may leave to us, by negotiated \p features: to frames that it sends */
uint32_t net_host_offloads(uint64_t features);

/** \return what we may leave to the driver: of frames that it receives */
uint32_t net_guest_offloads(uint64_t features);

/**
 * The header of a frame that the driver sends (5.1.6.2). What it says without a meaning is cleared.
 * \param header a copy, of ours alone
 * \param offloads of net_host_offloads()
 * \param frame_bytes of the frame behind it
 * \return false when this is no frame, or its header cannot be: it must not be sent
 */
__attribute__((warn_unused_result)) bool net_header_judge_sent(struct net_header *header,
							       uint32_t offloads,
							       uint32_t frame_bytes);

/**
 * The header of a frame that the back end gave (5.1.6.4.1). Its word is taken, but for work that
 * this driver did not offer to do.
 * \param offloads of net_guest_offloads()
 * \return false when it asks for such work: it is not for this driver
 */
__attribute__((warn_unused_result)) bool net_header_judge_received(struct net_header *header,
								   uint32_t offloads);

/** Is the frame one segment, no larger than what goes over the wire? */
bool net_header_is_plain(const struct net_header *header);
