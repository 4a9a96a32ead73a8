"""A guest that tries on all virtio devices what tests/hostile lists; looked at from outside."""

import socket
import struct

import smaps

from televm import *

MIB = 1 << 20
SECTOR = 512
GOOD = b"\x5a" * SECTOR  # sector 1 of each disk, as tests/hostile/hostile.h has it

# Lines of the checklist that some device must have gone through.
LINES = {
    "blk": "T01 T02 T03 T04 T05 T06 T07 T08 T09 T10 T11 T12 T13 T14 T15 T16 T17 T18 Q01 Q02 Q03 Q04 Q05 Q06 Q07 Q08"
           " Q09 Q10 Q11 Q12 Q13 Q14 B01 B02 B03 B04 B05 B06 B07 B08 B11 B12",
    "net": "T01 T14 T18 Q01 Q03 Q05 Q08 Q11 Q14 N01 N02 N03 N05 N07 N08",
    "vsock": "T01 T14 T18 Q01 Q03 Q05 Q08 Q11 Q14 V01 V02 V03 V08",
    "rng": "T01 T14 T18 Q01 Q03 Q05 Q08 Q11 Q14 Q15 C06",
    "balloon": "T01 T14 T18 Q01 Q03 Q05 Q08 Q11 Q14 Q16 M01 M02 M03 M04",
    "console": "T01 T14 T18 Q01 Q03 Q05 Q08 Q11 Q14 C01",
}

# Where Linux's vhost takes what our devices refuse (docs/devices/net.md), up to and with N01: longer chains and tables, tables
# that were not agreed on. A frame shorter than its header it tries to send until the reset.
VHOST_LENIENT = "Q04 Q05 Q07 Q08 N01".split()

TUNSETIFF, TUNSETPERSIST = 0x400454CA, 0x400454CB
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


