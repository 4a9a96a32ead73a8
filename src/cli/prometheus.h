/*
 * Metrics as Prometheus reads them, in its text format of exposition (version 0.0.4).
 *
 * Each key of the schema becomes one metric: `vcpu.exit_mmio_read` is
 *
 *	# HELP televm_vcpu_exit_mmio_read_total vcpu.exit_mmio_read of Firecracker's metrics
 *	# TYPE televm_vcpu_exit_mmio_read_total counter
 *	televm_vcpu_exit_mmio_read_total 17
 *
 * Counters end in `_total`, and lose `_count` for it; stores are gauges. Block and net devices are
 * told apart by a label, `drive` or `interface`, and machines by `vm`. Sums over devices are left
 * out: Prometheus makes its own. So are keys that the schema has not.
 *
 * A pure function: any thread.
 */
#pragma once

#include <jansson.h>

/**
 * \param all counts since the start: what metrics_to_json() gives, parsed
 * \param vm the machine's id; NULL: not told
 * \return the text, to be freed by the caller; NULL without memory
 */
char *prometheus_from_metrics(const json_t *all, const char *vm);
