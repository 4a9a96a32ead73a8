#include "riscv/plic.h"

#include "util/assert.h"
#include "util/bits.h"

enum {
	PRIORITY_BASE = 0x0,
	PENDING_BASE = 0x1000,
	ENABLE_BASE = 0x2000,
	ENABLE_STRIDE = 0x80,
	CONTEXT_BASE = 0x200000,
	CONTEXT_STRIDE = 0x1000,
	CONTEXT_THRESHOLD = 0x0,
	CONTEXT_CLAIM = 0x4,
};

static_assert(PENDING_BASE - PRIORITY_BASE == 4 * (PLIC_MAX_SOURCES + 1), "a word a source");
static_assert(ENABLE_STRIDE == 4 * PLIC_MAX_WORDS, "a bit a source");
static_assert((PLIC_MAX_PRIORITY & (PLIC_MAX_PRIORITY + 1)) == 0, "a mask");

enum register_kind { REG_NONE, REG_PRIORITY, REG_PENDING, REG_ENABLE, REG_THRESHOLD, REG_CLAIM };

struct register_name {
	enum register_kind kind;
	unsigned int context;
	unsigned int index; /* the source of a priority, the word of pending or enable bits */
};

static bool test_bit(const uint32_t *words, unsigned int source)
{
	return (words[source / 32] >> source % 32 & 1) != 0;
}

static void assign_bit(uint32_t *words, unsigned int source, bool value)
{
	uint32_t bit = UINT32_C(1) << source % 32;

	if (value)
		words[source / 32] |= bit;
	else
		words[source / 32] &= ~bit;
}

/* The bits of one word that stand for sources: not source 0, and none past the last. */
static uint32_t existing_sources(const struct plic *plic, unsigned int word)
{
	uint32_t bits = UINT32_MAX;

	if (word == 0)
		bits &= ~UINT32_C(1);
	if (word == plic->n_sources / 32) /* 2 << 31 is 0 here, and all ones are left */
		bits &= (UINT32_C(2) << plic->n_sources % 32) - 1;
	return bits;
}

/* The pending source that the context would get: highest priority first, then lowest number. */
static unsigned int best_source(const struct plic *plic, const struct plic_context *context)
{
	unsigned int best = 0; /* whose priority is 0 for ever */

	for (unsigned int word = 0; word < plic->n_words; word++) {
		uint32_t bits = plic->pending[word] & context->enabled[word];

		for (; bits != 0; bits &= bits - 1) {
			unsigned int source = 32 * word + (unsigned int)__builtin_ctz(bits);

			if (plic->priority[source] > plic->priority[best])
				best = source;
		}
	}
	return best;
}

static bool is_interrupted(const struct plic *plic, unsigned int hart)
{
	const struct plic_context *context = &plic->contexts[hart];

	return plic->priority[best_source(plic, context)] > context->threshold;
}

static void tell_hart(struct plic *plic, unsigned int hart, bool asserted)
{
	plic->contexts[hart].asserted = asserted;
	plic->set_hart(plic->ctx, hart, asserted);
}

static void update_hart(struct plic *plic, unsigned int hart)
{
	bool asserted = is_interrupted(plic, hart);

	if (asserted != plic->contexts[hart].asserted)
		tell_hart(plic, hart, asserted);
}

/* The hart's own doing: it may have been stopped and started since it was told last, and have
 * forgotten. */
static void update_hart_anew(struct plic *plic, unsigned int hart)
{
	bool asserted = is_interrupted(plic, hart);

	if (asserted || plic->contexts[hart].asserted)
		tell_hart(plic, hart, asserted);
}

/* Something about one source changed: only the harts that enable it can see that. */
static void update_harts_of(struct plic *plic, unsigned int source)
{
	for (unsigned int hart = 0; hart < plic->n_harts; hart++) {
		if (test_bit(plic->contexts[hart].enabled, source))
			update_hart(plic, hart);
	}
}

/* The gateway: lets a request through while the source is high and none is being served. */
static void open_gateway(struct plic *plic, unsigned int source)
{
	if (!test_bit(plic->high, source) || test_bit(plic->in_service, source) ||
	    test_bit(plic->pending, source))
		return;
	assign_bit(plic->pending, source, true);
	update_harts_of(plic, source);
}

static uint32_t claim(struct plic *plic, unsigned int context)
{
	unsigned int source = best_source(plic, &plic->contexts[context]);

	if (source != 0) {
		assign_bit(plic->pending, source, false);
		assign_bit(plic->in_service, source, true);
		update_harts_of(plic, source);
	}
	update_hart_anew(plic, context);
	return source;
}

static void complete(struct plic *plic, unsigned int context, uint32_t source)
{
	if (source > plic->n_sources || !test_bit(plic->contexts[context].enabled, source))
		return;
	assign_bit(plic->in_service, source, false);
	open_gateway(plic, source);
}

static void set_level(struct irq_sink *sink, uint32_t source, bool high)
{
	struct plic *plic = container_of(sink, struct plic, sink);

	ASSERT(source >= 1 && source <= plic->n_sources);
	pthread_mutex_lock(&plic->lock);
	assign_bit(plic->high, source, high);
	open_gateway(plic, source);
	pthread_mutex_unlock(&plic->lock);
}

