/*
 * Help on standard output: the same form for all commands, and a sentence in the log where it
 * cannot be written.
 */
#pragma once

#include "cli/options.h"

/** Print a text that is whole lines. \return the process's exit status */
__attribute__((warn_unused_result)) int cli_print(const char *text);

/**
 * Print the help of a command: \p head, a line for each flag, \p tail.
 * \return the process's exit status
 */
__attribute__((warn_unused_result)) int cli_print_help(const char *head,
						       const struct option_row *rows,
						       const char *tail);

/**
 * After a mistake, log where a flag belongs that stands in the wrong place.
 * \param rows flags of this place
 * \param others flags of another
 * \param where the other place: "'televm run'"
 */
void cli_hint_at_flags(const struct option_row *rows, const struct option_row *others,
		       const char *where, int argc, char **argv);

/** Print what a shell completes with: \p words, lines, and then the flags. \return likewise */
__attribute__((warn_unused_result)) int cli_print_words(const char *words,
							const struct option_row *rows);
