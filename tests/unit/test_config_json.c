/* Bodies of the API and the configuration file: what is read, what is refused and how, and that
 * what is written can be read again. */
#include "config/config_json.h"

#include "bodies.h"
#include "test.h"
#include "util/bits.h"
#include "util/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- parts, all in the same way ---- */

/* A body is put into a configuration that has a kernel and the network "eth0". */
struct case_row {
	enum kind kind;
	const char *body;
	const char *said; /* NULL: it is right */
};

/* \param text with ' where JSON has " */
static json_t *parse(const char *text)
{
	json_t *object = NULL;
	struct err err = { 0 };
	cleanup_free char *copy = strdup(text);

	for (char *at = copy; *at != '\0'; at++)
		*at = *at == '\'' ? '"' : *at;
	if (json_parse_object(copy, strlen(copy), NULL, &object, &err) != 0)
		fail_msg("%s: %s", text, err.text);
	return object;
}

static int put_text(struct vm_config *config, enum kind kind, const char *text,
		    struct json_notes *notes, struct err *err)
{
	json_t *body = parse(text);
	int ret = put_body(config, kind, body, notes, err);

	json_decref(body);
	return ret;
}

static void init(struct vm_config *config)
{
	struct json_notes notes = { 0 };
	struct err err;

	vm_config_init_api(config);
	assert_int_equal(put_text(config, BOOT, "{'kernel_image_path': 'Image'}", &notes, &err), 0);
	assert_int_equal(put_text(config, NET,
				  "{'iface_id': 'eth0', 'host_dev_name': 'tap0',"
				  " 'guest_mac': '02:00:00:00:00:01'}",
				  &notes, &err),
			 0);
}

/* What it writes is what a second one writes that has read it. */
static void assert_round_trip(const struct vm_config *config)
{
	json_t *first = vm_config_to_json(config);
	struct json_notes notes = { 0 };
	struct vm_config again;
	struct err err = { 0 };
	json_t *second;

	assert_non_null(first);
	vm_config_init_api(&again);
	if (vm_config_load(&again, first, &notes, &err) != 0)
		fail_msg("%s", err.text);
	second = vm_config_to_json(&again);
	assert_true(json_equal(first, second));
	json_decref(first);
	json_decref(second);
	vm_config_deinit(&again);
}

static void try_row(const struct case_row *row)
{
	struct vm_config config;
	struct json_notes notes = { 0 };
	struct err err = { 0 };
	json_t *before;
	json_t *after;
	int ret;

	init(&config);
	before = vm_config_to_json(&config);
	ret = put_text(&config, row->kind, row->body, &notes, &err);
	after = vm_config_to_json(&config);
	if (row->said == NULL && ret != 0)
		fail_msg("%s: %s", row->body, err.text);
	if (row->said != NULL && (ret != -EINVAL || strstr(err.text, row->said) == NULL))
		fail_msg("%s: %d, '%s' does not say '%s'", row->body, ret, err.text, row->said);
	/* Refused, nothing has changed. */
	if (ret != 0)
		assert_true(json_equal(before, after));
	assert_round_trip(&config);
	json_decref(before);
	json_decref(after);
	vm_config_deinit(&config);
}

/* clang-format off */
static const struct case_row good_rows[] = {
	{ BOOT, "{'kernel_image_path': 'k', 'initrd_path': 'i', 'boot_args': 'console=ttyS0'}", NULL },
	{ BOOT, "{'kernel_image_path': 'k', 'initrd_path': null, 'boot_args': null}", NULL },
	{ BOOT, "{'kernel_image_path': 'k', 'boot_args': ''}", NULL },
	{ BOOT, "{'kernel_image_path': '\\u00e4 \\u20ac \\ud83d\\ude00'}", NULL },
	{ MACHINE, "{'vcpu_count': 2, 'mem_size_mib': 256}", NULL },
	{ MACHINE, "{'vcpu_count': 1, 'mem_size_mib': 16}", NULL },
	{ MACHINE, "{'vcpu_count': 32, 'mem_size_mib': 1048576}", NULL },
	{ MACHINE, "{'vcpu_count': 2, 'mem_size_mib': 256, 'smt': true, 'track_dirty_pages': true, 'huge_pages': '2M', 'cpu_template': 'None'}", NULL },
	{ MACHINE, "{'vcpu_count': 3, 'mem_size_mib': 256, 'smt': true, 'huge_pages': 'Transparent'}", NULL },
	{ MACHINE, "{'vcpu_count': 2, 'mem_size_mib': 256, 'smt': null, 'track_dirty_pages': null, 'huge_pages': null, 'cpu_template': null}", NULL },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': false}", NULL },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': true, 'partuuid': '0eaa91a0-01'}", NULL },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': true, 'is_read_only': true, 'cache_type': 'Writeback', 'io_engine': 'Async'}", NULL },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': false, 'cache_type': 'Unsafe', 'io_engine': 'Sync', 'socket': null, 'partuuid': null, 'is_read_only': null}", NULL },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': false, 'rate_limiter': null}", NULL },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': false, 'rate_limiter': {}}", NULL },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': false, 'rate_limiter': {'bandwidth': null, 'ops': null}}", NULL },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': false, 'rate_limiter': {'bandwidth': {'size': 1, 'refill_time': 2}, 'ops': {'size': 1, 'refill_time': 2, 'one_time_burst': 3}}}", NULL },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': false, 'rate_limiter': {'ops': {'size': 0, 'refill_time': 0}}}", NULL },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': false, 'rate_limiter': {'ops': {'size': 9223372036854775807, 'refill_time': 9223372036854775807, 'one_time_burst': 9223372036854775807}}}", NULL },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': false, 'rate_limiter': {'ops': {'size': 1, 'refill_time': 2, 'other': 1, 'one_time_burst': null}}}", NULL },
	{ DISK, "{'drive_id': 'A_b-9', 'path_on_host': 'p', 'is_root_device': false}", NULL },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap1'}", NULL },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap1', 'guest_mac': 'AA:fc:00:00:00:01', 'mtu': 68}", NULL },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap1', 'mtu': 65535, 'guest_mac': null}", NULL },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap1', 'rx_rate_limiter': {}, 'tx_rate_limiter': {}}", NULL },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap1', 'rx_rate_limiter': {'bandwidth': {'size': 1, 'refill_time': 2}}, 'tx_rate_limiter': {'ops': {'size': 1, 'refill_time': 2}}}", NULL },
	{ NET, "{'iface_id': 'e1', 'user': true}", NULL },
	{ NET, "{'iface_id': 'e1', 'user': true, 'reaches_host': true}", NULL },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap1', 'reaches_host': false}", NULL },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap1', 'user': false}", NULL },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap1', 'vhost': true, 'rx_rate_limiter': {}}", NULL },
	{ NET, "{'iface_id': 'e1', 'user': true, 'vhost': false}", NULL },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': null, 'user': true}", NULL },
	{ NET, "{'iface_id': 'eth0', 'host_dev_name': 'tap0'}", NULL },
	{ VSOCK, "{'guest_cid': 3, 'uds_path': 'v'}", NULL },
	{ VSOCK, "{'guest_cid': 4294967294, 'uds_path': 'v', 'vsock_id': 'x'}", NULL },
	{ BALLOON, "{'amount_mib': 1, 'deflate_on_oom': true}", NULL },
	{ BALLOON, "{'amount_mib': 128, 'deflate_on_oom': true, 'stats_polling_interval_s': 65535, 'free_page_hinting': true, 'free_page_reporting': true}", NULL },
	{ BALLOON, "{'amount_mib': 1, 'deflate_on_oom': false, 'stats_polling_interval_s': null}", NULL },
	{ RNG, "{}", NULL },
	{ RNG, "{'rate_limiter': null}", NULL },
	{ RNG, "{'rate_limiter': {'bandwidth': {'size': 1, 'refill_time': 2}}}", NULL },
	{ SERIAL, "{}", NULL },
	{ SERIAL, "{'serial_out_path': 'o'}", NULL },
	{ SERIAL, "{'serial_out_path': 'o', 'rate_limiter': {'size': 1, 'refill_time': 2}}", NULL },
	{ LOGGER, "{}", NULL },
	{ LOGGER, "{'log_path': 'l', 'level': 'wArNiNg', 'show_level': true, 'show_log_origin': true, 'module': 'api'}", NULL },
	{ LOGGER, "{'level': 'Off'}", NULL },
	{ LOGGER, "{'level': 'trace'}", NULL },
	{ LOGGER, "{'level': 'DEBUG'}", NULL },
	{ LOGGER, "{'level': 'Error'}", NULL },
	{ METRICS, "{'metrics_path': 'm'}", NULL },
	{ METRICS, "{'metrics_path': 'm', 'emit_id': true, 'properties': {'a': 'b', 'c': ''}, 'other': [1]}", NULL },
	{ METRICS, "{'metrics_path': 'm', 'properties': {}}", NULL },
	{ MMDS, "{'network_interfaces': ['eth0']}", NULL },
	{ MMDS, "{'network_interfaces': ['eth0'], 'version': 'V1', 'ipv4_address': '169.254.1.0'}", NULL },
	{ MMDS, "{'network_interfaces': ['eth0'], 'version': 'V2', 'ipv4_address': '169.254.254.255', 'imds_compat': true}", NULL },
	{ MMDS, "{'network_interfaces': ['eth0', 'eth0']}", NULL },
	{ CPU, "{}", NULL },
	{ CPU, "{'kvm_capabilities': [], 'cpuid_modifiers': [], 'msr_modifiers': [], 'vcpu_features': [], 'reg_modifiers': []}", NULL },
	{ CPU, "{'kvm_capabilities': ['0', '!0', '171', '!171', '2147483647', '!2147483647']}", NULL },
	{ CPU, "{'reg_modifiers': [{'addr': '0x8030000003000008', 'bitmap': '0b1x0_1'}]}", NULL },
	{ CPU, "{'reg_modifiers': [{'addr': '9236460013051576328', 'bitmap': '0b1'}, {'addr': '0b1000000000100000000000000000000000000000000000000000000000000000', 'bitmap': '0bxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'}]}", NULL },
	{ CPU, "{'reg_modifiers': [{'addr': '0x8030000003000008', 'bitmap': '0b1111111111111111111111111111111111111111111111111111111111111111'}]}", NULL },
	{ CPU, "{'isa_extensions_off': ['v', 'zicbom'], 'sbi_extensions_off': ['pmu']}", NULL },
};

