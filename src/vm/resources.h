/*
 * What a configuration names, opened before there is a machine: so a mistake is told to whoever
 * made it, when he made it, and the machine gets just what was named then.
 *
 * Each function opens anew what has the same name already and lets go of the old one. vm_new()
 * takes out what it uses and opens the rest by itself. On the I/O thread.
 */
#pragma once

#include "config/config.h"
#include "util/err.h"

struct vm_resources;

/** \return NULL: no memory */
__attribute__((warn_unused_result)) struct vm_resources *vm_resources_new(void);

/** Legal on NULL. */
void vm_resources_free(struct vm_resources *resources);

/** Open the kernel, recognise it, and open the initramfs. \return 0, or a sentence names the file
 */
__attribute__((warn_unused_result)) int vm_resources_open_kernel(struct vm_resources *resources,
								 const struct vm_config *config,
								 struct err *err);

/** Open and lock a disk's file. */
__attribute__((warn_unused_result)) int vm_resources_open_disk(struct vm_resources *resources,
							       const struct config_disk *disk,
							       struct err *err);

/** Open a network's tap, or start its passt. */
__attribute__((warn_unused_result)) int vm_resources_open_net(struct vm_resources *resources,
							      const struct config_net *net,
							      struct err *err);

/** Listen on the socket. */
__attribute__((warn_unused_result)) int vm_resources_open_vsock(struct vm_resources *resources,
								const struct config_vsock *vsock,
								struct err *err);

/** Open where the serial console's output goes, if that is not standard output. */
__attribute__((warn_unused_result)) int vm_resources_open_serial(struct vm_resources *resources,
								 const struct config_serial *serial,
								 struct err *err);
