#include "riscv/isa.h"
#include "riscv/sbi.h"
#include "test.h"
#include "util/bits.h"

#include <errno.h>
#include <string.h>

static const char *string_of(const char *const names[], size_t n)
{
	static char buf[ISA_STRING_SIZE];
	struct isa isa = { 0 };

	for (size_t i = 0; i < n; i++)
		isa_add(&isa, names[i]);
	assert_int_equal(isa_string(&isa, buf, sizeof(buf)), 0);
	return buf;
}

static void orders_names_canonically(void **state)
{
	static const char *const names[] = {
		"xtheadba", "svinval", "sstc",   "ssaia",  "smstateen", "zvkb", "zvfh",  "ztso",
		"zkr",      "zk",      "zbb",    "zba",    "zfh",       "zca",  "zawrs", "zacas",
		"zmmul",    "zihpm",   "zicntr", "zicboz", "zicbom",    "h",    "v",     "c",
		"d",        "f",       "a",      "m",      "i",
	};

	(void)state;
	assert_string_equal(string_of(names, ARRAY_SIZE(names)),
			    "rv64imafdcvh_zicbom_zicboz_zicntr_zihpm_zmmul_zacas_zawrs_zfh_zca"
			    "_zba_zbb_zk_zkr_ztso_zvfh_zvkb_smstateen_ssaia_sstc_svinval_xtheadba");
}

static void holds_each_name_once(void **state)
{
	struct isa isa = { 0 };

	(void)state;
	isa_add(&isa, "zba");
	isa_add(&isa, "i");
	isa_add(&isa, "zba");
	isa_add(&isa, "i");
	assert_int_equal(isa.n, 2);
	assert_string_equal(isa.names[0], "i");
	assert_true(isa_has(&isa, "zba"));
	assert_true(isa_has(&isa, "i"));
	assert_false(isa_has(&isa, "zb"));
	assert_false(isa_has(&isa, "zbab"));
	assert_false(isa_has(&isa, ""));
}

static void removes_names(void **state)
{
	struct isa isa = { 0 };
	char buf[ISA_STRING_SIZE];

	(void)state;
	isa_add(&isa, "i");
	isa_add(&isa, "zba");
	isa_add(&isa, "zbb");
	isa_remove(&isa, "zba");
	isa_remove(&isa, "zba");
	isa_remove(&isa, "v");
	assert_int_equal(isa_string(&isa, buf, sizeof(buf)), 0);
	assert_string_equal(buf, "rv64i_zbb");
	isa_remove(&isa, "zbb");
	isa_remove(&isa, "i");
	assert_int_equal(isa.n, 0);
}

/* An old parser reads "zfoo2" as version 2 of "zfoo", which is another extension. */
static void removes_what_needs_it(void **state)
{
	static const char *const names[] = { "i",   "m",    "a",       "f",      "d",    "c",
					     "v",   "zvfh", "zvfhmin", "zfhmin", "zfh",  "zca",
					     "zcd", "zba",  "zacas",   "zaamo",  "zvbb", "zvkb" };
	static const struct {
		const char *off;
		const char *left;
	} rows[] = {
		{ "v", "rv64imafdc_zaamo_zacas_zfh_zfhmin_zca_zcd_zba" },
		{ "f", "rv64imac_zaamo_zacas_zca_zba" },
		{ "zfhmin", "rv64imafdcv_zaamo_zacas_zca_zcd_zba_zvbb_zvfhmin_zvkb" },
		{ "a", "rv64imfdcv_zfh_zfhmin_zca_zcd_zba_zvbb_zvfh_zvfhmin_zvkb" },
		{ "c", "rv64imafdv_zaamo_zacas_zfh_zfhmin_zba_zvbb_zvfh_zvfhmin_zvkb" },
		/* Not there itself, but what needs it is. */
		{ "zicsr", "rv64imac_zaamo_zacas_zca_zba" },
		{ "nothing", "rv64imafdcv_zaamo_zacas_zfh_zfhmin_zca_zcd_zba_zvbb_zvfh_zvfhmin_"
			     "zvkb" },
	};
	char buf[ISA_STRING_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct isa isa = { 0 };

		for (size_t k = 0; k < ARRAY_SIZE(names); k++)
			isa_add(&isa, names[k]);
		isa_remove_with_dependents(&isa, rows[i].off);
		assert_int_equal(isa_string(&isa, buf, sizeof(buf)), 0);
		assert_string_equal(buf, rows[i].left);
	}
}

static void old_string_has_no_versions(void **state)
{
	static const char *const names[] = { "i", "zfoo2", "zvl128b", "sv39" };

	(void)state;
	assert_string_equal(string_of(names, ARRAY_SIZE(names)), "rv64i_zvl128b");
}

static void tells_when_it_does_not_fit(void **state)
{
	struct isa isa = { 0 };
	char buf[11];

	(void)state;
	isa_add(&isa, "i");
	isa_add(&isa, "zba");
	assert_int_equal(isa_string(&isa, buf, sizeof(buf)), 0);
	assert_string_equal(buf, "rv64i_zba");
	assert_int_equal(isa_string(&isa, buf, 9), -ENOSPC);
	assert_string_equal(buf, "rv64i_zb");
	assert_int_equal(isa_string(&isa, buf, 4), -ENOSPC);
	assert_string_equal(buf, "rv6");
}

/* The promised size is enough for the largest set there can be. */
static void largest_set_fits(void **state)
{
	static char names[ISA_MAX_NAMES][ISA_MAX_NAME_LEN + 1];
	char buf[ISA_STRING_SIZE];
	struct isa isa = { 0 };

	(void)state;
	for (unsigned int i = 0; i < ISA_MAX_NAMES; i++) {
		memset(names[i], 'z', ISA_MAX_NAME_LEN);
		names[i][1] = (char)('a' + i % 26);
		names[i][2] = (char)('a' + i / 26);
		isa_add(&isa, names[i]);
	}
	assert_int_equal(isa.n, ISA_MAX_NAMES);
	assert_int_equal(isa_string(&isa, buf, sizeof(buf)), 0);
	assert_int_equal(strlen(buf), 4 + ISA_MAX_NAMES * (ISA_MAX_NAME_LEN + 1));
}

static void names_sbi_extensions(void **state)
{
	(void)state;
	assert_string_equal(sbi_extension_name(0x4442434e), "DBCN");
	assert_string_equal(sbi_extension_name(0x10), "BASE");
	assert_string_equal(sbi_extension_name(0), "legacy");
	assert_string_equal(sbi_extension_name(15), "legacy");
	assert_null(sbi_extension_name(0x11));
	assert_null(sbi_extension_name(UINT64_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(orders_names_canonically),
		cmocka_unit_test(holds_each_name_once),
		cmocka_unit_test(removes_names),
		cmocka_unit_test(removes_what_needs_it),
		cmocka_unit_test(old_string_has_no_versions),
		cmocka_unit_test(tells_when_it_does_not_fit),
		cmocka_unit_test(largest_set_fits),
		cmocka_unit_test(names_sbi_extensions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