static const struct case_row bad_rows[] = {
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap1', 'vhost': 1}", "vhost: invalid type: integer `1`, expected a boolean" },
	{ NET, "{'iface_id': 'e1', 'user': true, 'vhost': true}", "net 'e1': vhost needs a tap" },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap1', 'vhost': true, 'tx_rate_limiter': {'ops': {'size': 1, 'refill_time': 2}}}", "net 'e1': with vhost there are no rate limits" },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap1', 'reaches_host': true}", "net 'e1': to reach the host's loopback it has to be 'user'" },
	{ BOOT, "{}", "missing field `kernel_image_path`" },
	{ BOOT, "{'kernel_image_path': null}", "kernel_image_path: invalid type: null, expected a string" },
	{ BOOT, "{'kernel_image_path': 1}", "kernel_image_path: invalid type: integer `1`, expected a string" },
	{ BOOT, "{'kernel_image_path': ''}", "no kernel is given" },
	{ BOOT, "{'kernel_image_path': 'k', 'initrd_path': ''}", "the name of the initrd is empty" },
	{ BOOT, "{'kernel_image_path': 'k', 'x': 1}", "unknown field `x`, expected one of `kernel_image_path`, `initrd_path`, `boot_args`" },
	{ BOOT, "{'kernel_image_path': 'k', 'x': null}", "unknown field `x`, expected " },
	{ BOOT, "{'kernel_image_path': 'k', 'boot_args': 'a\\nb'}", "control character (0x0a)" },
	{ MACHINE, "{}", "missing field `vcpu_count`" },
	{ MACHINE, "{'vcpu_count': 1}", "missing field `mem_size_mib`" },
	{ MACHINE, "{'vcpu_count': 'a', 'mem_size_mib': 256}", "vcpu_count: invalid type: string \"a\", expected u8" },
	{ MACHINE, "{'vcpu_count': 0, 'mem_size_mib': 256}", "0 vCPUs are asked for, 1 to 32 can be had" },
	{ MACHINE, "{'vcpu_count': 33, 'mem_size_mib': 256}", "33 vCPUs" },
	{ MACHINE, "{'vcpu_count': 256, 'mem_size_mib': 256}", "vcpu_count: invalid value: integer `256`, expected u8" },
	{ MACHINE, "{'vcpu_count': -1, 'mem_size_mib': 256}", "invalid value: integer `-1`, expected u8" },
	{ MACHINE, "{'vcpu_count': 1.5, 'mem_size_mib': 256}", "invalid type: floating point `1.5`, expected u8" },
	{ MACHINE, "{'vcpu_count': null, 'mem_size_mib': 256}", "invalid type: null, expected u8" },
	{ MACHINE, "{'vcpu_count': 2, 'mem_size_mib': 0}", "0 MiB of memory are too little, 16 MiB at least" },
	{ MACHINE, "{'vcpu_count': 2, 'mem_size_mib': 17}", "17 MiB of memory are not a multiple of 2 MiB" },
	{ MACHINE, "{'vcpu_count': 2, 'mem_size_mib': 9223372036854775807}", "too much" },
	{ MACHINE, "{'vcpu_count': 2, 'mem_size_mib': 17592186044416}", "too much" },
	{ MACHINE, "{'vcpu_count': 2, 'mem_size_mib': 256, 'smt': 'yes'}", "smt: invalid type: string \"yes\", expected a boolean" },
	{ MACHINE, "{'vcpu_count': 2, 'mem_size_mib': 256, 'huge_pages': '1G'}", "unknown variant `1G`, expected one of `None`, `Transparent`, `2M`" },
	{ MACHINE, "{'vcpu_count': 2, 'mem_size_mib': 256, 'huge_pages': 2}", "huge_pages: invalid type: integer `2`, expected a string" },
	{ MACHINE, "{'vcpu_count': 2, 'mem_size_mib': 256, 'cpu_template': 'T2'}", "`T2` is for x86 hosts" },
	{ MACHINE, "{'vcpu_count': 2, 'mem_size_mib': 256, 'cpu_template': 'V1N1'}", "`V1N1` is for ARM hosts" },
	{ MACHINE, "{'vcpu_count': 2, 'mem_size_mib': 256, 'cpu_template': 'Z'}", "unknown variant `Z`, expected one of `C3`, `T2`" },
	{ MACHINE, "{'vcpu_count': 2, 'mem_size_mib': 256, 'ht_enabled': true}", "unknown field `ht_enabled`, expected one of `vcpu_count`" },
	{ DISK, "{'path_on_host': 'p', 'is_root_device': false}", "missing field `drive_id`" },
	{ DISK, "{'drive_id': 'r', 'is_root_device': false}", "missing field `path_on_host`" },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p'}", "missing field `is_root_device`" },
	{ DISK, "{'drive_id': 'r', 'is_root_device': false, 'socket': 's'}", "socket: vhost-user disks are not supported" },
	{ DISK, "{'drive_id': '', 'path_on_host': 'p', 'is_root_device': false}", "has 0 characters" },
	{ DISK, "{'drive_id': 'a b', 'path_on_host': 'p', 'is_root_device': false}", "other characters than letters" },
	{ DISK, "{'drive_id': '\\u00e4', 'path_on_host': 'p', 'is_root_device': false}", "other characters than letters" },
	{ DISK, "{'drive_id': 'r', 'path_on_host': '', 'is_root_device': false}", "disk 'r': no file is given" },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': false, 'partuuid': 'x y'}", "other characters than hexadecimal" },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': false, 'cache_type': 'unsafe'}", "cache_type: unknown variant `unsafe`, expected `Unsafe` or `Writeback`" },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': false, 'io_engine': 'io_uring'}", "unknown variant `io_uring`, expected `Sync` or `Async`" },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': false, 'rate_limiter': []}", "rate_limiter: invalid type: sequence, expected an object" },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': false, 'rate_limiter': {'iops': {'size': 1, 'refill_time': 2}}}", "rate_limiter: unknown field `iops`, expected `bandwidth` or `ops`" },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': false, 'rate_limiter': {'ops': {}}}", "rate_limiter: ops: missing field `size`" },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': false, 'rate_limiter': {'ops': {'size': 1}}}", "missing field `refill_time`" },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': false, 'rate_limiter': {'ops': {'size': -1, 'refill_time': 1}}}", "ops: size: invalid value: integer `-1`, expected u64" },
	{ DISK, "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': false, 'rate_limiter': {'ops': {'size': '1', 'refill_time': 1}}}", "size: invalid type: string \"1\", expected u64" },
	{ NET, "{'host_dev_name': 'tap1'}", "missing field `iface_id`" },
	{ NET, "{'iface_id': 'e1'}", "missing field `host_dev_name`" },
	{ NET, "{'iface_id': 'e1', 'user': false}", "missing field `host_dev_name`" },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap1', 'user': true}", "`host_dev_name` and `user` exclude each other" },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'sixteen-letters-'}", "cannot be the name of an interface" },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap0'}", "both are on tap 'tap0'" },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap1', 'guest_mac': '02:00:00:00:00:01'}", "The MAC address is already in use: 02:00:00:00:00:01" },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap1', 'guest_mac': 'zz'}", "guest_mac: 'zz' is not a MAC address" },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap1', 'mtu': 67}", "an MTU of 67 is too little, 68 at least" },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap1', 'mtu': 0}", "mtu: invalid value: integer `0`" },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap1', 'mtu': 65536}", "mtu: invalid value: integer `65536`, expected u16" },
	{ NET, "{'iface_id': 'e1', 'host_dev_name': 'tap1', 'allow_mmds_requests': true}", "unknown field `allow_mmds_requests`" },
	{ VSOCK, "{'uds_path': 'v'}", "missing field `guest_cid`" },
	{ VSOCK, "{'guest_cid': 3}", "missing field `uds_path`" },
	{ VSOCK, "{'guest_cid': 2, 'uds_path': 'v'}", "2 is none" },
	{ VSOCK, "{'guest_cid': 4294967295, 'uds_path': 'v'}", "4294967295 is none" },
	{ VSOCK, "{'guest_cid': 4294967296, 'uds_path': 'v'}", "integer `4294967296`, expected u32" },
	{ VSOCK, "{'guest_cid': 3, 'uds_path': ''}", "no path of a socket" },
	{ VSOCK, "{'guest_cid': 3, 'uds_path': 'vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv'}", "has 97 bytes, 96 at most" },
	{ VSOCK, "{'guest_cid': 3, 'uds_path': 'v', 'vsock_id': 1}", "vsock_id: invalid type" },
	{ BALLOON, "{'deflate_on_oom': true}", "missing field `amount_mib`" },
	{ BALLOON, "{'amount_mib': 1}", "missing field `deflate_on_oom`" },
	{ BALLOON, "{'amount_mib': 129, 'deflate_on_oom': true}", "129 MiB are more than the guest's 128 MiB" },
	{ BALLOON, "{'amount_mib': 4294967296, 'deflate_on_oom': true}", "expected u32" },
	{ BALLOON, "{'amount_mib': 1, 'deflate_on_oom': true, 'stats_polling_interval_s': 65536}", "expected u16" },
	{ BALLOON, "{'amount_mib': 1, 'deflate_on_oom': true, 'must_tell_host': true}", "unknown field `must_tell_host`" },
	{ RNG, "{'x': 1}", "unknown field `x`, expected `rate_limiter`" },
	{ RNG, "{'rate_limiter': 1}", "rate_limiter: invalid type: integer `1`, expected an object" },
	{ SERIAL, "{'x': 1}", "unknown field `x`, expected `serial_out_path` or `rate_limiter`" },
	{ SERIAL, "{'serial_out_path': ''}", "the path of the serial console's output is empty" },
	{ SERIAL, "{'rate_limiter': {'bandwidth': {'size': 1, 'refill_time': 2}}}", "rate_limiter: missing field `size`" },
	{ LOGGER, "{'level': 'Loud'}", "level: unknown variant `Loud`, expected one of `Off`, `Trace`, `Debug`" },
	{ LOGGER, "{'level': 0}", "level: invalid type" },
	{ LOGGER, "{'log_path': ''}", "the path of the log is empty" },
	{ LOGGER, "{'log_fifo': 'f'}", "unknown field `log_fifo`" },
	{ METRICS, "{}", "missing field `metrics_path`" },
	{ METRICS, "{'metrics_path': ''}", "the path of the metrics is empty" },
	{ METRICS, "{'metrics_path': 'm', 'properties': []}", "properties: invalid type: sequence, expected a map" },
	{ METRICS, "{'metrics_path': 'm', 'properties': {'a': 1}}", "properties: a: invalid type: integer `1`, expected a string" },
	{ METRICS, "{'metrics_path': 'm', 'properties': {'0': '', '1': '', '2': '', '3': '', '4': '', '5': '', '6': '', '7': '', '8': '', '9': '', '10': '', '11': '', '12': '', '13': '', '14': '', '15': '', '16': ''}}", "properties: more than 16" },
	{ MMDS, "{}", "missing field `network_interfaces`" },
	{ MMDS, "{'network_interfaces': null}", "network_interfaces: invalid type: null, expected a sequence" },
	{ MMDS, "{'network_interfaces': []}", "is empty" },
	{ MMDS, "{'network_interfaces': ['eth1']}", "no network interface 'eth1'" },
	{ MMDS, "{'network_interfaces': [1]}", "invalid type: integer `1`, expected a string" },
	{ MMDS, "{'network_interfaces': ['eth0', 'eth0', 'eth0', 'eth0', 'eth0', 'eth0', 'eth0', 'eth0', 'eth0']}", "9 ids are too many, 8 at most" },
	{ MMDS, "{'network_interfaces': ['eth0'], 'version': 'V3'}", "unknown variant `V3`, expected `V1` or `V2`" },
	{ MMDS, "{'network_interfaces': ['eth0'], 'ipv4_address': '10.0.0.1'}", "not link local" },
	{ MMDS, "{'network_interfaces': ['eth0'], 'ipv4_address': '169.254.0.1'}", "not link local" },
	{ MMDS, "{'network_interfaces': ['eth0'], 'ipv4_address': '169.254.255.1'}", "not link local" },
	{ MMDS, "{'network_interfaces': ['eth0'], 'ipv4_address': ''}", "invalid IPv4 address syntax" },
	{ MMDS, "{'network_interfaces': ['eth0'], 'ipv4_address': '169.254.1'}", "invalid IPv4 address syntax" },
	{ MMDS, "{'network_interfaces': ['eth0'], 'ipv4_address': '169.254.1.1.'}", "invalid IPv4 address syntax" },
	{ MMDS, "{'network_interfaces': ['eth0'], 'ipv4_address': '169.254.1.1 '}", "invalid IPv4 address syntax" },
	{ MMDS, "{'network_interfaces': ['eth0'], 'ipv4_address': ' 169.254.1.1'}", "invalid IPv4 address syntax" },
	{ MMDS, "{'network_interfaces': ['eth0'], 'ipv4_address': '169.254.1.256'}", "invalid IPv4 address syntax" },
	{ MMDS, "{'network_interfaces': ['eth0'], 'ipv4_address': '169.254.1.+1'}", "invalid IPv4 address syntax" },
	{ MMDS, "{'network_interfaces': ['eth0'], 'ipv4_address': '169.254.001.1'}", "invalid IPv4 address syntax" },
	{ MMDS, "{'network_interfaces': ['eth0'], 'ipv4_address': '169.254..1'}", "invalid IPv4 address syntax" },
	{ MMDS, "{'network_interfaces': ['eth0'], 'ipv4_address': '169.254.1.-1'}", "invalid IPv4 address syntax" },
	{ MMDS, "{'network_interfaces': ['eth0'], 'ipv4_address': 'x'}", "invalid IPv4 address syntax" },
	{ CPU, "{'cpuid_modifiers': [{}]}", "cpuid_modifiers: these are of x86 processors" },
	{ CPU, "{'msr_modifiers': [{}]}", "msr_modifiers: these are of x86 processors" },
	{ CPU, "{'vcpu_features': [{}]}", "vcpu_features: these are of ARM processors" },
	{ CPU, "{'vcpu_features': {}}", "invalid type: map, expected a sequence" },
	{ CPU, "{'x': 1}", "unknown field `x`, expected one of `kvm_capabilities`" },
	{ CPU, "{'kvm_capabilities': [1]}", "kvm_capabilities: 0: invalid type: integer `1`, expected a string" },
	{ CPU, "{'kvm_capabilities': ['1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1']}", "33 are too many, 32 at most" },
	{ CPU, "{'kvm_capabilities': ['1', '']}", "kvm_capabilities: 1: '' is not a number of a KVM capability" },
	{ CPU, "{'kvm_capabilities': ['1', '!']}", "kvm_capabilities: 1: '!' is not a number of a KVM capability" },
	{ CPU, "{'kvm_capabilities': ['1', '!!1']}", "kvm_capabilities: 1: '!!1' is not a number of a KVM capability" },
	{ CPU, "{'kvm_capabilities': ['1', '-1']}", "kvm_capabilities: 1: '-1' is not a number of a KVM capability" },
	{ CPU, "{'kvm_capabilities': ['1', '2147483648']}", "kvm_capabilities: 1: '2147483648' is not a number of a KVM capability" },
	{ CPU, "{'kvm_capabilities': ['1', ' 1']}", "kvm_capabilities: 1: ' 1' is not a number of a KVM capability" },
	{ CPU, "{'kvm_capabilities': ['1', '1x']}", "kvm_capabilities: 1: '1x' is not a number of a KVM capability" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x8030000003000008'}]}", "reg_modifiers: 0: missing field `bitmap`" },
	{ CPU, "{'reg_modifiers': [{'bitmap': '0b1'}]}", "missing field `addr`" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x6030000003000008', 'bitmap': '0b1'}]}", "0x6030000003000008 is not a register of a RISC-V vCPU" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x8040000003000008', 'bitmap': '0b1'}]}", "is wider than 64 bits" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x8020000003000008', 'bitmap': '0b1xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'}]}", "is wider than its 32 bits" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x8030000003000008', 'bitmap': '0b1'}, {'addr': '0x8030000003000008', 'bitmap': '0b1'}]}", "is named twice" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x8030000003000008', 'bitmap': '0b11111111111111111111111111111111111111111111111111111111111111111'}]}", "more than 64 bits" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x8030000003000008', 'bitmap': '0b_'}]}", "has no bits" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x8030000003000008', 'bitmap': '0b'}]}", "has no bits" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x8030000003000008', 'bitmap': ''}]}", "'' is not a bitmap" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x8030000003000008', 'bitmap': '1'}]}", "'1' is not a bitmap" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x8030000003000008', 'bitmap': '0x1'}]}", "'0x1' is not a bitmap" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x8030000003000008', 'bitmap': '0b2'}]}", "'0b2' is not a bitmap" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x8030000003000008', 'bitmap': '0b1 '}]}", "'0b1 ' is not a bitmap" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x8030000003000008', 'bitmap': '0b1X'}]}", "'0b1X' is not a bitmap" },
	{ CPU, "{'reg_modifiers': [{'addr': '', 'bitmap': '0b1'}]}", "'' is not a number of 64 bits" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x', 'bitmap': '0b1'}]}", "'0x' is not a number of 64 bits" },
	{ CPU, "{'reg_modifiers': [{'addr': '0b', 'bitmap': '0b1'}]}", "'0b' is not a number of 64 bits" },
	{ CPU, "{'reg_modifiers': [{'addr': '-1', 'bitmap': '0b1'}]}", "'-1' is not a number of 64 bits" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x1g', 'bitmap': '0b1'}]}", "'0x1g' is not a number of 64 bits" },
	{ CPU, "{'reg_modifiers': [{'addr': '0b2', 'bitmap': '0b1'}]}", "'0b2' is not a number of 64 bits" },
	{ CPU, "{'reg_modifiers': [{'addr': '1a', 'bitmap': '0b1'}]}", "'1a' is not a number of 64 bits" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x10000000000000000', 'bitmap': '0b1'}]}", "'0x10000000000000000' is not a number of 64 bits" },
	{ CPU, "{'reg_modifiers': [{'addr': '18446744073709551616', 'bitmap': '0b1'}]}", "'18446744073709551616' is not a number of 64 bits" },
	{ CPU, "{'reg_modifiers': [{'addr': ' 1', 'bitmap': '0b1'}]}", "' 1' is not a number of 64 bits" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x-1', 'bitmap': '0b1'}]}", "'0x-1' is not a number of 64 bits" },
	{ CPU, "{'reg_modifiers': [{'addr': '0x 1', 'bitmap': '0b1'}]}", "'0x 1' is not a number of 64 bits" },
	{ CPU, "{'isa_extensions_off': ['v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v', 'v']}", "65 are too many, 64 at most" },
	{ CPU, "{'isa_extensions_off': ['V']}", "'V' cannot be the name of an ISA extension" },
	{ CPU, "{'isa_extensions_off': ['']}", "'' cannot be the name of an ISA extension" },
	{ CPU, "{'isa_extensions_off': ['zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz']}", "32 at most" },
	{ CPU, "{'sbi_extensions_off': ['p m']}", "'p m' cannot be the name of an SBI extension" },
	{ CPU, "{'sbi_extensions_off': 'pmu'}", "invalid type: string \"pmu\", expected a sequence" },
};
/* clang-format on */

static void bodies(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good_rows); i++)
		try_row(&good_rows[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad_rows); i++)
		try_row(&bad_rows[i]);
}

/* ---- what a body has become ---- */

static void values(void **state)
{
	static const struct case_row rows[] = {
		{ MACHINE, "{'vcpu_count': 2, 'mem_size_mib': 256, 'smt': true}", NULL },
		{ DISK,
		  "{'drive_id': 'r', 'path_on_host': 'p', 'is_root_device': true,"
		  " 'is_read_only': true, 'cache_type': 'Writeback', 'io_engine': "
		  "'Async',"
		  " 'rate_limiter': {'bandwidth': {'size': 1, 'refill_time': 2,"
		  " 'one_time_burst': 3}, 'ops': {'size': 4, 'refill_time': 0}}}",
		  NULL },
		{ NET, "{'iface_id': 'u', 'user': true, 'mtu': 1400}", NULL },
		{ MMDS, "{'network_interfaces': ['u', 'eth0'], 'ipv4_address': '169.254.2.3'}",
		  NULL },
		{ CPU,
		  "{'kvm_capabilities': ['7', '!9'], 'isa_extensions_off': ['v'],"
		  " 'reg_modifiers': [{'addr': '0x8020000003000008',"
		  " 'bitmap': '0b1_0x'}]}",
		  NULL },
		{ LOGGER, "{'level': 'Warning'}", NULL },
		{ METRICS, "{'metrics_path': 'm', 'properties': {'a': 'b'}}", NULL },
	};
	struct vm_config config;
	struct json_notes notes = { 0 };
	struct err err = { 0 };

	(void)state;
	init(&config);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(put_text(&config, rows[i].kind, rows[i].body, &notes, &err), 0);
	assert_int_equal(config.vcpu_count, 2);
	assert_int_equal(config.mem_bytes, 256 * MIB);
	assert_true(config.smt);
	assert_string_equal(config.disks[0].id, "r");
	assert_string_equal(config.disks[0].path, "p");
	assert_true(config.disks[0].is_root && config.disks[0].is_read_only);
	assert_int_equal(config.disks[0].cache, BLK_CACHE_WRITEBACK);
	assert_int_equal(config.disks[0].engine, DISK_ENGINE_IO_URING);
	assert_int_equal(config.disks[0].limits.bandwidth.size, 1);
	assert_int_equal(config.disks[0].limits.bandwidth.refill_ms, 2);
	assert_int_equal(config.disks[0].limits.bandwidth.one_time_burst, 3);
	assert_int_equal(config.disks[0].limits.ops.size, 0);
	assert_int_equal(config.nets[1].kind, CONFIG_NET_USER);
	assert_int_equal(config.nets[1].mtu, 1400);
	assert_int_equal(config.mmds.version, 1);
	assert_int_equal(config.mmds.ipv4, 0xa9fe0203);
	assert_string_equal(config.mmds.nets[1], "eth0");
	assert_int_equal(config.cpu.capabilities[0], 7);
	assert_int_equal(config.cpu.capabilities[1], -10);
	assert_string_equal(config.cpu.isa_off[0], "v");
	assert_int_equal(config.cpu.regs[0].mask, 6);
	assert_int_equal(config.cpu.regs[0].value, 4);
	assert_int_equal(config.logger.level, LOG_WARN);
	assert_true(config.logger.has_level);
	assert_string_equal(config.metrics.properties[0].value, "b");
	assert_round_trip(&config);
	vm_config_deinit(&config);
}

static void deprecated_things_are_noted(void **state)
{
	static const struct {
		enum kind kind;
		const char *body;
		bool is_deprecated;
	} rows[] = {
		{ VSOCK, "{'guest_cid': 3, 'uds_path': 'v'}", false },
		{ VSOCK, "{'guest_cid': 3, 'uds_path': 'v', 'vsock_id': null}", false },
		{ VSOCK, "{'guest_cid': 3, 'uds_path': 'v', 'vsock_id': 'v'}", true },
		{ MACHINE, "{'vcpu_count': 1, 'mem_size_mib': 16}", false },
		{ MACHINE, "{'vcpu_count': 1, 'mem_size_mib': 16, 'cpu_template': 'None'}", true },
		{ MMDS, "{'network_interfaces': ['eth0'], 'version': 'V2'}", false },
		{ MMDS, "{'network_interfaces': ['eth0'], 'version': 'V1'}", true },
		{ MMDS, "{'network_interfaces': ['eth0']}", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct json_notes notes = { 0 };
		struct vm_config config;
		struct err err = { 0 };

		init(&config);
		assert_int_equal(put_text(&config, rows[i].kind, rows[i].body, &notes, &err), 0);
		assert_int_equal(notes.is_deprecated, rows[i].is_deprecated);
		vm_config_deinit(&config);
	}
}

/* ---- the order of disks ---- */

static int put_disk(struct vm_config *config, const char *id, bool is_root, struct err *err)
{
	struct config_disk disk = {
		.id = strdup(id),
		.path = strdup(id),
		.is_root = is_root,
	};

	return vm_config_put_disk(config, &disk, err);
}

static void assert_order(const struct vm_config *config, const char *ids)
{
	assert_int_equal(config->n_disks, strlen(ids));
	for (unsigned int i = 0; i < config->n_disks; i++)
		assert_int_equal(config->disks[i].id[0], ids[i]);
}

static void disks_in_order(void **state)
{
	struct vm_config config;
	struct err err = { 0 };
	char id[2] = "e";

	(void)state;
	vm_config_init_api(&config);
	assert_int_equal(put_disk(&config, "a", false, &err), 0);
	assert_int_equal(put_disk(&config, "b", false, &err), 0);
	assert_int_equal(put_disk(&config, "c", true, &err), 0);
	assert_order(&config, "cab");
	assert_int_equal(put_disk(&config, "d", false, &err), 0);
	assert_int_equal(put_disk(&config, "a", false, &err), 0);
	assert_order(&config, "cabd");
	assert_int_equal(put_disk(&config, "a", true, &err), -EINVAL);
	assert_non_null(strstr(err.text, "A root block device already exists!"));
	assert_order(&config, "cabd");
	/* The root may be put again, or become another kind of disk. */
	assert_int_equal(put_disk(&config, "c", true, &err), 0);
	assert_int_equal(put_disk(&config, "c", false, &err), 0);
	assert_int_equal(put_disk(&config, "b", true, &err), 0);
	assert_order(&config, "bcad");
	for (; config.n_disks < CONFIG_DISKS_MAX; id[0]++)
		assert_int_equal(put_disk(&config, id, false, &err), 0);
	assert_int_equal(put_disk(&config, "z", false, &err), -EINVAL);
	assert_string_equal(err.text, "more than 12 disks");
	assert_int_equal(put_disk(&config, "a", false, &err), 0);
	vm_config_deinit(&config);
}

static void networks_in_order(void **state)
{
	struct vm_config config;
	struct err err = { 0 };

	(void)state;
	vm_config_init_api(&config);
	for (char id[2] = "a"; id[0] < 'a' + CONFIG_NETS_MAX + 1; id[0]++) {
		struct config_net net = { .kind = CONFIG_NET_USER, .id = strdup(id) };
		bool is_last = config.n_nets == CONFIG_NETS_MAX;

		assert_int_equal(vm_config_put_net(&config, &net, &err), is_last ? -EINVAL : 0);
		/* Taken over in any case. */
		assert_null(net.id);
	}
	assert_string_equal(err.text, "more than 8 network interfaces");
	vm_config_deinit(&config);
}

/* What is there already is judged again when something beside it changes. */
static void parts_are_judged_together(void **state)
{
	struct vm_config config;
	struct json_notes notes = { 0 };
	struct err err = { 0 };

	(void)state;
	init(&config);
	assert_int_equal(put_text(&config, BALLOON, "{'amount_mib': 100, 'deflate_on_oom': true}",
				  &notes, &err),
			 0);
	assert_int_equal(
		put_text(&config, MACHINE, "{'vcpu_count': 1, 'mem_size_mib': 64}", &notes, &err),
		-EINVAL);
	assert_string_equal(err.text, "balloon: 100 MiB are more than the guest's 64 MiB");
	assert_int_equal(config.mem_bytes, 128 * MIB);
	vm_config_deinit(&config);
}

/* ---- the command line ---- */

static void command_lines(void **state)
{
	static const struct {
		const char *args; /* NULL: none are given */
		const char *drive;
		bool is_exact;
		const char *whole;
	} rows[] = {
		{ NULL, NULL, false,
		  "reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux "
		  "i8042.dumbkbd swiotlb=noforce pci=off" },
		{ "a", NULL, false, "a pci=off" },
		{ "", NULL, false, "pci=off" },
		{ "a", "", false, "a pci=off root=/dev/vda rw" },
		{ "a", ", 'is_read_only': true", false, "a pci=off root=/dev/vda ro" },
		{ "a", ", 'partuuid': '0eaa91a0-01'", false,
		  "a pci=off root=PARTUUID=0eaa91a0-01 rw" },
		/* What Firecracker adds wins, whatever was asked for. */
		{ "root=/dev/vdb", "", false, "root=/dev/vdb pci=off root=/dev/vda rw" },
		{ "root=/dev/vdb", "", true, "root=/dev/vdb" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vm_config config;
		struct json_notes notes = { 0 };
		struct err err = { 0 };
		char text[256];

		init(&config);
		config.has_exact_cmdline = rows[i].is_exact;
		if (rows[i].args != NULL) {
			snprintf(text, sizeof(text),
				 "{'kernel_image_path': 'k', 'boot_args': '%s'}", rows[i].args);
			assert_int_equal(put_text(&config, BOOT, text, &notes, &err), 0);
		}
		if (rows[i].drive != NULL) {
			snprintf(text, sizeof(text),
				 "{'drive_id': 'r', 'path_on_host': 'p',"
				 " 'is_root_device': true%s}",
				 rows[i].drive);
			assert_int_equal(put_text(&config, DISK, text, &notes, &err), 0);
		}
		/* Twice: once more changes nothing. */
		for (int again = 0; again < 2; again++) {
			assert_int_equal(vm_config_complete(&config, &err), 0);
			assert_string_equal(config.cmdline, rows[i].whole);
			if (rows[i].args == NULL)
				assert_null(config.boot_args);
			else
				assert_string_equal(config.boot_args, rows[i].args);
		}
		assert_round_trip(&config);
		vm_config_deinit(&config);
	}
}

static void long_command_lines(void **state)
{
	struct vm_config config;
	struct json_notes notes = { 0 };
	struct err err = { 0 };
	char text[1200];

	(void)state;
	for (int len = 1023; len <= 1024; len++) {
		init(&config);
		snprintf(text, sizeof(text), "{'kernel_image_path': 'k', 'boot_args': '%0*d'}", len,
			 1);
		assert_int_equal(put_text(&config, BOOT, text, &notes, &err),
				 len == 1024 ? -EINVAL : 0);
		/* There is no place for what is added then. */
		assert_int_equal(vm_config_complete(&config, &err), len == 1024 ? 0 : -EINVAL);
		assert_non_null(strstr(err.text, "Linux reads at most 1023"));
		vm_config_deinit(&config);
	}
}

/* A disk is not the root unless it says so. */
static void no_root_by_chance(void **state)
{
	struct vm_config config;
	struct err err = { 0 };

	(void)state;
	init(&config);
	assert_int_equal(put_disk(&config, "a", false, &err), 0);
	assert_int_equal(vm_config_complete(&config, &err), 0);
	assert_null(strstr(config.cmdline, "root="));
	assert_null(config_root_disk(&config));
	vm_config_deinit(&config);
}

/* ---- PATCH ---- */

static void patch_machine(void **state)
{
	static const struct {
		const char *body;
		int ret;
		const char *said;
	} rows[] = {
		{ "{'smt': true}", 0, NULL },
		{ "{'vcpu_count': 4}", 0, NULL },
		{ "{'mem_size_mib': 512, 'huge_pages': '2M'}", 0, NULL },
		{ "{'vcpu_count': null, 'smt': true}", -EINVAL, "invalid type: null" },
		{ "{}", -ENODATA, "Empty PATCH request." },
		{ "{'smt': null}", -ENODATA, "Empty PATCH request." },
		{ "{'vcpu_count': 7, 'mem_size_mib': 'a'}", -EINVAL, "expected u64" },
		{ "{'x': 1}", -EINVAL, "unknown field `x`" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct config_machine machine = { .vcpu_count = 2,
						  .mem_mib = 256,
						  .track_dirty_pages = true };
		struct json_notes notes = { 0 };
		struct err err = { 0 };
		json_t *body = parse(rows[i].body);

		assert_int_equal(machine_from_json(&machine, body, true, &notes, &err),
				 rows[i].ret);
		if (rows[i].said != NULL)
			assert_non_null(strstr(err.text, rows[i].said));
		assert_int_equal(machine.smt, i == 0);
		assert_int_equal(machine.vcpu_count, i == 1 ? 4 : 2);
		assert_int_equal(machine.mem_mib, i == 2 ? 512 : 256);
		assert_true(machine.track_dirty_pages);
		json_decref(body);
	}
}

/* A PUT has the defaults for what it does not say. */
static void put_machine_again(void **state)
{
	struct vm_config config;
	struct json_notes notes = { 0 };
	struct err err = { 0 };

	(void)state;
	init(&config);
	assert_int_equal(put_text(&config, MACHINE,
				  "{'vcpu_count': 2, 'mem_size_mib': 64, 'smt': true,"
				  " 'huge_pages': '2M', 'track_dirty_pages': true}",
				  &notes, &err),
			 0);
	assert_int_equal(
		put_text(&config, MACHINE, "{'vcpu_count': 1, 'mem_size_mib': 64}", &notes, &err),
		0);
	assert_false(config.smt);
	assert_false(config.track_dirty_pages);
	assert_int_equal(config.pages, CONFIG_PAGES_SMALL);
	vm_config_deinit(&config);
}

static void patch_devices(void **state)
{
	static const struct {
		const char *body;
		int ret;
		uint64_t bandwidth, ops;
		const char *path;
		const char *said;
	} rows[] = {
		{ "{'drive_id': 'a'}", 0, 10, 20, NULL, NULL },
		{ "{'drive_id': 'a', 'path_on_host': 'p'}", 0, 10, 20, "p", NULL },
		{ "{'drive_id': 'a', 'path_on_host': null, 'rate_limiter': null}", 0, 10, 20, NULL,
		  NULL },
		{ "{'drive_id': 'a', 'rate_limiter': {}}", 0, 10, 20, NULL, NULL },
		{ "{'drive_id': 'a', 'rate_limiter': {'ops': {'size': 0,"
		  " 'refill_time': 5}}}",
		  0, 10, 0, NULL, NULL },
		{ "{'drive_id': 'a', 'rate_limiter': {'ops': null, 'bandwidth':"
		  " {'size': 7, 'refill_time': 5}}}",
		  0, 7, 20, NULL, NULL },
		{ "{'drive_id': 'a', 'path_on_host': 'p', 'rate_limiter': {'bandwidth':"
		  " {'size': 7, 'refill_time': 5}, 'ops': {}}}",
		  -EINVAL, 10, 20, NULL, "rate_limiter: ops: missing field `size`" },
		{ "{}", -EINVAL, 10, 20, NULL, "missing field `drive_id`" },
		{ "{'drive_id': 'b', 'path_on_host': 'p'}", -ESRCH, 10, 20, NULL,
		  "The id from the path does not match the id from the body!" },
		{ "{'drive_id': 'a', 'is_read_only': true}", -EINVAL, 10, 20, NULL,
		  "unknown field `is_read_only`, expected one of `drive_id`, `path_on_host`, "
		  "`rate_limiter`" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct rate_limiter_config limits = { .bandwidth = { .size = 10, .refill_ms = 1 },
						      .ops = { .size = 20, .refill_ms = 1 } };
		struct err err = { 0 };
		json_t *body = parse(rows[i].body);
		char *path;

		assert_int_equal(disk_patch_from_json("a", &path, &limits, body, &err),
				 rows[i].ret);
		assert_int_equal(limits.bandwidth.size, rows[i].bandwidth);
		assert_int_equal(limits.ops.size, rows[i].ops);
		if (rows[i].path == NULL)
			assert_null(path);
		else
			assert_string_equal(path, rows[i].path);
		if (rows[i].said != NULL)
			assert_non_null(strstr(err.text, rows[i].said));
		free(path);
		json_decref(body);
	}
}

static void patch_nets(void **state)
{
	struct rate_limiter_config rx = { .ops = { .size = 20, .refill_ms = 1 } };
	struct rate_limiter_config tx = rx;
	struct err err = { 0 };
	json_t *body = parse("{'iface_id': 'a', 'tx_rate_limiter': {'ops': {'size': 1,"
			     " 'refill_time': 1}}}");

	(void)state;
	assert_int_equal(net_patch_from_json("b", &rx, &tx, body, &err), -ESRCH);
	assert_string_equal(err.text,
			    "The id from the path [b] does not match the id from the body [a]!");
	assert_int_equal(tx.ops.size, 20);
	assert_int_equal(net_patch_from_json("a", &rx, &tx, body, &err), 0);
	assert_int_equal(rx.ops.size, 20);
	assert_int_equal(tx.ops.size, 1);
	json_decref(body);
	body = parse("{'iface_id': 'a', 'host_dev_name': 't'}");
	assert_int_equal(net_patch_from_json("a", &rx, &tx, body, &err), -EINVAL);
	assert_non_null(strstr(err.text, "unknown field `host_dev_name`"));
	json_decref(body);
}

static void logger_keeps_what_is_not_said(void **state)
{
	struct config_logger logger = { .level = LOG_INFO };
	struct config_logger copy = { 0 };
	struct err err = { 0 };
	json_t *body = parse("{'log_path': 'l', 'level': 'Error', 'module': 'api'}");

	(void)state;
	assert_int_equal(logger_from_json(&logger, body, &err), 0);
	json_decref(body);
	body = parse("{'show_level': true, 'module': 'vm'}");
	assert_int_equal(logger_from_json(&logger, body, &err), 0);
	json_decref(body);
	body = parse("{'log_path': 'other', 'level': 'x'}");
	assert_int_equal(logger_from_json(&logger, body, &err), -EINVAL);
	json_decref(body);
	assert_int_equal(config_logger_dup(&copy, &logger, &err), 0);
	config_logger_deinit(&logger);
	assert_string_equal(copy.path, "l");
	assert_string_equal(copy.module, "vm");
	assert_int_equal(copy.level, LOG_ERROR);
	assert_true(copy.show_level);
	assert_false(copy.show_origin);
	config_logger_deinit(&copy);
}

static void bodies_of_one_field(void **state)
{
	static const char *const names[] = { "Paused", "Resumed" };
	struct err err = { 0 };
	json_t *number = parse("{'amount_mib': 70000}");
	json_t *name = parse("{'state': 'Resumed'}");
	json_t *none = parse("{}");
	uint64_t value = 0;
	unsigned int place = 0;
	bool acknowledge = false;

	(void)state;
	assert_int_equal(json_one_uint(number, "amount_mib", UINT32_MAX, &value, &err), 0);
	assert_int_equal(value, 70000);
	assert_int_equal(json_one_uint(number, "amount_mib", UINT16_MAX, &value, &err), -EINVAL);
	assert_string_equal(err.text, "amount_mib: invalid value: integer `70000`, expected u16");
	assert_int_equal(json_one_uint(number, "other", UINT32_MAX, &value, &err), -EINVAL);
	assert_string_equal(err.text, "unknown field `amount_mib`, expected `other`");
	assert_int_equal(json_one_uint(none, "other", UINT32_MAX, &value, &err), -EINVAL);
	assert_string_equal(err.text, "missing field `other`");
	assert_int_equal(json_one_name(name, "state", names, 2, &place, &err), 0);
	assert_int_equal(place, 1);
	assert_int_equal(json_one_name(name, "state", names, 1, &place, &err), -EINVAL);
	assert_string_equal(err.text, "state: unknown variant `Resumed`, expected `Paused`");
	assert_int_equal(hinting_from_json(&acknowledge, NULL, &err), 0);
	assert_true(acknowledge);
	acknowledge = false;
	assert_int_equal(hinting_from_json(&acknowledge, none, &err), 0);
	assert_true(acknowledge);
	assert_int_equal(hinting_from_json(&acknowledge, name, &err), -EINVAL);
	json_decref(number);
	json_decref(name);
	json_decref(none);
}

/* ---- texts ---- */

/* A03 of the hostile-input checklist. */
static void texts(void **state)
{
	static const struct {
		const char *text;
		size_t len; /* 0: up to the NUL */
		const char *said;
	} rows[] = {
		{ "{}", 0, NULL },
		{ " {\"a\": -0} ", 0, NULL },
		{ "{\"a\": 9223372036854775807}", 0, NULL },
		{ "{\"a\": \"\\ud83d\\ude00\"}", 0, NULL },
		{ "", 0, "at line 1 column 0" },
		{ "{", 0, "at line 1 column 1" },
		{ "{}x", 0, "end of file expected" },
		{ "{}{}", 0, "end of file expected" },
		{ "{}\0", 3, "end of file expected" },
		{ "{\"a\": \"\0\"}", 11, "control character" },
		{ "{\"a\": \"\\u0000\"}", 0, "\\u0000" },
		{ "{\"\\u0000\": 1}", 0, "NUL byte in object key" },
		{ "{\"a\": 1, \"a\": 1}", 0, "duplicate object key" },
		{ "{\"a\": {\"b\": 1, \"b\": 2}}", 0, "duplicate object key" },
		{ "{\"a\": 1e400}", 0, "real number overflow" },
		{ "{\"a\": 9223372036854775808}", 0, "too big integer" },
		{ "{\"a\": 18446744073709551616}", 0, "too big integer" },
		{ "{\"a\": -9223372036854775809}", 0, "too big negative integer" },
		{ "{\"a\": \"\\ud800\"}", 0, "invalid Unicode" },
		{ "{\"a\": \"\\udc00\"}", 0, "invalid Unicode" },
		{ "{\"a\": \"\xff\"}", 0, "unable to decode byte 0xff" },
		{ "{\"a\": \"\xc3\"}", 0, "unable to decode byte 0xc3" },
		{ "{\"a\": \"\xed\xa0\x80\"}", 0, "unable to decode byte 0xed" },
		{ "{\"a\": NaN}", 0, "invalid token" },
		{ "{\"a\": 01}", 0, "invalid token near '0'" },
		{ "{'a': 1}", 0, "at line 1" },
		{ "{\n\"a\": x}", 0, "at line 2 column 6" },
		{ "[]", 0, "invalid type: sequence, expected an object" },
		{ "null", 0, "at line 1" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		size_t len = rows[i].len != 0 ? rows[i].len : strlen(rows[i].text);
		json_t *object = NULL;
		struct err err = { 0 };
		int ret = json_parse_object(rows[i].text, len, NULL, &object, &err);

		if (ret != (rows[i].said == NULL ? 0 : -EINVAL))
			fail_msg("%s: %d %s", rows[i].text, ret, err.text);
		if (rows[i].said != NULL && strstr(err.text, rows[i].said) == NULL)
			fail_msg("%s: '%s' does not say '%s'", rows[i].text, err.text,
				 rows[i].said);
		json_decref(object);
	}
}

static void deep_and_long_texts(void **state)
{
	enum { DEPTH = 100000, LONG = 1 << 20 };
	char *text = malloc(LONG + 64);
	json_t *object = NULL;
	struct config_disk disk = { 0 };
	struct err err = { 0 };
	size_t len;

	(void)state;
	assert_non_null(text);
	memset(text, '[', DEPTH);
	assert_int_equal(json_parse_object(text, DEPTH, "deep", &object, &err), -EINVAL);
	assert_non_null(strstr(err.text, "deep: maximum parsing depth reached"));
	len = (size_t)snprintf(text, LONG, "{\"drive_id\": \"");
	memset(text + len, 'x', LONG);
	memcpy(text + len + LONG, "\"}", 3);
	assert_int_equal(json_parse_object(text, strlen(text), NULL, &object, &err), 0);
	assert_int_equal(disk_from_json(&disk, object, &err), -EINVAL);
	assert_string_equal(err.text, "missing field `is_root_device`");
	json_decref(object);
	/* Long names are shortened where they are shown. */
	len = (size_t)snprintf(text, LONG, "{\"");
	for (size_t i = 0; i < LONG; i += 2)
		memcpy(text + len + i, "\xc3\xa4", 2);
	memcpy(text + len + LONG, "\":1}", 5);
	assert_int_equal(json_parse_object(text, strlen(text), NULL, &object, &err), 0);
	assert_int_equal(disk_from_json(&disk, object, &err), -EINVAL);
	assert_true(strlen(err.text) < 300);
	assert_non_null(strstr(err.text, "\xc3\xa4`, expected one of `drive_id`"));
	json_decref(object);
	free(text);
}

/* ---- files ---- */

static int load_text(const char *text, struct err *err)
{
	struct vm_config config;
	struct json_notes notes = { 0 };
	json_t *object = parse(text);
	int ret;

	vm_config_init_api(&config);
	ret = vm_config_load(&config, object, &notes, err);
	if (ret == 0)
		assert_round_trip(&config);
	vm_config_deinit(&config);
	json_decref(object);
	return ret;
}

#define KERNEL "'boot-source': {'kernel_image_path': 'k'}"

static void files(void **state)
{
	static const struct {
		const char *text;
		const char *said;
	} rows[] = {
		{ "{" KERNEL ", 'drives': []}", NULL },
		{ "{" KERNEL ", 'drives': [], 'vsock': null, 'serial': 1, 'x': {}}", NULL },
		/* Its order means nothing. */
		{ "{'mmds-config': {'network_interfaces': ['e']},"
		  " 'balloon': {'amount_mib': 200, 'deflate_on_oom': false},"
		  " 'network-interfaces': [{'iface_id': 'e', 'host_dev_name': 't'}],"
		  " 'drives': [{'drive_id': 'a', 'path_on_host': 'p',"
		  " 'is_root_device': false}, {'drive_id': 'b', 'path_on_host': 'q',"
		  " 'is_root_device': true}],"
		  " 'machine-config': {'vcpu_count': 1, 'mem_size_mib': 256}, " KERNEL "}",
		  NULL },
		{ "{" KERNEL ", 'drives': [], 'pmem': [], 'memory-hotplug': null}", NULL },
		{ "{" KERNEL ", 'drives': [], 'televm': {'irqchip': 'plic',"
		  " 'console': 'off', 'copy_kernel': true, 'exact_cmdline': true,"
		  " 'boot_timer': true, 'serial': {'serial_out_path': 's'}}}",
		  NULL },
		{ "{" KERNEL ", 'drives': [], 'televm': {}}", NULL },
		{ "{}", "missing field `boot-source`" },
		{ "{" KERNEL "}", "missing field `drives`" },
		{ "{'boot-source': null, 'drives': []}",
		  "boot-source: invalid type: null, expected an object" },
		{ "{" KERNEL ", 'drives': {}}", "drives: invalid type: map, expected a sequence" },
		{ "{" KERNEL ", 'drives': [{'drive_id': 1}]}",
		  "drives: 0: drive_id: invalid type: integer `1`, expected a string" },
		{ "{" KERNEL ", 'drives': [], 'pmem': [{}]}",
		  "pmem: persistent memory is not supported" },
		{ "{" KERNEL ", 'drives': [], 'memory-hotplug': {}}",
		  "memory-hotplug: memory hotplug is not supported" },
		{ "{" KERNEL ", 'drives': [], 'cpu-config': '/'}",
		  "cpu-config: '/' is a directory, not a regular file" },
		{ "{" KERNEL ", 'drives': [], 'cpu-config': 1}",
		  "cpu-config: invalid type: integer `1`, expected an object" },
		{ "{" KERNEL ", 'drives': [], 'televm': {'x': 1}}",
		  "televm: unknown field `x`, expected one of `irqchip`" },
		{ "{" KERNEL ", 'drives': [], 'televm': {'irqchip': 'x'}}",
		  "televm: irqchip: the interrupt controller 'x' is not auto, plic or aia" },
		{ "{" KERNEL ", 'drives': [], 'televm': {'serial': {'x': 1}}}",
		  "televm: serial: unknown field `x`" },
		{ "{" KERNEL ", 'drives': [], 'logger': {'log_path': ''}}",
		  "logger: the path of the log is empty" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = { 0 };
		int ret = load_text(rows[i].text, &err);

		if (ret != (rows[i].said == NULL ? 0 : -EINVAL))
			fail_msg("%s: %d %s", rows[i].text, ret, err.text);
		if (rows[i].said != NULL)
			assert_ptr_equal(strstr(err.text, rows[i].said), err.text);
	}
}

static void write_file(const char *path, const char *text, size_t len)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static int load_file(const char *path, struct vm_config *config, struct err *err)
{
	struct json_notes notes = { 0 };

	vm_config_init_api(config);
	return vm_config_load_file(config, path, &notes, err);
}

static void real_files(void **state)
{
	char dir[] = "/tmp/test_config_json.XXXXXX";
	char path[64];
	char cpu[64];
	char text[256];
	char *big = calloc(1, (1 << 20) + 1);
	struct vm_config config;
	struct err err = { 0 };

	(void)state;
	assert_non_null(big);
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/config", dir);
	snprintf(cpu, sizeof(cpu), "%s/cpu", dir);
	assert_int_equal(load_file(path, &config, &err), -ENOENT);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(load_file(dir, &config, &err), -EINVAL);
	snprintf(text, sizeof(text),
		 "{\"boot-source\": {\"kernel_image_path\": \"k\"}, \"drives\": [],"
		 " \"cpu-config\": \"%s\"}",
		 cpu);
	write_file(path, text, strlen(text));
	assert_int_equal(load_file(path, &config, &err), -ENOENT);
	assert_non_null(strstr(err.text, "cpu-config: "));
	vm_config_deinit(&config);
	write_file(cpu, "{\"isa_extensions_off\": [\"v\"]}", 29);
	assert_int_equal(load_file(path, &config, &err), 0);
	assert_string_equal(config.kernel_path, "k");
	assert_string_equal(config.cpu.isa_off[0], "v");
	vm_config_deinit(&config);
	/* The file, the part, the field, the reason. */
	write_file(cpu, "{\"isa\": []}", 11);
	assert_int_equal(load_file(path, &config, &err), -EINVAL);
	snprintf(text, sizeof(text), "%s: cpu-config: %s: unknown field `isa`", path, cpu);
	assert_ptr_equal(strstr(err.text, text), err.text);
	vm_config_deinit(&config);
	write_file(path, "{\"boot-source\": {\"x\": 1}}", 25);
	assert_int_equal(load_file(path, &config, &err), -EINVAL);
	assert_ptr_equal(strstr(err.text, path), err.text);
	assert_non_null(strstr(err.text, ": boot-source: unknown field `x`"));
	write_file(path, "{\n\n", 3);
	assert_int_equal(load_file(path, &config, &err), -EINVAL);
	assert_ptr_equal(strstr(err.text, path), err.text);
	assert_non_null(strstr(err.text, "at line 3"));
	write_file(path, big, (1 << 20) + 1);
	assert_int_equal(load_file(path, &config, &err), -EINVAL);
	assert_non_null(strstr(err.text, "has 1048577 bytes, 1048576 at most"));
	free(big);
	unlink(path);
	unlink(cpu);
	rmdir(dir);
}

/* What is given back for a new configuration has just Firecracker's parts. */
static void what_is_given_back(void **state)
{
	static const char *const names[] = {
		"boot-source", "machine-config", "cpu-config",  "drives", "network-interfaces",
		"vsock",       "balloon",        "entropy",     "logger", "metrics",
		"pmem",        "memory-hotplug", "mmds-config",
	};
	struct vm_config config;
	json_t *object;

	(void)state;
	vm_config_init_api(&config);
	object = vm_config_to_json(&config);
	assert_int_equal(json_object_size(object), ARRAY_SIZE(names));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_non_null(json_object_get(object, names[i]));
	assert_true(json_is_null(json_object_get(object, "boot-source")));
	assert_true(json_is_array(json_object_get(object, "drives")));
	json_decref(object);
	object = machine_to_json(&config);
	assert_int_equal(json_integer_value(json_object_get(object, "vcpu_count")), 1);
	assert_int_equal(json_integer_value(json_object_get(object, "mem_size_mib")), 128);
	assert_int_equal(json_object_size(object), 5);
	json_decref(object);
	/* A name that is not UTF-8 comes from the command line only. */
	assert_int_equal(vm_config_set_string(&config.kernel_path, "a\xff", NULL), 0);
	object = vm_config_to_json(&config);
	assert_string_equal(json_string_value(json_object_get(
				    json_object_get(object, "boot-source"), "kernel_image_path")),
			    "a?");
	json_decref(object);
	vm_config_deinit(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bodies),
		cmocka_unit_test(values),
		cmocka_unit_test(deprecated_things_are_noted),
		cmocka_unit_test(disks_in_order),
		cmocka_unit_test(networks_in_order),
		cmocka_unit_test(parts_are_judged_together),
		cmocka_unit_test(command_lines),
		cmocka_unit_test(long_command_lines),
		cmocka_unit_test(no_root_by_chance),
		cmocka_unit_test(patch_machine),
		cmocka_unit_test(put_machine_again),
		cmocka_unit_test(patch_devices),
		cmocka_unit_test(patch_nets),
		cmocka_unit_test(logger_keeps_what_is_not_said),
		cmocka_unit_test(bodies_of_one_field),
		cmocka_unit_test(texts),
		cmocka_unit_test(deep_and_long_texts),
		cmocka_unit_test(files),
		cmocka_unit_test(real_files),
		cmocka_unit_test(what_is_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
