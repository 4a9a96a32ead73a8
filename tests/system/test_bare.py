"""Guests of a few instructions (guests/*.S): SBI, harts, waits, addresses without anything."""

from televm import *


class Bare(TestCase):
    def output_of(self, name, *arguments):
        vm = self.run_tiny(name, *arguments)
        self.ends(vm, 0, SHUT_DOWN)
        return vm.output()

    def test_hello(self):
        for harts in (1, 32):
            with self.subTest(harts=harts):
                self.assertEqual(self.output_of("hello", "--cpus", str(harts)), "hello\n")

    def test_log_level(self):
        vm = self.run_tiny("hello", "--log-level", "error")
        self.ends(vm, 0, "")

    def test_sbi(self):
        """What KVM answers and what televm does: odd calls are refused, and end nothing."""
        got = self.output_of("sbi", "--cpus", "2")
        found = {}
        for line in got.splitlines():
            name, colon, values = line.rpartition(": ")
            if colon:
                found[name] = values
        def error(name):
            return int(found[name].split()[0], 16)
        not_supported, invalid, address, already = -2, -3, -5, -6
        self.assertEqual(found["unknown extension"], "-2 0")
        self.assertEqual(found["unknown function"], "-2 0")
        self.assertEqual(found["implementation"], "0 3")  # KVM
        self.assertEqual(found["probe SRST"], "0 1")
        self.assertEqual(found["probe DBCN"], "0 1")
        self.assertEqual(found["probe unknown"], "0 0")
        self.assertEqual(found["write nothing"], "0 0")
        for name in ("write from no RAM", "write from above 2^64", "write nearly 2^64 bytes",
                     "write over the end of RAM", "read to no RAM"):
            self.assertEqual(found[name], "-3 0", name)
        self.assertEqual(found["read without input"], "0 0")
        self.assertEqual(found["Awrite a byte"], "0 0")
        self.assertEqual(found["status of hart 1"], "0 1")
        self.assertEqual(found["status of hart 0"], "0 0")
        self.assertIn(error("status of hart 77"), (invalid, 0))  # 0 from KVM of Linux 6.12
        self.assertEqual(error("start hart 0"), already)
        self.assertEqual(error("start hart 77"), invalid)
        self.assertIn(error("suspend oddly"), (invalid, not_supported))
        self.assertEqual(error("HSM function 9"), not_supported)
        self.assertIn(error("IPI to hart 65"), (0, invalid, address))  # as KVM likes
        self.assertIn(error("reset of type 9"), (invalid, not_supported))
        self.assertIn("legacy putchar came back\n", got)

    def test_harts_come_and_go(self):
        self.assertEqual(self.output_of("hsm", "--cpus", "1"), "refused: -3\n")
        for harts in (2, 5):
            with self.subTest(harts=harts):
                self.assertEqual(self.output_of("hsm", "--cpus", str(harts)),
                                 f"others: {harts - 1:x} starts: {50 * (harts - 1):x} then: -3\n"
                                 "the other hart ends it\n")

    def test_waits(self):
        """Every hart sleeps until its timer or another hart wakes it, many times."""
        for harts in (1, 4):
            for irqchip in ("auto", "plic"):
                with self.subTest(harts=harts, irqchip=irqchip):
                    self.assertEqual(self.output_of("wfi", "--cpus", str(harts), "--irqchip", irqchip),
                                     f"harts: {harts:x}\nall woke up\n")

    def test_alarm(self):
        """The clock's interrupt: it comes when it is time, and goes when it is answered."""
        self.assertEqual(self.output_of("alarm", "--irqchip", "plic"), "claimed 2 and done\n")
        if HAS_AIA:
            self.assertEqual(self.output_of("alarm_aia", "--irqchip", "aia"), "claimed 5 and done\n")

    def test_interrupt_of_a_hart_that_was_stopped(self):
        """KVM resets a hart that is started again, so the PLIC has to tell it once more."""
        self.assertEqual(self.output_of("restart", "--cpus", "2", "--irqchip", "plic"), "claimed 2 and done\n")

    def test_csrs(self):
        """Each access to a CSR of the hypervisor is an exception of the guest's, and nothing else."""
        self.assertEqual(self.output_of("csrs"), "traps: fa0\n")

    def test_no_hart_is_left(self):
        """The last hart may stop itself; the machine can still be ended."""
        vm = self.run_tiny("stop")
        vm.expect("going\n")
        vm.signal(signal.SIGTERM)
        self.ends(vm, 143)
        self.assertEqual(vm.output(), "going\n")

    def test_holes(self):
        """Loads and stores where nothing is: zeros, no effect, no end."""
        got = self.output_of("mmio")
        self.assertIn("scratch: 5a\n", got)
        self.assertIn("\nU\n", got)
        self.assertIn("still here\n", got)
        for name in ("hole byte", "hole word", "hole doubleword", "below all", "far above RAM"):
            self.assertRegex(got, rf"(?m)^{name}: (0|f+)$")


