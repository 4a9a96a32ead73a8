#include "cli/help.h"

#include "config/exit_status.h"
#include "util/io.h"
#include "util/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HELP_SIZE = 8192 };

int cli_print(const char *text)
{
	int ret = write_all(STDOUT_FILENO, text, strlen(text));

	if (ret == 0)
		return EXIT_STATUS_OK;
	log_error("standard output: %s", strerror(-ret));
	return EXIT_STATUS_ERROR;
}

int cli_print_help(const char *head, const struct option_row *rows, const char *tail)
{
	char text[HELP_SIZE];
	size_t used;

	snprintf(text, sizeof(text), "%s", head);
	options_help(rows, text, sizeof(text));
	used = strlen(text);
	snprintf(text + used, sizeof(text) - used, "%s", tail);
	return cli_print(text);
}

void cli_hint_at_flags(const struct option_row *rows, const struct option_row *others,
		       const char *where, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		if (options_have(rows, argv[i]) || !options_have(others, argv[i]))
			continue;
		log_info("%.*s is a flag of %s", (int)strcspn(argv[i], "="), argv[i], where);
		return;
	}
}

int cli_print_words(const char *words, const struct option_row *rows)
{
	char text[HELP_SIZE];

	snprintf(text, sizeof(text), "%s", words);
	options_words(rows, text, sizeof(text));
	return cli_print(text);
}
