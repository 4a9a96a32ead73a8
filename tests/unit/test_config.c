#include "config/config.h"

#include "test.h"
#include "util/bits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void init(struct vm_config *config)
{
	vm_config_init(config);
	assert_int_equal(vm_config_set_string(&config->kernel_path, "Image", NULL), 0);
}

static void defaults(void **state)
{
	struct vm_config config;

	(void)state;
	init(&config);
	assert_int_equal(vm_config_complete(&config, NULL), 0);
	assert_string_equal(config.cmdline, "console=ttyS0 panic=1");
	assert_int_equal(config.vcpu_count, 1);
	assert_int_equal(config.mem_bytes, 256 * MIB);
	assert_int_equal(config.irqchip, CONFIG_IRQCHIP_AUTO);
	assert_int_equal(config.console, CONFIG_CONSOLE_SERIAL);
	assert_null(config.initrd_path);
	assert_false(config.copy_kernel);
	assert_int_equal(config.n_disks, 0);
	assert_int_equal(config.n_nets, 0);
	assert_null(config.vsock.path);
	assert_false(config.balloon.is_wanted);
	assert_true(config.rng.is_wanted);
	vm_config_deinit(&config);
	vm_config_deinit(&config);
}

static void command_lines(void **state)
{
	static const struct {
		const char *console;
		const char *cmdline;
		const char *append;
		const char *whole;
	} rows[] = {
		{ "serial", NULL, "quiet", "console=ttyS0 panic=1 quiet" },
		{ "off", NULL, NULL, "panic=1" },
		{ "off", NULL, "quiet", "panic=1 quiet" },
		{ "serial", "root=/dev/vda", NULL, "root=/dev/vda" },
		{ "serial", "root=/dev/vda", "rw", "root=/dev/vda rw" },
		{ "serial", "", NULL, "" },
		{ "serial", "", "rw", "rw" },
		{ "virtio", NULL, NULL, "console=hvc0 panic=1" },
		{ "virtio", NULL, "quiet", "console=hvc0 panic=1 quiet" },
		{ "virtio", "console=ttyS0", NULL, "console=ttyS0" },
	};
	struct vm_config config;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		init(&config);
		assert_int_equal(vm_config_set_console(&config, rows[i].console, NULL), 0);
		if (rows[i].cmdline != NULL)
			assert_int_equal(
				vm_config_set_string(&config.cmdline, rows[i].cmdline, NULL), 0);
		if (rows[i].append != NULL)
			assert_int_equal(vm_config_set_string(&config.append, rows[i].append, NULL),
					 0);
		assert_int_equal(vm_config_complete(&config, NULL), 0);
		assert_string_equal(config.cmdline, rows[i].whole);
		/* Once more changes nothing. */
		assert_int_equal(vm_config_complete(&config, NULL), 0);
		assert_string_equal(config.cmdline, rows[i].whole);
		vm_config_deinit(&config);
	}
}

static int complete_cmdline(size_t len, char last, struct err *err)
{
	struct vm_config config;
	char text[2048] = "";
	int ret;

	memset(text, 'a', len);
	text[len - 1] = last;
	init(&config);
	assert_int_equal(vm_config_set_string(&config.cmdline, text, NULL), 0);
	ret = vm_config_complete(&config, err);
	vm_config_deinit(&config);
	return ret;
}

static void command_line_limits(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(complete_cmdline(1023, 'z', &err), 0);
	assert_int_equal(complete_cmdline(1024, 'z', &err), -EINVAL);
	assert_non_null(strstr(err.text, "1024"));
	assert_non_null(strstr(err.text, "1023"));
	assert_int_equal(complete_cmdline(10, '\n', &err), -EINVAL);
	assert_non_null(strstr(err.text, "0x0a"));
	assert_non_null(strstr(err.text, "10"));
	assert_int_equal(complete_cmdline(10, 0x7f, &err), -EINVAL);
	assert_int_equal(complete_cmdline(10, (char)0xc3, &err), 0);
}

static int complete(const struct vm_config *change, struct err *err)
{
	struct vm_config config;
	int ret;

	init(&config);
	config.vcpu_count = change->vcpu_count;
	config.mem_bytes = change->mem_bytes;
	ret = vm_config_complete(&config, err);
	vm_config_deinit(&config);
	return ret;
}

