#include "platform/boot_timer.h"

#include "rig.h"
#include "test.h"
#include "util/bits.h"
#include "util/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct boot_timer timer;
static const struct rig_mmio mmio = { &boot_timer_mmio_ops, &timer };
static int log_fds[2];

static int set_up(void **state)
{
	(void)state;
	boot_timer_init(&timer);
	if (pipe2(log_fds, O_NONBLOCK | O_CLOEXEC) != 0)
		return -1;
	log_set_fd(log_fds[1]);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	log_set_fd(STDERR_FILENO);
	close(log_fds[0]);
	close(log_fds[1]);
	return 0;
}

/* \return what was logged since the last call */
static const char *logged(void)
{
	static char text[512];
	ssize_t n = read(log_fds[0], text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void the_line_is_firecrackers(void **state)
{
	unsigned long us = 0, ms = 0, cpu_us = 0, cpu_ms = 0;
	const char *line;

	(void)state;
	rig_write8(&mmio, 0, BOOT_TIMER_UP);
	line = strstr(logged(), "Guest-boot-time = ");
	assert_non_null(line);
	assert_int_equal(sscanf(line, "Guest-boot-time = %lu us %lu ms, %lu CPU us %lu CPU ms\n",
				&us, &ms, &cpu_us, &cpu_ms),
			 4);
	assert_int_equal(ms, us / 1000);
	assert_int_equal(cpu_ms, cpu_us / 1000);
	assert_true(us < UINT64_C(3600) * 1000000);
	assert_true(cpu_us < UINT64_C(3600) * 1000000);
}

static void it_is_told_once(void **state)
{
	(void)state;
	rig_write8(&mmio, 0, BOOT_TIMER_UP);
	assert_string_not_equal(logged(), "");
	for (int i = 0; i < 1000; i++)
		rig_write8(&mmio, 0, BOOT_TIMER_UP);
	assert_string_equal(logged(), "");
}

static void nothing_else_does_anything(void **state)
{
	(void)state;
	for (unsigned int value = 0; value < 256; value++) {
		if (value != BOOT_TIMER_UP)
			rig_write8(&mmio, 0, (uint8_t)value);
	}
	rig_write8(&mmio, 1, BOOT_TIMER_UP);
	rig_write8(&mmio, 0xfff, BOOT_TIMER_UP);
	for (unsigned int len = 2; len <= 8; len *= 2)
		rig_write(&mmio, 0, len, BOOT_TIMER_UP);
	for (unsigned int len = 1; len <= 8; len *= 2)
		assert_int_equal(rig_read(&mmio, 0, len), 0);
	assert_string_equal(logged(), "");
}

static void *write_it(void *arg)
{
	(void)arg;
	for (int i = 0; i < 1000; i++)
		rig_write8(&mmio, 0, BOOT_TIMER_UP);
	return NULL;
}

static void two_threads(void **state)
{
	pthread_t thread;
	const char *line;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, write_it, NULL), 0);
	write_it(NULL);
	pthread_join(thread, NULL);
	line = strchr(logged(), '\n');
	assert_non_null(line);
	assert_string_equal(line, "\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_line_is_firecrackers),
		TEST(it_is_told_once),
		TEST(nothing_else_does_anything),
		TEST(two_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
