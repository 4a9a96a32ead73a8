/* Choices that users make by name. */
#pragma once

#include "util/err.h"

/**
 * Look a name up in a table.
 * \param what is chosen, for the sentence: "the console"
 * \return the place of the name in the table, or -EINVAL with a sentence that lists the choices
 */
__attribute__((warn_unused_result)) int find_name(const char *what, const char *const names[],
						  unsigned int n_names, const char *name,
						  struct err *err);
