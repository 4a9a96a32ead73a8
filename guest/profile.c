/*
 * A plugin for QEMU's emulator that counts what a boot costs, from the first instruction of the
 * kernel to the first character that user space prints (whole=on: to the end of the machine): the
 * instructions of each place in the kernel, and the pages of RAM that were touched. guest/profile
 * compiles it, runs QEMU with it and makes a report of what it writes:
 *
 *   total KERNEL USER FIRMWARE      instructions
 *   code ADDRESS COUNT              a place in the kernel and how often it was executed
 *   page ADDRESS ADDRESS WRITTEN    a page, the place that touched it first, whether it was written
 *
 * It knows QEMU's machine "virt" and a kernel without address randomisation: the Image lies at its
 * conventional address, runs there until its page tables are on, and in its own region afterwards.
 */

#include "qemu_plugin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const int qemu_plugin_version = 2;

#define UART          0x10000000UL
#define RAM           0x80000000UL
#define KERNEL_LOADED 0x80200000UL
#define KERNEL        0xffffffff80000000UL
#define KERNEL_SIZE   0x2000000UL
#define PAGES         0x100000UL

struct page {
	uint64_t by;
	bool written;
};

static enum { FIRMWARE, COUNTING, IN_USER } stage;
static uint64_t *executed; /* per two bytes of kernel */
static struct page *pages;
static uint64_t in_kernel, in_user, in_firmware;
static const char *output;
static bool whole;

static void report(void)
{
	FILE *file = fopen(output, "w");

	if (!file) {
		perror(output);
		return;
	}
	fprintf(file, "total %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", in_kernel, in_user,
		in_firmware);
	for (uint64_t i = 0; i < KERNEL_SIZE / 2; i++)
		if (executed[i])
			fprintf(file, "code %" PRIx64 " %" PRIu64 "\n", KERNEL + i * 2,
				executed[i]);
	for (uint64_t i = 0; i < PAGES; i++)
		if (pages[i].by)
			fprintf(file, "page %" PRIx64 " %" PRIx64 " %d\n", RAM + i * 4096,
				pages[i].by, pages[i].written);
	fclose(file);
}

/* An address of kernel code as the kernel's own map has it. */
static uint64_t linked(uint64_t address)
{
	bool early = address >= KERNEL_LOADED && address < KERNEL_LOADED + KERNEL_SIZE;

	return early ? address - KERNEL_LOADED + KERNEL : address;
}

static void touch(uint64_t physical, uint64_t by, bool written)
{
	uint64_t i = (physical - RAM) / 4096;

	if (physical < RAM || i >= PAGES)
		return;
	if (!pages[i].by)
		pages[i].by = by;
	pages[i].written |= written;
}

static void on_kernel(uint64_t address)
{
	uint64_t offset = address - KERNEL;

	in_kernel++;
	if (offset >= KERNEL_SIZE)
		return;
	executed[offset / 2]++;
	touch(KERNEL_LOADED + offset, address, false);
}

static void on_instruction(unsigned int vcpu, void *data)
{
	uint64_t address = (uint64_t)data;

	(void)vcpu;
	if (stage == FIRMWARE && address == KERNEL_LOADED)
		stage = COUNTING;
	if (stage == FIRMWARE)
		return;
	if (address >= RAM && address < KERNEL_LOADED) {
		in_firmware++;
	} else if (address < RAM) {
		in_user++;
		stage = IN_USER;
	} else {
		on_kernel(linked(address));
	}
}

static void on_access(qemu_plugin_meminfo_t info, uint64_t at, uint64_t by, bool written)
{
	struct qemu_plugin_hwaddr *address;
	uint64_t physical;

	if (stage == FIRMWARE || (by >= RAM && by < KERNEL_LOADED))
		return;
	address = qemu_plugin_get_hwaddr(info, at);
	if (!address)
		return;
	physical = qemu_plugin_hwaddr_phys_addr(address);
	if (!qemu_plugin_hwaddr_is_io(address)) {
		touch(physical, linked(by), written);
	} else if (stage == IN_USER && physical == UART && written && !whole) {
		report();
		_exit(0); /* the machine may wait for somebody to type */
	}
}

static void on_read(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t at, void *by)
{
	(void)vcpu;
	on_access(info, at, (uint64_t)by, false);
}

static void on_write(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t at, void *by)
{
	(void)vcpu;
	on_access(info, at, (uint64_t)by, true);
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	(void)id;
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		void *address = (void *)qemu_plugin_insn_vaddr(insn);

		qemu_plugin_register_vcpu_insn_exec_cb(insn, on_instruction, QEMU_PLUGIN_CB_NO_REGS,
						       address);
		qemu_plugin_register_vcpu_mem_cb(insn, on_read, QEMU_PLUGIN_CB_NO_REGS,
						 QEMU_PLUGIN_MEM_R, address);
		qemu_plugin_register_vcpu_mem_cb(insn, on_write, QEMU_PLUGIN_CB_NO_REGS,
						 QEMU_PLUGIN_MEM_W, address);
	}
}

static void at_end(qemu_plugin_id_t id, void *data)
{
	(void)id;
	(void)data;
	report();
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	(void)info;
	if (argc < 1 || strncmp(argv[0], "out=", 4) != 0)
		return -1;
	whole = argc > 1 && strcmp(argv[1], "whole=on") == 0;
	output = strdup(argv[0] + 4);
	executed = calloc(KERNEL_SIZE / 2, sizeof(*executed));
	pages = calloc(PAGES, sizeof(*pages));
	if (!output || !executed || !pages)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	if (whole)
		qemu_plugin_register_atexit_cb(id, at_end, NULL);
	return 0;
}
