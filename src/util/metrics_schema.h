/*
 * Firecracker's schema of metrics: all its keys, and no other, since its clients refuse what they
 * do not know. Those of one group are the members of its structure, in this order (util/metrics.h).
 *
 * A list is a macro that calls, for each key, one of those it is given: COUNT for what is told as a
 * difference, STORE for what is told as it is, TIMES for a shortest, a longest and a sum of
 * microseconds.
 */
#pragma once

// clang-format off

#define METRICS_API_SERVER(COUNT, STORE, TIMES) \
	STORE(process_startup_time_us) \
	STORE(process_startup_time_cpu_us)

#define METRICS_BALLOON(COUNT, STORE, TIMES) \
	COUNT(activate_fails) \
	COUNT(inflate_count) \
	COUNT(stats_updates_count) \
	COUNT(stats_update_fails) \
	COUNT(deflate_count) \
	COUNT(event_fails) \
	COUNT(free_page_report_count) \
	COUNT(free_page_report_freed) \
	COUNT(free_page_report_fails) \
	COUNT(free_page_hint_count) \
	COUNT(free_page_hint_freed) \
	COUNT(free_page_hint_fails)

#define METRICS_BLOCK(COUNT, STORE, TIMES) \
	COUNT(activate_fails) \
	COUNT(cfg_fails) \
	COUNT(no_avail_buffer) \
	COUNT(event_fails) \
	COUNT(execute_fails) \
	COUNT(invalid_reqs_count) \
	COUNT(flush_count) \
	COUNT(queue_event_count) \
	COUNT(rate_limiter_event_count) \
	COUNT(update_count) \
	COUNT(update_fails) \
	COUNT(read_bytes) \
	COUNT(write_bytes) \
	COUNT(read_count) \
	COUNT(write_count) \
	TIMES(read_agg) \
	TIMES(write_agg) \
	COUNT(rate_limiter_throttled_events) \
	COUNT(io_engine_throttled_events) \
	COUNT(remaining_reqs_count)

#define METRICS_DEPRECATED_API(COUNT, STORE, TIMES) \
	COUNT(deprecated_http_api_calls)

#define METRICS_GET_API_REQUESTS(COUNT, STORE, TIMES) \
	COUNT(instance_info_count) \
	COUNT(machine_cfg_count) \
	COUNT(mmds_count) \
	COUNT(vmm_version_count) \
	COUNT(hotplug_memory_count)

#define METRICS_I8042(COUNT, STORE, TIMES) \
	COUNT(error_count) \
	COUNT(missed_read_count) \
	COUNT(missed_write_count) \
	COUNT(read_count) \
	COUNT(reset_count) \
	COUNT(write_count)

#define METRICS_UART(COUNT, STORE, TIMES) \
	COUNT(error_count) \
	COUNT(flush_count) \
	COUNT(missed_read_count) \
	COUNT(missed_write_count) \
	COUNT(read_count) \
	COUNT(write_count) \
	COUNT(rate_limiter_dropped_bytes)

#define METRICS_LATENCIES_US(COUNT, STORE, TIMES) \
	STORE(full_create_snapshot) \
	STORE(diff_create_snapshot) \
	STORE(load_snapshot) \
	STORE(pause_vm) \
	STORE(resume_vm) \
	STORE(vmm_full_create_snapshot) \
	STORE(vmm_diff_create_snapshot) \
	STORE(vmm_load_snapshot) \
	STORE(vmm_pause_vm) \
	STORE(vmm_resume_vm)

#define METRICS_LOGGER(COUNT, STORE, TIMES) \
	COUNT(missed_metrics_count) \
	COUNT(metrics_fails) \
	COUNT(missed_log_count) \
	COUNT(rate_limited_log_count)

#define METRICS_MMDS(COUNT, STORE, TIMES) \
	COUNT(rx_accepted) \
	COUNT(rx_accepted_err) \
	COUNT(rx_accepted_unusual) \
	COUNT(rx_bad_eth) \
	COUNT(rx_invalid_token) \
	COUNT(rx_no_token) \
	COUNT(rx_count) \
	COUNT(tx_bytes) \
	COUNT(tx_count) \
	COUNT(tx_errors) \
	COUNT(tx_frames) \
	COUNT(connections_created) \
	COUNT(connections_destroyed)

