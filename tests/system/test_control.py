"""A machine that is changed while it runs, by the API: paused, asked to shut down, given other disks and limits."""

import hashlib
import json
import socket

from api import *
from test_nets import NO_VHOST, NetCase
from test_vsock import VsockCase

DAY_MS = 24 * 3600 * 1000
SIZE = 4 * MIB


def digest(data):
    return hashlib.sha256(data).hexdigest()


def cpu_time(vm):
    """What each vCPU's thread has used of a processor, in ticks."""
    times = {}
    for thread in os.listdir(f"/proc/{vm.pid}/task"):
        name, _, rest = read(f"/proc/{vm.pid}/task/{thread}/stat").decode().partition("(")[2].rpartition(")")
        if "vcpu" in name:
            times[name] = sum(map(int, rest.split()[11:13]))
    return times


class ControlCase(ApiTestCase):
    """A test of a televm that is configured by its API."""

    def request(self, vm, method, path, body=None):
        """On a connection of its own: any thread."""
        with contextlib.closing(Connection(vm.socket)) as connection:
            connection.request(method, path, None if body is None else json.dumps(body))
            return Answer(connection.getresponse())

    def change(self, vm, path, method="PUT", **fields):
        """PUT or PATCH, which is to succeed."""
        answer = self.request(vm, method, path, fields)
        self.assertEqual(answer.status, 204, answer)

    def refuses(self, vm, path, sentence, method="PUT", **fields):
        """The same, which is to be refused with a sentence like that."""
        answer = self.request(vm, method, path, fields)
        self.assertEqual(answer.status, 400, answer)
        self.assertRegex(answer.body["fault_message"], sentence)

    def start(self, vm):
        self.change(vm, "/actions", action_type="InstanceStart")

    def set_paused(self, vm, is_paused):
        self.change(vm, "/vm", "PATCH", state="Paused" if is_paused else "Resumed")

    def configure_linux(self, vm, ask=None, harts=1, append="loglevel=1", kernel=IMAGE, initrd=INITRAMFS):
        """All but the start. ask: what its user space is to run."""
        if ask is not None:
            append += f' televm.exec="{ask}"'
        self.change(vm, "/boot-source", kernel_image_path=kernel, initrd_path=initrd, boot_args=f"console=ttyS0 {append}")
        self.change(vm, "/machine-config", vcpu_count=harts, mem_size_mib=256)

    def start_talking(self, vm):
        """Start one that was configured with ask=TALK, and whose standard input is a pipe."""
        self.start(vm)
        vm.expect("shell is up\n")
        pin_vcpus(vm)

    def power_off(self, vm):
        vm.send("poweroff\n")
        self.assertEqual(vm.wait(), 0)

    def press(self, vm):
        return self.request(vm, "PUT", "/actions", {"action_type": "SendCtrlAltDel"})


class Pauser(threading.Thread):
    """Pauses and lets go on, again and again, until told to stop."""

    def __init__(self, case, vm):
        super().__init__(daemon=True)
        self.case, self.vm = case, vm
        self.count = 0
        self.error = None
        self.is_wanted = True

    def run(self):
        try:
            while self.is_wanted:
                self.case.set_paused(self.vm, True)
                time.sleep(0.02)
                self.case.set_paused(self.vm, False)
                time.sleep(0.1)
                self.count += 1
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def stop(self):
        self.is_wanted = False
        self.join(PATIENCE)
        if self.error:
            raise self.error
        self.case.assertGreater(self.count, 2, "it was hardly paused")


