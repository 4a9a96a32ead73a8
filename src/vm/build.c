/*
 * Building a machine. What the user named is loaded into guest memory first (boot.c), so that a bad
 * file is told of before KVM is asked for anything; then KVM's VM and all vCPUs, the interrupt
 * controller (which wants all vCPUs to exist), the devices, and last the device tree that describes
 * them.
 */
#include "config/config.h"
#include "riscv/isa.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/events.h"
#include "util/log.h"
#include "vm/cpu_template.h"
#include "vm/fatal_signals.h"
#include "vm/machine.h"
#include "vm/resources.h"

#include <errno.h>
#include <event2/event.h>
#include <sys/eventfd.h>

static_assert(VM_CONFIG_VCPUS_MAX == LAYOUT_MAX_HARTS && LAYOUT_MAX_HARTS == PLIC_MAX_HARTS,
	      "one number of harts");

static void on_leave(void *ctx)
{
	vm_finish(ctx, VM_END_STOPPED);
}

static void on_panic(void *ctx, unsigned int events)
{
	/* With a crash kernel loaded the guest goes on by itself. */
	if ((events & PVPANIC_PANICKED) != 0)
		vm_finish(ctx, VM_END_PANIC);
}

/* On the vCPU's thread. */
static void on_vcpu_ended(void *ctx, struct vcpu *vcpu, enum vcpu_verdict verdict,
			  const struct err *why)
{
	struct vm *vm = ctx;
	const char *file;

	switch (verdict) {
	case VCPU_SHUTDOWN:
		vm_finish(vm, VM_END_SHUTDOWN);
		return;
	case VCPU_REBOOT:
		vm_finish(vm, VM_END_REBOOT);
		return;
	default:
		break;
	}
	vcpu_report(vcpu, why);
	file = boot_cut_file(&vm->boot);
	if (file != NULL)
		log_error("  the %s file was cut short while the guest was using it", file);
	vm_finish(vm, VM_END_VCPU_ERROR);
}

static int check_guest_fits(const struct vm *vm, uint64_t mem_bytes, enum vm_fault *fault,
			    struct err *err)
{
	uint64_t limit = BIT(vm->kvm.gpa_bits) - LAYOUT_RAM_BASE;

	if (mem_bytes <= limit)
		return 0;
	*fault = VM_FAULT_CONFIG;
	return err_set(err, -EINVAL,
		       "memory: %llu MiB is more than a guest can address on this host (%llu MiB)",
		       (unsigned long long)(mem_bytes / MIB), (unsigned long long)(limit / MIB));
}

static int add_memory(struct vm *vm, struct err *err)
{
	int ret = 0;

	for (unsigned int i = 0; i < vm->mem.n_regions && ret == 0; i++) {
		const struct guest_region *region = &vm->mem.regions[i];

		ret = kvm_vm_add_memory(&vm->kvm, region->gpa, region->size, region->hva, err);
	}
	return ret;
}

static int create_vcpus(struct vm *vm, const struct vm_config *config, struct err *err)
{
	int ret = 0;

	vm->vcpus = calloc(config->vcpu_count, sizeof(*vm->vcpus));
	if (vm->vcpus == NULL)
		return err_set(err, -ENOMEM, "no memory for %u vCPUs", config->vcpu_count);
	for (unsigned int i = 0; i < config->vcpu_count && ret == 0; i++) {
		struct vcpu *vcpu = &vm->vcpus[i];

		ret = kvm_vcpu_init(&vcpu->kvm, &vm->kvm, i, err);
		if (ret != 0)
			break;
		vm->n_vcpus++;
		vcpu->env = &vm->exit_env;
		vcpu->gate = &vm->gate;
		vcpu->ended = on_vcpu_ended;
		vcpu->ctx = vm;
		/* Where Linux finds it, that is hvc0, and the virtio console only hvc1. */
		if (config->console != CONFIG_CONSOLE_VIRTIO)
			ret = kvm_vcpu_enable_dbcn(&vcpu->kvm, err);
	}
	return ret;
}

/* Without the extension there is nothing to drive. */
static int choose_irqchip(const struct vm_config *config, enum config_irqchip *wanted,
			  struct err *err)
{
	*wanted = config->irqchip;
	if (!cpu_template_has_off(&config->cpu, "ssaia"))
		return 0;
	if (*wanted == CONFIG_IRQCHIP_AIA)
		return err_set(err, -EINVAL,
			       "cpu-config: the interrupt controller 'aia' needs the "
			       "ISA extension 'ssaia', which is to be off");
	*wanted = CONFIG_IRQCHIP_PLIC;
	return 0;
}

static int apply_cpu_template(struct vm *vm, const struct vm_config *config,
			      enum config_irqchip *wanted, enum vm_fault *fault, struct err *err)
{
	int ret = choose_irqchip(config, wanted, err);

