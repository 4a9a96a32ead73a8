/* Helpers of what writes JSON. A value is NULL when there was no memory, and so is what holds it.
 */
#pragma once

#include <jansson.h>

/**
 * A string; null for NULL. JSON is UTF-8, names of files are any bytes: in a text that is not UTF-8
 * the bytes beyond ASCII become '?'.
 */
json_t *json_from_text(const char *text);

/** Append \p item, which is given away, to \p *list, which becomes NULL when that fails. */
void json_add(json_t **list, json_t *item);
