/* The operations of the API before the start: paths, bodies, states, and real files. */
#include "api_rig.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int setup(void **state)
{
	static struct api_rig rig;

	api_rig_init(&rig, NULL);
	*state = &rig;
	return 0;
}

static int teardown(void **state)
{
	api_rig_deinit(*state);
	return 0;
}

#define BEFORE_START                                                                               \
	"{\"fault_message\":\"The requested operation is not supported before starting the "       \
	"microVM.\"}"

/* ---- the router ---- */

static void paths_are_found(void **state)
{
	struct api_rig *rig = *state;

	api_rig_expect(rig, "GET", "/", NULL, 200,
		       "{\"app_name\":\"Firecracker\",\"id\":\"test\",\"state\":\"Not started\","
		       "\"vmm_version\":\"");
	api_rig_expect(rig, "GET", "//", NULL, 200, "Not started");
	api_rig_expect(rig, "GET", "http://localhost", NULL, 200, "Not started");
	api_rig_expect(rig, "GET", "/version/", NULL, 200, "{\"firecracker_version\":\"");
	api_rig_expect(rig, "GET", "/version/more", NULL, 200, "{\"firecracker_version\":\"");
	api_rig_expect(rig, "GET", "///vm/config", NULL, 200, "\"machine-config\":{");
	api_rig_expect(rig, "GET", "http://localhost/mmds/", NULL, 200, "{}");
	api_rig_expect(rig, "GET", "/metrics", NULL, 200, "\"get_api_requests\":{");
}

static void paths_that_are_none_are_named(void **state)
{
	struct api_rig *rig = *state;

	api_rig_expect(rig, "GET", "/foo", NULL, 400,
		       "{\"fault_message\":\"Invalid request method and/or path: GET foo.\"}");
	api_rig_expect(rig, "PUT", "/version", "{}", 400, "path: PUT version.");
	api_rig_expect(rig, "DELETE", "/machine-config", NULL, 400, "path: DELETE machine-config.");
	api_rig_expect(rig, "GET", "/balloon/foo", NULL, 400, "path: GET /balloon/foo.");
	api_rig_expect(rig, "PUT", "/mmds/foo", "{}", 400, "path: PUT /mmds/foo.");
	api_rig_expect(rig, "GET", "/vm", NULL, 400, "path: GET vm.");
	api_rig_expect(rig, "GET", "/%76ersion", NULL, 400, "path: GET %76ersion.");
	api_rig_expect(rig, "GET", "/version?a=b", NULL, 400, "path: GET version?a=b.");
	api_rig_expect(rig, "GET", "/../../etc/passwd", NULL, 400, "path: GET /../...");
}

