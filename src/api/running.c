/* Operations on a machine that was started. */
#include "api/microvm.h"
#include "api/operations.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/metrics.h"
#include "virtio/balloon.h"

#include <errno.h>
#include <stdlib.h>

enum { PAGES_PER_MIB = 256 };

static int judge_balloon(struct call *call, int ret)
{
	if (ret != 0)
		err_prefix(&call->err, "Balloon update error");
	return ret;
}

/* ---- devices ---- */

static bool is_named(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	return value != NULL && !json_is_null(value);
}

/* Those of \p limits that the body's field \p name names. */
static struct rate_limiter_change named_limits(const struct call *call, const char *name,
					       const struct rate_limiter_config *limits)
{
	const json_t *object = json_object_get(call->body, name);

	return (struct rate_limiter_change){
		.bandwidth = is_named(object, "bandwidth") ? &limits->bandwidth : NULL,
		.ops = is_named(object, "ops") ? &limits->ops : NULL,
	};
}

int patch_drive(struct call *call)
{
	struct rate_limiter_config limits = { 0 };
	struct rate_limiter_change change;
	cleanup_free char *path = NULL;
	bool has_limits = is_named(call->body, "rate_limiter");
	int ret = disk_patch_from_json(call->id, &path, &limits, call->body, &call->err);

	if (ret != 0)
		return call_refuse_body(call, ret);
	if (path == NULL && !has_limits)
		return err_set(&call->err, -EINVAL,
			       "Drive config error: Running method expected different backend.");
	change = named_limits(call, "rate_limiter", &limits);
	ret = microvm_patch_disk(call->microvm, call->id, path, has_limits ? &change : NULL,
				 &call->err);
	return ret == 0 ? 0 : err_prefix(&call->err, "Drive config error");
}

int patch_net(struct call *call)
{
	struct rate_limiter_config rx = { 0 };
	struct rate_limiter_config tx = { 0 };
	struct rate_limiter_change rx_change;
	struct rate_limiter_change tx_change;
	int ret = net_patch_from_json(call->id, &rx, &tx, call->body, &call->err);

	if (ret != 0)
		return call_refuse_body(call, ret);
	rx_change = named_limits(call, "rx_rate_limiter", &rx);
	tx_change = named_limits(call, "tx_rate_limiter", &tx);
	ret = microvm_patch_net(call->microvm, call->id, &rx_change, &tx_change, &call->err);
	return ret == 0 ? 0 : err_prefix(&call->err, "Network config error");
}

/* ---- pause and resume ---- */

int patch_vm(struct call *call)
{
	enum { PAUSED, RESUMED };
	static const char *const names[] = { [PAUSED] = "Paused", [RESUMED] = "Resumed" };
	uint64_t start = metrics_now_us();
	unsigned int wanted = 0;
	int ret = json_one_name(call->body, "state", names, ARRAY_SIZE(names), &wanted, &call->err);

	if (ret != 0)
		return call_refuse_body(call, ret);
	if (wanted == PAUSED)
		microvm_pause(call->microvm);
	else
		microvm_resume(call->microvm);
	metrics_store(wanted == PAUSED ? &metrics.latencies_us.pause_vm
				       : &metrics.latencies_us.resume_vm,
		      metrics_now_us() - start);
	return 0;
}

/* ---- the balloon ---- */

int get_balloon(struct call *call)
{
	const struct config_balloon *balloon = &microvm_get_config(call->microvm)->balloon;

	if (!balloon->is_wanted)
		return err_set(&call->err, -ENODEV,
			       "Balloon config error: the microVM has no balloon");
	return call_answer(call, balloon_to_json(balloon));
}

int patch_balloon(struct call *call)
{
	uint64_t mib = 0;
	int ret = json_one_uint(call->body, "amount_mib", UINT32_MAX, &mib, &call->err);

	if (ret != 0)
		return call_refuse_body(call, ret);
	return judge_balloon(call, microvm_set_balloon_target(call->microvm, mib, &call->err));
}

