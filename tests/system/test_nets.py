"""Networks, with Linux's driver: by tap devices of the host, and by passt."""

import hashlib
import json
import socket

from televm import *

BAD_CONFIG = 152
NO_VHOST = "net '[^']*': vhost: the host's kernel can interrupt by itself only where .* AIA.*, and here it is a PLIC"
DRIVER = "/sys/bus/virtio/drivers/virtio_net"
SIZE = 16 * MIB


def ping(address, *flags):
    host("ping", "-q", "-c", "3", "-i", "0.2", "-W", "20", *flags, address)


class NetCase(TestCase):
    n_taps = 0
    back_end = ()  # keys of each --net with a tap

    def tap(self, mtu=1500):
        """A tap device that is up: its name, and the first three numbers of its addresses. .1 is the host's."""
        NetCase.n_taps += 1
        name = f"tv{os.getpid()}n{NetCase.n_taps}"
        net = f"10.{os.getpid() % 200 + 20}.{NetCase.n_taps}"
        host("ip", "tuntap", "add", "dev", name, "mode", "tap")
        self.addCleanup(host, "ip", "link", "delete", name, status=None)
        host("ip", "address", "add", f"{net}.1/24", "dev", name)
        host("ip", "link", "set", name, "up", "mtu", str(mtu))
        return name, net

    def configure(self, vm, net, device="eth0"):
        """What `televm run` leaves to the guest."""
        vm.ask(f"ip address add {net}.2/24 dev {device}; ip link set {device} up")

    def net_flag(self, name, *keys):
        return "--net", ",".join((f"tap={name}", *self.back_end, *keys))

    def talk_to_net(self, *keys, harts=1, mtu=1500):
        name, net = self.tap(mtu)
        vm = self.talk_to_linux(*self.net_flag(name, *keys), "--cpus", str(harts))
        self.configure(vm, net)
        return vm, name, net

    def flood(self, net, seconds=1.5):
        """As many datagrams as the host can send, small and large, to a port where nobody listens."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            end = time.monotonic() + seconds
            count = 0
            while time.monotonic() < end:
                for size in (1, 18, 600, 1472):
                    with contextlib.suppress(OSError):
                        sender.sendto(bytes(size), (f"{net}.2", 9))
                        count += 1
        return count


class Tap(NetCase):
    weight = 9

    def test_ping(self):
        """Both ways, with the given address, on one hart and on four."""
        for harts in (1, 4):
            with self.subTest(harts=harts):
                vm, _, net = self.talk_to_net("mac=02:ab:cd:ef:01:23", harts=harts)
                self.assertEqual(vm.ask("cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu"), "02:ab:cd:ef:01:23\n1500\n")
                ping(f"{net}.2")
                vm.ask(f"ping -q -c 3 {net}.1")
                self.assertIn("02:ab:cd:ef:01:23", host("ip", "neighbour", "show", f"{net}.2"))
                self.power_off(vm)

    def test_two_in_order(self):
        taps = [self.tap(), self.tap()]
        vm = self.talk_to_linux(*self.net_flag(taps[0][0], "mac=02:00:00:00:00:0a"), *self.net_flag(taps[1][0], "mac=02:00:00:00:00:0b"))
        for n, (_, net) in enumerate(taps):
            self.configure(vm, net, f"eth{n}")
            self.assertEqual(vm.ask(f"cat /sys/class/net/eth{n}/address"), f"02:00:00:00:00:0{'ab'[n]}\n")
            ping(f"{net}.2")
        self.power_off(vm)

    def test_address_of_its_own(self):
        """Without mac= each VM has one, local and of one station."""
        seen = set()
        for _ in range(2):
            vm, _, _ = self.talk_to_net()
            mac = vm.ask("cat /sys/class/net/eth0/address").strip()
            self.assertEqual(int(mac[:2], 16) & 3, 2)
            seen.add(mac)
            self.power_off(vm)
        self.assertEqual(len(seen), 2)

    def test_mtu(self):
        vm, _, net = self.talk_to_net("mtu=1400")
        self.assertEqual(vm.ask("cat /sys/class/net/eth0/mtu"), "1400\n")
        ping(f"{net}.2", "-s", "1372", "-M", "do")
        self.power_off(vm)
        vm, _, net = self.talk_to_net("mtu=9000", mtu=9000)
        self.assertEqual(vm.ask("cat /sys/class/net/eth0/mtu"), "9000\n")
        ping(f"{net}.2", "-s", "8900", "-M", "do")
        vm.ask(f"ping -q -c 2 -s 8900 {net}.1")
        self.power_off(vm)

    def send_to_guest(self, vm, net, data):
        vm.ask("nc -l -p 5000 >/tmp/data &")
        stream = None

        def connect():
            nonlocal stream
            with contextlib.suppress(ConnectionRefusedError):
                stream = socket.create_connection((f"{net}.2", 5000), PATIENCE)
            return stream is not None
        eventually("the guest listens", connect)
        with stream:
            stream.sendall(data)
        return vm.ask("wait; sha256sum </tmp/data").split()[0]

    def take_from_guest(self, vm, net):
        digest = hashlib.sha256()
        with socket.create_server((f"{net}.1", 5001)) as server:
            vm.ask(f"nc {net}.1 5001 </tmp/data >/dev/null &")
            stream, _ = server.accept()
            with stream:
                while data := stream.recv(1 << 18):
                    digest.update(data)
        vm.ask("wait")
        return digest.hexdigest()

    def test_streams(self):
        """16 MiB each way."""
        data = os.urandom(SIZE)
        want = hashlib.sha256(data).hexdigest()
        for harts in (1, 4):
            with self.subTest(harts=harts):
                vm, _, net = self.talk_to_net(harts=harts)
                self.assertEqual(self.send_to_guest(vm, net, data), want)
                self.assertEqual(self.take_from_guest(vm, net), want)
                self.power_off(vm)

    def test_streams_at_once(self):
        """Both ways at the same time, over two interfaces of one guest."""
        taps = [self.tap(), self.tap()]
        vm = self.talk_to_linux(*self.net_flag(taps[0][0]), *self.net_flag(taps[1][0]), "--cpus", "4")
        for n, (_, net) in enumerate(taps):
            self.configure(vm, net, f"eth{n}")
        data = os.urandom(SIZE // 2)
        want = hashlib.sha256(data).hexdigest()
        for _, net in taps:
            self.assertEqual(self.send_to_guest(vm, net, data), want)
        got = {}
        servers = {net: socket.create_server((f"{net}.1", 5001)) for _, net in taps}
        threads = []
        for net, server in servers.items():
            def take(net=net, server=server):
                digest = hashlib.sha256()
                with server, server.accept()[0] as stream:
                    while piece := stream.recv(1 << 18):
                        digest.update(piece)
                got[net] = digest.hexdigest()
            threads.append(threading.Thread(target=take))
            threads[-1].start()
        vm.ask("; ".join(f"(nc {net}.1 5001 </tmp/data >/dev/null) & true" for _, net in taps) + "; wait")
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(list(got.values()), [want, want])
        self.power_off(vm)

    def test_flood(self):
        for harts in (1, 4):
            with self.subTest(harts=harts):
                vm, name, net = self.talk_to_net(harts=harts)
                ping(f"{net}.2")
                self.assertGreater(self.flood(net), 100)
                ping(f"{net}.2")
                # There is an address to send to, but no driver that takes what is sent.
                mac = vm.ask("cat /sys/class/net/eth0/address").strip()
                host("ip", "neighbour", "replace", f"{net}.2", "lladdr", mac, "dev", name, "nud", "permanent")
                vm.ask(f"echo virtio0 >{DRIVER}/unbind")
                self.flood(net)
                vm.ask(f"echo virtio0 >{DRIVER}/bind")
                self.configure(vm, net)
                ping(f"{net}.2")
                self.power_off(vm)

    def test_driver_comes_and_goes(self):
        for harts in (1, 4):
            with self.subTest(harts=harts):
                vm, _, net = self.talk_to_net(harts=harts)
                for _ in range(4):
                    vm.ask(f"(ping -q -c 1000 -A {net}.1 || ping -q -c 1000 {net}.1) >/dev/null 2>&1 & "
                           f"echo virtio0 >{DRIVER}/unbind && ! test -e /sys/class/net/eth0 && "
                           f"echo virtio0 >{DRIVER}/bind; pkill ping; wait; true")
                    self.configure(vm, net)
                    ping(f"{net}.2")
                self.power_off(vm)

    def test_limits(self):
        """Each direction by itself: a second's worth at once, then as given."""
        vm, _, net = self.talk_to_net("bandwidth=2M")
        begin = time.monotonic()
        data = os.urandom(5 * MIB)
        self.assertEqual(self.send_to_guest(vm, net, data), hashlib.sha256(data).hexdigest())
        middle = time.monotonic()
        self.assertGreater(middle - begin, 1.3)
        self.take_from_guest(vm, net)
        self.assertGreater(time.monotonic() - middle, 1.3)
        self.power_off(vm)

    def test_down_and_up(self):
        vm, name, net = self.talk_to_net()
        ping(f"{net}.2")
        host("ip", "link", "set", name, "down")
        vm.ask(f"ping -q -c 1 -W 1 {net}.1", status=1)
        host("ip", "link", "set", name, "up")
        ping(f"{net}.2")
        vm.ask(f"ping -q -c 3 {net}.1")
        self.power_off(vm, None)
        self.assertLessEqual(len(vm.errors().splitlines()), 2, vm.errors())

    def test_deleted(self):
        """The guest sees that there is no carrier, the log has a line, and everything else goes on."""
        vm, name, net = self.talk_to_net()
        ping(f"{net}.2")
        host("ip", "link", "delete", name)
        eventually("the carrier is gone", lambda: vm.ask("cat /sys/class/net/eth0/carrier") == "0\n")
        vm.ask(f"ping -q -c 1 -W 1 {net}.1", status=1)
        vm.ask(f"echo virtio0 >{DRIVER}/unbind; echo virtio0 >{DRIVER}/bind; ip link set eth0 up")
        self.assertEqual(vm.ask("seq 3"), "1\n2\n3\n")
        self.power_off(vm, None)
        self.assertRegex(vm.errors(), "net 'net0': its tap has gone: ")
        self.assertLessEqual(len(vm.errors().splitlines()), 3, vm.errors())


