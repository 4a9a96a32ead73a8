/*
 * The command line. The machine below it is a fake: these functions stand in for the library's.
 */
#include "cli/cli.h"
#include "config/config_json.h"

#include "cli/options.h"
#include "config/exit_status.h"
#include "rig.h"
#include "test.h"
#include "util/bits.h"
#include "util/log.h"
#include "vm/vm.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
	int new_ret;
	enum vm_fault fault;
	int start_ret;
	enum vm_end end;
	int signal; /* that comes when it has started, in place of an end */
	struct vm_env env;
	unsigned int n_new;
	unsigned int n_closed;
	unsigned int n_freed;
} fake;

int vm_new(struct vm **vmp, const struct vm_config *config, struct vm_resources *resources,
	   const struct vm_env *env, enum vm_fault *fault, struct err *err)
{
	assert_non_null(config->cmdline);
	(void)resources;
	fake.n_new++;
	fake.env = *env;
	*vmp = fake.new_ret == 0 ? (struct vm *)(void *)&fake : NULL;
	*fault = fake.fault;
	return fake.new_ret == 0 ? 0 : err_set(err, fake.new_ret, "no machine");
}

static void end_now(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	(void)ctx;
	fake.env.ended(fake.env.ctx, fake.end);
}

static void end_soon(enum vm_end end)
{
	static const struct timeval at_once = { 0 };

	fake.end = end;
	assert_int_equal(event_base_once(fake.env.base, -1, EV_TIMEOUT, end_now, NULL, &at_once),
			 0);
}

int vm_start(struct vm *vm, struct err *err)
{
	(void)vm;
	if (fake.start_ret != 0)
		return err_set(err, fake.start_ret, "no start");
	if (fake.signal != 0)
		raise(fake.signal);
	else
		end_soon(fake.end);
	return 0;
}

void vm_stop(struct vm *vm)
{
	(void)vm;
	end_soon(VM_END_STOPPED);
}

enum vm_state vm_get_state(const struct vm *vm)
{
	(void)vm;
	return VM_STATE_RUNNING;
}

void vm_pause(struct vm *vm)
{
	(void)vm;
}

void vm_resume(struct vm *vm)
{
	(void)vm;
}

void vm_close(struct vm *vm)
{
	(void)vm;
	fake.n_closed++;
}

void vm_free(struct vm *vm)
{
	if (vm != NULL)
		fake.n_freed++;
}

/* \return what cli_main() does, with what it wrote to standard output and to the log in \p said */
static int run_cli(const char *const words[], char said[8192])
{
	struct rig_args args = rig_args_make(words);
	int saved_out = dup(STDOUT_FILENO);
	ssize_t n;
	int fds[2];
	int status;

	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	fflush(stdout);
	dup2(fds[1], STDOUT_FILENO);
	log_set_fd(fds[1]);
	status = cli_main(args.argc, args.argv);
	log_set_fd(STDERR_FILENO);
	log_set_level(LOG_INFO);
	dup2(saved_out, STDOUT_FILENO);
	n = read(fds[0], said, 8191);
	said[n > 0 ? n : 0] = '\0';
	close(saved_out);
	close(fds[0]);
	close(fds[1]);
	rig_args_free(&args);
	return status;
}

static int parse(const char *const words[], struct vm_config *config, struct err *err)
{
	struct rig_args args = rig_args_make(words);
	struct run_options options = { 0 };
	int ret;

	vm_config_init(&options.config);
	ret = cli_parse_run(args.argc, args.argv, &options, err);
	*config = options.config;
	rig_args_free(&args);
	return ret;
}

static void every_flag(void **state)
{
	static const char *const words[] = { "--kernel",
					     "Image",
					     "--initrd=initramfs",
					     "--append",
					     "quiet a=b",
					     "--cpus=4",
					     "--memory",
					     "1G",
					     "--irqchip=aia",
					     "--console",
					     "off",
					     "--copy-kernel",
					     "--cmdline=",
					     "--log-level=warn",
					     NULL };
	struct vm_config config;

	(void)state;
	assert_int_equal(parse(words, &config, NULL), 0);
	assert_string_equal(config.kernel_path, "Image");
	assert_string_equal(config.initrd_path, "initramfs");
	assert_string_equal(config.append, "quiet a=b");
	assert_string_equal(config.cmdline, "");
	assert_int_equal(config.vcpu_count, 4);
	assert_int_equal(config.mem_bytes, GIB);
	assert_int_equal(config.irqchip, CONFIG_IRQCHIP_AIA);
	assert_int_equal(config.console, CONFIG_CONSOLE_OFF);
	assert_int_equal(config.logger.level, LOG_WARN);
	assert_true(config.copy_kernel);
	vm_config_deinit(&config);
}