static json_t *stats_to_json(const struct balloon_status *status)
{
	static const char *const names[BALLOON_N_STATS] = {
		[BALLOON_STAT_SWAP_IN] = "swap_in",
		[BALLOON_STAT_SWAP_OUT] = "swap_out",
		[BALLOON_STAT_MAJOR_FAULTS] = "major_faults",
		[BALLOON_STAT_MINOR_FAULTS] = "minor_faults",
		[BALLOON_STAT_FREE_MEMORY] = "free_memory",
		[BALLOON_STAT_TOTAL_MEMORY] = "total_memory",
		[BALLOON_STAT_AVAILABLE_MEMORY] = "available_memory",
		[BALLOON_STAT_DISK_CACHES] = "disk_caches",
		[BALLOON_STAT_HUGETLB_ALLOCATIONS] = "hugetlb_allocations",
		[BALLOON_STAT_HUGETLB_FAILURES] = "hugetlb_failures",
		[BALLOON_STAT_OOM_KILL] = "oom_kill",
		[BALLOON_STAT_ALLOC_STALL] = "alloc_stall",
		[BALLOON_STAT_ASYNC_SCAN] = "async_scan",
		[BALLOON_STAT_DIRECT_SCAN] = "direct_scan",
		[BALLOON_STAT_ASYNC_RECLAIM] = "async_reclaim",
		[BALLOON_STAT_DIRECT_RECLAIM] = "direct_reclaim",
	};
	json_t *json = json_pack("{sI sI sI sI}", "target_pages", (json_int_t)status->target_pages,
				 "actual_pages", (json_int_t)status->actual_pages, "target_mib",
				 (json_int_t)(status->target_pages / PAGES_PER_MIB), "actual_mib",
				 (json_int_t)(status->actual_pages / PAGES_PER_MIB));

	for (unsigned int i = 0; json != NULL && i < BALLOON_N_STATS; i++) {
		/* A guest's word may be more than JSON's numbers have room for here. */
		uint64_t value = MIN(status->stats.values[i], (uint64_t)INT64_MAX);

		if ((status->stats.present & BIT(i)) != 0 &&
		    json_object_set_new(json, names[i], json_integer((json_int_t)value)) != 0) {
			json_decref(json);
			return NULL;
		}
	}
	return json;
}

int get_balloon_stats(struct call *call)
{
	struct balloon *balloon = microvm_get_balloon(call->microvm, &call->err);
	struct balloon_status status;

	if (balloon == NULL)
		return judge_balloon(call, -ENODEV);
	if (microvm_get_config(call->microvm)->balloon.options.stats_interval_s == 0)
		return judge_balloon(call, err_set(&call->err, -ENOTSUP,
						   "statistics are off: the balloon was made with "
						   "stats_polling_interval_s 0"));
	balloon_get_status(balloon, &status);
	return call_answer(call, stats_to_json(&status));
}

int patch_balloon_stats(struct call *call)
{
	uint64_t interval_s = 0;
	int ret = json_one_uint(call->body, "stats_polling_interval_s", UINT16_MAX, &interval_s,
				&call->err);

	if (ret != 0)
		return call_refuse_body(call, ret);
	return judge_balloon(call, microvm_set_balloon_interval(
					   call->microvm, (unsigned int)interval_s, &call->err));
}

int start_hinting(struct call *call)
{
	struct balloon *balloon = microvm_get_balloon(call->microvm, &call->err);
	bool acknowledge_on_stop = true;
	int ret;

	if (balloon == NULL)
		return judge_balloon(call, -ENODEV);
	ret = hinting_from_json(&acknowledge_on_stop, call->body, &call->err);
	if (ret != 0)
		return call_refuse_body(call, ret);
	return judge_balloon(call, balloon_start_hinting(balloon, acknowledge_on_stop, &call->err));
}

int get_hinting(struct call *call)
{
	struct balloon *balloon = microvm_get_balloon(call->microvm, &call->err);
	struct balloon_hinting_status status;

	if (balloon == NULL)
		return judge_balloon(call, -ENODEV);
	if (!microvm_get_config(call->microvm)->balloon.options.hinting)
		return judge_balloon(call, err_set(&call->err, -ENOTSUP,
						   "the balloon was made without "
						   "free_page_hinting"));
	balloon_get_hinting(balloon, &status);
	if (!status.has_guest_cmd)
		return call_answer(call, json_pack("{sI sn}", "host_cmd",
						   (json_int_t)status.host_cmd, "guest_cmd"));
	return call_answer(call, json_pack("{sI sI}", "host_cmd", (json_int_t)status.host_cmd,
					   "guest_cmd", (json_int_t)status.guest_cmd));
}

int stop_hinting(struct call *call)
{
	struct balloon *balloon = microvm_get_balloon(call->microvm, &call->err);

	if (balloon == NULL)
		return judge_balloon(call, -ENODEV);
	return judge_balloon(call, balloon_stop_hinting(balloon, &call->err));
}
