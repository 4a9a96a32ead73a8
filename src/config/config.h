/*
 * What a VM shall be: one structure, whoever fills it (flags of the command line, a file, the API),
 * and one validator, so that a mistake is told in the same words everywhere.
 *
 *	vm_config_init(&config);
 *	vm_config_set_string(&config.kernel_path, text, &err);   and so on
 *	vm_config_complete(&config, &err);
 *
 * A file and the API begin with vm_config_init_api(), and put whole parts (config/config_json.h).
 *
 * Only what can be judged from the structure alone is judged here. Whether files exist and what the
 * host can give is found out by those who open and ask.
 */
#pragma once

#include "config/cpu.h"
#include "config/devices.h"
#include "config/services.h"
#include "util/err.h"
#include "util/log.h"

#include <stdbool.h>
#include <stdint.h>

/* Named by the enumerators in config.c, in this order. */
enum config_irqchip { CONFIG_IRQCHIP_AUTO, CONFIG_IRQCHIP_PLIC, CONFIG_IRQCHIP_AIA };
enum config_console { CONFIG_CONSOLE_SERIAL, CONFIG_CONSOLE_VIRTIO, CONFIG_CONSOLE_OFF };

/** Pages of guest memory: of 4 KiB, the host's transparent huge ones, or reserved ones of 2 MiB. */
enum config_pages { CONFIG_PAGES_SMALL, CONFIG_PAGES_TRANSPARENT, CONFIG_PAGES_2M };

enum {
	VM_CONFIG_VCPUS_MAX = 32,
	VM_CONFIG_CMDLINE_SIZE = 1024, /**< Linux's COMMAND_LINE_SIZE on RISC-V, NUL included */
};

#define VM_CONFIG_MEM_MIN  (UINT64_C(16) << 20)
#define VM_CONFIG_MEM_MAX  (UINT64_C(64) << 40) /* hosts stop far below and say so */
#define VM_CONFIG_MEM_UNIT (UINT64_C(2) << 20)  /* RAM ends where a huge page does */

struct vm_config {
	char *kernel_path; /**< owned, as all strings here; never NULL once validated */
	char *initrd_path; /**< NULL: none */
	char *cmdline;     /**< the guest's whole command line once completed */
	char *append;      /**< to be added to it by vm_config_complete(), NULL afterwards */
	char *boot_args;   /**< of the API's form: what `cmdline` is made of; NULL: the default */
	bool is_api_form;  /**< begun by vm_config_init_api() */
	bool has_exact_cmdline; /**< of that form: nothing is added to `boot_args` */
	unsigned int vcpu_count;
	uint64_t mem_bytes;
	enum config_irqchip irqchip;
	enum config_console console;
	bool copy_kernel;        /**< read the kernel's file instead of mapping it */
	enum config_pages pages; /**< where not small, the kernel is copied */
	bool smt;                /**< accepted for Firecracker's clients; means nothing here */
	bool track_dirty_pages;  /**< kept and given back; modified pages are found without it */
	bool has_boot_timer;     /**< a byte that the guest writes when it is up */
	bool has_power_key;      /**< vm_press_power_key() works */
	struct config_cpu cpu;
	struct config_serial serial;
	struct config_mmds mmds;
	struct config_logger logger;
	struct config_metrics metrics;
	struct config_disk
		disks[CONFIG_DISKS_MAX]; /**< in the order in which the guest finds them */
	unsigned int n_disks;
	struct config_net nets[CONFIG_NETS_MAX];
	unsigned int n_nets;
	struct config_vsock vsock;
	struct config_balloon balloon;
	struct config_rng rng;
};

/** Fill with the defaults: 1 vCPU, 256 MiB, serial console. */
void vm_config_init(struct vm_config *config);

/**
 * Fill with Firecracker's defaults, for who configures by its API or its file: 1 vCPU, 128 MiB,
 * serial console, no devices, and its command line.
 */
void vm_config_init_api(struct vm_config *config);

/** Free the strings. Legal on a zeroed object, and twice. */
void vm_config_deinit(struct vm_config *config);

/** \return the place of the disk with this id, or n_disks */
unsigned int vm_config_find_disk(const struct vm_config *config, const char *id);

/** \return the place of the network with this id, or n_nets */
unsigned int vm_config_find_net(const struct vm_config *config, const char *id);

/**
 * Set one of the strings to a copy of \p text, freeing what it was.
 * \param field &config->kernel_path and the like
 * \return 0 or -ENOMEM
 */
__attribute__((warn_unused_result)) int vm_config_set_string(char **field, const char *text,
							     struct err *err);

/** Set the interrupt controller by name: auto, plic, aia. \return 0; -EINVAL names the choices */
__attribute__((warn_unused_result)) int vm_config_set_irqchip(struct vm_config *config,
							      const char *name, struct err *err);

/** Set the console by name: serial, virtio, off. \return 0; -EINVAL names the choices */
__attribute__((warn_unused_result)) int vm_config_set_console(struct vm_config *config,
							      const char *name, struct err *err);

/** \return the name by which vm_config_set_irqchip() and vm_config_set_console() know it */
const char *vm_config_irqchip_name(enum config_irqchip irqchip);
const char *vm_config_console_name(enum config_console console);

/** Set the log level by name: off, error, warn, info, debug, trace. \return 0; -EINVAL names them
 */
__attribute__((warn_unused_result)) int vm_config_set_log_level(struct vm_config *config,
								const char *name, struct err *err);

/**
 * Complete the devices, make the command line whole (the default where none is set, then `append`,
 * then where the root file system is, if on a disk) and validate.
 * \return 0; -EINVAL with a sentence that gives the limit and what was asked; -ENOMEM
 */
__attribute__((warn_unused_result)) int vm_config_complete(struct vm_config *config,
							   struct err *err);

/** Check every field of a completed configuration. \return 0, or -EINVAL as above */
__attribute__((warn_unused_result)) int vm_config_validate(const struct vm_config *config,
							   struct err *err);