static void values_with_dashes_and_equals(void **state)
{
	static const char *const words[] = { "--kernel=a=b", "--append", "-- --kernels", NULL };
	static const char *const equals[] = { "--kernel", "k", "--append=--cpus", NULL };
	struct vm_config config;

	(void)state;
	assert_int_equal(parse(words, &config, NULL), 0);
	assert_string_equal(config.kernel_path, "a=b");
	assert_string_equal(config.append, "-- --kernels");
	vm_config_deinit(&config);
	assert_int_equal(parse(equals, &config, NULL), 0);
	assert_string_equal(config.append, "--cpus");
	vm_config_deinit(&config);
}

static void mistakes_are_named(void **state)
{
	static const struct {
		const char *words[5];
		const char *said;
	} rows[] = {
		{ { NULL }, "--kernel FILE" },
		{ { "--kernal", "x" }, "did you mean --kernel?" },
		{ { "--kernal=x" }, "'--kernal'; did you mean --kernel?" },
		{ { "--hepl" }, "did you mean --help?" },
		{ { "--network", "x" }, "unknown flag '--network'" },
		{ { "Image" }, "unexpected argument 'Image'" },
		{ { "" }, "unexpected argument ''" },
		{ { "-k", "x" }, "unknown flag '-k'" },
		{ { "--" }, "unknown flag '--'" },
		{ { "--kernel" }, "--kernel needs a value: --kernel FILE" },
		{ { "--kernel", "--cpus", "2" }, "--kernel needs a value" },
		{ { "--kernel", "--cpus=2" }, "--kernel needs a value" },
		{ { "--kernel=a", "--kernel", "b" }, "--kernel is given twice" },
		{ { "--copy-kernel=yes" }, "--copy-kernel takes no value" },
		{ { "--cpus", "two" }, "'two' is not a number" },
		{ { "--cpus=" }, "'' is not a number" },
		{ { "--cpus", "4294967297" }, "'4294967297' is not a number" },
		{ { "--memory", "lots" }, "'lots' is not a size" },
		{ { "--memory", "99999999999G" }, "is not a size" },
		{ { "--irqchip", "apic" }, "auto, plic or aia" },
		{ { "--console", "vga" }, "serial, virtio or off" },
		{ { "--log-level", "loud" }, "debug" },
	};
	struct vm_config config;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = { 0 };

		assert_int_equal(parse(rows[i].words, &config, &err), -EINVAL);
		if (strstr(err.text, rows[i].said) == NULL)
			fail_msg("'%s' does not say '%s'", err.text, rows[i].said);
		vm_config_deinit(&config);
	}
}

static void flags_of_devices(void **state)
{
	static const char *const words[] = {
		"--kernel=k",
		"--disk",
		"a.img,ro,id=a,engine=uring,cache=unsafe,bandwidth=10M,ops=500",
		"--disk=b.img,partuuid=0eaa91a0-01",
		"--net=tap=tap0,mac=02:ab:00:00:00:01,mtu=9000,id=n,bandwidth=1G,ops=1",
		"--net",
		"user",
		"--vsock=path=v.sock,cid=3",
		"--balloon=size=64,stats=5,deflate-on-oom,reporting",
		"--rng=bandwidth=64K",
		"--console=virtio",
		NULL
	};
	static const uint8_t mac[6] = { 2, 0xab, 0, 0, 0, 1 };
	struct vm_config config;

	(void)state;
	assert_int_equal(parse(words, &config, NULL), 0);
	assert_int_equal(config.n_disks, 2);
	assert_string_equal(config.disks[0].path, "a.img");
	assert_string_equal(config.disks[0].id, "a");
	assert_true(config.disks[0].is_read_only);
	assert_false(config.disks[0].is_root);
	assert_int_equal(config.disks[0].engine, DISK_ENGINE_IO_URING);
	assert_int_equal(config.disks[0].cache, BLK_CACHE_UNSAFE);
	assert_int_equal(config.disks[0].limits.bandwidth.size, 10 * MIB);
	assert_int_equal(config.disks[0].limits.bandwidth.refill_ms, 1000);
	assert_int_equal(config.disks[0].limits.ops.size, 500);
	assert_string_equal(config.disks[1].path, "b.img");
	assert_string_equal(config.disks[1].partuuid, "0eaa91a0-01");
	assert_null(config.disks[1].id);
	assert_true(config.disks[1].is_root);
	assert_false(config.disks[1].is_read_only);
	assert_int_equal(config.disks[1].engine, DISK_ENGINE_SYNC);
	assert_int_equal(config.disks[1].cache, BLK_CACHE_WRITEBACK);
	assert_int_equal(config.disks[1].limits.bandwidth.size, 0);
	assert_int_equal(config.n_nets, 2);
	assert_int_equal(config.nets[0].kind, CONFIG_NET_TAP);
	assert_string_equal(config.nets[0].tap, "tap0");
	assert_string_equal(config.nets[0].id, "n");
	assert_true(config.nets[0].has_mac);
	assert_memory_equal(config.nets[0].mac, mac, sizeof(mac));
	assert_int_equal(config.nets[0].mtu, 9000);
	assert_int_equal(config.nets[0].rx.bandwidth.size, GIB);
	assert_int_equal(config.nets[0].rx.ops.size, 1);
	assert_int_equal(config.nets[1].kind, CONFIG_NET_USER);
	assert_false(config.nets[1].has_mac);
	assert_int_equal(config.vsock.guest_cid, 3);
	assert_string_equal(config.vsock.path, "v.sock");
	assert_true(config.balloon.is_wanted);
	assert_int_equal(config.balloon.options.target_mib, 64);
	assert_int_equal(config.balloon.options.stats_interval_s, 5);
	assert_true(config.balloon.options.deflate_on_oom);
	assert_true(config.balloon.options.reporting);
	assert_true(config.rng.is_wanted);
	assert_int_equal(config.rng.limits.bandwidth.size, 64 * KIB);
	assert_int_equal(config.console, CONFIG_CONSOLE_VIRTIO);
	assert_int_equal(vm_config_complete(&config, NULL), 0);
	vm_config_deinit(&config);
}

