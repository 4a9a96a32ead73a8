#include "kvm/kvm_vm.h"

#include "util/bits.h"
#include "util/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

/* Sv39x4: enough for 2 TiB of guest memory, and three levels to walk instead of four or five. */
enum { WANTED_GPA_BITS = 41 };

#ifdef __riscv
/* Does /proc/cpuinfo's "isa : rv64imafdch_zicbom…" name H? True when it cannot be told. */
static bool host_has_h_extension(void)
{
	char text[4096];
	cleanup_close int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	const char *isa;

	if (len <= 0)
		return true;
	text[len] = '\0';
	isa = strstr(text, ": rv64");
	if (isa == NULL)
		return true;
	isa += strlen(": rv64");
	return memchr(isa, 'h', strcspn(isa, "_\n")) != NULL;
}

static int explain_open_failure(int error, struct err *err)
{
	switch (error) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		if (!host_has_h_extension())
			return err_set(err, -error,
				       "this processor has no hypervisor (H) extension, so it "
				       "cannot run virtual machines: use a host that has it");
		return err_set(err, -error,
			       "there is no /dev/kvm: load KVM with 'modprobe kvm', or use a "
			       "kernel built with CONFIG_KVM");
	case EACCES:
	case EPERM:
		return err_set(err, -error,
			       "no permission to use /dev/kvm: add yourself to the group 'kvm' "
			       "('usermod -aG kvm USER', then log in again), or run as root");
	default:
		return err_set(err, -error, "open /dev/kvm: %s", strerror(error));
	}
}
#endif

static int open_kvm(struct err *err)
{
#ifdef __riscv
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	return fd >= 0 ? fd : explain_open_failure(errno, err);
#else
	return err_set(err, -ENOSYS,
		       "virtual machines need a riscv64 host with KVM, and this is none: "
		       "'make run' in the source tree emulates one");
#endif
}

static int check_extension(const struct kvm_vm *vm, int cap)
{
	int ret = ioctl(vm->vm_fd, KVM_CHECK_EXTENSION, cap);

	return ret < 0 ? 0 : ret;
}

static int check_version(const struct kvm_vm *vm, struct err *err)
{
	int version = ioctl(vm->sys_fd, KVM_GET_API_VERSION, 0);

	if (version != KVM_API_VERSION)
		return err_set(err, -ENOTSUP, "/dev/kvm speaks version %d of its interface, not %d",
			       version, KVM_API_VERSION);
	return 0;
}

/*
 * Ask for a narrow guest-physical space where the kernel lets us choose (7.2 and later); others
 * report the host's widest and keep it.
 */
static void choose_gpa_bits(struct kvm_vm *vm)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_VM_GPA_BITS, .args = { WANTED_GPA_BITS } };

	vm->gpa_bits = (unsigned int)check_extension(vm, KVM_CAP_VM_GPA_BITS);
	if (vm->gpa_bits > WANTED_GPA_BITS && ioctl(vm->vm_fd, KVM_ENABLE_CAP, &cap) == 0)
		vm->gpa_bits = WANTED_GPA_BITS;
}

static int create_vm(struct kvm_vm *vm, struct err *err)
{
	int size;

	do {
		vm->vm_fd = ioctl(vm->sys_fd, KVM_CREATE_VM, 0);
	} while (vm->vm_fd < 0 && errno == EINTR);
	if (vm->vm_fd < 0)
		return err_sys(err, "create a virtual machine in KVM");
	size = ioctl(vm->sys_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < 0)
		return err_sys(err, "ask KVM for the size of a vCPU's state");
	if ((size_t)size < sizeof(struct kvm_run))
		return err_set(err, -ENOTSUP, "KVM says that a vCPU's state has %d bytes, not %zu",
			       size, sizeof(struct kvm_run));
	vm->vcpu_map_size = (size_t)size;
	choose_gpa_bits(vm);
	/* Not KVM_CAP_IRQFD: that is reported, and delivers nothing, without an irqchip too. */
	vm->has_aia = check_extension(vm, KVM_CAP_IRQCHIP) > 0;
	return 0;
}

int kvm_vm_init(struct kvm_vm *vm, struct err *err)
{
	int ret;

	*vm = KVM_VM_NONE;
	ret = open_kvm(err);
	if (ret < 0)
		return ret;
	vm->sys_fd = ret;
	ret = check_version(vm, err);
	if (ret == 0)
		ret = create_vm(vm, err);
	if (ret != 0)
		kvm_vm_deinit(vm);
	return ret;
}

int kvm_vm_add_memory(struct kvm_vm *vm, uint64_t gpa, uint64_t size, void *hva, struct err *err)
{
	struct kvm_userspace_memory_region region = {
		.slot = vm->n_slots,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uint64_t)(uintptr_t)hva,
	};

	if (ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) != 0)
		return err_sys(err, "give KVM %llu MiB of guest memory at 0x%llx",
			       (unsigned long long)(size / MIB), (unsigned long long)gpa);
	vm->n_slots++;
	return 0;
}

int kvm_vm_add_ioeventfd(struct kvm_vm *vm, uint64_t gpa, uint32_t value, int fd, struct err *err)
{
	struct kvm_ioeventfd ioeventfd = {
		.datamatch = value,
		.addr = gpa,
		.len = sizeof(value),
		.fd = fd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};

	if (ioctl(vm->vm_fd, KVM_IOEVENTFD, &ioeventfd) != 0)
		return err_sys(err, "tie a device's notifications to an eventfd in KVM");
	return 0;
}

bool kvm_vm_has_capability(const struct kvm_vm *vm, int number)
{
	return check_extension(vm, number) > 0;
}

void kvm_vm_deinit(struct kvm_vm *vm)
{
	close_fd(&vm->vm_fd);
	close_fd(&vm->sys_fd);
}
