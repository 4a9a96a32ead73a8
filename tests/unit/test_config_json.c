/* Bodies of the API and the configuration file: what is read, what is refused and how, and that
 * what is written can be read again. */
#include "config/config_json.h"

#include "test.h"
#include "util/bits.h"
#include "util/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- parts, all in the same way ---- */

/* A body is put into a configuration that has a kernel and the network "eth0". */
enum kind { BOOT, MACHINE, DISK, NET, VSOCK, BALLOON, RNG, SERIAL, LOGGER, METRICS, MMDS, CPU };

struct case_row {
	enum kind kind;
	const char *body;
	const char *said; /* NULL: it is right */
};

#define PUT(part, type, read, put)                                                                 \
	({                                                                                         \
		struct type part = { 0 };                                                          \
		int ret_ = read;                                                                   \
		ret_ == 0 ? put(config, &part, err) : ret_;                                        \
	})

static int put(struct vm_config *config, enum kind kind, const json_t *body,
	       struct json_notes *notes, struct err *err)
{
	switch (kind) {
	case BOOT:
		return PUT(boot, config_boot_source, boot_source_from_json(&boot, body, err),
			   vm_config_put_boot_source);
	case MACHINE:
		return PUT(machine, config_machine,
			   machine_from_json(&machine, body, false, notes, err),
			   vm_config_put_machine);
	case DISK:
		return PUT(disk, config_disk, disk_from_json(&disk, body, err), vm_config_put_disk);
	case NET:
		return PUT(net, config_net, net_from_json(&net, body, err), vm_config_put_net);
	case VSOCK:
		return PUT(vsock, config_vsock, vsock_from_json(&vsock, body, notes, err),
			   vm_config_put_vsock);
	case BALLOON:
		return PUT(balloon, config_balloon, balloon_from_json(&balloon, body, err),
			   vm_config_put_balloon);
	case RNG:
		return PUT(rng, config_rng, rng_from_json(&rng, body, err), vm_config_put_rng);
	case SERIAL:
		return PUT(serial, config_serial, serial_from_json(&serial, body, err),
			   vm_config_put_serial);
	case LOGGER:
		return PUT(logger, config_logger, logger_from_json(&logger, body, err),
			   vm_config_put_logger);
	case METRICS:
		return PUT(metrics, config_metrics, metrics_from_json(&metrics, body, err),
			   vm_config_put_metrics);
	case MMDS:
		return PUT(mmds, config_mmds, mmds_from_json(&mmds, body, notes, err),
			   vm_config_put_mmds);
	default:
		return PUT(cpu, config_cpu, cpu_from_json(&cpu, body, err), vm_config_put_cpu);
	}
}

static json_t *parse(const char *text)
{
	json_t *object = NULL;
	struct err err = { 0 };

	if (json_parse_object(text, strlen(text), NULL, &object, &err) != 0)
		fail_msg("%s: %s", text, err.text);
	return object;
}

static int put_text(struct vm_config *config, enum kind kind, const char *text,
		    struct json_notes *notes, struct err *err)
{
	json_t *body = parse(text);
	int ret = put(config, kind, body, notes, err);

	json_decref(body);
	return ret;
}

static void init(struct vm_config *config)
{
	struct json_notes notes = { 0 };
	struct err err;

	vm_config_init_api(config);
	assert_int_equal(put_text(config, BOOT, "{\"kernel_image_path\": \"Image\"}", &notes, &err),
			 0);
	assert_int_equal(put_text(config, NET,
				  "{\"iface_id\": \"eth0\", \"host_dev_name\": \"tap0\","
				  " \"guest_mac\": \"02:00:00:00:00:01\"}",
				  &notes, &err),
			 0);
}

/* What it writes is what a second one writes that has read it. */
static void assert_round_trip(const struct vm_config *config)
{
	json_t *first = vm_config_to_json(config);
	struct json_notes notes = { 0 };
	struct vm_config again;
	struct err err = { 0 };
	json_t *second;

	assert_non_null(first);
	vm_config_init_api(&again);
	if (vm_config_load(&again, first, &notes, &err) != 0)
		fail_msg("%s", err.text);
	second = vm_config_to_json(&again);
	assert_true(json_equal(first, second));
	json_decref(first);
	json_decref(second);
	vm_config_deinit(&again);
}

static void try_row(const struct case_row *row)
{
	struct vm_config config;
	struct json_notes notes = { 0 };
	struct err err = { 0 };
	json_t *before;
	json_t *after;
	int ret;

	init(&config);
	before = vm_config_to_json(&config);
	ret = put_text(&config, row->kind, row->body, &notes, &err);
	after = vm_config_to_json(&config);
	if (row->said == NULL && ret != 0)
		fail_msg("%s: %s", row->body, err.text);
	if (row->said != NULL && (ret != -EINVAL || strstr(err.text, row->said) == NULL))
		fail_msg("%s: %d, '%s' does not say '%s'", row->body, ret, err.text, row->said);
	/* Refused, nothing has changed. */
	if (ret != 0)
		assert_true(json_equal(before, after));
	assert_round_trip(&config);
	json_decref(before);
	json_decref(after);
	vm_config_deinit(&config);
}

static void good_bodies(void **state)
{
	static const struct case_row rows[] = {
		{ BOOT, "{\"kernel_image_path\": \"k\", \"initrd_path\": \"i\"}", NULL },
		{ BOOT, "{\"kernel_image_path\": \"k\", \"boot_args\": \"\"}", NULL },
		{ MACHINE, "{\"vcpu_count\": 2, \"mem_size_mib\": 256}", NULL },
		{ DISK, "{\"drive_id\": \"r\", \"path_on_host\": \"p\", \"is_root_device\": true}",
		  NULL },
		{ CPU, "{}", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		try_row(&rows[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_bodies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