static void rng_can_be_left_out(void **state)
{
	static const char *const words[] = { "--kernel=k", "--rng=off", NULL };
	static const char *const on[] = { "--kernel=k", "--rng", "on", NULL };
	struct vm_config config;

	(void)state;
	assert_int_equal(parse(words, &config, NULL), 0);
	assert_false(config.rng.is_wanted);
	vm_config_deinit(&config);
	assert_int_equal(parse(on, &config, NULL), 0);
	assert_true(config.rng.is_wanted);
	vm_config_deinit(&config);
}

static void commas_in_values_are_doubled(void **state)
{
	static const struct {
		const char *flag;
		const char *path;
		bool is_read_only;
	} rows[] = {
		{ "--disk=a,,b.img", "a,b.img", false },
		{ "--disk=a,,b.img,ro", "a,b.img", true },
		{ "--disk=,,,,", ",,", false },
		{ "--disk=,,,ro", ",", true },
		{ "--disk=a,ro", "a", true },
		{ "--disk=a=b,ro", "a=b", true },
	};
	static const char *const vsock[] = { "--kernel=k", "--vsock=cid=3,path=a,,b", NULL };
	struct vm_config config;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *const words[] = { "--kernel=k", rows[i].flag, NULL };

		assert_int_equal(parse(words, &config, NULL), 0);
		assert_int_equal(config.n_disks, 1);
		assert_string_equal(config.disks[0].path, rows[i].path);
		assert_int_equal(config.disks[0].is_read_only, rows[i].is_read_only);
		vm_config_deinit(&config);
	}
	assert_int_equal(parse(vsock, &config, NULL), 0);
	assert_string_equal(config.vsock.path, "a,b");
	vm_config_deinit(&config);
}

