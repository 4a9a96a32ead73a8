/*
 * Building: what the user named is loaded into guest memory first (boot.c), so that a bad file is
 * told of before KVM is asked for anything; then KVM's VM and all vCPUs, the interrupt controller
 * (which wants all vCPUs to exist), the devices, and last the device tree that describes them.
 *
 * Ending: whoever first knows how the machine ends writes it into `end` (vm_finish) and wakes the
 * I/O loop; later reasons are ignored. The loop stops, all vCPU threads are kicked out of KVM and
 * joined, and what the guest printed last is written out.
 *
 * Threads: the caller's is the I/O thread. vCPU threads reach the bus, guest memory and
 * vm_finish().
 */
#include "vm/vm.h"

#include "backend/events.h"
#include "backend/terminal.h"
#include "bus/mmio_bus.h"
#include "config/config.h"
#include "kvm/kvm_vm.h"
#include "mem/guest_mem.h"
#include "platform/pvpanic.h"
#include "riscv/isa.h"
#include "util/assert.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "vm/boot.h"
#include "vm/fatal_signals.h"
#include "vm/irqchip.h"
#include "vm/rtc_device.h"
#include "vm/serial_console.h"
#include "vm/startup_pages.h"
#include "vm/vcpu.h"
#include "vm/virtio_devices.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

static_assert(VM_CONFIG_VCPUS_MAX == LAYOUT_MAX_HARTS && LAYOUT_MAX_HARTS == PLIC_MAX_HARTS,
	      "one number of harts");

enum { FLUSH_MS = 1000 };

struct vm {
	struct guest_mem mem;
	struct boot boot;
	struct kvm_vm kvm;
	struct mmio_bus bus;
	struct vcpu *vcpus;
	unsigned int n_vcpus;
	struct irqchip irqchip;
	struct event_base *base;
	int end_fd; /**< eventfd: `end` has been written */
	struct event *end_event;
	int signal_fd;
	struct event *signal_event;
	struct serial_console serial;
	bool has_serial;
	struct rtc_device rtc;
	struct pvpanic pvpanic;
	unsigned int n_sources; /**< of interrupts */
	struct virtio_devices *virtio;
	bool has_terminal; /**< the console is on it */
	struct vcpu_exit_env exit_env;
	_Atomic int end; /**< enum vm_end, written once */
	int stopped_by;  /**< the signal; I/O thread */
};

