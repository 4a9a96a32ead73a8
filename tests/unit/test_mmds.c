#include "api/mmds.h"

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static json_t *parse(const char *text)
{
	json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(json);
	return json;
}

/* The table of RFC 7396, appendix A, where both are objects. */
static void patches_are_merged_as_the_rfc_says(void **state)
{
	static const struct {
		const char *store, *patch, *result;
	} cases[] = {
		{ "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
		{ "{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}" },
		{ "{\"a\":\"b\"}", "{\"a\":null}", "{}" },
		{ "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}" },
		{ "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
		{ "{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}" },
		{ "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}",
		  "{\"a\":{\"b\":\"d\"}}" },
		{ "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}" },
		{ "{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}" },
		{ "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}" },
		{ "{\"a\":1}", "{\"a\":{\"b\":2}}", "{\"a\":{\"b\":2}}" },
		{ "{\"a\":1}", "{}", "{\"a\":1}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct mmds mmds = { 0 };
		json_t *store = parse(cases[i].store);
		json_t *patch = parse(cases[i].patch);
		json_t *result = parse(cases[i].result);

		mmds_init(&mmds, 1000);
		assert_int_equal(mmds_put(&mmds, store, NULL), 0);
		assert_int_equal(mmds_patch(&mmds, patch, NULL), 0);
		assert_true(json_equal(mmds_get(&mmds), result));
		json_decref(store);
		json_decref(patch);
		json_decref(result);
		mmds_deinit(&mmds);
		mmds_deinit(&mmds);
	}
}

static void a_patch_needs_a_store(void **state)
{
	struct mmds mmds = { 0 };
	struct err err = { 0 };
	json_t *patch = parse("{}");

	(void)state;
	mmds_init(&mmds, 1000);
	assert_null(mmds_get(&mmds));
	assert_int_equal(mmds_patch(&mmds, patch, &err), -ENODATA);
	assert_string_equal(err.text, "The MMDS data store is not initialized.");
	json_decref(patch);
	mmds_deinit(&mmds);
}

static void what_is_over_the_limit_changes_nothing(void **state)
{
	struct mmds mmds = { 0 };
	json_t *small = parse("{\"a\": [1, {\"b\": 2}]}");
	json_t *large = parse("{\"a\": {\"b\": \"0123456789\"}}");

	(void)state;
	mmds_init(&mmds, strlen("{\"a\":[1,{\"b\":2}]}"));
	assert_int_equal(mmds_put(&mmds, large, NULL), -EFBIG);
	assert_null(mmds_get(&mmds));
	assert_int_equal(mmds_put(&mmds, small, NULL), 0);
	assert_int_equal(mmds_put(&mmds, large, NULL), -EFBIG);
	assert_int_equal(mmds_patch(&mmds, large, NULL), -EFBIG);
	assert_true(json_equal(mmds_get(&mmds), small));
	json_decref(small);
	json_decref(large);
	mmds_deinit(&mmds);
}

/* What was put is a copy: changing the one leaves the other. */
static void the_store_is_its_own(void **state)
{
	struct mmds mmds = { 0 };
	json_t *data = parse("{\"a\": {\"b\": 1}}");
	json_t *patch = parse("{\"a\": {\"c\": 2}}");

	(void)state;
	mmds_init(&mmds, 1000);
	assert_int_equal(mmds_put(&mmds, data, NULL), 0);
	assert_int_equal(mmds_patch(&mmds, patch, NULL), 0);
	assert_int_equal(json_object_size(json_object_get(data, "a")), 1);
	json_object_set_new(json_object_get(patch, "a"), "c", json_integer(3));
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(mmds_get(&mmds), "a"), "c")), 2);
	json_decref(data);
	json_decref(patch);
	mmds_deinit(&mmds);
}

static int load(struct mmds *mmds, const char *path, const char *text)
{
	struct err err = { 0 };
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	int ret;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	ret = mmds_load_file(mmds, path, &err);
	if (ret != 0)
		assert_non_null(strstr(err.text, ret == -EFBIG ? "limit" : path));
	return ret;
}

static void a_file_is_loaded(void **state)
{
	struct mmds mmds = { 0 };
	char path[] = "/tmp/televm-mmds-XXXXXX";
	char spaces[16 * 20 + 2] = "";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	mmds_init(&mmds, 20);
	assert_int_equal(load(&mmds, path, "{ \"a\": 1 }\n"), 0);
	assert_int_equal(load(&mmds, path, ""), -EINVAL);
	assert_int_equal(load(&mmds, path, "{ \"a\": 1"), -EINVAL);
	assert_int_equal(load(&mmds, path, "[1]"), -EINVAL);
	assert_int_equal(load(&mmds, path, "{\"a\":\"0123456789012345\"}"), -EFBIG);
	/* White space is not kept, but has its limit too. */
	memset(spaces, ' ', sizeof(spaces) - 1);
	memcpy(spaces, "{}", 2);
	assert_int_equal(load(&mmds, path, spaces), -EINVAL);
	spaces[16 * 20] = '\0';
	spaces[1] = ' ';
	memcpy(spaces + 16 * 20 - 9, "\"a\": 2 }", 9);
	assert_int_equal(load(&mmds, path, spaces), 0);
	assert_int_equal(json_object_size(mmds_get(&mmds)), 1);
	unlink(path);
	assert_int_equal(mmds_load_file(&mmds, path, NULL), -ENOENT);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_true(mmds_load_file(&mmds, path, NULL) < 0);
	unlink(path);
	mmds_deinit(&mmds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patches_are_merged_as_the_rfc_says),
		cmocka_unit_test(a_patch_needs_a_store),
		cmocka_unit_test(what_is_over_the_limit_changes_nothing),
		cmocka_unit_test(the_store_is_its_own),
		cmocka_unit_test(a_file_is_loaded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
