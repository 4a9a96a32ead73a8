#include "config/names.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* "auto, plic or aia" */
static void list_names(char *list, size_t size, const char *const names[], unsigned int n_names)
{
	size_t len = 0;

	for (unsigned int i = 0; i < n_names && len < size; i++) {
		const char *before = i == 0 ? "" : i == n_names - 1 ? " or " : ", ";

		len += (size_t)snprintf(list + len, size - len, "%s%s", before, names[i]);
	}
}

int find_name(const char *what, const char *const names[], unsigned int n_names, const char *name,
	      struct err *err)
{
	char list[64];

	for (unsigned int i = 0; i < n_names; i++) {
		if (strcmp(names[i], name) == 0)
			return (int)i;
	}
	list_names(list, sizeof(list), names, n_names);
	return err_set(err, -EINVAL, "%s '%.64s' is not %s", what, name, list);
}
