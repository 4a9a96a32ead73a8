#include "vm/irqchip.h"

#include "bus/mmio_bus.h"
#include "kvm/kvm_vm.h"
#include "riscv/layout.h"
#include "util/log.h"
#include "vm/vcpu.h"

#include <errno.h>

static void set_hart(void *ctx, unsigned int hart, bool asserted)
{
	const struct irqchip *irqchip = ctx;

	kvm_vcpu_interrupt(&irqchip->vcpus[hart].kvm, asserted);
}

static int init_plic(struct irqchip *irqchip, struct mmio_bus *bus, unsigned int n_harts,
		     unsigned int n_sources, struct err *err)
{
	plic_init(&irqchip->plic, n_harts, n_sources, set_hart, irqchip);
	irqchip->is_init = true;
	return mmio_bus_add(bus, LAYOUT_PLIC_BASE, plic_window_size(n_harts), &plic_mmio_ops,
			    &irqchip->plic, "plic", err);
}

int irqchip_init(struct irqchip *irqchip, const struct kvm_vm *kvm, struct mmio_bus *bus,
		 struct vcpu *vcpus, unsigned int n_vcpus, unsigned int n_sources,
		 enum config_irqchip wanted, struct err *err)
{
	int ret;

	irqchip->vcpus = vcpus;
	if (wanted == CONFIG_IRQCHIP_AIA && !kvm->has_aia)
		return err_set(err, -ENOTSUP,
			       "irqchip: this host has no AIA for guests: use --irqchip plic, or "
			       "auto");
	if (wanted == CONFIG_IRQCHIP_PLIC || !kvm->has_aia) {
		irqchip->kind = FDT_IRQCHIP_PLIC;
		log_debug("interrupt controller: a PLIC in the monitor");
		return init_plic(irqchip, bus, n_vcpus, n_sources, err);
	}
	irqchip->kind = FDT_IRQCHIP_AIA;
	log_debug("interrupt controller: the AIA of the host's kernel");
	ret = kvm_aia_init(&irqchip->aia, kvm, n_vcpus, n_sources, err);
	irqchip->is_init = ret == 0;
	return ret == 0 ? 0 : err_prefix(err, "irqchip aia (try --irqchip plic)");
}

struct irq_line irqchip_line(struct irqchip *irqchip, uint32_t source)
{
	return (struct irq_line){
		.sink = irqchip->kind == FDT_IRQCHIP_PLIC ? &irqchip->plic.sink
							  : &irqchip->aia.sink,
		.source = source,
	};
}

int irqchip_line_by_fd(struct irqchip *irqchip, uint32_t source, int fd, struct irq_line *line,
		       struct err *err)
{
	if (irqchip->kind != FDT_IRQCHIP_AIA)
		return err_set(
			err, -ENOTSUP,
			"the host's kernel can interrupt by itself only where the machine's "
			"interrupt controller is the kernel's too (the AIA), and here it is a "
			"PLIC");
	*line = (struct irq_line){ .sink = &irqchip->aia.held, .source = source };
	return kvm_aia_add_irqfd(&irqchip->aia, source, fd, err);
}

void irqchip_deinit(struct irqchip *irqchip)
{
	if (!irqchip->is_init)
		return;
	if (irqchip->kind == FDT_IRQCHIP_PLIC)
		plic_deinit(&irqchip->plic);
	else
		kvm_aia_deinit(&irqchip->aia);
	irqchip->is_init = false;
}