/* Each names the flag, the key and the reason. */
static void mistakes_in_keys_are_named(void **state)
{
	static const struct {
		const char *words[5];
		const char *said;
	} rows[] = {
		{ { "--disk" }, "--disk needs a value: --disk FILE[,KEY...]" },
		{ { "--disk", "--net=user" }, "--disk needs a value" },
		{ { "--disk=" }, "--disk: no file is given" },
		{ { "--disk", "" }, "--disk: no file is given" },
		{ { "--disk=,ro" }, "--disk: no file is given" },
		{ { "--disk=a," }, "--disk: one of the keys is empty" },
		{ { "--disk=a,ro," }, "--disk: one of the keys is empty" },
		{ { "--disk=a,ro,,id=b" }, "--disk: unknown key 'ro,id'" },
		{ { "--disk=a,r0" }, "--disk: unknown key 'r0'; did you mean ro?" },
		{ { "--disk=a,readonly" }, "--disk: unknown key 'readonly'" },
		{ { "--disk=a,engin=sync" }, "--disk: unknown key 'engin'; did you mean engine?" },
		{ { "--disk=a,=x" }, "--disk: unknown key ''" },
		{ { "--disk=a,RO" }, "--disk: unknown key 'RO'" },
		{ { "--disk=a,ro=1" }, "--disk: 'ro' takes no value" },
		{ { "--disk=a,root=" }, "--disk: 'root' takes no value" },
		{ { "--disk=a,id" }, "--disk: 'id' needs a value: id=NAME" },
		{ { "--disk=a,id=b,id=b" }, "--disk: 'id' is given twice" },
		{ { "--disk=a,ro,ro" }, "--disk: 'ro' is given twice" },
		{ { "--disk=a,engine=aio" }, "--disk: the engine 'aio' is not sync or uring" },
		{ { "--disk=a,engine=" }, "--disk: the engine '' is not sync or uring" },
		{ { "--disk=a,cache=none" },
		  "--disk: the cache 'none' is not unsafe or writeback" },
		{ { "--disk=a,bandwidth=0" }, "--disk: bandwidth: '0' is not a size" },
		{ { "--disk=a,bandwidth=fast" }, "--disk: bandwidth: 'fast' is not a size" },
		{ { "--disk=a,bandwidth=9223372036854775808" }, "is not a size like 10M" },
		{ { "--disk=a,ops=0" }, "--disk: ops: '0' is not a number" },
		{ { "--disk=a,ops=1K" }, "--disk: ops: '1K' is not a number" },
		{ { "--disk=a,ops=4294967296" }, "--disk: ops: '4294967296' is not a number" },
		{ { "--net" }, "--net needs a value: --net KEY[,...]" },
		{ { "--net=" }, "--net: one of the keys is empty" },
		{ { "--net=tap0" }, "--net: unknown key 'tap0'; did you mean tap?" },
		{ { "--net=tap" }, "--net: 'tap' needs a value: tap=NAME" },
		{ { "--net=user=me" }, "--net: 'user' takes no value" },
		{ { "--net=user,tap=t" }, "--net: 'tap' and 'user' exclude each other" },
		{ { "--net=tap=t,user" }, "--net: 'tap' and 'user' exclude each other" },
		{ { "--net=tap=t,tap=u" }, "--net: 'tap' is given twice" },
		{ { "--net=user,mac=2:0:0:0:0:1" }, "--net: mac: '2:0:0:0:0:1' is not a MAC" },
		{ { "--net=user,mac=03:00:00:00:00:01" }, "is not that of one station" },
		{ { "--net=user,mtu=big" }, "--net: mtu: 'big' is not a number of bytes" },
		{ { "--net=user,mtu=0" }, "--net: mtu: '0' is not a number of bytes" },
		{ { "--net=user,mtu=65536" }, "--net: mtu: '65536' is not a number of bytes" },
		{ { "--vsock=cid=3" }, "--vsock: 'path' is missing" },
		{ { "--vsock=cid=0" }, "--vsock: 'path' is missing" },
		{ { "--vsock=path=x" }, "--vsock: a 'cid' from 3 on is missing" },
		{ { "--vsock=path=x,cid=0" }, "--vsock: a 'cid' from 3 on is missing" },
		{ { "--vsock=cid=three,path=x" }, "--vsock: cid: 'three' is not a number" },
		{ { "--vsock=cid=-1,path=x" }, "--vsock: cid: '-1' is not a number" },
		{ { "--vsock=cid=3,path=x,cid=4" }, "--vsock: 'cid' is given twice" },
		{ { "--vsock=cid=3,pth=x" }, "--vsock: unknown key 'pth'; did you mean path?" },
		{ { "--vsock=cid=3,path=x", "--vsock=cid=4,path=y" }, "--vsock is given twice" },
		{ { "--balloon=" }, "--balloon: one of the keys is empty" },
		{ { "--balloon=64M" }, "--balloon: unknown key '64M'" },
		{ { "--balloon=size=1K" }, "--balloon: size: '1K' is not a size in whole MiB" },
		{ { "--balloon=size=half" }, "--balloon: size: 'half' is not a size" },
		{ { "--balloon=stats=65536" }, "--balloon: stats: '65536' is not a number" },
		{ { "--balloon=deflate_on_oom" }, "did you mean deflate-on-oom?" },
		{ { "--balloon=reporting,reporting" }, "--balloon: 'reporting' is given twice" },
		{ { "--balloon=size=1", "--balloon=size=2" }, "--balloon is given twice" },
		{ { "--rng=" }, "--rng: one of the keys is empty" },
		{ { "--rng=yes" }, "--rng: unknown key 'yes'" },
		{ { "--rng=on,off" }, "--rng: 'off' goes with no other key" },
		{ { "--rng=off,bandwidth=1M" }, "--rng: 'off' goes with no other key" },
		{ { "--rng=bandwidth=1X" }, "--rng: bandwidth: '1X' is not a size" },
		{ { "--rng=on", "--rng=off" }, "--rng is given twice" },
	};
	struct vm_config config;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = { 0 };

		assert_int_equal(parse(rows[i].words, &config, &err), -EINVAL);
		if (strstr(err.text, rows[i].said) == NULL)
			fail_msg("'%s' does not say '%s'", err.text, rows[i].said);
		vm_config_deinit(&config);
	}
}

