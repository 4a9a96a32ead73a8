"""What a running Linux finds: its clock, devices, device tree. One guest serves all questions."""

from televm import *

# A shell without prompt, echo and line editing: a line with the status follows each answer.
SHELL = "stty -echo; echo shell is up; while read -r line; do eval $line; echo status=$?; done"
TREE = "/sys/firmware/devicetree/base"


class Shell(TestCase):
    weight = 4

    @classmethod
    def setUpClass(cls):
        cls.vm = Televm("run", "--kernel", IMAGE, "--initrd", INITRAMFS, "--cpus", "2", "--append",
                        f'quiet televm.exec="{SHELL}"', stdin="pty")
        cls.shared = [cls.vm]
        cls.addClassCleanup(cls.vm.stop)
        try:
            cls.vm.expect("shell is up\n")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{cls.vm.report()}") from None

    def ask(self, command, status=0):
        self.vm.send(command + "\r")
        answer = self.vm.expect(re.compile(r"(.*?)status=([0-9]+)\n", re.DOTALL))
        self.assertEqual(int(answer[2]), status, answer[0])
        return answer[1]

    def names(self, path):
        """The strings of a property."""
        return self.ask(f"tr '\\000' '\\n' <{TREE}/{path}").split()

    def cells(self, path):
        """The numbers of a property of 32-bit cells."""
        return [int(word, 16) for word in self.ask(f"od -An -v -tx1 {TREE}/{path} | tr -d ' \\n' | sed 's/......../& /g'").split()]

    def test_wall_clock(self):
        """Set at boot from the clock device: not 1970, and the host's within a few seconds."""
        before = int(time.time())
        got = int(self.ask("date +%s"))
        after = time.time()
        self.assertGreaterEqual(got, before - 5)
        self.assertLessEqual(got, after + 5)

    def test_sleep(self):
        """A second is about a second by the guest's own clock."""
        got = self.ask("cat /proc/uptime; sleep 1; cat /proc/uptime").split()
        took = float(got[2]) - float(got[0])
        self.assertGreaterEqual(took, 0.98)
        self.assertLess(took, 30)

    def test_random_is_ready_early(self):
        """Seeded by the device tree before anything can ask."""
        log = self.ask("dmesg")
        self.assertIn("random: crng init done", log)
        self.assertLess(log.index("random: crng init done"), log.index("smp: Bringing up secondary CPUs"))

    def test_serial_interrupts(self):
        def count():
            return sum(int(word) for word in self.ask("grep ttyS0 /proc/interrupts").split()[1:3])
        before = count()
        self.ask("seq 1000 >/dev/null; echo some output")
        self.assertGreater(count(), before)

    def test_ipis(self):
        """Both harts run what is asked of them."""
        for hart in (0, 1):
            self.ask(f"taskset {1 << hart} true || true")
        self.assertEqual(self.ask("cat /sys/devices/system/cpu/online"), "0-1\n")

    def test_machine(self):
        self.assertEqual(self.names("compatible")[0], "televm,microvm")
        self.assertIn("/soc/serial@40002000:115200n8", self.names("chosen/stdout-path"))
        self.assertIn("console=ttyS0 panic=1 quiet", self.ask("cat /proc/cmdline"))

    def test_harts(self):
        for hart in (0, 1):
            cpu = f"cpus/cpu@{hart}"
            self.assertEqual(self.names(f"{cpu}/compatible"), ["riscv"])
            self.assertEqual(self.names(f"{cpu}/mmu-type"), ["riscv,sv39"])
            self.assertEqual(self.names(f"{cpu}/riscv,isa-base"), ["rv64i"])
            extensions = self.names(f"{cpu}/riscv,isa-extensions")
            for letter in "imafdc":
                self.assertIn(letter, extensions)
            self.assertNotIn("h", extensions)
            old = self.names(f"{cpu}/riscv,isa")[0]
            self.assertTrue(old.startswith("rv64imafdc"), old)
            self.assertEqual(set(extensions), set(old.split("_")[1:]) | set(old.split("_")[0][4:]))
        self.assertGreater(self.cells("cpus/timebase-frequency")[0], 0)

    def test_isa_is_the_hosts(self):
        """What Linux in the guest says it has is no more than what the host has."""
        def extensions(cpuinfo):
            isa = re.search(r"isa\s*: (rv64\S+)", cpuinfo)[1]
            return set(isa.split("_")[1:]) | set(isa.split("_")[0][4:])
        ours = extensions(self.ask("cat /proc/cpuinfo"))
        with open("/proc/cpuinfo", encoding="ascii") as file:
            theirs = extensions(file.read())
        self.assertLessEqual(ours - theirs, {"ssaia"} if HAS_AIA else set())

    def test_interrupt_controller(self):
        found = self.ask(f"ls {TREE}/soc").split()
        if HAS_AIA:
            self.assertIn("interrupt-controller@d000000", found)
            self.assertIn("interrupt-controller@28000000", found)
        else:
            self.assertIn("interrupt-controller@c000000", found)

    def test_no_complaints(self):
        """The kernel has nothing to complain about but what is no matter of ours."""
        self.assertEqual(self.ask("dmesg -r | grep '^<[0-3]>'", status=1), "")
