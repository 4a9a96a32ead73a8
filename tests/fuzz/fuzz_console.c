/*
 * The console device between a guest and two pipes, in any order of buffers, kicks, resets, reads
 * and writes. What must hold: as long as the driver keeps the rules its device does not break, and
 * bytes come out on the other side, both ways, each once and in order. Once the input has broken
 * the rings, that the process lives and a reset makes all good.
 */
#include "driver.h"
#include "util/assert.h"
#include "util/bits.h"
#include "util/log.h"
#include "virtio/virtio_console.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum {
	RX,
	TX,
	N_PAGES = 512,
	STEP_BYTES = 4,
	PIECES_MAX = 3,
	PIECE_MAX = 255 * 40,
	/* chains at a time, so that no descriptor is used twice */
	CHAINS_MAX = 64 / PIECES_MAX,
	CHAIN_ROOM = PIECES_MAX * PIECE_MAX,
};

struct model {
	struct driver d;
	struct virtio_console vc;
	int in[2]; /* pipes: the host types into one, and reads from the other */
	int out[2];
	uint64_t gpa[2]; /* CHAINS_MAX places of CHAIN_ROOM bytes, used round */
	uint64_t rx_gpa[DRIVER_SIZE_MAX];
	unsigned int n_added[2];
	unsigned int n_used[2];
	/* Bytes of each direction count up. */
	uint8_t next_printed;
	uint8_t next_shown;
	uint8_t next_typed;
	uint8_t next_read;
	uint64_t n_printed;
	uint64_t n_shown;
	bool is_clean;    /* the driver has kept the rules since it is there */
	bool is_complete; /* nothing of what was printed may be missing */
	bool is_in_order; /* nor of what was typed */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_leave(void *ctx)
{
	(void)ctx;
}

static void boot(struct model *m)
{
	memset(m->n_added, 0, sizeof(m->n_added));
	memset(m->n_used, 0, sizeof(m->n_used));
	driver_boot(&m->d, VIRTIO_F_EVENT_IDX);
	m->is_clean = true;
}

static uint64_t next_place(struct model *m, unsigned int queue)
{
	return m->gpa[queue] + (uint64_t)(m->n_added[queue]++ % CHAINS_MAX) * CHAIN_ROOM;
}

static bool is_full(const struct model *m, unsigned int queue)
{
	return m->n_added[queue] - m->n_used[queue] >= CHAINS_MAX;
}

static void print(struct model *m, const uint8_t *step)
{
	struct driver_buf bufs[PIECES_MAX];
	unsigned int n = 1 + step[1] % PIECES_MAX;
	uint64_t gpa;

	if (is_full(m, TX))
		return;
	gpa = next_place(m, TX);
	for (unsigned int i = 0; i < n; i++) {
		uint32_t len = step[3] < 200 ? step[2] : step[2] * 40U;
		uint8_t *bytes = driver_ptr(&m->d, gpa);

		for (uint32_t j = 0; j < len; j++)
			bytes[j] = m->next_printed++;
		bufs[i] = (struct driver_buf){ gpa, len, false };
		gpa += len;
		m->n_printed += len;
	}
	driver_add(&m->d, TX, bufs, n);
}

static void give(struct model *m, const uint8_t *step)
{
	uint64_t gpa;
	const uint32_t len = step[2] + 1U;
	struct driver_buf bufs[2];

	if (is_full(m, RX))
		return;
	gpa = next_place(m, RX);
	bufs[0] = (struct driver_buf){ gpa, len, true };
	bufs[1] = (struct driver_buf){ gpa + len, step[3], true };
	m->rx_gpa[driver_add(&m->d, RX, bufs, 1 + step[1] % 2)] = gpa;
}

static void type(struct model *m, const uint8_t *step)
{
	uint8_t bytes[512];
	size_t len = 1 + (step[1] | step[2] << 8) % sizeof(bytes);
	ssize_t n;

	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(m->next_typed + i);
	n = write(m->in[1], bytes, len);
	if (n > 0)
		m->next_typed += (uint8_t)n;
}

/* \return how many bytes there were */
static size_t show(struct model *m, size_t len)
{
	uint8_t bytes[65536];
	ssize_t n = read(m->out[0], bytes, MIN(len, sizeof(bytes)));

	for (ssize_t i = 0; i < n && m->is_complete; i++)
		ASSERT(bytes[i] == m->next_shown++);
	m->n_shown += n > 0 ? (size_t)n : 0;
	return n > 0 ? (size_t)n : 0;
}

static void show_all(struct model *m)
{
	do {
		virtio_console_flush(&m->vc, 0);
	} while (show(m, SIZE_MAX) > 0);
}

static void reap(struct model *m)
{
	struct driver_used used;

	while (driver_take_used(&m->d, TX, &used)) {
		ASSERT(used.len == 0);
		m->n_used[TX]++;
	}
	while (driver_take_used(&m->d, RX, &used)) {
		const uint8_t *bytes = driver_ptr(&m->d, m->rx_gpa[used.head]);

		for (uint32_t i = 0; i < used.len && m->is_in_order; i++)
			ASSERT(bytes[i] == m->next_read++);
		m->n_used[RX]++;
	}
}

static void break_rules(struct model *m, const uint8_t *step)
{
	struct driver_queue *q = &m->d.queues[step[1] & 1];
	uint8_t *areas[] = { (uint8_t *)q->desc, (uint8_t *)q->avail, (uint8_t *)q->used };

	m->is_clean = false;
	m->is_complete = false;
	m->is_in_order = false;
	areas[(step[1] >> 1) % ARRAY_SIZE(areas)][(step[1] >> 3) * 8U + step[2] % 8] = step[3];
}

/* What a driver that goes had not printed yet is lost, and what it was given is too. */
static void boot_again(struct model *m)
{
	show_all(m);
	if (m->n_shown != m->n_printed)
		m->is_complete = false;
	boot(m);
}

static void take_step(struct model *m, const uint8_t *step)
{
	switch (step[0] % 9) {
	case 0:
	case 1:
		print(m, step);
		break;
	case 2:
		give(m, step);
		break;
	case 3:
		rig_write32(&m->d.mmio, 0x50, step[1] % 3);
		break;
	case 4:
		type(m, step);
		break;
	case 5:
		show(m, (size_t)step[1] * 64 + step[2]);
		break;
	case 6:
		show_all(m);
		break;
	case 7:
		if (step[1] < 64 || !m->is_clean)
			boot_again(m);
		break;
	default:
		if (step[3] < 16)
			break_rules(m, step);
		break;
	}
	driver_settle(&m->d);
	/* A machine so slow that the reader seems stuck. */
	if (m->vc.console.is_dropping)
		m->is_complete = false;
	if (!m->is_clean)
		return;
	ASSERT((driver_status(&m->d) & VIRTIO_STATUS_NEEDS_RESET) == 0);
	reap(m);
}

static void start(struct model *m)
{
	struct virtio_console_config config = { .leave = on_leave };
	int ret;

	ret = pipe2(m->in, O_CLOEXEC | O_NONBLOCK);
	ASSERT(ret == 0);
	ret = pipe2(m->out, O_CLOEXEC | O_NONBLOCK);
	ASSERT(ret == 0);
	config.in_fd = m->in[0];
	config.out_fd = m->out[1];
	driver_init(&m->d, N_PAGES);
	ret = virtio_console_init(&m->vc, "c0", &config, &m->d.mem, &m->d.irq.line, m->d.base,
				  NULL);
	ASSERT(ret == 0);
	driver_attach(&m->d, &m->vc.dev);
	for (unsigned int i = 0; i < ARRAY_SIZE(m->gpa); i++)
		m->gpa[i] = driver_alloc(&m->d, (uint64_t)CHAINS_MAX * CHAIN_ROOM, 8);
	m->is_complete = true;
	m->is_in_order = true;
	boot(m);
}

static void stop(struct model *m)
{
	virtio_console_deinit(&m->vc);
	driver_deinit(&m->d);
	for (unsigned int i = 0; i < 2; i++) {
		close(m->in[i]);
		close(m->out[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct model m;

	log_set_level(LOG_OFF);
	signal(SIGPIPE, SIG_IGN);
	m = (struct model){ 0 };
	start(&m);
	for (; size >= STEP_BYTES; data += STEP_BYTES, size -= STEP_BYTES)
		take_step(&m, data);
	show_all(&m);
	if (m.is_clean && m.is_complete)
		ASSERT(m.n_shown == m.n_printed);
	stop(&m);
	return 0;
}