/* What is told when one more than \p max is asked for. */
static void assert_at_most(const char *flag, unsigned int max, const char *said)
{
	const char *words[RIG_ARGS_MAX + 1] = { "--kernel=k" };
	struct vm_config config;
	struct err err = { 0 };

	assert_true(max + 2 <= RIG_ARGS_MAX);
	for (unsigned int i = 1; i <= max; i++)
		words[i] = flag;
	assert_int_equal(parse(words, &config, &err), 0);
	vm_config_deinit(&config);
	words[max + 1] = flag;
	assert_int_equal(parse(words, &config, &err), -EINVAL);
	assert_string_equal(err.text, said);
	vm_config_deinit(&config);
}

static void disks_and_networks_are_limited(void **state)
{
	(void)state;
	assert_at_most("--disk=x,ro", CONFIG_DISKS_MAX, "--disk: more than 12 disks");
	assert_at_most("--net=user", CONFIG_NETS_MAX, "--net: more than 8 networks");
}

static int count_key(void *target, const char *value, struct err *err)
{
	(void)err;
	assert_null(value);
	++*(unsigned int *)target;
	return 0;
}

static void keys_may_repeat_where_the_row_says_so(void **state)
{
	static const struct option_row rows[] = {
		{ .name = "many", .set = count_key, .may_repeat = true },
		{ .name = "once", .set = count_key },
		{ 0 },
	};
	char many[] = "many,once,many";
	char twice[] = "many,once,once";
	unsigned int n = 0;

	(void)state;
	assert_int_equal(options_parse_keys(rows, many, &n, NULL), 0);
	assert_int_equal(n, 3);
	assert_int_equal(options_parse_keys(rows, twice, &n, NULL), -EINVAL);
}

static void long_arguments_are_cut_in_messages(void **state)
{
	char word[4096];
	const char *const words[] = { word, NULL };
	struct vm_config config;
	struct err err = { 0 };

	(void)state;
	memset(word, 'x', sizeof(word) - 1);
	word[sizeof(word) - 1] = '\0';
	assert_int_equal(parse(words, &config, &err), -EINVAL);
	vm_config_deinit(&config);
	word[0] = word[1] = '-';
	assert_int_equal(parse(words, &config, &err), -EINVAL);
	assert_true(strlen(err.text) < 128);
	vm_config_deinit(&config);
	memcpy(word, "--disk=a,", strlen("--disk=a,"));
	assert_int_equal(parse(words, &config, &err), -EINVAL);
	assert_true(strlen(err.text) < 128);
	vm_config_deinit(&config);
}

/* A line that --config-file takes, and that says all that the flags say. */
static void configurations_are_printed(void **state)
{
	static const char *const words[] = {
		"televm",
		"run",
		"--kernel=k",
		"--disk=a.img,ro,id=a-1,engine=uring,cache=unsafe,bandwidth=10M,ops=500",
		"--disk=b.img,partuuid=0eaa91a0-01",
		"--net=tap=tap0,mac=02:ab:00:00:00:01,mtu=9000,id=n,bandwidth=1G,ops=1",
		"--net=user,host",
		"--net=tap=tap1,vhost",
		"--vsock=path=v.sock,cid=3",
		"--balloon=size=64,stats=5,deflate-on-oom,reporting",
		"--rng=bandwidth=64K",
		"--console=virtio",
		"--irqchip=aia",
		"--append=quiet",
		"--cpus=3",
		"--huge-pages",
		"--copy-kernel",
		"--log-level=warn",
		"--print-config",
		NULL
	};
	struct json_notes notes = { 0 };
	struct vm_config config;
	struct err err = { 0 };
	json_t *object;
	json_t *again;
	char said[8192];

	(void)state;
	assert_int_equal(run_cli(words, said), 0);
	assert_non_null(strchr(said, '\n'));
	assert_string_equal(strchr(said, '\n'), "\n");
	assert_int_equal(json_parse_object(said, strlen(said), NULL, &object, &err), 0);
	vm_config_init_api(&config);
	assert_int_equal(vm_config_load(&config, object, &notes, &err), 0);
	assert_int_equal(vm_config_complete(&config, &err), 0);
	again = vm_config_to_json(&config);
	assert_true(json_equal(object, again));
	assert_string_equal(config.cmdline,
			    "console=hvc0 panic=1 quiet root=PARTUUID=0eaa91a0-01 rw");
	assert_string_equal(config.disks[0].id, "disk0");
	assert_true(config.disks[0].is_root);
	assert_string_equal(config.disks[1].id, "a-1");
	assert_int_equal(config.disks[1].engine, DISK_ENGINE_IO_URING);
	assert_int_equal(config.disks[1].limits.ops.size, 500);
	assert_int_equal(config.nets[1].kind, CONFIG_NET_USER);
	assert_true(config.nets[1].reaches_host);
	assert_false(config.nets[0].has_vhost);
	assert_true(config.nets[2].has_vhost);
	assert_int_equal(config.balloon.options.stats_interval_s, 5);
	assert_int_equal(config.rng.limits.bandwidth.size, 64 * KIB);
	assert_int_equal(config.console, CONFIG_CONSOLE_VIRTIO);
	assert_int_equal(config.irqchip, CONFIG_IRQCHIP_AIA);
	assert_int_equal(config.vcpu_count, 3);
	assert_int_equal(config.pages, CONFIG_PAGES_2M);
	assert_true(config.copy_kernel);
	assert_int_equal(config.logger.level, LOG_WARN);
	vm_config_deinit(&config);
	json_decref(object);
	json_decref(again);
}