class Control(ControlCase, NetCase, VsockCase):
    weight = 10

    def pausing(self, vm):
        pauser = Pauser(self, vm)
        pauser.start()
        return pauser

    def test_pause_and_power_key(self):
        """Nothing runs, on four busy harts. A second pause, or a second resume, changes nothing. The key ends it."""
        vm = self.run_api(stdin="pipe")
        self.configure_linux(vm, TALK, harts=4)
        self.refuses(vm, "/vm", "not supported before starting", "PATCH", state="Paused")
        self.start_talking(vm)
        vm.ask("for i in 1 2 3 4; do while :; do :; done & done")
        for _ in range(2):
            self.set_paused(vm, True)
            self.set_paused(vm, True)
            self.assertEqual(self.request(vm, "GET", "/").body["state"], "Paused")
            before = cpu_time(vm)
            self.assertEqual(len(before), 4)
            time.sleep(1)
            self.assertEqual(cpu_time(vm), before)
            self.set_paused(vm, False)
            self.set_paused(vm, False)
            self.assertEqual(self.request(vm, "GET", "/").body["state"], "Running")
            vm.ask("true")
        # A key that is pressed while it is paused waits in the guest's queue.
        self.set_paused(vm, True)
        self.assertEqual(self.press(vm).status, 204)
        self.set_paused(vm, False)
        self.assertEqual(vm.wait(), 0)

    def test_disks(self):
        """Paused while it copies. And a disk without a byte, which gets a file later, and another one."""
        source, target = self.file(os.urandom(SIZE), "source"), self.file(size=SIZE, name="target")
        files = [self.file(os.urandom(size), f"file{size}") for size in (MIB, 3 * MIB)]
        vm = self.run_api(stdin="pipe")
        self.configure_linux(vm, TALK, harts=2)
        for name, path, engine in (("source", source, "Sync"), ("target", target, "Async"),
                                   ("late", self.file(name="empty"), "Sync")):
            self.change(vm, f"/drives/{name}", drive_id=name, path_on_host=path, is_root_device=False,
                        cache_type="Writeback", io_engine=engine)
        self.start_talking(vm)
        pauser = self.pausing(vm)
        vm.ask("dd if=/dev/vda of=/dev/vdb bs=16k conv=notrunc,fsync 2>&1")
        vm.ask("echo 3 >/proc/sys/vm/drop_caches")
        self.assertEqual(vm.ask("sha256sum </dev/vdb").split()[0], digest(read(source)))
        pauser.stop()
        self.assertEqual(vm.ask("cat /sys/block/vdc/size"), "0\n")
        for path in files:
            self.change(vm, "/drives/late", "PATCH", drive_id="late", path_on_host=path)
            size = os.path.getsize(path)
            vm.ask(f"until [ $(cat /sys/block/vdc/size) = {size // 512} ]; do sleep 0.1; done")
            self.assertEqual(vm.ask("sha256sum </dev/vdc").split()[0], digest(read(path)))
        self.refuses(vm, "/drives/late", "nowhere", "PATCH", drive_id="late", path_on_host="/nowhere")
        self.refuses(vm, "/drives/other", "other", "PATCH", drive_id="other", path_on_host=source)
        self.assertEqual(vm.ask("sha256sum </dev/vdc").split()[0], digest(read(files[-1])))
        self.power_off(vm)
        self.assertEqual(digest(read(target)), digest(read(source)))

    def streams_by_tap(self, vm, net):
        """Have a MiB sent to the guest and back again while it is paused now and then."""
        data = os.urandom(MIB)
        pauser = self.pausing(vm)
        with socket.create_server((f"{net}.1", 5000)) as server:
            vm.ask(f"nc {net}.1 5000 </dev/null >/tmp/in &")
            connection, _ = server.accept()
            with connection:
                connection.settimeout(PATIENCE)
                connection.sendall(data)
        vm.ask("wait")
        self.assertEqual(vm.ask("sha256sum </tmp/in").split()[0], digest(data))
        with socket.create_server((f"{net}.1", 5001)) as server:
            vm.ask(f"nc {net}.1 5001 </tmp/in &")
            connection, _ = server.accept()
            with connection:
                connection.settimeout(PATIENCE)
                got = bytearray()
                while len(got) < len(data) and (piece := connection.recv(65536)):
                    got += piece
        self.assertEqual(digest(got), digest(data))
        pauser.stop()

    def test_network(self):
        """Paused while streams go both ways through a tap. And other limits."""
        name, net = self.tap()
        vm = self.run_api(stdin="pipe")
        self.configure_linux(vm, TALK, harts=2)
        self.change(vm, "/network-interfaces/net", iface_id="net", host_dev_name=name)
        self.start_talking(vm)
        self.configure(vm, net)
        self.streams_by_tap(vm, net)
        # A frame a day: after one, nothing comes through.
        self.change(vm, "/network-interfaces/net", "PATCH", iface_id="net",
                    tx_rate_limiter={"ops": {"size": 1, "refill_time": DAY_MS}})
        host("ping", "-q", "-c", "3", "-i", "0.2", "-W", "1", f"{net}.2", status=None)
        lost = host("ping", "-q", "-c", "2", "-W", "1", f"{net}.2", status=None)
        self.assertIn("100% packet loss", lost)
        # What is not named goes on as it was: no new token.
        self.change(vm, "/network-interfaces/net", "PATCH", iface_id="net", rx_rate_limiter={"ops": None},
                    tx_rate_limiter={})
        lost = host("ping", "-q", "-c", "2", "-W", "1", f"{net}.2", status=None)
        self.assertIn("100% packet loss", lost)
        self.change(vm, "/network-interfaces/net", "PATCH", iface_id="net",
                    tx_rate_limiter={"ops": {"size": 0, "refill_time": 0}})
        eventually("pings come through again",
                   lambda: " 0% packet loss" in host("ping", "-q", "-c", "1", "-W", "10", f"{net}.2", status=None), PATIENCE)
        self.power_off(vm)

    def test_vhost(self):
        """The same with frames that the host's kernel moves, which nobody can limit."""
        name, net = self.tap()
        path = "/network-interfaces/net"
        fields = {"iface_id": "net", "host_dev_name": name}
        limits = {"tx_rate_limiter": {"ops": {"size": 1, "refill_time": DAY_MS}}}
        vm = self.run_api(stdin="pipe")
        self.configure_linux(vm, TALK, harts=2)
        self.refuses(vm, path, "net 'net': with vhost there are no rate limits", **fields, **limits, vhost=True)
        self.refuses(vm, path, "net 'net': vhost needs a tap", iface_id="net", user=True, vhost=True)
        # The tap stays open while who moves its frames changes.
        for vhost in (False, True, False, True):
            self.change(vm, path, **fields, vhost=vhost)
        if not HAS_AIA:
            self.refuses(vm, "/actions", NO_VHOST, action_type="InstanceStart")
            return
        self.assertTrue(self.request(vm, "GET", "/vm/config").body["network-interfaces"][0]["vhost"])
        self.start_talking(vm)
        self.configure(vm, net)
        self.streams_by_tap(vm, net)
        self.refuses(vm, path, "net 'net': with vhost there are no rate limits", "PATCH", iface_id="net", **limits)
        self.change(vm, path, "PATCH", iface_id="net")
        host("ping", "-q", "-c", "3", "-W", "20", f"{net}.2")
        self.power_off(vm)

    def test_sockets(self):
        """Paused while vsock connections are open and bytes go both ways. What comes meanwhile waits. V07"""
        self.path = f"{self.folder()}/v"
        data = os.urandom(SIZE)
        vm = self.run_api(stdin="pipe")
        self.configure_linux(vm, TALK, harts=2)
        self.change(vm, "/vsock", guest_cid=3, uds_path=self.path)
        self.start_talking(vm)
        self.listen_in_guest(vm)
        stream = self.connect()
        for word in (b"one", b"two"):
            self.set_paused(vm, True)
            stream.sendall(word)
            self.set_paused(vm, False)
            self.assertEqual(stream.recv(len(word), socket.MSG_WAITALL), word)
        pauser = self.pausing(vm)
        self.assertTrue(self.converse(self.connect(), data) == data)
        pauser.stop()
        self.assertEqual(self.converse(stream, b"the same as before"), b"the same as before")
        self.power_off(vm)