	if (ret == 0)
		ret = cpu_template_apply(&config->cpu, &vm->kvm, vm->vcpus, vm->n_vcpus, err);
	if (ret != 0)
		*fault = VM_FAULT_CONFIG;
	return ret;
}

static int create_kvm(struct vm *vm, const struct vm_config *config, enum vm_fault *fault,
		      struct err *err)
{
	enum config_irqchip wanted = config->irqchip;
	int ret = kvm_vm_init(&vm->kvm, err);

	if (ret == 0)
		ret = check_guest_fits(vm, config->mem_bytes, fault, err);
	if (ret == 0)
		ret = add_memory(vm, err);
	if (ret == 0)
		ret = create_vcpus(vm, config, err);
	if (ret == 0)
		ret = apply_cpu_template(vm, config, &wanted, fault, err);
	if (ret == 0)
		ret = irqchip_init(&vm->irqchip, &vm->kvm, &vm->bus, vm->vcpus, vm->n_vcpus,
				   vm->n_sources, wanted, err);
	return ret;
}

static int create_serial(struct vm *vm, const struct vm_config *config,
			 struct vm_resources *resources, enum vm_fault *fault, struct err *err)
{
	struct serial_console_config serial = {
		.limit = config->serial.limit,
		.leave = on_leave,
		.ctx = vm,
	};
	const struct irq_line irq = irqchip_line(&vm->irqchip, LAYOUT_IRQ_SERIAL);
	int ret = vm_resources_take_serial(resources, &config->serial, &serial.out_fd, err);

	if (ret != 0) {
		*fault = VM_FAULT_CONFIG;
		return ret;
	}
	vm->has_serial = true;
	vm->exit_env.console = &vm->serial.sbi;
	return serial_console_init(&vm->serial, &serial, vm->env.base, &vm->bus, &irq, err);
}

static int create_rtc(struct vm *vm, struct err *err)
{
	const struct irq_line irq = irqchip_line(&vm->irqchip, LAYOUT_IRQ_RTC);

	return rtc_device_init(&vm->rtc, vm->env.base, &vm->bus, &irq, err);
}

static int create_virtio(struct vm *vm, const struct vm_config *config,
			 struct vm_resources *resources, enum vm_fault *fault, struct err *err)
{
	const struct virtio_env env = {
		.base = vm->env.base,
		.mem = &vm->mem,
		.bus = &vm->bus,
		.irqchip = &vm->irqchip,
		.kvm = &vm->kvm,
		.resources = resources,
		.leave = on_leave,
		.ctx = vm,
	};
	bool is_users;
	int ret = virtio_devices_new(&vm->virtio, config, &env, &is_users, err);

	if (ret != 0 && is_users)
		*fault = VM_FAULT_CONFIG;
	return ret;
}

static int create_devices(struct vm *vm, const struct vm_config *config,
			  struct vm_resources *resources, enum vm_fault *fault, struct err *err)
{
	int ret = 0;

	if (config->console == CONFIG_CONSOLE_SERIAL)
		ret = create_serial(vm, config, resources, fault, err);
	if (ret == 0)
		ret = create_rtc(vm, err);
	if (ret == 0 && config->has_boot_timer)
		ret = mmio_bus_add(&vm->bus, LAYOUT_BOOT_TIMER_BASE, LAYOUT_DEVICE_SIZE,
				   &boot_timer_mmio_ops, &vm->boot_timer, "boot timer", err);
	pvpanic_init(&vm->pvpanic, on_panic, vm);
	if (ret == 0)
		ret = mmio_bus_add(&vm->bus, LAYOUT_PVPANIC_BASE, LAYOUT_DEVICE_SIZE,
				   &pvpanic_mmio_ops, &vm->pvpanic, "pvpanic", err);
	if (ret == 0)
		ret = create_virtio(vm, config, resources, fault, err);
	return ret;
}

static void hide_unusable_extensions(struct isa *isa, enum fdt_irqchip irqchip)
{
	/* Without the AIA device KVM passes the extension's registers up to us, who have none. */
	if (irqchip == FDT_IRQCHIP_PLIC)
		isa_remove(isa, "ssaia");
}

