"""The console between a person, a script or a file, and the guest."""

import hashlib
import random

from televm import *


def checksum(data):
    return hashlib.sha256(data).hexdigest()


class Keyboard(TestCase):
    """What keys do at a shell, whichever console it has."""

    def interrupt(self, vm):
        vm.send("echo begin$((0)); sleep 1000; echo status $?\r")
        vm.expect("begin0\n")
        time.sleep(1)  # until sleep runs: there is no sign of that
        vm.send(CTRL_C)
        vm.expect("^C")
        vm.expect("# ")

    def send_ctrl_a(self, vm):
        vm.send(CTRL_A + b"c")
        vm.expect("Ctrl-a x")
        vm.expect("Ctrl-a Ctrl-a  send Ctrl-a\n")
        vm.send("cat >/tmp/key\r")
        time.sleep(1)  # until the line editor has gone
        vm.send(CTRL_A + CTRL_A + b"\r" + CTRL_D)
        vm.send("od -An -tx1 /tmp/key\r")
        vm.expect("01 0a\n")

    def leave(self, vm):
        vm.send(CTRL_A + b"x")
        self.ends(vm, 0, "televm: VM ended: its user left\n")
        self.assert_terminal_restored(vm)


class Typing(Keyboard):
    weight = 5

    def test_session(self):
        """A person at the shell: lines, ls, Ctrl-c, the keys of televm itself."""
        vm = self.run_linux(stdin="pty")
        vm.expect("# ")
        vm.send("echo one two | tr a-z A-Z\r")
        vm.expect("ONE TWO\n")
        vm.expect("# ")
        vm.send("ls /\r")
        vm.expect(re.compile(r"\bbin\b.*\bdev\b.*\binit\b.*\bproc\b", re.DOTALL))
        vm.expect("# ")
        self.interrupt(vm)
        vm.send("echo alive $((6 * 7))\r")
        vm.expect("alive 42\n")
        self.send_ctrl_a(vm)
        self.leave(vm)

    def paste(self, size, stdin):
        data = bytearray(random.Random(size).randbytes(size))
        if stdin == "pty":
            data = data.replace(CTRL_A, b"a")
        vm = self.run_linux(ask=f"stty raw -echo; echo go ahead; head -c {size} | sha256sum", stdin=stdin)
        vm.expect("go ahead\n")
        vm.send(bytes(data))
        vm.expect(re.compile(f"{checksum(data)}  -\\s"))
        self.ends(vm, 0, SHUT_DOWN)

    def test_paste_of_4_kib(self):
        self.paste(4096, "pty")

    def test_64_kib_from_a_pipe(self):
        self.paste(65536, "pipe")

    def test_script_from_a_file(self):
        """Given from the start, and read when the guest gets there."""
        script = self.file(b"\necho from the file $((2 * 21))\npoweroff -f\n")
        with open(script, "rb") as file:
            vm = self.run_linux(stdin=file)
        self.ends(vm, 0, SHUT_DOWN)
        self.assertIn("from the file 42\n", vm.output())


class Output(TestCase):
    weight = 4

    def test_much_to_a_slow_reader(self):
        """By the serial line: the guest waits, and nothing is lost."""
        vm = self.run_linux(ask="seq 6000", stdout="unread")
        got = bytearray()
        while data := os.read(vm.out_fd, 1000):
            got += data
            time.sleep(0.001)
        self.ends(vm, 0, SHUT_DOWN)
        want = "".join(f"{n}\r\n" for n in range(1, 6001)).encode()
        self.assertIn(want, bytes(got))

    def flood(self):
        line = " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01\n"
        return "".join(f"{n:08x}{line}" for n in range(16384)) + "end of flood\n"

    def test_a_mebibyte(self):
        """By the SBI console, to a reader that takes what comes."""
        vm = self.run_tiny("flood")
        self.ends(vm, 0, SHUT_DOWN)
        self.assertEqual(vm.output(), self.flood())

    def test_a_mebibyte_to_a_file(self):
        path = self.file()
        with open(path, "wb") as file:
            vm = self.run_tiny("flood", stdout=file)
        self.ends(vm, 0, SHUT_DOWN)
        self.assertEqual(read(path).decode(), self.flood())

    def test_the_end_to_a_slow_reader(self):
        """What is left when the guest has ended takes its reader more than a second, but never that
        long for a piece."""
        want = self.flood()
        vm = self.run_tiny("flood", stdout="unread")
        got = bytearray()
        while data := os.read(vm.out_fd, 4096):
            got += data
            if len(got) > len(want) - (28 << 10):
                time.sleep(0.3)
        self.ends(vm, 0, SHUT_DOWN)
        self.assertEqual(got.decode(), want)

    def test_nobody_reads(self):
        """The guest is not held for ever: what it prints is lost, and that is told."""
        vm = self.run_tiny("flood", stdout="unread")
        self.assertEqual(vm.wait(), 0)
        self.assertRegex(vm.errors(), "console: [0-9]+ bytes of output are lost")
        self.assertTrue(vm.errors().endswith(SHUT_DOWN))

    def test_nobody_reads_linux(self):
        vm = self.run_linux(ask="seq 6000", stdout="unread")
        self.assertEqual(vm.wait(), 0)
        self.assertTrue(vm.errors().endswith(SHUT_DOWN))

    def test_reader_is_gone(self):
        vm = self.run_tiny("flood", stdout="unread")
        os.read(vm.out_fd, 10)
        os.close(vm.out_fd)
        vm.out_fd = None
        self.assertEqual(vm.wait(), 0)
        self.assertIn("output is dropped from now on", vm.errors())
        self.assertTrue(vm.errors().endswith(SHUT_DOWN))

    def test_full_device(self):
        with open("/dev/full", "wb") as full:
            vm = self.run_tiny("flood", stdout=full)
        self.assertEqual(vm.wait(), 0)
        self.assertTrue(vm.errors().endswith(SHUT_DOWN))


