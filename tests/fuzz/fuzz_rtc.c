/*
 * The clock under any sequence of register accesses, on a host whose time goes on and jumps. What
 * must hold: the interrupt line says what is pending and enabled; a timer is asked for exactly
 * while an alarm waits, and for the right time; no alarm that is due waits; the time reads as it
 * is.
 */
#include "platform/goldfish_rtc.h"
#include "util/assert.h"
#include "util/bits.h"

enum { STEP_BYTES = 6 };

struct model {
	struct goldfish_rtc rtc;
	struct irq_sink sink;
	bool is_high;
	uint64_t now_ns;
	uint64_t timer_ns;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void raise_line(struct irq_sink *sink, uint32_t source)
{
	(void)source;
	container_of(sink, struct model, sink)->is_high = true;
}

static void lower_line(struct irq_sink *sink, uint32_t source)
{
	(void)source;
	container_of(sink, struct model, sink)->is_high = false;
}

static uint64_t now_ns(void *ctx)
{
	return ((struct model *)ctx)->now_ns;
}

static void set_timer(void *ctx, uint64_t deadline_ns)
{
	((struct model *)ctx)->timer_ns = deadline_ns;
}

static uint32_t read32(struct model *model, uint64_t offset)
{
	return (uint32_t)goldfish_rtc_mmio_ops.read(&model->rtc, offset, 4);
}

static void access_register(struct model *model, const uint8_t *step)
{
	static const unsigned int lens[] = { 1, 2, 8, 3 };
	unsigned int len = step[0] < 0xf0 ? 4 : lens[step[0] % 4];
	uint64_t offset = step[1] < 0xf0 ? 4 * (step[1] % 9) : step[1];
	uint32_t value = (uint32_t)load_le(step + 2, 4);

	if ((step[0] & 2) != 0) {
		goldfish_rtc_mmio_ops.write(&model->rtc, offset, len, value);
	} else {
		uint64_t got = goldfish_rtc_mmio_ops.read(&model->rtc, offset, len);

		ASSERT(got <= UINT32_MAX && (len == 4 || got == 0));
	}
}

/* The host's time goes on, or is set, and a timer that is due fires; or one that is not. */
static void let_time_pass(struct model *model, const uint8_t *step)
{
	uint64_t value = load_le(step + 2, 4);

	switch (step[1] % 4) {
	case 0:
		model->now_ns += value;
		break;
	case 1:
		model->now_ns += value << 30;
		break;
	case 2:
		model->now_ns = value << 32 | value;
		break;
	default:
		break;
	}
	if (model->now_ns >= model->timer_ns || (step[0] & 2) != 0)
		goldfish_rtc_alarm(&model->rtc);
}

static void check(struct model *model)
{
	const struct goldfish_rtc *rtc = &model->rtc;
	uint64_t time_ns = read32(model, 0);

	time_ns |= (uint64_t)read32(model, 4) << 32;
	ASSERT(time_ns == model->now_ns + rtc->offset_ns);
	ASSERT(model->is_high == (rtc->is_pending && rtc->is_irq_enabled));
	ASSERT(rtc->is_armed || model->timer_ns == GOLDFISH_RTC_NO_TIMER);
}

/* After the alarm's function was called. Before, half of a new alarm may have been written: it
 * counts with the other half. */
static void check_alarm(const struct model *model)
{
	const struct goldfish_rtc *rtc = &model->rtc;

	if (!rtc->is_armed)
		return;
	ASSERT(rtc->alarm_ns > model->now_ns + rtc->offset_ns);
	if (model->timer_ns != GOLDFISH_RTC_NO_TIMER)
		ASSERT(model->timer_ns + rtc->offset_ns == rtc->alarm_ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct goldfish_rtc_ops ops = { .now_ns = now_ns, .set_timer = set_timer };
	struct model model = {
		.sink = { .raise = raise_line, .lower = lower_line },
		.now_ns = UINT64_C(0x18c0ffee12345678),
		.timer_ns = GOLDFISH_RTC_NO_TIMER,
	};
	const struct irq_line line = { .sink = &model.sink, .source = 1 };

	goldfish_rtc_init(&model.rtc, &line, &ops, &model);
	for (size_t at = 0; at + STEP_BYTES <= size; at += STEP_BYTES) {
		if ((data[at] & 1) != 0)
			let_time_pass(&model, data + at);
		else
			access_register(&model, data + at);
		check(&model);
		goldfish_rtc_alarm(&model.rtc);
		check(&model);
		check_alarm(&model);
	}
	goldfish_rtc_deinit(&model.rtc);
	return 0;
}
