#include "riscv/fdt.h"
#include "test.h"
#include "util/bits.h"
#include "util/io.h"

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static _Alignas(8) uint8_t tree[LAYOUT_FDT_SIZE];
static struct isa isa;

static int set_up(void **state)
{
	static const char *const names[] = { "i",      "m",      "a",      "f",   "d",   "c",
					     "zicbom", "zicboz", "zicntr", "zba", "sstc" };

	(void)state;
	isa = (struct isa){ .cbom_block_size = 64, .cboz_block_size = 128 };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		isa_add(&isa, names[i]);
	return 0;
}

static struct fdt_machine full_machine(unsigned int n_harts, enum fdt_irqchip irqchip)
{
	struct fdt_machine machine = {
		.n_harts = n_harts,
		.isa = &isa,
		.mmu_type = "riscv,sv39",
		.timebase_hz = 10000000,
		.ram_gpa = LAYOUT_RAM_BASE,
		.ram_size = 6 * GIB,
		.bootargs = "console=ttyS0 panic=-1",
		.initrd_start = 0x8f000000,
		.initrd_end = 0x8f123456,
		.irqchip = irqchip,
		.aia_n_ids = LAYOUT_IMSIC_N_IDS,
		.n_sources = LAYOUT_IRQ_SOURCES,
		.has_serial = true,
		.serial_is_stdout = true,
		.has_rtc = true,
		.has_pvpanic = true,
		.n_virtio = 2,
	};

	for (unsigned int i = 0; i < machine.n_virtio; i++)
		machine.virtio[i] =
			(struct fdt_virtio){ LAYOUT_VIRTIO_GPA(i), LAYOUT_IRQ_FIRST_FREE + i };
	memset(machine.rng_seed, 0xa5, sizeof(machine.rng_seed));
	return machine;
}

static void build(const struct fdt_machine *machine)
{
	struct err err = { 0 };
	size_t used = 0;
	int ret = fdt_build(machine, tree, sizeof(tree), &used, &err);

	if (ret != 0)
		fail_msg("%s", err.text);
	assert_int_equal(fdt_check_full(tree, used), 0);
}

static const void *property(const char *path, const char *name, int *len)
{
	int node = fdt_path_offset(tree, path);

	if (node < 0)
		fail_msg("no node %s", path);
	return fdt_getprop(tree, node, name, len);
}

static void assert_absent(const char *path, const char *name)
{
	int len;

	assert_null(property(path, name, &len));
}

static void assert_string_is(const char *path, const char *name, const char *value)
{
	int len;
	const char *got = property(path, name, &len);

	assert_non_null(got);
	assert_int_equal(len, strlen(value) + 1);
	assert_string_equal(got, value);
}

static void assert_cells_are(const char *path, const char *name, const uint32_t *cells, size_t n)
{
	int len;
	const fdt32_t *got = property(path, name, &len);

	if (got == NULL || (size_t)len != n * sizeof(*got))
		fail_msg("%s/%s: %d bytes", path, name, len);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(fdt32_ld(&got[i]), cells[i]);
}

#define assert_cells(path, name, ...)                                                              \
	assert_cells_are(path, name, (const uint32_t[]){ __VA_ARGS__ },                            \
			 sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))

static void assert_no_node(const char *path)
{
	assert_int_equal(fdt_path_offset(tree, path), -FDT_ERR_NOTFOUND);
}

static void describes_what_the_boot_needs(void **state)
{
	struct fdt_machine machine = full_machine(1, FDT_IRQCHIP_PLIC);
	int len;
	const void *seed;

	(void)state;
	build(&machine);
	assert_int_equal(fdt_stringlist_search(tree, 0, "compatible", "televm,microvm"), 0);
	assert_int_equal(fdt_stringlist_search(tree, 0, "compatible", "linux,dummy-virt"), 1);
	assert_string_is("/chosen", "bootargs", machine.bootargs);
	assert_string_is("/chosen", "stdout-path", "/soc/serial@40002000:115200n8");
	assert_cells("/chosen", "linux,initrd-start", 0, 0x8f000000);
	assert_cells("/chosen", "linux,initrd-end", 0, 0x8f123456);
	seed = property("/chosen", "rng-seed", &len);
	assert_int_equal(len, FDT_RNG_SEED_SIZE);
	assert_memory_equal(seed, machine.rng_seed, FDT_RNG_SEED_SIZE);
	assert_absent("/chosen", "kaslr-seed");
	assert_string_is("/memory@80000000", "device_type", "memory");
	assert_cells("/memory@80000000", "reg", 0, 0x80000000, 1, 0x80000000);
}