#define METRICS_NET(COUNT, STORE, TIMES) \
	COUNT(activate_fails) \
	COUNT(cfg_fails) \
	COUNT(mac_address_updates) \
	COUNT(no_rx_avail_buffer) \
	COUNT(no_tx_avail_buffer) \
	COUNT(event_fails) \
	COUNT(rx_queue_event_count) \
	COUNT(rx_event_rate_limiter_count) \
	COUNT(rx_rate_limiter_throttled) \
	COUNT(rx_tap_event_count) \
	COUNT(rx_bytes_count) \
	COUNT(rx_packets_count) \
	COUNT(rx_fails) \
	COUNT(rx_count) \
	COUNT(tap_read_fails) \
	COUNT(tap_write_fails) \
	TIMES(tap_write_agg) \
	COUNT(tx_bytes_count) \
	COUNT(tx_malformed_frames) \
	COUNT(tx_fails) \
	COUNT(tx_count) \
	COUNT(tx_packets_count) \
	COUNT(tx_queue_event_count) \
	COUNT(tx_rate_limiter_event_count) \
	COUNT(tx_rate_limiter_throttled) \
	COUNT(tx_spoofed_mac_count) \
	COUNT(tx_remaining_reqs_count)

#define METRICS_PATCH_API_REQUESTS(COUNT, STORE, TIMES) \
	COUNT(drive_count) \
	COUNT(drive_fails) \
	COUNT(network_count) \
	COUNT(network_fails) \
	COUNT(machine_cfg_count) \
	COUNT(machine_cfg_fails) \
	COUNT(mmds_count) \
	COUNT(mmds_fails) \
	COUNT(hotplug_memory_count) \
	COUNT(hotplug_memory_fails) \
	COUNT(pmem_count) \
	COUNT(pmem_fails)

#define METRICS_PUT_API_REQUESTS(COUNT, STORE, TIMES) \
	COUNT(actions_count) \
	COUNT(actions_fails) \
	COUNT(boot_source_count) \
	COUNT(boot_source_fails) \
	COUNT(drive_count) \
	COUNT(drive_fails) \
	COUNT(logger_count) \
	COUNT(logger_fails) \
	COUNT(machine_cfg_count) \
	COUNT(machine_cfg_fails) \
	COUNT(cpu_cfg_count) \
	COUNT(cpu_cfg_fails) \
	COUNT(metrics_count) \
	COUNT(metrics_fails) \
	COUNT(network_count) \
	COUNT(network_fails) \
	COUNT(mmds_count) \
	COUNT(mmds_fails) \
	COUNT(vsock_count) \
	COUNT(vsock_fails) \
	COUNT(pmem_count) \
	COUNT(pmem_fails) \
	COUNT(serial_count) \
	COUNT(serial_fails) \
	COUNT(hotplug_memory_count) \
	COUNT(hotplug_memory_fails)

#define METRICS_SECCOMP(COUNT, STORE, TIMES) \
	STORE(num_faults)

#define METRICS_VCPU(COUNT, STORE, TIMES) \
	COUNT(exit_io_in) \
	COUNT(exit_io_out) \
	COUNT(exit_mmio_read) \
	COUNT(exit_mmio_write) \
	COUNT(failures) \
	COUNT(kvmclock_ctrl_fails) \
	TIMES(exit_io_in_agg) \
	TIMES(exit_io_out_agg) \
	TIMES(exit_mmio_read_agg) \
	TIMES(exit_mmio_write_agg)

#define METRICS_VMM(COUNT, STORE, TIMES) \
	STORE(panic_count)

#define METRICS_SIGNALS(COUNT, STORE, TIMES) \
	STORE(sigbus) \
	STORE(sigsegv) \
	STORE(sigxfsz) \
	STORE(sigxcpu) \
	COUNT(sigpipe) \
	STORE(sighup) \
	STORE(sigill)

