#include "vm/resources.h"

#include "backend/disk.h"
#include "backend/netdev.h"
#include "backend/unix_listener.h"
#include "riscv/image.h"
#include "test.h"
#include "util/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/televm-resources-XXXXXX";
static char path_a[64], path_b[64], path_fifo[64], path_new[64], path_none[64];
static struct err err;

static void make_file(const char *path, off_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static int set_up(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path_a, sizeof(path_a), "%s/a", dir);
	snprintf(path_b, sizeof(path_b), "%s/b", dir);
	snprintf(path_fifo, sizeof(path_fifo), "%s/fifo", dir);
	snprintf(path_new, sizeof(path_new), "%s/new", dir);
	snprintf(path_none, sizeof(path_none), "%s/none/x", dir);
	make_file(path_a, MIB);
	make_file(path_b, 0);
	return mkfifo(path_fifo, 0600);
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path_a);
	unlink(path_b);
	unlink(path_fifo);
	unlink(path_new);
	return rmdir(dir);
}

static struct config_disk disk_of(char *id, char *path)
{
	return (struct config_disk){ .id = id, .path = path };
}

static void assert_locked(const char *path, bool is_locked)
{
	struct disk other = { 0 };
	int ret = disk_open(&other, path, false, DISK_ENGINE_SYNC, NULL);

	assert_int_equal(ret, is_locked ? -EBUSY : 0);
	disk_close(&other);
}

static void take_and_close(struct vm_resources *resources, const struct config_disk *config,
			   uint64_t size)
{
	struct disk *disk;

	assert_int_equal(vm_resources_take_disk(resources, config, &disk, &err), 0);
	assert_int_equal(disk->size, size);
	disk_close(disk);
	free(disk);
}

static void a_disk_is_locked_until_it_is_let_go(void **state)
{
	struct vm_resources *resources = vm_resources_new();
	const struct config_disk a = disk_of((char[]){ "x" }, path_a);

	(void)state;
	assert_non_null(resources);
	assert_int_equal(vm_resources_open_disk(resources, &a, &err), 0);
	assert_locked(path_a, true);
	take_and_close(resources, &a, MIB);
	assert_locked(path_a, false);
	/* It is gone: the next time it is opened. */
	take_and_close(resources, &a, MIB);
	assert_int_equal(vm_resources_open_disk(resources, &a, &err), 0);
	vm_resources_free(resources);
	assert_locked(path_a, false);
}

static void a_disk_replaces_the_one_of_its_name(void **state)
{
	struct vm_resources *resources = vm_resources_new();
	const struct config_disk a = disk_of((char[]){ "x" }, path_a);
	const struct config_disk b = disk_of((char[]){ "x" }, path_b);
	const struct config_disk other = disk_of((char[]){ "y" }, path_a);
	const struct config_disk none = disk_of((char[]){ "x" }, path_none);

	(void)state;
	assert_int_equal(vm_resources_open_disk(resources, &a, &err), 0);
	/* The same file again, and in vain. */
	assert_int_equal(vm_resources_open_disk(resources, &a, &err), 0);
	assert_locked(path_a, true);
	assert_int_equal(vm_resources_open_disk(resources, &none, &err), -ENOENT);
	assert_non_null(strstr(err.text, "disk 'x': open '"));
	assert_locked(path_a, true);
	assert_int_equal(vm_resources_open_disk(resources, &other, &err), -EBUSY);
	/* Another, which has no bytes yet. */
	assert_int_equal(vm_resources_open_disk(resources, &b, &err), 0);
	assert_locked(path_a, false);
	assert_int_equal(vm_resources_open_disk(resources, &other, &err), 0);
	take_and_close(resources, &b, 0);
	take_and_close(resources, &other, MIB);
	vm_resources_free(resources);
}

static void disks_have_their_number(void **state)
{
	struct vm_resources *resources = vm_resources_new();
	char id[] = "a";
	struct config_disk disk = { .id = id, .path = path_a, .is_read_only = true };

	(void)state;
	for (unsigned int i = 0; i < CONFIG_DISKS_MAX; i++) {
		assert_int_equal(vm_resources_open_disk(resources, &disk, &err), 0);
		id[0]++;
	}
	assert_int_equal(vm_resources_open_disk(resources, &disk, &err), -ENOSPC);
	id[0]--;
	assert_int_equal(vm_resources_open_disk(resources, &disk, &err), 0);
	vm_resources_free(resources);
}

static bool is_tap_taken(const char *tap)
{
	struct config_net net = { .id = (char[]){ "taken" }, .tap = (char *)(uintptr_t)tap };
	struct netdev *netdev = NULL;
	int ret = vm_resources_take_net(NULL, &net, &netdev, &err);

	assert_true(ret == 0 || ret == -EBUSY);
	netdev_free(netdev);
	return ret != 0;
}