/* A06 of the hostile-input checklist. */
static void vcpus_and_memory(void **state)
{
	static const struct {
		struct vm_config config;
		const char *said; /* NULL: it is right */
	} rows[] = {
		{ { .vcpu_count = 1, .mem_bytes = 16 * MIB }, NULL },
		{ { .vcpu_count = 32, .mem_bytes = VM_CONFIG_MEM_MAX }, NULL },
		{ { .vcpu_count = 0, .mem_bytes = 16 * MIB }, "0 vCPUs" },
		{ { .vcpu_count = 33, .mem_bytes = 16 * MIB }, "33 vCPUs" },
		{ { .vcpu_count = UINT32_MAX, .mem_bytes = 16 * MIB }, "4294967295 vCPUs" },
		{ { .vcpu_count = 1, .mem_bytes = 0 }, "0 MiB" },
		{ { .vcpu_count = 1, .mem_bytes = 14 * MIB }, "14 MiB" },
		{ { .vcpu_count = 1, .mem_bytes = 17 * MIB }, "multiple of 2 MiB" },
		{ { .vcpu_count = 1, .mem_bytes = 16 * MIB + 4096 }, "16388 KiB" },
		{ { .vcpu_count = 1, .mem_bytes = VM_CONFIG_MEM_MAX + 2 * MIB }, "too much" },
		{ { .vcpu_count = 1, .mem_bytes = UINT64_MAX }, "too much" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = { 0 };
		int ret = complete(&rows[i].config, &err);

		assert_int_equal(ret, rows[i].said == NULL ? 0 : -EINVAL);
		if (rows[i].said != NULL)
			assert_non_null(strstr(err.text, rows[i].said));
	}
}

static void files(void **state)
{
	struct vm_config config;

	(void)state;
	vm_config_init(&config);
	assert_int_equal(vm_config_complete(&config, NULL), -EINVAL);
	assert_int_equal(vm_config_set_string(&config.kernel_path, "", NULL), 0);
	assert_int_equal(vm_config_complete(&config, NULL), -EINVAL);
	assert_int_equal(vm_config_set_string(&config.kernel_path, "Image", NULL), 0);
	assert_int_equal(vm_config_set_string(&config.initrd_path, "", NULL), 0);
	assert_int_equal(vm_config_complete(&config, NULL), -EINVAL);
	assert_int_equal(vm_config_set_string(&config.initrd_path, "initrd", NULL), 0);
	assert_int_equal(vm_config_complete(&config, NULL), 0);
	vm_config_deinit(&config);
}

static void strings_are_replaced(void **state)
{
	char *field = NULL;

	(void)state;
	assert_int_equal(vm_config_set_string(&field, "one", NULL), 0);
	assert_int_equal(vm_config_set_string(&field, "two", NULL), 0);
	assert_string_equal(field, "two");
	free(field);
}

/* ---- devices ---- */

static char *copy(const char *text)
{
	return text == NULL ? NULL : strdup(text);
}

static struct config_disk *add_disk(struct vm_config *config, const char *path, const char *id)
{
	struct config_disk *disk = &config->disks[config->n_disks++];

	disk->path = copy(path);
	disk->id = copy(id);
	return disk;
}

static struct config_net *add_net(struct vm_config *config, enum config_net_kind kind,
				  const char *tap, const char *id)
{
	struct config_net *net = &config->nets[config->n_nets++];

	net->kind = kind;
	net->tap = copy(tap);
	net->id = copy(id);
	return net;
}

/* Complete \p config, which is then over, and expect it to be right (NULL) or \p said. */
static void assert_said(struct vm_config *config, const char *said)
{
	struct err err = { 0 };
	int ret = vm_config_complete(config, &err);

	if (said == NULL && ret != 0)
		fail_msg("refused: %s", err.text);
	if (said != NULL && (ret != -EINVAL || strstr(err.text, said) == NULL))
		fail_msg("%d, '%s' does not say '%s'", ret, err.text, said);
	vm_config_deinit(config);
}

static void where_the_root_is(void **state)
{
	enum { NO_DISK, PLAIN, RO, ROOT, ROOT_RO, PART, PART_RO };
	static const struct {
		const char *cmdline;
		const char *append;
		bool has_initrd;
		unsigned int disk;
		const char *whole;
		bool is_root;
	} rows[] = {
		{ "a", NULL, false, NO_DISK, "a", false },
		/* Nothing else to boot from. */
		{ "a", NULL, false, PLAIN, "a root=/dev/vda rw", true },
		{ "a", NULL, false, RO, "a root=/dev/vda ro", true },
		{ "", NULL, false, PLAIN, "root=/dev/vda rw", true },
		{ NULL, "b", false, PLAIN, "console=ttyS0 panic=1 b root=/dev/vda rw", true },
		/* An initramfs knows what to do with a disk, unless told. */
		{ "a", NULL, true, PLAIN, "a", false },
		{ "a", NULL, true, ROOT, "a root=/dev/vda rw", true },
		{ "a", NULL, true, PART_RO, "a root=PARTUUID=0eaa91a0-01 ro", true },
		{ "a", NULL, false, ROOT_RO, "a root=/dev/vda ro", true },
		{ "a", NULL, false, PART, "a root=PARTUUID=0eaa91a0-01 rw", true },
		/* Who names a root knows better. */
		{ "root=/dev/vdb", NULL, false, PLAIN, "root=/dev/vdb", false },
		{ "a", "root=LABEL=x", false, ROOT, "a root=LABEL=x", true },
		{ "a root=/dev/vda1", NULL, false, PART, "a root=/dev/vda1", true },
		/* These are other words. */
		{ "nfsroot=x", NULL, false, PLAIN, "nfsroot=x root=/dev/vda rw", true },
		{ "a.root=x b.root=y", NULL, false, PLAIN, "a.root=x b.root=y root=/dev/vda rw",
		  true },
		{ "nfsroot=x root=y", NULL, false, PLAIN, "nfsroot=x root=y", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned int kind = rows[i].disk;
		struct vm_config config;

		init(&config);
		config.cmdline = copy(rows[i].cmdline);
		config.append = copy(rows[i].append);
		config.initrd_path = rows[i].has_initrd ? copy("initrd") : NULL;
		if (kind != NO_DISK) {
			struct config_disk *disk = add_disk(&config, "x", NULL);

			disk->is_read_only = kind == RO || kind == ROOT_RO || kind == PART_RO;
			disk->is_root = kind >= ROOT;
			disk->partuuid = kind >= PART ? copy("0eaa91a0-01") : NULL;
		}
		/* Twice: once more changes nothing. */
		for (int j = 0; j < 2; j++) {
			assert_int_equal(vm_config_complete(&config, NULL), 0);
			assert_string_equal(config.cmdline, rows[i].whole);
			assert_int_equal(config_root_disk(&config) != NULL, rows[i].is_root);
		}
		vm_config_deinit(&config);
	}
}

static void the_root_disk_comes_first(void **state)
{
	static const struct {
		unsigned int n;
		unsigned int root;
		const char *order;
	} rows[] = {
		{ 1, 0, "a" },
		{ 2, 0, "ab" },
		{ 2, 1, "ba" },
		{ 3, 1, "bac" },
		{ 3, 2, "cab" },
		{ 4, 3, "dabc" },
		{ 12, 11, "labcdefghijk" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vm_config config;

		init(&config);
		for (unsigned int j = 0; j < rows[i].n; j++) {
			const char path[] = { (char)('a' + j), '\0' };

			add_disk(&config, path, NULL)->is_root = j == rows[i].root;
		}
		for (int again = 0; again < 2; again++) {
			assert_int_equal(vm_config_complete(&config, NULL), 0);
			for (unsigned int j = 0; j < rows[i].n; j++) {
				char id[16];

				snprintf(id, sizeof(id), "disk%u", j);
				assert_int_equal(config.disks[j].path[0], rows[i].order[j]);
				assert_string_equal(config.disks[j].id, id);
			}
			assert_ptr_equal(config_root_disk(&config), &config.disks[0]);
		}
		vm_config_deinit(&config);
	}
}

static void one_root_only(void **state)
{
	struct vm_config config;

	(void)state;
	for (unsigned int first = 0; first < 2; first++) {
		init(&config);
		if (first == 1)
			add_disk(&config, "x", "x");
		add_disk(&config, "a", "a")->is_root = true;
		add_disk(&config, "b", "b")->is_root = true;
		assert_said(
			&config,
			"A root block device already exists! It is 'a', and 'b' cannot be one too");
	}
}

static void ids(void **state)
{
	static const struct {
		const char *id;
		const char *said;
	} rows[] = {
		{ "a", NULL },
		{ "Az_0-9", NULL },
		{ "0123456789012345678901234567890123456789012345678901234567890123", NULL },
		{ "01234567890123456789012345678901234567890123456789012345678901234",
		  "has 65 characters, 1 to 64" },
		{ "", "has 0 characters, 1 to 64" },
		{ "a b", "'a b'" },
		{ "a.b", "other characters than letters" },
		{ "a/b", "other characters than letters" },
		{ "a\n", "other characters than letters" },
		{ "\xc3\xa4", "other characters than letters" },
	};
	struct vm_config config;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		init(&config);
		add_disk(&config, "x", rows[i].id);
		assert_said(&config, rows[i].said);
		init(&config);
		add_net(&config, CONFIG_NET_USER, NULL, rows[i].id);
		assert_said(&config, rows[i].said);
	}
	init(&config);
	add_disk(&config, "x", "a");
	add_disk(&config, "y", "b");
	add_disk(&config, "z", "a");
	assert_said(&config, "two disks have the id 'a'");
	/* One that was made up is as good as one that was given. */
	init(&config);
	add_disk(&config, "x", "disk1");
	add_disk(&config, "y", NULL);
	assert_said(&config, "two disks have the id 'disk1'");
	init(&config);
	add_net(&config, CONFIG_NET_USER, NULL, "a");
	add_net(&config, CONFIG_NET_USER, NULL, "a");
	assert_said(&config, "two network interfaces have the id 'a'");
	init(&config);
	add_disk(&config, "x", "a");
	add_net(&config, CONFIG_NET_USER, NULL, "a");
	assert_said(&config, NULL);
}

static void disks(void **state)
{
	static const char *const paths[] = { NULL, "" };
	struct vm_config config;
	struct config_disk disk = { 0 };
	struct err err = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		init(&config);
		add_disk(&config, "x", NULL);
		add_disk(&config, paths[i], NULL);
		assert_said(&config, "disk 'disk1': no file is given");
	}
	assert_int_equal(config_set_engine(&disk, "uring", NULL), 0);
	assert_int_equal(disk.engine, DISK_ENGINE_IO_URING);
	assert_int_equal(config_set_engine(&disk, "io_uring", &err), -EINVAL);
	assert_string_equal(err.text, "the engine 'io_uring' is not sync or uring");
	assert_int_equal(config_set_cache(&disk, "writeback", NULL), 0);
	assert_int_equal(disk.cache, BLK_CACHE_WRITEBACK);
	assert_int_equal(config_set_cache(&disk, "Unsafe", &err), -EINVAL);
	assert_string_equal(err.text, "the cache 'Unsafe' is not unsafe or writeback");
	assert_int_equal(disk.engine, DISK_ENGINE_IO_URING);
	assert_int_equal(disk.cache, BLK_CACHE_WRITEBACK);
}

/* What is too long is refused, never cut. */
static void partition_uuids(void **state)
{
	char long_one[1100];
	const struct {
		const char *partuuid;
		const char *said;
	} rows[] = {
		{ "0eaa91a0-01", NULL },
		{ "6A4FE7E0-0C2B-4f1c-9d8e-0123456789ab", NULL },
		{ "6a4fe7e0-0c2b-4f1c-9d8e-0123456789abc",
		  "disk 'disk0': the PARTUUID has 37 characters, 1 to 36" },
		{ "", "disk 'disk0': the PARTUUID has 0 characters" },
		{ "0eaa91a0 init=/x", "PARTUUID '0eaa91a0 init=/x' has other characters" },
		{ "0eaa91a0-0g", "other characters than hexadecimal" },
		{ long_one, "the PARTUUID has 1099 characters" },
	};
	struct vm_config config;

	(void)state;
	memset(long_one, 'a', sizeof(long_one) - 1);
	long_one[sizeof(long_one) - 1] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct config_disk *disk;

		init(&config);
		disk = add_disk(&config, "x", NULL);
		disk->is_root = true;
		disk->partuuid = copy(rows[i].partuuid);
		assert_said(&config, rows[i].said);
	}
}

