"""The rows of devices: what an operation costs, on the host side and in all.

A guest (devices-init) does few operations and then many, with fio or stream.c, and phases.c counts from
mark to mark. The difference between the two, divided by the difference in operations, is what one costs.
"""

from monitors import GUESTS, Guest, line, monitor_command

PHASES = "/share/phases"
FOLDER = "/var/tmp/bench"
DISK = FOLDER + "/disk"
SOCKET = FOLDER + "/vsock"
TAP = "bench0"
PORT = 5000
MIB = 256

# The guest's phases of each experiment.
OPERATIONS = {
    "disk": ["disk-4k-read", "disk-4k-write", "disk-1m-read", "disk-1m-write"],
    "net": ["net-send", "net-receive"],
    "vsock": ["vsock-send", "vsock-receive"],
}
KINDS = ("host", "all", "exits", "interrupts")
EXPERIMENTS = {name: [f"{operation}-{kind}" for operation in operations for kind in KINDS]
               for name, operations in OPERATIONS.items()}
RATIOS = [f"{operation}-{kind}" for operations in OPERATIONS.values() for operation in operations
          for kind in ("host", "all")]


class Failed(Exception):
    """A measurement that cannot be had: a sentence."""


# What is run

PREPARE = {
    # A file of the host's ext4, in its page cache, all of it dirty already. Nothing is written back meanwhile.
    "disk": f"mkdir -p {FOLDER}; echo 0 >/proc/sys/vm/dirty_writeback_centisecs; "
            f"[ -f {DISK} ] || dd if=/dev/zero of={DISK} bs=1M count=128 conv=fsync 2>/dev/null; "
            f"dd if=/dev/zero of={DISK} bs=1M count=128 conv=notrunc 2>/dev/null",
    "net": "modprobe tun; echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; "
           f"ip=/usr/bin/ip; $ip tuntap add dev {TAP} mode tap; $ip address add 10.9.0.1/24 dev {TAP}; $ip link set {TAP} up; "
           f"/share/stream serve tcp {PORT} & peer=$!",
    "vsock": f"modprobe vhost_vsock; mkdir -p {FOLDER}; /share/stream serve",
}
CLEAN_UP = {
    "disk": "true",
    "net": f"kill $peer; wait $peer; $ip link delete {TAP}",
    "vsock": "kill $peer; wait $peer",
}


def guest_of(experiment, options):
    guest = Guest(initrd="initramfs.devices.cpio", mib=MIB, huge=True, words=f" bench={experiment}")
    if experiment == "disk":
        return guest.add(read_only_disk=f"{GUESTS}/tools.ext4", disk=DISK)
    return guest.add(tap=TAP, vhost=options.vhost) if experiment == "net" else guest.add(vsock=SOCKET)


def script_of(experiment, host, monitor, options):
    """The shell commands of one experiment."""
    prepare = PREPARE[experiment]
    command = monitor_command(monitor, guest_of(experiment, options), options)
    if experiment == "vsock":
        prepare += (f" unix {SOCKET}_{PORT}" if monitor == "televm" else f" vsock {PORT}") + " & peer=$!"
    if monitor == "qemu" and host == "aia":
        command += ["-M", "aia=aplic-imsic"]
    peer = "" if experiment == "disk" else "-p $peer "
    # Waiting in KVM for a guest that sleeps would count as work.
    return ["echo 0 >/sys/module/kvm/parameters/halt_poll_ns", f"reserve {MIB // 2}", prepare,
            f"{PHASES} {peer}{line(command)}", CLEAN_UP[experiment], "reserve 0"]


# What comes back

CLOCKS = ("wall", "cpu", "peer", "busy")


class Phase:
    """What was counted from one mark to the next."""

    def __init__(self, begin, end):
        counters, clocks, before = [int(word) for word in begin[1:5]], [int(word) for word in begin[9:]], end[5:9]
        after = [int(word) for word in end[1:5]]
        self.interrupts, self.exits, self.mmio, self.mmio_kernel = (b - a for a, b in zip(counters, after))
        self.clocks = dict(zip(CLOCKS, (int(b) - a for a, b in zip(clocks, before))))


def phases_of(output):
    """Lists of (count of operations, phase) by name, and the same of traced phases: (count, guest's instructions)."""
    marks, guest = output.of("phase"), output.of("guest")
    plain, traced = {}, {}
    for begin, end in zip(marks, marks[1:]):
        name = begin[0].split(":")
        if name[0] == "traced":
            total, entries, shortest = (int(word) for word in guest.pop(0))
            traced.setdefault(name[1], []).append((int(name[2]), total - entries * shortest))
        elif name[0] != "-":
            plain.setdefault(name[0], []).append((int(name[1]), Phase(begin, end)))
    return plain, traced


def each(few, many, value):
    return (value(many[1]) - value(few[1])) / (many[0] - few[0])


def add_operation(rows, name, monitor, phases, traced):
    """The last pair of phases is the one that is quoted."""
    guest = each(traced[0], traced[1], lambda count: count)
    pairs = list(zip(phases[::2], phases[1::2]))

    def values(value):
        return [each(few, many, value) for few, many in pairs]
    everything = values(lambda phase: phase.clocks["busy"])
    peer = values(lambda phase: phase.clocks["peer"])
    host = [round(a - p - guest) for a, p in zip(everything, peer)]
    rows.add(f"{name}-host", monitor, host, "instructions", guest=round(guest), peer=round(peer[-1]),
             monitor_cpu=round(values(lambda phase: phase.clocks["cpu"])[-1]))
    rows.add(f"{name}-all", monitor, [round(value) for value in everything], "instructions",
             wall=round(values(lambda phase: phase.clocks["wall"])[-1]))
    rows.add(f"{name}-exits", monitor, [round(value, 2) for value in values(lambda phase: phase.exits)], "count",
             mmio=round(values(lambda phase: phase.mmio)[-1], 2),
             mmio_kernel=round(values(lambda phase: phase.mmio_kernel)[-1], 2))
    rows.add(f"{name}-interrupts", monitor, [round(value, 2) for value in values(lambda phase: phase.interrupts)], "count")


def add_rows(rows, monitor, output):
    plain, traced = phases_of(output)
    if not plain:
        raise Failed("the guest did not come so far")
    for name, phases in plain.items():
        add_operation(rows, name, monitor, phases, traced[name])
