#include "cli/values.h"

#include "util/bits.h"
#include "util/parse.h"

#include <errno.h>

int value_bandwidth(const char *value, const char *or_else, uint64_t *bytes, struct err *err)
{
	if (parse_size(value, 1, bytes) != 0 || *bytes == 0 || *bytes > INT64_MAX)
		return err_set(err, -EINVAL, "bandwidth: '%.64s' is not a size like 10M%s", value,
			       or_else);
	return 0;
}

int value_ops(const char *value, const char *or_else, uint64_t *n, struct err *err)
{
	if (parse_uint(value, UINT32_MAX, n) != 0 || *n == 0)
		return err_set(err, -EINVAL, "ops: '%.64s' is not a number of operations%s", value,
			       or_else);
	return 0;
}

int value_mib(const char *what, const char *value, uint64_t *mib, struct err *err)
{
	uint64_t bytes;

	if (parse_size(value, MIB, &bytes) != 0 || !is_aligned(bytes, MIB))
		return err_set(err, -EINVAL, "%s: '%.64s' is not a size in whole MiB like 64M",
			       what, value);
	*mib = bytes / MIB;
	return 0;
}
