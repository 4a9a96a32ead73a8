#include "platform/boot_timer.h"

#include "util/clock.h"
#include "util/log.h"

static uint64_t now_us(clockid_t clock)
{
	return clock_ns(clock) / NS_PER_US;
}

static uint64_t mmio_read(void *device, uint64_t offset, unsigned int len)
{
	(void)device;
	(void)offset;
	(void)len;
	return 0;
}

static void mmio_write(void *device, uint64_t offset, unsigned int len, uint64_t value)
{
	struct boot_timer *timer = device;
	uint64_t us;
	uint64_t cpu_us;

	if (offset != 0 || len != 1 || value != BOOT_TIMER_UP ||
	    atomic_exchange(&timer->is_up, true))
		return;
	us = now_us(CLOCK_MONOTONIC) - timer->start_us;
	cpu_us = now_us(CLOCK_PROCESS_CPUTIME_ID) - timer->cpu_start_us;
	log_info("Guest-boot-time = %6llu us %llu ms, %6llu CPU us %llu CPU ms",
		 (unsigned long long)us, (unsigned long long)us / 1000, (unsigned long long)cpu_us,
		 (unsigned long long)cpu_us / 1000);
}

const struct mmio_ops boot_timer_mmio_ops = { .read = mmio_read, .write = mmio_write };

void boot_timer_init(struct boot_timer *timer)
{
	*timer = (struct boot_timer){
		.start_us = now_us(CLOCK_MONOTONIC),
		.cpu_start_us = now_us(CLOCK_PROCESS_CPUTIME_ID),
	};
}
