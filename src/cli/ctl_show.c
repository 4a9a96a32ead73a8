#include "cli/ctl.h"

#include "util/bits.h"
#include "util/cleanup.h"
#include "util/io.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { NAME_COLUMN = 20, ROW_MAX = 4096 };

/* Control characters, those of UTF-8's second page too: a terminal would obey them. */
static void make_printable(char *text)
{
	unsigned char *at = (unsigned char *)text;

	for (; *at != '\0'; at++) {
		if (*at < 0x20 || *at == 0x7f)
			*at = '?';
		if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)
			at[0] = at[1] = '?';
	}
}

int ctl_print(struct ctl *ctl, const char *text)
{
	int ret = write_all(STDOUT_FILENO, text, strlen(text));

	if (ret == 0)
		return 0;
	err_set(&ctl->err, ret, "write: %s", strerror(-ret));
	return CTL_REFUSED;
}

int ctl_row(struct ctl *ctl, const char *name, const char *format, ...)
{
	char row[ROW_MAX];
	size_t room = sizeof(row) - 1; /* a newline */
	va_list args;
	size_t len;

	len = (size_t)snprintf(row, room, "%-*.64s ", NAME_COLUMN, name);
	va_start(args, format);
	vsnprintf(row + len, room - len, format, args);
	va_end(args);
	make_printable(row);
	len = strlen(row);
	memcpy(row + len, "\n", 2);
	return ctl_print(ctl, row);
}

static int show_value(struct ctl *ctl, const char *name, const json_t *value)
{
	cleanup_free char *text = NULL;

	if (json_is_string(value))
		return ctl_row(ctl, name, "%s", json_string_value(value));
	if (json_is_boolean(value))
		return ctl_row(ctl, name, "%s", json_is_true(value) ? "yes" : "no");
	if (json_is_null(value))
		return 0;
	text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	return ctl_row(ctl, name, "%s", text == NULL ? "" : text);
}

int ctl_rows(struct ctl *ctl, const char *prefix, const json_t *object)
{
	const char *key;
	json_t *value;
	int status = 0;

	/* jansson's iterators want it so, and change nothing. */
	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		char name[80];

		if (json_is_object(value) || status != 0)
			continue;
		snprintf(name, sizeof(name), "%s%s", prefix, key);
		status = show_value(ctl, name, value);
	}
	return status;
}

int ctl_print_json(struct ctl *ctl, const json_t *json)
{
	/* In ASCII, so that control characters are spelled out. */
	size_t flags = JSON_ENCODE_ANY | JSON_ENSURE_ASCII |
		       (ctl->is_json ? JSON_COMPACT : JSON_INDENT(2));
	cleanup_free char *text = json_dumps(json, flags);
	int status;

	if (text == NULL) {
		err_set(&ctl->err, -1, "no memory");
		return CTL_REFUSED;
	}
	status = ctl_print(ctl, text);
	return status != 0 ? status : ctl_print(ctl, "\n");
}
