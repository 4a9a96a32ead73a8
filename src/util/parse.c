#include "util/parse.h"

#include "util/bits.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* Digits up to the first other character; -EINVAL without any, -ERANGE past 64 bits. */
static int leading_digits(const char **text, uint64_t *value)
{
	const char *at = *text;
	uint64_t sum = 0;

	if (*at < '0' || *at > '9')
		return -EINVAL;
	for (; *at >= '0' && *at <= '9'; at++) {
		if (__builtin_mul_overflow(sum, 10, &sum) ||
		    __builtin_add_overflow(sum, (uint64_t)(*at - '0'), &sum))
			return -ERANGE;
	}
	*text = at;
	*value = sum;
	return 0;
}

int parse_uint(const char *text, uint64_t max, uint64_t *value)
{
	uint64_t parsed;
	int ret = leading_digits(&text, &parsed);

	if (ret != 0)
		return ret;
	if (*text != '\0')
		return -EINVAL;
	if (parsed > max)
		return -ERANGE;
	*value = parsed;
	return 0;
}

static int size_unit(const char *suffix, uint64_t *unit)
{
	static const char letters[] = "KMGT";
	const char *letter;

	if (*suffix == '\0')
		return 0;
	letter = strchr(letters, *suffix & ~0x20);
	if (letter == NULL || *letter == '\0')
		return -EINVAL;
	suffix++;
	if (*suffix != '\0' && strcasecmp(suffix, "B") != 0 && strcasecmp(suffix, "iB") != 0)
		return -EINVAL;
	*unit = BIT(10 * (letter - letters + 1));
	return 0;
}

int parse_size(const char *text, uint64_t default_unit, uint64_t *bytes)
{
	uint64_t unit = default_unit;
	uint64_t number;
	int ret = leading_digits(&text, &number);

	if (ret == 0)
		ret = size_unit(text, &unit);
	if (ret != 0)
		return ret;
	return __builtin_mul_overflow(number, unit, bytes) ? -ERANGE : 0;
}

enum { WORD_MAX = 32 };

/* Of two words, how many letters are added, left out, wrong, or two of them exchanged. Three rows
 * of the table are kept; words longer than WORD_MAX are not compared. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t rows[3][WORD_MAX + 1];
	size_t *before = rows[0];
	size_t *last = rows[1];
	size_t *row = rows[2];
	size_t a_len = strlen(a);
	size_t b_len = strlen(b);

	if (a_len > WORD_MAX || b_len > WORD_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *oldest = before;

		before = last;
		last = row;
		row = oldest;
		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			row[j] = last[j - 1] + (a[i - 1] != b[j - 1]);
			row[j] = MIN(row[j], 1 + MIN(last[j], row[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = MIN(row[j], 1 + before[j - 2]);
		}
	}
	return row[b_len];
}

const char *nearest_word(const char *text, const char *const words[])
{
	const char *best = NULL;
	size_t best_distance = MAX(strlen(text) / 3, (size_t)1) + 1;

	for (; *words != NULL; words++) {
		size_t distance = edit_distance(text, *words);

		if (distance < best_distance) {
			best = *words;
			best_distance = distance;
		}
	}
	return best;
}
