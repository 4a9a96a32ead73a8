#include "riscv/fdt.h"

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>

/* From the bindings of Linux. */
#define IRQ_S_EXTERNAL       9 /* of a hart's own interrupt controller */
#define IRQ_TYPE_EDGE_RISING 1
#define UART_CLOCK_HZ        3686400 /* twice the PC's: 115200 baud is divisor 2, exactly */
#define PVPANIC_REG_SIZE     2
#define VIRTIO_MMIO_REG_SIZE 0x200

/* Phandles: hart N's interrupt controller has N + 1. */
enum {
	PHANDLE_CPU_INTC = 1,
	PHANDLE_IRQCHIP = PHANDLE_CPU_INTC + LAYOUT_MAX_HARTS, /* PLIC or APLIC */
	PHANDLE_IMSIC = PHANDLE_IRQCHIP + 1,
};

/* A tree being written. The first error sticks and makes all that follows do nothing. */
struct writer {
	void *fdt;
	const struct fdt_machine *machine;
	int error; /* of libfdt */
};

static void begin_node(struct writer *w, const char *name)
{
	if (w->error == 0)
		w->error = fdt_begin_node(w->fdt, name);
}

static void begin_node_at(struct writer *w, const char *name, uint64_t unit)
{
	char buf[64];

	snprintf(buf, sizeof(buf), "%s@%llx", name, (unsigned long long)unit);
	begin_node(w, buf);
}

static void end_node(struct writer *w)
{
	if (w->error == 0)
		w->error = fdt_end_node(w->fdt);
}

static void put_bytes(struct writer *w, const char *name, const void *bytes, size_t len)
{
	if (w->error == 0)
		w->error = fdt_property(w->fdt, name, bytes, (int)len);
}

static void put_flag(struct writer *w, const char *name)
{
	put_bytes(w, name, NULL, 0);
}

static void put_string(struct writer *w, const char *name, const char *value)
{
	put_bytes(w, name, value, strlen(value) + 1);
}

static void put_u32(struct writer *w, const char *name, uint32_t value)
{
	if (w->error == 0)
		w->error = fdt_property_u32(w->fdt, name, value);
}

static void put_u64(struct writer *w, const char *name, uint64_t value)
{
	if (w->error == 0)
		w->error = fdt_property_u64(w->fdt, name, value);
}

static void put_reg(struct writer *w, uint64_t gpa, uint64_t size)
{
	fdt64_t reg[2] = { cpu_to_fdt64(gpa), cpu_to_fdt64(size) };

	put_bytes(w, "reg", reg, sizeof(reg));
}

static void put_cells(struct writer *w, uint32_t address, uint32_t size)
{
	put_u32(w, "#address-cells", address);
	put_u32(w, "#size-cells", size);
}

static void put_irq(struct writer *w, uint32_t source)
{
	fdt32_t cells[2] = { cpu_to_fdt32(source), cpu_to_fdt32(IRQ_TYPE_EDGE_RISING) };

	put_bytes(w, "interrupts", cells,
		  w->machine->irqchip == FDT_IRQCHIP_AIA ? sizeof(cells) : sizeof(cells[0]));
}

static void put_memory(struct writer *w)
{
	begin_node_at(w, "memory", w->machine->ram_gpa);
	put_string(w, "device_type", "memory");
	put_reg(w, w->machine->ram_gpa, w->machine->ram_size);
	end_node(w);
}

static void put_chosen(struct writer *w)
{
	const struct fdt_machine *machine = w->machine;
	char path[64];

	begin_node(w, "chosen");
	if (machine->bootargs != NULL && machine->bootargs[0] != '\0')
		put_string(w, "bootargs", machine->bootargs);
	if (machine->has_serial && machine->serial_is_stdout) {
		snprintf(path, sizeof(path), "/soc/serial@%llx:115200n8",
			 (unsigned long long)LAYOUT_SERIAL_BASE);
		put_string(w, "stdout-path", path);
	}
	put_bytes(w, "rng-seed", machine->rng_seed, sizeof(machine->rng_seed));
	if (machine->kaslr_seed != 0)
		put_u64(w, "kaslr-seed", machine->kaslr_seed);
	if (machine->initrd_start != 0) {
		put_u64(w, "linux,initrd-start", machine->initrd_start);
		put_u64(w, "linux,initrd-end", machine->initrd_end);
	}
	end_node(w);
}

static void put_isa_extensions(struct writer *w, const struct isa *isa)
{
	char list[ISA_MAX_NAMES * (ISA_MAX_NAME_LEN + 1)];
	size_t used = 0;

	for (unsigned int i = 0; i < isa->n; i++) {
		size_t len = strlen(isa->names[i]) + 1;

		memcpy(list + used, isa->names[i], len);
		used += len;
	}
	put_bytes(w, "riscv,isa-extensions", list, used);
}