static int describe(struct vm *vm, const struct vm_config *config, struct err *err)
{
	struct isa isa = { 0 };
	struct fdt_machine machine = {
		.n_harts = vm->n_vcpus,
		.isa = &isa,
		/* The narrowest that all hosts have: three levels to walk in place of up to five.
		 */
		.mmu_type = "riscv,sv39",
		.irqchip = vm->irqchip.kind,
		.aia_n_ids = LAYOUT_IMSIC_N_IDS,
		.n_sources = vm->n_sources,
		.has_serial = vm->has_serial,
		.serial_is_stdout = vm->has_serial,
		.has_rtc = true,
		.has_pvpanic = true,
	};
	uint64_t timebase_hz = 0;
	int ret = kvm_vcpu_get_isa(&vm->vcpus[0].kvm, &isa, err);

	virtio_devices_describe(vm->virtio, &machine);
	hide_unusable_extensions(&isa, vm->irqchip.kind);
	cpu_template_hide(&config->cpu, &isa);
	if (ret == 0)
		ret = kvm_vcpu_get_timebase(&vm->vcpus[0].kvm, &timebase_hz, err);
	machine.timebase_hz = (uint32_t)timebase_hz;
	if (ret == 0)
		ret = boot_write_fdt(&vm->boot, &vm->mem, config, &machine, err);
	if (ret == 0)
		ret = kvm_vcpu_set_entry(&vm->vcpus[0].kvm, vm->boot.kernel.entry, vm->boot.fdt_gpa,
					 err);
	return ret;
}

static void on_end(evutil_socket_t fd, short what, void *ctx)
{
	const struct vm *vm = ctx;

	(void)fd;
	(void)what;
	vm->env.ended(vm->env.ctx, (enum vm_end)vm->end);
}

static int watch_end(struct vm *vm, struct err *err)
{
	vm->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->end_fd < 0)
		return err_sys(err, "create an eventfd");
	/* Once. */
	vm->end_event = event_new(vm->env.base, vm->end_fd, EV_READ, on_end, vm);
	if (vm->end_event == NULL || event_add(vm->end_event, NULL) != 0)
		return err_set(err, -ENOMEM, "no memory for the event loop");
	return 0;
}

static int build(struct vm *vm, const struct vm_config *config, struct vm_resources *resources,
		 enum vm_fault *fault, struct err *err)
{
	int ret;

	*fault = VM_FAULT_CONFIG;
	ret = boot_load(&vm->boot, &vm->mem, config, resources, err);
	if (ret != 0)
		return ret;
	*fault = VM_FAULT_HOST;
	ret = watch_end(vm, err);
	if (ret == 0)
		ret = create_kvm(vm, config, fault, err);
	if (ret == 0)
		ret = create_devices(vm, config, resources, fault, err);
	if (ret == 0)
		ret = describe(vm, config, err);
	return ret;
}

static struct vm *new_vm(const struct vm_config *config, const struct vm_env *env)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (vm == NULL)
		return NULL;
	vm->env = *env;
	/* Building counts. */
	if (config->has_boot_timer)
		boot_timer_init(&vm->boot_timer);
	vm->kvm = KVM_VM_NONE;
	vm->end_fd = -1;
	vm->has_terminal = config->console != CONFIG_CONSOLE_OFF;
	/* Just as many as are in use: for each that it is told of, a guest's driver makes a few
	 * exits. */
	vm->n_sources = LAYOUT_IRQ_FIRST_FREE - 1 + virtio_devices_count(config);
	vm->exit_env = (struct vcpu_exit_env){ .bus = &vm->bus, .mem = &vm->mem };
	gate_init(&vm->gate);
	return vm;
}

int vm_new(struct vm **vmp, const struct vm_config *config, struct vm_resources *resources,
	   const struct vm_env *env, enum vm_fault *fault, struct err *err)
{
	struct vm *vm = new_vm(config, env);
	int ret;

	*vmp = NULL;
	*fault = VM_FAULT_HOST;
	if (vm == NULL)
		return err_set(err, -ENOMEM, "no memory for a virtual machine");
	ret = build(vm, config, resources, fault, err);
	if (ret != 0) {
		vm_free(vm);
		return ret;
	}
	*vmp = vm;
	return 0;
}

void vm_free(struct vm *vm)
{
	bool is_over;

	if (vm == NULL)
		return;
	vm_close(vm);
	fatal_signals_forget();
	rtc_device_deinit(&vm->rtc);
	is_over = virtio_devices_free(vm->virtio);
	serial_console_deinit(&vm->serial);
	irqchip_deinit(&vm->irqchip);
	for (unsigned int i = 0; i < vm->n_vcpus; i++)
		kvm_vcpu_deinit(&vm->vcpus[i].kvm);
	free(vm->vcpus);
	gate_deinit(&vm->gate);
	kvm_vm_deinit(&vm->kvm);
	free_event(&vm->end_event);
	close_fd(&vm->end_fd);
	boot_deinit(&vm->boot);
	/* A read that the kernel ends late would hit whatever lies there by then, and a ring that
	 * is closed is taken apart some time later. So the memory stays until the process ends,
	 * which is now. */
	if (is_over)
		guest_mem_deinit(&vm->mem);
	free(vm);
}
