/*
 * What is around a VM, apart from its devices: the serial console's output, the metadata service,
 * the log, metrics. A part of struct vm_config, which owns all strings.
 */
#pragma once

#include "backend/rate_limiter.h"
#include "config/devices.h"
#include "util/err.h"
#include "util/log.h"

#include <stdbool.h>
#include <stdint.h>

/** Where the serial console's output goes. */
struct config_serial {
	char *out_path;                   /**< a file or FIFO; NULL: standard output */
	struct token_bucket_config limit; /**< of bytes: what is more is dropped. size 0: none */
};

/** The metadata service; what it serves is not part of the configuration. */
struct config_mmds {
	bool is_set;
	char *nets[CONFIG_NETS_MAX]; /**< ids of the networks that reach it */
	unsigned int n_nets;
	unsigned int version; /**< 1 or 2 */
	uint32_t ipv4;        /**< in the host's byte order; 169.254.169.254 */
	bool imds_compat;
};

/** The log, of the process. */
struct config_logger {
	char *path; /**< NULL: standard error */
	bool has_level;
	enum log_level level;
	char *module; /**< only lines of files whose path under src/ begins so; NULL: all */
	bool show_level;
	bool show_origin;
};

struct config_property {
	char *name;
	char *value;
};

enum { CONFIG_PROPERTIES_MAX = 16 };

struct config_metrics {
	char *path; /**< NULL: none are written */
	bool emit_id;
	struct config_property properties[CONFIG_PROPERTIES_MAX];
	unsigned int n_properties;
};

struct vm_config;

/** \return 0, or -EINVAL with a sentence that names the part */
__attribute__((warn_unused_result)) int config_services_validate(const struct vm_config *config,
								 struct err *err);

/** Free the strings of all. */
void config_services_deinit(struct vm_config *config);

/* Free the strings of one and zero it. Legal on a zeroed object, and twice. */
void config_serial_deinit(struct config_serial *serial);
void config_mmds_deinit(struct config_mmds *mmds);
void config_logger_deinit(struct config_logger *logger);
void config_metrics_deinit(struct config_metrics *part);

/** Copy, for a change that may fail. \param copy zeroed \return 0 or -ENOMEM */
__attribute__((warn_unused_result)) int config_logger_dup(struct config_logger *copy,
							  const struct config_logger *logger,
							  struct err *err);
