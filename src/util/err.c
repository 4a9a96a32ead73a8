#include "util/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 3, 0))) static void fill(struct err *err, int code,
						       const char *format, va_list args)
{
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), format, args);
}

static void append(struct err *err, const char *tail)
{
	size_t used = strlen(err->text);

	snprintf(err->text + used, sizeof(err->text) - used, "%s", tail);
}

int err_set(struct err *err, int code, const char *format, ...)
{
	va_list args;

	if (err == NULL)
		return code;
	va_start(args, format);
	fill(err, code, format, args);
	va_end(args);
	return code;
}

int err_sys(struct err *err, const char *format, ...)
{
	int code = -errno;
	va_list args;

	if (err == NULL)
		return code;
	va_start(args, format);
	fill(err, code, format, args);
	va_end(args);
	append(err, ": ");
	append(err, strerror(-code));
	return code;
}

int err_prefix(struct err *err, const char *format, ...)
{
	char cause[sizeof(err->text)];
	va_list args;

	if (err == NULL)
		return 0;
	memcpy(cause, err->text, sizeof(cause));
	va_start(args, format);
	fill(err, err->code, format, args);
	va_end(args);
	append(err, ": ");
	append(err, cause);
	return err->code;
}
