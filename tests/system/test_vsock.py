"""vsock, with Linux's driver and a program in the guest (guest/vsock.c)."""

import hashlib
import selectors
import socket

from televm import *

BAD_CONFIG = 152
BAD_ARGUMENTS = 153


class Echo(threading.Thread):
    """A server of the host on one of the guest's ports that sends back what comes."""

    def __init__(self, path, port):
        super().__init__(daemon=True)
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(f"{path}_{port}")
        self.server.listen(200)
        self.n_bytes = 0
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                stream, _ = self.server.accept()
                threading.Thread(target=self.serve, args=(stream,), daemon=True).start()

    def serve(self, stream):
        with stream, contextlib.suppress(OSError):
            while data := stream.recv(65536):
                stream.sendall(data)
                self.n_bytes += len(data)
            stream.shutdown(socket.SHUT_WR)

    def stop(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.join(PATIENCE)


class VsockCase(TestCase):
    def talk_to_vsock(self, harts=1, cid=3):
        self.path = f"{self.folder()}/v"
        return self.talk_to_linux("--vsock", f"cid={cid},path={self.path}", "--cpus", str(harts))

    def listen_in_guest(self, vm, port=52):
        vm.send(f"vsock listen {port} &\n")
        vm.expect("vsock: listening\n")

    def connect(self, port=52):
        """A connection to the guest, accepted."""
        stream = socket.socket(socket.AF_UNIX)
        self.addCleanup(stream.close)
        stream.settimeout(PATIENCE)
        stream.connect(self.path)
        stream.sendall(f"CONNECT {port}\n".encode())
        line = b""
        while not line.endswith(b"\n"):
            byte = stream.recv(1)
            if not byte:
                raise ConnectionRefusedError
            line += byte
        self.assertRegex(line, rb"^OK [0-9]+\n$")
        return stream

    def serve(self, port=52):
        echo = Echo(self.path, port)
        self.addCleanup(echo.stop)
        return echo

    def converse(self, stream, data):
        """Send all, half close, and return what came back until its end."""
        sender = threading.Thread(target=lambda: (stream.sendall(data), stream.shutdown(socket.SHUT_WR)), daemon=True)
        sender.start()
        got = bytearray()
        while piece := stream.recv(65536):
            got += piece
        sender.join(PATIENCE)
        return bytes(got)


class Vsock(VsockCase):
    weight = 7

    def hundred_to_guest(self, size):
        """100 connections at once, each with its own bytes."""
        waiting = selectors.DefaultSelector()
        for _ in range(100):
            stream = self.connect()
            stream.setblocking(False)
            data = os.urandom(size)
            state = {"out": memoryview(data), "want": hashlib.sha256(data).digest(), "got": hashlib.sha256(), "n": 0}
            waiting.register(stream, selectors.EVENT_READ | selectors.EVENT_WRITE, state)
        end = time.monotonic() + PATIENCE
        while waiting.get_map():
            self.assertLess(time.monotonic(), end)
            for key, events in waiting.select(1):
                stream, state = key.fileobj, key.data
                if events & selectors.EVENT_WRITE:
                    state["out"] = state["out"][stream.send(state["out"]):]
                    if not state["out"]:
                        stream.shutdown(socket.SHUT_WR)
                        waiting.modify(stream, selectors.EVENT_READ, state)
                if events & selectors.EVENT_READ:
                    data = stream.recv(65536)
                    state["got"].update(data)
                    state["n"] += len(data)
                    if not data:
                        self.assertEqual(state["n"], size)
                        self.assertEqual(state["got"].digest(), state["want"])
                        waiting.unregister(stream)
                        stream.close()

    def test_hundred_connections(self):
        """Each way, and then both at once."""
        for harts in (1, 4):
            with self.subTest(harts=harts):
                vm = self.talk_to_vsock(harts)
                self.listen_in_guest(vm)
                echo = self.serve(53)
                self.hundred_to_guest(20000)
                self.assertIn("vsock: 100 of 100 connections were right", vm.ask("vsock connect 2 53 100 20000"))
                self.assertEqual(echo.n_bytes, 2000000)
                vm.send("vsock connect 2 53 100 10000\n")
                self.hundred_to_guest(10000)
                vm.expect("vsock: 100 of 100 connections were right\n")
                vm.expect("status=0\n")
                self.power_off(vm)

    def test_much(self):
        """More than all buffers hold, both ways."""
        vm = self.talk_to_vsock(2)
        self.listen_in_guest(vm)
        data = os.urandom(8 * MIB)
        self.assertTrue(self.converse(self.connect(), data) == data)
        self.serve(53)
        vm.ask(f"vsock connect 2 53 1 {4 * MIB}")
        self.power_off(vm)

    def test_slow_reader(self):
        """It holds up nobody else, and loses nothing."""
        vm = self.talk_to_vsock()
        self.listen_in_guest(vm)
        slow = self.connect()
        data = os.urandom(3 * MIB)
        sender = threading.Thread(target=slow.sendall, args=(data,), daemon=True)
        sender.start()
        time.sleep(0.5)
        for _ in range(5):
            self.assertEqual(self.converse(self.connect(), b"others go on"), b"others go on")
        got = bytearray()
        while len(got) < len(data):
            got += slow.recv(65536)
        self.assertTrue(bytes(got) == data)
        sender.join(PATIENCE)
        self.power_off(vm)

    def test_cid(self):
        vm = self.talk_to_vsock(cid=4000000000)
        self.listen_in_guest(vm)
        self.assertEqual(self.converse(self.connect(), b"x"), b"x")
        self.power_off(vm)

    def test_nobody_listens(self):
        """Neither in the guest nor on the host; in time, and again and again."""
        vm = self.talk_to_vsock()
        for _ in range(20):
            with self.assertRaises((ConnectionRefusedError, ConnectionResetError)):
                self.connect(99)
        for _ in range(20):
            self.assertIn("vsock: connect: error 104", vm.ask("vsock wait 2 99", status=1))
        self.listen_in_guest(vm, 99)
        self.assertEqual(self.converse(self.connect(99), b"now"), b"now")
        self.power_off(vm, None)
        self.assertLessEqual(len(vm.errors().splitlines()), 2, vm.errors())

    def test_before_there_is_a_driver(self):
        """A client that is early waits for the driver, or for the end of the machine."""
        self.path = f"{self.folder()}/v"
        vm = self.run_tiny("echo", "--vsock", f"cid=3,path={self.path}")
        vm.expect("ready\n")
        with socket.socket(socket.AF_UNIX) as early:
            early.connect(self.path)
            early.sendall(b"CONNECT 52\n")
            early.settimeout(3)
            with self.assertRaises(TimeoutError):
                early.recv(1)
            vm.signal(signal.SIGTERM)
            self.ends(vm, 143)
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(early.recv(1), b"")
        self.assertFalse(os.path.exists(self.path))

    def test_clients_that_say_nothing(self):
        """They are closed after a while, and others get through."""
        vm = self.talk_to_vsock()
        self.listen_in_guest(vm)
        silent = []
        for _ in range(20):
            silent.append(socket.socket(socket.AF_UNIX))
            silent[-1].connect(self.path)
            silent[-1].settimeout(PATIENCE)
            self.addCleanup(silent[-1].close)
        for text in (b"CONNECT\n", b"CONNECT 4294967296\n", b"HELLO 52\n", b"x" * 100):
            with self.assertRaises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as stream:
                stream.settimeout(PATIENCE)
                stream.connect(self.path)
                stream.sendall(text)
                with contextlib.suppress(ConnectionResetError):
                    self.assertEqual(stream.recv(100), b"")
                raise ConnectionRefusedError
        self.assertEqual(self.converse(self.connect(), b"through"), b"through")
        for stream in silent:
            self.assertEqual(stream.recv(1), b"")
        self.power_off(vm)

    def test_host_is_killed(self):
        """The guest's program sees the end of its connection."""
        vm = self.talk_to_vsock()
        script = f"import socket; s = socket.socket(socket.AF_UNIX); s.bind('{self.path}_60'); s.listen(); " \
                 "c = s.accept()[0]; print(c.recv(1))"
        server = subprocess.Popen(["python3", "-c", script], stdin=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        eventually("the server listens", lambda: os.path.exists(f"{self.path}_60"))
        vm.send("vsock wait 2 60\n")
        vm.expect("vsock: connected\n")
        server.kill()
        vm.expect(re.compile(r"vsock: (end|receive: error 104)\n"))
        vm.expect("status=")
        self.power_off(vm)

    def test_guest_is_killed(self):
        vm = self.talk_to_vsock()
        self.listen_in_guest(vm)
        streams = [self.connect() for _ in range(10)]
        streams[0].sendall(b"alive")
        self.assertEqual(streams[0].recv(5), b"alive")
        vm.ask("killall -9 vsock; true")
        for stream in streams:
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(stream.recv(1), b"")
        with self.assertRaises((ConnectionRefusedError, ConnectionResetError)):
            self.connect()
        self.listen_in_guest(vm)
        self.assertEqual(self.converse(self.connect(), b"again"), b"again")
        self.power_off(vm)

    def test_machine_is_killed(self):
        """Its clients are told by the host's kernel. What is left of it is refused, not removed."""
        vm = self.talk_to_vsock()
        self.listen_in_guest(vm)
        stream = self.connect()
        vm.signal(signal.SIGKILL)
        vm.wait()
        with contextlib.suppress(ConnectionResetError):
            self.assertEqual(stream.recv(1), b"")
        self.refused("--kernel", tiny("hello"), "--vsock", f"cid=3,path={self.path}", status=BAD_CONFIG,
                     sentence=f"bind the socket '{self.path}': Address already in use")

    def test_machine_ends(self):
        vm = self.talk_to_vsock()
        self.listen_in_guest(vm)
        streams = [self.connect() for _ in range(5)]
        self.power_off(vm)
        for stream in streams:
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(stream.recv(1), b"")
        self.assertFalse(os.path.exists(self.path))

    def test_driver_comes_and_goes(self):
        """Connections end, new ones are made. Linux has names of its own for driver and device."""
        for harts in (1, 4):
            with self.subTest(harts=harts):
                vm = self.talk_to_vsock(harts)
                driver = vm.ask("dirname /sys/bus/virtio/drivers/*/virtio0").strip()
                self.assertIn("vsock", driver)
                self.listen_in_guest(vm)
                for _ in range(4):
                    streams = [self.connect() for _ in range(10)]
                    vm.ask(f"echo virtio0 >{driver}/unbind")
                    for stream in streams:
                        with contextlib.suppress(ConnectionResetError):
                            self.assertEqual(stream.recv(1), b"")
                    vm.ask(f"echo virtio0 >{driver}/bind")
                    self.assertEqual(self.converse(self.connect(), b"again"), b"again")
                self.power_off(vm)

    def test_refused(self):
        there = self.file()
        for keys, status, sentence in ((f"cid=3,path={there}", BAD_CONFIG, f"bind the socket '{there}': Address already in use"),
                                       ("cid=3,path=/no/such/v", BAD_CONFIG, "bind the socket '/no/such/v': No such file"),
                                       (f"cid=2,path={there}x", BAD_CONFIG, "a CID from 3 to 4294967294, 2 is none"),
                                       ("cid=3", BAD_ARGUMENTS, "'path' is missing")):
            with self.subTest(keys):
                self.refused("--kernel", tiny("hello"), "--vsock", keys, status=status, sentence=sentence)
        self.assertTrue(os.path.exists(there))