class Input(TestCase):
    """Every kind of standard input, with a guest that echoes."""

    def test_pipe(self):
        vm = self.run_tiny("echo", stdin="pipe")
        vm.send(b"\x01x is no key here\n" + CTRL_D)
        self.ends(vm, 0, SHUT_DOWN)
        self.assertEqual(vm.output(), "ready\n\x01x is no key here\nbye\n")

    def test_end_of_a_pipe(self):
        """It is not told to the guest, which goes on."""
        vm = self.run_tiny("echo", stdin="pipe")
        vm.send("abc")
        vm.close_input()
        vm.expect("abc")
        time.sleep(0.5)
        self.assertIsNone(vm.process.poll())
        vm.signal(signal.SIGTERM)
        self.ends(vm, 143)

    def test_file(self):
        content = bytes(range(32, 127)) * 50 + b"\n"
        with open(self.file(content + CTRL_D), "rb") as file:
            vm = self.run_tiny("echo", stdin=file)
        self.ends(vm, 0, SHUT_DOWN)
        self.assertEqual(vm.output().encode(), b"ready\n" + content + b"bye\n")

    def waits(self, **streams):
        """It runs without input, and reads nothing that is not meant for it."""
        vm = self.run_tiny("echo", **streams)
        vm.expect("ready\n")
        time.sleep(0.5)
        self.assertIsNone(vm.process.poll())
        vm.signal(signal.SIGTERM)
        self.ends(vm, 143)
        self.assertEqual(vm.output(), "ready\n")

    def test_null(self):
        self.waits(stdin="null")

    def test_closed(self):
        self.waits(stdin="closed")

    def test_folder(self):
        fd = os.open("/", os.O_RDONLY)
        self.addCleanup(os.close, fd)
        self.waits(stdin=fd)

    def test_all_closed(self):
        vm = self.run_tiny("hello", stdin="closed", stdout="closed", preexec=lambda: os.close(2))
        self.assertEqual(vm.wait(), 0)

    def test_output_closed(self):
        self.ends(self.run_tiny("hello", stdin="pipe", stdout="closed"), 0)

    def test_terminal_to_file(self):
        """Keys from a terminal, output to a file: help comes on the terminal."""
        path = self.file()
        with open(path, "wb") as file:
            vm = self.run_tiny("echo", stdin="pty", stdout=file)
        end = time.monotonic() + PATIENCE
        while read(path) != b"ready\n" and time.monotonic() < end:
            time.sleep(0.05)
        vm.send(CTRL_A + b"c")
        vm.expect("Ctrl-a x")
        vm.send(b"abc" + CTRL_D)
        self.ends(vm, 0, SHUT_DOWN)
        self.assertEqual(read(path), b"ready\nabcbye\n")
        self.assert_terminal_restored(vm)


class Keys(TestCase):
    def start(self):
        vm = self.run_tiny("echo", stdin="pty")
        vm.expect("ready\n")
        return vm

    def test_terminal_is_raw_meanwhile(self):
        vm = self.start()
        mode = termios.tcgetattr(vm.slave)
        self.assertEqual(mode[3] & (termios.ICANON | termios.ECHO | termios.ISIG), 0)
        vm.send(CTRL_D)
        self.ends(vm, 0, SHUT_DOWN)
        self.assert_terminal_restored(vm)

    def test_leave(self):
        vm = self.start()
        vm.send(b"abc" + CTRL_A + b"x")
        self.ends(vm, 0, "televm: VM ended: its user left\n")
        self.assert_terminal_restored(vm)

    def test_reboot(self):
        vm = self.start()
        vm.send(CTRL_R)
        self.ends(vm, 0, REBOOTED)
        self.assert_terminal_restored(vm)

    def test_every_byte(self):
        """All bytes but those that the guest ends by, and Ctrl-a twice for once."""
        vm = self.start()
        keys = bytes(set(range(256)) - {1, 4, 18})
        vm.send(keys + CTRL_A + CTRL_A + CTRL_A + b"q" + b"." + CTRL_D)
        self.ends(vm, 0, SHUT_DOWN)
        self.assertEqual(bytes(vm.out.bytes).split(b"ready\n")[1], keys + b"\x01\x01q.bye\n")

    def test_ctrl_a_alone_waits(self):
        vm = self.start()
        vm.send(CTRL_A)
        time.sleep(0.3)
        vm.send("x")
        self.ends(vm, 0, "televm: VM ended: its user left\n")


