"""The files of a running VM change under it."""

from televm import *


class Files(TestCase):
    weight = 2

    def start(self, *arguments, initrd_size=None):
        """A guest that touches the far pages of its files when told; they are MIBs long."""
        self.kernel = self.file(read(tiny("cut")), "kernel", size=6 * MIB)
        if initrd_size:
            self.initrd = self.file(b"initramfs", "initramfs", size=initrd_size)
            arguments += ("--initrd", self.initrd)
        vm = self.run_televm("--kernel", self.kernel, *arguments, stdin="pipe")
        vm.expect("ready\n")
        return vm

    def test_nothing_happens(self):
        vm = self.start()
        vm.send("k")
        self.ends(vm, 0, SHUT_DOWN)

    def test_kernel_cut_short(self):
        vm = self.start()
        os.truncate(self.kernel, 4096)
        vm.send("k")
        self.assertEqual(vm.wait(), 4)
        self.assertIn("the kernel file was cut short while the guest was using it\n", vm.errors())
        self.assertNotIn("survived", vm.output())

    def test_initramfs_cut_short(self):
        vm = self.start(initrd_size=8 * MIB)
        os.truncate(self.initrd, 0)
        vm.send("i")
        self.assertEqual(vm.wait(), 4)
        self.assertIn("the initramfs file was cut short while the guest was using it\n", vm.errors())

    def test_cut_short_and_read_by_the_monitor(self):
        """Then it is televm that reads what is not there any more."""
        vm = self.start()
        os.truncate(self.kernel, 4096)
        vm.send("m")
        self.assertEqual(vm.wait(), 149)
        self.assertRegex(vm.errors(), "^televm: error: .* signal 7, code 2\\. "
                                      "The kernel file was cut short while the guest was using it\\.\n$")

    def test_replaced(self):
        """A new file renamed over the old one is the way to do it."""
        vm = self.start(initrd_size=8 * MIB)
        for path in (self.kernel, self.initrd):
            os.rename(self.file(b"new"), path)
        vm.send("k")
        self.ends(vm, 0, SHUT_DOWN)

    def test_removed(self):
        vm = self.start()
        os.remove(self.kernel)
        vm.send("m")
        self.ends(vm, 0, SHUT_DOWN)

    def test_copied(self):
        """--copy-kernel: what happens to the files does not matter."""
        for key in ("k", "m", "i"):
            with self.subTest(key):
                vm = self.start("--copy-kernel", initrd_size=8 * MIB)
                os.truncate(self.kernel, 4096)
                os.truncate(self.initrd, 0)
                vm.send(key)
                self.ends(vm, 0, SHUT_DOWN)

    def test_guest_does_not_write_to_them(self):
        """Linux writes all over itself; its file stays as it was."""
        kernel = self.file(read(IMAGE), "Image")
        initrd = self.file(read(INITRAMFS), "initramfs")
        self.ask_linux("true", kernel=kernel, initrd=initrd)
        self.assertTrue(read(kernel) == read(IMAGE))
        self.assertTrue(read(initrd) == read(INITRAMFS))

    def test_linux_cut_short(self):
        kernel = self.file(read(IMAGE), "Image")
        vm = self.run_linux(kernel=kernel, stdin="pty")
        vm.expect("# ")
        os.truncate(kernel, 4096)
        vm.send("ls -l /proc /sys /dev; dmesg; find / | sort\r")
        self.assertIn(vm.wait(), (4, 149))
        self.assertRegex(vm.errors(), "[Tt]he kernel file was cut short while the guest was using it")
        self.assert_terminal_restored(vm)