static void raise_source(struct irq_sink *sink, uint32_t source)
{
	set_level(sink, source, true);
}

static void lower_source(struct irq_sink *sink, uint32_t source)
{
	set_level(sink, source, false);
}

static struct register_name decode_context(const struct plic *plic, uint64_t offset)
{
	uint64_t context = (offset - CONTEXT_BASE) / CONTEXT_STRIDE;
	uint64_t within = (offset - CONTEXT_BASE) % CONTEXT_STRIDE;
	struct register_name name = { .context = (unsigned int)context };

	if (context >= plic->n_harts)
		return name;
	if (within == CONTEXT_THRESHOLD)
		name.kind = REG_THRESHOLD;
	else if (within == CONTEXT_CLAIM)
		name.kind = REG_CLAIM;
	return name;
}

static struct register_name decode(const struct plic *plic, uint64_t offset, unsigned int len)
{
	struct register_name name = { REG_NONE, 0, (unsigned int)(offset / 4) };

	if (len != 4 || !is_aligned(offset, 4))
		return name;
	if (offset >= CONTEXT_BASE)
		return decode_context(plic, offset);
	if (offset >= ENABLE_BASE) {
		name.context = (unsigned int)((offset - ENABLE_BASE) / ENABLE_STRIDE);
		name.index = (unsigned int)(offset % ENABLE_STRIDE / 4);
		if (name.context < plic->n_harts && name.index < plic->n_words)
			name.kind = REG_ENABLE;
	} else if (offset >= PENDING_BASE) {
		name.index = (unsigned int)((offset - PENDING_BASE) / 4);
		if (name.index < plic->n_words)
			name.kind = REG_PENDING;
	} else if (name.index >= 1 && name.index <= plic->n_sources) {
		name.kind = REG_PRIORITY;
	}
	return name;
}

static uint32_t read_register(struct plic *plic, struct register_name name)
{
	switch (name.kind) {
	case REG_PRIORITY:
		return plic->priority[name.index];
	case REG_PENDING:
		return plic->pending[name.index];
	case REG_ENABLE:
		return plic->contexts[name.context].enabled[name.index];
	case REG_THRESHOLD:
		return plic->contexts[name.context].threshold;
	case REG_CLAIM:
		return claim(plic, name.context);
	case REG_NONE:
		break;
	}
	return 0;
}

static void write_register(struct plic *plic, struct register_name name, uint32_t value)
{
	struct plic_context *context = &plic->contexts[name.context];

	switch (name.kind) {
	case REG_PRIORITY:
		plic->priority[name.index] = value & PLIC_MAX_PRIORITY;
		update_harts_of(plic, name.index);
		break;
	case REG_ENABLE:
		context->enabled[name.index] = value & existing_sources(plic, name.index);
		update_hart_anew(plic, name.context);
		break;
	case REG_THRESHOLD:
		context->threshold = value & PLIC_MAX_PRIORITY;
		update_hart_anew(plic, name.context);
		break;
	case REG_CLAIM:
		complete(plic, name.context, value);
		break;
	case REG_PENDING: /* for reading */
	case REG_NONE:
		break;
	}
}

static uint64_t mmio_read(void *device, uint64_t offset, unsigned int len)
{
	struct plic *plic = device;
	struct register_name name = decode(plic, offset, len);
	uint32_t value;

	pthread_mutex_lock(&plic->lock);
	value = read_register(plic, name);
	pthread_mutex_unlock(&plic->lock);
	return value;
}

static void mmio_write(void *device, uint64_t offset, unsigned int len, uint64_t value)
{
	struct plic *plic = device;
	struct register_name name = decode(plic, offset, len);

	if (name.kind == REG_NONE) /* its context may not exist */
		return;
	pthread_mutex_lock(&plic->lock);
	write_register(plic, name, (uint32_t)value);
	pthread_mutex_unlock(&plic->lock);
}

const struct mmio_ops plic_mmio_ops = { .read = mmio_read, .write = mmio_write };

void plic_init(struct plic *plic, unsigned int n_harts, unsigned int n_sources,
	       plic_hart_setter *set_hart, void *ctx)
{
	ASSERT(n_harts >= 1 && n_harts <= PLIC_MAX_HARTS);
	ASSERT(n_sources >= 1 && n_sources <= PLIC_MAX_SOURCES);
	*plic = (struct plic){
		.sink = { .raise = raise_source, .lower = lower_source },
		.set_hart = set_hart,
		.ctx = ctx,
		.n_harts = n_harts,
		.n_sources = n_sources,
		.n_words = n_sources / 32 + 1,
	};
	pthread_mutex_init(&plic->lock, NULL);
}

void plic_deinit(struct plic *plic)
{
	pthread_mutex_destroy(&plic->lock);
}

uint64_t plic_window_size(unsigned int n_harts)
{
	return CONTEXT_BASE + (uint64_t)n_harts * CONTEXT_STRIDE;
}