class Virtio(Keyboard):
    """--console virtio: the same, a line or more at a time."""

    weight = 4
    FLAGS = ("--console", "virtio")

    def test_session(self):
        for harts in (1, 4):
            with self.subTest(harts=harts):
                vm = self.run_linux(*self.FLAGS, "--cpus", str(harts), stdin="pty")
                vm.expect("# ")
                vm.send("cat /sys/class/tty/console/active; echo one two | tr a-z A-Z\r")
                vm.expect("\nhvc0\n")
                vm.expect("ONE TWO\n")
                vm.expect("# ")
                self.interrupt(vm)
                self.send_ctrl_a(vm)
                self.leave(vm)

    def test_size_of_the_terminal(self):
        fd, terminal = pty.openpty()
        self.addCleanup(os.close, fd)
        self.addCleanup(os.close, terminal)
        termios.tcsetwinsize(terminal, (37, 111))
        vm = self.run_linux(*self.FLAGS, ask="stty size", stdin=terminal)
        self.ends(vm, 0, SHUT_DOWN)
        self.assertIn("\n37 111\n", vm.output())

    def test_much(self):
        """More than is kept for a reader. Linux sends 16 bytes at a time, and waits for each."""
        for harts in (1, 4):
            with self.subTest(harts=harts):
                vm = self.run_linux(*self.FLAGS, "--cpus", str(harts), ask="seq 4000")
                self.ends(vm, 0, SHUT_DOWN)
                self.assertIn("".join(f"{n}\n" for n in range(1, 4001)), vm.output())

    def test_much_to_a_slow_reader(self):
        vm = self.run_linux(*self.FLAGS, ask="seq 8000", stdout="unread")
        got = bytearray()
        while data := os.read(vm.out_fd, 2000):
            got += data
            time.sleep(0.001)
        self.ends(vm, 0, SHUT_DOWN)
        self.assertIn("".join(f"{n}\r\n" for n in range(1, 8001)).encode(), bytes(got))

    def test_nobody_reads(self):
        vm = self.run_linux(*self.FLAGS, ask="seq 8000", stdout="unread")
        self.assertEqual(vm.wait(), 0)
        self.assertRegex(vm.errors(), "console: [0-9]+ bytes of output are lost")
        self.assertTrue(vm.errors().endswith(SHUT_DOWN))

    def test_64_kib_from_a_pipe(self):
        # Ctrl-o is the SysRq key of Linux's hvc consoles.
        data = random.Random(1).randbytes(65536).replace(b"\x0f", b"o")
        vm = self.run_linux(*self.FLAGS, ask=f"stty raw -echo; echo go ahead; head -c {len(data)} | sha256sum", stdin="pipe")
        vm.expect("go ahead\n")
        vm.send(data)
        vm.expect(re.compile(f"{checksum(data)}  -\\s"))
        self.ends(vm, 0, SHUT_DOWN)

    def test_log(self):
        """What the kernel prints from when its driver is there on; what came before it keeps for dmesg."""
        vm = self.run_linux(*self.FLAGS, append="earlycon=sbi", ask="echo from user space; dmesg | grep 'Linux version'")
        self.ends(vm, 0, SHUT_DOWN)
        places = [vm.output().index(text) for text in ("Run /init as init process\n", "from user space\n", "Linux version")]
        self.assertEqual(places, sorted(places))

    def test_panic(self):
        vm = self.run_linux(*self.FLAGS, append="quiet televm.end=panic", ask="true")
        self.ends(vm, 3, "televm: VM ended: the guest's kernel panicked\n")
        self.assertIn("Kernel panic", vm.output())

    def test_driver_comes_and_goes(self):
        """The last word is on the serial line of nobody, so it is asked afterwards what happened."""
        vm = self.talk_to_linux(*self.FLAGS, append="loglevel=1")
        driver = "/sys/bus/virtio/drivers/virtio_console"
        device = vm.ask(f"ls {driver} | grep ^virtio").strip()
        # The shell's terminal hangs up with the device; who ignores that goes on, and opens it anew.
        vm.send(f"(trap '' HUP; sleep 0.5; echo {device} >{driver}/unbind; echo {device} >{driver}/bind; sleep 0.5; "
                "echo back again >/dev/hvc0; poweroff) </dev/null >/dev/null 2>&1 &\n")
        self.ends(vm, 0, SHUT_DOWN)
        self.assertIn("back again\n", vm.output())
