#include "virtio/net_vhost.h"

#include "backend/tap.h"
#include "backend/vhost.h"
#include "util/cleanup.h"
#include "util/events.h"
#include "virtio/net.h"

#include <errno.h>
#include <string.h>

static_assert((unsigned int)VHOST_QUEUES == (unsigned int)NET_N_QUEUES, "one for each");

static struct vhost_queue describe(const struct virtio_dev *dev, unsigned int i)
{
	const struct virtq *vq = &dev->queues[i];

	return (struct vhost_queue){
		.is_ready = vq->is_ready,
		.size = vq->size,
		.desc = vq->desc,
		.avail = vq->avail,
		.used = vq->used,
		.kick_fd = dev->kick_fds[i],
	};
}

bool net_vhost_has_tap(struct net *net)
{
	if (net->vhost.is_gone)
		return false;
	if (!tap_is_gone(net->netdev))
		return true;
	net->vhost.is_gone = true;
	log_guest(&net->log_limit, "net '%s': its tap has gone: it was deleted", net->dev.id);
	net_set_link_down(net);
	return false;
}

void net_vhost_begin(struct net *net)
{
	const struct virtio_dev *dev = &net->dev;
	struct vhost_setup setup = {
		.mem = dev->queues[0].mem,
		.features = dev->features,
		.tap_fd = net->netdev->fd,
	};
	int result;

	for (unsigned int i = 0; i < NET_N_QUEUES; i++)
		setup.queues[i] = describe(dev, i);
	/* Before: the first interrupt may come at once. */
	virtio_dev_hold_isr(&net->dev, VIRTIO_ISR_QUEUE);
	result = vhost_start(net->netdev->vhost, &setup);
	if (result != 0)
		virtio_dev_break(&net->dev, "give its queues to vhost: %s", strerror(-result));
}

void net_vhost_end(struct net *net)
{
	vhost_stop(net->netdev->vhost);
	virtio_dev_hold_isr(&net->dev, 0);
}

static void on_failed(evutil_socket_t fd, short what, void *ctx)
{
	struct net *net = ctx;

	(void)fd;
	(void)what;
	pthread_mutex_lock(&net->dev.lock);
	/* One of a driver that has gone meanwhile was forgotten when it went. And that frames
	 * cannot be sent to a tap that is gone is told as an error of the queue too. */
	if (vhost_take_error(net->netdev->vhost) && net_vhost_has_tap(net))
		virtio_dev_break(&net->dev, "vhost found what cannot be in one of its queues");
	pthread_mutex_unlock(&net->dev.lock);
}

/* What has changed is not read: the device is asked. */
static void on_changed(evutil_socket_t fd, short what, void *ctx)
{
	struct net *net = ctx;
	char message[512];

	(void)what;
	/* One that is too long is cut; those that were too many for the socket are an error once.
	 * Other guests can make the host's interfaces change, as fast as they like: what is left
	 * wakes the loop again. */
	for (unsigned int i = 0; i < VIRTIO_BUDGET; i++) {
		if (read(fd, message, sizeof(message)) <= 0 && errno != ENOBUFS)
			break;
	}
	pthread_mutex_lock(&net->dev.lock);
	(void)net_vhost_has_tap(net);
	pthread_mutex_unlock(&net->dev.lock);
}

static int watch_interfaces(struct net *net, struct event_base *base)
{
	int fd = tap_watch_interfaces();

	if (fd < 0) {
		log_debug("net '%s': nobody will tell when its tap is deleted: %s", net->dev.id,
			  strerror(-fd));
		return 0;
	}
	net->vhost.changed_fd = fd;
	net->vhost.changed = event_new(base, fd, EV_READ | EV_PERSIST, on_changed, net);
	return net->vhost.changed != NULL && event_add(net->vhost.changed, NULL) == 0 ? 0 : -ENOMEM;
}

int net_vhost_init(struct net *net, struct event_base *base, struct err *err)
{
	net->vhost.changed_fd = -1;
	net->vhost.failed =
		event_new(base, net->netdev->vhost->error_fd, EV_READ | EV_PERSIST, on_failed, net);
	if (net->vhost.failed == NULL || event_add(net->vhost.failed, NULL) != 0 ||
	    watch_interfaces(net, base) != 0)
		return err_set(err, -ENOMEM, "net '%s': no memory for the event loop", net->dev.id);
	return 0;
}

void net_vhost_deinit(struct net *net)
{
	if (net->vhost.failed == NULL)
		return;
	vhost_stop(net->netdev->vhost);
	free_event(&net->vhost.failed);
	free_event(&net->vhost.changed);
	close_fd(&net->vhost.changed_fd);
}
