#include "api/mmds.h"

#include "config/config_json.h"

#include <errno.h>

void mmds_init(struct mmds *mmds, size_t limit)
{
	*mmds = (struct mmds){ .limit = limit };
}

void mmds_deinit(struct mmds *mmds)
{
	json_decref(mmds->data);
	mmds->data = NULL;
}

/* Put \p data, which is taken over in any case, in the place of what is there. */
static int replace(struct mmds *mmds, json_t *data, struct err *err)
{
	size_t size;

	if (data == NULL)
		return err_set(err, -ENOMEM, "no memory for the metadata");
	size = json_dumpb(data, NULL, 0, JSON_COMPACT);
	if (size > mmds->limit) {
		json_decref(data);
		return err_set(err, -EFBIG, "%zu bytes of metadata are more than the limit of %zu",
			       size, mmds->limit);
	}
	json_decref(mmds->data);
	mmds->data = data;
	return 0;
}

int mmds_put(struct mmds *mmds, const json_t *data, struct err *err)
{
	return replace(mmds, json_deep_copy(data), err);
}

/* RFC 7396, section 2. \return a new reference; NULL: no memory */
static json_t *merge(const json_t *target, const json_t *patch)
{
	const char *name;
	json_t *value;
	json_t *merged;

	if (!json_is_object(patch))
		return json_deep_copy(patch);
	merged = json_is_object(target) ? json_copy((json_t *)(uintptr_t)target) : json_object();
	/* jansson's iteration wants no const, and changes nothing. */
	json_object_foreach((json_t *)(uintptr_t)patch, name, value)
	{
		if (json_is_null(value)) {
			json_object_del(merged, name);
		} else if (json_object_set_new(merged, name,
					       merge(json_object_get(merged, name), value)) != 0) {
			json_decref(merged);
			return NULL;
		}
	}
	return merged;
}

int mmds_patch(struct mmds *mmds, const json_t *patch, struct err *err)
{
	if (mmds->data == NULL)
		return err_set(err, -ENODATA, "The MMDS data store is not initialized.");
	return replace(mmds, merge(mmds->data, patch), err);
}

int mmds_load_file(struct mmds *mmds, const char *path, struct err *err)
{
	/* White space may make the text larger than what is kept, but not without end. */
	const uint64_t max = 16 * (uint64_t)mmds->limit;
	json_t *data = NULL;
	int ret = json_read_file(path, max, &data, err);

	return ret == 0 ? replace(mmds, data, err) : ret;
}

const json_t *mmds_get(const struct mmds *mmds)
{
	return mmds->data;
}
