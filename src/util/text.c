#include "util/text.h"

#include "util/bits.h"

#include <string.h>

void text_add_bytes(struct text *text, const char *bytes, size_t len)
{
	size_t room = text->size - text->len;

	text->is_cut |= len > room;
	len = MIN(len, room);
	memcpy(text->bytes + text->len, bytes, len);
	text->len += len;
}

void text_add(struct text *text, const char *string)
{
	text_add_bytes(text, string, strlen(string));
}

void text_add_number(struct text *text, uint64_t number, unsigned int min_digits)
{
	char digits[20]; /* as UINT64_MAX has */
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (at > 0 && (number > 0 || sizeof(digits) - at < min_digits));
	text_add_bytes(text, digits + at, sizeof(digits) - at);
}

static void add_escaped(struct text *text, char c)
{
	static const char hex[] = "0123456789abcdef";
	const char control[] = { '\\', 'u', '0', '0', hex[c >> 4 & 15], hex[c & 15] };

	if (c == '"' || c == '\\')
		text_add_bytes(text, "\\", 1);
	if ((unsigned char)c < 0x20)
		text_add_bytes(text, control, sizeof(control));
	else
		text_add_bytes(text, &c, 1);
}

void text_add_json(struct text *text, const char *string)
{
	text_add(text, "\"");
	for (; *string != '\0'; string++)
		add_escaped(text, *string);
	text_add(text, "\"");
}