static void put_block_size(struct writer *w, const char *extension, const char *name, uint32_t size)
{
	if (size != 0 && isa_has(w->machine->isa, extension))
		put_u32(w, name, size);
}

static void put_isa(struct writer *w, const struct isa *isa)
{
	char old[ISA_STRING_SIZE];

	put_string(w, "riscv,isa-base", "rv64i");
	put_isa_extensions(w, isa);
	if (isa_string(isa, old, sizeof(old)) == 0)
		put_string(w, "riscv,isa", old);
	put_block_size(w, "zicbom", "riscv,cbom-block-size", isa->cbom_block_size);
	put_block_size(w, "zicboz", "riscv,cboz-block-size", isa->cboz_block_size);
	put_block_size(w, "zicbop", "riscv,cbop-block-size", isa->cbop_block_size);
}

static void put_hart(struct writer *w, uint32_t hart)
{
	begin_node_at(w, "cpu", hart);
	put_string(w, "device_type", "cpu");
	put_string(w, "compatible", "riscv");
	put_u32(w, "reg", hart);
	put_string(w, "status", "okay");
	if (w->machine->mmu_type != NULL)
		put_string(w, "mmu-type", w->machine->mmu_type);
	put_isa(w, w->machine->isa);

	begin_node(w, "interrupt-controller");
	put_string(w, "compatible", "riscv,cpu-intc");
	put_flag(w, "interrupt-controller");
	put_u32(w, "#address-cells", 0);
	put_u32(w, "#interrupt-cells", 1);
	put_u32(w, "phandle", PHANDLE_CPU_INTC + hart);
	end_node(w);
	end_node(w);
}

static void put_cpus(struct writer *w)
{
	begin_node(w, "cpus");
	put_cells(w, 1, 0);
	put_u32(w, "timebase-frequency", w->machine->timebase_hz);
	for (uint32_t hart = 0; hart < w->machine->n_harts; hart++)
		put_hart(w, hart);
	end_node(w);
}

/* Every hart's external interrupt, in S-mode, in the order of the harts. */
static void put_interrupts_extended(struct writer *w)
{
	fdt32_t cells[2 * LAYOUT_MAX_HARTS];

	for (size_t hart = 0; hart < w->machine->n_harts; hart++) {
		cells[2 * hart] = cpu_to_fdt32(PHANDLE_CPU_INTC + (uint32_t)hart);
		cells[2 * hart + 1] = cpu_to_fdt32(IRQ_S_EXTERNAL);
	}
	put_bytes(w, "interrupts-extended", cells, 2 * sizeof(cells[0]) * w->machine->n_harts);
}

static void put_plic(struct writer *w)
{
	static const char compatible[] = "sifive,plic-1.0.0\0riscv,plic0";

	begin_node_at(w, "interrupt-controller", LAYOUT_PLIC_BASE);
	put_bytes(w, "compatible", compatible, sizeof(compatible));
	put_reg(w, LAYOUT_PLIC_BASE, LAYOUT_PLIC_SIZE);
	put_flag(w, "interrupt-controller");
	put_u32(w, "#address-cells", 0);
	put_u32(w, "#interrupt-cells", 1);
	put_interrupts_extended(w);
	put_u32(w, "riscv,ndev", w->machine->n_sources);
	put_u32(w, "phandle", PHANDLE_IRQCHIP);
	end_node(w);
}

static void put_imsic(struct writer *w)
{
	uint32_t hart_bits = layout_hart_index_bits(w->machine->n_harts);

	begin_node_at(w, "interrupt-controller", LAYOUT_IMSIC_BASE);
	put_string(w, "compatible", "riscv,imsics");
	put_reg(w, LAYOUT_IMSIC_BASE, w->machine->n_harts * LAYOUT_IMSIC_SIZE);
	put_flag(w, "interrupt-controller");
	put_u32(w, "#address-cells", 0);
	put_u32(w, "#interrupt-cells", 0);
	put_flag(w, "msi-controller");
	put_u32(w, "#msi-cells", 0);
	put_interrupts_extended(w);
	put_u32(w, "riscv,num-ids", w->machine->aia_n_ids);
	if (hart_bits > 0)
		put_u32(w, "riscv,hart-index-bits", hart_bits);
	put_u32(w, "phandle", PHANDLE_IMSIC);
	end_node(w);
}

static void put_aplic(struct writer *w)
{
	begin_node_at(w, "interrupt-controller", LAYOUT_APLIC_BASE);
	put_string(w, "compatible", "riscv,aplic");
	put_reg(w, LAYOUT_APLIC_BASE, LAYOUT_APLIC_SIZE);
	put_flag(w, "interrupt-controller");
	put_u32(w, "#address-cells", 0);
	put_u32(w, "#interrupt-cells", 2);
	put_u32(w, "msi-parent", PHANDLE_IMSIC);
	put_u32(w, "riscv,num-sources", w->machine->n_sources);
	put_u32(w, "phandle", PHANDLE_IRQCHIP);
	end_node(w);
}

