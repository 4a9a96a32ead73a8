#include "cli/options.h"

#include "config/config.h"
#include "util/assert.h"
#include "util/bits.h"
#include "util/parse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { HELP_COLUMN = 21 };

int option_set_true(void *at, const char *value, struct err *err)
{
	(void)value;
	(void)err;
	*(bool *)at = true;
	return 0;
}

int option_set_text(void *at, const char *value, struct err *err)
{
	(void)err;
	*(const char **)at = value;
	return 0;
}

int option_set_string(void *at, const char *value, struct err *err)
{
	return vm_config_set_string(at, value, err);
}

static int set(const struct option_row *row, void *target, const char *value, struct err *err)
{
	return row->set((char *)target + row->offset, value, err);
}

static size_t name_len(const char *arg)
{
	return strcspn(arg, "=");
}

/* \return the row whose flag \p arg is, with or without "=value", or NULL */
static const struct option_row *find_row(const struct option_row *rows, const char *arg)
{
	size_t len = name_len(arg);

	for (; rows->name != NULL; rows++) {
		if (strlen(rows->name) == len && strncmp(rows->name, arg, len) == 0)
			return rows;
	}
	return NULL;
}

bool options_have(const struct option_row *rows, const char *arg)
{
	return find_row(rows, arg) != NULL;
}

int options_refuse_word(const char *what, const char *word, const char *const words[],
			struct err *err)
{
	const char *nearest = nearest_word(word, words);

	if (nearest == NULL)
		return err_set(err, -EINVAL, "unknown %s '%.63s'", what, word);
	return err_set(err, -EINVAL, "unknown %s '%.63s'; did you mean %s?", what, word, nearest);
}

/* \param what "flag" or "key" \param also one more name that is right, or NULL */
static int refuse_unknown(const struct option_row *rows, const char *what, const char *arg,
			  const char *also, struct err *err)
{
	const char *words[OPTIONS_MAX + 2];
	unsigned int n_words = 0;
	char name[64];

	for (; rows->name != NULL; rows++)
		words[n_words++] = rows->name;
	words[n_words++] = also;
	words[n_words] = NULL;
	snprintf(name, sizeof(name), "%.*s", (int)MIN(name_len(arg), sizeof(name)), arg);
	return options_refuse_word(what, name, words, err);
}

static int refuse_flag(const struct option_row *rows, const char *arg, struct err *err)
{
	if (arg[0] != '-')
		return err_set(err, -EINVAL, "unexpected argument '%.128s'", arg);
	return refuse_unknown(rows, "flag", arg, "--help", err);
}

/* Find the value of the flag at argv[*at], which may be in the argument that follows. */
static int take_value(const struct option_row *rows, const struct option_row *row, int argc,
		      char **argv, int *at, const char **value, struct err *err)
{
	const char *equals = strchr(argv[*at], '=');

	*value = equals == NULL ? NULL : equals + 1;
	if (row->value_name == NULL)
		return equals == NULL ? 0 : err_set(err, -EINVAL, "%s takes no value", row->name);
	if (*value != NULL)
		return 0;
	/* A flag in the place of a value is a value forgotten; --flag=--other says it is not. */
	if (*at + 1 == argc || find_row(rows, argv[*at + 1]) != NULL)
		return err_set(err, -EINVAL, "%s needs a value: %s %s", row->name, row->name,
			       row->value_name);
	*value = argv[++*at];
	return 0;
}

