/*
 * The configuration as JSON, in Firecracker's form: bodies of the API, the configuration file, and
 * what is given back.
 *
 * Reading is strict: a field that is unknown, missing or of the wrong type is refused by a sentence
 * that names it, and nothing is changed. null is the same as a field that is not there. What can
 * be judged only beside the rest of the configuration is judged by vm_config_put_*(), so flags,
 * file and API meet the same checks.
 *
 * Objects of jansson are borrowed when they are arguments and given away when they are returned.
 * Whoever starts the process calls json_object_seed(0) first: else jansson opens /dev/urandom when
 * it makes its first object.
 *
 * Strings that were read are UTF-8 without NUL, but may have control characters. A sentence may
 * quote what the command line or the host gave, which is any bytes.
 */
#pragma once

#include "config/config.h"
#include "util/err.h"

#include <jansson.h>

/** What Firecracker calls deprecated was used: the answer says so. Set, never cleared. */
struct json_notes {
	bool is_deprecated;
};

/**
 * Parse a text that is to be one JSON object: no duplicate names, nothing behind it.
 * \param what names it in the sentence, as a file does; NULL: a request's body
 * \param object set to a new reference
 * \return 0; -EINVAL with a sentence that has line and column; -ENOMEM
 */
__attribute__((warn_unused_result)) int json_parse_object(const char *text, size_t len,
							  const char *what, json_t **object,
							  struct err *err);

/**
 * Read a regular file whose text is one JSON object.
 * \param max bytes that it may have
 * \return as json_parse_object(); -errno, with a sentence that names the file
 */
__attribute__((warn_unused_result)) int json_read_file(const char *path, uint64_t max,
						       json_t **object, struct err *err);

/* ---- bodies: \return 0; -EINVAL with a sentence; -ENOMEM ---- */

/* Into a zeroed object, whose strings are then owned by it: config_x_deinit() frees what is not
 * put. After a failure it is zeroed again. */

struct config_boot_source {
	char *kernel_path;
	char *initrd_path;
	char *boot_args; /**< NULL: the default */
};

void config_boot_source_deinit(struct config_boot_source *boot);

/** PUT /boot-source */
int boot_source_from_json(struct config_boot_source *boot, const json_t *body, struct err *err);

/** PUT /drives/ID */
int disk_from_json(struct config_disk *disk, const json_t *body, struct err *err);

/** PUT /network-interfaces/ID */
int net_from_json(struct config_net *net, const json_t *body, struct err *err);

/** PUT /vsock */
int vsock_from_json(struct config_vsock *vsock, const json_t *body, struct json_notes *notes,
		    struct err *err);

/** PUT /balloon */
int balloon_from_json(struct config_balloon *balloon, const json_t *body, struct err *err);

/** PUT /entropy */
int rng_from_json(struct config_rng *rng, const json_t *body, struct err *err);

/** PUT /serial */
int serial_from_json(struct config_serial *serial, const json_t *body, struct err *err);

/** PUT /metrics */
int metrics_from_json(struct config_metrics *part, const json_t *body, struct err *err);

/** PUT /mmds/config */
int mmds_from_json(struct config_mmds *mmds, const json_t *body, struct json_notes *notes,
		   struct err *err);

/** PUT /cpu-config */
int cpu_from_json(struct config_cpu *cpu, const json_t *body, struct err *err);

/* On top of what is there. */

/** PUT /logger: fields that are not there stay as they are, and all of them after a failure. */
int logger_from_json(struct config_logger *logger, const json_t *body, struct err *err);

/** What /machine-config is about; the other fields of the configuration are not its own. */
struct config_machine {
	uint64_t vcpu_count;
	uint64_t mem_mib;
	bool smt;
	bool track_dirty_pages;
	enum config_pages pages;
};

/**
 * PUT (all but two fields may be left out, and then have their defaults) or PATCH (at least one is
 * needed) /machine-config.
 * \return as the others; -ENODATA: a PATCH of nothing, with Firecracker's whole sentence
 */
int machine_from_json(struct config_machine *machine, const json_t *body, bool is_patch,
		      struct json_notes *notes, struct err *err);

