/* Checks of parts of a configuration that is not whole yet: for put.c. */
#pragma once

#include "config/config.h"
#include "util/err.h"

/** The kernel, the initramfs, and `boot_args`. */
__attribute__((warn_unused_result)) int config_validate_boot(const struct vm_config *config,
							     struct err *err);

/** Of all that does not need a kernel. */
__attribute__((warn_unused_result)) int config_validate_rest(const struct vm_config *config,
							     struct err *err);
