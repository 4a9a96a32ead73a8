#include "test.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/metrics.h"
#include "util/text.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The schema once more, as Firecracker 1.16 has it: its test allows no key more and none less. */
static const char *const schema[] = {
	"api_server.process_startup_time_us",
	"api_server.process_startup_time_cpu_us",
	"balloon.activate_fails",
	"balloon.inflate_count",
	"balloon.stats_updates_count",
	"balloon.stats_update_fails",
	"balloon.deflate_count",
	"balloon.event_fails",
	"balloon.free_page_report_count",
	"balloon.free_page_report_freed",
	"balloon.free_page_report_fails",
	"balloon.free_page_hint_count",
	"balloon.free_page_hint_freed",
	"balloon.free_page_hint_fails",
	"deprecated_api.deprecated_http_api_calls",
	"get_api_requests.instance_info_count",
	"get_api_requests.machine_cfg_count",
	"get_api_requests.mmds_count",
	"get_api_requests.vmm_version_count",
	"get_api_requests.hotplug_memory_count",
	"i8042.error_count",
	"i8042.missed_read_count",
	"i8042.missed_write_count",
	"i8042.read_count",
	"i8042.reset_count",
	"i8042.write_count",
	"latencies_us.full_create_snapshot",
	"latencies_us.diff_create_snapshot",
	"latencies_us.load_snapshot",
	"latencies_us.pause_vm",
	"latencies_us.resume_vm",
	"latencies_us.vmm_full_create_snapshot",
	"latencies_us.vmm_diff_create_snapshot",
	"latencies_us.vmm_load_snapshot",
	"latencies_us.vmm_pause_vm",
	"latencies_us.vmm_resume_vm",
	"logger.missed_metrics_count",
	"logger.metrics_fails",
	"logger.missed_log_count",
	"logger.rate_limited_log_count",
	"mmds.rx_accepted",
	"mmds.rx_accepted_err",
	"mmds.rx_accepted_unusual",
	"mmds.rx_bad_eth",
	"mmds.rx_invalid_token",
	"mmds.rx_no_token",
	"mmds.rx_count",
	"mmds.tx_bytes",
	"mmds.tx_count",
	"mmds.tx_errors",
	"mmds.tx_frames",
	"mmds.connections_created",
	"mmds.connections_destroyed",
	"patch_api_requests.drive_count",
	"patch_api_requests.drive_fails",
	"patch_api_requests.network_count",
	"patch_api_requests.network_fails",
	"patch_api_requests.machine_cfg_count",
	"patch_api_requests.machine_cfg_fails",
	"patch_api_requests.mmds_count",
	"patch_api_requests.mmds_fails",
	"patch_api_requests.hotplug_memory_count",
	"patch_api_requests.hotplug_memory_fails",
	"patch_api_requests.pmem_count",
	"patch_api_requests.pmem_fails",
	"put_api_requests.actions_count",
	"put_api_requests.actions_fails",
	"put_api_requests.boot_source_count",
	"put_api_requests.boot_source_fails",
	"put_api_requests.drive_count",
	"put_api_requests.drive_fails",
	"put_api_requests.logger_count",
	"put_api_requests.logger_fails",
	"put_api_requests.machine_cfg_count",
	"put_api_requests.machine_cfg_fails",
	"put_api_requests.cpu_cfg_count",
	"put_api_requests.cpu_cfg_fails",
	"put_api_requests.metrics_count",
	"put_api_requests.metrics_fails",
	"put_api_requests.network_count",
	"put_api_requests.network_fails",
	"put_api_requests.mmds_count",
	"put_api_requests.mmds_fails",
	"put_api_requests.vsock_count",
	"put_api_requests.vsock_fails",
	"put_api_requests.pmem_count",
	"put_api_requests.pmem_fails",
	"put_api_requests.serial_count",
	"put_api_requests.serial_fails",
	"put_api_requests.hotplug_memory_count",
	"put_api_requests.hotplug_memory_fails",
	"seccomp.num_faults",
	"vcpu.exit_io_in",
	"vcpu.exit_io_out",
	"vcpu.exit_mmio_read",
	"vcpu.exit_mmio_write",
	"vcpu.failures",
	"vcpu.kvmclock_ctrl_fails",
	"vcpu.exit_io_in_agg.min_us",
	"vcpu.exit_io_in_agg.max_us",
	"vcpu.exit_io_in_agg.sum_us",
	"vcpu.exit_io_out_agg.min_us",
	"vcpu.exit_io_out_agg.max_us",
	"vcpu.exit_io_out_agg.sum_us",
	"vcpu.exit_mmio_read_agg.min_us",
	"vcpu.exit_mmio_read_agg.max_us",
	"vcpu.exit_mmio_read_agg.sum_us",
	"vcpu.exit_mmio_write_agg.min_us",
	"vcpu.exit_mmio_write_agg.max_us",
	"vcpu.exit_mmio_write_agg.sum_us",
	"vmm.panic_count",
	"uart.error_count",
	"uart.flush_count",
	"uart.missed_read_count",
	"uart.missed_write_count",
	"uart.read_count",
	"uart.write_count",
	"uart.rate_limiter_dropped_bytes",
	"signals.sigbus",
	"signals.sigsegv",
	"signals.sigxfsz",
	"signals.sigxcpu",
	"signals.sigpipe",
	"signals.sighup",
	"signals.sigill",
	"vsock.activate_fails",
	"vsock.cfg_fails",
	"vsock.rx_queue_event_fails",
	"vsock.tx_queue_event_fails",
	"vsock.ev_queue_event_fails",
	"vsock.muxer_event_fails",
	"vsock.conn_event_fails",
	"vsock.rx_queue_event_count",
	"vsock.tx_queue_event_count",
	"vsock.rx_bytes_count",
	"vsock.tx_bytes_count",
	"vsock.rx_packets_count",
	"vsock.tx_packets_count",
	"vsock.conns_added",
	"vsock.conns_killed",
	"vsock.conns_removed",
	"vsock.killq_resync",
	"vsock.tx_flush_fails",
	"vsock.tx_write_fails",
	"vsock.rx_read_fails",
	"entropy.activate_fails",
	"entropy.entropy_event_fails",
	"entropy.entropy_event_count",
	"entropy.entropy_bytes",
	"entropy.host_rng_fails",
	"entropy.entropy_rate_limiter_throttled",
	"entropy.rate_limiter_event_count",
	"interrupts.triggers",
	"interrupts.config_updates",
	"pmem.activate_fails",
	"pmem.cfg_fails",
	"pmem.event_fails",
	"pmem.queue_event_count",
	"pmem.rate_limiter_throttled_events",
	"pmem.rate_limiter_event_count",
	"memory_hotplug.activate_fails",
	"memory_hotplug.queue_event_fails",
	"memory_hotplug.queue_event_count",
	"memory_hotplug.plug_agg.min_us",
	"memory_hotplug.plug_agg.max_us",
	"memory_hotplug.plug_agg.sum_us",
	"memory_hotplug.plug_count",
	"memory_hotplug.plug_bytes",
	"memory_hotplug.plug_fails",
	"memory_hotplug.unplug_agg.min_us",
	"memory_hotplug.unplug_agg.max_us",
	"memory_hotplug.unplug_agg.sum_us",
	"memory_hotplug.unplug_count",
	"memory_hotplug.unplug_bytes",
	"memory_hotplug.unplug_fails",
	"memory_hotplug.unplug_discard_fails",
	"memory_hotplug.unplug_all_agg.min_us",
	"memory_hotplug.unplug_all_agg.max_us",
	"memory_hotplug.unplug_all_agg.sum_us",
	"memory_hotplug.unplug_all_count",
	"memory_hotplug.unplug_all_fails",
	"memory_hotplug.state_agg.min_us",
	"memory_hotplug.state_agg.max_us",
	"memory_hotplug.state_agg.sum_us",
	"memory_hotplug.state_count",
	"memory_hotplug.state_fails",
};