class Vhost(Tap):
    """The same, with the frames moved by the host's kernel."""

    back_end = ("vhost",)
    test_limits = None  # there are none: test_config

    def setUp(self):
        super().setUp()
        if not HAS_AIA:
            self.skipTest("vhost needs the AIA")

    def turns(self, vm):
        """How often the thread that does the devices' work has waited for some."""
        with open(f"/proc/{vm.pid}/task/{vm.pid}/status", encoding="ascii") as file:
            return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", file.read(), re.M)[1])

    def test_kernel_moves_them(self):
        """The loop has nothing to do, also where frames come while the guest is busy otherwise."""
        vm, _, net = self.talk_to_net()
        self.assertIn("vhost-", " ".join(read(f"/proc/{vm.pid}/task/{n}/comm").decode() for n in os.listdir(f"/proc/{vm.pid}/task")))
        turns = self.turns(vm)
        host("ping", "-q", "-i", "0.01", "-c", "300", "-W", "20", f"{net}.2")
        vm.ask(f"ping -q -c 3 {net}.1")
        # Some are the console's. Without vhost each frame is one or more: 600.
        self.assertLess(self.turns(vm) - turns, 100)
        self.power_off(vm)

    def test_interrupts_move(self):
        """From hart to hart, while frames come. None may get lost: nobody would lower the source again."""
        vm, _, net = self.talk_to_net(harts=4)
        flood = threading.Thread(target=self.flood, args=(net, 10))
        flood.start()
        # One that has not come after the last move refuses the next.
        vm.ask("irq=$(awk -F: '/virtio0/ { print $1 + 0 }' /proc/interrupts); n=0; for i in $(seq 400); do "
               "echo $((1 << (i % 4))) >/proc/irq/$irq/smp_affinity && n=$((n + 1)); done 2>/dev/null; test $n -ge 100")
        flood.join()
        ping(f"{net}.2")
        vm.ask(f"ping -q -c 3 {net}.1")
        self.power_off(vm)

    def test_resets(self):
        """A driver that gives up, again and again, while frames come."""
        vm, name, net = self.talk_to_net()
        mac = vm.ask("cat /sys/class/net/eth0/address").strip()
        host("ip", "neighbour", "replace", f"{net}.2", "lladdr", mac, "dev", name, "nud", "permanent")
        flood = threading.Thread(target=self.flood, args=(net, 10))
        flood.start()
        descriptors = len(os.listdir(f"/proc/{vm.pid}/fd"))
        vm.ask(f"for i in $(seq 100); do echo virtio0 >{DRIVER}/unbind; echo virtio0 >{DRIVER}/bind; done")
        flood.join()
        self.assertEqual(len(os.listdir(f"/proc/{vm.pid}/fd")), descriptors)
        self.configure(vm, net)
        ping(f"{net}.2")
        self.power_off(vm)


