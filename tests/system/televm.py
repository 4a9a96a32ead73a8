"""Starts televm and talks to it: what the tests of this folder share. Runs in the emulated host."""

import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import termios
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
TELEVM = shutil.which("televm") or "/usr/share/televm/bin/televm"
SHARE = "/usr/share/televm"
IMAGE = f"{SHARE}/Image"
INITRAMFS = f"{SHARE}/initramfs.cpio"
DEBIAN_IMAGE = f"{SHARE}/Image.debian"
DEBIAN_INITRAMFS = f"{SHARE}/initramfs.debian.cpio"
ROOTFS = f"{SHARE}/rootfs.ext4"

HOST = os.environ.get("TELEVM_HOST", "aia")
HAS_AIA = HOST not in ("plic", "nosstc")

# Seconds that one step may take. The machine may be slow and shared, so this only ends what hangs.
PATIENCE = 240

MIB = 1 << 20

# A shell without prompt, echo and line editing: a line with the status follows each answer.
TALK = "stty -echo; echo shell is up; while set -f; read -r line; do eval 'set +f;' $line; echo status=$?; done"

CTRL_A, CTRL_C, CTRL_D, CTRL_R = b"\x01", b"\x03", b"\x04", b"\x12"

REACHED = "televm-guest: user space reached"
SHUT_DOWN = "televm: VM ended: the guest shut down\n"
REBOOTED = "televm: VM ended: the guest asked for a reboot\n"


def tiny(name):
    """The kernel built from guests/NAME.S."""
    return f"{HERE}/guests/{name}.bin"


