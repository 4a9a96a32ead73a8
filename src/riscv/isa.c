#include "riscv/isa.h"

#include "util/assert.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The order of single letters, and of the categories of z-extensions. */
static const char canonical_letters[] = "iemafdqlcbkjtpvnh";

static size_t letter_rank(char letter)
{
	const char *at = memchr(canonical_letters, letter, sizeof(canonical_letters) - 1);

	return at == NULL ? sizeof(canonical_letters) : (size_t)(at - canonical_letters);
}

static bool is_single_letter(const char *name)
{
	return name[0] != '\0' && name[1] == '\0';
}

static size_t class_rank(const char *name)
{
	static const char prefixes[] = "zsx";
	const char *at = memchr(prefixes, name[0], sizeof(prefixes) - 1);

	if (is_single_letter(name))
		return 0;
	return at == NULL ? sizeof(prefixes) : 1 + (size_t)(at - prefixes);
}

/* \return below, at or above 0 as `a` comes before, is or comes after `b` */
static int compare_names(const char *a, const char *b)
{
	size_t rank_a = class_rank(a);
	size_t rank_b = class_rank(b);

	if (rank_a == rank_b && is_single_letter(a)) {
		rank_a = letter_rank(a[0]);
		rank_b = letter_rank(b[0]);
	} else if (rank_a == rank_b && a[0] == 'z') {
		rank_a = letter_rank(a[1]);
		rank_b = letter_rank(b[1]);
	}
	if (rank_a != rank_b)
		return rank_a < rank_b ? -1 : 1;
	return strcmp(a, b);
}

static bool is_valid_name(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");

	return len > 0 && len <= ISA_MAX_NAME_LEN && name[len] == '\0' && isalpha(name[0]);
}

void isa_add(struct isa *isa, const char *name)
{
	unsigned int at = 0;

	ASSERT(is_valid_name(name));
	while (at < isa->n && compare_names(isa->names[at], name) < 0)
		at++;
	if (at < isa->n && compare_names(isa->names[at], name) == 0)
		return;
	ASSERT(isa->n < ISA_MAX_NAMES);
	memmove(&isa->names[at + 1], &isa->names[at], (isa->n - at) * sizeof(isa->names[0]));
	isa->names[at] = name;
	isa->n++;
}

bool isa_has(const struct isa *isa, const char *name)
{
	for (unsigned int i = 0; i < isa->n; i++) {
		if (strcmp(isa->names[i], name) == 0)
			return true;
	}
	return false;
}

void isa_remove(struct isa *isa, const char *name)
{
	for (unsigned int i = 0; i < isa->n; i++) {
		if (strcmp(isa->names[i], name) != 0)
			continue;
		isa->n--;
		memmove(&isa->names[i], &isa->names[i + 1], (isa->n - i) * sizeof(isa->names[0]));
		return;
	}
}

/* Which extension needs which, as the specifications have it; and parts go with the whole. */
static const struct {
	const char *name;
	const char *needs;
} needs[] = {
	/* clang-format off */
	{ "f", "zicsr" }, { "zicntr", "zicsr" }, { "zihpm", "zicsr" },
	{ "d", "f" }, { "zfh", "zfhmin" }, { "zfhmin", "f" }, { "zfa", "f" }, { "zfbfmin", "f" },
	{ "v", "d" }, { "zvfh", "zvfhmin" }, { "zvfh", "zfhmin" }, { "zvfhmin", "v" },
	{ "zvfbfmin", "v" }, { "zvfbfwma", "zvfbfmin" }, { "zvfbfwma", "zfbfmin" },
	{ "zvbb", "zvkb" }, { "zvkb", "v" }, { "zvbc", "v" }, { "zvkg", "v" }, { "zvkned", "v" },
	{ "zvknha", "v" }, { "zvknhb", "v" }, { "zvksed", "v" }, { "zvksh", "v" }, { "zvkt", "v" },
	{ "zaamo", "a" }, { "zalrsc", "a" }, { "zabha", "a" }, { "zabha", "zaamo" },
	{ "zacas", "a" }, { "zacas", "zaamo" },
	{ "zca", "c" }, { "zcb", "zca" }, { "zcmop", "zca" },
	{ "zcd", "zca" }, { "zcd", "d" }, { "zcf", "zca" }, { "zcf", "f" },
	/* clang-format on */
};

void isa_remove_with_dependents(struct isa *isa, const char *name)
{
	isa_remove(isa, name);
	/* Only for those that are there: so it ends also where two need each other. */
	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
		if (strcmp(needs[i].needs, name) == 0 && isa_has(isa, needs[i].name))
			isa_remove_with_dependents(isa, needs[i].name);
	}
}

static bool old_parsers_understand(const char *name)
{
	return isdigit(name[strlen(name) - 1]) == 0;
}

int isa_string(const struct isa *isa, char *buf, size_t size)
{
	size_t used = (size_t)snprintf(buf, size, "rv64");

	for (unsigned int i = 0; i < isa->n && used < size; i++) {
		const char *name = isa->names[i];
		const char *separator = is_single_letter(name) ? "" : "_";

		if (old_parsers_understand(name))
			used += (size_t)snprintf(buf + used, size - used, "%s%s", separator, name);
	}
	return used < size ? 0 : -ENOSPC;
}
