"""Linux boots: harts, interrupt controllers, kinds of kernels, memory, ends."""

import gzip

from televm import *

# What the lines of /proc/interrupts name the serial line's controller.
PLIC, AIA = "SiFive PLIC", "APLIC"


class Harts(TestCase):
    weight = 5

    def boot(self, harts):
        got = self.ask_linux("nproc; cat /sys/devices/system/cpu/online; grep -c ^processor /proc/cpuinfo",
                             "--cpus", str(harts))
        online = f"0-{harts - 1}" if harts > 1 else "0"
        self.assertEqual(got.split(), [str(harts), online, str(harts)])

    def test_one(self):
        self.boot(1)

    def test_two(self):
        self.boot(2)

    def test_eight(self):
        self.boot(8)


class Irqchip(TestCase):
    weight = 4

    def serial_line(self, *arguments):
        """The line of the UART in /proc/interrupts, after some of them."""
        got = self.ask_linux("seq 300 >/dev/console; grep ttyS0 /proc/interrupts", "--cpus", "2", *arguments)
        return got.splitlines()[-1]

    def count(self, line):
        return sum(int(word) for word in line.split()[1:3])

    def test_of_the_host(self):
        line = self.serial_line()
        self.assertIn(AIA if HAS_AIA else PLIC, line)
        self.assertGreater(self.count(line), 0)

    @unittest.skipUnless(HAS_AIA, "only one kind here")
    def test_plic_where_there_is_aia(self):
        line = self.serial_line("--irqchip", "plic")
        self.assertIn(PLIC, line)
        self.assertGreater(self.count(line), 0)

    @unittest.skipUnless(HAS_AIA, "there is no AIA")
    def test_aia(self):
        self.assertIn(AIA, self.serial_line("--irqchip", "aia"))

    @unittest.skipIf(HAS_AIA, "there is AIA")
    def test_aia_where_there_is_none(self):
        self.refused("--kernel", IMAGE, "--irqchip", "aia", status=1,
                     sentence="irqchip: this host has no AIA for guests: use --irqchip plic, or auto")


class Kernels(TestCase):
    weight = 4

    def test_gzip(self):
        kernel = self.file(gzip.compress(read(IMAGE), 1), "Image.gz")
        self.assertEqual(self.ask_linux("echo unpacked", kernel=kernel), "unpacked\n")

    def test_copied_with_gzip_initramfs(self):
        initrd = self.file(gzip.compress(read(INITRAMFS), 1), "initramfs.gz")
        self.assertEqual(self.ask_linux("echo unpacked", "--copy-kernel", initrd=initrd), "unpacked\n")

    def test_initramfs_of_odd_size(self):
        """Neither its length nor its beginning need be a multiple of a page."""
        initrd = self.file(read(INITRAMFS) + bytes(1233), "initramfs")
        self.assertEqual(self.ask_linux("echo unpacked", initrd=initrd), "unpacked\n")

    def test_without_initramfs(self):
        """There is no root file system then, which is a panic."""
        vm = self.run_televm("--kernel", IMAGE)
        self.assertEqual(vm.wait(), 3)
        self.assertIn("Unable to mount root fs", vm.output())


class Debian(TestCase):
    weight = 20

    def run_debian(self, **how):
        return self.run_linux("--cpus", "2", kernel=DEBIAN_IMAGE, initrd=DEBIAN_INITRAMFS, **how)

    def test_shell_and_poweroff(self):
        vm = self.run_debian(stdin="pty")
        vm.expect(REACHED + ", 2 harts")
        vm.expect("# ")
        vm.send("echo typed by $((3 * 4)) hands\r")
        vm.expect("typed by 12 hands\n")
        vm.expect("# ")
        vm.send("poweroff -f\r")
        self.ends(vm, 0, SHUT_DOWN)
        self.assert_terminal_restored(vm)

    def test_reboot(self):
        self.ends(self.run_debian(ask="reboot -f"), 0, REBOOTED)

    def test_panic_is_a_reboot(self):
        """It has no driver for pvpanic; panic=1 is part of the command line."""
        vm = self.run_debian(append="quiet televm.end=panic", ask="true")
        self.ends(vm, 0, REBOOTED)
        self.assertIn("Kernel panic", vm.output())


class Ends(TestCase):
    weight = 3

    def test_reboot(self):
        self.ends(self.run_linux(append="quiet televm.end=reboot", ask="true"), 0, REBOOTED)

    def test_panic(self):
        vm = self.run_linux(append="quiet televm.end=panic", ask="true")
        self.ends(vm, 3, "televm: VM ended: the guest's kernel panicked\n")
        self.assertIn("Kernel panic", vm.output())


class Memory(TestCase):
    weight = 4

    def test_2_gib(self):
        kib = int(self.ask_linux("grep MemTotal /proc/meminfo", "--memory", "2G").split()[1])
        self.assertGreater(kib, 1900 << 10)
        self.assertLess(kib, 2048 << 10)

    def test_24_mib(self):
        """Too little for some kernels: then it panics, in order. televm itself says nothing more."""
        vm = self.run_linux("--memory", "24M", ask="echo small")
        status = vm.wait()
        self.assertIn(status, (0, 3, 152))
        self.assertEqual(len(vm.errors().splitlines()), 1)


class Early(TestCase):
    weight = 2

    def test_earlycon(self):
        """The first lines come by SBI, long before there is a driver for the serial line."""
        vm = self.run_televm("--kernel", IMAGE, "--cmdline", "earlycon=sbi keep_bootcon panic=1")
        vm.expect("Linux version")
        vm.expect("Machine model: TeleVM microVM\n")
        vm.expect("Memory: ")
        self.assertEqual(vm.wait(), 3)

    def test_console_off(self):
        """No serial line, no output; everything else as ever."""
        vm = self.run_linux("--console", "off", ask="true")
        self.ends(vm, 0, SHUT_DOWN)
        self.assertEqual(vm.output(), "")
