#include "config/services.h"

#include "config/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* RFC 3927, 2.1: the first and last 256 addresses of 169.254/16 are reserved. */
static bool is_link_local(uint32_t ipv4)
{
	unsigned int third = ipv4 >> 8 & 0xff;

	return ipv4 >> 16 == (169U << 8 | 254) && third >= 1 && third <= 254;
}

static int validate_mmds(const struct vm_config *config, struct err *err)
{
	const struct config_mmds *mmds = &config->mmds;

	if (!mmds->is_set)
		return 0;
	if (mmds->n_nets == 0)
		return err_set(err, -EINVAL, "The list of network interface IDs for MMDS is empty");
	for (unsigned int i = 0; i < mmds->n_nets; i++) {
		if (vm_config_find_net(config, mmds->nets[i]) == config->n_nets)
			return err_set(err, -EINVAL, "MMDS: there is no network interface '%.*s'",
				       CONFIG_ID_MAX, mmds->nets[i]);
	}
	if (!is_link_local(mmds->ipv4))
		return err_set(err, -EINVAL,
			       "The MMDS IPv4 address is not link local: 169.254.1.0 to "
			       "169.254.254.255 are");
	return 0;
}

static int validate_path(const char *what, const char *path, struct err *err)
{
	if (path != NULL && path[0] == '\0')
		return err_set(err, -EINVAL, "the path of %s is empty", what);
	return 0;
}

int config_services_validate(const struct vm_config *config, struct err *err)
{
	int ret = validate_mmds(config, err);

	if (ret == 0)
		ret = validate_path("the serial console's output", config->serial.out_path, err);
	if (ret == 0)
		ret = validate_path("the log", config->logger.path, err);
	if (ret == 0)
		ret = validate_path("the metrics", config->metrics.path, err);
	return ret;
}

void config_serial_deinit(struct config_serial *serial)
{
	free(serial->out_path);
	*serial = (struct config_serial){ 0 };
}

void config_mmds_deinit(struct config_mmds *mmds)
{
	for (unsigned int i = 0; i < mmds->n_nets; i++)
		free(mmds->nets[i]);
	*mmds = (struct config_mmds){ 0 };
}

void config_logger_deinit(struct config_logger *logger)
{
	free(logger->path);
	free(logger->module);
	*logger = (struct config_logger){ 0 };
}

int config_logger_dup(struct config_logger *copy, const struct config_logger *logger,
		      struct err *err)
{
	int ret = 0;

	*copy = *logger;
	copy->path = NULL;
	copy->module = NULL;
	if (logger->path != NULL)
		ret = vm_config_set_string(&copy->path, logger->path, err);
	if (ret == 0 && logger->module != NULL)
		ret = vm_config_set_string(&copy->module, logger->module, err);
	if (ret != 0)
		config_logger_deinit(copy);
	return ret;
}

void config_metrics_deinit(struct config_metrics *part)
{
	free(part->path);
	for (unsigned int i = 0; i < part->n_properties; i++) {
		free(part->properties[i].name);
		free(part->properties[i].value);
	}
	*part = (struct config_metrics){ 0 };
}

void config_services_deinit(struct vm_config *config)
{
	config_serial_deinit(&config->serial);
	config_mmds_deinit(&config->mmds);
	config_logger_deinit(&config->logger);
	config_metrics_deinit(&config->metrics);
}
