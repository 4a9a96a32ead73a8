/*
 * What a configuration names, opened before there is a machine: so a mistake is told to whoever
 * made it, when he made it, and the machine gets just what was named then.
 *
 * Each function opens anew what has the same name already and lets go of the old one; when it fails
 * the old one is still there. vm_new() takes out what it uses and opens the rest by itself. On the
 * I/O thread.
 */
#pragma once

#include "config/config.h"
#include "util/err.h"

struct initrd;
struct kernel_image;
struct netdev;
struct unix_listener;
struct vm_resources;

/** \return NULL: no memory */
__attribute__((warn_unused_result)) struct vm_resources *vm_resources_new(void);

/** Closes what was not taken. Legal on NULL. */
void vm_resources_free(struct vm_resources *resources);

/** Open the kernel, recognise it, and open the initramfs. \return 0, or a sentence names the file
 */
__attribute__((warn_unused_result)) int vm_resources_open_kernel(struct vm_resources *resources,
								 const struct vm_config *config,
								 struct err *err);

/** Open and lock a disk's file. */
__attribute__((warn_unused_result)) int vm_resources_open_disk(struct vm_resources *resources,
							       const struct config_disk *config,
							       struct err *err);

/** Open a network's tap, or start its passt. */
__attribute__((warn_unused_result)) int vm_resources_open_net(struct vm_resources *resources,
							      const struct config_net *config,
							      struct err *err);

/** Listen on the socket. */
__attribute__((warn_unused_result)) int vm_resources_open_vsock(struct vm_resources *resources,
								const struct config_vsock *config,
								struct err *err);

/**
 * Open where the serial console's output goes, if that is not standard output. A file is made if it
 * is not there, and appended to; a FIFO needs no reader.
 */
__attribute__((warn_unused_result)) int vm_resources_open_serial(struct vm_resources *resources,
								 const struct config_serial *config,
								 struct err *err);

/*
 * For vm_new(): take what was opened for this part of the configuration, or open it now. What is
 * taken is the caller's. \p resources may be NULL. All return 0 or a negative errno with a
 * sentence.
 */

__attribute__((warn_unused_result)) int vm_resources_take_kernel(struct vm_resources *resources,
								 const struct vm_config *config,
								 struct kernel_image *kernel,
								 struct initrd *initrd,
								 struct err *err);

/** \param disk set to one from malloc(), to be closed and freed */
__attribute__((warn_unused_result)) int vm_resources_take_disk(struct vm_resources *resources,
							       const struct config_disk *config,
							       struct disk **disk, struct err *err);

__attribute__((warn_unused_result)) int vm_resources_take_net(struct vm_resources *resources,
							      const struct config_net *config,
							      struct netdev **netdev,
							      struct err *err);

__attribute__((warn_unused_result)) int vm_resources_take_vsock(struct vm_resources *resources,
								const struct config_vsock *config,
								struct unix_listener *listener,
								struct err *err);

/** \param fd set to an owned descriptor, -1: standard output */
__attribute__((warn_unused_result)) int vm_resources_take_serial(struct vm_resources *resources,
								 const struct config_serial *config,
								 int *fd, struct err *err);
