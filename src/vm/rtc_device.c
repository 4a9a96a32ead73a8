#include "vm/rtc_device.h"

#include "bus/mmio_bus.h"
#include "riscv/layout.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/events.h"

#include <errno.h>
#include <event2/event.h>
#include <sys/timerfd.h>

static void set_timer(void *ctx, uint64_t deadline_ns)
{
	const struct rtc_device *device = ctx;
	struct itimerspec spec = { 0 };

	if (deadline_ns != GOLDFISH_RTC_NO_TIMER) {
		spec.it_value.tv_sec = (time_t)(deadline_ns / NS_PER_S);
		/* All zeros would disarm: a deadline in 1970 is past, one nanosecond later too. */
		spec.it_value.tv_nsec = (long)(deadline_ns % NS_PER_S) + (deadline_ns == 0);
	}
	/* Fails only for times that timespec cannot hold, and those are centuries away. */
	(void)timerfd_settime(device->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static const struct goldfish_rtc_ops rtc_ops = { .set_timer = set_timer };

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct rtc_device *device = ctx;
	uint64_t n_expired;

	(void)what;
	if (read(fd, &n_expired, sizeof(n_expired)) == sizeof(n_expired))
		goldfish_rtc_alarm(&device->rtc);
}

int rtc_device_init(struct rtc_device *device, struct event_base *base, struct mmio_bus *bus,
		    const struct irq_line *irq, struct err *err)
{
	device->timer_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (device->timer_fd < 0)
		return err_sys(err, "create the timer of the real-time clock");
	goldfish_rtc_init(&device->rtc, irq, &rtc_ops, device);
	device->is_init = true;
	device->event = event_new(base, device->timer_fd, EV_READ | EV_PERSIST, on_timer, device);
	if (device->event == NULL || event_add(device->event, NULL) != 0)
		return err_set(err, -ENOMEM, "watch the timer of the real-time clock");
	return mmio_bus_add(bus, LAYOUT_RTC_BASE, LAYOUT_DEVICE_SIZE, &goldfish_rtc_mmio_ops,
			    &device->rtc, "rtc", err);
}

void rtc_device_deinit(struct rtc_device *device)
{
	if (!device->is_init)
		return;
	free_event(&device->event);
	goldfish_rtc_deinit(&device->rtc);
	close_fd(&device->timer_fd);
	device->is_init = false;
}
