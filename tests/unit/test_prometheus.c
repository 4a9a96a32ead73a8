#include "cli/prometheus.h"

#include "test.h"
#include "util/bits.h"
#include "util/metrics.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static struct metrics_block blocks[2];
static struct metrics_net net;

static int set_up(void **state)
{
	(void)state;
	memset(&metrics, 0, sizeof(metrics));
	memset(blocks, 0, sizeof(blocks));
	memset(&net, 0, sizeof(net));
	return 0;
}

static int add_devices(void **state)
{
	assert_int_equal(metrics_add_block("rootfs", &blocks[0], NULL), 0);
	assert_int_equal(metrics_add_net("eth0", &net, NULL), 0);
	assert_int_equal(metrics_add_block("data", &blocks[1], NULL), 0);
	return set_up(state);
}

static int remove_devices(void **state)
{
	(void)state;
	metrics_remove(&blocks[0]);
	metrics_remove(&blocks[1]);
	metrics_remove(&net);
	return 0;
}

/* All of metrics as they are. */
static char *expose(void)
{
	char *line = metrics_to_json();
	json_t *json = json_loads(line, 0, NULL);
	char *text;

	assert_non_null(json);
	text = prometheus_from_metrics(json, NULL);
	assert_non_null(text);
	json_decref(json);
	free(line);
	return text;
}

static void expect(const char *text, const char *lines)
{
	const char *at = strstr(text, lines);

	if (at == NULL || (at != text && at[-1] != '\n'))
		fail_msg("not there: %s\nbut\n%s", lines, text);
}

static void counters_and_gauges(void **state)
{
	char *text;

	(void)state;
	metrics_add(&metrics.vcpu.exit_mmio_read, 17);
	metrics_store(&metrics.latencies_us.pause_vm, 250);
	metrics_add(&metrics.put_api_requests.drive_count, 2);
	metrics_store(&metrics.vcpu.exit_mmio_read_agg.min_us, 3);
	metrics_add(&metrics.vcpu.exit_mmio_read_agg.sum_us, 60);
	text = expose();
	expect(text, "# HELP televm_vcpu_exit_mmio_read_total vcpu.exit_mmio_read of Firecracker's "
		     "metrics\n"
		     "# TYPE televm_vcpu_exit_mmio_read_total counter\n"
		     "televm_vcpu_exit_mmio_read_total 17\n");
	expect(text, "# TYPE televm_latencies_us_pause_vm gauge\n"
		     "televm_latencies_us_pause_vm 250\n");
	expect(text, "televm_put_api_requests_drive_total 2\n");
	expect(text, "# TYPE televm_vcpu_exit_mmio_read_agg_min_us gauge\n"
		     "televm_vcpu_exit_mmio_read_agg_min_us 3\n");
	expect(text, "# TYPE televm_vcpu_exit_mmio_read_agg_sum_us_total counter\n"
		     "televm_vcpu_exit_mmio_read_agg_sum_us_total 60\n");
	/* Of devices that are not there nothing is said. */
	assert_null(strstr(text, "televm_block"));
	assert_null(strstr(text, "utc_timestamp"));
	free(text);
}

static void devices_have_labels(void **state)
{
	char *text;

	(void)state;
	metrics_add(&blocks[0].read_bytes, 4096);
	metrics_add(&blocks[1].read_bytes, 512);
	metrics_add(&net.rx_bytes_count, 60);
	metrics_store(&blocks[1].write_agg.max_us, 9);
	text = expose();
	expect(text, "# TYPE televm_block_read_bytes_total counter\n"
		     "televm_block_read_bytes_total{drive=\"rootfs\"} 4096\n"
		     "televm_block_read_bytes_total{drive=\"data\"} 512\n");
	expect(text, "televm_net_rx_bytes_total{interface=\"eth0\"} 60\n");
	expect(text, "televm_block_write_agg_max_us{drive=\"rootfs\"} 0\n"
		     "televm_block_write_agg_max_us{drive=\"data\"} 9\n");
	assert_null(strstr(text, "televm_block_read_bytes_total 4608"));
	free(text);
}

/* ---- the whole format, line by line ---- */

static const char *take_name(const char *at, char *name, size_t size)
{
	size_t len = 0;

	assert_true(isalpha((unsigned char)*at) || *at == '_');
	while (isalnum((unsigned char)*at) || *at == '_') {
		assert_true(len + 1 < size);
		name[len++] = *at++;
	}
	name[len] = '\0';
	return at;
}