/* In a network namespace of its own, so that no other machine's taps are near. */
static void a_tap_stays_and_moves(void **state)
{
	struct vm_resources *resources = vm_resources_new();
	struct config_net net = { .id = (char[]){ "x" }, .tap = (char[]){ "tap-a" } };
	struct config_net other = { .id = (char[]){ "y" }, .tap = (char[]){ "tap-a" } };
	struct netdev *netdev = NULL;

	(void)state;
	if (unshare(CLONE_NEWNET) != 0 || access("/dev/net/tun", R_OK | W_OK) != 0) {
		vm_resources_free(resources);
		skip();
	}
	assert_int_equal(vm_resources_open_net(resources, &net, &err), 0);
	/* The same tap again is the one that is open, and nobody else's. */
	assert_int_equal(vm_resources_open_net(resources, &net, &err), 0);
	assert_int_equal(vm_resources_open_net(resources, &other, &err), -EBUSY);
	assert_non_null(strstr(err.text, "net 'y'"));
	/* Without the kernel's vhost-net the tap is as it was; with it, it is not opened again. */
	net.has_vhost = true;
	if (vm_resources_open_net(resources, &net, &err) != 0)
		assert_non_null(strstr(err.text, "net 'x': vhost: "));
	net.has_vhost = false;
	assert_int_equal(vm_resources_open_net(resources, &net, &err), 0);
	assert_true(is_tap_taken("tap-a"));
	/* One that cannot be opened leaves it. */
	net.tap = (char[]){ "no/name" };
	assert_int_not_equal(vm_resources_open_net(resources, &net, &err), 0);
	assert_true(is_tap_taken("tap-a"));
	net.tap = (char[]){ "tap-b" };
	assert_int_equal(vm_resources_open_net(resources, &net, &err), 0);
	assert_false(is_tap_taken("tap-a"));
	assert_int_equal(vm_resources_take_net(resources, &net, &netdev, &err), 0);
	vm_resources_free(resources);
	assert_true(is_tap_taken("tap-b"));
	netdev_free(netdev);
	assert_false(is_tap_taken("tap-b"));
}

static void a_socket_stays_and_moves(void **state)
{
	struct vm_resources *resources = vm_resources_new();
	struct config_vsock vsock = { .guest_cid = 3, .path = path_new };
	struct unix_listener listener = { .fd = -1 };

	(void)state;
	assert_int_equal(vm_resources_open_vsock(resources, &vsock, &err), 0);
	assert_int_equal(vm_resources_open_vsock(resources, &vsock, &err), 0);
	assert_int_equal(access(path_new, F_OK), 0);
	vsock.path = path_a;
	assert_int_equal(vm_resources_open_vsock(resources, &vsock, &err), -EADDRINUSE);
	vsock.path = path_new;
	assert_int_equal(vm_resources_take_vsock(resources, &vsock, &listener, &err), 0);
	vm_resources_free(resources);
	assert_int_equal(access(path_new, F_OK), 0);
	unix_listener_deinit(&listener);
	assert_int_equal(access(path_new, F_OK), -1);
	/* Without anything opened before. */
	assert_int_equal(vm_resources_take_vsock(NULL, &vsock, &listener, &err), 0);
	unix_listener_deinit(&listener);
}

static void output_needs_no_reader(void **state)
{
	struct vm_resources *resources = vm_resources_new();
	struct config_serial serial = { .out_path = path_fifo };
	int fd;

	(void)state;
	assert_int_equal(vm_resources_open_serial(resources, &serial, &err), 0);
	assert_int_equal(vm_resources_take_serial(resources, &serial, &fd, &err), 0);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	/* A file is made, and appended to. */
	serial.out_path = path_new;
	for (off_t size = 1; size <= 2; size++) {
		struct stat st;

		assert_int_equal(vm_resources_take_serial(NULL, &serial, &fd, &err), 0);
		assert_int_equal(write(fd, "x", 1), 1);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, size);
		close(fd);
	}
	serial.out_path = path_none;
	assert_int_equal(vm_resources_open_serial(resources, &serial, &err), -ENOENT);
	assert_non_null(strstr(err.text, path_none));
	serial.out_path = NULL;
	assert_int_equal(vm_resources_open_serial(resources, &serial, &err), 0);
	assert_int_equal(vm_resources_take_serial(resources, &serial, &fd, &err), 0);
	assert_int_equal(fd, -1);
	vm_resources_free(resources);
}

static void a_kernel_that_is_none_is_told_of(void **state)
{
	struct vm_resources *resources = vm_resources_new();
	struct vm_config config = { .kernel_path = path_a };
	struct kernel_image kernel = { 0 };
	struct initrd initrd = { 0 };

	(void)state;
	assert_int_equal(vm_resources_open_kernel(resources, &config, &err), -ENOEXEC);
	assert_non_null(strstr(err.text, path_a));
	assert_int_equal(vm_resources_take_kernel(resources, &config, &kernel, &initrd, &err),
			 -ENOEXEC);
	vm_resources_free(resources);
	vm_resources_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_is_locked_until_it_is_let_go),
		cmocka_unit_test(a_disk_replaces_the_one_of_its_name),
		cmocka_unit_test(disks_have_their_number),
		cmocka_unit_test(a_tap_stays_and_moves),
		cmocka_unit_test(a_socket_stays_and_moves),
		cmocka_unit_test(output_needs_no_reader),
		cmocka_unit_test(a_kernel_that_is_none_is_told_of),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
