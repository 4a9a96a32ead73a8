#include "platform/goldfish_rtc.h"

#include "util/clock.h"

enum {
	TIME_LOW = 0x00,
	TIME_HIGH = 0x04,
	ALARM_LOW = 0x08,
	ALARM_HIGH = 0x0c,
	IRQ_ENABLED = 0x10,
	CLEAR_ALARM = 0x14,
	ALARM_STATUS = 0x18,
	CLEAR_INTERRUPT = 0x1c,
};

static uint64_t host_now_ns(const struct goldfish_rtc *rtc)
{
	if (rtc->ops->now_ns != NULL)
		return rtc->ops->now_ns(rtc->ctx);
	return clock_ns(CLOCK_REALTIME);
}

static uint64_t guest_now_ns(const struct goldfish_rtc *rtc)
{
	return host_now_ns(rtc) + rtc->offset_ns;
}

static uint64_t join(uint32_t high, uint32_t low)
{
	return (uint64_t)high << 32 | low;
}

static void update_line(struct goldfish_rtc *rtc)
{
	bool is_raised = rtc->is_pending && rtc->is_irq_enabled;

	if (is_raised && !rtc->is_raised)
		irq_raise(&rtc->irq);
	else if (!is_raised && rtc->is_raised)
		irq_lower(&rtc->irq);
	rtc->is_raised = is_raised;
}

static void disarm(struct goldfish_rtc *rtc)
{
	if (rtc->is_armed)
		rtc->ops->set_timer(rtc->ctx, GOLDFISH_RTC_NO_TIMER);
	rtc->is_armed = false;
}

/* The alarm is or was due. Where the line is an edge, that is a new one even if it is high yet. */
static void fire(struct goldfish_rtc *rtc)
{
	disarm(rtc);
	rtc->is_pending = true;
	rtc->is_raised = false;
	update_line(rtc);
}

/* Fire now, or ask for a timer on the host's clock, where an alarm past its end never comes. */
static void arm(struct goldfish_rtc *rtc)
{
	uint64_t host_ns = host_now_ns(rtc);
	uint64_t guest_ns = host_ns + rtc->offset_ns;
	uint64_t deadline_ns;

	if (rtc->alarm_ns <= guest_ns) {
		fire(rtc);
		return;
	}
	if (__builtin_add_overflow(host_ns, rtc->alarm_ns - guest_ns, &deadline_ns))
		deadline_ns = GOLDFISH_RTC_NO_TIMER;
	rtc->is_armed = true;
	rtc->ops->set_timer(rtc->ctx, deadline_ns);
}

static uint32_t read_time_low(struct goldfish_rtc *rtc)
{
	uint64_t now_ns = guest_now_ns(rtc);

	rtc->time_high = (uint32_t)(now_ns >> 32);
	return (uint32_t)now_ns;
}

static void write_time_low(struct goldfish_rtc *rtc, uint32_t low)
{
	uint64_t host_ns = host_now_ns(rtc);
	uint32_t high = (uint32_t)((host_ns + rtc->offset_ns) >> 32);

	if (rtc->has_set_high)
		high = rtc->set_high;
	rtc->has_set_high = false;
	rtc->offset_ns = join(high, low) - host_ns;
	if (rtc->is_armed)
		arm(rtc);
}

static uint32_t read_register(struct goldfish_rtc *rtc, uint64_t offset)
{
	switch (offset) {
	case TIME_LOW:
		return read_time_low(rtc);
	case TIME_HIGH:
		return rtc->time_high;
	case ALARM_LOW:
		return (uint32_t)rtc->alarm_ns;
	case ALARM_HIGH:
		return (uint32_t)(rtc->alarm_ns >> 32);
	case IRQ_ENABLED:
		return rtc->is_irq_enabled;
	case ALARM_STATUS:
		return rtc->is_armed;
	default:
		return 0;
	}
}

static void write_register(struct goldfish_rtc *rtc, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case TIME_LOW:
		write_time_low(rtc, value);
		break;
	case TIME_HIGH:
		rtc->set_high = value;
		rtc->has_set_high = true;
		break;
	case ALARM_LOW:
		rtc->alarm_ns = join((uint32_t)(rtc->alarm_ns >> 32), value);
		arm(rtc);
		break;
	case ALARM_HIGH:
		rtc->alarm_ns = join(value, (uint32_t)rtc->alarm_ns);
		break;
	case IRQ_ENABLED:
		rtc->is_irq_enabled = (value & 1) != 0;
		update_line(rtc);
		break;
	case CLEAR_ALARM:
		disarm(rtc);
		break;
	case CLEAR_INTERRUPT:
		rtc->is_pending = false;
		update_line(rtc);
		break;
	default: /* ALARM_STATUS is for reading */
		break;
	}
}

static uint64_t mmio_read(void *device, uint64_t offset, unsigned int len)
{
	struct goldfish_rtc *rtc = device;
	uint32_t value;

	if (len != 4)
		return 0;
	pthread_mutex_lock(&rtc->lock);
	value = read_register(rtc, offset);
	pthread_mutex_unlock(&rtc->lock);
	return value;
}

static void mmio_write(void *device, uint64_t offset, unsigned int len, uint64_t value)
{
	struct goldfish_rtc *rtc = device;

	if (len != 4)
		return;
	pthread_mutex_lock(&rtc->lock);
	write_register(rtc, offset, (uint32_t)value);
	pthread_mutex_unlock(&rtc->lock);
}

const struct mmio_ops goldfish_rtc_mmio_ops = { .read = mmio_read, .write = mmio_write };

void goldfish_rtc_init(struct goldfish_rtc *rtc, const struct irq_line *irq,
		       const struct goldfish_rtc_ops *ops, void *ctx)
{
	*rtc = (struct goldfish_rtc){ .irq = *irq, .ops = ops, .ctx = ctx };
	pthread_mutex_init(&rtc->lock, NULL);
}

void goldfish_rtc_deinit(struct goldfish_rtc *rtc)
{
	pthread_mutex_destroy(&rtc->lock);
}

void goldfish_rtc_alarm(struct goldfish_rtc *rtc)
{
	pthread_mutex_lock(&rtc->lock);
	if (rtc->is_armed)
		arm(rtc);
	pthread_mutex_unlock(&rtc->lock);
}
