/*
 * The metadata store (MMDS): one JSON object that the host puts in and changes, for the guest to
 * read. It has a limit, in bytes of its compact JSON text.
 *
 * On the I/O thread.
 */
#pragma once

#include "util/err.h"

#include <jansson.h>
#include <stddef.h>

struct mmds {
	json_t *data; /**< an object; NULL until the first mmds_put() */
	size_t limit;
};

/** \param mmds zeroed storage \param limit of the text in bytes */
void mmds_init(struct mmds *mmds, size_t limit);

/** Legal on a zeroed object, and twice. */
void mmds_deinit(struct mmds *mmds);

/**
 * Put an object in the place of what is there.
 * \param data borrowed; copied
 * \return 0; -EFBIG: over the limit; -ENOMEM
 */
__attribute__((warn_unused_result)) int mmds_put(struct mmds *mmds, const json_t *data,
						 struct err *err);

/**
 * Change the store by a JSON merge patch (RFC 7396).
 * \return as mmds_put(); -ENODATA: nothing was put yet
 */
__attribute__((warn_unused_result)) int mmds_patch(struct mmds *mmds, const json_t *patch,
						   struct err *err);

/** Put the content of a file, a JSON object. \return as mmds_put(); -errno, -EINVAL: not JSON */
__attribute__((warn_unused_result)) int mmds_load_file(struct mmds *mmds, const char *path,
						       struct err *err);

/** The store. \return borrowed; NULL when nothing was put */
const json_t *mmds_get(const struct mmds *mmds);
