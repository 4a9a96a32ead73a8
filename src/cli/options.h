/*
 * Flags from a table: one row gives the flag's parsing, its line of help and its place among the
 * suggestions for a mistyped one. Pure functions but for what the rows' setters do.
 *
 * A flag is written `--flag value` or `--flag=value`, at most once if its row says no other. The
 * value of some is a list of keys, `key,key=value`, from a table of the same kind; a comma within a
 * value is written twice.
 */
#pragma once

#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { OPTIONS_MAX = 64 };

struct option_row {
	const char *name;       /**< with its dashes; NULL ends the table */
	const char *value_name; /**< in help and messages; NULL: the flag takes no value */
	const char *help;       /**< a few words; further lines after '\n' */
	/** \param at the target, or what is at `offset` in it \param value NULL when the flag takes
	 * none \return 0 or a negative errno with a sentence */
	int (*set)(void *at, const char *value, struct err *err);
	bool may_repeat;
	size_t offset; /**< of what is set, in the target */
};

/* ---- setters for the rows ---- */

/** A bool becomes true. */
int option_set_true(void *at, const char *value, struct err *err);

/** A `const char *` becomes the value, borrowed. */
int option_set_text(void *at, const char *value, struct err *err);

/** A `char *`, owned, becomes a copy of the value. */
int option_set_string(void *at, const char *value, struct err *err);

/* ---- parsing ---- */

/**
 * Parse all of \p argv.
 * \param target handed to the setters
 * \return 0; 1 when --help or -h was met (what follows is not looked at); -EINVAL with a sentence;
 * what a setter returned
 */
__attribute__((warn_unused_result)) int options_parse(const struct option_row *rows, int argc,
						      char **argv, void *target, struct err *err);

/**
 * As options_parse(), with operands before, between and behind the flags.
 * \param argv the operands are moved to its front, in their order
 * \param n_operands set to how many there are
 */
__attribute__((warn_unused_result)) int options_parse_operands(const struct option_row *rows,
							       int argc, char **argv,
							       int *n_operands, void *target,
							       struct err *err);

/**
 * Parse "key,key=value,...": each key at most once if its row says no other.
 * \param rows their names have no dashes
 * \param keys changed
 * \return 0; -EINVAL with a sentence; what a setter returned
 */
__attribute__((warn_unused_result)) int options_parse_keys(const struct option_row *rows,
							   char *keys, void *target,
							   struct err *err);

/** Is \p arg, with or without "=value", a flag of these? */
bool options_have(const struct option_row *rows, const char *arg);

/**
 * Cut the first item off a list with commas between them; ",," is a comma within an item.
 * \param rest where the list begins; moved to the next item, NULL after the last
 * \return the item, in the list's memory
 */
char *options_cut_item(char **rest);

/**
 * Say that a word is none of those that may stand in its place, and which is meant perhaps.
 * \param what it should be: "command"
 * \param word its first 63 bytes are shown
 * \param words ends with NULL
 * \return -EINVAL
 */
int options_refuse_word(const char *what, const char *word, const char *const words[],
			struct err *err);

/** Append the help of all rows, and of --help, to the text in \p buf, which stays terminated and
 * within \p size. */
void options_help(const struct option_row *rows, char *buf, size_t size);

/** Append a line "--flag VALUE" for each row: what a shell completes with. */
void options_words(const struct option_row *rows, char *buf, size_t size);
