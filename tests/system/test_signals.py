"""Signals sent to televm: the VM ends, the terminal is as before, the status says which."""

import glob

from televm import *

STOPPED = {signal.SIGTERM: "Terminated", signal.SIGINT: "Interrupt"}
FATAL = {  # exit statuses as Firecracker has them
    signal.SIGSYS: 148, signal.SIGBUS: 149, signal.SIGSEGV: 150, signal.SIGXFSZ: 151, signal.SIGXCPU: 154,
    signal.SIGHUP: 156, signal.SIGILL: 157,
}
# Those for which Firecracker has no status: the process dies of them.
DEADLY = (signal.SIGABRT, signal.SIGQUIT, signal.SIGFPE, signal.SIGTRAP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM,
          signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGPWR, signal.SIGSTKFLT, signal.SIGRTMIN,
          signal.SIGRTMIN + 2, signal.SIGRTMAX)


class Signals(TestCase):
    def start(self, *arguments, stdin="pty", **how):
        vm = self.run_tiny("echo", *arguments, stdin=stdin, **how)
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
        self.ends(vm, 143, "televm: VM ended: Terminated\n")
        self.assert_terminal_restored(vm)

    def test_fatal(self):
        for number, status in [*FATAL.items(), *((number, -number) for number in DEADLY)]:
            with self.subTest(signal=int(number)):
                vm = self.start()
                vm.signal(number)
                self.ends(vm, status, "televm: error: Shutting down VM after intercepting signal "
                                      f"{int(number)}, code 0.\n")
                self.assert_terminal_restored(vm)

    def test_terminal_is_closed(self):
        vm = self.start()
        vm.hang_up()
        self.assertEqual(vm.wait(), 156)

    def test_ignored_by_who_started_it(self):
        """As nohup does, and a script's shell for what it runs in the background."""
        ignored = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)

        def ignore():
            for number in ignored:
                signal.signal(number, signal.SIG_IGN)
        vm = self.start(stdin="pipe", preexec=ignore)
        for number in ignored:
            vm.signal(number)
        vm.send(b"still here" + CTRL_D)
        vm.expect("still here")
        self.ends(vm, 0, SHUT_DOWN)

    def test_raw_again_after_a_stop(self):
        """Whoever had the terminal meanwhile has set another mode."""
        vm = self.start()
        raw = termios.tcgetattr(vm.slave)
        vm.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, vm.pid, os.WSTOPPED | os.WNOWAIT)
        termios.tcsetattr(vm.slave, termios.TCSANOW, vm.mode_before)
        vm.signal(signal.SIGCONT)
        end = time.monotonic() + PATIENCE
        while termios.tcgetattr(vm.slave) != raw and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(termios.tcgetattr(vm.slave), raw)
        vm.send(b"still here" + CTRL_D)
        vm.expect("still here")
        self.ends(vm, 0, SHUT_DOWN)
        self.assert_terminal_restored(vm)

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
