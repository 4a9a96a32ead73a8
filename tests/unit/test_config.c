#include "config/config.h"

#include "test.h"
#include "util/bits.h"

#include <errno.h>
#include <string.h>

static void init(struct vm_config *config)
{
	vm_config_init(config);
	assert_int_equal(vm_config_set_string(&config->kernel_path, "Image", NULL), 0);
}

static void defaults(void **state)
{
	struct vm_config config;

	(void)state;
	init(&config);
	assert_int_equal(vm_config_complete(&config, NULL), 0);
	assert_string_equal(config.cmdline, "console=ttyS0 panic=1");
	assert_int_equal(config.vcpu_count, 1);
	assert_int_equal(config.mem_bytes, 256 * MIB);
	assert_int_equal(config.irqchip, CONFIG_IRQCHIP_AUTO);
	assert_int_equal(config.console, CONFIG_CONSOLE_SERIAL);
	assert_null(config.initrd_path);
	assert_false(config.copy_kernel);
	vm_config_deinit(&config);
	vm_config_deinit(&config);
}

static void command_lines(void **state)
{
	static const struct {
		const char *console;
		const char *cmdline;
		const char *append;
		const char *whole;
	} rows[] = {
		{ "serial", NULL, "quiet", "console=ttyS0 panic=1 quiet" },
		{ "off", NULL, NULL, "panic=1" },
		{ "off", NULL, "quiet", "panic=1 quiet" },
		{ "serial", "root=/dev/vda", NULL, "root=/dev/vda" },
		{ "serial", "root=/dev/vda", "rw", "root=/dev/vda rw" },
		{ "serial", "", NULL, "" },
		{ "serial", "", "rw", "rw" },
	};
	struct vm_config config;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		init(&config);
		assert_int_equal(vm_config_set_console(&config, rows[i].console, NULL), 0);
		if (rows[i].cmdline != NULL)
			assert_int_equal(
				vm_config_set_string(&config.cmdline, rows[i].cmdline, NULL), 0);
		if (rows[i].append != NULL)
			assert_int_equal(vm_config_set_string(&config.append, rows[i].append, NULL),
					 0);
		assert_int_equal(vm_config_complete(&config, NULL), 0);
		assert_string_equal(config.cmdline, rows[i].whole);
		/* Once more changes nothing. */
		assert_int_equal(vm_config_complete(&config, NULL), 0);
		assert_string_equal(config.cmdline, rows[i].whole);
		vm_config_deinit(&config);
	}
}

static int complete_cmdline(size_t len, char last, struct err *err)
{
	struct vm_config config;
	char text[2048] = "";
	int ret;

	memset(text, 'a', len);
	text[len - 1] = last;
	init(&config);
	assert_int_equal(vm_config_set_string(&config.cmdline, text, NULL), 0);
	ret = vm_config_complete(&config, err);
	vm_config_deinit(&config);
	return ret;
}

static void command_line_limits(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(complete_cmdline(1023, 'z', &err), 0);
	assert_int_equal(complete_cmdline(1024, 'z', &err), -EINVAL);
	assert_non_null(strstr(err.text, "1024"));
	assert_non_null(strstr(err.text, "1023"));
	assert_int_equal(complete_cmdline(10, '\n', &err), -EINVAL);
	assert_non_null(strstr(err.text, "0x0a"));
	assert_non_null(strstr(err.text, "10"));
	assert_int_equal(complete_cmdline(10, 0x7f, &err), -EINVAL);
	assert_int_equal(complete_cmdline(10, (char)0xc3, &err), 0);
}

static int complete(const struct vm_config *change, struct err *err)
{
	struct vm_config config;
	int ret;

	init(&config);
	config.vcpu_count = change->vcpu_count;
	config.mem_bytes = change->mem_bytes;
	ret = vm_config_complete(&config, err);
	vm_config_deinit(&config);
	return ret;
}