class PowerKey(ControlCase):
    weight = 5

    def test_root_file_system(self):
        """Its init ends the services first."""
        vm = self.run_api(stdin="pipe")
        rootfs = f"{self.folder()}/rootfs.ext4"
        host("cp", "--sparse=always", ROOTFS, rootfs)
        self.change(vm, "/boot-source", kernel_image_path=IMAGE, boot_args="console=ttyS0 loglevel=1")
        self.change(vm, "/machine-config", vcpu_count=1, mem_size_mib=256)
        self.change(vm, "/drives/rootfs", drive_id="rootfs", path_on_host=rootfs, is_root_device=True)
        self.start(vm)
        vm.expect("login: ")
        self.assertEqual(self.press(vm).status, 204)
        self.assertEqual(vm.wait(), 0)
        host("e2fsck", "-fn", rootfs)

    def test_nobody_listens(self):
        vm = self.run_api()
        self.change(vm, "/boot-source", kernel_image_path=tiny("wfi"))
        self.start(vm)
        answer = self.press(vm)
        self.assertEqual(answer.status, 400)
        self.assertIn("the guest has no driver for the power key", answer.body["fault_message"])
        # And a paused one can be ended.
        self.set_paused(vm, True)
        vm.signal(signal.SIGTERM)
        self.assertEqual(vm.wait(), -signal.SIGTERM)


