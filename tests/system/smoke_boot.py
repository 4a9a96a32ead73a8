"""On hosts of other kinds: that guests boot, wait, and end."""

from televm import *


class Smoke(TestCase):
    weight = 5

    def test_four_harts(self):
        self.assertEqual(self.ask_linux("nproc", "--cpus", "4"), "4\n")


class SmokeBare(TestCase):
    def test_waits(self):
        vm = self.run_tiny("wfi", "--cpus", "3")
        self.ends(vm, 0, SHUT_DOWN)
        self.assertEqual(vm.output(), "harts: 3\nall woke up\n")

    def test_harts_come_and_go(self):
        vm = self.run_tiny("hsm", "--cpus", "3")
        self.ends(vm, 0, SHUT_DOWN)

    def test_plic(self):
        vm = self.run_linux("--cpus", "2", "--irqchip", "plic", ask="seq 200; nproc")
        self.ends(vm, 0, SHUT_DOWN)
        self.assertIn("200\n2\n", vm.output())

    def test_panic(self):
        self.assertEqual(self.run_linux(append="quiet televm.end=panic", ask="true").wait(), 3)
