/*
 * What devices a VM shall have: a part of struct vm_config. All strings are owned by it.
 */
#pragma once

#include "backend/disk.h"
#include "backend/rate_limiter.h"
#include "util/err.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	CONFIG_DISKS_MAX = 12,
	CONFIG_NETS_MAX = 8,
	CONFIG_ID_MAX = 64,
	CONFIG_PARTUUID_MAX = 36, /**< a UUID; those of MBR partitions are shorter */
};

/* Named by the enumerators in devices.c, in this order. */
enum config_net_kind { CONFIG_NET_NONE, CONFIG_NET_TAP, CONFIG_NET_USER };

struct config_disk {
	char *path;
	char *id;       /**< NULL: made from its place in the guest, "disk0" */
	char *partuuid; /**< of the partition that is the root file system, NULL: the whole disk */
	bool is_root;   /**< the guest's root file system is there: it is then the first disk */
	bool is_read_only;
	enum disk_engine engine;
	enum blk_cache cache;
	struct rate_limiter_config limits;
};

struct config_net {
	enum config_net_kind kind;
	char *tap;         /**< name of the interface on the host */
	bool reaches_host; /**< of CONFIG_NET_USER: the host's loopback, at the gateway's address */
	bool has_vhost;    /**< of CONFIG_NET_TAP: the host's kernel works on the queues */
	char *id;          /**< NULL: made from its place, "net0" */
	bool has_mac;
	uint8_t mac[6];
	uint16_t mtu;                  /**< 0: the driver's default */
	struct rate_limiter_config rx; /**< limits of what the guest receives */
	struct rate_limiter_config tx; /**< and sends */
};

struct config_vsock {
	uint64_t guest_cid; /**< 0: no device */
	char *path;         /**< of the Unix socket that stands for the guest */
};

struct config_balloon {
	bool is_wanted;
	struct balloon_config options;
};

struct config_rng {
	bool is_wanted;
	struct rate_limiter_config limits;
};

struct vm_config;

/** Give those without a name one, and put the root disk first. \return 0 or -ENOMEM */
__attribute__((warn_unused_result)) int config_devices_complete(struct vm_config *config,
								struct err *err);

/** Move the root disk to the front. */
void config_put_root_first(struct vm_config *config);

/** \return 0, or -EINVAL with a sentence that names the device and the reason */
__attribute__((warn_unused_result)) int config_devices_validate(const struct vm_config *config,
								struct err *err);

/* Free the strings of a device and zero it. Legal on a zeroed object, and twice. */
void config_disk_deinit(struct config_disk *disk);
void config_net_deinit(struct config_net *net);
void config_vsock_deinit(struct config_vsock *vsock);

/** Free the strings of all. */
void config_devices_deinit(struct vm_config *config);

/** The disk that holds the guest's root file system, or NULL. */
const struct config_disk *config_root_disk(const struct vm_config *config);

/** Set from text: sync, uring. \return 0; -EINVAL names the choices */
__attribute__((warn_unused_result)) int config_set_engine(struct config_disk *disk,
							  const char *name, struct err *err);

/** Set from text: writeback, unsafe. \return 0; -EINVAL names the choices */
__attribute__((warn_unused_result)) int config_set_cache(struct config_disk *disk, const char *name,
							 struct err *err);

/** Set from text like 02:00:00:00:00:01. \return 0 or -EINVAL with the reason */
__attribute__((warn_unused_result)) int config_set_mac(struct config_net *net, const char *text,
						       struct err *err);