static void describes_harts(void **state)
{
	static const char extensions[] = "i\0m\0a\0f\0d\0c\0zicbom\0zicboz\0zicntr\0zba\0sstc";
	struct fdt_machine machine = full_machine(2, FDT_IRQCHIP_AIA);
	int len;
	const void *list;

	(void)state;
	build(&machine);
	assert_cells("/cpus", "timebase-frequency", 10000000);
	assert_cells("/cpus/cpu@1", "reg", 1);
	assert_string_is("/cpus/cpu@1", "mmu-type", "riscv,sv39");
	assert_string_is("/cpus/cpu@1", "riscv,isa-base", "rv64i");
	assert_string_is("/cpus/cpu@1", "riscv,isa", "rv64imafdc_zicbom_zicboz_zicntr_zba_sstc");
	list = property("/cpus/cpu@1", "riscv,isa-extensions", &len);
	assert_int_equal(len, sizeof(extensions));
	assert_memory_equal(list, extensions, sizeof(extensions));
	assert_cells("/cpus/cpu@1", "riscv,cbom-block-size", 64);
	assert_cells("/cpus/cpu@1", "riscv,cboz-block-size", 128);
	assert_absent("/cpus/cpu@1", "riscv,cbop-block-size");
	assert_string_is("/cpus/cpu@1/interrupt-controller", "compatible", "riscv,cpu-intc");
	assert_no_node("/cpus/cpu@2");
}

/* The phandle of hart N's interrupt controller, as the guest finds it. */
static uint32_t intc_of(unsigned int hart)
{
	char path[64];

	snprintf(path, sizeof(path), "/cpus/cpu@%x/interrupt-controller", hart);
	return fdt_get_phandle(tree, fdt_path_offset(tree, path));
}

static void plic_reaches_all_harts(void **state)
{
	struct fdt_machine machine = full_machine(32, FDT_IRQCHIP_PLIC);
	const char *plic = "/soc/interrupt-controller@c000000";
	const fdt32_t *cells;
	int len;

	(void)state;
	build(&machine);
	assert_cells(plic, "reg", 0, 0xc000000, 0, 0x4000000);
	assert_cells(plic, "riscv,ndev", 30);
	assert_cells(plic, "#interrupt-cells", 1);
	cells = property(plic, "interrupts-extended", &len);
	assert_int_equal(len, 32 * 2 * 4);
	for (unsigned int hart = 0; hart < 32; hart++) {
		assert_int_equal(fdt32_ld(&cells[2 * hart]), intc_of(hart));
		assert_int_equal(fdt32_ld(&cells[2 * hart + 1]), 9);
	}
	assert_cells("/soc", "interrupt-parent",
		     fdt_get_phandle(tree, fdt_path_offset(tree, plic)));
	assert_cells("/soc/serial@40002000", "interrupts", 1);
	assert_cells("/soc/rtc@40001000", "interrupts", 2);
	assert_cells("/soc/virtio_mmio@40011000", "interrupts", 5);
	assert_no_node("/soc/interrupt-controller@28000000");
}

static void aia_sends_edges_as_messages(void **state)
{
	struct fdt_machine machine = full_machine(3, FDT_IRQCHIP_AIA);
	const char *imsics = "/soc/interrupt-controller@28000000";
	const char *aplic = "/soc/interrupt-controller@d000000";

	(void)state;
	build(&machine);
	assert_cells(imsics, "reg", 0, 0x28000000, 0, 3 * 4096);
	assert_cells(imsics, "interrupts-extended", intc_of(0), 9, intc_of(1), 9, intc_of(2), 9);
	assert_cells(imsics, "riscv,num-ids", 63);
	assert_cells(imsics, "riscv,hart-index-bits", 2);
	assert_cells(imsics, "#interrupt-cells", 0);
	assert_cells(imsics, "#msi-cells", 0);
	assert_cells(aplic, "reg", 0, 0xd000000, 0, 0x4000);
	assert_cells(aplic, "riscv,num-sources", 30);
	assert_cells(aplic, "msi-parent", fdt_get_phandle(tree, fdt_path_offset(tree, imsics)));
	assert_absent(aplic, "interrupts-extended");
	assert_cells("/soc", "interrupt-parent",
		     fdt_get_phandle(tree, fdt_path_offset(tree, aplic)));
	assert_cells("/soc/serial@40002000", "interrupts", 1, 1);
	assert_cells("/soc/virtio_mmio@40010000", "interrupts", 4, 1);
	assert_no_node("/soc/interrupt-controller@c000000");
	machine = full_machine(1, FDT_IRQCHIP_AIA);
	build(&machine);
	assert_absent(imsics, "riscv,hart-index-bits");
}

static void counts_hart_index_bits(void **state)
{
	(void)state;
	assert_int_equal(layout_hart_index_bits(1), 0);
	assert_int_equal(layout_hart_index_bits(2), 1);
	assert_int_equal(layout_hart_index_bits(3), 2);
	assert_int_equal(layout_hart_index_bits(4), 2);
	assert_int_equal(layout_hart_index_bits(5), 3);
	assert_int_equal(layout_hart_index_bits(32), 5);
}

