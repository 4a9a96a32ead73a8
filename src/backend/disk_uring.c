/*
 * The engine that does not wait: calls go to the kernel through an io_uring, results come back
 * through it, told by an eventfd.
 *
 * The ring is restricted for ever before it is used, to the four operations and the one file that
 * the disk needs: whoever gets hold of the process can do no more with it (a syscall filter does
 * not see what goes through a ring).
 *
 * A request has at most one entry in the ring, so it cannot overflow.
 *
 * Not IORING_SETUP_COOP_TASKRUN and its like: a vCPU that resets the device waits in drain() for
 * requests of the I/O thread, which may itself be asleep on the device's lock and must be woken to
 * finish them; and not SINGLE_ISSUER, since both put requests in.
 */
#include "backend/disk.h"

#include "util/assert.h"
#include "util/bits.h"
#include "util/cleanup.h"

#include <errno.h>
#include <liburing.h>
#include <sys/eventfd.h>

enum { DEPTH = 64, FILE_INDEX = 0 };

struct disk_uring {
	struct io_uring ring;
	bool has_ring;
	int event_fd;
	unsigned int n_in_flight; /* with those that the kernel has not seen yet */
	struct log_limit log_limit;
};

int disk_event_fd(const struct disk *disk)
{
	return disk->uring == NULL ? -1 : disk->uring->event_fd;
}

static int restrict_ring(struct io_uring *ring)
{
	static const uint8_t ops[] = {
		IORING_OP_READV,
		IORING_OP_WRITEV,
		IORING_OP_FSYNC,
		IORING_OP_FALLOCATE,
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
	int result = io_uring_queue_init(DEPTH, &uring->ring, IORING_SETUP_R_DISABLED);

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

static void put_entry(struct disk_uring *uring, struct disk_request *req)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

	ASSERT(sqe != NULL);
	switch (req->call) {
	case DISK_CALL_READ:
		io_uring_prep_readv(sqe, FILE_INDEX, req->iov, req->n_iov, req->offset);
		break;
	case DISK_CALL_WRITE:
		io_uring_prep_writev(sqe, FILE_INDEX, req->iov, req->n_iov, req->offset);
		break;
	case DISK_CALL_SYNC:
		/* What the driver knows to be written was reaped, so it is in the page cache. */
		io_uring_prep_fsync(sqe, FILE_INDEX, IORING_FSYNC_DATASYNC);
		break;
	case DISK_CALL_FALLOCATE:
	case DISK_CALL_DISCARD:
	default:
		io_uring_prep_fallocate(sqe, FILE_INDEX, req->mode, (off_t)req->offset,
					(off_t)req->len);
		break;
	}
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data(sqe, req);
	uring->n_in_flight++;
}

static int uring_start(struct disk *disk, struct disk_request *req)
{
	/* An ioctl is not to be had through the ring. */
	while (req->call == DISK_CALL_DISCARD) {
		int result = disk_call_done(disk, req, disk_make_call(disk, req));

		if (result != DISK_PENDING)
			return result;
	}
	put_entry(disk->uring, req);
	return DISK_PENDING;
}

static void uring_commit(struct disk *disk)
{
	struct disk_uring *uring = disk->uring;
	const uint64_t one = 1;
	int result = 0;

	/* It stops short at an entry that is in error, so more than once. */
	while ((result >= 0 || result == -EINTR) && io_uring_sq_ready(&uring->ring) > 0)
		result = io_uring_submit(&uring->ring);
	if (result >= 0)
		return;
	/* The kernel has no memory just now: what waits is tried again from the loop. */
	log_guest(&uring->log_limit, "'%s': requests are delayed: %s", disk->path,
		  strerror(-result));
	if (write(uring->event_fd, &one, sizeof(one)) != sizeof(one))
		ASSERT(errno == EAGAIN);
}

static void complete(struct disk *disk, struct disk_request *req, int result)
{
	disk->uring->n_in_flight--;
	result = disk_call_done(disk, req, result);
	if (result == DISK_PENDING)
		result = uring_start(disk, req);
	if (result != DISK_PENDING)
		req->done(req, result);
}

static void uring_reap(struct disk *disk)
{
	struct io_uring *ring = &disk->uring->ring;
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(ring, &cqe) == 0) {
		struct disk_request *req = io_uring_cqe_get_data(cqe);
		int result = cqe->res;

		io_uring_cqe_seen(ring, cqe);
		complete(disk, req, result);
	}
	uring_commit(disk);
}

static void uring_drain(struct disk *disk)
{
	struct disk_uring *uring = disk->uring;
	struct io_uring_cqe *cqe;

	if (uring == NULL || !uring->has_ring)
		return;
	while (uring->n_in_flight > 0) {
		uring_commit(disk);
		/* Interrupted or not, it is looked again. */
		if (uring->n_in_flight > io_uring_sq_ready(&uring->ring))
			(void)io_uring_wait_cqe(&uring->ring, &cqe);
		uring_reap(disk);
	}
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
	.drain = uring_drain,
	.set_fd = uring_set_fd,
	.deinit = uring_deinit,
};
