/* What of the KVM layer can be seen without KVM. */
#include "kvm/kvm_isa.h"
#include "kvm/kvm_vm.h"
#include "test.h"

#include <errno.h>
#include <string.h>

static void says_what_the_host_lacks(void **state)
{
#ifdef __riscv
	(void)state;
	skip();
#else
	struct err err = { 0 };
	struct kvm_vm vm;

	(void)state;
	assert_int_equal(kvm_vm_init(&vm, &err), -ENOSYS);
	assert_non_null(strstr(err.text, "need a riscv64 host with KVM, and this is none"));
	kvm_vm_deinit(&vm);
	kvm_vm_deinit(&vm);
#endif
}

static void names_extensions(void **state)
{
	(void)state;
	assert_string_equal(kvm_isa_name(0), "a");
	assert_null(kvm_isa_name(4)); /* h: guests do not nest */
	assert_string_equal(kvm_isa_name(14), "ssaia");
	assert_string_equal(kvm_isa_name(KVM_ISA_N_NAMES - 1), "zvfbfwma");
	assert_null(kvm_isa_name(KVM_ISA_N_NAMES));
	assert_null(kvm_isa_name(UINT32_MAX));
}

static void numbers_names(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < KVM_ISA_N_NAMES; i++) {
		if (kvm_isa_name(i) != NULL)
			assert_int_equal(kvm_isa_number(kvm_isa_name(i)), i);
	}
	assert_int_equal(kvm_isa_number("h"), -1);
	assert_int_equal(kvm_isa_number(""), -1);
	assert_int_equal(kvm_sbi_number("pmu"), 6);
	assert_int_equal(kvm_sbi_number("sta"), 10);
	assert_int_equal(kvm_sbi_number("mpxy"), 13);
	assert_int_equal(kvm_sbi_number("base"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_what_the_host_lacks),
		cmocka_unit_test(names_extensions),
		cmocka_unit_test(numbers_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
