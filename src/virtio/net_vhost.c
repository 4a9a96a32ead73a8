#include "virtio/net_vhost.h"

#include "backend/vhost.h"
#include "util/events.h"
#include "virtio/net.h"

#include <errno.h>
#include <string.h>

static_assert((int)VHOST_QUEUES == (int)NET_N_QUEUES, "one for each");

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
	if (result == 0)
		return;
	virtio_dev_hold_isr(&net->dev, 0);
	virtio_dev_break(&net->dev, "give its queues to vhost: %s", strerror(-result));
}

static void stop(struct net *net)
{
	vhost_stop(net->netdev->vhost);
	virtio_dev_hold_isr(&net->dev, 0);
}

void net_vhost_reset(struct net *net)
{
	stop(net);
}

static void on_failed(evutil_socket_t fd, short what, void *ctx)
{
	struct net *net = ctx;

	(void)fd;
	(void)what;
	pthread_mutex_lock(&net->dev.lock);
	/* One of a driver that has gone meanwhile was forgotten when it went. */
	if (vhost_take_error(net->netdev->vhost)) {
		stop(net);
		virtio_dev_break(&net->dev, "vhost found what cannot be in one of its queues");
	}
	pthread_mutex_unlock(&net->dev.lock);
}

int net_vhost_init(struct net *net, struct event_base *base, struct err *err)
{
	net->vhost.failed =
		event_new(base, net->netdev->vhost->error_fd, EV_READ | EV_PERSIST, on_failed, net);
	if (net->vhost.failed == NULL || event_add(net->vhost.failed, NULL) != 0)
		return err_set(err, -ENOMEM, "net '%s': no memory for the event loop", net->dev.id);
	return 0;
}

void net_vhost_deinit(struct net *net)
{
	free_event(&net->vhost.failed);
	if (net->netdev != NULL && net->netdev->vhost != NULL)
		vhost_stop(net->netdev->vhost);
}