static const char *const block_schema[] = {
	"activate_fails",
	"cfg_fails",
	"no_avail_buffer",
	"event_fails",
	"execute_fails",
	"invalid_reqs_count",
	"flush_count",
	"queue_event_count",
	"rate_limiter_event_count",
	"update_count",
	"update_fails",
	"read_bytes",
	"write_bytes",
	"read_count",
	"write_count",
	"rate_limiter_throttled_events",
	"io_engine_throttled_events",
	"remaining_reqs_count",
	"read_agg.min_us",
	"read_agg.max_us",
	"read_agg.sum_us",
	"write_agg.min_us",
	"write_agg.max_us",
	"write_agg.sum_us",
};

static const char *const net_schema[] = {
	"activate_fails",
	"cfg_fails",
	"mac_address_updates",
	"no_rx_avail_buffer",
	"no_tx_avail_buffer",
	"event_fails",
	"rx_queue_event_count",
	"rx_event_rate_limiter_count",
	"rx_rate_limiter_throttled",
	"rx_tap_event_count",
	"rx_bytes_count",
	"rx_packets_count",
	"rx_fails",
	"rx_count",
	"tap_read_fails",
	"tap_write_fails",
	"tx_bytes_count",
	"tx_malformed_frames",
	"tx_fails",
	"tx_count",
	"tx_packets_count",
	"tx_queue_event_count",
	"tx_rate_limiter_event_count",
	"tx_rate_limiter_throttled",
	"tx_spoofed_mac_count",
	"tx_remaining_reqs_count",
	"tap_write_agg.min_us",
	"tap_write_agg.max_us",
	"tap_write_agg.sum_us",
};

