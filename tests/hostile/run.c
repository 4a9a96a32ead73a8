/*
 * Finds the devices and runs each case on each device that it is for.
 *
 * Lines of the checklist that are not here need faults of the host, or time, or are about other
 * parts of the monitor; these tests have them:
 *
 *	Q16  with hot-removed memory    there is none
 *	B09  faults of the host's file  unit/test_blk.c
 *	B10  rate limiter               unit/test_blk.c, unit/test_rate_limiter.c
 *	B11  with reads not yet done    unit/test_blk.c: here the page cache has them
 *	N03  flood from the host        unit/test_net.c
 *	N04  mergeable buffers          unit/test_net.c
 *	N06  faults of the back end     unit/test_net.c, unit/test_tap.c
 *	V03  with live listeners        unit/test_vsock.c
 *	V04  nonsense of credit         unit/test_vsock.c
 *	V05  hosts that do not read     unit/test_vsock.c
 *	V06  names of sockets           unit/test_vsock.c
 *	V07  transport reset            unit/test_vsock.c
 *	C01  output without end         unit/test_virtio_console.c, system/test_console.py
 *	C02  input without end          unit/test_virtio_console.c, system/test_console.py
 *	C03  readers that go            unit/test_virtio_console.c, system/test_console.py
 *	C04  control bytes              unit/test_virtio_console.c
 *	C05  UART registers             unit/test_uart16550.c, fuzz/fuzz_uart.c
 *	C07  ends of all kinds          unit/test_pvpanic.c, system/test_bare.py
 *	C08  exits of KVM               unit/test_vcpu_exit.c, fuzz/fuzz_exit.c
 *	C09  SBI console                unit/test_vcpu_exit.c, system/test_bare.py
 *	C10  harts                      system/test_bare.py
 *	C11  execution of nothing       system/test_bare.py
 */
#include "hostile.h"

enum {
	MAGIC = 0x74726976,
	RING_PAGES = 3,
	GOOD_PAGES = 2, /* the second is what a balloon gives away */
};

static uint64_t take_pages(struct machine *m, unsigned int n)
{
	uint64_t gpa = m->free_gpa;

	m->free_gpa += (uint64_t)n * PAGE;
	return gpa;
}

/* ---- finding devices ---- */

static void find_queues(struct dev *d)
{
	for (; d->n_queues < QUEUES_MAX; d->n_queues++) {
		uint32_t size;

		dev_write(d, REG_QUEUE_SEL, d->n_queues);
		size = dev_read(d, REG_QUEUE_SIZE_MAX);
		if (size == 0)
			break;
		d->rings[d->n_queues].size_max = (uint16_t)size;
		d->rings[d->n_queues].desc_gpa = take_pages(d->m, RING_PAGES);
	}
}

static uint64_t read_features(const struct dev *d)
{
	uint64_t features = 0;

	for (unsigned int i = 0; i < 2; i++) {
		dev_write(d, REG_DEVICE_FEATURES_SEL, i);
		features |= (uint64_t)dev_read(d, REG_DEVICE_FEATURES) << (32 * i);
	}
	return features;
}

static void add_device(struct machine *m, uint64_t gpa)
{
	struct dev *d = &m->devs[m->n_devs];

	*d = (struct dev){ .m = m, .gpa = gpa };
	if (dev_read(d, REG_MAGIC) != MAGIC || dev_read(d, REG_DEVICE_ID) == 0)
		return;
	d->kind = (enum kind)dev_read(d, REG_DEVICE_ID);
	d->queue = d->kind == NET || d->kind == VSOCK || d->kind == CONSOLE || d->kind == INPUT;
	d->offered = read_features(d);
	d->good_gpa = take_pages(m, GOOD_PAGES);
	find_queues(d);
	m->n_devs++;
}

static void find_devices(struct machine *m)
{
	m->free_gpa = m->port->arena_gpa;
	m->scratch_gpa = take_pages(m, SCRATCH_SIZE / PAGE);
	for (unsigned int i = 0; i < SLOTS_MAX; i++)
		add_device(m, m->port->mmio_gpa + (uint64_t)i * WINDOW_SIZE);
}

/* ---- lines ---- */

static const char *name_of(enum kind kind)
{
	switch (kind) {
	case NET:
		return "net";
	case BLK:
		return "blk";
	case CONSOLE:
		return "console";
	case RNG:
		return "rng";
	case BALLOON:
		return "balloon";
	case VSOCK:
		return "vsock";
	case INPUT:
		return "input";
	case EVERY:
	default:
		return "unknown";
	}
}

static void report(struct machine *m, const struct hostile_case *c, const struct dev *d,
		   verdict why)
{
	struct port *port = m->port;

	port->say(port, why == NULL ? "ok " : "not ok ");
	port->say(port, c->line);
	port->say(port, " ");
	port->say(port, name_of(d->kind));
	port->say(port, ": ");
	port->say(port, c->what);
	if (why != NULL) {
		port->say(port, ": ");
		port->say(port, why);
	}
	port->say(port, "\n");
	m->n_ok += why == NULL;
	m->n_bad += why != NULL;
}

/* ---- running ---- */

/* What every case ends with: the device works again, and another never ceased to. */
static verdict after(struct machine *m, struct dev *d)
{
	struct dev *other = &m->devs[(unsigned int)(d - m->devs + 1) % m->n_devs];

	dev_reset(d);
	REQUIRE(dev_status(d) == 0);
	REQUIRE(dev_read(d, REG_INTERRUPT_STATUS) == 0);
	dev_boot(d);
	REQUIRE(dev_status(d) == READY);
	CHECK(good(d));
	if (good(other) != NULL)
		return "another device does not work";
	return NULL;
}

static void run_case(struct machine *m, const struct hostile_case *c, struct dev *d)
{
	verdict why;
	verdict why_after;

	fill(dev_ptr(d, m->scratch_gpa), 0, SCRATCH_SIZE);
	why = c->run(d);
	if (why == not_applicable)
		return;
	why_after = after(m, d);
	report(m, c, d, why == NULL ? why_after : why);
}

static void run_table(struct machine *m, const struct hostile_case *table)
{
	for (const struct hostile_case *c = table; c->line != NULL; c++) {
		for (unsigned int i = 0; i < m->n_devs; i++) {
			if (c->kind == EVERY || c->kind == m->devs[i].kind)
				run_case(m, c, &m->devs[i]);
		}
	}
}

bool hostile_run(struct machine *m, struct port *port)
{
	static const struct hostile_case *const tables[] = {
		transport_cases, queue_cases, blk_cases, net_cases, vsock_cases, other_cases,
	};

	m->port = port;
	m->n_devs = 0;
	m->random = 1;
	m->n_ok = 0;
	m->n_bad = 0;
	find_devices(m);
	for (unsigned int i = 0; i < m->n_devs; i++)
		dev_boot(&m->devs[i]);
	port->say(port, "begin\n");
	for (unsigned int i = 0; i < COUNT(tables); i++)
		run_table(m, tables[i]);
	port->say(port, m->n_bad == 0 && m->n_ok > 0 ? "all is well\n" : "something is not well\n");
	return m->n_bad == 0 && m->n_ok > 0;
}
