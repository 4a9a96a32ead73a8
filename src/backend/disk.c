#include "backend/disk.h"

#include "util/bits.h"
#include "util/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* What is written at once where zeros have to be written. */
#define ZEROS_SIZE MIB

/* ---- opening ---- */

int disk_open_file(const char *path, bool is_read_only, struct err *err)
{
	/* O_NONBLOCK: opening a FIFO must not wait. It is switched off once we know what it is. */
	int flags = (is_read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	int fd = open(path, flags);

	if (fd < 0)
		return err_sys(err, "open '%s' for %s", path,
			       is_read_only ? "reading" : "reading and writing");
	return fd;
}

/* What is found out about a file before it becomes the disk's. */
struct file {
	int fd;
	const char *path;
	bool is_block_device;
	uint64_t size;
	uint32_t block_size;
	char id[sizeof(((struct disk *)NULL)->id)];
};

static int ask_block_device(struct file *file, struct err *err)
{
	int block_size;

	if (ioctl(file->fd, BLKGETSIZE64, &file->size) != 0 ||
	    ioctl(file->fd, BLKSSZGET, &block_size) != 0)
		return err_sys(err, "ask for the size of the block device '%s'", file->path);
	file->block_size = (uint32_t)block_size;
	return 0;
}

static void round_size(struct file *file)
{
	uint64_t rest = file->size % DISK_SECTOR;

	if (rest == 0)
		return;
	log_warn("the size of '%s' is no multiple of %d: its last %" PRIu64
		 " bytes are not part of the disk",
		 file->path, DISK_SECTOR, rest);
	file->size -= rest;
}

static int look_at_file(struct file *file, struct err *err)
{
	struct stat st;

	if (fstat(file->fd, &st) != 0)
		return err_sys(err, "stat '%s'", file->path);
	file->is_block_device = S_ISBLK(st.st_mode);
	if (!S_ISREG(st.st_mode) && !file->is_block_device)
		return err_set(err, -EINVAL, "'%s' is neither a regular file nor a block device",
			       file->path);
	file->size = (uint64_t)st.st_size;
	file->block_size = DISK_SECTOR;
	/* As Firecracker has it: a guest that finds its disks by these finds the same. */
	snprintf(file->id, sizeof(file->id), "%ju%ju%ju", (uintmax_t)st.st_dev,
		 (uintmax_t)st.st_rdev, (uintmax_t)st.st_ino);
	if (file->is_block_device && ask_block_device(file, err) != 0)
		return -EINVAL;
	round_size(file);
	return 0;
}

static int check_access(const struct file *file, bool is_read_only, struct err *err)
{
	int flags = fcntl(file->fd, F_GETFL);

	if (flags < 0)
		return err_sys(err, "'%s'", file->path);
	if (!is_read_only && (flags & O_ACCMODE) != O_RDWR)
		return err_set(err, -EINVAL, "'%s' is not open for writing", file->path);
	/* io_uring takes the flag for a wish to fail rather than wait, even with files. */
	if (fcntl(file->fd, F_SETFL, flags & ~O_NONBLOCK) != 0)
		return err_sys(err, "'%s'", file->path);
	return 0;
}

static int check_file(struct file *file, bool is_read_only, struct err *err)
{
	int result = look_at_file(file, err);

	return result == 0 ? check_access(file, is_read_only, err) : result;
}

/* ---- the lock ---- */

/* A part of a file that is locked by itself: see hand_lock_over(). */
struct lock_range {
	off_t start;
	off_t len; /* 0: to the end of all files */
};

static const struct lock_range whole = { 0, 0 };
static const struct lock_range parts[] = { { 0, 1 }, { 1, 0 } };

static int set_lock(int fd, const struct lock_range *range, short type)
{
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = range->start,
		.l_len = range->len,
	};

	return fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : -errno;
}

static short lock_type(bool is_read_only)
{
	return is_read_only ? F_RDLCK : F_WRLCK;
}

/*
 * Of one file, opened twice, only one may have the lock. It goes from the one to the other a part
 * at a time: so there is no moment in which someone who wants all of it, as disks do, finds it
 * free.
 */
static int hand_lock_over(const struct disk *from, int to, short type)
{
	int result = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parts) && result == 0; i++) {
		(void)set_lock(from->fd, &parts[i], F_UNLCK);
		result = set_lock(to, &parts[i], type);
	}
	if (result != 0) {
		(void)set_lock(to, &whole, F_UNLCK);
		(void)set_lock(from->fd, &whole, lock_type(from->is_read_only));
	}
	return result;
}

/* The way back, also where nothing was handed over since the files are two. */
static void give_lock_back(int fd, const struct disk *to)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		(void)set_lock(fd, &parts[i], F_UNLCK);
		(void)set_lock(to->fd, &parts[i], lock_type(to->is_read_only));
	}
}

