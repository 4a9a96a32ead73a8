/*
 * The microVM that a process is there for, from its first setting to its end: a configuration that
 * grows until the machine is started, what was opened for it, and then the machine. Every
 * operation of the API is one function here, without HTTP or JSON: who calls may be the API, the
 * configuration file, or the command line.
 *
 * Before the start an operation checks, opens what it names, and only then takes effect; a failed
 * one changes nothing. After the start it changes the machine first and the configuration then, so
 * that what is given back is what is.
 *
 * What can fail returns 0, or a negative errno with a sentence. All on the I/O thread.
 */
#pragma once

#include "config/config.h"
#include "config/config_json.h"
#include "util/err.h"
#include "vm/vm.h"

struct event_base;
struct microvm;
struct mmds;

struct microvm_options {
	const char *id;          /**< of the instance; copied */
	struct event_base *base; /**< borrowed */
	bool has_boot_timer;
	size_t mmds_limit; /**< of the metadata in bytes; 0: 51200 */
	/** The machine has come to its end. */
	void (*ended)(void *ctx, enum vm_end end);
	void *ctx;
};

/**
 * A microVM that is not started, with Firecracker's defaults.
 * \param microvmp set to the microVM, owned by the caller; NULL on failure
 */
__attribute__((warn_unused_result)) int microvm_new(struct microvm **microvmp,
						    const struct microvm_options *options,
						    struct err *err);

/** Closes and frees the machine, if there is one. Legal on NULL. */
void microvm_free(struct microvm *microvm);

enum vm_state microvm_get_state(const struct microvm *microvm);
const struct vm_config *microvm_get_config(const struct microvm *microvm);

/** The machine; NULL before its start. */
struct vm *microvm_get_vm(struct microvm *microvm);

const char *microvm_get_id(const struct microvm *microvm);

/** The metadata store. */
struct mmds *microvm_get_mmds(struct microvm *microvm);

/** Was something set that only a machine that boots has? Then no snapshot can be loaded. */
bool microvm_is_boot_path(const struct microvm *microvm);

/* ---- before the start; what is put is taken over in any case ---- */

int microvm_put_boot_source(struct microvm *microvm, struct config_boot_source *boot,
			    struct err *err);
int microvm_put_machine(struct microvm *microvm, const struct config_machine *machine,
			struct err *err);
int microvm_put_disk(struct microvm *microvm, struct config_disk *disk, struct err *err);
int microvm_put_net(struct microvm *microvm, struct config_net *net, struct err *err);
int microvm_put_vsock(struct microvm *microvm, struct config_vsock *vsock, struct err *err);
int microvm_put_balloon(struct microvm *microvm, const struct config_balloon *balloon,
			struct err *err);
int microvm_put_rng(struct microvm *microvm, const struct config_rng *rng, struct err *err);
int microvm_put_serial(struct microvm *microvm, struct config_serial *serial, struct err *err);
int microvm_put_cpu(struct microvm *microvm, struct config_cpu *cpu, struct err *err);
int microvm_put_mmds(struct microvm *microvm, struct config_mmds *mmds, struct err *err);
int microvm_put_logger(struct microvm *microvm, struct config_logger *logger, struct err *err);
int microvm_put_metrics(struct microvm *microvm, struct config_metrics *config, struct err *err);

/** A whole configuration, completed: in the place of what was put. Taken over in any case, and left
 * zeroed. */
int microvm_put_config(struct microvm *microvm, struct vm_config *config, struct err *err);

/** All of a configuration file. */
int microvm_load_file(struct microvm *microvm, const char *path, struct json_notes *notes,
		      struct err *err);

/**
 * Build the machine and let it run; before there is one. After a failure it may be tried again.
 * \param fault set on failure: whose fault it is
 */
int microvm_start(struct microvm *microvm, enum vm_fault *fault, struct err *err);

/* ---- afterwards ---- */

/**
 * Another file for a disk, or the same one again, and other limits.
 * \param path NULL: as it is
 * \param limits NULL: as they are
 * \return -ENOENT: there is none of this id
 */
int microvm_patch_disk(struct microvm *microvm, const char *id, const char *path,
		       const struct rate_limiter_change *limits, struct err *err);

/** Other limits for a network. \return -ENOENT: there is none of this id */
int microvm_patch_net(struct microvm *microvm, const char *id, const struct rate_limiter_change *rx,
		      const struct rate_limiter_change *tx, struct err *err);

/** Both do nothing if it is so already. */
void microvm_pause(struct microvm *microvm);
void microvm_resume(struct microvm *microvm);

/** The balloon of a machine that was started. \return NULL: it has none, and a sentence says so */
struct balloon *microvm_get_balloon(struct microvm *microvm, struct err *err);

/** Of the balloon of a machine that was started. \return -ENODEV: it has none */
int microvm_set_balloon_target(struct microvm *microvm, uint64_t mib, struct err *err);
int microvm_set_balloon_interval(struct microvm *microvm, unsigned int interval_s, struct err *err);