static void other_text_than_utf8_is_not_printed(void **state)
{
	static const char *const words[] = { "televm", "run", "--kernel=\xff", "--print-config",
					     NULL };
	char said[8192];

	(void)state;
	assert_int_equal(run_cli(words, said), 153);
	assert_non_null(strstr(said, "an argument is not UTF-8"));
}

static void help_and_version(void **state)
{
	static const struct {
		const char *words[6];
		const char *said;
	} rows[] = {
		{ { "televm", "--version" }, "televm " TELEVM_VERSION "\n" },
		{ { "televm", "-V" }, "televm " TELEVM_VERSION "\n" },
		{ { "televm", "--help" }, "Usage: televm COMMAND" },
		{ { "televm", "-h" }, "Usage: televm COMMAND" },
		{ { "televm", "help" }, "Usage: televm COMMAND" },
		{ { "televm", "help", "run" }, "Usage: televm run" },
		{ { "televm", "help", "help" }, "Usage: televm COMMAND" },
		{ { "televm", "help", "--help" }, "Usage: televm COMMAND" },
		{ { "televm", "run", "--help" }, "Usage: televm run" },
		{ { "televm", "ctl", "--help" }, "Usage: televm ctl" },
		{ { "televm", "help", "ctl" }, "Usage: televm ctl" },
		{ { "televm", "help", "ctl", "status" }, "Usage: televm ctl SOCK status" },
		{ { "televm", "help", "ctl", "vm.sock", "status" },
		  "Usage: televm ctl SOCK status" },
		{ { "televm", "help", "run", "extra" }, "Usage: televm run" },
		{ { "televm", "help", "api" }, "Usage: televm --api-sock" },
		{ { "televm", "--id", "x", "--help" }, "Usage: televm --api-sock" },
		{ { "televm", "--id", "x", "--version" }, "televm " TELEVM_VERSION "\n" },
		{ { "/usr/bin/firecracker", "--version" }, "Firecracker v1.12.1\n\n" },
		{ { "firecracker", "--id=x", "--version" }, "Firecracker v1.12.1\n\n" },
		{ { "firecracker", "--help" }, "Usage: televm --api-sock" },
		{ { "televm", "run", "--cpus=2", "-h" }, "Usage: televm run" },
	};
	char said[8192];

	(void)state;
	fake.n_new = 0;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(run_cli(rows[i].words, said), EXIT_STATUS_OK);
		assert_int_equal(strncmp(said, rows[i].said, strlen(rows[i].said)), 0);
		for (const char *line = said; line != NULL; line = strchr(line + 1, '\n'))
			assert_true(strcspn(line + 1, "\n") <= 79);
	}
	assert_non_null(strstr(said, "\n  --copy-kernel "));
	assert_non_null(strstr(said, "Examples:"));
	assert_non_null(strstr(said, "\n  -h, --help "));
	assert_int_equal(fake.n_new, 0);
}