class Cpu(ControlCase):
    def cpuinfo(self, vm):
        return dict(re.findall(r"^(\w[\w ]*?)\s*: (.*)$", vm.ask("cat /proc/cpuinfo"), re.MULTILINE))

    def test_config(self):
        """Extensions are gone, with those that need them; registers are as they were set."""
        mimpid = 0x8030000001000004
        vm = self.run_api(stdin="pipe")
        self.configure_linux(vm, f"dmesg | grep SBI; {TALK}")
        self.change(vm, "/cpu-config", isa_extensions_off=["zba", "d", "nothing"], sbi_extensions_off=["dbcn"],
                    reg_modifiers=[{"addr": hex(mimpid), "bitmap": "0b1x01"}], kvm_capabilities=["70"])
        self.start_talking(vm)
        self.assertNotIn("DBCN", vm.output())
        info = self.cpuinfo(vm)
        letters, *names = info["isa"].removeprefix("rv64").split("_")
        self.assertNotIn("d", letters)
        self.assertNotIn("v", letters)
        self.assertIn("zbb", names)
        self.assertNotIn("zba", names)
        self.assertEqual(int(info["mimpid"], 16) & 0b1011, 0b1001)
        vm.send("poweroff\n")
        self.assertEqual(vm.wait(), 0)

    def test_refused(self):
        rows = (
            ({"sbi_extensions_off": ["nonsense"]}, "there is no SBI extension 'nonsense'"),
            ({"reg_modifiers": [{"addr": "0x8030000001ffffff", "bitmap": "0b1"}]}, "no register 0x8030000001ffffff"),
            ({"kvm_capabilities": ["9999"]}, "lacks the capability 9999"),
            ({"isa_extensions_off": ["i"]}, "nothing is left without"),
        )
        vm = self.run_api()
        self.change(vm, "/boot-source", kernel_image_path=tiny("hello"))
        for body, sentence in rows:
            with self.subTest(sentence=sentence):
                self.change(vm, "/cpu-config", **body)
                self.refuses(vm, "/actions", sentence, action_type="InstanceStart")
        # And then all is well.
        self.change(vm, "/cpu-config", isa_extensions_off=["zba"])
        self.start(vm)
        self.assertEqual(vm.wait(), 0)


class Others(ControlCase):
    def test_boot_timer(self):
        vm = self.run_api("--boot-timer")
        self.change(vm, "/boot-source", kernel_image_path=tiny("boottimer"))
        self.start(vm)
        self.assertEqual(vm.wait(), 0)
        lines = re.findall(r"Guest-boot-time = +(\d+) us (\d+) ms, +(\d+) CPU us (\d+) CPU ms", vm.errors() + vm.output())
        self.assertEqual(len(lines), 1)
        us, ms, cpu_us, cpu_ms = map(int, lines[0])
        self.assertEqual((ms, cpu_ms), (us // 1000, cpu_us // 1000))

    def test_serial_output(self):
        """To a file, to a FIFO that nobody reads, and limited."""
        file, fifo = f"{self.folder()}/out", f"{self.folder()}/fifo"
        os.mkfifo(fifo)
        for path, limit in ((file, None), (fifo, None), (file, {"size": 3, "refill_time": DAY_MS})):
            with self.subTest(path=path, limit=limit):
                vm = self.run_api()
                self.change(vm, "/boot-source", kernel_image_path=tiny("hello"))
                self.change(vm, "/serial", serial_out_path=path, **({"rate_limiter": limit} if limit else {}))
                self.start(vm)
                self.assertEqual(vm.wait(), 0)
                self.assertEqual(vm.output(), "")
                if path == file:
                    self.assertEqual(read(path), b"hel" if limit else b"hello\n")
                    os.unlink(path)

    def test_transparent_huge_pages(self):
        vm = self.run_api()
        self.change(vm, "/boot-source", kernel_image_path=tiny("wfi"))
        self.change(vm, "/machine-config", vcpu_count=1, mem_size_mib=128, huge_pages="Transparent")
        self.start(vm)
        regions = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", read(f"/proc/{vm.pid}/smaps").decode(), flags=re.MULTILINE)
        ram = [region for region in regions if re.search(r"^Size: +131072 kB", region, re.MULTILINE)]
        self.assertEqual(len(ram), 1)
        self.assertRegex(ram[0], r"VmFlags:.* hg\b")