class Tap:
    """A tap device that is up, until close()."""

    def __init__(self, name):
        self.name = name
        self.fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self.fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
        self.persist(1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), IFF_UP))
        self.detach()

    def persist(self, on):
        fcntl.ioctl(self.fd, TUNSETPERSIST, on)

    def detach(self):
        os.close(self.fd)

    def close(self):
        self.fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self.fd, TUNSETIFF, struct.pack("16sH22x", self.name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
        self.persist(0)
        self.detach()


class Hostile(TestCase):
    weight = 3
    MEMORY = 64 * MIB  # as the guest is made for
    DEVICES = 7

    def disk(self, folder, name):
        path = f"{folder}/{name}"
        with open(path, "wb") as file:
            file.truncate(MIB)
            file.seek(SECTOR)
            file.write(GOOD)
        return path

    def outside_ram(self, vm):
        with open(f"/proc/{vm.pid}/smaps", encoding="ascii") as file:
            return smaps.split(file.read().splitlines(), self.MEMORY)[1]["Private_Dirty"]

    def descriptors(self, vm):
        return len(os.listdir(f"/proc/{vm.pid}/fd"))

    def loop_seconds(self, vm):
        """Processor time of the thread that does the devices' work."""
        with open(f"/proc/{vm.pid}/task/{vm.pid}/stat", encoding="ascii") as file:
            user, system = file.read().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def is_at_rest(self, vm):
        """Is nothing done in a second in which there is nothing to do?"""
        before = self.loop_seconds(vm)
        time.sleep(1)
        return self.loop_seconds(vm) - before < 0.05

    def test_all_devices(self):
        folder = self.folder()
        tap = Tap("hostile0")
        self.addCleanup(tap.close)
        writable, constant = self.disk(folder, "writable"), self.disk(folder, "constant")
        files_before = sorted(os.listdir(folder))
        begin = time.monotonic()
        vm = self.run_tiny("hostile", "--memory", "64M", "--cpus", "2", "--console", "virtio",
                           "--disk", f"{writable},id=writable,engine=uring",
                           "--disk", f"{constant},id=constant,ro,engine=sync",
                           "--net", f"tap={tap.name}", "--vsock", f"cid=42,path={folder}/vsock",
                           "--rng", "on", "--balloon", "stats=1,deflate-on-oom,reporting", stdin="pipe")
        vm.expect("begin\n")
        memory, descriptors = self.outside_ram(vm), self.descriptors(vm)
        vm.expect(re.compile("all is well\n|something is not well\n"))
        memory, descriptors = self.outside_ram(vm) - memory, self.descriptors(vm) - descriptors
        eventually("its loop rests", lambda: self.is_at_rest(vm))
        vm.send("k")
        status = vm.wait()
        seconds = time.monotonic() - begin

        lines = [line for line in vm.output().split("\n") if line]
        odd = [i for i in range(1, len(lines) - 1) if not lines[i].startswith("ok ")]
        self.assertEqual([lines[i - 1:i + 1] for i in odd], [])
        self.assertEqual([lines[0], lines[-1]], ["begin", "all is well"])
        self.assertEqual(status, 0)
        found = {tuple(line.split(":")[0].split()[1:]) for line in lines if line.startswith("ok ")}
        for kind, wanted in LINES.items():
            self.assertEqual({line for line in wanted.split() if (line, kind) not in found}, set(), kind)
        self.assertLess(memory, MIB)
        self.assertEqual(descriptors, 0)
        self.assertEqual(read(constant), bytes(SECTOR) + GOOD + bytes(MIB - 2 * SECTOR))
        content = read(writable)
        self.assertEqual(len(content), MIB)
        self.assertEqual(content[SECTOR:2 * SECTOR], GOOD)
        self.assertEqual(content[16 * SECTOR:], bytes(MIB - 16 * SECTOR))  # the cases write below
        self.assertEqual(sorted(os.listdir(folder)), files_before)
        errors = vm.errors().splitlines()
        self.assertTrue(all(line.startswith("televm: ") for line in errors), errors)
        # For each device five lines a second, and one that tells how many were left out.
        self.assertLess(len(errors), 6 * self.DEVICES * (seconds + 1))
        self.assertEqual(errors[-1] + "\n", SHUT_DOWN)

    def test_vhost(self):
        """The rings of a network that the host's kernel works on. What it judges otherwise than we do harms nobody."""
        if not HAS_AIA:
            self.skipTest("vhost needs the AIA")
        folder = self.folder()
        tap = Tap("hostile1")
        self.addCleanup(tap.close)
        disk = self.disk(folder, "constant")
        vm = self.run_tiny("hostile", "--memory", "64M", "--cpus", "2", "--console", "virtio", "--disk", f"{disk},ro",
                           "--net", f"tap={tap.name},vhost", stdin="pipe")
        vm.expect("begin\n")
        memory, descriptors = self.outside_ram(vm), self.descriptors(vm)
        # One by one, since it waits long for what does not come. Headers that cannot be are not among them: see VHOST_LENIENT.
        for line in "T18 Q04 Q05 Q07 Q08 Q14 N01".split():
            vm.expect(f" {line} net: ")
        self.assertLess(self.outside_ram(vm) - memory, MIB)
        self.assertEqual(self.descriptors(vm), descriptors)
        vm.signal(signal.SIGTERM)
        self.assertEqual(vm.wait(), 143)
        lines = [line.split(":")[0].split() for line in vm.output().split("\n") if line.startswith(("ok ", "not ok "))]
        odd = {tuple(words[-2:]) for words in lines if words[0] == "not"}
        self.assertEqual(odd - {(line, "net") for line in VHOST_LENIENT}, set())
        fine = {words[1] for words in lines if words[0] == "ok" and words[-1] == "net"}
        self.assertEqual(set("T01 T07 T09 T11 T12 T14 T15 T16 T18 Q01 Q02 Q03 Q06 Q09 Q10 Q11 Q13 Q14".split()) - fine, set())
        self.assertIn("net 'net0' stops until it is reset: vhost found", vm.errors())
        self.assertEqual(read(disk), bytes(SECTOR) + GOOD + bytes(MIB - 2 * SECTOR))