/* What cannot be written is told. */
static void help_to_a_full_disk(void **state)
{
	static const char *const rows[][3] = { { "televm", "--version" },
					       { "televm", "--help" },
					       { "televm", "run", "--help" },
					       { "televm", "ctl", "--help" },
					       { "televm", "help", "api" } };
	int saved_out = dup(STDOUT_FILENO);
	int log[2];
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	fflush(stdout);
	assert_true(full >= 0 && saved_out >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *const words[] = { rows[i][0], rows[i][1], rows[i][2], NULL };
		struct rig_args args = rig_args_make(words);
		char said[256] = "";

		assert_int_equal(pipe(log), 0);
		dup2(full, STDOUT_FILENO);
		log_set_fd(log[1]);
		assert_int_equal(cli_main(args.argc, args.argv), EXIT_STATUS_ERROR);
		log_set_fd(STDERR_FILENO);
		dup2(saved_out, STDOUT_FILENO);
		assert_true(read(log[0], said, sizeof(said) - 1) > 0);
		assert_string_equal(said,
				    "televm: error: standard output: No space left on device\n");
		close(log[0]);
		close(log[1]);
		rig_args_free(&args);
	}
	close(full);
	close(saved_out);
}

static void bad_arguments_and_bad_configuration(void **state)
{
	static const struct {
		const char *words[6];
		const char *said;
		int status;
	} rows[] = {
		{ { "televm" }, "no command", EXIT_STATUS_BAD_ARGUMENTS },
		{ { "televm", "--id=x", "--apisock=s" },
		  "did you mean --api-sock?",
		  EXIT_STATUS_BAD_ARGUMENTS },
		{ { "televm", "--kernel=k" },
		  "unknown flag '--kernel'\ntelevm: --kernel is a flag of 'televm run'\n",
		  EXIT_STATUS_BAD_ARGUMENTS },
		{ { "televm", "run", "--kernel=k", "--config-file", "c" },
		  "--config-file is a flag of 'televm' without 'run'\n",
		  EXIT_STATUS_BAD_ARGUMENTS },
		{ { "televm", "rnu" }, "did you mean run?", EXIT_STATUS_BAD_ARGUMENTS },
		{ { "televm", "rum" }, "did you mean run?", EXIT_STATUS_BAD_ARGUMENTS },
		{ { "televm", "help", "rum" }, "did you mean run?", EXIT_STATUS_BAD_ARGUMENTS },
		{ { "televm", "\x1b[2J" }, "unknown command '?[2J'", EXIT_STATUS_BAD_ARGUMENTS },
		{ { "televm", "run" }, "televm run --help", EXIT_STATUS_BAD_ARGUMENTS },
		{ { "televm", "run", "--kernel=k", "--cpus=33" },
		  "33 vCPUs",
		  EXIT_STATUS_BAD_CONFIG },
		{ { "televm", "run", "--kernel=k", "--memory=1M" },
		  "1 MiB",
		  EXIT_STATUS_BAD_CONFIG },
		{ { "televm", "run", "--kernel=k", "--disk=,ro" },
		  "--disk: no file",
		  EXIT_STATUS_BAD_ARGUMENTS },
		{ { "televm", "run", "--kernel=k", "--net=mtu=1500" },
		  "net 'net0': either tap=NAME or user is needed",
		  EXIT_STATUS_BAD_CONFIG },
	};
	char said[8192];

	(void)state;
	fake.n_new = 0;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(run_cli(rows[i].words, said), rows[i].status);
		assert_non_null(strstr(said, "televm: error: "));
		assert_non_null(strstr(said, rows[i].said));
	}
	assert_int_equal(fake.n_new, 0);
}

static void exit_status_of_a_run(void **state)
{
	static const char *const words[] = { "televm", "run", "--kernel=k", NULL };
	static const struct {
		enum vm_end end;
		int signal;
		int status;
		const char *said;
	} rows[] = {
		{ VM_END_SHUTDOWN, 0, 0, "the guest shut down" },
		{ VM_END_REBOOT, 0, 0, "the guest asked for a reboot" },
		{ VM_END_PANIC, 0, 3, "the guest's kernel panicked" },
		{ VM_END_VCPU_ERROR, 0, 4, "it cannot go on" },
		{ VM_END_STOPPED, 0, 0, "its user left" },
		{ VM_END_STOPPED, SIGTERM, 143, "Terminated" },
		{ VM_END_STOPPED, SIGINT, 130, "Interrupt" },
		{ VM_END_NONE, 0, 1, "it cannot go on" },
	};
	char said[8192];

	(void)state;
	fake.n_closed = 0;
	fake.n_freed = 0;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		fake.end = rows[i].end;
		fake.signal = rows[i].signal;
		assert_int_equal(run_cli(words, said), rows[i].status);
		assert_non_null(strstr(said, rows[i].said));
	}
	fake.signal = 0;
	assert_int_equal(fake.n_closed, ARRAY_SIZE(rows));
	assert_int_equal(fake.n_freed, ARRAY_SIZE(rows));
	fake.start_ret = -EIO;
	assert_int_equal(run_cli(words, said), EXIT_STATUS_ERROR);
	assert_string_equal(said, "televm: error: no start\n");
	assert_int_equal(fake.n_freed, ARRAY_SIZE(rows) + 1);
	fake.new_ret = -ENOENT;
	fake.fault = VM_FAULT_CONFIG;
	assert_int_equal(run_cli(words, said), EXIT_STATUS_BAD_CONFIG);
	fake.fault = VM_FAULT_HOST;
	assert_int_equal(run_cli(words, said), EXIT_STATUS_ERROR);
	assert_string_equal(said, "televm: error: no machine\n");
}

