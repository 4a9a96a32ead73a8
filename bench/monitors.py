"""The guests that are measured, and the command lines of the monitors that run them, as in the host."""

import shlex

GUESTS = "/usr/share/televm"
TELEVM = GUESTS + "/bin/televm"
QEMU = "/usr/bin/qemu-system-riscv64"
COMMAND_LINE = "console=ttyS0 quiet"


class Guest:
    """A kernel and what it is given: the same for every monitor."""

    def __init__(self, kernel="Image", initrd="initramfs.bench.cpio", mib=128, cpus=1, huge=False, words=""):
        self.kernel = f"{GUESTS}/{kernel}"
        self.initrd = f"{GUESTS}/{initrd}" if initrd else None
        self.mib = mib
        self.cpus = cpus
        self.huge = huge
        self.command_line = COMMAND_LINE + words
        self.read_only_disks = []
        self.disks = []
        self.tap = None
        self.vhost = False  # the host's kernel moves the frames of the tap
        self.vsock = None  # where TeleVM has its sockets

    def add(self, read_only_disk=None, disk=None, tap=None, vhost=False, vsock=None):
        self.read_only_disks += [read_only_disk] if read_only_disk else []
        self.disks += [disk] if disk else []
        self.tap, self.vhost = tap, vhost
        self.vsock = vsock
        return self


def televm_command(guest, more):
    command = [TELEVM, "run", "--kernel", guest.kernel, "--memory", f"{guest.mib}M"]
    if guest.initrd:
        command += ["--initrd", guest.initrd]
    if guest.cpus > 1:
        command += ["--cpus", str(guest.cpus)]
    if guest.huge:
        command += ["--huge-pages"]
    for disk in guest.read_only_disks:
        command += ["--disk", disk + ",ro"]
    for disk in guest.disks:
        command += ["--disk", disk]
    if guest.tap:
        command += ["--net", f"tap={guest.tap}" + ",vhost" * guest.vhost]
    if guest.vsock:
        command += ["--vsock", f"cid=3,path={guest.vsock}"]
    # As QEMU is measured, with nothing that the guest does not need.
    return command + ["--rng", "off", "--cmdline", guest.command_line, *more]


def qemu_disks(guest):
    command = []
    for n, disk in enumerate(guest.read_only_disks):
        command += ["-drive", f"file={disk},format=raw,if=none,id=ro{n},read-only=on",
                    "-device", f"virtio-blk-device,drive=ro{n}"]
    for n, disk in enumerate(guest.disks):
        # Without the layer of the raw format, which would do nothing.
        command += ["-blockdev", f"file,filename={disk},node-name=rw{n},aio=io_uring",
                    "-device", f"virtio-blk-device,drive=rw{n}"]
    return command


def qemu_others(guest):
    command = []
    if guest.tap:
        command += ["-netdev", f"tap,id=net,ifname={guest.tap},script=no,downscript=no,vhost={'on' if guest.vhost else 'off'}",
                    "-device", "virtio-net-device,netdev=net"]
    if guest.vsock:
        command += ["-device", "vhost-vsock-device,guest-cid=3"]
    return command


def qemu_command(guest, more):
    """The leanest of those that were tried; ACPI tables alone would cost 12 million instructions."""
    machine = "virt,acpi=off"
    command = [QEMU, "-accel", "kvm"]
    if guest.huge:
        machine += ",memory-backend=ram"
        command += ["-object", f"memory-backend-memfd,id=ram,size={guest.mib}M,hugetlb=on,hugetlbsize=2M,share=off"]
    command += ["-M", machine, "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio",
                "-m", f"{guest.mib}M", "-smp", str(guest.cpus), "-kernel", guest.kernel]
    if guest.initrd:
        command += ["-initrd", guest.initrd]
    return command + qemu_disks(guest) + qemu_others(guest) + ["-append", guest.command_line, *more]


def monitor_command(monitor, guest, options):
    if monitor == "televm":
        return televm_command(guest, options.televm_args)
    return qemu_command(guest, options.qemu_args)


def line(words):
    return " ".join(shlex.quote(word) for word in words)