static bool is_taken(int result)
{
	return result == -EAGAIN || result == -EACCES;
}

/* \param old the disk whose place the file gets, and, if it is the same file, whose lock; or NULL
 */
static int lock_file(const struct file *file, bool is_read_only, const struct disk *old,
		     struct err *err)
{
	int result = set_lock(file->fd, &whole, lock_type(is_read_only));

	if (is_taken(result) && old != NULL)
		result = hand_lock_over(old, file->fd, lock_type(is_read_only));
	if (is_taken(result))
		return err_set(err, -EBUSY, "'%s' is in use by another disk%s", file->path,
			       is_read_only ? " that writes to it" : "");
	/* Some network file systems have no locks: that is no reason to refuse their files. */
	if (result != 0)
		log_warn("'%s' cannot be locked against a second writer: %s", file->path,
			 strerror(-result));
	return 0;
}

/* An io_uring that has let go of a file holds it a little longer, and with it the lock. */
static void unlock(const struct disk *disk)
{
	(void)set_lock(disk->fd, &whole, F_UNLCK);
}

/* ---- a disk on a file ---- */

/*
 * Ask without changing a byte. A file: punch a hole where the file has ended. A block device: a
 * range that is aligned to nothing is refused, but first of all because nothing can be discarded.
 */
static bool probe_discard(const struct file *file)
{
	uint64_t range[] = { 1, 1 };

	if (file->is_block_device)
		return ioctl(file->fd, BLKDISCARD, range) == 0 || errno != EOPNOTSUPP;
	return fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)align_up(file->size + DISK_SECTOR, MIB), MIB) == 0 ||
	       errno != EOPNOTSUPP;
}

/* All that can fail has been done. */
static void use_file(struct disk *disk, struct file *file)
{
	disk->can_discard = !disk->is_read_only && probe_discard(file);
	disk->can_punch = disk->can_discard || file->is_block_device;
	disk->can_zero = true; /* until it is seen that it cannot */
	disk->fd = take_fd(&file->fd);
	disk->is_block_device = file->is_block_device;
	disk->size = file->size;
	disk->block_size = file->block_size;
	memcpy(disk->id, file->id, sizeof(disk->id));
	disk->sync_error = 0;
}

static void close_file(const struct file *file)
{
	if (file->fd >= 0)
		close(file->fd);
}