static bool is_help(const char *arg)
{
	return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

/* The flag at argv[*at], which is moved to its last argument. */
static int parse_flag(const struct option_row *rows, int argc, char **argv, int *at, uint64_t *seen,
		      void *target, struct err *err)
{
	const struct option_row *row = find_row(rows, argv[*at]);
	const char *value;
	int ret;

	if (row == NULL)
		return refuse_flag(rows, argv[*at], err);
	ASSERT(row - rows < OPTIONS_MAX);
	if ((*seen & BIT(row - rows)) != 0 && !row->may_repeat)
		return err_set(err, -EINVAL, "%s is given twice", row->name);
	*seen |= BIT(row - rows);
	ret = take_value(rows, row, argc, argv, at, &value, err);
	return ret != 0 ? ret : set(row, target, value, err);
}

int options_parse(const struct option_row *rows, int argc, char **argv, void *target,
		  struct err *err)
{
	uint64_t seen = 0;
	int ret = 0;

	for (int i = 0; i < argc && ret == 0; i++) {
		if (is_help(argv[i]))
			return 1;
		ret = parse_flag(rows, argc, argv, &i, &seen, target, err);
	}
	return ret;
}

/* "-" alone is an operand, as standard input is for many programs. */
static bool is_flag(const char *arg)
{
	return arg[0] == '-' && arg[1] != '\0';
}

int options_parse_operands(const struct option_row *rows, int argc, char **argv, int *n_operands,
			   void *target, struct err *err)
{
	uint64_t seen = 0;
	int ret = 0;

	*n_operands = 0;
	for (int i = 0; i < argc && ret == 0; i++) {
		if (is_help(argv[i]))
			return 1;
		if (is_flag(argv[i]))
			ret = parse_flag(rows, argc, argv, &i, &seen, target, err);
		else
			argv[(*n_operands)++] = argv[i];
	}
	return ret;
}

static int parse_key(const struct option_row *rows, const char *key, void *target, uint64_t *seen,
		     struct err *err)
{
	const struct option_row *row = find_row(rows, key);
	const char *equals = strchr(key, '=');

	if (key[0] == '\0')
		return err_set(err, -EINVAL, "one of the keys is empty");
	if (row == NULL)
		return refuse_unknown(rows, "key", key, NULL, err);
	ASSERT(row - rows < OPTIONS_MAX);
	if ((*seen & BIT(row - rows)) != 0 && !row->may_repeat)
		return err_set(err, -EINVAL, "'%s' is given twice", row->name);
	*seen |= BIT(row - rows);
	if (row->value_name == NULL && equals != NULL)
		return err_set(err, -EINVAL, "'%s' takes no value", row->name);
	if (row->value_name != NULL && equals == NULL)
		return err_set(err, -EINVAL, "'%s' needs a value: %s=%s", row->name, row->name,
			       row->value_name);
	return set(row, target, equals == NULL ? NULL : equals + 1, err);
}

int options_parse_keys(const struct option_row *rows, char *keys, void *target, struct err *err)
{
	uint64_t seen = 0;
	int ret = 0;

	while (ret == 0 && keys != NULL) {
		const char *key = options_cut_item(&keys);

		ret = parse_key(rows, key, target, &seen, err);
	}
	return ret;
}

char *options_cut_item(char **rest)
{
	char *item = *rest;
	char *to = item;

	for (char *from = item;; from++) {
		if (from[0] == ',' && from[1] == ',') {
			from++;
		} else if (from[0] == ',') {
			*rest = from + 1;
			break;
		} else if (from[0] == '\0') {
			*rest = NULL;
			break;
		}
		*to++ = *from;
	}
	*to = '\0';
	return item;
}

/* A line with "--flag VALUE" on the left and a line of help on the right; a long flag has a line of
 * its own. */
static size_t help_line(char *buf, size_t size, const char *left, const char *right, size_t len)
{
	const bool is_long = strlen(left) > HELP_COLUMN;
	int written =
		snprintf(buf, size, "  %-*s%s%*s%.*s\n", HELP_COLUMN, left, is_long ? "\n" : "",
			 is_long ? HELP_COLUMN + 3 : 1, "", (int)len, right);

	return MIN((size_t)written, size - 1);
}

static size_t help_row(const struct option_row *row, char *buf, size_t size)
{
	const char *help = row->help;
	size_t used = 0;
	char left[64];

	snprintf(left, sizeof(left), "%s%s%s", row->name, row->value_name == NULL ? "" : " ",
		 row->value_name == NULL ? "" : row->value_name);
	for (;;) {
		size_t len = strcspn(help, "\n");

		used += help_line(buf + used, size - used, left, help, len);
		if (help[len] == '\0')
			return used;
		help += len + 1;
		left[0] = '\0';
	}
}

void options_help(const struct option_row *rows, char *buf, size_t size)
{
	static const char help[] = "show this";
	size_t used = strlen(buf);

	for (; rows->name != NULL; rows++)
		used += help_row(rows, buf + used, size - used);
	help_line(buf + used, size - used, "-h, --help", help, strlen(help));
}

void options_words(const struct option_row *rows, char *buf, size_t size)
{
	size_t used = strlen(buf);

	for (; rows->name != NULL; rows++) {
		int written = snprintf(buf + used, size - used, "%s%s%s\n", rows->name,
				       rows->value_name == NULL ? "" : " ",
				       rows->value_name == NULL ? "" : rows->value_name);

		used += MIN((size_t)written, size - used - 1);
	}
}