class Stream:
    """Reads a file descriptor to its end, in a thread, and keeps what came."""

    def __init__(self, fd, changed):
        self.fd = fd
        self.changed = changed  # a condition
        self.bytes = bytearray()
        self.ended = False
        self.wake = os.eventfd(0)
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while self.wake not in select.select([self.fd, self.wake], [], [])[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:  # EIO: nobody has the terminal any more
                data = b""
            with self.changed:
                self.bytes += data
                self.ended = not data
                self.changed.notify_all()
            if not data:
                return

    def text(self):
        """As a reader sees it: a terminal's line ends are line ends."""
        return self.bytes.decode(errors="replace").replace("\r\n", "\n")

    def stop(self):
        """Read no more."""
        if self.wake is not None:
            os.eventfd_write(self.wake, 1)
            self.thread.join()
            os.close(self.wake)
            self.wake = None


class Televm:
    """A televm process. Its output is collected as it comes.

    stdin: "null", "pty" (standard output is the terminal too), "pipe", "closed", or a descriptor
    stdout: "pipe", "unread" (a pipe that holds 4 KiB and is only read by who started it), "closed",
    or a descriptor
    """

    def __init__(self, *arguments, stdin="null", stdout="pipe", program=None, preexec=None):
        self.arguments = [*(program or [TELEVM]), *arguments]
        self.changed = threading.Condition()
        self.seen = 0
        self.out = None
        self.master = self.slave = self.out_fd = self.in_fd = None
        theirs, closed = [], []
        if stdin == "pty":
            self.master, self.slave = pty.openpty()
            self.mode_before = termios.tcgetattr(self.slave)
            self.in_fd, stdin_fd = self.master, self.slave
            if stdout == "pipe":
                stdout = self.slave
        elif stdin == "pipe":
            stdin_fd, self.in_fd = os.pipe()
            theirs.append(stdin_fd)
        elif stdin == "null":
            stdin_fd = subprocess.DEVNULL
        elif stdin == "closed":
            stdin_fd = None
            closed.append(0)
        else:
            stdin_fd = stdin
        if stdout in ("pipe", "unread"):
            out_fd, stdout_fd = os.pipe()
            theirs.append(stdout_fd)
            self.out_fd = out_fd
            if stdout == "unread":
                fcntl.fcntl(out_fd, fcntl.F_SETPIPE_SZ, 4096)
        elif stdout == "closed":
            stdout_fd = None
            closed.append(1)
        else:
            stdout_fd = stdout

        def prepare():
            if self.slave is not None:
                os.setsid()
                fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
            for fd in closed:
                os.close(fd)
            if preexec:
                preexec()

        self.process = subprocess.Popen(self.arguments, stdin=stdin_fd, stdout=stdout_fd,
                                        stderr=subprocess.PIPE, preexec_fn=prepare)
        self.pid = self.process.pid
        for fd in theirs:
            os.close(fd)
        self.err = Stream(self.process.stderr.fileno(), self.changed)
        if self.master is not None:
            self.out = Stream(self.master, self.changed)
        elif stdout == "pipe":
            self.out = Stream(self.out_fd, self.changed)

    def output(self):
        return self.out.text() if self.out else ""

    def errors(self):
        return self.err.text()

    def expect(self, pattern):
        """Wait until the pattern (a text or a compiled expression) comes in the output, behind what
        was expected before. Returns the match."""
        match = self.wait_for(pattern, self.out, self.seen)
        self.seen = match.end()
        return match

    def expect_error(self, pattern):
        """The same for standard error, from its beginning."""
        return self.wait_for(pattern, self.err, 0)

    def wait_for(self, pattern, stream, start):
        if isinstance(pattern, str):
            pattern = re.compile(re.escape(pattern))
        end = time.monotonic() + PATIENCE
        with self.changed:
            while not (match := pattern.search(stream.text(), start)):
                if stream.ended:
                    raise AssertionError(f"it ended without {pattern.pattern!r}")
                if time.monotonic() > end:
                    raise AssertionError(f"{pattern.pattern!r} did not come in {PATIENCE} s")
                if self.process.poll() is not None:
                    self.after()
                self.changed.wait(1)
        return match

    def send(self, data):
        """Type or write all of it."""
        data = data.encode() if isinstance(data, str) else data
        begin = time.monotonic()
        os.set_blocking(self.in_fd, False)
        while data:
            _, ready, _ = select.select([], [self.in_fd], [], 1)
            if ready:
                with contextlib.suppress(BlockingIOError):
                    data = data[os.write(self.in_fd, data):]
            elif time.monotonic() - begin > PATIENCE:
                raise AssertionError(f"{len(data)} bytes of input were not taken in {PATIENCE} s")

    def ask(self, command, status=0):
        """Have the guest's shell (of talk_to_linux) run a command; returns what it printed. status: what
        it ends with, or None if any will do."""
        end = "" if command.endswith("&") else ";"
        self.send(f"{{ {command}{end} }} </dev/null\n")
        answer = self.expect(re.compile(r"(.*?)status=([0-9]+)\n", re.DOTALL))
        if status is not None and int(answer[2]) != status:
            raise AssertionError(f"{command!r} ended with status {answer[2]}, not {status}: {answer[1]}")
        return answer[1]

    def close_input(self):
        os.close(self.in_fd)
        self.in_fd = None

    def hang_up(self):
        """Take the terminal away."""
        self.out.stop()
        os.close(self.slave)
        os.close(self.master)
        self.slave = self.master = self.in_fd = None

    def signal(self, number):
        self.process.send_signal(number)

    def after(self):
        """The process is gone: keep the terminal's mode and let go of it."""
        if self.slave is not None:
            self.mode_after = termios.tcgetattr(self.slave)
            os.close(self.slave)
            self.slave = None

    def wait(self):
        """Wait for the end and return the exit status (negative: killed by a signal)."""
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end in {PATIENCE} s") from None
        self.after()
        for stream in (self.out, self.err):
            if stream:
                stream.thread.join(PATIENCE)
        return status

    def stop(self):
        """Kill it if it still runs, and give back what it took."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.after()
        for stream in (self.out, self.err):
            if stream:
                stream.stop()
        self.process.stderr.close()
        for fd in {self.in_fd, self.out_fd, self.master} - {None}:
            with contextlib.suppress(OSError):
                os.close(fd)
        self.in_fd = self.out_fd = self.master = None

    def report(self):
        def tail(text):
            lines = text.rstrip("\n").split("\n")
            return "\n".join("    " + line for line in lines[-40:])
        status = self.process.poll()
        return (f"  command: {' '.join(self.arguments)}\n"
                f"  status: {'still running' if status is None else status}\n"
                f"  its output ends with:\n{tail(self.output())}\n"
                f"  its errors end with:\n{tail(self.errors())}\n")


class TestCase(unittest.TestCase):
    """A test of microVMs. What it started is in its report when it fails, and is stopped after it."""

    alone = False  # not beside another class
    weight = 1  # heavier classes are begun earlier

    started = ()

    def setUp(self):
        self.started = []

    def keep(self, vm):
        self.started.append(vm)
        self.addCleanup(vm.stop)
        return vm

    def run_televm(self, *arguments, **streams):
        """Start `televm run` with these arguments."""
        return self.keep(Televm("run", *arguments, **streams))

    def run_tiny(self, name, *arguments, **streams):
        """Start one of the guests of a few instructions."""
        return self.run_televm("--kernel", tiny(name), *arguments, **streams)

    def run_linux(self, *arguments, ask=None, append="quiet", kernel=IMAGE, initrd=INITRAMFS, **streams):
        """Start Linux; ask: what its user space is to run."""
        if ask is not None:
            append += f' televm.exec="{ask}"'
        vm = self.run_televm("--kernel", kernel, "--initrd", initrd, "--append", append, *arguments, **streams)
        pin_vcpus(vm, int(arguments[arguments.index("--cpus") + 1]) if "--cpus" in arguments else 1)
        return vm

    def ask_linux(self, ask, *arguments, **how):
        """Run Linux to its end and return what the command printed."""
        vm = self.run_linux(*arguments, ask=ask, **how)
        self.ends(vm, 0, SHUT_DOWN)
        match = re.search(re.escape(REACHED) + r"[^\n]*\n(.*)televm-guest: exit status 0\n", vm.output(), re.DOTALL)
        self.assertTrue(match, "the command did not end with status 0")
        return match[1]

    def talk_to_linux(self, *arguments, append="loglevel=1", **how):
        """Start Linux with a shell that `ask` of what is returned talks to."""
        vm = self.run_linux(*arguments, ask=TALK, append=append, stdin="pipe", **how)
        vm.expect("shell is up\n")
        return vm

    def mount_debian(self, vm, disk):
        """In a Linux whose disk is the root file system: /mnt is that Debian, to chroot into, with a place to write."""
        vm.ask(f"mount -t ext4 -o ro,noload /dev/{disk} /mnt && mount -t tmpfs tmp /mnt/tmp && "
               "mount --bind /dev /mnt/dev && mount --bind /proc /mnt/proc")

    def power_off(self, vm, errors=SHUT_DOWN):
        """End a Linux that was talked to; errors: as of `ends`."""
        vm.send("poweroff\n")
        self.ends(vm, 0, errors)

    def ends(self, vm, status, errors=None):
        """It ends with this status and, if given, exactly these lines on standard error."""
        got = vm.wait()
        self.assertEqual(got, status)
        if errors is not None:
            self.assertEqual(vm.errors(), errors)

    def refused(self, *arguments, status, sentence, **streams):
        """It ends at once, with a status and a sentence (an expression) and nothing else."""
        vm = self.run_televm(*arguments, **streams)
        got = vm.wait()
        lines = vm.errors().splitlines()
        self.assertRegex(vm.errors(), sentence)
        self.assertEqual(got, status)
        self.assertTrue(all(line.startswith("televm: ") for line in lines), lines)
        self.assertLessEqual(len(lines), 2)
        self.assertEqual(vm.output(), "")
        return vm

    def assert_terminal_restored(self, vm):
        self.assertEqual(vm.mode_after, vm.mode_before)

    def folder(self):
        """A folder of its own in memory."""
        folder = tempfile.TemporaryDirectory(dir="/tmp")
        self.addCleanup(folder.cleanup)
        return folder.name

    def file(self, content=b"", name="file", size=None):
        path = f"{self.folder()}/{name}"
        with open(path, "wb") as file:
            file.write(content)
            if size is not None:
                file.truncate(size)
        return path


def vcpus_of(vm):
    """Its vCPU threads, or none where it has ended."""
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in sorted(os.listdir(f"/proc/{vm.pid}/task"), key=int):
            if "vcpu" in read(f"/proc/{vm.pid}/task/{thread}/comm").decode():
                found.append(int(thread))
    return found


def pin_vcpus(vm, count=1):
    """With the AIA, keep each vCPU on one processor of the host, as soon as there are so many. KVM before Linux 6.17 looks
    for the interrupts of a vCPU that waits on the processor where its thread wakes up. When that is another one than where
    it fell asleep, it sleeps on, until its own timer wakes it: each wait may then take seconds, or for ever."""
    if HOST != "aia":
        return
    end = time.monotonic() + 10
    while len(vcpus_of(vm)) < count and vm.process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    # The first may be waiting already, and stays where it is. The others have not been started by the first.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for n, thread in enumerate(vcpus_of(vm)):
            if n == 0:
                stat = read(f"/proc/{vm.pid}/task/{thread}/stat").decode()
                first = int(stat.rpartition(")")[2].split()[36])
            os.sched_setaffinity(thread, {(first + n) % os.cpu_count()})


def host(*command, status=0):
    """Run a command of the host and return what it printed."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if status is not None and done.returncode != status:
        raise AssertionError(f"{' '.join(command)} ended with status {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def eventually(what, condition, seconds=60):
    """Wait until the condition holds; what: the sentence for when it does not."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not in {seconds} s: {what}")
        time.sleep(0.1)


def read(path):
    with open(path, "rb") as file:
        return file.read()


__all__ = [name for name in globals() if not name.startswith("_")] + ["signal"]