/* ---- a folder with a file or FIFO to flush to ---- */

static struct {
	char folder[32];
	char path[64];
	struct metrics_block block[2];
	struct metrics_net net;
} rig;

static int set_up(void **state)
{
	(void)state;
	memset(&rig, 0, sizeof(rig));
	strcpy(rig.folder, "/tmp/metrics.XXXXXX");
	assert_non_null(mkdtemp(rig.folder));
	snprintf(rig.path, sizeof(rig.path), "%s/out", rig.folder);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	metrics_close();
	metrics_remove(&rig.block[0]);
	metrics_remove(&rig.block[1]);
	metrics_remove(&rig.net);
	memset(&metrics, 0, sizeof(metrics));
	unlink(rig.path);
	rmdir(rig.folder);
	return 0;
}

static void open_out(void)
{
	struct err err = { 0 };

	if (metrics_open(rig.path, NULL, NULL, 0, &err) != 0)
		fail_msg("%s", err.text);
}

static void add_devices(void)
{
	assert_int_equal(metrics_add_block("rootfs", &rig.block[0], NULL), 0);
	assert_int_equal(metrics_add_net("eth0", &rig.net, NULL), 0);
	assert_int_equal(metrics_add_block("data", &rig.block[1], NULL), 0);
}

/* What is in the file, or in the FIFO now. */
static char *read_out(void)
{
	cleanup_close int fd = open(rig.path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	static char text[256 * KIB];
	size_t len = 0;
	ssize_t n;

	assert_true(fd >= 0);
	while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return text;
}

/* The last of \p n_lines lines, parsed. */
static json_t *last_line(unsigned int n_lines)
{
	char *line = read_out();
	char *end = strchr(line, '\n');
	json_t *json;

	for (unsigned int i = 1; i < n_lines && end != NULL; i++) {
		line = end + 1;
		end = strchr(line, '\n');
	}
	if (end == NULL || end[1] != '\0')
		fail_msg("there are not %u lines", n_lines);
	json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	return json;
}

/* "vcpu.exit_mmio_read_agg.min_us" */
static const json_t *find(const json_t *json, const char *path)
{
	char part[64];
	size_t len = strcspn(path, ".");

	memcpy(part, path, len);
	part[len] = '\0';
	json = json_object_get(json, part);
	return path[len] == '.' && json != NULL ? find(json, path + len + 1) : json;
}

static uint64_t number(const json_t *json, const char *path)
{
	const json_t *value = find(json, path);

	if (!json_is_integer(value))
		fail_msg("%s is no number", path);
	return (uint64_t)json_integer_value(value);
}

static size_t count_numbers(const json_t *json)
{
	const char *key;
	json_t *value;
	size_t n = 0;

	json_object_foreach((json_t *)(uintptr_t)json, key, value) n +=
		json_is_object(value) ? count_numbers(value) : 1;
	return n;
}

static void check_keys(const json_t *json, const char *const *keys, size_t n)
{
	assert_non_null(json);
	for (size_t i = 0; i < n; i++)
		(void)number(json, keys[i]);
	assert_int_equal(count_numbers(json), n);
}

static uint64_t flush_and_get(unsigned int n_lines, const char *path)
{
	json_t *json;
	uint64_t value;

	assert_int_equal(metrics_flush(NULL), 0);
	json = last_line(n_lines);
	value = number(json, path);
	json_decref(json);
	return value;
}

/* ---- the schema ---- */

static void check_line(const json_t *json, bool has_devices)
{
	const json_t *blocks[] = { find(json, "block"), find(json, "block_rootfs"),
				   find(json, "block_data") };
	const json_t *nets[] = { find(json, "net"), find(json, "net_eth0") };
	size_t n_blocks = has_devices ? ARRAY_SIZE(blocks) : 1;
	size_t n_nets = has_devices ? ARRAY_SIZE(nets) : 1;

	for (size_t i = 0; i < ARRAY_SIZE(schema); i++)
		(void)number(json, schema[i]);
	for (size_t i = 0; i < n_blocks; i++)
		check_keys(blocks[i], block_schema, ARRAY_SIZE(block_schema));
	for (size_t i = 0; i < n_nets; i++)
		check_keys(nets[i], net_schema, ARRAY_SIZE(net_schema));
	assert_int_equal(count_numbers(json), 1 + ARRAY_SIZE(schema) +
						      n_blocks * ARRAY_SIZE(block_schema) +
						      n_nets * ARRAY_SIZE(net_schema));
}

static void all_keys_and_no_other(void **state)
{
	uint64_t before_ms = (uint64_t)time(NULL) * 1000;
	json_t *json;

	(void)state;
	open_out();
	assert_int_equal(metrics_flush(NULL), 0);
	json = last_line(1);
	check_line(json, false);
	assert_in_range(number(json, "utc_timestamp_ms"), before_ms, before_ms + 600 * 1000);
	json_decref(json);
	add_devices();
	assert_int_equal(metrics_flush(NULL), 0);
	json = last_line(2);
	check_line(json, true);
	json_decref(json);
}

/* Each word of the structure has its own value, so that a key that reads another's is found. */
static void each_key_is_its_own(void **state)
{
	_Atomic uint64_t *words = (_Atomic uint64_t *)(void *)&metrics;
	const size_t n = sizeof(metrics) / sizeof(uint64_t);
	json_t *json;

	(void)state;
	assert_int_equal(n, ARRAY_SIZE(schema));
	for (size_t i = 0; i < n; i++)
		words[i] = 1000 + i;
	open_out();
	assert_int_equal(metrics_flush(NULL), 0);
	json = last_line(1);
#define CHECK(group, key)                                                                          \
	assert_int_equal(number(json, #group "." #key), metrics_get(&metrics.group.key))
	CHECK(api_server, process_startup_time_us);
	CHECK(balloon, free_page_hint_fails);
	CHECK(put_api_requests, hotplug_memory_fails);
	CHECK(vcpu, failures);
	CHECK(vcpu, exit_mmio_write_agg.sum_us);
	CHECK(signals, sigill);
	CHECK(uart, rate_limiter_dropped_bytes);
	CHECK(memory_hotplug, state_agg.min_us);
	CHECK(memory_hotplug, state_fails);
#undef CHECK
	json_decref(json);
}

static void kinds_are_known(void **state)
{
	(void)state;
	assert_int_equal(metrics_kind_of("vcpu", "failures"), METRICS_COUNTER);
	assert_int_equal(metrics_kind_of("vcpu", "exit_mmio_read_agg"), METRICS_TIMED);
	assert_int_equal(metrics_kind_of("signals", "sigbus"), METRICS_STORED);
	assert_int_equal(metrics_kind_of("signals", "sigpipe"), METRICS_COUNTER);
	assert_int_equal(metrics_kind_of("block", "remaining_reqs_count"), METRICS_COUNTER);
	assert_int_equal(metrics_kind_of("net", "tap_write_agg"), METRICS_TIMED);
	assert_int_equal(metrics_kind_of("net", "no_such"), METRICS_NONE);
	assert_int_equal(metrics_kind_of("none", "failures"), METRICS_NONE);
}

static void id_and_properties(void **state)
{
	static const struct metrics_property properties[] = {
		{ "owner", "a \"quoted\" \\ name" },
		{ "line", "one\ntwo" },
	};
	struct err err = { 0 };
	json_t *json;

	(void)state;
	assert_int_equal(metrics_open(rig.path, "my-id", properties, 2, &err), 0);
	assert_int_equal(metrics_flush(NULL), 0);
	json = last_line(1);
	assert_string_equal(json_string_value(find(json, "id")), "my-id");
	assert_string_equal(json_string_value(find(json, "properties.owner")), properties[0].value);
	assert_string_equal(json_string_value(find(json, "properties.line")), properties[1].value);
	assert_int_equal(json_object_size(find(json, "properties")), 2);
	json_decref(json);
	assert_int_equal(metrics_open(rig.path, NULL, NULL, 0, &err), -EALREADY);
	assert_string_equal(err.text, "Reinitialization of metrics not allowed.");
}

/* As many devices as there can be, each number as long as can be: it is still one line. */
static void the_longest_line_fits(void **state)
{
	enum { N_BLOCKS = 12, N_NETS = 8 };
	static struct metrics_block blocks[N_BLOCKS];
	static struct metrics_net nets[N_NETS];
	char id[65];

	(void)state;
	memset(&metrics, 0xff, sizeof(metrics));
	memset(blocks, 0xff, sizeof(blocks));
	memset(nets, 0xff, sizeof(nets));
	for (int i = 0; i < N_BLOCKS; i++) {
		snprintf(id, sizeof(id), "%064d", i);
		assert_int_equal(metrics_add_block(id, &blocks[i], NULL), 0);
	}
	for (int i = 0; i < N_NETS; i++) {
		snprintf(id, sizeof(id), "%064d", i);
		assert_int_equal(metrics_add_net(id, &nets[i], NULL), 0);
	}
	open_out();
	assert_int_equal(metrics_flush(NULL), 0);
	assert_non_null(strchr(read_out(), '\n'));
	for (int i = 0; i < N_BLOCKS; i++)
		metrics_remove(&blocks[i]);
	for (int i = 0; i < N_NETS; i++)
		metrics_remove(&nets[i]);
	memset(&metrics, 0, sizeof(metrics));
}

/* ---- deltas, stores, sums ---- */

static void counters_are_deltas(void **state)
{
	(void)state;
	open_out();
	metrics_add(&metrics.vcpu.exit_mmio_read, 5);
	metrics_store(&metrics.latencies_us.pause_vm, 77);
	assert_int_equal(flush_and_get(1, "vcpu.exit_mmio_read"), 5);
	metrics_inc(&metrics.vcpu.exit_mmio_read);
	assert_int_equal(flush_and_get(2, "vcpu.exit_mmio_read"), 1);
	assert_int_equal(flush_and_get(3, "vcpu.exit_mmio_read"), 0);
	assert_int_equal(flush_and_get(4, "latencies_us.pause_vm"), 77);
}

static void times_are_shortest_longest_and_sum(void **state)
{
	struct metrics_times *times = &metrics.vcpu.exit_mmio_read_agg;
	uint64_t now = metrics_now_us();

	(void)state;
	open_out();
	metrics_add_time(times, now - 1000000);
	metrics_add_time(times, now - 3000000);
	assert_true(flush_and_get(1, "vcpu.exit_mmio_read_agg.min_us") >= 1000000);
	assert_true(metrics_get(&times->min_us) < metrics_get(&times->max_us));
	assert_true(flush_and_get(2, "vcpu.exit_mmio_read_agg.max_us") >= 3000000);
	/* Told by the first line. */
	assert_int_equal(flush_and_get(3, "vcpu.exit_mmio_read_agg.sum_us"), 0);
	assert_int_equal(metrics_get(&times->sum_us),
			 metrics_get(&times->min_us) + metrics_get(&times->max_us));
}

static void devices_add_up(void **state)
{
	json_t *json;

	(void)state;
	open_out();
	add_devices();
	metrics_add(&rig.block[0].read_bytes, 4096);
	metrics_add(&rig.block[1].read_bytes, 512);
	metrics_add_time(&rig.block[0].read_agg, metrics_now_us() - 1000);
	metrics_add(&rig.net.tx_bytes_count, 60);
	assert_int_equal(metrics_flush(NULL), 0);
	json = last_line(1);
	assert_int_equal(number(json, "block_rootfs.read_bytes"), 4096);
	assert_int_equal(number(json, "block_data.read_bytes"), 512);
	assert_int_equal(number(json, "block.read_bytes"), 4608);
	assert_true(number(json, "block_rootfs.read_agg.min_us") >= 1000);
	assert_int_equal(number(json, "block.read_agg.sum_us"),
			 number(json, "block_rootfs.read_agg.sum_us"));
	/* As Firecracker: of shortest times there is no sum. */
	assert_int_equal(number(json, "block.read_agg.min_us"), 0);
	assert_int_equal(number(json, "net.tx_bytes_count"), 60);
	json_decref(json);
	assert_int_equal(flush_and_get(2, "block.read_bytes"), 0);
}

static void totals_reset_nothing(void **state)
{
	char *text;
	json_t *json;

	(void)state;
	open_out();
	add_devices();
	metrics_add(&metrics.vcpu.exit_mmio_read, 5);
	metrics_add(&rig.block[1].write_bytes, 512);
	assert_int_equal(metrics_flush(NULL), 0);
	metrics_inc(&metrics.vcpu.exit_mmio_read);
	for (int i = 0; i < 2; i++) {
		text = metrics_to_json();
		assert_non_null(text);
		json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
		free(text);
		assert_non_null(json);
		check_line(json, true);
		assert_int_equal(number(json, "vcpu.exit_mmio_read"), 6);
		assert_int_equal(number(json, "block_data.write_bytes"), 512);
		assert_int_equal(number(json, "block.write_bytes"), 512);
		json_decref(json);
	}
	assert_int_equal(flush_and_get(2, "vcpu.exit_mmio_read"), 1);
}

/* ---- where there is no room ---- */

static void nowhere_is_no_error(void **state)
{
	(void)state;
	assert_int_equal(metrics_flush(NULL), 0);
	assert_int_equal(metrics_start(NULL, NULL), 0);
	metrics_flush_in_signal();
	metrics_close();
	assert_int_equal(metrics.logger.missed_metrics_count, 0);
}

static void what_cannot_be_written_to_is_refused(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(metrics_open(rig.folder, NULL, NULL, 0, &err), -EINVAL);
	assert_non_null(strstr(err.text, "is a directory, not a file or FIFO"));
	assert_int_equal(metrics_open("/tmp/no/such", NULL, NULL, 0, &err), -ENOENT);
	open_out(); /* it was not opened before */
}

static void a_fifo_without_a_reader(void **state)
{
	json_t *json;

	(void)state;
	assert_int_equal(mkfifo(rig.path, 0600), 0);
	open_out();
	metrics_add(&metrics.vcpu.failures, 3);
	assert_int_equal(metrics_flush(NULL), 0);
	json = last_line(1);
	assert_int_equal(number(json, "vcpu.failures"), 3);
	json_decref(json);
}

/* Nobody reads until it is full. Then the counts wait, and each line that a reader gets is whole.
 */
static void a_full_fifo_and_a_late_reader(void **state)
{
	static char all[256 * KIB];
	struct err err = { 0 };
	uint64_t n_counted = 0;
	uint64_t n_told = 0;
	uint64_t n_missed = 0;
	char *end;

	(void)state;
	assert_int_equal(mkfifo(rig.path, 0600), 0);
	open_out();
	do {
		metrics_inc(&metrics.vcpu.failures);
		assert_true(++n_counted < 10000);
	} while (metrics_flush(&err) == 0);
	assert_string_equal(err.text, "Failed to write metrics: Resource temporarily unavailable");
	strcpy(all, read_out());
	/* The rest of the line that was cut, and one with what is new since then. */
	assert_int_equal(metrics_flush(NULL), 0);
	strcat(all, read_out());
	for (char *line = all; (end = strchr(line, '\n')) != NULL; line = end + 1) {
		json_t *json = json_loadb(line, (size_t)(end - line), 0, NULL);

		assert_non_null(json);
		n_told += number(json, "vcpu.failures");
		n_missed += number(json, "logger.missed_metrics_count");
		json_decref(json);
	}
	assert_int_equal(n_told, n_counted);
	assert_int_equal(n_missed, 1);
}

static void a_file_is_added_to_and_may_go(void **state)
{
	(void)state;
	open_out();
	assert_int_equal(metrics_flush(NULL), 0);
	metrics_close();
	open_out();
	assert_int_equal(metrics_flush(NULL), 0);
	json_decref(last_line(3)); /* closing wrote one too */
	assert_int_equal(unlink(rig.path), 0);
	assert_int_equal(metrics_flush(NULL), 0);
	assert_int_equal(access(rig.path, F_OK), -1);
}

static void a_full_disk(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(metrics_open("/dev/full", NULL, NULL, 0, &err), 0);
	metrics_inc(&metrics.vcpu.failures);
	assert_int_equal(metrics_flush(&err), -ENOSPC);
	assert_string_equal(err.text, "Failed to write metrics: No space left on device");
	assert_int_equal(metrics_get(&metrics.logger.missed_metrics_count), 1);
}

static void limit_files(uint64_t bytes)
{
	const struct rlimit limit = { .rlim_cur = bytes, .rlim_max = RLIM_INFINITY };

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* As on a disk that is full in the middle of a line. */
static void a_line_in_two_parts(void **state)
{
	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	open_out();
	metrics_add(&metrics.vcpu.failures, 2);
	limit_files(1000);
	assert_int_equal(metrics_flush(NULL), 0);
	metrics_add(&metrics.vcpu.failures, 3);
	assert_int_equal(metrics_flush(NULL), -EFBIG);
	assert_int_equal(strlen(read_out()), 1000);
	limit_files(RLIM_INFINITY);
	assert_int_equal(flush_and_get(2, "vcpu.failures"), 3);
	*strchr(read_out(), '\n') = '\0';
	assert_non_null(strstr(read_out(), "\"failures\":2,"));
	signal(SIGXFSZ, SIG_DFL);
}

/* ---- the loop, signals, threads ---- */

static void the_start_flushes(void **state)
{
	struct event_base *base = event_base_new();

	(void)state;
	assert_non_null(base);
	open_out();
	assert_int_equal(metrics_start(base, NULL), 0);
	json_decref(last_line(1));
	assert_int_equal(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 1);
	metrics_close();
	assert_int_equal(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
	json_decref(last_line(2));
	event_base_free(base);
}

/* The rest of a line that found no room is not left for the next minute. */
static void the_rest_of_a_line_follows(void **state)
{
	struct event_base *base = event_base_new();
	const char *text;

	(void)state;
	assert_int_equal(mkfifo(rig.path, 0600), 0);
	open_out();
	assert_int_equal(metrics_start(base, NULL), 0);
	while (metrics_flush(NULL) == 0)
		;
	text = read_out();
	assert_int_not_equal(text[strlen(text) - 1], '\n');
	event_base_loop(base, EVLOOP_ONCE);
	text = read_out();
	assert_int_equal(strlen(text), strcspn(text, "\n") + 1);
	metrics_close();
	event_base_free(base);
}

static void on_signal(int signo)
{
	(void)signo;
	metrics_store(&metrics.signals.sigill, 1);
	metrics_flush_in_signal();
	_exit(7);
}

static void a_signal_flushes(void **state)
{
	json_t *json;
	int status;
	pid_t pid;

	(void)state;
	open_out();
	add_devices();
	metrics_add(&metrics.vcpu.failures, 2);
	assert_int_equal(metrics_flush(NULL), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGILL, on_signal);
		metrics_add(&metrics.vcpu.failures, 5);
		metrics_add(&rig.block[0].read_count, 9);
		raise(SIGILL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 7);
	json = last_line(2);
	check_line(json, true);
	assert_int_equal(number(json, "signals.sigill"), 1);
	assert_int_equal(number(json, "vcpu.failures"), 5);
	assert_int_equal(number(json, "block_rootfs.read_count"), 9);
	json_decref(json);
}

enum { N_THREADS = 4, N_COUNTS = 20000 };

static void *count(void *arg)
{
	(void)arg;
	for (int i = 0; i < N_COUNTS; i++) {
		metrics_inc(&metrics.interrupts.triggers);
		metrics_add_time(&metrics.vcpu.exit_mmio_write_agg, metrics_now_us());
	}
	return NULL;
}

static void threads_lose_nothing(void **state)
{
	pthread_t threads[N_THREADS];
	uint64_t n_told = 0;

	(void)state;
	open_out();
	for (int i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
	for (unsigned int i = 1; i <= 10; i++)
		n_told += flush_and_get(i, "interrupts.triggers");
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	n_told += flush_and_get(11, "interrupts.triggers");
	assert_int_equal(n_told, N_THREADS * N_COUNTS);
}

/* ---- text that signal handlers may make ---- */

static void text_is_put_together(void **state)
{
	char bytes[64];
	struct text text = { .bytes = bytes, .size = sizeof(bytes) };

	(void)state;
	text_add(&text, "a");
	text_add_number(&text, 0, 1);
	text_add_number(&text, 7, 3);
	text_add_number(&text, UINT64_MAX, 1);
	text_add_json(&text, "\"\\\x1f"
			     "b");
	assert_false(text.is_cut);
	assert_int_equal(text.len, strlen("a000718446744073709551615\"\\\"\\\\\\u001fb\""));
	assert_memory_equal(bytes, "a000718446744073709551615\"\\\"\\\\\\u001fb\"", text.len);
	text.size = text.len + 1;
	text_add(&text, "xy");
	assert_true(text.is_cut);
	assert_int_equal(text.len, text.size);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(all_keys_and_no_other),
		TEST(each_key_is_its_own),
		TEST(kinds_are_known),
		TEST(id_and_properties),
		TEST(the_longest_line_fits),
		TEST(counters_are_deltas),
		TEST(times_are_shortest_longest_and_sum),
		TEST(devices_add_up),
		TEST(totals_reset_nothing),
		TEST(nowhere_is_no_error),
		TEST(what_cannot_be_written_to_is_refused),
		TEST(a_fifo_without_a_reader),
		TEST(a_full_fifo_and_a_late_reader),
		TEST(a_file_is_added_to_and_may_go),
		TEST(a_full_disk),
		TEST(a_line_in_two_parts),
		TEST(the_start_flushes),
		TEST(the_rest_of_a_line_follows),
		TEST(a_signal_flushes),
		TEST(threads_lose_nothing),
		TEST(text_is_put_together),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