static const char *skip_text(const char *at, const char *expected)
{
	if (strncmp(at, expected, strlen(expected)) != 0)
		fail_msg("'%s' is not there: %.100s", expected, at);
	return at + strlen(expected);
}

static const char *skip_labels(const char *at)
{
	char name[64];

	if (*at != '{')
		return at;
	at = skip_text(take_name(at + 1, name, sizeof(name)), "=\"");
	for (; *at != '"'; at++) {
		assert_true(*at != '\n' && *at != '\0');
		if (*at == '\\')
			at++;
	}
	return skip_text(at, "\"}");
}

/* HELP, TYPE, then samples of that name and no other. \return behind them */
static const char *check_metric(const char *at, char *name, size_t size)
{
	char again[128];
	unsigned int n_samples = 0;
	bool is_counter;

	at = take_name(skip_text(at, "# HELP "), name, size);
	at = strchr(skip_text(at, " "), '\n');
	assert_non_null(at);
	at = take_name(skip_text(at, "\n# TYPE "), again, sizeof(again));
	assert_string_equal(name, again);
	is_counter = strncmp(at, " counter\n", 9) == 0;
	at = skip_text(at, is_counter ? " counter\n" : " gauge\n");
	assert_int_equal(is_counter,
			 strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0);
	while (*at != '#' && *at != '\0') {
		at = skip_labels(take_name(at, again, sizeof(again)));
		assert_string_equal(name, again);
		at = skip_text(at, " ");
		assert_true(isdigit((unsigned char)*at));
		at = skip_text(at + strspn(at, "0123456789"), "\n");
		n_samples++;
	}
	assert_true(n_samples > 0);
	return at;
}

static void each_metric_is_there_once(void **state)
{
	static char names[400][128];
	const size_t n_words = sizeof(metrics) + sizeof(blocks[0]) + sizeof(net);
	char *text = expose();
	size_t n = 0;

	(void)state;
	for (const char *at = text; *at != '\0'; n++) {
		assert_true(n < ARRAY_SIZE(names));
		at = check_metric(at, names[n], sizeof(names[n]));
		for (size_t i = 0; i < n; i++)
			assert_string_not_equal(names[i], names[n]);
	}
	assert_int_equal(n, n_words / sizeof(uint64_t));
	free(text);
}

/* Of another version, or broken: nothing of it makes a line that is none. */
static void odd_metrics(void **state)
{
	json_t *json = json_loads("{\"vcpu\":{\"failures\":\"many\",\"new_key\":5},"
				  "\"block\":{\"read_bytes\":1},"
				  "\"block_a\\\"b\\\\c\\nd\":{\"read_bytes\":7},"
				  "\"properties\":{\"a\":1},\"id\":\"x\",\"net\":3}",
				  0, NULL);
	char *text = prometheus_from_metrics(json, NULL);

	(void)state;
	assert_string_equal(text, "# HELP televm_block_read_bytes_total block.read_bytes of "
				  "Firecracker's metrics\n"
				  "# TYPE televm_block_read_bytes_total counter\n"
				  "televm_block_read_bytes_total{drive=\"a\\\"b\\\\c?d\"} 7\n");
	free(text);
	json_decref(json);
	json = json_array();
	text = prometheus_from_metrics(json, NULL);
	assert_string_equal(text, "");
	free(text);
	json_decref(json);
}

static void machines_have_a_label(void **state)
{
	json_t *json = json_loads("{\"vcpu\":{\"failures\":5},\"block\":{\"read_bytes\":1},"
				  "\"block_a\":{\"read_bytes\":7}}",
				  0, NULL);
	char *text = prometheus_from_metrics(json, "vm-1");

	(void)state;
	expect(text, "televm_vcpu_failures_total{vm=\"vm-1\"} 5\n");
	expect(text, "televm_block_read_bytes_total{vm=\"vm-1\",drive=\"a\"} 7\n");
	free(text);
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(counters_and_gauges, set_up),
		cmocka_unit_test_setup_teardown(devices_have_labels, add_devices, remove_devices),
		cmocka_unit_test_setup_teardown(each_metric_is_there_once, add_devices,
						remove_devices),
		cmocka_unit_test(machines_have_a_label),
		cmocka_unit_test(odd_metrics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
