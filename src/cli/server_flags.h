/* The flags of the start forms without a command word, which are Firecracker's. */
#pragma once

#include "cli/options.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERVER_SOCK "/run/firecracker.socket" /* where Firecracker's is */

/** What they say. Strings are the process's arguments. */
struct server_options {
	const char *sock;
	const char *id;
	const char *config_path;   /**< NULL: the machine is configured over the API */
	const char *metadata_path; /**< NULL: none */
	const char *log_path;
	const char *log_level;
	const char *log_module;
	const char *metrics_path;
	size_t max_payload; /**< of a request's body, in bytes; 0: the default */
	size_t mmds_limit;  /**< 0: as max_payload */
	uint64_t start_time_us;
	uint64_t start_time_cpu_us;
	uint64_t parent_cpu_time_us;
	bool has_start_time;
	bool has_start_time_cpu;
	bool show_log_level;
	bool show_log_origin;
	bool has_no_api;
	bool has_boot_timer;
	bool wants_version;
};

extern const struct option_row server_flags[];

/**
 * Parse all of the process's arguments; nothing is opened.
 * \return 0; 1 when help was asked for; -EINVAL with a sentence
 */
__attribute__((warn_unused_result)) int server_options_parse(struct server_options *options,
							     int argc, char **argv,
							     struct err *err);