/**
 * PATCH /drives/ID.
 * \param path set to a string that the caller frees; NULL: it is not there
 * \param limits changed where asked
 * \return as the others; -ESRCH: the body is about another id, with Firecracker's whole sentence
 */
int disk_patch_from_json(const char *id, char **path, struct rate_limiter_config *limits,
			 const json_t *body, struct err *err);

/** PATCH /network-interfaces/ID, likewise. */
int net_patch_from_json(const char *id, struct rate_limiter_config *rx,
			struct rate_limiter_config *tx, const json_t *body, struct err *err);

/** A body of one field, which is needed: PATCH /balloon, /balloon/statistics, /vm, PUT /actions. */
int json_one_uint(const json_t *body, const char *name, uint64_t max, uint64_t *value,
		  struct err *err);
int json_one_name(const json_t *body, const char *name, const char *const names[],
		  unsigned int n_names, unsigned int *value, struct err *err);

/** PATCH /balloon/hinting/start; \p body may be NULL. */
int hinting_from_json(bool *acknowledge_on_stop, const json_t *body, struct err *err);

/* ---- into the configuration: checked against all of it, in the place of what was there ----
 *
 * What is put is taken over and zeroed, in any case; when it is refused, nothing is changed.
 * Devices have their ids. \return 0; -EINVAL with a sentence
 *
 * A vm_config_check_x() says what the put would say, and changes nothing: for who opens files
 * between the two. */

int vm_config_put_boot_source(struct vm_config *config, struct config_boot_source *boot,
			      struct err *err);
int vm_config_put_machine(struct vm_config *config, const struct config_machine *machine,
			  struct err *err);
int vm_config_put_disk(struct vm_config *config, struct config_disk *disk, struct err *err);
int vm_config_put_net(struct vm_config *config, struct config_net *net, struct err *err);
int vm_config_put_vsock(struct vm_config *config, struct config_vsock *vsock, struct err *err);
int vm_config_put_balloon(struct vm_config *config, const struct config_balloon *balloon,
			  struct err *err);
int vm_config_put_rng(struct vm_config *config, const struct config_rng *rng, struct err *err);
int vm_config_put_serial(struct vm_config *config, struct config_serial *serial, struct err *err);
int vm_config_put_cpu(struct vm_config *config, struct config_cpu *cpu, struct err *err);
int vm_config_put_mmds(struct vm_config *config, struct config_mmds *mmds, struct err *err);

int vm_config_put_logger(struct vm_config *config, struct config_logger *logger, struct err *err);
int vm_config_put_metrics(struct vm_config *config, struct config_metrics *part, struct err *err);

int vm_config_check_boot_source(const struct vm_config *config,
				const struct config_boot_source *boot, struct err *err);
int vm_config_check_disk(const struct vm_config *config, const struct config_disk *disk,
			 struct err *err);
int vm_config_check_net(const struct vm_config *config, const struct config_net *net,
			struct err *err);
int vm_config_check_vsock(const struct vm_config *config, const struct config_vsock *vsock,
			  struct err *err);
int vm_config_check_serial(const struct vm_config *config, const struct config_serial *serial,
			   struct err *err);

/** The current values, for a PATCH of /machine-config. */
void vm_config_get_machine(const struct vm_config *config, struct config_machine *machine);

/* ---- out of it: a new reference, NULL when there is no memory ---- */

/** GET /machine-config, /balloon; the token buckets of others. */
json_t *machine_to_json(const struct vm_config *config);
json_t *balloon_to_json(const struct config_balloon *balloon);

/** GET /vm/config, `televm run --print-config`: can be fed in again as a configuration file. */
json_t *vm_config_to_json(const struct vm_config *config);

/**
 * Take in a configuration file's object: all of its parts, in an order that satisfies the checks.
 * Unknown names at the top are passed over.
 * \param config as vm_config_init_api() left it; after a failure there are parts in it
 * \return 0; -EINVAL with a sentence that begins with the part's name; -errno
 */
__attribute__((warn_unused_result)) int vm_config_load(struct vm_config *config,
						       const json_t *object,
						       struct json_notes *notes, struct err *err);

/** Read such a file, whose name is then in the sentences. */
__attribute__((warn_unused_result)) int vm_config_load_file(struct vm_config *config,
							    const char *path,
							    struct json_notes *notes,
							    struct err *err);