static void mac_addresses(void **state)
{
	static const struct {
		const char *text;
		uint8_t mac[6];
		const char *said;
	} rows[] = {
		{ "02:00:00:00:00:01", { 2, 0, 0, 0, 0, 1 }, NULL },
		{ "aE:bC:De:fF:00:99", { 0xae, 0xbc, 0xde, 0xff, 0, 0x99 }, NULL },
		{ "", { 0 }, "'' is not a MAC address like" },
		{ "0", { 0 }, "is not a MAC address" },
		{ "02", { 0 }, "is not a MAC address" },
		{ "02:00:00:00:00", { 0 }, "is not a MAC address" },
		{ "02:00:00:00:00:", { 0 }, "is not a MAC address" },
		{ "02:00:00:00:00:0", { 0 }, "is not a MAC address" },
		{ "02:00:00:00:00:01:", { 0 }, "is not a MAC address" },
		{ "02:00:00:00:00:011", { 0 }, "is not a MAC address" },
		{ "02-00-00-00-00-01", { 0 }, "is not a MAC address" },
		{ "2:0:0:0:0:1", { 0 }, "is not a MAC address" },
		{ " 2:00:00:00:00:01", { 0 }, "is not a MAC address" },
		{ "0x:00:00:00:00:01", { 0 }, "is not a MAC address" },
		{ "\xff\xff:00:00:00:00:01", { 0 }, "is not a MAC address" },
		{ "01:00:00:00:00:01", { 0 }, "is not that of one station" },
		{ "ff:ff:ff:ff:ff:ff", { 0 }, "is not that of one station" },
		{ "00:00:00:00:00:00", { 0 }, "is not that of one station" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct config_net net = { 0 };
		struct err err = { 0 };
		int ret = config_set_mac(&net, rows[i].text, &err);

		assert_int_equal(ret, rows[i].said == NULL ? 0 : -EINVAL);
		assert_int_equal(net.has_mac, rows[i].said == NULL);
		assert_memory_equal(net.mac, rows[i].mac, sizeof(net.mac));
		if (rows[i].said != NULL)
			assert_non_null(strstr(err.text, rows[i].said));
	}
}

static void networks(void **state)
{
	static const struct {
		enum config_net_kind kind;
		const char *tap;
		uint16_t mtu;
		const char *said;
	} rows[] = {
		{ CONFIG_NET_USER, NULL, 0, NULL },
		{ CONFIG_NET_USER, NULL, 68, NULL },
		{ CONFIG_NET_USER, NULL, UINT16_MAX, NULL },
		{ CONFIG_NET_USER, NULL, 67,
		  "net 'net0': an MTU of 67 is too little, 68 at least" },
		{ CONFIG_NET_USER, NULL, 1, "an MTU of 1 is too little" },
		{ CONFIG_NET_TAP, "tap0", 0, NULL },
		{ CONFIG_NET_TAP, "fifteen-letters", 0, NULL },
		{ CONFIG_NET_TAP, "sixteen-letters-", 0,
		  "net 'net0': 'sixteen-letters-' cannot be" },
		{ CONFIG_NET_TAP, "", 0, "net 'net0': '' cannot be the name of an interface" },
		{ CONFIG_NET_NONE, NULL, 0, "net 'net0': either tap=NAME or user is needed" },
	};
	struct vm_config config;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		init(&config);
		add_net(&config, rows[i].kind, rows[i].tap, NULL)->mtu = rows[i].mtu;
		assert_said(&config, rows[i].said);
	}
	init(&config);
	add_net(&config, CONFIG_NET_TAP, "tap0", NULL);
	add_net(&config, CONFIG_NET_USER, NULL, NULL);
	add_net(&config, CONFIG_NET_TAP, "tap0", NULL);
	assert_said(&config, "net 'net0' and 'net2': both are on tap 'tap0'");
	init(&config);
	add_net(&config, CONFIG_NET_TAP, "tap0", NULL)->reaches_host = true;
	assert_said(&config, "net 'net0': to reach the host's loopback it has to be 'user'");
}