static void long_paths_are_cut(void **state)
{
	struct api_rig *rig = *state;
	char path[900];

	memset(path, 'a', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	api_rig_expect(rig, "GET", path, NULL, 400, "path: GET aaaa");
	memset(path, '/', sizeof(path) - 1);
	api_rig_expect(rig, "GET", path, NULL, 200, "app_name");
	for (size_t i = 1; i < sizeof(path) - 1; i += 2)
		path[i] = 'a';
	api_rig_expect(rig, "GET", path, NULL, 400, "path: GET /a/a.");
	memcpy(path, "/drives/", 8);
	memset(path + 8, 'd', sizeof(path) - 9);
	api_rig_expect(rig, "PUT", path,
		       "{\"drive_id\": \"d\", \"is_root_device\": false, "
		       "\"path_on_host\": \"x\"}",
		       400, "does not match");
}

static void bodies_are_there_where_they_belong(void **state)
{
	struct api_rig *rig = *state;

	api_rig_expect(rig, "GET", "/version", "{}", 400, "\"GET request cannot have a body.\"");
	api_rig_expect(rig, "GET", "/foo", "{}", 400, "\"GET request cannot have a body.\"");
	api_rig_expect(rig, "PUT", "/actions", NULL, 400, "\"Empty PUT request.\"");
	api_rig_expect(rig, "PATCH", "/vm", NULL, 400, "\"Empty PATCH request.\"");
	api_rig_expect(rig, "DELETE", "/drives/a", "{}", 400, "\"Empty Delete request.\"");
	api_rig_expect(rig, "PATCH", "/balloon/hinting/stop", NULL, 400, BEFORE_START);
}

static void ids_are_checked(void **state)
{
	struct api_rig *rig = *state;
	static const char body[] =
		"{\"drive_id\": \"a\", \"is_root_device\": false, \"path_on_host\": \"/dev/null\"}";

	api_rig_expect(rig, "PUT", "/drives", body, 400, "\"The ID cannot be empty.\"");
	api_rig_expect(rig, "PUT", "/drives/", body, 400, "\"The ID cannot be empty.\"");
	api_rig_expect(rig, "PUT", "/drives/a-b", body, 400,
		       "\"API Resource IDs can only contain alphanumeric characters and "
		       "underscores.\"");
	api_rig_expect(rig, "PUT", "/drives/..", body, 400, "API Resource IDs");
	api_rig_expect(rig, "PUT", "/drives/b", body, 400,
		       "\"The id from the path does not match the id from the body!\"");
	api_rig_expect(rig, "PUT", "/network-interfaces/b",
		       "{\"iface_id\": \"a\", \"host_dev_name\": \"tap0\"}", 400,
		       "\"The id from the path [b] does not match the id from the body [a]!\"");
}

/* ---- JSON ---- */

static void assert_json_refused(struct api_rig *rig, const char *body)
{
	api_rig_expect(rig, "PUT", "/mmds", body, 400,
		       "{\"fault_message\":\"An error occurred when deserializing the json body "
		       "of a request: ");
}

static void what_is_no_object_is_refused(void **state)
{
	struct api_rig *rig = *state;
	char *deep = malloc(50001);

	assert_non_null(deep);
	memset(deep, '[', 50000);
	memcpy(deep, "{\"a\":", 5);
	deep[50000] = '\0';
	assert_json_refused(rig, deep);
	for (size_t i = 0; i < 9999; i++)
		memcpy(deep + 5 * i, "{\"a\":", 5);
	assert_json_refused(rig, deep);
	free(deep);
	assert_json_refused(rig, " ");
	assert_json_refused(rig, "[]");
	assert_json_refused(rig, "null");
	assert_json_refused(rig, "{\"a\": 1} {}");
	assert_json_refused(rig, "{\"a\": 1, \"a\": 2}");
	assert_json_refused(rig, "{\"a\": 1e400}");
	assert_json_refused(rig, "{\"a\": 18446744073709551616}");
	assert_json_refused(rig, "{\"a\": 01}");
	assert_json_refused(rig, "{\"a\": NaN}");
	assert_json_refused(rig, "{\"a\": \"\\ud800\"}");
	assert_json_refused(rig, "{\"a\": \"\xff\"}");
	assert_json_refused(rig, "{\"a\": \"\xed\xa0\x80\"}");
	assert_json_refused(rig, "{'a': 1}");
	assert_json_refused(rig, "{\"a\": 1,}");
	api_rig_expect(rig, "GET", "/mmds", NULL, 200, "{}");
}

static void bodies_are_strict(void **state)
{
	struct api_rig *rig = *state;

	api_rig_expect(rig, "PUT", "/boot-source", "{}", 400, "missing field `kernel_image_path`");
	api_rig_expect(rig, "PUT", "/machine-config",
		       "{\"vcpu_count\": 1, \"mem_size_mib\": 128, \"ht_enabled\": true}", 400,
		       "unknown field `ht_enabled`");
	api_rig_expect(rig, "PUT", "/actions", "{\"action_type\": \"foo\"}", 400,
		       "unknown variant `foo`");
	api_rig_expect(rig, "PUT", "/actions",
		       "{\"action_type\": \"InstanceStart\", \"payload\": 1}", 400,
		       "unknown field `payload`");
	api_rig_expect(rig, "PUT", "/entropy", "{\"rate_limiter\": null}", 204, "");
	api_rig_expect(rig, "PUT", "/entropy", "{\"rate_limiter\": {}}", 204, "");
}

/* ---- sizes ---- */

static void machine_sizes_are_checked(void **state)
{
	struct api_rig *rig = *state;
	static const char *const bad[] = {
		"{\"vcpu_count\": 0}",
		"{\"vcpu_count\": 33}",
		"{\"vcpu_count\": 2147483648}",
		"{\"vcpu_count\": -1}",
		"{\"vcpu_count\": 1.0}",
		"{\"mem_size_mib\": 0}",
		"{\"mem_size_mib\": 1}",
		"{\"mem_size_mib\": 17}",
		"{\"mem_size_mib\": 17592186044416}",
		"{\"mem_size_mib\": 9223372036854775807}",
		"{\"mem_size_mib\": 18446744073709551615}",
		"{\"mem_size_mib\": \"128\"}",
		"{\"huge_pages\": \"1G\"}",
		"{\"cpu_template\": \"T2\"}",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		api_rig_expect(rig, "PATCH", "/machine-config", bad[i], 400, "fault_message");
	api_rig_expect(rig, "PATCH", "/machine-config", "{}", 400, "fault_message");
	api_rig_expect(rig, "GET", "/machine-config", NULL, 200, "\"vcpu_count\":1");
	api_rig_expect(rig, "GET", "/machine-config", NULL, 200, "\"mem_size_mib\":128");
}

static void a_put_resets_what_it_leaves_out(void **state)
{
	struct api_rig *rig = *state;

	api_rig_expect(rig, "PUT", "/machine-config",
		       "{\"vcpu_count\": 2, \"mem_size_mib\": 64, \"smt\": true, "
		       "\"track_dirty_pages\": true}",
		       204, "");
	api_rig_expect(rig, "GET", "/machine-config", NULL, 200, "\"track_dirty_pages\":true");
	api_rig_expect(rig, "PATCH", "/machine-config", "{\"mem_size_mib\": 32}", 204, "");
	api_rig_expect(rig, "GET", "/machine-config", NULL, 200, "\"track_dirty_pages\":true");
	api_rig_expect(rig, "PUT", "/machine-config", "{\"vcpu_count\": 2, \"mem_size_mib\": 64}",
		       204, "");
	api_rig_expect(rig, "GET", "/machine-config", NULL, 200, "\"track_dirty_pages\":false");
}

static void the_balloon_fits_into_the_memory(void **state)
{
	struct api_rig *rig = *state;
	static const char balloon[] = "{\"amount_mib\": 65, \"deflate_on_oom\": true}";

	api_rig_expect(rig, "GET", "/balloon", NULL, 400, "Balloon config error: ");
	api_rig_expect(rig, "PATCH", "/machine-config", "{\"mem_size_mib\": 64}", 204, "");
	api_rig_expect(rig, "PUT", "/balloon", balloon, 400, "Balloon config error: ");
	api_rig_expect(rig, "PATCH", "/machine-config", "{\"mem_size_mib\": 66}", 204, "");
	api_rig_expect(rig, "PUT", "/balloon", balloon, 204, "");
	api_rig_expect(rig, "GET", "/balloon", NULL, 200, "\"amount_mib\":65");
	api_rig_expect(rig, "PATCH", "/machine-config", "{\"mem_size_mib\": 64}", 400,
		       "Machine config error: ");
}

static void rate_limits_take_every_number(void **state)
{
	struct api_rig *rig = *state;

	api_rig_expect(rig, "PUT", "/entropy",
		       "{\"rate_limiter\": {\"bandwidth\": {\"size\": 0, \"refill_time\": 0}}}",
		       204, "");
	api_rig_expect(rig, "PUT", "/entropy",
		       "{\"rate_limiter\": {\"ops\": {\"size\": 9223372036854775807, "
		       "\"refill_time\": 1, \"one_time_burst\": 9223372036854775807}}}",
		       204, "");
	api_rig_expect(rig, "PUT", "/entropy",
		       "{\"rate_limiter\": {\"ops\": {\"size\": -1, \"refill_time\": 1}}}", 400,
		       "fault_message");
}

/* ---- files ---- */

static void expect_drive(struct api_rig *rig, const char *id, const char *path, bool is_root,
			 int status, const char *part)
{
	char body[8192];
	char url[64];

	snprintf(url, sizeof(url), "/drives/%s", id);
	snprintf(body, sizeof(body),
		 "{\"drive_id\": \"%s\", \"path_on_host\": \"%s\", \"is_root_device\": %s}", id,
		 path, is_root ? "true" : "false");
	api_rig_expect(rig, "PUT", url, body, status, part);
}

static void drives_are_opened_when_they_are_put(void **state)
{
	struct api_rig *rig = *state;
	static const char block[512];
	const char *first = api_rig_file(rig, "first", block, sizeof(block));
	const char *second = api_rig_file(rig, "second", block, sizeof(block));
	const char *empty = api_rig_file(rig, "empty", "", 0);

	expect_drive(rig, "a", first, true, 204, "");
	expect_drive(rig, "a", first, true, 204, "");
	expect_drive(rig, "b", second, true, 400,
		     "Drive config error: A root block device already exists!");
	expect_drive(rig, "b", "/no/such/file", false, 400, "Drive config error: ");
	expect_drive(rig, "b", empty, false, 204, "");
	expect_drive(rig, "b", second, false, 204, "");
	expect_drive(rig, "a", "/no/such/file", true, 400, "Drive config error: ");
	/* What was there is still there. */
	api_rig_expect(rig, "GET", "/vm/config", NULL, 200, first);
	api_rig_expect(rig, "GET", "/vm/config", NULL, 200, second);
}

static void what_is_no_file_is_no_drive(void **state)
{
	struct api_rig *rig = *state;
	static char block[512];
	const char *fifo = api_rig_path(rig, "fifo");
	const char *link = api_rig_path(rig, "link");
	char path[5000];

	assert_int_equal(mkfifo(fifo, 0600), 0);
	expect_drive(rig, "a", fifo, false, 400, "Drive config error: ");
	expect_drive(rig, "a", rig->dir, false, 400, "Drive config error: ");
	expect_drive(rig, "a", rig->socket, false, 400, "Drive config error: ");
	expect_drive(rig, "a", "/dev/null", false, 400, "Drive config error: ");
	expect_drive(rig, "a", "", false, 400, "fault_message");
	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	expect_drive(rig, "a", path, false, 400, "fault_message");
	/* A link is a name like others; so are dots. */
	assert_int_equal(symlink(api_rig_file(rig, "file", block, sizeof(block)), link), 0);
	snprintf(path, sizeof(path), "%s/../%s/link", rig->dir, rig->dir + strlen("/tmp/"));
	expect_drive(rig, "a", path, false, 204, "");
}

static void expect_boot_source(struct api_rig *rig, const char *kernel, const char *initrd,
			       const char *args, int status, const char *part)
{
	char body[4096];

	snprintf(body, sizeof(body),
		 "{\"kernel_image_path\": \"%s\", \"initrd_path\": %s%s%s, \"boot_args\": \"%s\"}",
		 kernel, initrd == NULL ? "" : "\"", initrd == NULL ? "null" : initrd,
		 initrd == NULL ? "" : "\"", args);
	api_rig_expect(rig, "PUT", "/boot-source", body, status, part);
}

/* The head of a RISC-V Image. */
static const char *make_kernel(struct api_rig *rig)
{
	uint8_t image[4096] = { 0 };

	memcpy(image + 8, "\x00\x00\x20\x00\x00\x00\x00\x00", 8);  /* text offset */
	memcpy(image + 16, "\x00\x10\x00\x00\x00\x00\x00\x00", 8); /* image size */
	memcpy(image + 32, "\x02\x00\x00\x00", 4);                 /* version 0.2 */
	memcpy(image + 48, "RISCV\0\0\0", 8);
	memcpy(image + 56, "RSC\x05", 4);
	return api_rig_file(rig, "Image", image, sizeof(image));
}

static void a_kernel_is_opened_when_it_is_put(void **state)
{
	struct api_rig *rig = *state;
	const char *kernel = make_kernel(rig);
	const char *none = api_rig_file(rig, "none", "x", 1);
	char args[1400];

	expect_boot_source(rig, kernel, NULL, "console=ttyS0", 204, "");
	expect_boot_source(rig, none, NULL, "", 400, "Boot source error: ");
	expect_boot_source(rig, "/no/such/file", NULL, "", 400, "Boot source error: ");
	expect_boot_source(rig, rig->dir, NULL, "", 400, "Boot source error: ");
	expect_boot_source(rig, kernel, "/no/such/file", "", 400, "Boot source error: ");
	memset(args, 'a', sizeof(args) - 1);
	args[sizeof(args) - 1] = '\0';
	expect_boot_source(rig, kernel, NULL, args, 400, "Boot source error: ");
	api_rig_expect(rig, "GET", "/vm/config", NULL, 200, "\"boot_args\":\"console=ttyS0\"");
	expect_boot_source(rig, kernel, none, "quiet", 204, "");
	api_rig_expect(rig, "GET", "/vm/config", NULL, 200, none);
}

static void a_vsock_listens_when_it_is_put(void **state)
{
	struct api_rig *rig = *state;
	const char *path = api_rig_path(rig, "vsock");
	char body[256];
	struct stat st;

	snprintf(body, sizeof(body), "{\"guest_cid\": 3, \"uds_path\": \"%s\"}", path);
	api_rig_expect(rig, "PUT", "/vsock", body, 204, "");
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	snprintf(body, sizeof(body), "{\"guest_cid\": 3, \"uds_path\": \"%s\"}", rig->dir);
	api_rig_expect(rig, "PUT", "/vsock", body, 400, "Vsock config error: ");
	snprintf(body, sizeof(body), "{\"guest_cid\": 2, \"uds_path\": \"%s\"}",
		 api_rig_path(rig, "other"));
	api_rig_expect(rig, "PUT", "/vsock", body, 400, "fault_message");
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(access(api_rig_path(rig, "other"), F_OK), -1);
}

static void a_tap_that_is_none_is_refused(void **state)
{
	struct api_rig *rig = *state;

	api_rig_expect(rig, "PUT", "/network-interfaces/a",
		       "{\"iface_id\": \"a\", \"host_dev_name\": \"a-name-too-long-for-it\"}", 400,
		       "Network config error: ");
	api_rig_expect(rig, "GET", "/vm/config", NULL, 200, "\"network-interfaces\":[]");
}

static void metrics_are_set_once(void **state)
{
	struct api_rig *rig = *state;
	char body[256];

	api_rig_expect(rig, "PUT", "/metrics", "{\"metrics_path\": \"/no/such/dir/m\"}", 400,
		       "Metrics error: ");
	snprintf(body, sizeof(body), "{\"metrics_path\": \"%s\", \"unknown\": 1}",
		 api_rig_path(rig, "metrics"));
	api_rig_expect(rig, "PUT", "/metrics", body, 204, "");
	api_rig_expect(rig, "PUT", "/metrics", body, 400,
		       "\"Metrics error: Reinitialization of metrics not allowed.\"");
	api_rig_expect(rig, "PUT", "/actions", "{\"action_type\": \"FlushMetrics\"}", 400,
		       BEFORE_START);
}

static void a_log_may_be_a_fifo_without_a_reader(void **state)
{
	struct api_rig *rig = *state;
	const char *fifo = api_rig_path(rig, "log");
	char body[256];

	assert_int_equal(mkfifo(fifo, 0600), 0);
	snprintf(body, sizeof(body), "{\"log_path\": \"%s\", \"level\": \"error\"}", fifo);
	api_rig_expect(rig, "PUT", "/logger", body, 204, "");
	api_rig_expect(rig, "PUT", "/logger", "{\"level\": \"off\"}", 204, "");
	api_rig_expect(rig, "GET", "/vm/config", NULL, 200, fifo);
	api_rig_expect(rig, "PUT", "/logger", "{\"log_path\": \"/no/such/dir/log\"}", 400,
		       "Logger error: ");
}

/* ---- metadata ---- */

static void metadata_is_put_and_patched(void **state)
{
	struct api_rig *rig = *state;

	api_rig_expect(rig, "PATCH", "/mmds", "{}", 400, "The MMDS data store is not initialized.");
	api_rig_expect(rig, "PUT", "/mmds", "{\"a\": {\"b\": [1, 2]}, \"c\": null}", 204, "");
	api_rig_expect(rig, "PATCH", "/mmds", "{\"a\": {\"b\": null, \"d\": \"x\"}, \"e\": 1}", 204,
		       "");
	api_rig_expect(rig, "GET", "/mmds", NULL, 200, "{\"a\":{\"d\":\"x\"},\"c\":null,\"e\":1}");
	api_rig_expect(rig, "PUT", "/mmds", "{\"new\": true}", 204, "");
	api_rig_expect(rig, "GET", "/mmds", NULL, 200, "{\"new\":true}");
}

static void metadata_has_a_limit(void **state)
{
	struct api_rig *rig = *state;
	char *body = malloc(API_MAX_PAYLOAD + 1);
	int n;

	assert_non_null(body);
	n = sprintf(body, "{\"a\":\"");
	memset(body + n, 'a', (size_t)(API_MAX_PAYLOAD - n));
	strcpy(body + API_MAX_PAYLOAD - 2, "\"}");
	api_rig_expect(rig, "PUT", "/mmds", body, 204, "");
	api_rig_expect(rig, "PATCH", "/mmds", "{\"b\": 1}", 413, "MMDS limit exceeded error: ");
	api_rig_expect(rig, "PATCH", "/mmds", "{\"a\": null, \"b\": 1}", 204, "");
	api_rig_expect(rig, "GET", "/mmds", NULL, 200, "{\"b\":1}");
	free(body);
}

static void mmds_needs_a_network(void **state)
{
	struct api_rig *rig = *state;

	api_rig_expect(rig, "PUT", "/mmds/config", "{\"network_interfaces\": [\"none\"]}", 400,
		       "MMMDS config error: ");
	api_rig_expect(rig, "PUT", "/mmds/config", "{\"network_interfaces\": []}", 400,
		       "fault_message");
}

/* ---- states, and what there is not ---- */

static void what_needs_a_machine_is_refused(void **state)
{
	struct api_rig *rig = *state;
	static const struct {
		const char *method, *path, *body;
	} cases[] = {
		{ "PATCH", "/drives/a", "{\"drive_id\": \"a\"}" },
		{ "DELETE", "/drives/a", NULL },
		{ "PATCH", "/pmem/a", "{\"id\": \"a\"}" },
		{ "DELETE", "/pmem/a", NULL },
		{ "PATCH", "/network-interfaces/a", "{\"iface_id\": \"a\"}" },
		{ "DELETE", "/network-interfaces/a", NULL },
		{ "PATCH", "/balloon", "{\"amount_mib\": 1}" },
		{ "GET", "/balloon/statistics", NULL },
		{ "PATCH", "/balloon/statistics", "{\"stats_polling_interval_s\": 1}" },
		{ "PATCH", "/balloon/hinting/start", "{}" },
		{ "GET", "/balloon/hinting/status", NULL },
		{ "PATCH", "/balloon/hinting/stop", NULL },
		{ "PATCH", "/hotplug/memory", "{\"requested_size_mib\": 1}" },
		{ "GET", "/hotplug/memory", NULL },
		{ "PATCH", "/vm", "{\"state\": \"Paused\"}" },
		{ "PUT", "/snapshot/create", "{}" },
		{ "PUT", "/actions", "{\"action_type\": \"SendCtrlAltDel\"}" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		api_rig_expect(rig, cases[i].method, cases[i].path, cases[i].body, 400,
			       BEFORE_START);
}

static void what_there_is_not_says_so(void **state)
{
	struct api_rig *rig = *state;

	api_rig_expect(rig, "PUT", "/snapshot/load", "{}", 400,
		       "Load snapshot error: TeleVM cannot read snapshots");
	api_rig_expect(rig, "PUT", "/entropy", "{}", 204, "");
	api_rig_expect(rig, "PUT", "/snapshot/load", "{}", 400,
		       "not allowed after configuring boot-specific resources.");
	api_rig_expect(rig, "PUT", "/pmem/a", "{}", 400, "Pmem config error: ");
	api_rig_expect(rig, "PUT", "/hotplug/memory", "{}", 400, "Memory hotplug config error: ");
	api_rig_expect(rig, "PUT", "/actions", "{\"action_type\": \"InstanceStart\"}", 400,
		       "\"Start microvm error: Cannot start microvm without kernel "
		       "configuration.\"");
}

static void requests_are_counted(void **state)
{
	struct api_rig *rig = *state;
	char before[65536];
	char after[65536];

	assert_int_equal(api_rig_do(rig, "GET", "/metrics", NULL, before, sizeof(before)), 200);
	api_rig_expect(rig, "PUT", "/drives/a", "{}", 400, "missing field");
	assert_int_equal(api_rig_do(rig, "GET", "/metrics", NULL, after, sizeof(after)), 200);
	assert_string_not_equal(strstr(before, "\"drive_fails\""),
				strstr(after, "\"drive_fails\""));
}

/* ---- the log ---- */

/* What the log of the rig has to say, from `log_at` on. */
static const char *read_log(struct api_rig *rig)
{
	static char log[16384];
	int fd = open(api_rig_path(rig, "log"), O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, log, sizeof(log) - 1);

	assert_true(n >= 0);
	log[n] = '\0';
	close(fd);
	return log;
}

static void log_at(struct api_rig *rig, const char *level)
{
	char body[256];

	snprintf(body, sizeof(body), "{\"log_path\": \"%s\", \"level\": \"%s\"}",
		 api_rig_path(rig, "log"), level);
	api_rig_expect(rig, "PUT", "/logger", body, 204, "");
}

/* A template is long: only who wants to see much sees it. */
static void a_processor_is_logged_in_debugging(void **state)
{
	static const char body[] = "{\"isa_extensions_off\": [\"v\"]}";
	struct api_rig *rig = *state;

	log_at(rig, "info");
	api_rig_expect(rig, "PUT", "/cpu-config", body, 204, "");
	assert_non_null(
		strstr(read_log(rig), "The API server received a Put request on \"/cpu-config\""));
	assert_null(strstr(read_log(rig), "isa_extensions_off"));
	log_at(rig, "debug");
	api_rig_expect(rig, "PUT", "/cpu-config", body, 204, "");
	log_at(rig, "off");
	assert_non_null(strstr(read_log(rig), "isa_extensions_off"));
}

static void metadata_is_not_logged(void **state)
{
	struct api_rig *rig = *state;

	log_at(rig, "debug");
	api_rig_expect(rig, "PUT", "/mmds", "{\"a\": \"hunter\"}", 204, "");
	api_rig_expect(rig, "PATCH", "/mmds", "{\"a\": \"hunter\"}", 204, "");
	api_rig_expect(rig, "PUT", "/mmds/a", "{\"a\": \"hunter\"}", 400, "Invalid request method");
	api_rig_expect(rig, "PUT", "/mmds", "{\"a\": hunter}", 400, "hunter");
	api_rig_expect(rig, "PATCH", "/mmds", "{\"hunter\": 1, \"hunter\": 1}", 400, "hunter");
	log_at(rig, "off");
	assert_non_null(
		strstr(read_log(rig), "The API server received a Put request on \"/mmds\"."));
	assert_non_null(strstr(read_log(rig), "Message: An error occurred when deserializing the "
					      "json body of a request.\n"));
	assert_null(strstr(read_log(rig), "hunter"));
}

static void smt_is_taken_with_a_warning(void **state)
{
	struct api_rig *rig = *state;

	log_at(rig, "warn");
	api_rig_expect(rig, "PUT", "/machine-config",
		       "{\"vcpu_count\": 3, \"mem_size_mib\": 64, \"smt\": false}", 204, "");
	assert_string_equal(read_log(rig), "");
	api_rig_expect(rig, "PUT", "/machine-config",
		       "{\"vcpu_count\": 3, \"mem_size_mib\": 64, \"smt\": true}", 204, "");
	log_at(rig, "off");
	assert_non_null(strstr(read_log(rig), "smt is accepted and means nothing"));
	api_rig_expect(rig, "GET", "/machine-config", NULL, 200, "\"smt\":true");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(paths_are_found),
		TEST(paths_that_are_none_are_named),
		TEST(long_paths_are_cut),
		TEST(bodies_are_there_where_they_belong),
		TEST(ids_are_checked),
		TEST(what_is_no_object_is_refused),
		TEST(bodies_are_strict),
		TEST(machine_sizes_are_checked),
		TEST(a_put_resets_what_it_leaves_out),
		TEST(the_balloon_fits_into_the_memory),
		TEST(rate_limits_take_every_number),
		TEST(drives_are_opened_when_they_are_put),
		TEST(what_is_no_file_is_no_drive),
		TEST(a_kernel_is_opened_when_it_is_put),
		TEST(a_vsock_listens_when_it_is_put),
		TEST(a_tap_that_is_none_is_refused),
		TEST(metrics_are_set_once),
		TEST(a_log_may_be_a_fifo_without_a_reader),
		TEST(metadata_is_put_and_patched),
		TEST(metadata_has_a_limit),
		TEST(mmds_needs_a_network),
		TEST(what_needs_a_machine_is_refused),
		TEST(what_there_is_not_says_so),
		TEST(requests_are_counted),
		TEST(a_processor_is_logged_in_debugging),
		TEST(metadata_is_not_logged),
		TEST(smt_is_taken_with_a_warning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