/* A06 of the hostile-input checklist. */
static void vcpus_and_memory(void **state)
{
	static const struct {
		struct vm_config config;
		const char *said; /* NULL: it is right */
	} rows[] = {
		{ { .vcpu_count = 1, .mem_bytes = 16 * MIB }, NULL },
		{ { .vcpu_count = 32, .mem_bytes = VM_CONFIG_MEM_MAX }, NULL },
		{ { .vcpu_count = 0, .mem_bytes = 16 * MIB }, "0 vCPUs" },
		{ { .vcpu_count = 33, .mem_bytes = 16 * MIB }, "33 vCPUs" },
		{ { .vcpu_count = UINT32_MAX, .mem_bytes = 16 * MIB }, "4294967295 vCPUs" },
		{ { .vcpu_count = 1, .mem_bytes = 0 }, "0 MiB" },
		{ { .vcpu_count = 1, .mem_bytes = 14 * MIB }, "14 MiB" },
		{ { .vcpu_count = 1, .mem_bytes = 17 * MIB }, "multiple of 2 MiB" },
		{ { .vcpu_count = 1, .mem_bytes = 16 * MIB + 4096 }, "16388 KiB" },
		{ { .vcpu_count = 1, .mem_bytes = VM_CONFIG_MEM_MAX + 2 * MIB }, "too much" },
		{ { .vcpu_count = 1, .mem_bytes = UINT64_MAX }, "too much" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = { 0 };
		int ret = complete(&rows[i].config, &err);

		assert_int_equal(ret, rows[i].said == NULL ? 0 : -EINVAL);
		if (rows[i].said != NULL)
			assert_non_null(strstr(err.text, rows[i].said));
	}
}

static void files(void **state)
{
	struct vm_config config;

	(void)state;
	vm_config_init(&config);
	assert_int_equal(vm_config_complete(&config, NULL), -EINVAL);
	assert_int_equal(vm_config_set_string(&config.kernel_path, "", NULL), 0);
	assert_int_equal(vm_config_complete(&config, NULL), -EINVAL);
	assert_int_equal(vm_config_set_string(&config.kernel_path, "Image", NULL), 0);
	assert_int_equal(vm_config_set_string(&config.initrd_path, "", NULL), 0);
	assert_int_equal(vm_config_complete(&config, NULL), -EINVAL);
	assert_int_equal(vm_config_set_string(&config.initrd_path, "initrd", NULL), 0);
	assert_int_equal(vm_config_complete(&config, NULL), 0);
	vm_config_deinit(&config);
}

static void names(void **state)
{
	struct vm_config config;
	struct err err = { 0 };

	(void)state;
	vm_config_init(&config);
	assert_int_equal(vm_config_set_irqchip(&config, "aia", NULL), 0);
	assert_int_equal(config.irqchip, CONFIG_IRQCHIP_AIA);
	assert_int_equal(vm_config_set_irqchip(&config, "plic", NULL), 0);
	assert_int_equal(config.irqchip, CONFIG_IRQCHIP_PLIC);
	assert_int_equal(vm_config_set_irqchip(&config, "apic", &err), -EINVAL);
	assert_non_null(strstr(err.text, "'apic'"));
	assert_non_null(strstr(err.text, "auto, plic or aia"));
	assert_int_equal(config.irqchip, CONFIG_IRQCHIP_PLIC);
	assert_int_equal(vm_config_set_console(&config, "", &err), -EINVAL);
	assert_non_null(strstr(err.text, "serial, virtio or off"));
	assert_int_equal(vm_config_set_log_level(&config, "debug", NULL), 0);
	assert_int_equal(config.log_level, LOG_DEBUG);
	assert_int_equal(vm_config_set_log_level(&config, "loud", &err), -EINVAL);
	vm_config_deinit(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(command_lines),
		cmocka_unit_test(command_line_limits),
		cmocka_unit_test(vcpus_and_memory),
		cmocka_unit_test(files),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
