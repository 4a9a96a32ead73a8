#include "kvm/kvm_aia.h"

#include "kvm/kvm_vm.h"
#include "riscv/layout.h"
#include "util/bits.h"
#include "util/cleanup.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

static void set_line(const struct kvm_aia *aia, uint32_t source, uint32_t level)
{
	struct kvm_irq_level line = { .irq = source, .level = level };

	/* Fails only for a source that does not exist. */
	(void)ioctl(aia->vm_fd, KVM_IRQ_LINE, &line);
}

static void aia_raise(struct irq_sink *sink, uint32_t source)
{
	const struct kvm_aia *aia = container_of(sink, struct kvm_aia, sink);

	set_line(aia, source, 1);
	set_line(aia, source, 0);
}

static void aia_lower(struct irq_sink *sink, uint32_t source)
{
	(void)sink;
	(void)source;
}

/* An edge, even where an irqfd has raised it before. */
static void held_raise(struct irq_sink *sink, uint32_t source)
{
	const struct kvm_aia *aia = container_of(sink, struct kvm_aia, held);

	set_line(aia, source, 0);
	set_line(aia, source, 1);
}

static void held_lower(struct irq_sink *sink, uint32_t source)
{
	set_line(container_of(sink, struct kvm_aia, held), source, 0);
}

int kvm_aia_add_irqfd(const struct kvm_aia *aia, uint32_t source, int fd, struct err *err)
{
	/* KVM routes each number to the source of this number when the controller is made. */
	struct kvm_irqfd irqfd = { .fd = (uint32_t)fd, .gsi = source };

	if (ioctl(aia->vm_fd, KVM_IRQFD, &irqfd) != 0)
		return err_sys(err, "tie an interrupt to an eventfd in KVM");
	return 0;
}

static int set_attr(const struct kvm_aia *aia, uint32_t group, uint64_t attr, const void *value)
{
	struct kvm_device_attr device_attr = {
		.group = group,
		.attr = attr,
		.addr = (uint64_t)(uintptr_t)value,
	};

	return ioctl(aia->device_fd, KVM_SET_DEVICE_ATTR, &device_attr) == 0 ? 0 : -errno;
}

static int set_config(const struct kvm_aia *aia, unsigned int n_harts, unsigned int n_sources)
{
	/* The mode stays at its default: AUTO where the processor has guest interrupt files. */
	const struct {
		uint64_t attr;
		uint32_t value;
	} config[] = {
		{ KVM_DEV_RISCV_AIA_CONFIG_IDS, LAYOUT_IMSIC_N_IDS },
		{ KVM_DEV_RISCV_AIA_CONFIG_SRCS, n_sources },
		{ KVM_DEV_RISCV_AIA_CONFIG_HART_BITS, layout_hart_index_bits(n_harts) },
	};
	int ret = 0;

	for (size_t i = 0; i < ARRAY_SIZE(config) && ret == 0; i++)
		ret = set_attr(aia, KVM_DEV_RISCV_AIA_GRP_CONFIG, config[i].attr, &config[i].value);
	return ret;
}

static int set_addresses(const struct kvm_aia *aia, unsigned int n_harts)
{
	const uint64_t aplic_gpa = LAYOUT_APLIC_BASE;
	int ret =
		set_attr(aia, KVM_DEV_RISCV_AIA_GRP_ADDR, KVM_DEV_RISCV_AIA_ADDR_APLIC, &aplic_gpa);

	for (unsigned int hart = 0; hart < n_harts && ret == 0; hart++) {
		uint64_t gpa = LAYOUT_IMSIC_BASE + hart * LAYOUT_IMSIC_SIZE;

		ret = set_attr(aia, KVM_DEV_RISCV_AIA_GRP_ADDR, KVM_DEV_RISCV_AIA_ADDR_IMSIC(hart),
			       &gpa);
	}
	return ret;
}

int kvm_aia_init(struct kvm_aia *aia, const struct kvm_vm *vm, unsigned int n_harts,
		 unsigned int n_sources, struct err *err)
{
	struct kvm_create_device device = { .type = KVM_DEV_TYPE_RISCV_AIA };
	int ret;

	*aia = KVM_AIA_NONE;
	aia->sink = (struct irq_sink){ .raise = aia_raise, .lower = aia_lower };
	aia->held = (struct irq_sink){ .raise = held_raise, .lower = held_lower };
	aia->vm_fd = vm->vm_fd;
	if (ioctl(vm->vm_fd, KVM_CREATE_DEVICE, &device) != 0)
		return err_sys(err, "create the interrupt controller (AIA) in KVM");
	aia->device_fd = (int)device.fd;
	ret = set_config(aia, n_harts, n_sources);
	if (ret == 0)
		ret = set_addresses(aia, n_harts);
	if (ret == 0)
		ret = set_attr(aia, KVM_DEV_RISCV_AIA_GRP_CTRL, KVM_DEV_RISCV_AIA_CTRL_INIT, NULL);
	if (ret == 0)
		return 0;
	kvm_aia_deinit(aia);
	return err_set(err, ret, "set up the interrupt controller (AIA) in KVM: %s",
		       strerror(-ret));
}

void kvm_aia_deinit(struct kvm_aia *aia)
{
	close_fd(&aia->device_fd);
}
