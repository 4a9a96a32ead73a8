#include "vm/resources.h"

#include "backend/disk.h"
#include "backend/passt.h"
#include "backend/tap.h"
#include "backend/unix_listener.h"
#include "riscv/image.h"
#include "util/cleanup.h"
#include "util/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Disks and networks are found by the id that they had in the configuration. */
struct disk_resource {
	char *id; /* NULL: the place is free */
	struct disk *disk;
};

struct net_resource {
	char *id;
	struct netdev *netdev;
	enum config_net_kind kind;
	char *tap;
	bool reaches_host;
};

struct vm_resources {
	struct kernel_image kernel;
	struct initrd initrd;
	struct disk_resource disks[CONFIG_DISKS_MAX];
	struct net_resource nets[CONFIG_NETS_MAX];
	struct unix_listener vsock;
	int serial_fd;
};

static int no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "no memory for what was opened");
}

/* ---- kernel ---- */

static int open_kernel(const struct vm_config *config, struct kernel_image *kernel,
		       struct initrd *initrd, struct err *err)
{
	int ret = kernel_image_open(kernel, config->kernel_path, err);

	if (ret != 0 || config->initrd_path == NULL)
		return ret;
	ret = initrd_open(initrd, config->initrd_path, err);
	if (ret != 0)
		kernel_image_deinit(kernel);
	return ret;
}

static void close_kernel(struct vm_resources *resources)
{
	kernel_image_deinit(&resources->kernel);
	initrd_deinit(&resources->initrd);
}

int vm_resources_open_kernel(struct vm_resources *resources, const struct vm_config *config,
			     struct err *err)
{
	struct kernel_image kernel = { 0 };
	struct initrd initrd = { 0 };
	int ret = open_kernel(config, &kernel, &initrd, err);

	if (ret != 0)
		return ret;
	close_kernel(resources);
	resources->kernel = kernel;
	resources->initrd = initrd;
	return 0;
}

int vm_resources_take_kernel(struct vm_resources *resources, const struct vm_config *config,
			     struct kernel_image *kernel, struct initrd *initrd, struct err *err)
{
	if (resources == NULL || resources->kernel.file.path == NULL)
		return open_kernel(config, kernel, initrd, err);
	*kernel = resources->kernel;
	*initrd = resources->initrd;
	resources->kernel = (struct kernel_image){ 0 };
	resources->initrd = (struct initrd){ 0 };
	return 0;
}

/* ---- disks ---- */

static void free_disk(struct disk *disk)
{
	if (disk == NULL)
		return;
	disk_close(disk);
	free(disk);
}

/* \param old whose place it gets; NULL: none */
static int open_disk(const struct config_disk *config, const struct disk *old, struct disk **diskp,
		     struct err *err)
{
	struct disk *disk = calloc(1, sizeof(*disk));
	int ret;

	if (disk == NULL)
		return no_memory(err);
	ret = disk_open_in_place_of(disk, old, config->path, config->is_read_only, config->engine,
				    err);
	if (ret != 0) {
		free(disk);
		err_prefix(err, "disk '%s'", config->id);
		return ret;
	}
	*diskp = disk;
	return 0;
}

/* \return the one of this id, or a free place, or NULL */
static struct disk_resource *find_disk(struct vm_resources *resources, const char *id)
{
	struct disk_resource *free_place = NULL;

	for (unsigned int i = 0; i < CONFIG_DISKS_MAX; i++) {
		struct disk_resource *resource = &resources->disks[i];

		if (resource->id != NULL && strcmp(resource->id, id) == 0)
			return resource;
		if (resource->id == NULL && free_place == NULL)
			free_place = resource;
	}
	return free_place;
}

static int open_disk_again(struct disk_resource *resource, const struct config_disk *config,
			   struct err *err)
{
	struct disk *disk = NULL;
	int ret = open_disk(config, resource->disk, &disk, err);

	if (ret != 0)
		return ret;
	free_disk(resource->disk);
	resource->disk = disk;
	return 0;
}

