/*
 * The engine that does not wait: calls go to the kernel through an io_uring, results come back
 * through it, told by an eventfd.
 *
 * The ring is restricted for ever before it is used, to the operations and the one file that the
 * disk needs: whoever gets hold of the process can do no more with it (a syscall filter does
 * not see what goes through a ring).
 *
 * A request has at most one entry in the ring, so it cannot overflow: one is left for cancelling.
 *
 * Syncs. One fdatasync is made at a time, for all requests that were written when it began; those
 * that become written meanwhile wait for the next. So a sync that succeeded is known not to have
 * run beside one that was told of an error of both: Linux tells only one of them.
 *
 * Not IORING_SETUP_COOP_TASKRUN and its like: a vCPU that resets the device looks for the results
 * of requests of the I/O thread, which may itself be asleep on the device's lock and must be woken
 * to finish them; and not SINGLE_ISSUER, since both put requests in.
 */
#include "backend/disk.h"

#include "util/assert.h"
#include "util/bits.h"
#include "util/cleanup.h"

#include <errno.h>
#include <liburing.h>
#include <sys/eventfd.h>

enum { DEPTH = 63, FILE_INDEX = 0, SLICE_MS = 10, SLICE_NS = SLICE_MS * 1000000 };

struct disk_uring {
	struct io_uring ring;
	bool has_ring;
	int event_fd;
	/* Requests, and the call that cancels; with those that the kernel has not seen yet. */
	unsigned int n_in_flight;
	bool is_cancelling;
	struct disk_request *sync_now;  /* whom the sync that is being made is for */
	struct disk_request *sync_next; /* who became written since it began */
	struct log_limit log_limit;
};

int disk_event_fd(const struct disk *disk)
{
	return disk->uring == NULL ? -1 : disk->uring->event_fd;
}

static int restrict_ring(struct io_uring *ring)
{
	static const uint8_t ops[] = {
		IORING_OP_READV,     IORING_OP_WRITEV,       IORING_OP_FSYNC,
		IORING_OP_FALLOCATE, IORING_OP_ASYNC_CANCEL,
	};
	struct io_uring_restriction allowed[ARRAY_SIZE(ops) + 3] = { 0 };
	unsigned int n = 0;
	int result;

	for (; n < ARRAY_SIZE(ops); n++) {
		allowed[n].opcode = IORING_RESTRICTION_SQE_OP;
		allowed[n].sqe_op = ops[n];
	}
	allowed[n].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	allowed[n++].sqe_flags = IOSQE_FIXED_FILE;
	/* To replace the disk's file. */
	allowed[n].opcode = IORING_RESTRICTION_REGISTER_OP;
	allowed[n++].register_op = IORING_REGISTER_FILES_UPDATE;
	allowed[n].opcode = IORING_RESTRICTION_REGISTER_OP;
	allowed[n++].register_op = IORING_REGISTER_ENABLE_RINGS;
	/* By number: liburing 2.3 has functions for both, but not in its shared object. */
	result = io_uring_register((unsigned int)ring->ring_fd, IORING_REGISTER_RESTRICTIONS,
				   allowed, n);
	if (result != 0)
		return result;
	return io_uring_register((unsigned int)ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL,
				 0);
}

static int set_up_ring(struct disk *disk)
{
	struct disk_uring *uring = disk->uring;
	int result = io_uring_queue_init(DEPTH + 1, &uring->ring, IORING_SETUP_R_DISABLED);

	if (result != 0)
		return result;
	uring->has_ring = true;
	result = io_uring_register_files(&uring->ring, &disk->fd, 1);
	if (result == 0)
		result = io_uring_register_eventfd(&uring->ring, uring->event_fd);
	if (result == 0)
		result = restrict_ring(&uring->ring);
	return result;
}

