#include "config/devices.h"

#include "backend/unix_listener.h"
#include "config/config.h"
#include "config/names.h"
#include "util/bits.h"
#include "virtio/net_vhost.h"

#include <ctype.h>
#include <errno.h>
#include <linux/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MTU_MIN = 68, CID_MIN = 3, SOCKET_PATH_MAX = UNIX_PATH_MAX - 12 };

static const char *const engine_names[] = {
	[DISK_ENGINE_SYNC] = "sync",
	[DISK_ENGINE_IO_URING] = "uring",
};

static const char *const cache_names[] = {
	[BLK_CACHE_UNSAFE] = "unsafe",
	[BLK_CACHE_WRITEBACK] = "writeback",
};

int config_set_engine(struct config_disk *disk, const char *name, struct err *err)
{
	int found = find_name("the engine", engine_names, ARRAY_SIZE(engine_names), name, err);

	if (found < 0)
		return found;
	disk->engine = (enum disk_engine)found;
	return 0;
}

int config_set_cache(struct config_disk *disk, const char *name, struct err *err)
{
	int found = find_name("the cache", cache_names, ARRAY_SIZE(cache_names), name, err);

	if (found < 0)
		return found;
	disk->cache = (enum blk_cache)found;
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

int config_set_mac(struct config_net *net, const char *text, struct err *err)
{
	static const uint8_t none[6];
	uint8_t mac[6];

	for (unsigned int i = 0; i < 6; i++) {
		const char *at = text + (size_t)3 * i;
		int high = hex_digit(at[0]);
		int low = high < 0 ? -1 : hex_digit(at[1]);

		if (low < 0 || at[2] != (i < 5 ? ':' : '\0'))
			return err_set(err, -EINVAL,
				       "'%.32s' is not a MAC address like 02:00:00:00:00:01", text);
		mac[i] = (uint8_t)(high << 4 | low);
	}
	if ((mac[0] & 1) != 0 || memcmp(mac, none, sizeof(none)) == 0)
		return err_set(err, -EINVAL, "the MAC address '%s' is not that of one station",
			       text);
	memcpy(net->mac, mac, sizeof(mac));
	net->has_mac = true;
	return 0;
}

/* ---- completing ---- */

static int name_by_place(char **id, const char *kind, unsigned int place, struct err *err)
{
	if (*id != NULL)
		return 0;
	if (asprintf(id, "%s%u", kind, place) >= 0)
		return 0;
	*id = NULL;
	return err_set(err, -ENOMEM, "no memory for a device's name");
}

void config_put_root_first(struct vm_config *config)
{
	for (unsigned int i = 0; i < config->n_disks; i++) {
		struct config_disk root = config->disks[i];

		if (!root.is_root)
			continue;
		memmove(&config->disks[1], &config->disks[0], i * sizeof(root));
		config->disks[0] = root;
		return;
	}
}

int config_devices_complete(struct vm_config *config, struct err *err)
{
	int ret = 0;

	config_put_root_first(config);
	for (unsigned int i = 0; i < config->n_disks && ret == 0; i++)
		ret = name_by_place(&config->disks[i].id, "disk", i, err);
	for (unsigned int i = 0; i < config->n_nets && ret == 0; i++)
		ret = name_by_place(&config->nets[i].id, "net", i, err);
	return ret;
}

const struct config_disk *config_root_disk(const struct vm_config *config)
{
	return config->n_disks > 0 && config->disks[0].is_root ? &config->disks[0] : NULL;
}

/* ---- validating ---- */

static int validate_id(const char *what, const char *id, struct err *err)
{
	size_t len = strlen(id);

	if (len == 0 || len > CONFIG_ID_MAX)
		return err_set(err, -EINVAL, "the id of a %s has %zu characters, 1 to %d are right",
			       what, len, CONFIG_ID_MAX);
	for (const char *at = id; *at != '\0'; at++) {
		if (!isalnum((unsigned char)*at) && *at != '_' && *at != '-')
			return err_set(err, -EINVAL,
				       "the id '%s' of a %s has other characters than letters, "
				       "digits, '_' and '-'",
				       id, what);
	}
	return 0;
}

/* It becomes a word of the kernel's command line. */
static int validate_partuuid(const struct config_disk *disk, struct err *err)
{
	size_t len;

	if (disk->partuuid == NULL)
		return 0;
	len = strlen(disk->partuuid);
	if (len == 0 || len > CONFIG_PARTUUID_MAX)
		return err_set(err, -EINVAL,
			       "disk '%s': the PARTUUID has %zu characters, 1 to %d are right",
			       disk->id, len, CONFIG_PARTUUID_MAX);
	if (strspn(disk->partuuid, "0123456789abcdefABCDEF-") != len)
		return err_set(err, -EINVAL,
			       "disk '%s': the PARTUUID '%s' has other characters than hexadecimal "
			       "digits and '-'",
			       disk->id, disk->partuuid);
	return 0;
}

static int validate_disk(const struct vm_config *config, unsigned int i, struct err *err)
{
	const struct config_disk *disk = &config->disks[i];
	int ret = validate_id("disk", disk->id, err);

	if (ret != 0)
		return ret;
	if (disk->path == NULL || disk->path[0] == '\0')
		return err_set(err, -EINVAL, "disk '%s': no file is given", disk->id);
	ret = validate_partuuid(disk, err);
	if (ret != 0)
		return ret;
	for (unsigned int j = 0; j < i; j++) {
		if (strcmp(config->disks[j].id, disk->id) == 0)
			return err_set(err, -EINVAL, "two disks have the id '%s'", disk->id);
		if (config->disks[j].is_root && disk->is_root)
			return err_set(err, -EINVAL,
				       "A root block device already exists! It is '%s', and '%s' "
				       "cannot be one too",
				       config->disks[j].id, disk->id);
	}
	return 0;
}

static bool is_same_tap(const struct config_net *a, const struct config_net *b)
{
	return a->kind == CONFIG_NET_TAP && b->kind == CONFIG_NET_TAP &&
	       strcmp(a->tap, b->tap) == 0;
}

static bool is_same_mac(const struct config_net *a, const struct config_net *b)
{
	return a->has_mac && b->has_mac && memcmp(a->mac, b->mac, sizeof(a->mac)) == 0;
}

static int validate_net_pair(const struct config_net *a, const struct config_net *b,
			     struct err *err)
{
	if (strcmp(a->id, b->id) == 0)
		return err_set(err, -EINVAL, "two network interfaces have the id '%s'", b->id);
	if (is_same_tap(a, b))
		return err_set(err, -EINVAL, "net '%s' and '%s': both are on tap '%s'", a->id,
			       b->id, b->tap);
	if (is_same_mac(a, b))
		return err_set(err, -EINVAL,
			       "The MAC address is already in use: %02x:%02x:%02x:%02x:%02x:%02x, "
			       "by '%s'",
			       b->mac[0], b->mac[1], b->mac[2], b->mac[3], b->mac[4], b->mac[5],
			       a->id);
	return 0;
}

static int validate_net(const struct vm_config *config, unsigned int i, struct err *err)
{
	const struct config_net *net = &config->nets[i];
	int ret = validate_id("network interface", net->id, err);

	if (ret != 0)
		return ret;
	if (net->kind == CONFIG_NET_NONE)
		return err_set(err, -EINVAL, "net '%s': either tap=NAME or user is needed",
			       net->id);
	if (net->kind == CONFIG_NET_TAP && (net->tap[0] == '\0' || strlen(net->tap) >= IFNAMSIZ))
		return err_set(err, -EINVAL,
			       "net '%s': '%.64s' cannot be the name of an interface, which has 1 "
			       "to %d characters",
			       net->id, net->tap, IFNAMSIZ - 1);
	if (net->reaches_host && net->kind != CONFIG_NET_USER)
		return err_set(err, -EINVAL,
			       "net '%s': to reach the host's loopback it has to be 'user', not a "
			       "tap",
			       net->id);
	if (net->has_vhost && net->kind != CONFIG_NET_TAP)
		return err_set(err, -EINVAL, "net '%s': vhost needs a tap, it cannot be 'user'",
			       net->id);
	if (net->has_vhost &&
	    (rate_limiter_config_has_limit(&net->rx) || rate_limiter_config_has_limit(&net->tx)))
		return err_set(err, -EINVAL, NET_VHOST_HAS_NO_LIMITS, net->id);
	if (net->mtu != 0 && net->mtu < MTU_MIN)
		return err_set(err, -EINVAL, "net '%s': an MTU of %u is too little, %d at least",
			       net->id, net->mtu, MTU_MIN);
	for (unsigned int j = 0; j < i && ret == 0; j++)
		ret = validate_net_pair(&config->nets[j], net, err);
	return ret;
}

static int validate_vsock(const struct config_vsock *vsock, struct err *err)
{
	if (vsock->guest_cid == 0 && vsock->path == NULL)
		return 0;
	if (vsock->guest_cid < CID_MIN || vsock->guest_cid >= UINT32_MAX)
		return err_set(err, -EINVAL,
			       "vsock: the guest needs a CID from %d to %u, %llu is none", CID_MIN,
			       UINT32_MAX - 1, (unsigned long long)vsock->guest_cid);
	if (vsock->path == NULL || vsock->path[0] == '\0')
		return err_set(err, -EINVAL, "vsock: no path of a socket is given");
	/* Ports of the host have this name with "_4294967295" behind it. */
	if (strlen(vsock->path) > SOCKET_PATH_MAX)
		return err_set(err, -EINVAL,
			       "vsock: the path of the socket has %zu bytes, %d at most",
			       strlen(vsock->path), SOCKET_PATH_MAX);
	return 0;
}

static int validate_balloon(const struct vm_config *config, struct err *err)
{
	uint64_t mem_mib = config->mem_bytes / MIB;

	if (!config->balloon.is_wanted || config->balloon.options.target_mib <= mem_mib)
		return 0;
	return err_set(err, -EINVAL, "balloon: %llu MiB are more than the guest's %llu MiB",
		       (unsigned long long)config->balloon.options.target_mib,
		       (unsigned long long)mem_mib);
}

int config_devices_validate(const struct vm_config *config, struct err *err)
{
	int ret = 0;

	for (unsigned int i = 0; i < config->n_disks && ret == 0; i++)
		ret = validate_disk(config, i, err);
	for (unsigned int i = 0; i < config->n_nets && ret == 0; i++)
		ret = validate_net(config, i, err);
	if (ret == 0)
		ret = validate_vsock(&config->vsock, err);
	if (ret == 0)
		ret = validate_balloon(config, err);
	return ret;
}

void config_disk_deinit(struct config_disk *disk)
{
	free(disk->path);
	free(disk->id);
	free(disk->partuuid);
	*disk = (struct config_disk){ 0 };
}

void config_net_deinit(struct config_net *net)
{
	free(net->tap);
	free(net->id);
	*net = (struct config_net){ 0 };
}

void config_vsock_deinit(struct config_vsock *vsock)
{
	free(vsock->path);
	*vsock = (struct config_vsock){ 0 };
}

void config_devices_deinit(struct vm_config *config)
{
	for (unsigned int i = 0; i < config->n_disks; i++)
		config_disk_deinit(&config->disks[i]);
	for (unsigned int i = 0; i < config->n_nets; i++)
		config_net_deinit(&config->nets[i]);
	config_vsock_deinit(&config->vsock);
}
