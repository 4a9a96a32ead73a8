"""Memory that the guest gives back, and random numbers: the balloon and entropy devices."""

import zlib

from televm import *

BALLOON = "/sys/bus/virtio/drivers/virtio_balloon"
RNG = "/sys/bus/virtio/drivers/virtio_rng"


def resident(vm):
    """What the process has of the host's memory, in bytes."""
    with open(f"/proc/{vm.pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+([0-9]+) kB", file.read())[1]) * 1024


class MemoryCase(TestCase):
    def fill(self, vm, mib):
        """Have the guest use memory and free it again; how much the process grew."""
        before = resident(vm)
        vm.ask("mount -o remount,size=250m /tmp")
        vm.ask(f"dd if=/dev/zero of=/tmp/much bs=1M count={mib} 2>/dev/null; rm /tmp/much")
        return resident(vm) - before

    def balloon(self, vm):
        """The number of its device; drivers are found by it."""
        return vm.ask(f"ls {BALLOON} | grep ^virtio").strip()

    def memory(self, vm, name="MemTotal"):
        return int(vm.ask(f"grep {name}: /proc/meminfo").split()[1]) * 1024


class Balloon(MemoryCase):
    weight = 5

    def test_inflates(self):
        """What the guest used and freed goes back to the host when the balloon takes it."""
        for harts in (1, 4):
            with self.subTest(harts=harts):
                vm = self.talk_to_linux("--balloon", "size=128M,stats=1", "--cpus", str(harts))
                device = self.balloon(vm)
                # It fills while user space is already up.
                eventually("the balloon is full", lambda: self.memory(vm) < 128 * MIB)
                with_balloon = self.memory(vm)
                vm.ask(f"echo {device} >{BALLOON}/unbind")
                self.assertGreater(self.memory(vm) - with_balloon, 120 * MIB)
                self.assertGreater(self.fill(vm, 150), 100 * MIB)
                full = resident(vm)
                vm.ask(f"echo {device} >{BALLOON}/bind")
                eventually("the memory comes back", lambda: full - resident(vm) > 80 * MIB)
                eventually("the balloon is full", lambda: self.memory(vm) < with_balloon + MIB)
                # Statistics go on meanwhile.
                time.sleep(1.2)
                self.assertEqual(vm.ask("echo alive"), "alive\n")
                self.power_off(vm)

    def test_memory_is_whole_again(self):
        """What was in the balloon can be used as ever."""
        vm = self.talk_to_linux("--balloon", "size=160M")
        device = self.balloon(vm)
        for _ in range(2):
            eventually("the balloon is full", lambda: self.memory(vm) < 100 * MIB)
            vm.ask(f"echo {device} >{BALLOON}/unbind")
            vm.ask("mount -o remount,size=250m /tmp; head -c 10000000 /dev/urandom >/tmp/0")
            vm.ask("for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do cp /tmp/0 /tmp/$n || exit; done")
            vm.ask("for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do cmp /tmp/0 /tmp/$n || exit; done; rm /tmp/*")
            vm.ask(f"echo {device} >{BALLOON}/bind")
        self.power_off(vm)

    def test_deflates_rather_than_kill(self):
        vm = self.talk_to_linux("--balloon", "size=200M,deflate-on-oom")
        # As the balloon's pages can be had back, they are still counted.
        self.assertGreater(self.memory(vm), 200 * MIB)
        eventually("the balloon is full", lambda: self.memory(vm, "MemFree") < 50 * MIB)
        # Without swap a file in memory cannot go anywhere.
        vm.ask("mount -o remount,size=250m /tmp; dd if=/dev/zero of=/tmp/much bs=1M count=160 2>/dev/null")
        self.assertEqual(vm.ask("stat -c %s /tmp/much").strip(), str(160 * MIB))
        self.assertNotIn("Out of memory", vm.ask("dmesg"))
        self.power_off(vm)

    def test_reporting(self):
        """Free pages are reported by the guest itself, also those of its page cache."""
        disk = self.file(os.urandom(MIB) * 100)
        for harts in (1, 4):
            with self.subTest(harts=harts):
                vm = self.talk_to_linux("--balloon", "reporting", "--disk", f"{disk},ro", "--cpus", str(harts))
                before = resident(vm)
                vm.ask("cat /dev/vda >/dev/null")
                full = resident(vm)
                self.assertGreater(full - before, 90 * MIB)
                vm.ask("echo 3 >/proc/sys/vm/drop_caches")
                eventually("the memory comes back", lambda: full - resident(vm) > 80 * MIB)
                self.fill(vm, 100)
                eventually("the memory comes back", lambda: full - resident(vm) > 80 * MIB)
                self.power_off(vm)

    def test_without(self):
        """A host gets nothing back then."""
        vm = self.talk_to_linux()
        self.assertGreater(self.fill(vm, 128), 100 * MIB)
        full = resident(vm)
        time.sleep(3)
        self.assertLess(full - resident(vm), 4 * MIB)
        self.power_off(vm)

    def test_too_large(self):
        self.refused("--kernel", tiny("hello"), "--balloon", "size=300M", status=152,
                     sentence="balloon: 300 MiB are more than the guest's 256 MiB")


class Rng(MemoryCase):
    weight = 2
    READ = "dd if=/dev/hwrng bs=1k count=64 2>/dev/null | sha256sum"

    def test_random(self):
        for harts in (1, 4):
            with self.subTest(harts=harts):
                vm = self.talk_to_linux("--cpus", str(harts))
                self.assertRegex(vm.ask("cat /sys/class/misc/hw_random/rng_current"), r"^virtio_rng\.0$")
                sums = {vm.ask(self.READ) for _ in range(3)}
                self.assertEqual(len(sums), 3)
                # They cannot be made smaller, and no value of a byte is rare.
                got = bytes.fromhex(vm.ask("dd if=/dev/hwrng bs=1k count=4 2>/dev/null | od -An -v -tx1").replace(" ", ""))
                self.assertEqual(len(got), 4096)
                self.assertGreater(len(zlib.compress(got, 9)), 4096)
                self.assertGreater(len(set(got)), 240)
                self.power_off(vm)

    def test_driver_comes_and_goes(self):
        vm = self.talk_to_linux()
        device = vm.ask(f"ls {RNG} | grep ^virtio").strip()
        for _ in range(5):
            vm.ask(f"(cat /dev/hwrng >/dev/null 2>&1) & sleep 0.2; echo {device} >{RNG}/unbind; wait; echo {device} >{RNG}/bind")
            vm.ask(self.READ)
        self.power_off(vm)

    def test_off(self):
        vm = self.talk_to_linux("--rng", "off")
        self.assertEqual(vm.ask("ls /sys/bus/virtio/devices"), "")
        self.assertNotIn("virtio_rng", vm.ask("cat /sys/class/misc/hw_random/rng_current 2>&1", status=None))
        self.power_off(vm)

    def test_limit(self):
        vm = self.talk_to_linux("--rng", "bandwidth=32K")
        got = vm.ask("cat /proc/uptime; dd if=/dev/hwrng bs=1k count=96 2>/dev/null >/dev/null; cat /proc/uptime").split()
        self.assertGreater(float(got[2]) - float(got[0]), 1.3)
        self.power_off(vm)