/* \return the wait status of a child of ours that ends with what \p run returns */
static int in_child(int (*run)(const void *ctx), const void *ctx)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(run(ctx));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int run_with_flag(const char *flag)
{
	static char name[] = "televm";
	char copy[16];
	char *argv[] = { name, copy, NULL };

	snprintf(copy, sizeof(copy), "%s", flag);
	return cli_main(2, argv);
}

static int run_with_descriptors_closed(const void *ctx)
{
	(void)ctx;
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	return run_with_flag("--version") != 0 || open("/dev/null", O_RDONLY) <= STDERR_FILENO;
}

/* J03 of the hostile-input checklist: what is opened later must not become standard output. */
static void closed_standard_descriptors(void **state)
{
	(void)state;
	assert_int_equal(in_child(run_with_descriptors_closed, NULL), 0);
}

struct descriptors {
	rlim_t soft;
	rlim_t hard;
	rlim_t after;
};

static int run_with_limit(const void *ctx)
{
	const struct descriptors *wanted = ctx;
	const struct rlimit before = { wanted->soft, wanted->hard };
	struct rlimit after;

	close(STDOUT_FILENO);
	return setrlimit(RLIMIT_NOFILE, &before) != 0 || run_with_flag("--version") != 0 ||
	       getrlimit(RLIMIT_NOFILE, &after) != 0 || after.rlim_cur != wanted->after ||
	       after.rlim_max != wanted->hard;
}

/* As many as a guest may have sockets, where that is permitted; nothing is taken away. */
static void more_descriptors(void **state)
{
	static const struct descriptors cases[] = {
		{ 200, 4000, 2048 },
		{ 200, 300, 300 },
		{ 3000, 4000, 3000 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(in_child(run_with_limit, &cases[i]), 0);
}

struct unread {
	int fd; /* standard output or error */
	const char *flag;
};

/* `televm FLAG`, with one of its descriptors a pipe that nobody reads. */
static int run_unread(const void *ctx)
{
	const struct unread *unread = ctx;
	int fds[2];

	if (pipe(fds) != 0)
		return EXIT_STATUS_OK; /* none of those that are expected */
	close(fds[0]);
	signal(SIGPIPE, SIG_DFL);
	dup2(fds[1], unread->fd);
	return run_with_flag(unread->flag);
}

static void a_reader_that_is_gone(void **state)
{
	static const struct unread output = { STDOUT_FILENO, "--version" };
	static const struct unread error = { STDERR_FILENO, "--unknown" };
	int status;

	(void)state;
	status = in_child(run_unread, &output);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_STATUS_ERROR);
	status = in_child(run_unread, &error);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_STATUS_BAD_ARGUMENTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_flag),
		cmocka_unit_test(values_with_dashes_and_equals),
		cmocka_unit_test(mistakes_are_named),
		cmocka_unit_test(flags_of_devices),
		cmocka_unit_test(rng_can_be_left_out),
		cmocka_unit_test(commas_in_values_are_doubled),
		cmocka_unit_test(mistakes_in_keys_are_named),
		cmocka_unit_test(disks_and_networks_are_limited),
		cmocka_unit_test(keys_may_repeat_where_the_row_says_so),
		cmocka_unit_test(long_arguments_are_cut_in_messages),
		cmocka_unit_test(configurations_are_printed),
		cmocka_unit_test(other_text_than_utf8_is_not_printed),
		cmocka_unit_test(help_and_version),
		cmocka_unit_test(help_to_a_full_disk),
		cmocka_unit_test(bad_arguments_and_bad_configuration),
		cmocka_unit_test(exit_status_of_a_run),
		cmocka_unit_test(closed_standard_descriptors),
		cmocka_unit_test(more_descriptors),
		cmocka_unit_test(a_reader_that_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
