/*
 * A plugin for QEMU's emulator that counts where the instructions of a host of one hart go: for
 * each piece of code, each phase and each task that ran it. bench/profile compiles it, has it run
 * and makes a report of what it writes to out=FILE when all is over:
 *
 *   base ADDRESS                               where physical address 0 would lie in what follows
 *   code ADDRESS PLACE PHASE TASK COUNT        instructions; PLACE: of the code, in QEMU's memory
 *
 * Guests and hosts use the same addresses, so a piece of code is told by where it lies, too. Phases
 * are counted from 0, and phases.c tells where they begin and end. A task is the kernel's pointer
 * to it, which its __switch_to, at switch=ADDRESS, is given. What runs before the first switch of
 * a phase is the task's that ran last.
 */

#include "qemu_plugin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const int qemu_plugin_version = 4;

/* slti zero, zero: phases.c has the same numbers. */
#define HINT_BEGIN 0x5a502013U
#define HINT_END   0x5a602013U
#define HINT_ALL   0x5a702013U

#define RAM             0x80000000UL
#define FIRMWARE        0x200000UL
#define HOST_KERNEL_END 0x84000000UL

#define N_BUCKETS (1U << 18)
#define N_PHASES  64
#define N_TASKS   32 /* of one phase, the last for all others */

/* A translated block: straight code, so that it is counted as a whole. */
struct block {
	struct block *next;
	uint64_t address;
	uint64_t place;
	size_t n_instructions;
	uint64_t (*counts)[N_PHASES][N_TASKS]; /* NULL: it has not run in a phase */
};

static struct block *buckets[N_BUCKETS];
static uint64_t base;

static int phase = -1;
static bool is_counting;
static uint64_t running;
static uint64_t tasks[N_PHASES][N_TASKS];
static int task;

static const char *output;
static uint64_t switch_to;
static struct qemu_plugin_register *next_task;
static struct qemu_plugin_array *value;

/* ---- counting ---- */

static void find_task(void)
{
	task = 0;
	while (task < N_TASKS - 1 && tasks[phase][task] != 0 && tasks[phase][task] != running)
		task++;
	if (task < N_TASKS - 1)
		tasks[phase][task] = running;
}

static void on_switch(unsigned int vcpu, void *data)
{
	(void)vcpu;
	(void)data;
	g_byte_array_set_size(value, 0);
	if (qemu_plugin_read_register(next_task, value) == sizeof(running))
		memcpy(&running, value->data, sizeof(running));
	if (is_counting)
		find_task();
}

static void on_block(unsigned int vcpu, void *data)
{
	struct block *block = data;

	(void)vcpu;
	if (!is_counting)
		return;
	if (block->counts == NULL)
		block->counts = calloc(1, sizeof(*block->counts));
	if (block->counts != NULL)
		(*block->counts)[phase][task] += block->n_instructions;
}

static void on_begin(unsigned int vcpu, void *data)
{
	(void)vcpu;
	(void)data;
	if (phase == N_PHASES - 1)
		return;
	phase++;
	is_counting = true;
	find_task();
}

static void on_end(unsigned int vcpu, void *data)
{
	(void)vcpu;
	(void)data;
	is_counting = false;
}

/* ---- the report ---- */

static void write_block(FILE *file, const struct block *block)
{
	for (int p = 0; p < N_PHASES; p++)
		for (int t = 0; t < N_TASKS; t++)
			if ((*block->counts)[p][t] != 0)
				fprintf(file,
					"code %" PRIx64 " %" PRIx64 " %d %" PRIx64 " %" PRIu64 "\n",
					block->address, block->place, p, tasks[p][t],
					(*block->counts)[p][t]);
}

static void on_all(unsigned int vcpu, void *data)
{
	FILE *file = fopen(output, "w");

	(void)vcpu;
	(void)data;
	if (file == NULL) {
		perror(output);
		return;
	}
	fprintf(file, "base %" PRIx64 "\n", base);
	for (unsigned int i = 0; i < N_BUCKETS; i++)
		for (const struct block *block = buckets[i]; block != NULL; block = block->next)
			if (block->counts != NULL)
				write_block(file, block);
	fclose(file);
}

/* ---- translation ---- */

/* The same code may be translated many times. */
static struct block *find_block(uint64_t address, uint64_t place, size_t n_instructions)
{
	uint64_t hash = (address >> 1) ^ ((place >> 12) * 31) ^ (n_instructions * 7919);
	struct block **at = &buckets[hash % N_BUCKETS];
	struct block *block = *at;

	while (block != NULL && (block->address != address || block->place != place ||
				 block->n_instructions != n_instructions))
		block = block->next;
	if (block != NULL)
		return block;
	block = calloc(1, sizeof(*block));
	if (block == NULL)
		abort();
	*block = (struct block){
		.next = *at,
		.address = address,
		.place = place,
		.n_instructions = n_instructions,
	};
	*at = block;
	return block;
}

static void watch_instruction(struct qemu_plugin_insn *insn)
{
	static const struct {
		uint32_t code;
		void (*call)(unsigned int, void *);
	} hints[] = { { HINT_BEGIN, on_begin }, { HINT_END, on_end }, { HINT_ALL, on_all } };
	uint32_t code = 0;

	(void)qemu_plugin_insn_data(insn, &code, sizeof(code));
	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if (code == hints[i].code)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, hints[i].call,
							       QEMU_PLUGIN_CB_NO_REGS, NULL);
	/* A guest may have something else at this address. */
	if (qemu_plugin_insn_vaddr(insn) == switch_to &&
	    (uint64_t)qemu_plugin_insn_haddr(insn) - base < HOST_KERNEL_END)
		qemu_plugin_register_vcpu_insn_exec_cb(insn, on_switch, QEMU_PLUGIN_CB_R_REGS,
						       NULL);
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	struct qemu_plugin_insn *first = qemu_plugin_tb_get_insn(tb, 0);
	uint64_t address = qemu_plugin_insn_vaddr(first);
	uint64_t place = (uint64_t)qemu_plugin_insn_haddr(first);
	size_t n = qemu_plugin_tb_n_insns(tb);

	(void)id;
	/* The firmware runs at physical addresses. */
	if (base == 0 && address >= RAM && address < RAM + FIRMWARE)
		base = place - address;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS,
					     find_block(address, place, n));
	for (size_t i = 0; i < n; i++)
		watch_instruction(qemu_plugin_tb_get_insn(tb, i));
}

static void on_start(qemu_plugin_id_t id, unsigned int vcpu)
{
	struct qemu_plugin_array *registers = qemu_plugin_get_registers();
	const struct qemu_plugin_reg_descriptor *descriptors = registers->data;

	(void)id;
	(void)vcpu;
	for (unsigned int i = 0; i < registers->len; i++)
		if (strcmp(descriptors[i].name, "x11/a1") == 0 ||
		    strcmp(descriptors[i].name, "a1") == 0)
			next_task = descriptors[i].handle;
	if (next_task == NULL)
		abort();
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	(void)info;
	if (argc != 2 || strncmp(argv[0], "out=", 4) != 0 || strncmp(argv[1], "switch=", 7) != 0)
		return -1;
	output = strdup(argv[0] + 4);
	switch_to = strtoull(argv[1] + 7, NULL, 16);
	value = g_byte_array_new();
	qemu_plugin_register_vcpu_init_cb(id, on_start);
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	return 0;
}