static int map_zeros(struct disk *disk, struct err *err)
{
	void *zeros;

	if (disk->is_read_only)
		return 0;
	zeros = mmap(NULL, ZEROS_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (zeros == MAP_FAILED)
		return err_sys(err, "map zeros for '%s'", disk->path);
	disk->zeros = zeros;
	return 0;
}

static int set_up(struct disk *disk, struct file *file, const struct disk *old, struct err *err)
{
	int result = check_file(file, disk->is_read_only, err);

	if (result == 0)
		result = lock_file(file, disk->is_read_only, old, err);
	if (result != 0)
		return result;
	use_file(disk, file);
	result = map_zeros(disk, err);
	if (result == 0 && disk->ops->init != NULL)
		result = disk->ops->init(disk, err);
	if (result != 0 && old != NULL)
		give_lock_back(disk->fd, old);
	return result;
}

static int init_take_fd(struct disk *disk, const struct disk *old, int fd, const char *path,
			bool is_read_only, enum disk_engine engine, struct err *err)
{
	__attribute__((cleanup(close_file))) struct file file = { .fd = fd, .path = path };
	int result;

	*disk = (struct disk){
		.ops = engine == DISK_ENGINE_IO_URING ? &disk_uring_ops : &disk_sync_ops,
		.fd = -1,
		.path = strdup(path),
		.is_read_only = is_read_only,
	};
	if (disk->path == NULL)
		result = err_set(err, -ENOMEM, "no memory for the disk '%s'", path);
	else
		result = set_up(disk, &file, old, err);
	if (result != 0)
		disk_close(disk);
	return result;
}

int disk_init_take_fd(struct disk *disk, int fd, const char *path, bool is_read_only,
		      enum disk_engine engine, struct err *err)
{
	return init_take_fd(disk, NULL, fd, path, is_read_only, engine, err);
}

int disk_open_in_place_of(struct disk *disk, const struct disk *old, const char *path,
			  bool is_read_only, enum disk_engine engine, struct err *err)
{
	int fd = disk_open_file(path, is_read_only, err);

	if (fd < 0) {
		*disk = (struct disk){ .fd = -1 };
		return fd;
	}
	return init_take_fd(disk, old, fd, path, is_read_only, engine, err);
}

int disk_open(struct disk *disk, const char *path, bool is_read_only, enum disk_engine engine,
	      struct err *err)
{
	return disk_open_in_place_of(disk, NULL, path, is_read_only, engine, err);
}

static int change_file(struct disk *disk, struct file *file, struct err *err)
{
	int result = check_file(file, disk->is_read_only, err);

	if (result != 0)
		return result;
	if (!disk_drain(disk, 0))
		return err_set(err, -EBUSY, "'%s' does not answer", disk->path);
	result = lock_file(file, disk->is_read_only, disk, err);
	if (result != 0)
		return result;
	if (disk->ops->set_fd != NULL)
		result = disk->ops->set_fd(disk, file->fd, err);
	if (result != 0) {
		give_lock_back(file->fd, disk);
		return result;
	}
	unlock(disk);
	close(disk->fd);
	use_file(disk, file);
	return 0;
}

int disk_set_file_take_fd(struct disk *disk, int fd, const char *path, struct err *err)
{
	__attribute__((cleanup(close_file))) struct file file = { .fd = fd, .path = path };
	char *own_path = strdup(path);
	int result;

	if (own_path == NULL)
		return err_set(err, -ENOMEM, "no memory for the disk '%s'", path);
	result = change_file(disk, &file, err);
	if (result != 0) {
		free(own_path);
		return result;
	}
	free(disk->path);
	disk->path = own_path;
	return 0;
}

void disk_close(struct disk *disk)
{
	bool is_over;

	if (disk->ops == NULL)
		return;
	is_over = disk->uring == NULL || disk_drain(disk, 0);
	unlock(disk);
	if (disk->ops->deinit != NULL)
		disk->ops->deinit(disk);
	/* What took their place in the process would be written to the file. */
	if (disk->zeros != NULL && is_over)
		munmap(disk->zeros, ZEROS_SIZE);
	close_fd(&disk->fd);
	free(disk->path);
	*disk = (struct disk){ .fd = -1 };
}

/* ---- one call after the other ---- */

static const char *const op_names[] = {
	[DISK_READ] = "read",
	[DISK_WRITE] = "write",
	[DISK_FLUSH] = "flush",
	[DISK_DISCARD] = "discard",
	[DISK_WRITE_ZEROES] = "write zeros",
};

static int fail(struct disk *disk, const struct disk_request *req, int result, const char *why)
{
	log_guest(&disk->log_limit, "'%s': %s of %" PRIu64 " bytes at %" PRIu64 ": %s", disk->path,
		  op_names[req->op], req->len, req->offset, why);
	return result;
}

static int call_next(struct disk_request *req, enum disk_call call)
{
	req->call = call;
	return DISK_PENDING;
}

static int fallocate_next(struct disk_request *req, int mode)
{
	req->mode = mode | FALLOC_FL_KEEP_SIZE;
	return call_next(req, DISK_CALL_FALLOCATE);
}

static int write_zeros_next(const struct disk *disk, struct disk_request *req)
{
	req->zero_iov = (struct iovec){
		.iov_base = disk->zeros,
		.iov_len = MIN(req->len, ZEROS_SIZE),
	};
	req->iov = &req->zero_iov;
	req->n_iov = 1;
	return call_next(req, DISK_CALL_WRITE);
}

/* The best way that is not known to fail. */
static int zero_next(const struct disk *disk, struct disk_request *req)
{
	if (req->may_unmap && disk->can_punch)
		return fallocate_next(req, FALLOC_FL_PUNCH_HOLE);
	if (disk->can_zero)
		return fallocate_next(req, FALLOC_FL_ZERO_RANGE);
	return write_zeros_next(disk, req);
}

static int discard_next(const struct disk *disk, struct disk_request *req)
{
	if (!disk->can_discard)
		return 0; /* a hint, which may be ignored */
	if (disk->is_block_device)
		return call_next(req, DISK_CALL_DISCARD);
	return fallocate_next(req, FALLOC_FL_PUNCH_HOLE);
}

static int first_call(const struct disk *disk, struct disk_request *req)
{
	switch (req->op) {
	case DISK_READ:
		return req->len == 0 ? 0 : call_next(req, DISK_CALL_READ);
	case DISK_WRITE:
		return req->len == 0 ? 0 : call_next(req, DISK_CALL_WRITE);
	case DISK_DISCARD:
		return req->len == 0 ? 0 : discard_next(disk, req);
	case DISK_WRITE_ZEROES:
		return req->len == 0 ? 0 : zero_next(disk, req);
	case DISK_FLUSH:
	default:
		return call_next(req, DISK_CALL_SYNC);
	}
}

static int sync_if_durable(struct disk_request *req)
{
	return req->is_durable ? call_next(req, DISK_CALL_SYNC) : 0;
}

static void skip_bytes(struct disk_request *req, uint64_t n)
{
	req->offset += n;
	req->len -= n;
	while (req->n_iov > 0 && n >= req->iov->iov_len) {
		n -= req->iov->iov_len;
		req->iov++;
		req->n_iov--;
	}
	if (n > 0) {
		req->iov->iov_base = (uint8_t *)req->iov->iov_base + n;
		req->iov->iov_len -= n;
	}
}

static int transfer_done(struct disk *disk, struct disk_request *req, int64_t result)
{
	if (result < 0)
		return fail(disk, req, (int)result, strerror((int)-result));
	if (result == 0 && req->call == DISK_CALL_READ)
		return fail(disk, req, -ENODATA, "the file has become shorter");
	if (result == 0)
		return fail(disk, req, -EIO, "nothing was written");
	skip_bytes(req, (uint64_t)result);
	if (req->len == 0)
		return sync_if_durable(req);
	return req->op == DISK_WRITE_ZEROES ? write_zeros_next(disk, req) : DISK_PENDING;
}

static int discard_done(struct disk *disk, struct disk_request *req, int result)
{
	if (result == 0)
		return 0;
	if (result != -EOPNOTSUPP)
		return fail(disk, req, result, strerror(-result));
	disk->can_discard = false;
	return 0;
}

static int zero_done(struct disk *disk, struct disk_request *req, int result)
{
	if (result == 0)
		return sync_if_durable(req);
	/* A block device takes whole blocks only. */
	if (result == -EINVAL)
		return write_zeros_next(disk, req);
	if (result != -EOPNOTSUPP)
		return fail(disk, req, result, strerror(-result));
	if ((req->mode & FALLOC_FL_PUNCH_HOLE) != 0)
		disk->can_punch = false;
	else
		disk->can_zero = false;
	return zero_next(disk, req);
}

static int sync_done(struct disk *disk, const struct disk_request *req, int result)
{
	/* For one that failed before it: what that has lost, this one does not bring back. */
	if (result == 0)
		return disk->sync_error;
	if (disk->sync_error == 0)
		log_error("'%s': what was written may be lost, and flushing fails from now on",
			  disk->path);
	disk->sync_error = result;
	return fail(disk, req, result, strerror(-result));
}

int disk_call_done(struct disk *disk, struct disk_request *req, int64_t result)
{
	if (result == -EINTR)
		return DISK_PENDING;
	switch (req->call) {
	case DISK_CALL_READ:
	case DISK_CALL_WRITE:
		return transfer_done(disk, req, result);
	case DISK_CALL_SYNC:
		return sync_done(disk, req, (int)result);
	case DISK_CALL_FALLOCATE:
	case DISK_CALL_DISCARD:
	default:
		return req->op == DISK_DISCARD ? discard_done(disk, req, (int)result)
					       : zero_done(disk, req, (int)result);
	}
}

static int64_t call_result(int64_t result)
{
	return result < 0 ? -errno : result;
}

int64_t disk_make_call(const struct disk *disk, const struct disk_request *req)
{
	uint64_t range[] = { req->offset, req->len };
	off_t offset = (off_t)req->offset;

	switch (req->call) {
	case DISK_CALL_READ:
		return call_result(preadv(disk->fd, req->iov, (int)req->n_iov, offset));
	case DISK_CALL_WRITE:
		return call_result(pwritev(disk->fd, req->iov, (int)req->n_iov, offset));
	case DISK_CALL_SYNC:
		return call_result(fdatasync(disk->fd));
	case DISK_CALL_FALLOCATE:
		return call_result(fallocate(disk->fd, req->mode, offset, (off_t)req->len));
	case DISK_CALL_DISCARD:
	default:
		return call_result(ioctl(disk->fd, BLKDISCARD, range));
	}
}

int disk_submit(struct disk *disk, struct disk_request *req)
{
	int result;

	if (disk->sync_error != 0 && (req->op == DISK_FLUSH || req->is_durable))
		return disk->sync_error;
	result = first_call(disk, req);
	return result == DISK_PENDING ? disk->ops->start(disk, req) : result;
}

bool disk_commit(struct disk *disk)
{
	return disk->ops->commit == NULL || disk->ops->commit(disk);
}

void disk_reap(struct disk *disk)
{
	if (disk->ops->reap != NULL)
		disk->ops->reap(disk);
}

void disk_cancel(struct disk *disk)
{
	if (disk->ops->cancel != NULL)
		disk->ops->cancel(disk);
}

bool disk_drain(struct disk *disk, unsigned int timeout_ms)
{
	return disk->ops->drain == NULL || disk->ops->drain(disk, timeout_ms);
}