class Iperf(NetCase):
    """Debian's, out of the root file system."""

    weight = 9

    def serve(self):
        """The host's side: the same program, out of the same file."""
        folder = self.folder()
        host("mount", "-o", "ro,noload,loop", ROOTFS, folder)
        self.addCleanup(host, "umount", "-R", folder)
        for name, kind in (("tmp", "tmpfs"), ("proc", "proc"), ("dev", "devtmpfs")):
            host("mount", "-t", kind, name, f"{folder}/{name}")
        server = subprocess.Popen(["chroot", folder, "iperf3", "--server"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        eventually("iperf3 listens", lambda: ":5201 " in host("ss", "-ltn"), PATIENCE)

    def test_both_ways(self):
        self.serve()
        for harts in (1, 4):
            name, net = self.tap()
            vm = self.talk_to_linux("--disk", f"{ROOTFS},ro", *self.net_flag(name), "--cpus", str(harts))
            self.mount_debian(vm, "vda")
            self.configure(vm, net)
            for way in ("", "--reverse"):
                with self.subTest(harts=harts, way=way):
                    report = json.loads(vm.ask(f"chroot /mnt iperf3 --client {net}.1 --bytes {SIZE // 2} --json {way}"))
                    self.assertGreaterEqual(report["end"]["sum_sent"]["bytes"], SIZE // 2)
                    # It stops counting when the sender does, with a few blocks on their way.
                    self.assertGreater(report["end"]["sum_received"]["bytes"], SIZE // 4)
            self.power_off(vm)


class VhostIperf(Iperf):
    back_end = ("vhost",)

    def setUp(self):
        super().setUp()
        if not HAS_AIA:
            self.skipTest("vhost needs the AIA")


class VhostAlone(NetCase):
    """Nobody else's vhost may be at work meanwhile."""

    alone = True
    SETTING = "/proc/sys/kernel/panic_on_warn"

    def set_panic(self, value):
        with open(self.SETTING, "w", encoding="ascii") as file:
            file.write(value)

    def test_host_that_panics(self):
        name, _ = self.tap()
        self.addCleanup(self.set_panic, read(self.SETTING).decode())
        self.set_panic("1")
        self.refused("--kernel", tiny("hello"), "--net", f"tap={name},vhost", status=BAD_CONFIG,
                     sentence="net 'net0': vhost: this host stops when its kernel warns, .*: set kernel.panic_on_warn to 0")
        self.set_panic("0")
        if HAS_AIA:
            self.ends(self.run_tiny("hello", "--net", f"tap={name},vhost"), 0, SHUT_DOWN)


class User(NetCase):
    """By passt, which needs no right of its user."""

    weight = 3
    HOST = "10.9.0.254"  # as the guest sees it: the gateway

    def setUp(self):
        super().setUp()
        # A host of its own: with a network, of which the emulated host has none.
        self.name = f"tv{os.getpid()}"
        host("ip", "netns", "add", self.name)
        self.addCleanup(host, "ip", "netns", "delete", self.name)
        for command in ("link set lo up", "link add out type dummy", "address add 10.9.0.1/24 dev out", "link set out up",
                        f"route add default via {self.HOST}"):
            host("ip", "-n", self.name, *command.split())

    def inside(self, *command):
        return ["ip", "netns", "exec", self.name, *command]

    def talk(self, *keys):
        vm = self.talk_to_linux("--net", ",".join(("user", "host", *keys)), program=self.inside(TELEVM))
        script = "[ $1 != bound ] || { ip address add $ip/$mask dev eth0; ip route add default via $router; }"
        vm.ask(f"(echo '#!/bin/sh'; echo '{script}') >/tmp/got; chmod +x /tmp/got; ip link set eth0 up")
        vm.ask("udhcpc -i eth0 -n -q -s /tmp/got 2>&1")
        self.assertIn("10.9.0.1/24", vm.ask("ip address show dev eth0"))
        return vm

    def power_off(self, vm, errors=None):
        """passt says that it changes from root to nobody."""
        super().power_off(vm, errors)
        self.assertTrue(vm.errors().endswith(SHUT_DOWN), vm.errors())

    def passts(self):
        return host("ip", "netns", "pids", self.name).split()

    def listen(self, port):
        """A server in that host. A socket stays where it was made; threads can be elsewhere."""
        made = []

        def make():
            with open(f"/run/netns/{self.name}", "rb") as netns:
                os.setns(netns.fileno(), os.CLONE_NEWNET)
            made.append(socket.create_server(("", port)))
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        self.addCleanup(made[0].close)
        made[0].settimeout(PATIENCE)
        return made[0]

    def give(self, vm, server, data):
        """Have the guest take the data from the server. Its own direction stays open to the end: where it is closed
        before, passt may lose what the server sends last (docs/devices/net.md)."""
        vm.ask("test -p /tmp/open || mkfifo /tmp/open")
        vm.ask(f"nc {self.HOST} {server.getsockname()[1]} <>/tmp/open >/tmp/data &")
        with server.accept()[0] as stream:
            stream.sendall(data)
            stream.shutdown(socket.SHUT_WR)
            while stream.recv(65536):
                pass
        return vm.ask("wait; wc -c </tmp/data; sha256sum </tmp/data").split()[:2]

    def test_streams(self):
        """The guest gets its address by DHCP, and reaches servers of the host."""
        data = os.urandom(4 * MIB)
        want = hashlib.sha256(data).hexdigest()
        vm = self.talk()
        server = self.listen(7000)
        self.assertEqual(self.give(vm, server, data), [str(4 * MIB), want])
        vm.ask(f"nc {self.HOST} 7000 </tmp/data >/dev/null &")
        digest = hashlib.sha256()
        with server.accept()[0] as stream:
            while piece := stream.recv(65536):
                digest.update(piece)
        self.assertEqual(digest.hexdigest(), want)
        vm.ask("wait")
        self.assertGreaterEqual(len(self.passts()), 2)
        self.power_off(vm)
        eventually("passt has ended", lambda: not self.passts())

    def test_driver_comes_and_goes(self):
        vm = self.talk()
        server = self.listen(7000)
        for n in range(3):
            vm.ask(f"echo virtio0 >{DRIVER}/unbind; echo virtio0 >{DRIVER}/bind; ip link set eth0 up; "
                   "udhcpc -i eth0 -n -q -s /tmp/got 2>&1")
            data = os.urandom(1000 + n)
            self.assertEqual(self.give(vm, server, data)[1], hashlib.sha256(data).hexdigest())
        self.power_off(vm)

    def test_killed(self):
        vm = self.talk()
        killed = [int(pid) for pid in self.passts() if int(pid) != vm.pid]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        eventually("the carrier is gone", lambda: vm.ask("cat /sys/class/net/eth0/carrier") == "0\n")
        vm.ask(f"ping -q -c 1 -W 1 {self.HOST}", status=1)
        eventually("it is no zombie", lambda: not any(os.path.exists(f"/proc/{pid}") for pid in killed))
        self.power_off(vm, None)
        self.assertRegex(vm.errors(), "net 'net0': its passt has gone: ")

    def test_ends_with_the_monitor(self):
        vm = self.talk()
        vm.signal(signal.SIGKILL)
        vm.wait()
        eventually("passt has ended", lambda: not self.passts())

    def test_not_installed(self):
        self.refused("--kernel", tiny("hello"), "--net", "user", status=BAD_CONFIG, program=["env", "PATH=/nowhere", TELEVM],
                     sentence="net 'net0': 'passt' is not installed: user-mode networking needs it")


class Refused(NetCase):
    def refuse(self, keys, sentence, **how):
        self.refused("--kernel", tiny("hello"), "--net", keys, status=BAD_CONFIG, sentence=sentence, **how)

    def test_in_use(self):
        name, _ = self.tap()
        vm = self.run_tiny("echo", "--net", f"tap={name}")
        vm.expect("ready\n")
        self.refuse(f"tap={name}", f"net 'net0': tap device '{name}' is in use by another program")
        vm.signal(signal.SIGTERM)
        self.ends(vm, 143)
        self.ends(self.run_tiny("hello", "--net", f"tap={name}"), 0, SHUT_DOWN)

    def test_vhost(self):
        name, _ = self.tap()
        self.refuse("user,vhost", "net 'net0': vhost needs a tap, it cannot be 'user'")
        self.refuse(f"tap={name},vhost,ops=1", "net 'net0': with vhost there are no rate limits")
        self.refused("--kernel", tiny("hello"), "--irqchip", "plic", "--net", f"tap={name},vhost", status=BAD_CONFIG,
                     sentence=NO_VHOST)
        if not HAS_AIA:
            self.refuse(f"tap={name},vhost", NO_VHOST)

    def test_no_tap(self):
        self.refuse("tap=lo", "net 'net0': 'lo' is not a tap device")
        self.refuse("tap=name/with/slash", "'name/with/slash'")
        self.refuse("tap=sixteen-letters.", "'sixteen-letters.'")

    def test_not_allowed(self):
        # Who may use KVM, but not change the network.
        bound = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-all", TELEVM]
        self.refuse("tap=none-such", "tap device 'none-such' does not exist, and only root may make one", program=bound)
        name = f"tv{os.getpid()}x"
        host("ip", "tuntap", "add", "dev", name, "mode", "tap", "user", "65534")
        self.addCleanup(host, "ip", "link", "delete", name)
        self.refuse(f"tap={name}", f"tap device '{name}' belongs to another user", program=bound)
