/* `televm ctl SOCK status`: what a person wants to know first, from two answers of the API. */
#include "cli/ctl.h"
#include "cli/http_client.h"
#include "util/cleanup.h"

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text == NULL ? "" : text;
}

static long long number_of(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static bool is_true(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

static int show_disk(struct ctl *ctl, const json_t *disk)
{
	return ctl_row(ctl, "disk", "%s: %s%s%s", text_of(disk, "drive_id"),
		       text_of(disk, "path_on_host"),
		       is_true(disk, "is_root_device") ? ", root" : "",
		       is_true(disk, "is_read_only") ? ", read-only" : "");
}

static int show_net(struct ctl *ctl, const json_t *net)
{
	const char *mac = text_of(net, "guest_mac");

	return ctl_row(ctl, "network", "%s: %s%s%s", text_of(net, "iface_id"),
		       is_true(net, "user") ? "user" : text_of(net, "host_dev_name"),
		       mac[0] == '\0' ? "" : ", ", mac);
}

static int show_each(struct ctl *ctl, const json_t *list,
		     int (*show)(struct ctl *ctl, const json_t *item))
{
	int status = 0;

	for (size_t i = 0; i < json_array_size(list) && status == 0; i++)
		status = show(ctl, json_array_get(list, i));
	return status;
}

static int show_config(struct ctl *ctl, const json_t *config)
{
	const json_t *machine = json_object_get(config, "machine-config");
	const json_t *boot = json_object_get(config, "boot-source");
	const json_t *vsock = json_object_get(config, "vsock");
	const json_t *balloon = json_object_get(config, "balloon");
	int status = ctl_row(ctl, "vCPUs", "%lld", number_of(machine, "vcpu_count"));

	if (status == 0)
		status = ctl_row(ctl, "memory", "%lld MiB", number_of(machine, "mem_size_mib"));
	if (status == 0 && json_is_object(boot))
		status = ctl_row(ctl, "kernel", "%s", text_of(boot, "kernel_image_path"));
	if (status == 0)
		status = show_each(ctl, json_object_get(config, "drives"), show_disk);
	if (status == 0)
		status = show_each(ctl, json_object_get(config, "network-interfaces"), show_net);
	if (status == 0 && json_is_object(vsock))
		status = ctl_row(ctl, "vsock", "cid %lld: %s", number_of(vsock, "guest_cid"),
				 text_of(vsock, "uds_path"));
	if (status == 0 && json_is_object(balloon))
		status = ctl_row(ctl, "balloon", "%lld MiB", number_of(balloon, "amount_mib"));
	return status;
}

static int show_instance(struct ctl *ctl, const json_t *instance, int pid)
{
	int status = ctl_row(ctl, "id", "%s", text_of(instance, "id"));

	if (status == 0)
		status = ctl_row(ctl, "state", "%s", text_of(instance, "state"));
	if (status == 0 && pid > 0)
		status = ctl_row(ctl, "process", "%d", pid);
	if (status == 0)
		status = ctl_row(ctl, "API", "%s %s", text_of(instance, "app_name"),
				 text_of(instance, "vmm_version"));
	return status;
}

static int show_json(struct ctl *ctl, json_t *instance, json_t *config, int pid)
{
	if ((pid <= 0 || json_object_set_new(instance, "pid", json_integer(pid)) == 0) &&
	    json_object_set(instance, "config", config) == 0)
		return ctl_print_json(ctl, instance);
	err_set(&ctl->err, -1, "no memory");
	return CTL_REFUSED;
}

static int find_process(struct ctl *ctl)
{
	cleanup_close int fd = http_connect(ctl->sock, &ctl->err);

	return fd < 0 ? 0 : ctl_find_process(fd);
}

int ctl_status(struct ctl *ctl, int argc, char **argv)
{
	cleanup_json json_t *instance = NULL;
	cleanup_json json_t *config = NULL;
	int status = ctl_get(ctl, "/", &instance);
	int pid;

	(void)argc;
	(void)argv;
	if (status == 0)
		status = ctl_get(ctl, "/vm/config", &config);
	if (status != 0)
		return status;
	pid = find_process(ctl);
	if (ctl->is_json)
		return show_json(ctl, instance, config, pid);
	status = show_instance(ctl, instance, pid);
	return status != 0 ? status : show_config(ctl, config);
}
