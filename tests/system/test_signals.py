"""Signals sent to televm: the VM ends, the terminal is as before, the status says which."""

import glob

from televm import *

STOPPED = {signal.SIGTERM: "Terminated", signal.SIGINT: "Interrupt"}
FATAL = {  # exit statuses as Firecracker has them
    signal.SIGSYS: 148, signal.SIGBUS: 149, signal.SIGSEGV: 150, signal.SIGXFSZ: 151, signal.SIGXCPU: 154,
    signal.SIGHUP: 156, signal.SIGILL: 157,
}


class Signals(TestCase):
    def start(self, *arguments, stdin="pty"):
        vm = self.run_tiny("echo", *arguments, stdin=stdin)
        vm.expect("ready\n")
        return vm

    def test_orderly(self):
        for number, name in STOPPED.items():
            with self.subTest(number.name):
                vm = self.start("--cpus", "3")
                vm.signal(number)
                self.ends(vm, 128 + number, f"televm: VM ended: {name}\n")
                self.assert_terminal_restored(vm)

    def test_again_and_again(self):
        vm = self.start()
        for _ in range(20):
            vm.signal(signal.SIGTERM)
        self.assertIn(vm.wait(), (143, -signal.SIGTERM))
        self.assert_terminal_restored(vm)

    def test_fatal(self):
        for number, status in FATAL.items():
            with self.subTest(number.name):
                vm = self.start()
                vm.signal(number)
                self.ends(vm, status, "televm: error: Shutting down VM after intercepting signal "
                                      f"{int(number)}, code 0.\n")
                self.assert_terminal_restored(vm)

    def test_terminal_is_closed(self):
        vm = self.start()
        vm.hang_up()
        self.assertEqual(vm.wait(), 156)

    def test_no_harm(self):
        """Those that a monitor lives through."""
        vm = self.start()
        for number in (signal.SIGPIPE, signal.SIGWINCH, signal.SIGCHLD, signal.SIGRTMIN + 1, signal.SIGURG):
            vm.signal(number)
        vm.signal(signal.SIGSTOP)
        time.sleep(0.2)
        vm.signal(signal.SIGCONT)
        vm.send(b"still here" + CTRL_D)
        vm.expect("still here")
        self.ends(vm, 0, SHUT_DOWN)

    def test_kill_leaves_nothing(self):
        def files():
            return sorted(glob.glob("/dev/shm/*") + glob.glob("/run/*televm*"))
        before = files()
        vm = self.start("--cpus", "2", stdin="pipe")
        with open(f"/proc/{vm.pid}/task/{vm.pid}/children", encoding="ascii") as children:
            self.assertEqual(children.read(), "")
        vm.signal(signal.SIGKILL)
        self.assertEqual(vm.wait(), -signal.SIGKILL)
        self.assertEqual(files(), before)

    def test_while_linux_boots(self):
        vm = self.run_linux("--cpus", "2", append="", stdin="pty")
        vm.expect("Linux version")
        vm.signal(signal.SIGTERM)
        self.ends(vm, 143, "televm: VM ended: Terminated\n")
        self.assert_terminal_restored(vm)
