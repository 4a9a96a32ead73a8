"""Logs and metrics: files and FIFOs, with and without a reader, of machines that work and of one that a signal ends."""

import json
import subprocess

from api import *

LINE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9} \[%s\] "


class MetricsCase(ApiTestCase):
    def fifo(self, name):
        path = f"{self.folder()}/{name}"
        os.mkfifo(path)
        return path

    def read_now(self, path):
        """What a FIFO holds, or a file."""
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        data = bytearray()
        try:
            with contextlib.suppress(BlockingIOError):
                while piece := os.read(fd, 65536):
                    data += piece
        finally:
            os.close(fd)
        return data.decode()

    def lines(self, path):
        return [json.loads(line) for line in self.read_now(path).splitlines()]

    def flush(self, vm):
        vm.do("PUT", "/actions", {"action_type": "FlushMetrics"})

    def refuses(self, vm, path, sentence, body):
        answer = vm.ask_api("PUT", path, body)
        self.assertEqual(answer.status, 400)
        self.assertRegex(answer.body["fault_message"], sentence)

    def ctl(self, vm, *words):
        return subprocess.run([TELEVM, "ctl", vm.socket, *words], check=True, capture_output=True, text=True,
                              timeout=PATIENCE).stdout


class Metrics(MetricsCase):
    weight = 3

    def test_linux(self):
        """What Linux does with a disk is what is counted, and each flush tells it once."""
        fifo = self.fifo("metrics")
        vm = self.run_api("--metrics-path", fifo, "--start-time-us", str(time.monotonic_ns() // 1000), stdin="pipe")
        vm.do("PUT", "/boot-source", {"kernel_image_path": IMAGE, "initrd_path": INITRAMFS,
                                      "boot_args": f'console=ttyS0 loglevel=1 televm.exec="{TALK}"'})
        vm.do("PUT", "/machine-config", {"vcpu_count": 1, "mem_size_mib": 256})
        vm.do("PUT", "/drives/data", {"drive_id": "data", "path_on_host": self.file(size=4 * MIB),
                                      "is_root_device": False, "cache_type": "Writeback"})
        vm.start_instance()
        vm.expect("shell is up\n")
        pin_vcpus(vm)
        vm.ask("dd if=/dev/vda of=/dev/null bs=64k count=32 2>&1")
        vm.ask("dd if=/dev/zero of=/dev/vda bs=64k count=16 conv=notrunc,fsync 2>&1")
        self.flush(vm)
        self.flush(vm)
        # One at the start, these two, and perhaps some of a minute's end.
        lines = self.lines(fifo)

        def told(group, key):
            return sum(line[group][key] for line in lines)

        self.assertGreaterEqual(len(lines), 3)
        self.assertEqual(lines[0]["block_data"]["read_bytes"], 0)
        self.assertEqual(lines[0]["put_api_requests"]["drive_count"], 1)
        self.assertGreater(lines[0]["api_server"]["process_startup_time_us"], 0)
        self.assertGreaterEqual(told("block_data", "read_bytes"), 2 * MIB)
        self.assertEqual(told("block_data", "write_bytes"), MIB)
        self.assertGreaterEqual(told("block_data", "flush_count"), 1)
        self.assertEqual(told("block", "read_bytes"), told("block_data", "read_bytes"))
        for group, key in (("vcpu", "exit_mmio_read"), ("vcpu", "exit_mmio_write"), ("uart", "write_count"),
                           ("interrupts", "triggers"), ("put_api_requests", "actions_count")):
            self.assertGreater(told(group, key), 0)
        self.assertEqual(told("vcpu", "failures"), 0)
        self.assertEqual(lines[-1]["block"]["write_bytes"], 0)
        totals = vm.do("GET", "/metrics")
        self.assertEqual(totals.keys(), lines[-1].keys())
        self.assertEqual(totals["block_data"]["write_bytes"], MIB)
        text = self.ctl(vm, "metrics", "--prometheus")
        self.assertIn(f'\ntelevm_block_write_bytes_total{{vm="anonymous-instance",drive="data"}} {MIB}\n', text)
        # A FIFO that nobody has open keeps nothing: somebody has, while the process ends.
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        vm.send("poweroff\n")
        self.assertEqual(vm.wait(), 0)
        self.assertGreaterEqual(len(self.lines(fifo)), 1)

    def test_signal(self):
        """One that ends the process: the last line is there."""
        path = f"{self.folder()}/metrics"
        vm = self.run_api("--metrics-path", path, "--id", "short-lived")
        vm.do("PUT", "/logger", {"log_path": f"{path}.log", "show_level": True})
        vm.do("GET", "/version")
        vm.signal(signal.SIGHUP)
        self.assertEqual(vm.wait(), 156)
        line, = self.lines(path)
        self.assertEqual(line["signals"]["sighup"], 1)
        self.assertEqual(line["get_api_requests"]["vmm_version_count"], 1)
        self.assertRegex(self.read_now(f"{path}.log"), LINE % "short-lived:firecracker:ERROR" +
                         r"Shutting down VM after intercepting signal 1, code -?\d+\.\n$")

    def test_full_fifo(self):
        """Nobody reads: the machine goes on, and what was not written is counted."""
        fifo = self.fifo("metrics")
        vm = self.run_api("--metrics-path", fifo, stdin="pipe")
        vm.do("PUT", "/boot-source", {"kernel_image_path": tiny("echo")})
        vm.start_instance()
        for n_flushes in range(100):
            answer = vm.ask_api("PUT", "/actions", {"action_type": "FlushMetrics"})
            if answer.status != 204:
                break
        self.assertRegex(answer.text, "Failed to write metrics")
        self.assertGreater(n_flushes, 2)
        self.read_now(fifo)
        self.flush(vm)
        self.assertGreaterEqual(vm.do("GET", "/metrics")["logger"]["missed_metrics_count"], 1)
        self.assertEqual(vm.do("GET", "/")["state"], "Running")


class Log(MetricsCase):
    def test_fifo(self):
        """Without a reader, until one comes; and what a request does not name stays."""
        fifo = self.fifo("log")
        vm = self.run_api("--log-path", fifo, "--id", "talker", "--level", "Debug")
        vm.do("PUT", "/logger", {"show_level": True})
        vm.do("PUT", "/logger", {"show_log_origin": True, "module": "api"})
        vm.do("GET", "/version")
        lines = self.read_now(fifo).splitlines()
        self.assertRegex(lines[0], LINE % "talker:firecracker" + "Running Firecracker v")
        self.assertRegex(lines[-1], LINE % r"talker:firecracker:[A-Z]+:api/[a-z_]+\.c:\d+")

    def test_refused(self):
        vm = self.run_api()
        self.refuses(vm, "/logger", "^Logger error: .*is a directory", {"log_path": self.folder()})
        self.refuses(vm, "/metrics", "^Metrics error: .*is a directory", {"metrics_path": self.folder()})
        self.refuses(vm, "/logger", "^Logger error: .*is a socket", {"log_path": vm.socket})
