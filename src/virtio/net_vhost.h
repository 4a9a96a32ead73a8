/*
 * A network device (net.h) whose queues the host's kernel works on (backend/vhost.h). The device
 * has its registers still: it agrees on features, checks where the rings are, and hands the queues
 * over when the driver is ready. A reset takes them back before it is complete.
 *
 * Kicks are eventfds that KVM writes and the kernel reads; the loop does not watch them. The kernel
 * interrupts by an eventfd that is tied to the device's line (irqchip_line_by_fd() in
 * vm/irqchip.h), without us, so nobody can set the register that says why when it does: it says
 * "queue" as long as the kernel is at work. A driver that looks at a ring for nothing finds
 * nothing.
 *
 * When the kernel finds a ring that breaks a rule it writes one more eventfd, which the loop
 * watches: the device is broken, as every device is in that case, until it is reset.
 *
 * The kernel does not tell that the tap device has been deleted, so we look whenever an interface
 * of the host changes. The link then goes down for good.
 *
 * The device's lock is held where nothing else is said.
 */
#pragma once

#include "util/err.h"

#include <stdbool.h>

struct event;
struct event_base;
struct net;

/** The sentence for who asks for both; with the interface's name. */
#define NET_VHOST_HAS_NO_LIMITS                                                                    \
	"net '%s': with vhost there are no rate limits: the host's kernel moves its frames"

struct net_vhost {
	struct event *failed;  /**< a ring broke a rule */
	struct event *changed; /**< an interface of the host; NULL: nobody tells */
	int changed_fd;        /**< what it watches */
	bool is_gone;          /**< the tap device */
};

/**
 * \param net whose `netdev` has a `vhost`; its `vhost` is zeroed
 * \param base of the I/O thread
 * \return 0; -ENOMEM
 */
__attribute__((warn_unused_result)) int net_vhost_init(struct net *net, struct event_base *base,
						       struct err *err);

/** Look for the tap device: when it has been deleted, the driver is told. Any thread. */
bool net_vhost_has_tap(struct net *net);

/** The driver is ready, and the tap there. On a vCPU thread. */
void net_vhost_begin(struct net *net);

/** Take the queues back from the kernel: nothing is in flight when this returns. Any thread. */
void net_vhost_end(struct net *net);

/** On the I/O thread, after the vCPUs have ended. Legal on a zeroed object, and twice. */
void net_vhost_deinit(struct net *net);