static void put_irqchip(struct writer *w)
{
	if (w->machine->irqchip == FDT_IRQCHIP_PLIC) {
		put_plic(w);
		return;
	}
	put_imsic(w);
	put_aplic(w);
}

static void put_serial(struct writer *w)
{
	begin_node_at(w, "serial", LAYOUT_SERIAL_BASE);
	put_string(w, "compatible", "ns16550a");
	put_reg(w, LAYOUT_SERIAL_BASE, LAYOUT_DEVICE_SIZE);
	put_u32(w, "clock-frequency", UART_CLOCK_HZ);
	put_u32(w, "current-speed", 115200);
	put_irq(w, LAYOUT_IRQ_SERIAL);
	end_node(w);
}

static void put_rtc(struct writer *w)
{
	begin_node_at(w, "rtc", LAYOUT_RTC_BASE);
	put_string(w, "compatible", "google,goldfish-rtc");
	put_reg(w, LAYOUT_RTC_BASE, LAYOUT_DEVICE_SIZE);
	put_irq(w, LAYOUT_IRQ_RTC);
	end_node(w);
}

static void put_pvpanic(struct writer *w)
{
	begin_node_at(w, "pvpanic", LAYOUT_PVPANIC_BASE);
	put_string(w, "compatible", "qemu,pvpanic-mmio");
	put_reg(w, LAYOUT_PVPANIC_BASE, PVPANIC_REG_SIZE);
	end_node(w);
}

static void put_virtio(struct writer *w, const struct fdt_virtio *device)
{
	begin_node_at(w, "virtio_mmio", device->gpa);
	put_string(w, "compatible", "virtio,mmio");
	put_reg(w, device->gpa, VIRTIO_MMIO_REG_SIZE);
	put_irq(w, device->irq);
	end_node(w);
}

static void put_soc(struct writer *w)
{
	const struct fdt_machine *machine = w->machine;

	begin_node(w, "soc");
	put_string(w, "compatible", "simple-bus");
	put_cells(w, 2, 2);
	put_flag(w, "ranges");
	put_u32(w, "interrupt-parent", PHANDLE_IRQCHIP);
	put_irqchip(w);
	if (machine->has_rtc)
		put_rtc(w);
	if (machine->has_serial)
		put_serial(w);
	if (machine->has_pvpanic)
		put_pvpanic(w);
	for (unsigned int i = 0; i < machine->n_virtio; i++)
		put_virtio(w, &machine->virtio[i]);
	end_node(w);
}

static void put_root(struct writer *w)
{
	/* The second name is that of virtual machines in general: some guests know it. */
	static const char compatible[] = "televm,microvm\0linux,dummy-virt";

	begin_node(w, "");
	put_cells(w, 2, 2);
	put_bytes(w, "compatible", compatible, sizeof(compatible));
	put_string(w, "model", "TeleVM microVM");
	put_chosen(w);
	put_memory(w);
	put_cpus(w);
	put_soc(w);
	end_node(w);
}

static bool is_possible(const struct fdt_machine *machine)
{
	if (machine->n_harts < 1 || machine->n_harts > LAYOUT_MAX_HARTS)
		return false;
	if (machine->n_virtio > LAYOUT_MAX_VIRTIO)
		return false;
	for (unsigned int i = 0; i < machine->n_virtio; i++) {
		if (machine->virtio[i].irq < 1 || machine->virtio[i].irq > machine->n_sources)
			return false;
	}
	return true;
}

int fdt_build(const struct fdt_machine *machine, void *buf, size_t size, size_t *used,
	      struct err *err)
{
	struct writer w = { .fdt = buf, .machine = machine };

	if (!is_possible(machine))
		return err_set(err, -EINVAL, "device tree: no machine has %u harts and %u devices",
			       machine->n_harts, machine->n_virtio);
	/* Looking each name up among those before costs more than half of the monitor's own start.
	 */
	w.error = fdt_create_with_flags(buf, (int)size, FDT_CREATE_FLAG_NO_NAME_DEDUP);
	if (w.error == 0)
		w.error = fdt_finish_reservemap(buf);
	put_root(&w);
	if (w.error == 0)
		w.error = fdt_finish(buf);
	if (w.error != 0)
		return err_set(err, w.error == -FDT_ERR_NOSPACE ? -ENOSPC : -EINVAL,
			       "device tree of %zu bytes at most: %s", size, fdt_strerror(w.error));
	*used = fdt_totalsize(buf);
	return 0;
}
