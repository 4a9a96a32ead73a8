/*
 * The command line: what the user typed, made into a configuration, a run and an exit status.
 */
#pragma once

#include "config/config.h"
#include "util/err.h"

/** Do what the command line says. \return the process's exit status */
__attribute__((warn_unused_result)) int cli_main(int argc, char **argv);

/** `televm run`; \p argv starts after the word "run". \return the process's exit status */
__attribute__((warn_unused_result)) int cli_run(int argc, char **argv);

/** What the flags of `televm run` say. */
struct run_options {
	struct vm_config config; /**< the first: the rows' setters find it at the target's place */
	bool prints_config;      /**< as JSON, and nothing is run */
	const char *api_sock;    /**< the process's argument; NULL: no API */
};

/**
 * Parse the flags of `televm run`; nothing is opened or run, and limits are not checked.
 * \param options the configuration initialised by vm_config_init(), the rest zeroed; partly filled
 * on failure
 * \return 0; 1 when help was asked for; -EINVAL with a sentence and a hint for the user; -ENOMEM
 */
__attribute__((warn_unused_result)) int cli_parse_run(int argc, char **argv,
						      struct run_options *options, struct err *err);

/** `televm ctl`; \p argv starts after the word "ctl". \return the process's exit status */
__attribute__((warn_unused_result)) int cli_ctl(int argc, char **argv);

/** Print what may stand behind `televm ctl SOCK` and, with an argument, that command's flags. */
__attribute__((warn_unused_result)) int cli_ctl_words(int argc, char **argv);

/** Whether all arguments are UTF-8, as strings of JSON have to be. */
bool cli_is_utf8(int argc, char **argv);