static int uring_init(struct disk *disk, struct err *err)
{
	int result;

	disk->uring = calloc(1, sizeof(*disk->uring));
	if (disk->uring == NULL)
		return err_set(err, -ENOMEM, "no memory for the disk '%s'", disk->path);
	disk->uring->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (disk->uring->event_fd < 0)
		return err_sys(err, "create an eventfd for '%s'", disk->path);
	result = set_up_ring(disk);
	if (result == 0)
		return 0;
	errno = -result;
	return err_sys(err, "the io_engine of '%s': this host gives no io_uring", disk->path);
}

static void uring_deinit(struct disk *disk)
{
	const int none = -1;

	if (disk->uring == NULL)
		return;
	if (disk->uring->has_ring) {
		/* The kernel takes a ring apart some time after it is closed, but lets go of a file
		 * that it is told to. */
		(void)io_uring_register_files_update(&disk->uring->ring, FILE_INDEX, &none, 1);
		io_uring_queue_exit(&disk->uring->ring);
	}
	close_fd(&disk->uring->event_fd);
	free(disk->uring);
	disk->uring = NULL;
}

static struct io_uring_sqe *get_entry(struct disk_uring *uring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

	ASSERT(sqe != NULL);
	return sqe;
}

static void put_entry(struct disk_uring *uring, const struct disk_request *req)
{
	struct io_uring_sqe *sqe = get_entry(uring);

	switch (req->call) {
	case DISK_CALL_READ:
		io_uring_prep_readv(sqe, FILE_INDEX, req->iov, req->n_iov, req->offset);
		break;
	case DISK_CALL_WRITE:
		io_uring_prep_writev(sqe, FILE_INDEX, req->iov, req->n_iov, req->offset);
		break;
	case DISK_CALL_FALLOCATE:
	case DISK_CALL_SYNC:
	case DISK_CALL_DISCARD:
	default:
		io_uring_prep_fallocate(sqe, FILE_INDEX, req->mode, (off_t)req->offset,
					(off_t)req->len);
		break;
	}
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data64(sqe, (uintptr_t)req);
}

/* What the driver knows to be written was reaped, so it is in the page cache. */
static void begin_sync(struct disk_uring *uring)
{
	struct io_uring_sqe *sqe;

	if (uring->sync_now != NULL || uring->sync_next == NULL)
		return;
	uring->sync_now = uring->sync_next;
	uring->sync_next = NULL;
	sqe = get_entry(uring);
	io_uring_prep_fsync(sqe, FILE_INDEX, IORING_FSYNC_DATASYNC);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data(sqe, &uring->sync_now);
}

static int make_call(struct disk *disk, struct disk_request *req)
{
	struct disk_uring *uring = disk->uring;

	/* An ioctl is not to be had through the ring. */
	while (req->call == DISK_CALL_DISCARD) {
		int result = disk_call_done(disk, req, disk_make_call(disk, req));

		if (result != DISK_PENDING)
			return result;
	}
	if (req->call == DISK_CALL_SYNC) {
		req->next = uring->sync_next;
		uring->sync_next = req;
	} else {
		put_entry(uring, req);
	}
	return DISK_PENDING;
}

static int uring_start(struct disk *disk, struct disk_request *req)
{
	int result = make_call(disk, req);

	if (result == DISK_PENDING)
		disk->uring->n_in_flight++;
	return result;
}

static bool uring_commit(struct disk *disk)
{
	struct disk_uring *uring = disk->uring;
	int result = 0;

	begin_sync(uring);
	/* It stops short at an entry that is in error, so more than once. */
	while ((result >= 0 || result == -EINTR) && io_uring_sq_ready(&uring->ring) > 0)
		result = io_uring_submit(&uring->ring);
	if (result >= 0)
		return true;
	log_guest(&uring->log_limit, "'%s': requests are delayed: %s", disk->path,
		  strerror(-result));
	return false;
}

/* ---- results ---- */

static void finish(struct disk_uring *uring, struct disk_request *req, int result)
{
	uring->n_in_flight--;
	req->done(req, result);
}