int vm_resources_open_disk(struct vm_resources *resources, const struct config_disk *config,
			   struct err *err)
{
	struct disk_resource *resource = find_disk(resources, config->id);
	int ret;

	if (resource == NULL)
		return err_set(err, -ENOSPC, "no more than %d disks", CONFIG_DISKS_MAX);
	if (resource->id != NULL)
		return open_disk_again(resource, config, err);
	ret = open_disk(config, NULL, &resource->disk, err);
	if (ret != 0)
		return ret;
	resource->id = strdup(config->id);
	if (resource->id != NULL)
		return 0;
	free_disk(take_ptr(resource->disk));
	return no_memory(err);
}

static void clear_disk(struct disk_resource *resource)
{
	free(resource->id);
	*resource = (struct disk_resource){ 0 };
}

int vm_resources_take_disk(struct vm_resources *resources, const struct config_disk *config,
			   struct disk **disk, struct err *err)
{
	struct disk_resource *resource =
		resources == NULL ? NULL : find_disk(resources, config->id);

	if (resource == NULL || resource->id == NULL)
		return open_disk(config, NULL, disk, err);
	*disk = resource->disk;
	clear_disk(resource);
	return 0;
}

/* ---- networks ---- */

static int set_vhost(struct netdev *netdev, bool is_wanted, struct err *err)
{
	if (is_wanted == (netdev->vhost != NULL))
		return 0;
	if (is_wanted)
		return vhost_new(&netdev->vhost, err);
	vhost_free(take_ptr(netdev->vhost));
	return 0;
}

static int open_net(const struct config_net *config, struct netdev **netdev, struct err *err)
{
	/* Without it the guest would reach what listens on the host's loopback, by the gateway. */
	static const char *const args[] = { "--no-map-gw", NULL };
	const struct passt_config passt = { .args = config->reaches_host ? NULL : args };
	int ret;

	if (config->kind == CONFIG_NET_USER)
		ret = passt_new(netdev, &passt, err);
	else
		ret = tap_new(netdev, config->tap, err);
	if (ret == 0) {
		ret = set_vhost(*netdev, config->has_vhost, err);
		if (ret != 0)
			netdev_free(take_ptr(*netdev));
	}
	if (ret != 0)
		err_prefix(err, "net '%s'", config->id);
	return ret;
}

static struct net_resource *find_net(struct vm_resources *resources, const char *id)
{
	struct net_resource *free_place = NULL;

	for (unsigned int i = 0; i < CONFIG_NETS_MAX; i++) {
		struct net_resource *resource = &resources->nets[i];

		if (resource->id != NULL && strcmp(resource->id, id) == 0)
			return resource;
		if (resource->id == NULL && free_place == NULL)
			free_place = resource;
	}
	return free_place;
}

/* The host's side is the same: a tap cannot be opened twice, and passt has been started. */
static bool is_same_net(const struct net_resource *resource, const struct config_net *config)
{
	if (resource->id == NULL || resource->kind != config->kind)
		return false;
	if (config->kind == CONFIG_NET_USER)
		return resource->reaches_host == config->reaches_host;
	return strcmp(resource->tap, config->tap) == 0;
}

static void clear_net(struct net_resource *resource)
{
	free(resource->id);
	free(resource->tap);
	*resource = (struct net_resource){ 0 };
}

static void close_net(struct net_resource *resource)
{
	netdev_free(resource->netdev);
	clear_net(resource);
}

static int open_new_net(struct net_resource *resource, const struct config_net *config,
			struct err *err)
{
	struct net_resource new = {
		.id = strdup(config->id),
		.kind = config->kind,
		.tap = config->tap == NULL ? NULL : strdup(config->tap),
		.reaches_host = config->reaches_host,
	};
	int ret = 0;

	if (new.id == NULL || (config->tap != NULL && new.tap == NULL))
		ret = no_memory(err);
	if (ret == 0)
		ret = open_net(config, &new.netdev, err);
	if (ret != 0) {
		clear_net(&new);
		return ret;
	}
	close_net(resource);
	*resource = new;
	return 0;
}