static void vhost(void **state)
{
	struct vm_config config;

	(void)state;
	init(&config);
	add_net(&config, CONFIG_NET_TAP, "tap0", NULL)->has_vhost = true;
	assert_said(&config, NULL);
	for (unsigned int i = 0; i < 4; i++) {
		struct config_net *net;

		init(&config);
		net = add_net(&config, CONFIG_NET_TAP, "tap0", NULL);
		net->has_vhost = true;
		*(struct token_bucket_config *[]){ &net->rx.bandwidth, &net->rx.ops,
						   &net->tx.bandwidth, &net->tx.ops }[i] =
			(struct token_bucket_config){ .size = 1, .refill_ms = 1 };
		assert_said(&config, "net 'net0': with vhost there are no rate limits");
	}
	init(&config);
	add_net(&config, CONFIG_NET_USER, NULL, NULL)->has_vhost = true;
	assert_said(&config, "net 'net0': vhost needs a tap, it cannot be 'user'");
}

static void vsock(void **state)
{
	char path[120];
	const struct {
		uint64_t cid;
		const char *path;
		const char *said;
	} rows[] = {
		{ 0, NULL, NULL },
		{ 3, "v", NULL },
		{ UINT32_MAX - 1, "v", NULL },
		{ 0, "v", "vsock: the guest needs a CID from 3 to 4294967294, 0 is none" },
		{ 2, "v", "2 is none" },
		{ UINT32_MAX, "v", "4294967295 is none" },
		{ UINT64_MAX, "v", "18446744073709551615 is none" },
		{ 3, NULL, "vsock: no path of a socket is given" },
		{ 3, "", "vsock: no path of a socket is given" },
		{ 3, path + 12, NULL },
		{ 3, path, "vsock: the path of the socket has 108 bytes, 96 at most" },
	};
	struct vm_config config;

	(void)state;
	memset(path, 'p', 108);
	path[108] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		init(&config);
		config.vsock.guest_cid = rows[i].cid;
		config.vsock.path = copy(rows[i].path);
		assert_said(&config, rows[i].said);
	}
}

