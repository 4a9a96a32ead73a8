/*
 * Runs the cases in a guest without an operating system: on TeleVM itself, by one hart and a second
 * one beside it. It reports by the virtio console, which is one of the devices under test: there is
 * no SBI console beside it, and a line is only told when a case is over. When all is done it waits
 * for a key, so that whoever started it can look at the monitor meanwhile, and shuts down.
 *
 * It is built by tests/system/run for a machine of RAM_SIZE; the cases' memory is behind all that
 * the kernel file and the monitor put there.
 */
#include "hostile.h"

#define RAM_GPA  UINT64_C(0x80000000)
#define MMIO_GPA UINT64_C(0x40010000)

enum {
	RAM_SIZE = 64 << 20,
	ARENA_OFFSET = 32 << 20,
	REST_TICKS = 500, /* 50 us, where there are 10 million in a second */
	PATIENCE = 400000,
	WAITS_FOR_A_KEY = 10,
	N_RACES = 20,
	THRIFT = 10, /* an exit to the monitor takes long in an emulated host */
	OTHER_HART = 1,
	LINE_MAX = 200,
	CONSOLE_RX = 0,
};

enum { SBI_HSM = 0x48534d, HSM_START = 0, HSM_STATUS = 2, HSM_STOPPED = 1 };

/* start.S and what it includes */
void hart_start(void);
void guest_main(void);
void guest_other(void *ctx);

/* The compiler may call these. */
void *memcpy(void *to, const void *from, size_t len);
void *memset(void *to, int byte, size_t len);

void *memcpy(void *to, const void *from, size_t len)
{
	volatile uint8_t *out = to;
	const uint8_t *in = from;

	for (size_t i = 0; i < len; i++)
		out[i] = in[i];
	return to;
}

void *memset(void *to, int byte, size_t len)
{
	fill(to, (uint8_t)byte, len);
	return to;
}

/* ---- the machine ---- */

struct guest {
	struct port port;
	struct machine machine;
	char line[LINE_MAX];
	unsigned int n_line;
	/* of the other hart */
	void (*fn)(void *ctx);
	void *ctx;
	bool is_ending;
};

struct sbi_ret {
	long error;
	long value;
};

static struct sbi_ret hsm(unsigned long function, unsigned long hart, unsigned long start,
			  unsigned long opaque)
{
	register unsigned long a0 __asm__("a0") = hart;
	register unsigned long a1 __asm__("a1") = start;
	register unsigned long a2 __asm__("a2") = opaque;
	register unsigned long a6 __asm__("a6") = function;
	register unsigned long a7 __asm__("a7") = SBI_HSM;

	__asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
	return (struct sbi_ret){ (long)a0, (long)a1 };
}

static uint64_t ticks(void)
{
	uint64_t now;

	__asm__ volatile("rdtime %0" : "=r"(now));
	return now;
}

/* Memory and registers are seen by the other side in the order of the program. */
static void in_order(void)
{
	__asm__ volatile("fence iorw, iorw" ::: "memory");
}

static uint64_t port_read(struct port *port, uint64_t gpa, unsigned int len)
{
	const volatile void *at = (const volatile void *)gpa;
	uint64_t value;

	(void)port;
	in_order();
	if (len == 1)
		value = *(const volatile uint8_t *)at;
	else if (len == 2)
		value = *(const volatile uint16_t *)at;
	else if (len == 4)
		value = *(const volatile uint32_t *)at;
	else
		value = *(const volatile uint64_t *)at;
	in_order();
	return value;
}

static void port_write(struct port *port, uint64_t gpa, unsigned int len, uint64_t value)
{
	volatile void *at = (volatile void *)gpa;

	(void)port;
	in_order();
	if (len == 1)
		*(volatile uint8_t *)at = (uint8_t)value;
	else if (len == 2)
		*(volatile uint16_t *)at = (uint16_t)value;
	else if (len == 4)
		*(volatile uint32_t *)at = (uint32_t)value;
	else
		*(volatile uint64_t *)at = value;
	in_order();
}

static void port_rest(struct port *port)
{
	uint64_t begin = ticks();

	(void)port;
	while (ticks() - begin < REST_TICKS)
		continue;
	in_order();
}

/* In the last slot, if it is there. */
static struct dev *find_console(struct machine *m)
{
	struct dev *d = &m->devs[m->n_devs - 1];

	return m->n_devs > 0 && d->kind == CONSOLE ? d : NULL;
}

/* Whatever state a case has left the console in. */
static void put_line(struct guest *guest)
{
	struct dev *d = find_console(&guest->machine);
	const struct buf buf = { (uint64_t)guest->line, guest->n_line, false };
	struct used_elem used;

	if (d == NULL)
		return;
	if (dev_status(d) != READY)
		dev_boot(d);
	dev_add(d, d->queue, &buf, 1);
	dev_kick(d, d->queue);
	(void)dev_wait_used(d, d->queue, &used);
}

/* A line at a time: other output does not get into it. */
static void port_say(struct port *port, const char *text)
{
	struct guest *guest = (struct guest *)port;

	for (; *text != '\0'; text++) {
		guest->line[guest->n_line++] = *text;
		if (*text == '\n' || guest->n_line == LINE_MAX) {
			put_line(guest);
			guest->n_line = 0;
		}
	}
}

void guest_other(void *ctx)
{
	struct guest *guest = ctx;

	while (!__atomic_load_n(&guest->is_ending, __ATOMIC_ACQUIRE))
		guest->fn(guest->ctx);
}

static void wait_for_other(void)
{
	while (hsm(HSM_STATUS, OTHER_HART, 0, 0).value != HSM_STOPPED)
		continue;
}

static bool port_beside(struct port *port, void (*fn)(void *ctx), void *ctx)
{
	struct guest *guest = (struct guest *)port;

	__atomic_store_n(&guest->is_ending, true, __ATOMIC_RELEASE);
	wait_for_other();
	if (fn == NULL)
		return true;
	guest->fn = fn;
	guest->ctx = ctx;
	__atomic_store_n(&guest->is_ending, false, __ATOMIC_RELEASE);
	return hsm(HSM_START, OTHER_HART, (unsigned long)hart_start, (unsigned long)guest).error ==
	       0;
}

/* ---- the end ---- */

static void wait_for_a_key(struct machine *m)
{
	struct dev *d = find_console(m);
	const struct buf buf = { m->scratch_gpa, 1, true };
	struct used_elem used;

	if (d == NULL)
		return;
	dev_boot(d);
	dev_add(d, CONSOLE_RX, &buf, 1);
	dev_kick(d, CONSOLE_RX);
	for (unsigned int i = 0; i < WAITS_FOR_A_KEY; i++) {
		if (dev_wait_used(d, CONSOLE_RX, &used))
			return;
	}
	m->port->say(m->port, "nobody gave a key\n");
}

void guest_main(void)
{
	static struct guest guest;

	guest.port = (struct port){
		.read = port_read,
		.write = port_write,
		.rest = port_rest,
		.say = port_say,
		.beside = port_beside,
		.ram = (uint8_t *)RAM_GPA,
		.ram_gpa = RAM_GPA,
		.ram_size = RAM_SIZE,
		.arena_gpa = RAM_GPA + ARENA_OFFSET,
		.mmio_gpa = MMIO_GPA,
		.patience = PATIENCE,
		.can_misalign = false,
		.n_races = N_RACES,
		.thrift = THRIFT,
	};
	hostile_run(&guest.machine, &guest.port);
	wait_for_a_key(&guest.machine);
}