static void call_made(struct disk *disk, struct disk_request *req, int result)
{
	struct disk_uring *uring = disk->uring;

	/* No failure of the file's, and of a sync no reason to mistrust it. */
	if (uring->is_cancelling && (result == -ECANCELED || result == -EINTR)) {
		finish(uring, req, -ECANCELED);
		return;
	}
	result = disk_call_done(disk, req, result);
	if (result == DISK_PENDING)
		result = uring->is_cancelling ? -ECANCELED : make_call(disk, req);
	if (result != DISK_PENDING)
		finish(uring, req, result);
}

static void sync_made(struct disk *disk, int result)
{
	struct disk_request *req = disk->uring->sync_now;

	disk->uring->sync_now = NULL;
	while (req != NULL) {
		struct disk_request *next = req->next;

		call_made(disk, req, result);
		req = next;
	}
}

static void entry_done(struct disk *disk, void *data, int result)
{
	if (data == NULL)
		disk->uring->n_in_flight--;
	else if (data == &disk->uring->sync_now)
		sync_made(disk, result);
	else
		call_made(disk, data, result);
}

static void uring_reap(struct disk *disk)
{
	struct io_uring *ring = &disk->uring->ring;
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(ring, &cqe) == 0) {
		void *data = io_uring_cqe_get_data(cqe);
		int result = cqe->res;

		io_uring_cqe_seen(ring, cqe);
		entry_done(disk, data, result);
	}
	if (disk->uring->n_in_flight == 0)
		disk->uring->is_cancelling = false;
}

/* ---- an end ahead of time ---- */

static void cancel_waiting(struct disk_uring *uring)
{
	while (uring->sync_next != NULL) {
		struct disk_request *req = uring->sync_next;

		uring->sync_next = req->next;
		finish(uring, req, -ECANCELED);
	}
}

static void uring_cancel(struct disk *disk)
{
	struct disk_uring *uring = disk->uring;
	const uint64_t one = 1;
	struct io_uring_sqe *sqe;

	cancel_waiting(uring);
	if (uring->n_in_flight == 0 || uring->is_cancelling)
		return;
	uring->is_cancelling = true;
	/* Linux before 5.19 does not know it; it is refused then, and all is waited for. */
	sqe = get_entry(uring);
	io_uring_prep_cancel(sqe, NULL, IORING_ASYNC_CANCEL_ANY);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data(sqe, NULL);
	uring->n_in_flight++;
	/* By a vCPU, which has no timer to try again: that is the loop's. */
	if (!uring_commit(disk) && write(uring->event_fd, &one, sizeof(one)) != sizeof(one))
		ASSERT(errno == EAGAIN);
}

static bool uring_drain(struct disk *disk, unsigned int timeout_ms)
{
	struct disk_uring *uring = disk->uring;
	unsigned int waited_ms = 0;

	while (uring->n_in_flight > 0 && waited_ms < timeout_ms) {
		struct __kernel_timespec slice = { .tv_nsec = SLICE_NS };
		struct io_uring_cqe *cqe;

		(void)uring_commit(disk);
		if (io_uring_wait_cqe_timeout(&uring->ring, &cqe, &slice) != 0)
			waited_ms += SLICE_MS;
		uring_reap(disk);
	}
	return uring->n_in_flight == 0;
}

static int uring_set_fd(struct disk *disk, int fd, struct err *err)
{
	int result = io_uring_register_files_update(&disk->uring->ring, FILE_INDEX, &fd, 1);

	if (result == 1)
		return 0;
	errno = result < 0 ? -result : EIO;
	return err_sys(err, "give '%s' the place of its disk in the io_uring", disk->path);
}

const struct disk_ops disk_uring_ops = {
	.depth = DEPTH,
	.init = uring_init,
	.start = uring_start,
	.commit = uring_commit,
	.reap = uring_reap,
	.cancel = uring_cancel,
	.drain = uring_drain,
	.set_fd = uring_set_fd,
	.deinit = uring_deinit,
};