static void names_nothing_that_is_not_there(void **state)
{
	struct fdt_machine machine = {
		.n_harts = 1,
		.isa = &isa,
		.ram_gpa = LAYOUT_RAM_BASE,
		.ram_size = 64 * MIB,
		.serial_is_stdout = true,
		.kaslr_seed = 0x123456789,
	};

	(void)state;
	isa.cbom_block_size = 0;
	build(&machine);
	assert_absent("/chosen", "bootargs");
	assert_absent("/chosen", "stdout-path");
	assert_absent("/chosen", "linux,initrd-start");
	assert_absent("/chosen", "linux,initrd-end");
	assert_cells("/chosen", "kaslr-seed", 0x1, 0x23456789);
	assert_absent("/cpus/cpu@0", "mmu-type");
	assert_absent("/cpus/cpu@0", "riscv,cbom-block-size");
	assert_no_node("/soc/serial@40002000");
	assert_no_node("/soc/rtc@40001000");
	assert_no_node("/soc/pvpanic@40003000");
	assert_no_node("/soc/virtio_mmio@40010000");
}

static void refuses_impossible_machines(void **state)
{
	struct fdt_machine machine = full_machine(0, FDT_IRQCHIP_PLIC);
	struct err err;
	size_t used;

	(void)state;
	assert_int_equal(fdt_build(&machine, tree, sizeof(tree), &used, &err), -EINVAL);
	machine.n_harts = 33;
	assert_int_equal(fdt_build(&machine, tree, sizeof(tree), &used, &err), -EINVAL);
	machine.n_harts = 1;
	machine.n_virtio = LAYOUT_MAX_VIRTIO + 1;
	assert_int_equal(fdt_build(&machine, tree, sizeof(tree), &used, NULL), -EINVAL);
	machine.n_virtio = 1;
	machine.virtio[0].irq = 31;
	assert_int_equal(fdt_build(&machine, tree, sizeof(tree), &used, &err), -EINVAL);
	machine.virtio[0].irq = 0;
	assert_int_equal(fdt_build(&machine, tree, sizeof(tree), &used, &err), -EINVAL);
}

/* Whatever room there is, it says so or is right, and writes nothing past the end. */
static void stays_in_its_buffer(void **state)
{
	struct fdt_machine machine = full_machine(2, FDT_IRQCHIP_AIA);
	struct err err;
	size_t need = 0;
	size_t used;

	(void)state;
	assert_int_equal(fdt_build(&machine, tree, sizeof(tree), &need, &err), 0);
	for (size_t size = 0; size < need; size++) {
		memset(tree + size, 0x5a, 64);
		assert_int_equal(fdt_build(&machine, tree, size, &used, &err), -ENOSPC);
		for (size_t i = 0; i < 64; i++)
			assert_int_equal(tree[size + i], 0x5a);
	}
}

/* 32 harts, each with more extensions than KVM knows, all virtio slots and a long command line. */
static void largest_machine_fits_its_slot(void **state)
{
	static char names[110][ISA_MAX_NAME_LEN + 1];
	static char bootargs[4096];
	struct fdt_machine machine = full_machine(32, FDT_IRQCHIP_AIA);
	struct isa large = { 0 };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(names[i], sizeof(names[i]), "zmean%ulong", i);
		isa_add(&large, names[i]);
	}
	memset(bootargs, 'x', sizeof(bootargs) - 1);
	machine.isa = &large;
	machine.bootargs = bootargs;
	machine.n_virtio = LAYOUT_MAX_VIRTIO;
	for (unsigned int i = 0; i < machine.n_virtio; i++)
		machine.virtio[i] = (struct fdt_virtio){ LAYOUT_VIRTIO_GPA(i), 4 + i };
	build(&machine);
}

/* dtc reads the tree back and complains about what the bindings' conventions forbid. */
static void passes_dtc(void **state)
{
	char command[96];
	char complaints[4096] = { 0 };

	(void)state;
	if (system("dtc --version >/dev/null 2>&1") != 0)
		skip();
	for (unsigned int i = 0; i < 4; i++) {
		struct fdt_machine machine = full_machine(i % 2 == 0 ? 1 : 32, i / 2);
		int fd = memfd_create("tree", 0);
		FILE *dtc;

		build(&machine);
		assert_int_equal(write_all(fd, tree, fdt_totalsize(tree)), 0);
		snprintf(command, sizeof(command),
			 "dtc -I dtb -O dts -o /dev/null /proc/self/fd/%d 2>&1", fd);
		dtc = popen(command, "r");
		assert_non_null(dtc);
		if (fread(complaints, 1, sizeof(complaints) - 1, dtc) > 0)
			fail_msg("%s", complaints);
		assert_int_equal(pclose(dtc), 0);
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(describes_what_the_boot_needs, set_up),
		cmocka_unit_test_setup(describes_harts, set_up),
		cmocka_unit_test_setup(plic_reaches_all_harts, set_up),
		cmocka_unit_test_setup(aia_sends_edges_as_messages, set_up),
		cmocka_unit_test_setup(counts_hart_index_bits, set_up),
		cmocka_unit_test_setup(names_nothing_that_is_not_there, set_up),
		cmocka_unit_test_setup(refuses_impossible_machines, set_up),
		cmocka_unit_test_setup(stays_in_its_buffer, set_up),
		cmocka_unit_test_setup(largest_machine_fits_its_slot, set_up),
		cmocka_unit_test_setup(passes_dtc, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