static void balloons(void **state)
{
	static const struct {
		bool is_wanted;
		uint64_t target_mib;
		const char *said;
	} rows[] = {
		{ true, 0, NULL },
		{ true, 256, NULL },
		{ true, 257, "balloon: 257 MiB are more than the guest's 256 MiB" },
		{ true, UINT64_MAX, "are more than the guest's 256 MiB" },
		{ false, 257, NULL },
	};
	struct vm_config config;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		init(&config);
		config.balloon.is_wanted = rows[i].is_wanted;
		config.balloon.options.target_mib = rows[i].target_mib;
		assert_said(&config, rows[i].said);
	}
}

static void names(void **state)
{
	struct vm_config config;
	struct err err = { 0 };

	(void)state;
	vm_config_init(&config);
	assert_int_equal(vm_config_set_irqchip(&config, "aia", NULL), 0);
	assert_int_equal(config.irqchip, CONFIG_IRQCHIP_AIA);
	assert_int_equal(vm_config_set_irqchip(&config, "plic", NULL), 0);
	assert_int_equal(config.irqchip, CONFIG_IRQCHIP_PLIC);
	assert_int_equal(vm_config_set_irqchip(&config, "apic", &err), -EINVAL);
	assert_non_null(strstr(err.text, "'apic'"));
	assert_non_null(strstr(err.text, "auto, plic or aia"));
	assert_int_equal(config.irqchip, CONFIG_IRQCHIP_PLIC);
	assert_int_equal(vm_config_set_console(&config, "", &err), -EINVAL);
	assert_non_null(strstr(err.text, "serial, virtio or off"));
	assert_int_equal(vm_config_set_log_level(&config, "debug", NULL), 0);
	assert_int_equal(config.logger.level, LOG_DEBUG);
	assert_int_equal(vm_config_set_log_level(&config, "loud", &err), -EINVAL);
	vm_config_deinit(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(command_lines),
		cmocka_unit_test(command_line_limits),
		cmocka_unit_test(vcpus_and_memory),
		cmocka_unit_test(files),
		cmocka_unit_test(strings_are_replaced),
		cmocka_unit_test(where_the_root_is),
		cmocka_unit_test(the_root_disk_comes_first),
		cmocka_unit_test(one_root_only),
		cmocka_unit_test(ids),
		cmocka_unit_test(disks),
		cmocka_unit_test(partition_uuids),
		cmocka_unit_test(mac_addresses),
		cmocka_unit_test(networks),
		cmocka_unit_test(vhost),
		cmocka_unit_test(vsock),
		cmocka_unit_test(balloons),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