#define METRICS_VSOCK(COUNT, STORE, TIMES) \
	COUNT(activate_fails) \
	COUNT(cfg_fails) \
	COUNT(rx_queue_event_fails) \
	COUNT(tx_queue_event_fails) \
	COUNT(ev_queue_event_fails) \
	COUNT(muxer_event_fails) \
	COUNT(conn_event_fails) \
	COUNT(rx_queue_event_count) \
	COUNT(tx_queue_event_count) \
	COUNT(rx_bytes_count) \
	COUNT(tx_bytes_count) \
	COUNT(rx_packets_count) \
	COUNT(tx_packets_count) \
	COUNT(conns_added) \
	COUNT(conns_killed) \
	COUNT(conns_removed) \
	COUNT(killq_resync) \
	COUNT(tx_flush_fails) \
	COUNT(tx_write_fails) \
	COUNT(rx_read_fails)

#define METRICS_ENTROPY(COUNT, STORE, TIMES) \
	COUNT(activate_fails) \
	COUNT(entropy_event_fails) \
	COUNT(entropy_event_count) \
	COUNT(entropy_bytes) \
	COUNT(host_rng_fails) \
	COUNT(entropy_rate_limiter_throttled) \
	COUNT(rate_limiter_event_count)

#define METRICS_PMEM(COUNT, STORE, TIMES) \
	COUNT(activate_fails) \
	COUNT(cfg_fails) \
	COUNT(event_fails) \
	COUNT(queue_event_count) \
	COUNT(rate_limiter_throttled_events) \
	COUNT(rate_limiter_event_count)

#define METRICS_INTERRUPTS(COUNT, STORE, TIMES) \
	COUNT(triggers) \
	COUNT(config_updates)

#define METRICS_MEMORY_HOTPLUG(COUNT, STORE, TIMES) \
	COUNT(activate_fails) \
	COUNT(queue_event_fails) \
	COUNT(queue_event_count) \
	TIMES(plug_agg) \
	COUNT(plug_count) \
	COUNT(plug_bytes) \
	COUNT(plug_fails) \
	TIMES(unplug_agg) \
	COUNT(unplug_count) \
	COUNT(unplug_bytes) \
	COUNT(unplug_fails) \
	COUNT(unplug_discard_fails) \
	TIMES(unplug_all_agg) \
	COUNT(unplug_all_count) \
	COUNT(unplug_all_fails) \
	TIMES(state_agg) \
	COUNT(state_count) \
	COUNT(state_fails)

/* The groups of which there is one. */
#define METRICS_GROUPS(GROUP) \
	GROUP(api_server, METRICS_API_SERVER) \
	GROUP(balloon, METRICS_BALLOON) \
	GROUP(deprecated_api, METRICS_DEPRECATED_API) \
	GROUP(get_api_requests, METRICS_GET_API_REQUESTS) \
	GROUP(i8042, METRICS_I8042) \
	GROUP(uart, METRICS_UART) \
	GROUP(latencies_us, METRICS_LATENCIES_US) \
	GROUP(logger, METRICS_LOGGER) \
	GROUP(mmds, METRICS_MMDS) \
	GROUP(patch_api_requests, METRICS_PATCH_API_REQUESTS) \
	GROUP(put_api_requests, METRICS_PUT_API_REQUESTS) \
	GROUP(seccomp, METRICS_SECCOMP) \
	GROUP(vcpu, METRICS_VCPU) \
	GROUP(vmm, METRICS_VMM) \
	GROUP(signals, METRICS_SIGNALS) \
	GROUP(vsock, METRICS_VSOCK) \
	GROUP(entropy, METRICS_ENTROPY) \
	GROUP(pmem, METRICS_PMEM) \
	GROUP(interrupts, METRICS_INTERRUPTS) \
	GROUP(memory_hotplug, METRICS_MEMORY_HOTPLUG)

/* The groups that each device of a kind has its own of. */
#define METRICS_DEVICE_GROUPS(GROUP) \
	GROUP(block, METRICS_BLOCK) \
	GROUP(net, METRICS_NET)

// clang-format on