/* Any thread. The first reason wins: a panic is a panic also when the guest then resets. */
static void vm_finish(struct vm *vm, enum vm_end end)
{
	const uint64_t one = 1;
	int none = VM_END_NONE;

	if (!atomic_compare_exchange_strong(&vm->end, &none, (int)end))
		return;
	/* The counter is far from full, so this cannot fail. */
	if (write(vm->end_fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

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

/* ---- building ---- */

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
		vcpu->ended = on_vcpu_ended;
		vcpu->ctx = vm;
		/* Where Linux finds it, that is hvc0, and the virtio console only hvc1. */
		if (config->console != CONFIG_CONSOLE_VIRTIO)
			ret = kvm_vcpu_enable_dbcn(&vcpu->kvm, err);
	}
	return ret;
}

static int create_kvm(struct vm *vm, const struct vm_config *config, enum vm_fault *fault,
		      struct err *err)
{
	int ret = kvm_vm_init(&vm->kvm, err);

	if (ret == 0)
		ret = check_guest_fits(vm, config->mem_bytes, fault, err);
	if (ret == 0)
		ret = add_memory(vm, err);
	if (ret == 0)
		ret = create_vcpus(vm, config, err);
	if (ret == 0)
		ret = irqchip_init(&vm->irqchip, &vm->kvm, &vm->bus, vm->vcpus, vm->n_vcpus,
				   vm->n_sources, config->irqchip, err);
	return ret;
}

static int create_serial(struct vm *vm, struct err *err)
{
	const struct irq_line irq = irqchip_line(&vm->irqchip, LAYOUT_IRQ_SERIAL);

	vm->has_serial = true;
	vm->exit_env.console = &vm->serial.sbi;
	return serial_console_init(&vm->serial, vm->base, &vm->bus, &irq, on_leave, vm, err);
}

static int create_rtc(struct vm *vm, struct err *err)
{
	const struct irq_line irq = irqchip_line(&vm->irqchip, LAYOUT_IRQ_RTC);

	return rtc_device_init(&vm->rtc, vm->base, &vm->bus, &irq, err);
}

static int create_virtio(struct vm *vm, const struct vm_config *config, enum vm_fault *fault,
			 struct err *err)
{
	const struct virtio_env env = {
		.base = vm->base,
		.mem = &vm->mem,
		.bus = &vm->bus,
		.irqchip = &vm->irqchip,
		.kvm = &vm->kvm,
		.leave = on_leave,
		.ctx = vm,
	};
	bool is_users;
	int ret = virtio_devices_new(&vm->virtio, config, &env, &is_users, err);

	if (ret != 0 && is_users)
		*fault = VM_FAULT_CONFIG;
	return ret;
}

static int create_devices(struct vm *vm, const struct vm_config *config, enum vm_fault *fault,
			  struct err *err)
{
	int ret = 0;

	if (config->console == CONFIG_CONSOLE_SERIAL)
		ret = create_serial(vm, err);
	if (ret == 0)
		ret = create_rtc(vm, err);
	pvpanic_init(&vm->pvpanic, on_panic, vm);
	if (ret == 0)
		ret = mmio_bus_add(&vm->bus, LAYOUT_PVPANIC_BASE, LAYOUT_DEVICE_SIZE,
				   &pvpanic_mmio_ops, &vm->pvpanic, "pvpanic", err);
	if (ret == 0)
		ret = create_virtio(vm, config, fault, err);
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
	struct vm *vm = ctx;

	(void)fd;
	(void)what;
	event_base_loopbreak(vm->base);
}

static int watch(struct vm *vm, int fd, event_callback_fn callback, struct event **event,
		 struct err *err)
{
	*event = event_new(vm->base, fd, EV_READ | EV_PERSIST, callback, vm);
	if (*event == NULL || event_add(*event, NULL) != 0)
		return err_set(err, -ENOMEM, "no memory for the event loop");
	return 0;
}

static struct event_base *new_event_base(void)
{
	struct event_config *options = event_config_new();
	struct event_base *base = NULL;

	if (options == NULL)
		return NULL;
	/* One thread runs it, and neither environment variables nor locks are wanted. */
	event_config_set_flag(options, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
	base = event_base_new_with_config(options);
	event_config_free(options);
	return base;
}

static int create_loop(struct vm *vm, struct err *err)
{
	vm->base = new_event_base();
	if (vm->base == NULL)
		return err_set(err, -ENOMEM, "create the event loop");
	vm->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->end_fd < 0)
		return err_sys(err, "create an eventfd");
	return watch(vm, vm->end_fd, on_end, &vm->end_event, err);
}

static int build(struct vm *vm, const struct vm_config *config, enum vm_fault *fault,
		 struct err *err)
{
	int ret;

	*fault = VM_FAULT_CONFIG;
	ret = boot_load(&vm->boot, &vm->mem, config, err);
	if (ret != 0)
		return ret;
	*fault = VM_FAULT_HOST;
	ret = create_loop(vm, err);
	if (ret == 0)
		ret = create_kvm(vm, config, fault, err);
	if (ret == 0)
		ret = create_devices(vm, config, fault, err);
	if (ret == 0)
		ret = describe(vm, config, err);
	return ret;
}

int vm_new(struct vm **vmp, const struct vm_config *config, enum vm_fault *fault, struct err *err)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	int ret;

	*vmp = NULL;
	*fault = VM_FAULT_HOST;
	if (vm == NULL)
		return err_set(err, -ENOMEM, "no memory for a virtual machine");
	vm->kvm = KVM_VM_NONE;
	vm->has_terminal = config->console != CONFIG_CONSOLE_OFF;
	/* Just as many as are in use: for each that it is told of, a guest's driver makes a few
	 * exits. */
	vm->n_sources = LAYOUT_IRQ_FIRST_FREE - 1 + virtio_devices_count(config);
	vm->end_fd = -1;
	vm->signal_fd = -1;
	vm->exit_env = (struct vcpu_exit_env){ .bus = &vm->bus, .mem = &vm->mem };
	ret = build(vm, config, fault, err);
	if (ret != 0) {
		vm_free(vm);
		return ret;
	}
	*vmp = vm;
	return 0;
}

