/*
 * The first program of the guest that is measured. It prints
 *
 *   bench: init
 *   bench: time TICKS, harts N
 *
 * and waits for ever, so that memory and exits can be read from an idle guest. The time is the
 * clock right after the first line was written. It has no C library: two pages, three system calls.
 */

#include <asm/unistd.h>

#define PLACES 20

static long call3(long number, long a, long b, long c)
{
	register long a0 __asm__("a0") = a;
	register long a1 __asm__("a1") = b;
	register long a2 __asm__("a2") = c;
	register long a7 __asm__("a7") = number;

	__asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
	return a0;
}

/* Write the digits of @number before @end; return where they begin. */
static char *number_before(char *end, unsigned long number)
{
	do
		*--end = (char)('0' + number % 10);
	while (number /= 10);
	return end;
}

static void print(const char *text, long length)
{
	call3(__NR_write, 1, (long)text, length);
}

static void print_number(const char *before, long length, unsigned long number)
{
	char digits[PLACES];
	char *first = number_before(digits + PLACES, number);

	print(before, length);
	print(first, digits + PLACES - first);
}

#define PRINT(text)                print(text, sizeof(text) - 1)
#define PRINT_NUMBER(text, number) print_number(text, sizeof(text) - 1, number)

static unsigned long harts(void)
{
	unsigned long mask = 0;
	unsigned long n = 0;

	for (call3(__NR_sched_getaffinity, 0, sizeof(mask), (long)&mask); mask; mask &= mask - 1)
		n++;
	return n;
}

void start_of_program(void)
{
	static const unsigned long no_signals;
	unsigned long time;

	PRINT("bench: init\n");
	__asm__ volatile("rdtime %0" : "=r"(time));
	PRINT_NUMBER("bench: time ", time);
	PRINT_NUMBER(", harts ", harts());
	PRINT("\n");
	for (;;)
		call3(__NR_rt_sigsuspend, (long)&no_signals, sizeof(no_signals), 0);
}

__asm__(".globl _start\n"
	"_start:\n"
	"	call start_of_program\n");