int vm_resources_open_net(struct vm_resources *resources, const struct config_net *config,
			  struct err *err)
{
	struct net_resource *resource = find_net(resources, config->id);
	int ret;

	if (resource == NULL)
		return err_set(err, -ENOSPC, "no more than %d networks", CONFIG_NETS_MAX);
	if (!is_same_net(resource, config))
		return open_new_net(resource, config, err);
	ret = set_vhost(resource->netdev, config->has_vhost, err);
	return ret == 0 ? 0 : err_prefix(err, "net '%s'", config->id);
}

int vm_resources_take_net(struct vm_resources *resources, const struct config_net *config,
			  struct netdev **netdev, struct err *err)
{
	struct net_resource *resource = resources == NULL ? NULL : find_net(resources, config->id);

	if (resource == NULL || resource->id == NULL)
		return open_net(config, netdev, err);
	*netdev = resource->netdev;
	clear_net(resource);
	return 0;
}

/* ---- vsock ---- */

static int listen_vsock(const struct config_vsock *config, struct unix_listener *listener,
			struct err *err)
{
	int ret = unix_listener_init(listener, config->path, err);

	if (ret != 0)
		err_prefix(err, "vsock");
	return ret;
}

int vm_resources_open_vsock(struct vm_resources *resources, const struct config_vsock *config,
			    struct err *err)
{
	struct unix_listener listener;
	int ret;

	/* One path has one listener: it stays. */
	if (strcmp(resources->vsock.path, config->path) == 0)
		return 0;
	ret = listen_vsock(config, &listener, err);
	if (ret != 0)
		return ret;
	unix_listener_deinit(&resources->vsock);
	resources->vsock = listener;
	return 0;
}

int vm_resources_take_vsock(struct vm_resources *resources, const struct config_vsock *config,
			    struct unix_listener *listener, struct err *err)
{
	if (resources == NULL || resources->vsock.path[0] == '\0')
		return listen_vsock(config, listener, err);
	*listener = resources->vsock;
	resources->vsock = (struct unix_listener){ .fd = -1 };
	return 0;
}

/* ---- serial console ---- */

static int open_serial(const struct config_serial *config, int *fd, struct err *err)
{
	int ret = config->out_path == NULL ? -1 : open_sink(config->out_path, err);

	*fd = ret;
	if (config->out_path == NULL || ret >= 0)
		return 0;
	err_prefix(err, "output of the serial console");
	return ret;
}

int vm_resources_open_serial(struct vm_resources *resources, const struct config_serial *config,
			     struct err *err)
{
	int fd;
	int ret = open_serial(config, &fd, err);

	if (ret != 0)
		return ret;
	close_fd(&resources->serial_fd);
	resources->serial_fd = fd;
	return 0;
}

int vm_resources_take_serial(struct vm_resources *resources, const struct config_serial *config,
			     int *fd, struct err *err)
{
	if (resources == NULL || resources->serial_fd < 0)
		return open_serial(config, fd, err);
	*fd = take_fd(&resources->serial_fd);
	return 0;
}

/* ---- all ---- */

struct vm_resources *vm_resources_new(void)
{
	struct vm_resources *resources = calloc(1, sizeof(*resources));

	if (resources != NULL)
		resources->serial_fd = -1;
	return resources;
}

void vm_resources_free(struct vm_resources *resources)
{
	if (resources == NULL)
		return;
	close_kernel(resources);
	for (unsigned int i = 0; i < CONFIG_DISKS_MAX; i++) {
		free_disk(resources->disks[i].disk);
		clear_disk(&resources->disks[i]);
	}
	for (unsigned int i = 0; i < CONFIG_NETS_MAX; i++)
		close_net(&resources->nets[i]);
	unix_listener_deinit(&resources->vsock);
	close_fd(&resources->serial_fd);
	free(resources);
}
