#include "virtio/rng.h"

#include "util/bits.h"
#include "util/events.h"

#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/random.h>

enum {
	DEVICE_ID = 4, /* virtio 1.2, section 5 */
	QUEUE_SIZE = 64,
	/* Random bytes cost time: so many, then the loop's other work has its turn. */
	BUDGET_BYTES = 4 * RNG_REQUEST_MAX,
};

/* Until the host may have random bytes. */
static const struct timeval retry_pause = { .tv_usec = 100000 };

/* \return bytes, or -errno when there is not one */
static ssize_t fill_buffer(const struct iovec *buffer, size_t len)
{
	size_t done = 0;

	while (done < len) {
		/* Straight into the guest's memory: nothing of it is looked at afterwards. */
		ssize_t n =
			getrandom((uint8_t *)buffer->iov_base + done, len - done, GRND_NONBLOCK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return done > 0 ? (ssize_t)done : -errno;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static uint32_t fill(struct rng *rng, const struct virtq_chain *chain, uint32_t len)
{
	const struct iovec *buffers = virtq_chain_writable(chain);
	uint32_t done = 0;

	for (unsigned int i = 0; done < len; i++) {
		size_t part = MIN(buffers[i].iov_len, (size_t)(len - done));
		ssize_t n = fill_buffer(&buffers[i], part);

		if (n < 0) {
			metrics_inc(&metrics.entropy.host_rng_fails);
			log_guest(&rng->dev.log_limit, "rng '%s': no random bytes: %s", rng->dev.id,
				  strerror((int)-n));
		}
		if (n > 0)
			done += (uint32_t)n;
		if (n < (ssize_t)part)
			break;
	}
	return done;
}

/* \return bytes given; 0 when the request must wait, or was none */
static uint32_t serve(struct rng *rng, const struct virtq_chain *chain)
{
	struct virtq *vq = &rng->dev.queues[0];
	uint32_t len = MIN(chain->writable_bytes, (uint32_t)RNG_REQUEST_MAX);
	uint32_t done;

	if (chain->n_readable > 0 || len == 0) {
		virtio_dev_break(&rng->dev, "its driver made a request without room for an answer, "
					    "or with more than that");
		return 0;
	}
	if (!rate_limiter_take(&rng->limiter, len)) {
		metrics_inc(&metrics.entropy.entropy_rate_limiter_throttled);
		virtq_unpop(vq, chain->head);
		return 0;
	}
	done = fill(rng, chain, len);
	if (done > 0) {
		metrics_add(&metrics.entropy.entropy_bytes, done);
		virtq_push(vq, chain->head, done);
		return done;
	}
	rate_limiter_give_back(&rng->limiter, len);
	virtq_unpop(vq, chain->head);
	event_add(rng->retry_event, &retry_pause);
	return 0;
}

static bool process(struct virtio_dev *dev, unsigned int queue)
{
	struct rng *rng = container_of(dev, struct rng, dev);
	struct virtq_chain chain;
	uint32_t done = 0;
	bool has_more = true;

	metrics_inc(&metrics.entropy.entropy_event_count);
	if (rate_limiter_is_waiting(&rng->limiter) ||
	    event_pending(rng->retry_event, EV_TIMEOUT, NULL))
		return false;
	for (unsigned int i = 0; i < VIRTIO_BUDGET && done < BUDGET_BYTES && has_more; i++) {
		uint32_t n = virtio_dev_pop(dev, queue, &chain) ? serve(rng, &chain) : 0;

		done += n;
		has_more = n > 0;
	}
	virtio_dev_signal(dev, queue);
	return has_more;
}

static const struct virtio_dev_class rng_class = {
	.name = "rng",
	.device_id = DEVICE_ID,
	.n_queues = 1,
	.queue_size = QUEUE_SIZE,
	.process = process,
};

static void on_limit_passed(void *ctx)
{
	struct rng *rng = ctx;

	metrics_inc(&metrics.entropy.rate_limiter_event_count);
	virtio_dev_kick(&rng->dev, 0);
}

static void on_retry(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	virtio_dev_kick(&((struct rng *)ctx)->dev, 0);
}

int rng_init(struct rng *rng, const char *id, const struct rate_limiter_config *limits,
	     const struct guest_mem *mem, const struct irq_line *irq, struct event_base *base,
	     struct err *err)
{
	int ret = virtio_dev_init(&rng->dev, &rng_class, id, mem, irq, err);

	rng->dev.fails = (struct virtio_fails){ .activate = &metrics.entropy.activate_fails,
						.event = &metrics.entropy.entropy_event_fails };
	if (ret == 0)
		ret = rate_limiter_init(&rng->limiter, limits, base, on_limit_passed, rng, err);
	if (ret != 0)
		return ret;
	rng->retry_event = event_new(base, -1, 0, on_retry, rng);
	if (rng->retry_event == NULL)
		return err_set(err, -ENOMEM, "rng '%s': no memory for the event loop", id);
	return 0;
}

void rng_deinit(struct rng *rng)
{
	free_event(&rng->retry_event);
	rate_limiter_deinit(&rng->limiter);
	virtio_dev_deinit(&rng->dev);
}
