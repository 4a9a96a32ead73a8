"""The start forms without a command word, and `televm ctl`: files, flags, log lines, exit statuses, signals."""

from api import *

STATUS = {signal.SIGTERM: -15, signal.SIGINT: -2, signal.SIGHUP: 156}
LAST_LINES = ("Vmm is stopping.", "Firecracker exiting successfully. exit_code=0")


def messages(log):
    """The messages of Firecracker's log lines."""
    return [re.sub(r"^\S+ \[[^\]]*\] ", "", line) for line in log.splitlines()]


def ctl(sock, *words, status=0):
    """Run `televm ctl`; returns what it printed, or its sentence when it fails."""
    done = subprocess.run([TELEVM, "ctl", sock, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=PATIENCE, check=False)
    if done.returncode != status:
        raise AssertionError(f"ctl {words} ended with status {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout if status == 0 else done.stderr


class ServerCase(ApiTestCase):
    def config(self, kernel=None, **parts):
        """A configuration file."""
        parts = {"boot-source": {"kernel_image_path": kernel or tiny("echo")}, "drives": [], **parts}
        return self.file(json.dumps(parts).encode(), "vm.json")

    def start(self, *arguments, **streams):
        return self.keep(Televm(*arguments, **streams))

    def start_echo(self, *arguments, **streams):
        """A guest that echoes, by a file, without an API."""
        vm = self.start("--no-api", "--config-file", self.config(), *arguments, **{"stdin": "pty", **streams})
        vm.expect("ready\n")
        return vm


class Files(ServerCase):
    def test_config_file_without_api(self):
        """The log tells what clients look for, and the end of the guest is the process's."""
        log = self.file()
        vm = self.start_echo("--id", "web-1", "--log-path", log, "--show-level", stdin="pipe")
        vm.send(CTRL_D)
        self.ends(vm, 0, "")
        lines = read(log).decode()
        self.assertEqual(messages(lines), [
            "Running Firecracker v1.12.1",
            "Successfully started microvm that was configured from one single json",
            "Received KVM_SYSTEM_EVENT: type: 1, event: [0]", LAST_LINES[0],
            "VM ended: the guest shut down", LAST_LINES[1]])
        self.assertTrue(all(re.match(r"\S+ \[web-1:firecracker:INFO\] ", line) for line in lines.splitlines()), lines)

    def test_config_file_with_api(self):
        metadata = self.file(b'{"role": "web"}')
        vm = self.run_api("--config-file", self.config(), "--metadata", metadata, "--id", "web-1", stdin="pipe")
        vm.expect("ready\n")
        self.assertEqual(vm.do("GET", "/")["state"], "Running")
        self.assertEqual(vm.do("GET", "/")["id"], "web-1")
        self.assertEqual(vm.do("GET", "/mmds"), {"role": "web"})
        vm.send(CTRL_D)
        self.ends(vm, 0)
        self.assertFalse(os.path.exists(vm.socket))
        got = messages(vm.errors())
        for line in ("Successfully added metadata to mmds from file", f'Listening on API socket ("{vm.socket}").',
                     "API server started.", *LAST_LINES):
            self.assertIn(line, got)

    def test_bad_files(self):
        for what, config, sentence in (
                ("no file", "/nonexistent", "open '/nonexistent'"),
                ("no JSON", self.file(b"{"), "line 1"),
                ("no kernel", self.config(kernel="/nonexistent"), "/nonexistent"),
                ("an unknown field", self.config(**{"machine-config": {"vcpus": 1}}), "unknown field `vcpus`")):
            with self.subTest(what):
                vm = self.start("--no-api", "--config-file", config)
                self.ends(vm, 152)
                self.assertIn("Configuration for VMM from one single json failed: ", vm.errors())
                self.assertIn(sentence, vm.errors())
                self.assertIn("Firecracker exiting with error. exit_code=152", vm.errors())

    def test_config_of_a_run_is_one(self):
        """What --print-config prints is fed in."""
        config = self.file(host(TELEVM, "run", "--kernel", tiny("echo"), "--memory", "64M", "--print-config").encode())
        vm = self.start("--no-api", "--config-file", config, stdin="pipe")
        vm.expect("ready\n")
        vm.send(CTRL_D)
        self.ends(vm, 0)

    def test_socket_is_taken(self):
        taken = self.file(b"mine")
        vm = self.start("--api-sock", taken)
        self.ends(vm, 1)
        self.assertIn(f"Failed to open the API socket at: {taken}. Check that it is not already used.", vm.errors())
        self.assertEqual(read(taken), b"mine")

    def test_name_of_firecracker(self):
        program = f"{self.folder()}/firecracker"
        os.symlink(TELEVM, program)
        vm = self.start("--version", program=[program])
        self.ends(vm, 0, "")
        self.assertEqual(vm.output(), "Firecracker v1.12.1\n\n")

    def test_threads_and_start_times(self):
        metrics = self.file()
        now_us = str(time.monotonic_ns() // 1000 - 5_000_000)
        vm = self.start_echo("--metrics-path", metrics, "--start-time-us", now_us, "--start-time-cpu-us", "0",
                             "--parent-cpu-time-us", "7000000", stdin="pipe")
        names = sorted(read(f"/proc/{vm.pid}/task/{task}/comm").decode() for task in os.listdir(f"/proc/{vm.pid}/task"))
        self.assertEqual(names, ["fc_vcpu 0\n", "firecracker\n"])
        vm.send(CTRL_D)
        self.ends(vm, 0)
        lines = [json.loads(line) for line in read(metrics).splitlines()]
        self.assertGreaterEqual(len(lines), 2)
        self.assertGreaterEqual(lines[0]["api_server"]["process_startup_time_us"], 5_000_000)
        self.assertGreaterEqual(lines[0]["api_server"]["process_startup_time_cpu_us"], 7_000_000)


class Signals(ServerCase):
    def test_ends(self):
        """With a machine that runs: SIGTERM and SIGINT at once, SIGHUP after a line of metrics."""
        for number, status in STATUS.items():
            with self.subTest(number.name):
                metrics = self.file()
                vm = self.start_echo("--metrics-path", metrics)
                n_lines = len(read(metrics).splitlines())
                vm.signal(number)
                self.ends(vm, status)
                self.assert_terminal_restored(vm)
                self.assertEqual(len(read(metrics).splitlines()) - n_lines, number == signal.SIGHUP)

    def test_no_harm(self):
        """Before there is a machine, and then."""
        vm = self.run_api(stdin="pipe")
        for _ in range(2):
            for number in (signal.SIGPIPE, 35, signal.SIGWINCH, signal.SIGCHLD):
                vm.signal(number)
            if vm.do("GET", "/")["state"] == "Not started":
                vm.do("PUT", "/boot-source", {"kernel_image_path": tiny("echo")})
                vm.start_instance()
                vm.expect("ready\n")
        self.assertGreaterEqual(vm.do("GET", "/metrics")["signals"]["sigpipe"], 1)
        vm.send(b"still here" + CTRL_D)
        vm.expect("still here")
        self.ends(vm, 0)

    def test_fifos_without_a_reader(self):
        """Neither a log nor metrics that nobody reads hold anything up, and a reader gets what comes then."""
        fifos = [f"{self.folder()}/fifo" for _ in range(2)]
        for fifo in fifos:
            os.mkfifo(fifo)
        vm = self.start_echo("--log-path", fifos[0], "--metrics-path", fifos[1], stdin="pipe")
        readers = [os.open(fifo, os.O_RDONLY | os.O_NONBLOCK) for fifo in fifos]
        for reader in readers:
            self.addCleanup(os.close, reader)
        vm.send(CTRL_D)
        self.ends(vm, 0)
        self.assertIn(LAST_LINES[1], os.read(readers[0], 65536).decode())
        self.assertIn(b'"vcpu"', os.read(readers[1], 1 << 20))


class Ctl(ServerCase):
    weight = 5

    def start_linux(self):
        """A Linux that was configured by a file and has a balloon and two disks."""
        disks = [self.file(name=name, size=MIB) for name in ("a.img", "b.img")]
        config = self.config(
            IMAGE, balloon={"amount_mib": 0, "deflate_on_oom": True, "stats_polling_interval_s": 1},
            drives=[{"drive_id": name, "path_on_host": disk, "is_root_device": False, "is_read_only": name == "b"}
                    for name, disk in zip("ab", disks)],
            **{"boot-source": {"kernel_image_path": IMAGE, "initrd_path": INITRAMFS,
                               "boot_args": f'console=ttyS0 loglevel=1 televm.exec="{TALK}"'}})
        metadata = self.file(b'{"a": 0}')
        vm = self.run_api("--config-file", config, "--id", "vm1", "--metadata", metadata, stdin="pipe")
        vm.expect("shell is up\n")
        pin_vcpus(vm)
        return vm

    def test_commands(self):
        vm = self.start_linux()
        self.check_status(vm)
        self.check_pause(vm)
        self.check_changes(vm)
        self.check_metrics(vm)
        self.check_refusals(vm)
        self.assertEqual(ctl(vm.socket, "kill"), "")
        self.ends(vm, -signal.SIGTERM)
        self.assertIn(f"connect to '{vm.socket}': Connection refused", ctl(vm.socket, "status", status=2))

    def check_status(self, vm):
        status = ctl(vm.socket, "status")
        for line in ("id +vm1", "state +Running", f"process +{vm.pid}", "vCPUs +1", "memory +128 MiB",
                     f"kernel +{IMAGE}", r"disk +a: /.*/a\.img", r"disk +b: /.*/b\.img, read-only", "balloon +0 MiB"):
            self.assertRegex(status, re.compile(f"^{line}$", re.MULTILINE))
        status = json.loads(ctl(vm.socket, "status", "--json"))
        self.assertEqual((status["state"], status["pid"]), ("Running", vm.pid))
        config = json.loads(ctl(vm.socket, "config"))
        self.assertEqual(config, status["config"])
        self.assertEqual(config, vm.do("GET", "/vm/config"))
        self.assertIn("1.12.1", ctl(vm.socket, "version"))
        self.assertEqual(json.loads(ctl(vm.socket, "get", "/machine-config"))["mem_size_mib"], 128)

    def check_pause(self, vm):
        self.assertEqual(ctl(vm.socket, "pause"), "")
        self.assertIn("Paused", ctl(vm.socket, "status"))
        self.assertEqual(ctl(vm.socket, "resume"), "")
        self.assertEqual(vm.ask("echo on"), "on\n")

    def check_changes(self, vm):
        ctl(vm.socket, "balloon", "16M")
        eventually("the guest has given back 16 MiB", lambda: json.loads(
            ctl(vm.socket, "balloon", "stats", "--json")).get("actual_mib") == 16)
        self.assertRegex(ctl(vm.socket, "balloon"), r"amount_mib +16\n")
        other = self.file(size=2 * MIB)
        ctl(vm.socket, "disk", "a", other)
        eventually("the guest sees the new size", lambda: vm.ask("cat /sys/block/vda/size") == "4096\n")
        self.assertIn(other, ctl(vm.socket, "status"))
        ctl(vm.socket, "limits", "disk", "a", "bandwidth=1M,ops=100")
        limits = json.loads(ctl(vm.socket, "config"))["drives"][0]["rate_limiter"]
        self.assertEqual((limits["bandwidth"]["size"], limits["ops"]["size"]), (MIB, 100))
        ctl(vm.socket, "put", "/mmds", '{"a": 1}')
        ctl(vm.socket, "patch", "/mmds", '{"b": 2}')
        self.assertEqual(json.loads(ctl(vm.socket, "get", "/mmds", "--json")), {"a": 1, "b": 2})

    def check_metrics(self, vm):
        n_updates = 2  # a file and limits
        self.assertEqual(json.loads(ctl(vm.socket, "metrics", "--json"))["block_a"]["update_count"], n_updates)
        self.assertRegex(ctl(vm.socket, "metrics"), rf"(?m)^block_a\.update_count +{n_updates}$")
        text = ctl(vm.socket, "metrics", "--prometheus")
        self.assertIn(f'televm_block_update_total{{vm="vm1",drive="a"}} {n_updates}\n', text)

    def check_refusals(self, vm):
        for words, sentence in ((("start",), "not supported after starting the microVM"),
                                (("disk", "c", "/x"), "'c'"), (("disk", "a", "/nonexistent"), "/nonexistent"),
                                (("balloon", "1G"), "balloon"), (("get", "/nowhere"), "Invalid request method and/or path"),
                                (("put", "/vm", "{}"), "Invalid request method and/or path")):
            with self.subTest(words=words):
                self.assertRegex(ctl(vm.socket, *words, status=1), f"^televm: error: .*{re.escape(sentence)}")

    def test_stop(self):
        """The power key: the guest's init shuts down."""
        vm = self.start_linux()
        self.assertEqual(ctl(vm.socket, "stop", "--wait", "--timeout", str(PATIENCE)), "")
        self.ends(vm, 0)

    def test_run(self):
        """`televm run --api-sock`: steered by ctl, and quiet on the terminal."""
        sock = f"{self.folder()}/vm.sock"
        vm = self.run_tiny("echo", "--api-sock", sock, stdin="pty")
        vm.expect("ready\n")
        self.assertIn("Running", ctl(sock, "status"))
        ctl(sock, "pause")
        ctl(sock, "resume")
        vm.send("still here")
        vm.expect("still here")
        ctl(sock, "kill")
        self.assertEqual(vm.wait(), 143)
        self.assertTrue(vm.errors().endswith("televm: VM ended: Terminated\n"), vm.errors())
        self.assertNotIn("request", vm.errors())
        self.assertNotIn("API", vm.errors())
        self.assert_terminal_restored(vm)
        self.assertFalse(os.path.exists(sock))