class Stuck(TestCase):
    """What KVM cannot go on with: status 4 and a report."""

    def test_nowhere(self):
        vm = self.run_tiny("nowhere")
        self.assertEqual(vm.wait(), 4)
        self.assertEqual(vm.output(), "going\n")
        errors = vm.errors().splitlines()
        self.assertRegex(errors[0], "^televm: error: vCPU 0 stopped: .*not RAM")
        self.assertIn("pc 0x60000000 (S-mode) sp 0x80abc000 ra 0x5678", errors[1])
        self.assertIn("scause 0x8000000000000005 stval 0x1234 sepc 0x", errors[2])
        self.assertRegex(errors[3], "last SBI call to the monitor: DBCN .*function 0, a0 0x6 a1 0x8020")
        self.assertEqual(errors[4:], ["televm: VM ended: it cannot go on"])

    def test_other_hart_astray(self):
        vm = self.run_tiny("astray", "--cpus", "2")
        self.assertEqual(vm.wait(), 4)
        self.assertRegex(vm.errors(), r"vCPU 1 stopped: .*not RAM\ntelevm: error:   pc 0x60000000 ")

    def test_page_tables_that_are_a_device(self):
        """Only its own time: either KVM cannot go on, or the hart tries for ever."""
        vm = self.run_tiny("walk")
        vm.expect("going\n")
        time.sleep(1)
        vm.signal(signal.SIGTERM)
        self.assertIn(vm.wait(), (4, 143))
        self.assertEqual(vm.output(), "going\n")

    def test_no_trap_vector(self):
        vm = self.run_tiny("vectorless")
        self.assertEqual(vm.wait(), 4)
        # Where it then is, is up to the host: emulated ones tell an address of their own.
        self.assertRegex(vm.errors(), r"pc 0x[0-9a-f]+ \(S-mode\) sp 0x8020")

    def test_terminal(self):
        vm = self.run_tiny("nowhere", stdin="pty")
        self.assertEqual(vm.wait(), 4)
        self.assert_terminal_restored(vm)


class Descriptors(TestCase):
    def test_only_what_is_needed(self):
        """A VM that runs holds no other files than its own, and would hand none of them on."""
        vm = self.run_tiny("echo", "--initrd", INITRAMFS, "--cpus", "2")
        vm.expect("ready\n")
        links = {}
        for fd in os.listdir(f"/proc/{vm.pid}/fd"):
            links[int(fd)] = os.readlink(f"/proc/{vm.pid}/fd/{fd}")
            with open(f"/proc/{vm.pid}/fdinfo/{fd}", encoding="ascii") as file:
                flags = int(re.search(r"flags:\s*([0-7]+)", file.read())[1], 8)
            self.assertTrue(int(fd) <= 2 or flags & os.O_CLOEXEC, links[int(fd)])
        files = sorted(path for fd, path in links.items() if fd > 2 and path.startswith("/"))
        self.assertEqual(files, sorted(["/dev/kvm", tiny("echo"), INITRAMFS]))
        self.assertEqual(sum("kvm-vcpu" in path for path in links.values()), 2)
        self.assertEqual(sum("kvm-vm" in path for path in links.values()), 1)
        vm.signal(signal.SIGTERM)
        self.ends(vm, 143)
