#include "test.h"
#include "util/bits.h"
#include "util/parse.h"

#include <errno.h>

static void sizes_with_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} rows[] = {
		{ "0", 0 },
		{ "1", MIB },
		{ "16M", 16 * MIB },
		{ "2g", 2 * GIB },
		{ "128MiB", 128 * MIB },
		{ "512KB", 512 * KIB },
		{ "1T", 1024 * GIB },
		{ "16777215T", UINT64_C(16777215) * 1024 * GIB },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t bytes = 1;

		assert_int_equal(parse_size(rows[i].text, MIB, &bytes), 0);
		assert_int_equal(bytes, rows[i].bytes);
	}
}

static void sizes_that_are_none(void **state)
{
	static const char *const invalid[] = { "",    "M",   " 1M", "1 M",  "-1", "+1", "0x10",
					       "1MM", "1iB", "1Mi", "1.5G", "1E", "M1", "1M " };
	static const char *const too_big[] = { "16777216T", "18446744073709551616",
					       "99999999999999999999999999M" };
	uint64_t bytes;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(invalid); i++)
		assert_int_equal(parse_size(invalid[i], MIB, &bytes), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(too_big); i++)
		assert_int_equal(parse_size(too_big[i], MIB, &bytes), -ERANGE);
}

static void numbers(void **state)
{
	uint64_t value = 0;

	(void)state;
	assert_int_equal(parse_uint("32", 32, &value), 0);
	assert_int_equal(value, 32);
	assert_int_equal(parse_uint("18446744073709551615", UINT64_MAX, &value), 0);
	assert_int_equal(value, UINT64_MAX);
	assert_int_equal(parse_uint("33", 32, &value), -ERANGE);
	assert_int_equal(parse_uint("18446744073709551616", UINT64_MAX, &value), -ERANGE);
	assert_int_equal(parse_uint("", 32, &value), -EINVAL);
	assert_int_equal(parse_uint("1a", 32, &value), -EINVAL);
	assert_int_equal(parse_uint("-1", 32, &value), -EINVAL);
}

static void nearest(void **state)
{
	static const char *const words[] = { "--kernel", "--initrd", "--memory", "--cpus", NULL };
	static const char *const commands[] = { "run", "ctl", NULL };

	(void)state;
	assert_string_equal(nearest_word("--kernal", words), "--kernel");
	assert_string_equal(nearest_word("--cpu", words), "--cpus");
	assert_string_equal(nearest_word("--mermory", words), "--memory");
	assert_string_equal(nearest_word("--kenrel", words), "--kernel");
	assert_string_equal(nearest_word("rnu", commands), "run");
	assert_string_equal(nearest_word("ctk", commands), "ctl");
	assert_null(nearest_word("nur", commands));
	assert_null(nearest_word("--network", words));
	assert_null(nearest_word("", words));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_with_units),
		cmocka_unit_test(sizes_that_are_none),
		cmocka_unit_test(numbers),
		cmocka_unit_test(nearest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
