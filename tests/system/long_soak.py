"""What takes long: many boots, many VMs side by side, much data, every ending again and again."""

import hashlib
import random

from televm import *
from test_nets import NetCase, ping


class Soak(TestCase):
    alone = True

    def test_100_boots(self):
        for n in range(100):
            harts = 1 + n % 4
            self.assertEqual(self.ask_linux("nproc", "--cpus", str(harts)), f"{harts}\n", f"boot {n}")
            self.started.clear()

    def test_8_side_by_side(self):
        for _ in range(3):
            vms = [self.run_linux("--cpus", "2", "--memory", "128M", ask="seq 2000 | sha256sum") for _ in range(8)]
            want = hashlib.sha256("".join(f"{n}\n" for n in range(1, 2001)).encode()).hexdigest()
            for vm in vms:
                self.ends(vm, 0, SHUT_DOWN)
                self.assertIn(want, vm.output())

    def test_32_harts(self):
        self.assertEqual(self.ask_linux("nproc", "--cpus", "32"), "32\n")

    def test_reboots(self):
        """Every hart asks for another end at the same time; whichever wins, the VM ends."""
        ends = "for i in 1 2 3 4; do (reboot -f) & (poweroff -f) & done; sleep 100"
        for _ in range(30):
            vm = self.run_linux("--cpus", "4", ask=ends)
            self.assertEqual(vm.wait(), 0)
            self.assertIn(vm.errors(), (SHUT_DOWN, REBOOTED))
            self.started.clear()

    def test_tiny_guests(self):
        for _ in range(300):
            self.ends(self.run_tiny("hello", "--cpus", "4"), 0, SHUT_DOWN)
            self.started.clear()

    def test_sigterm_at_any_time(self):
        """From before main() until the guest has ended by itself."""
        for n in range(200):
            vm = self.run_tiny("hello", "--cpus", "2", stdin="pty")
            time.sleep(n * 0.002)
            vm.signal(signal.SIGTERM)
            status = vm.wait()
            self.assertIn(status, (0, 143, -signal.SIGTERM))
            if "hello" in vm.output():  # the guest ran, so it was a signal that is caught
                self.assertIn(status, (0, 143))
            self.assert_terminal_restored(vm)
            self.started.clear()

    def test_a_mebibyte_each_way(self):
        """By the serial line and Linux's terminal layer."""
        data = random.Random(1).randbytes(1 << 20)
        vm = self.run_linux("--cpus", "2", stdin="pipe",
                            ask=f"stty raw -echo; echo go ahead; head -c {len(data)} | sha256sum; stty sane; seq 150000")
        vm.expect("go ahead\n")
        vm.send(data)
        self.ends(vm, 0, SHUT_DOWN)
        self.assertIn(hashlib.sha256(data).hexdigest(), vm.output())
        self.assertIn("".join(f"{n}\n" for n in range(1, 150001)), vm.output())

    def test_harts_come_and_go(self):
        for _ in range(50):
            self.ends(self.run_tiny("hsm", "--cpus", "8"), 0, SHUT_DOWN)
            self.started.clear()
        for _ in range(50):
            self.ends(self.run_tiny("wfi", "--cpus", "8"), 0, SHUT_DOWN)
            self.started.clear()

    def test_offline_and_online(self):
        """Linux takes its harts down and up again."""
        cpu = "/sys/devices/system/cpu/cpu"
        loop = f"for i in $(seq 20); do for c in 1 2 3; do echo 0 >{cpu}$c/online; done; " \
               f"for c in 1 2 3; do echo 1 >{cpu}$c/online; done; done; nproc"
        self.assertEqual(self.ask_linux(loop, "--cpus", "4"), "4\n")

    def test_memory_is_given_back(self):
        """What VMs took is free again when they are gone."""
        def available():
            with open("/proc/meminfo", encoding="ascii") as file:
                return int(re.search(r"MemAvailable:\s+([0-9]+)", file.read())[1])
        self.ask_linux("true")
        before = available()
        for _ in range(10):
            self.ask_linux("head -c 100000000 /dev/zero >/tmp/much")
            self.started.clear()
        self.assertLess(before - available(), 64 << 10)


class Flood(NetCase):
    alone = True

    def test_a_minute(self):
        """As many frames as the host can send, for a minute; then the guest answers as ever. N03"""
        for harts in (1, 4):
            with self.subTest(harts=harts):
                vm, _, net = self.talk_to_net(harts=harts)
                self.assertGreater(self.flood(net, 60), 1000)
                ping(f"{net}.2")
                self.power_off(vm)
