/*
 * The PLIC against a model of the specification that is as simple as it can be: arrays of bool and
 * a search. Input: two bytes for the size, then five-byte steps.
 */
#include "riscv/plic.h"
#include "util/assert.h"
#include "util/bits.h"

enum { STEP_BYTES = 5, HARTS = 4, SOURCES = 70 };

struct model {
	unsigned int n_harts;
	unsigned int n_sources;
	bool high[SOURCES + 1];
	bool pending[SOURCES + 1];
	bool in_service[SOURCES + 1];
	uint32_t priority[SOURCES + 1];
	bool enabled[HARTS][SOURCES + 1];
	uint32_t threshold[HARTS];
	bool told[HARTS]; /* by the PLIC */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void set_hart(void *ctx, unsigned int hart, bool asserted)
{
	struct model *model = ctx;

	ASSERT(hart < model->n_harts && (asserted || model->told[hart]));
	model->told[hart] = asserted;
}

static uint32_t best(const struct model *model, unsigned int hart)
{
	uint32_t found = 0;

	for (uint32_t s = 1; s <= model->n_sources; s++) {
		if (model->pending[s] && model->enabled[hart][s] &&
		    model->priority[s] > model->priority[found])
			found = s;
	}
	return found;
}

static uint32_t model_claim(struct model *model, unsigned int hart)
{
	uint32_t source = best(model, hart);

	if (source != 0) {
		model->pending[source] = false;
		model->in_service[source] = true;
	}
	return source;
}

static void model_complete(struct model *model, unsigned int hart, uint32_t source)
{
	if (source >= 1 && source <= model->n_sources && model->enabled[hart][source])
		model->in_service[source] = false;
}

/* The bits of a register that holds one for each of 32 sources. */
static uint32_t gather(const struct model *model, const bool *of_sources, uint64_t word)
{
	uint32_t bits = 0;

	for (uint32_t s = 1; s <= model->n_sources; s++) {
		if (s / 32 == word)
			bits |= (uint32_t)of_sources[s] << s % 32;
	}
	return bits;
}

static uint32_t model_read(struct model *model, uint64_t offset)
{
	uint64_t hart = (offset - 0x200000) / 0x1000;

	if (offset < 0x1000)
		return offset / 4 <= model->n_sources ? model->priority[offset / 4] : 0;
	if (offset < 0x1080)
		return gather(model, model->pending, (offset - 0x1000) / 4);
	if (offset >= 0x2000 && (offset - 0x2000) / 0x80 < model->n_harts)
		return gather(model, model->enabled[(offset - 0x2000) / 0x80], offset % 0x80 / 4);
	if (offset < 0x200000 || hart >= model->n_harts)
		return 0;
	if (offset % 0x1000 == 0)
		return model->threshold[hart];
	return offset % 0x1000 == 4 ? model_claim(model, (unsigned int)hart) : 0;
}

static void model_write(struct model *model, uint64_t offset, uint32_t value)
{
	uint64_t hart = (offset - 0x200000) / 0x1000;

	if (offset < 0x1000) {
		if (offset != 0 && offset / 4 <= model->n_sources)
			model->priority[offset / 4] = value & 7;
	} else if (offset >= 0x2000 && (offset - 0x2000) / 0x80 < model->n_harts) {
		for (uint32_t s = 1; s <= model->n_sources; s++) {
			if (s / 32 == offset % 0x80 / 4)
				model->enabled[(offset - 0x2000) / 0x80][s] = value >> s % 32 & 1;
		}
	} else if (offset >= 0x200000 && hart < model->n_harts) {
		if (offset % 0x1000 == 0)
			model->threshold[hart] = value & 7;
		else if (offset % 0x1000 == 4)
			model_complete(model, (unsigned int)hart, value);
	}
}

static void check(struct model *model)
{
	for (uint32_t s = 1; s <= model->n_sources; s++)
		model->pending[s] |= model->high[s] && !model->in_service[s];
	for (unsigned int hart = 0; hart < model->n_harts; hart++) {
		bool expected = model->priority[best(model, hart)] > model->threshold[hart];

		ASSERT(model->told[hart] == expected);
	}
}

/* Registers lie far apart: from one byte, mostly an address of one. */
static uint64_t pick_offset(uint8_t where, uint8_t which)
{
	switch (where % 8) {
	case 0:
		return 4 * (which % (SOURCES + 2));
	case 1:
		return 0x1000 + 4 * (which % 4);
	case 2:
	case 3:
		return 0x2000 + 0x80 * (which % (HARTS + 1)) + 4 * (which / 8 % 4);
	case 4:
		return 0x200000 + 0x1000 * (which % (HARTS + 1));
	case 5:
	case 6:
		return 0x200004 + 0x1000 * (which % (HARTS + 1));
	default:
		return (uint64_t)which << 14 | where;
	}
}

static void access_register(struct plic *plic, struct model *model, const uint8_t *step)
{
	static const unsigned int lens[] = { 1, 2, 8 };
	unsigned int len = step[0] >= 0xf8 ? lens[step[0] % 3] : 4;
	uint64_t offset = pick_offset(step[1], step[2]);
	bool is_register = len == 4 && offset % 4 == 0;
	uint32_t value = (uint32_t)step[3] << (step[4] % 32) | step[4] / 32;

	if ((step[0] & 1) != 0) {
		plic_mmio_ops.write(plic, offset, len, value);
		if (is_register)
			model_write(model, offset, value);
	} else {
		uint64_t got = plic_mmio_ops.read(plic, offset, len);

		ASSERT(got == (is_register ? model_read(model, offset) : 0));
	}
}

static void take_step(struct plic *plic, struct model *model, const uint8_t *step)
{
	uint32_t source = 1 + step[1] % model->n_sources;

	switch (step[0] % 4) {
	case 0:
	case 1:
		access_register(plic, model, step);
		break;
	case 2:
		model->high[source] = true;
		plic->sink.raise(&plic->sink, source);
		break;
	default:
		model->high[source] = false;
		plic->sink.lower(&plic->sink, source);
		break;
	}
	check(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model model = { 0 };
	struct plic plic;

	if (size < 2)
		return 0;
	model.n_harts = 1 + data[0] % HARTS;
	model.n_sources = 1 + data[1] % SOURCES;
	plic_init(&plic, model.n_harts, model.n_sources, set_hart, &model);
	for (size_t at = 2; at + STEP_BYTES <= size; at += STEP_BYTES)
		take_step(&plic, &model, data + at);
	plic_deinit(&plic);
	return 0;
}