/* ---- running ---- */

static void on_signal(evutil_socket_t fd, short what, void *ctx)
{
	struct vm *vm = ctx;
	struct signalfd_siginfo info;

	(void)what;
	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return;
	vm->stopped_by = (int)info.ssi_signo;
	vm_finish(vm, VM_END_STOPPED);
}

/*
 * Take SIGTERM and SIGINT on the loop; vCPU threads inherit the mask. It stays until the process
 * ends: one more signal, while the status of the first is on its way, must not take its place.
 */
static int catch_signals(struct vm *vm, struct err *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	/* A script's shell has it ignored for what it runs in the background. */
	if (!signal_is_ignored(SIGINT))
		sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	vm->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (vm->signal_fd < 0)
		return err_sys(err, "create a signalfd");
	return watch(vm, vm->signal_fd, on_signal, &vm->signal_event, err);
}

static int start_vcpus(struct vm *vm, struct err *err)
{
	int ret = 0;

	vcpu_install_kick_handler();
	for (unsigned int i = 0; i < vm->n_vcpus && ret == 0; i++)
		ret = vcpu_start(&vm->vcpus[i], err);
	return ret;
}

static void stop_vcpus(struct vm *vm)
{
	/* First ask all, then wait: they leave KVM side by side. */
	for (unsigned int i = 0; i < vm->n_vcpus; i++)
		vcpu_stop(&vm->vcpus[i]);
	for (unsigned int i = 0; i < vm->n_vcpus; i++)
		vcpu_join(&vm->vcpus[i]);
}

static const char *describe_end(const struct vm *vm)
{
	switch ((enum vm_end)vm->end) {
	case VM_END_SHUTDOWN:
		return "the guest shut down";
	case VM_END_REBOOT:
		return "the guest asked for a reboot";
	case VM_END_PANIC:
		return "the guest's kernel panicked";
	case VM_END_STOPPED:
		return vm->stopped_by == 0 ? "its user left" : strsignal(vm->stopped_by);
	default:
		return "it cannot go on";
	}
}

static int run(struct vm *vm, struct err *err)
{
	int ret = 0;

	startup_pages_drop_later(vm->base);
	if (vm->has_terminal)
		ret = terminal_raw(STDIN_FILENO, err);
	if (ret == 0)
		ret = start_vcpus(vm, err);
	if (ret == 0 && event_base_dispatch(vm->base) < 0)
		ret = err_set(err, -EIO, "the event loop failed");
	stop_vcpus(vm);
	serial_console_flush(&vm->serial);
	virtio_devices_flush_console(vm->virtio, FLUSH_MS);
	terminal_restore();
	return ret;
}

int vm_run(struct vm *vm, struct vm_result *result, struct err *err)
{
	int ret;

	fatal_signals_install(&vm->boot, &vm->mem);
	ret = catch_signals(vm, err);
	if (ret == 0)
		ret = run(vm, err);
	if (ret != 0)
		return ret;
	*result = (struct vm_result){ .end = (enum vm_end)vm->end, .signal = vm->stopped_by };
	log_info("VM ended: %s", describe_end(vm));
	return 0;
}

void vm_free(struct vm *vm)
{
	if (vm == NULL)
		return;
	fatal_signals_forget();
	rtc_device_deinit(&vm->rtc);
	virtio_devices_free(vm->virtio);
	serial_console_deinit(&vm->serial);
	irqchip_deinit(&vm->irqchip);
	for (unsigned int i = 0; i < vm->n_vcpus; i++)
		kvm_vcpu_deinit(&vm->vcpus[i].kvm);
	free(vm->vcpus);
	kvm_vm_deinit(&vm->kvm);
	free_event(&vm->signal_event);
	close_fd(&vm->signal_fd);
	free_event(&vm->end_event);
	close_fd(&vm->end_fd);
	if (vm->base != NULL)
		event_base_free(vm->base);
	boot_deinit(&vm->boot);
	guest_mem_deinit(&vm->mem);
	free(vm);
}
