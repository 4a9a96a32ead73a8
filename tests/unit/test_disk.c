/* The disk and its engines, without a device in front. What a device makes of them is test_blk.c.
 */
#include "backend/disk.h"
#include "rig.h"
#include "test.h"
#include "util/bits.h"
#include "util/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIZE = 128 * 1024, FILLED = 0x5a };

struct rig {
	struct disk disk;
	char path[64];
	int fd; /* our own look at the file */
	uint8_t data[512];
};

static enum disk_engine engine; /* of the run */

static int set_up(void **state)
{
	static struct rig rig;
	uint8_t bytes[SIZE];

	rig = (struct rig){ .path = "/tmp/test_disk.XXXXXX" };
	rig.fd = mkostemp(rig.path, O_CLOEXEC);
	assert_true(rig.fd >= 0);
	memset(bytes, FILLED, sizeof(bytes));
	assert_int_equal(pwrite(rig.fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	*state = &rig;
	return 0;
}

static int set_up_open(void **state)
{
	struct rig *rig;
	struct err err;

	set_up(state);
	rig = *state;
	return disk_open(&rig->disk, rig->path, false, engine, &err);
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	disk_close(&rig->disk);
	unlink(rig->path);
	close_fd(&rig->fd);
	return 0;
}

static void assert_unchanged(const struct rig *rig)
{
	uint8_t bytes[SIZE];

	assert_int_equal(pread(rig->fd, bytes, sizeof(bytes), 0), SIZE);
	for (size_t i = 0; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], FILLED);
}

/* ---- opening ---- */

static void assert_refused(const char *path, bool is_read_only, int code)
{
	struct disk disk = { 0 };
	struct err err = { 0 };

	assert_int_equal(disk_open(&disk, path, is_read_only, engine, &err), code);
	assert_non_null(strstr(err.text, path));
	disk_close(&disk);
}

/* A05 */
static void files_that_are_no_disks(void **state)
{
	char fifo[] = "/tmp/test_disk_fifo.XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(fifo));
	assert_refused(fifo, false, -EISDIR);
	assert_refused(fifo, true, -EINVAL);
	assert_int_equal(rmdir(fifo), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_refused(fifo, false, -EINVAL);
	assert_refused(fifo, true, -EINVAL);
	unlink(fifo);
	assert_refused("/dev/null", false, -EINVAL);
	assert_refused("/dev/zero", true, -EINVAL);
	assert_refused("/nowhere/at all", true, -ENOENT);
}

static void descriptors_of_others(void **state)
{
	struct rig *rig = *state;
	struct disk disk = { 0 };
	struct err err;

	assert_int_equal(disk_init_take_fd(&disk, open(rig->path, O_RDONLY | O_CLOEXEC), rig->path,
					   false, engine, &err),
			 -EINVAL);
	assert_int_equal(disk_init_take_fd(&disk, open(rig->path, O_RDWR | O_CLOEXEC | O_NONBLOCK),
					   "a name", false, engine, &err),
			 0);
	assert_int_equal(fcntl(disk.fd, F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(disk.size, SIZE);
	disk_close(&disk);
}

static void odd_sizes(void **state)
{
	struct rig *rig = *state;
	static const uint64_t sizes[] = { 0, 1, 511, 512, 513, 1535 };
	struct disk disk = { 0 };
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(ftruncate(rig->fd, (off_t)sizes[i]), 0);
		assert_int_equal(disk_open(&disk, rig->path, false, engine, &err), 0);
		assert_int_equal(disk.size, sizes[i] / 512 * 512);
		disk_close(&disk);
	}
}

static void locks(void **state)
{
	struct rig *rig = *state;
	struct disk first = { 0 };
	struct disk second = { 0 };
	struct err err;

	assert_int_equal(disk_open(&first, rig->path, false, engine, &err), 0);
	assert_refused(rig->path, false, -EBUSY);
	assert_refused(rig->path, true, -EBUSY);
	disk_close(&first);
	assert_int_equal(disk_open(&first, rig->path, true, engine, &err), 0);
	assert_int_equal(disk_open(&second, rig->path, true, engine, &err), 0);
	assert_refused(rig->path, false, -EBUSY);
	disk_close(&first);
	disk_close(&second);
	assert_int_equal(disk_open(&first, rig->path, false, engine, &err), 0);
	disk_close(&first);
}

/* Someone who wants the file too, and asks all the time. */
struct rival {
	pthread_t thread;
	const char *path;
	atomic_uint n_tries;
	atomic_uint n_locked;
	atomic_bool is_over;
};

static void *try_to_lock(void *ctx)
{
	struct rival *rival = ctx;
	cleanup_close int fd = open(rival->path, O_RDWR | O_CLOEXEC);

	while (!rival->is_over) {
		struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

		if (fcntl(fd, F_OFD_SETLK, &lock) == 0) {
			rival->n_locked++;
			lock.l_type = F_UNLCK;
			(void)fcntl(fd, F_OFD_SETLK, &lock);
		}
		rival->n_tries++;
	}
	return NULL;
}

enum { TRIES = 60000, CHANGES = 500 };

static void nobody_comes_between(void **state)
{
	struct rig *rig = *state;
	struct rival rival = { .path = rig->path };
	struct disk again = { 0 };
	struct err err;

	assert_int_equal(pthread_create(&rival.thread, NULL, try_to_lock, &rival), 0);
	for (unsigned int i = 0; i < CHANGES || rival.n_tries < TRIES; i++) {
		int fd = disk_open_file(rig->path, false, &err);

		assert_int_equal(disk_set_file_take_fd(&rig->disk, fd, rig->path, &err), 0);
	}
	assert_int_equal(disk_open_in_place_of(&again, &rig->disk, rig->path, false, engine, &err),
			 0);
	disk_close(&rig->disk);
	assert_int_equal(rival.n_locked, 0);
	disk_close(&again);
	/* It would have seen it. */
	while (rival.n_locked == 0)
		sched_yield();
	rival.is_over = true;
	pthread_join(rival.thread, NULL);
}

static int refuse_fd(struct disk *disk, int fd, struct err *err)
{
	(void)disk;
	(void)fd;
	return err_set(err, -EIO, "not this one");
}

/* The same file, another, and one that is another disk's: each time the lock is where it was. */
static void locks_after_a_change_that_failed(void **state)
{
	struct rig *rig = *state;
	const struct disk_ops *good = rig->disk.ops;
	struct disk_ops bad = *good;
	char other[] = "/tmp/test_disk_other.XXXXXX";
	cleanup_close int other_fd = mkostemp(other, O_CLOEXEC);
	const char *const paths[] = { rig->path, other };
	struct disk held = { 0 };
	struct err err;

	bad.set_fd = refuse_fd;
	rig->disk.ops = &bad;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		int fd = disk_open_file(paths[i], false, &err);

		assert_int_equal(disk_set_file_take_fd(&rig->disk, fd, paths[i], &err), -EIO);
		assert_refused(rig->path, true, -EBUSY);
	}
	rig->disk.ops = good;
	assert_int_equal(disk_open(&held, other, false, engine, &err), 0);
	assert_int_equal(
		disk_open_in_place_of(&(struct disk){ 0 }, &rig->disk, other, true, engine, &err),
		-EBUSY);
	assert_refused(rig->path, true, -EBUSY);
	assert_refused(other, true, -EBUSY);
	disk_close(&held);
	unlink(other);
}

/* The question whether a file can be discarded from does not change it. */
static void opening_changes_nothing(void **state)
{
	struct rig *rig = *state;
	struct disk disk = { 0 };
	struct stat before;
	struct stat after;
	struct err err;

	assert_int_equal(fstat(rig->fd, &before), 0);
	assert_int_equal(disk_open(&disk, rig->path, false, engine, &err), 0);
	disk_close(&disk);
	assert_int_equal(fstat(rig->fd, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
	assert_int_equal(before.st_blocks, after.st_blocks);
	assert_unchanged(rig);
}

/* ---- syncs ---- */

/* Two syncs at once: Linux gives the error to one of them. */
static void a_sync_beside_one_that_failed(void **state)
{
	struct rig *rig = *state;
	struct disk_request first = { .op = DISK_FLUSH, .call = DISK_CALL_SYNC };
	struct disk_request second = first;

	assert_int_equal(disk_call_done(&rig->disk, &first, -EIO), -EIO);
	assert_int_equal(disk_call_done(&rig->disk, &second, 0), -EIO);
}

struct durable_write {
	struct disk_request req;
	struct iovec iov;
	bool is_done;
};

static void on_durable(struct disk_request *req, int result)
{
	assert_int_equal(result, 0);
	container_of(req, struct durable_write, req)->is_done = true;
}

static void begin_durable_write(struct rig *rig, struct durable_write *write)
{
	write->is_done = false;
	write->iov = (struct iovec){ .iov_base = rig->data, .iov_len = 512 };
	write->req = (struct disk_request){
		.op = DISK_WRITE,
		.is_durable = true,
		.len = 512,
		.iov = &write->iov,
		.n_iov = 1,
		.done = on_durable,
	};
	assert_int_equal(disk_submit(&rig->disk, &write->req), DISK_PENDING);
}

static void reap_for_a_while(struct rig *rig)
{
	for (unsigned int i = 0; i < 20; i++) {
		disk_reap(&rig->disk);
		usleep(1000);
	}
}

/* A sync, which a commit begins, is for what was written then, and for nothing written later. */
static void a_sync_for_many(void **state)
{
	struct rig *rig = *state;
	struct durable_write writes[8];
	struct durable_write late;

	for (unsigned int i = 0; i < ARRAY_SIZE(writes); i++)
		begin_durable_write(rig, &writes[i]);
	assert_true(disk_commit(&rig->disk));
	reap_for_a_while(rig);
	for (unsigned int i = 0; i < ARRAY_SIZE(writes); i++)
		assert_false(writes[i].is_done);
	begin_durable_write(rig, &late);
	assert_true(disk_commit(&rig->disk));
	reap_for_a_while(rig);
	assert_false(late.is_done);
	assert_true(disk_drain(&rig->disk, 60000));
	for (unsigned int i = 0; i < ARRAY_SIZE(writes); i++)
		assert_true(writes[i].is_done);
	assert_true(late.is_done);
}

static void await_durable(struct rig *rig, const struct durable_write *write)
{
	for (unsigned int i = 0; i < 20000 && !write->is_done; i++) {
		assert_true(disk_commit(&rig->disk));
		disk_reap(&rig->disk);
		usleep(100);
	}
	assert_true(write->is_done);
}

/* While a sync is under way others become written: all have theirs. */
static void syncs_without_end(void **state)
{
	struct rig *rig = *state;
	struct durable_write writes[8];

	for (unsigned int i = 0; i < 400; i++) {
		struct durable_write *write = &writes[i % ARRAY_SIZE(writes)];

		if (i >= ARRAY_SIZE(writes))
			await_durable(rig, write);
		begin_durable_write(rig, write);
		assert_true(disk_commit(&rig->disk));
		disk_reap(&rig->disk);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(writes); i++)
		await_durable(rig, &writes[i]);
}

/* To be told whether something is under way costs no time, and nothing is done of it. */
static void draining_without_waiting(void **state)
{
	struct rig *rig = *state;
	struct durable_write write;

	assert_true(disk_drain(&rig->disk, 0));
	begin_durable_write(rig, &write);
	assert_false(disk_drain(&rig->disk, 0));
	assert_false(write.is_done);
	assert_true(disk_drain(&rig->disk, 60000));
	assert_true(write.is_done);
	assert_true(disk_drain(&rig->disk, 0));
}

static void on_given_up(struct disk_request *req, int result)
{
	/* The kernel may have been faster. */
	assert_true(result == 0 || result == -ECANCELED);
	container_of(req, struct durable_write, req)->is_done = true;
}

/* What is given up ends, and what comes after is not given up with it. */
static void given_up_and_asked_for_anew(void **state)
{
	struct rig *rig = *state;
	struct durable_write writes[8];

	for (unsigned int i = 0; i < ARRAY_SIZE(writes); i++) {
		begin_durable_write(rig, &writes[i]);
		writes[i].req.done = on_given_up;
	}
	disk_cancel(&rig->disk);
	disk_cancel(&rig->disk);
	assert_true(disk_drain(&rig->disk, 60000));
	for (unsigned int i = 0; i < ARRAY_SIZE(writes); i++)
		assert_true(writes[i].is_done);
	begin_durable_write(rig, &writes[0]);
	await_durable(rig, &writes[0]);
}

#define CASE(name, set_up) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest tests[] = {
	CASE(files_that_are_no_disks, set_up),
	CASE(descriptors_of_others, set_up),
	CASE(odd_sizes, set_up),
	CASE(locks, set_up),
	CASE(nobody_comes_between, set_up_open),
	CASE(locks_after_a_change_that_failed, set_up_open),
	CASE(opening_changes_nothing, set_up),
	CASE(a_sync_beside_one_that_failed, set_up_open),
};

/* With the engine that does not wait. */
static const struct CMUnitTest tests_of_uring[] = {
	CASE(a_sync_for_many, set_up_open),
	CASE(syncs_without_end, set_up_open),
	CASE(draining_without_waiting, set_up_open),
	CASE(given_up_and_asked_for_anew, set_up_open),
};

int main(void)
{
	int n_failed;

	log_set_level(LOG_OFF);
	engine = DISK_ENGINE_SYNC;
	n_failed = cmocka_run_group_tests(tests, NULL, NULL);
	engine = DISK_ENGINE_IO_URING;
	if (rig_has_io_uring()) {
		n_failed += cmocka_run_group_tests(tests, NULL, NULL);
		n_failed += cmocka_run_group_tests(tests_of_uring, NULL, NULL);
	}
	return n_failed;
}
