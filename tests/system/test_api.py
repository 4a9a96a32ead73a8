"""The API, each operation in each state, held to docs/api.yaml; curl as a client; many machines at once."""

import concurrent.futures
import ctypes

from api import *
from openapi import Document

BEFORE, RUNNING, PAUSED = "before the start", "running", "paused"
NOT_BEFORE = "The requested operation is not supported before starting the microVM."
NOT_AFTER = "The requested operation is not supported after starting the microVM."
UNPLUGGABLE = "PCI is not enabled: devices cannot be added or removed once the microVM was started"

# Guests of a few instructions have no drivers, so these have nobody to ask.
NEED_A_DRIVER = {"startHinting", "stopHinting"}


def document():
    with open(f"{HERE}/api.json", encoding="utf-8") as file:
        return Document(json.load(file))


class Held:
    """A thread of another process that does nothing until it is let go, by the thread that holds it."""

    SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
    ALL_KINDS = 0x40000000  # __WALL
    libc = ctypes.CDLL(None, use_errno=True)

    def __init__(self, thread):
        self.thread = thread
        self.ptrace(self.SEIZE)
        self.ptrace(self.INTERRUPT)
        os.waitpid(thread, self.ALL_KINDS)

    def ptrace(self, request):
        if self.libc.ptrace(ctypes.c_long(request), ctypes.c_long(self.thread), None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    def let_go(self):
        self.ptrace(self.DETACH)


class Operations(ApiTestCase):
    """A machine with every device, in three states."""

    def setUp(self):
        super().setUp()
        self.document = document()
        self.place = self.folder()
        disk, other = (f"{self.place}/{name}" for name in ("disk", "other"))
        for path in (disk, other):
            with open(path, "wb") as file:
                file.truncate(MIB)
        # Where the document's examples name files that are not here, or what the others need.
        self.bodies = {
            "putBootSource": {"kernel_image_path": tiny("echo"), "boot_args": "console=ttyS0"},
            "putMachine": {"vcpu_count": 2, "mem_size_mib": 64, "smt": True},
            "patchMachine": {"mem_size_mib": 32, "cpu_template": "None"},
            "putCpu": {"isa_extensions_off": ["v"]},
            "putDrive": {"drive_id": "a", "path_on_host": disk, "is_root_device": True, "io_engine": "Async",
                         "rate_limiter": {"bandwidth": {"size": 1048576, "refill_time": 100}}},
            "patchDrive": {"drive_id": "a", "path_on_host": other, "rate_limiter": None},
            "putNet": {"iface_id": "a", "host_dev_name": "apitest0", "tx_rate_limiter": {}},
            "patchNet": {"iface_id": "a", "rx_rate_limiter": {"ops": {"size": 100, "refill_time": 100}}},
            "putVsock": {"guest_cid": 3, "uds_path": f"{self.place}/vsock", "vsock_id": "root"},
            "putSerial": {"serial_out_path": f"{self.place}/console"},
            "putBalloon": {"amount_mib": 0, "deflate_on_oom": True, "stats_polling_interval_s": 1,
                           "free_page_hinting": True, "free_page_reporting": True},
            "patchBalloon": {"amount_mib": 16},
            "putMmdsConfig": {"network_interfaces": ["a"], "version": "V1"},
            "putLogger": {"log_path": f"{self.place}/log", "level": "Debug"},
            "putMetrics": {"metrics_path": f"{self.place}/metrics"},
        }
        self.deprecated = {"patchMachine", "putVsock", "putMmdsConfig"}

    def body_of(self, operation):
        if "requestBody" not in operation:
            return None
        schema, example = self.document.content(operation["requestBody"])
        body = self.bodies.get(operation["operationId"], example)
        if body is not None:
            self.assertEqual(list(self.document.problems(schema, body)), [])
        return body

    def assert_as_documented(self, operation, answer):
        """Status, head and body are of those that the document has."""
        self.assertIn(str(answer.status), operation["responses"], answer)
        schema, _ = self.document.content(operation["responses"][str(answer.status)])
        self.assertEqual(answer.headers["Server"], "Firecracker API")
        self.assertEqual(answer.headers["Connection"], "keep-alive")
        if schema is None:
            self.assertEqual(answer.text, "")
            self.assertIsNone(answer.headers["Content-Type"])
        else:
            self.assertEqual(answer.headers["Content-Type"], "application/json")
            self.assertEqual(list(self.document.problems(schema, answer.body)), [], answer)

    def expected(self, operation, state):
        """The sentence of a refusal that is to come; None: it is to be done."""
        when, name = operation["x-when"], operation["operationId"]
        if state == BEFORE and when == "after":
            return NOT_BEFORE
        if name in ("putDrive", "putNet") and state != BEFORE:
            return UNPLUGGABLE
        if state != BEFORE and when == "before":
            return NOT_AFTER
        if name == "loadSnapshot":
            return "Load snapshot error: "
        return operation.get("x-missing")

    def try_operation(self, vm, method, path, state):
        operation = self.document.operation(method, path)
        name = operation["operationId"]
        body = self.body_of(operation)
        answer = vm.ask_api(method.upper(), re.sub(r"\{\w+\}", "a", path), body)
        self.assert_as_documented(operation, answer)
        refusal = self.expected(operation, state)
        if name in NEED_A_DRIVER and refusal is None:
            refusal = "Balloon update error: "
        if refusal is None:
            self.assertIn(answer.status, (200, 204), answer)
            self.assertEqual(answer.headers["Deprecation"], "true" if name in self.deprecated else None, answer)
        else:
            self.assertEqual(answer.status, 400, answer)
            self.assertTrue(answer.body["fault_message"].startswith(refusal), answer)

    def try_all(self, vm, state):
        for method, path, _ in self.document.operations():
            if path not in ("/actions", "/vm"):  # they change the state
                with self.subTest(f"{method.upper()} {path}, {state}"):
                    self.try_operation(vm, method, path, state)

    def refused(self, vm, method, path, body, sentence):
        answer = vm.ask_api(method, path, body)
        self.assertEqual((answer.status, answer.body), (400, {"fault_message": sentence}))

    def assert_state(self, vm, state):
        self.assertEqual(vm.ask_api("GET", "/").body["state"], state)

    def test_each_operation_in_each_state(self):
        vm = self.run_api("--id", "operations")
        self.assert_state(vm, "Not started")
        self.try_all(vm, BEFORE)
        for action in ("FlushMetrics", "SendCtrlAltDel"):
            self.refused(vm, "PUT", "/actions", {"action_type": action}, NOT_BEFORE)
        self.refused(vm, "PATCH", "/vm", {"state": "Paused"}, NOT_BEFORE)
        vm.start_instance()
        self.assert_state(vm, "Running")
        self.try_all(vm, RUNNING)
        self.try_actions_after_the_start(vm)
        vm.do("PATCH", "/vm", {"state": "Resumed"})
        self.assert_state(vm, "Running")
        vm.do("PATCH", "/vm", {"state": "Paused"})
        vm.do("PATCH", "/vm", {"state": "Paused"})
        self.assert_state(vm, "Paused")
        self.try_all(vm, PAUSED)
        self.try_actions_after_the_start(vm)
        self.assert_state(vm, "Paused")
        vm.do("PATCH", "/vm", {"state": "Resumed"})
        self.assert_state(vm, "Running")
        self.assert_changes_are_kept(vm)

    def try_actions_after_the_start(self, vm):
        self.refused(vm, "PUT", "/actions", {"action_type": "InstanceStart"}, NOT_AFTER)
        self.refused(vm, "PUT", "/actions", {"action_type": "SendCtrlAltDel"},
                     "Internal VMM error: the guest has no driver for the power key")
        vm.do("PUT", "/actions", {"action_type": "FlushMetrics"})

    def assert_changes_are_kept(self, vm):
        config = vm.do("GET", "/vm/config")
        self.assertEqual(config["drives"][0]["path_on_host"], self.bodies["patchDrive"]["path_on_host"])
        self.assertEqual(config["drives"][0]["rate_limiter"]["bandwidth"]["size"], 1048576)
        self.assertEqual(config["network-interfaces"][0]["rx_rate_limiter"]["ops"]["size"], 100)
        self.assertEqual(config["balloon"]["amount_mib"], 16)
        self.assertEqual(config["machine-config"]["mem_size_mib"], 32)
        log = read(f"{self.place}/log").decode()
        self.assertIn('The API server received a Patch request on "/drives/a" with body "{', log)
        self.assertIn("Status code: 204 No Content.\n", log)
        self.assertNotIn("instance-id", log)  # metadata is nobody's business
        self.assertEqual(len(read(f"{self.place}/metrics").splitlines()), 3)


class Strictness(ApiTestCase):
    """Every field of every body: left out, unknown, of a wrong type. None of it changes anything."""

    def setUp(self):
        super().setUp()
        self.document = document()
        self.vm = self.run_api()

    def assert_refused(self, method, path, body):
        with self.subTest(f"{method} {path} {body}"):
            answer = self.vm.ask_api(method, path, body)
            self.assertEqual(answer.status, 400, answer)
            self.assertEqual(list(answer.body), ["fault_message"])

    def wrong_bodies(self, schema, good):
        for name, part in schema.get("properties", {}).items():
            wrong = [] if self.document.resolve(part).get("type") == "array" else {}
            yield {**good, name: 1.5}
            if self.document.resolve(part).get("type") != "object" and "allOf" not in part:
                yield {**good, name: wrong if wrong else {"a": 1}}
        for name in schema.get("required", ()):
            yield {key: value for key, value in good.items() if key != name}
        if schema.get("additionalProperties") is False:
            yield {**good, "unknown_field": 1}

    def test_bodies_that_are_wrong_are_refused(self):
        before = self.vm.do("GET", "/vm/config")
        for method, path, operation in self.document.operations():
            if "requestBody" not in operation or "x-missing" in operation or operation["x-when"] == "after":
                continue
            schema, good = self.document.content(operation["requestBody"])
            url = re.sub(r"\{(\w+)\}", lambda found, body=good: body[found[1]], path)
            for body in self.wrong_bodies(self.document.resolve(schema), good):
                self.assert_refused(method.upper(), url, body)
        self.assertEqual(self.vm.do("GET", "/vm/config"), before)


class WithLinux(ApiTestCase):
    """What needs drivers in the guest."""

    def run_talking(self):
        vm = self.run_api(stdin="pipe")
        vm.do("PUT", "/boot-source", {"kernel_image_path": IMAGE, "initrd_path": INITRAMFS,
                                      "boot_args": f'console=ttyS0 loglevel=1 televm.exec="{TALK}"'})
        return vm

    def test_balloon_and_a_disk_that_grows(self):
        grows = self.file(size=MIB)
        vm = self.run_talking()
        vm.do("PUT", "/balloon", {"amount_mib": 0, "deflate_on_oom": True, "stats_polling_interval_s": 1,
                                  "free_page_hinting": True})
        vm.do("PUT", "/drives/a", {"drive_id": "a", "path_on_host": grows, "is_root_device": False})
        vm.start_instance()
        vm.expect("shell is up\n")
        self.use_the_balloon(vm)
        os.truncate(grows, 2 * MIB)
        vm.do("PATCH", "/drives/a", {"drive_id": "a", "path_on_host": grows})
        eventually("the size is new", lambda: vm.ask("cat /sys/block/vda/size") == "4096\n", PATIENCE)
        self.assertEqual(vm.ask_api("PATCH", "/drives/a", {"drive_id": "a"}).status, 400)

    def test_asked_after_the_end(self):
        """Requests that wait when the guest ends are answered before televm takes note of that, and change nothing."""
        vm = self.run_talking()
        vm.start_instance()
        vm.expect("shell is up\n")
        other = Connection(vm.socket)
        other.request("GET", "/")
        Answer(other.getresponse())
        vcpu = Held(*vcpus_of(vm))
        vm.send("poweroff\n")
        eventually("the command is taken", lambda: fcntl.ioctl(vm.in_fd, termios.FIONREAD, bytes(4)) == bytes(4))
        vm.do("GET", "/")  # and handed on
        loop = Held(vm.pid)
        vm.connection.request("GET", "/")
        other.request("PATCH", "/vm", '{"state": "Paused"}')
        vcpu.let_go()
        eventually("the vCPU has ended", lambda: not vcpus_of(vm), PATIENCE)
        loop.let_go()
        self.assertEqual(Answer(vm.connection.getresponse()).body["state"], "Running")
        refused = Answer(other.getresponse())
        self.assertEqual((refused.status, refused.body), (400, {"fault_message": "The microVM has come to its end."}))
        self.ends(vm, 0)

    def use_the_balloon(self, vm):
        eventually("the guest tells its memory", lambda: "free_memory" in vm.do("GET", "/balloon/statistics"), PATIENCE)
        problems = document().problems({"$ref": "#/components/schemas/BalloonStatistics"},
                                       vm.do("GET", "/balloon/statistics"))
        self.assertEqual(list(problems), [])
        vm.do("PATCH", "/balloon", {"amount_mib": 16})
        eventually("the balloon has 16 MiB", lambda: vm.do("GET", "/balloon/statistics")["actual_mib"] == 16, PATIENCE)
        vm.do("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 2})
        self.assertEqual(vm.ask_api("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 0}).status, 400)
        vm.do("PATCH", "/balloon/hinting/start")
        eventually("hinting has ended", lambda: vm.do("GET", "/balloon/hinting/status")["host_cmd"] == 1, PATIENCE)
        vm.do("PATCH", "/balloon/hinting/start", {"acknowledge_on_stop": False})
        vm.do("PATCH", "/balloon/hinting/stop")


class Curl(ApiTestCase):
    def curl(self, vm, method, path, *options):
        """Returns the status and all of the answer."""
        answer = host("curl", "-sS", "-i", "--unix-socket", vm.socket, "-X", method, *options, f"http://localhost{path}")
        return int(answer.split()[1]), answer

    def test_curl_starts_a_machine(self):
        vm = self.run_api()
        status, answer = self.curl(vm, "PUT", "/boot-source", "-d", json.dumps({"kernel_image_path": tiny("hello")}))
        self.assertEqual(status, 204, answer)
        status, answer = self.curl(vm, "GET", "/machine-config")
        self.assertEqual(status, 200, answer)
        self.assertIn('"mem_size_mib":128', answer)
        self.assertEqual(self.curl(vm, "GET", "/nothing")[0], 400)
        status, answer = self.curl(vm, "PUT", "/actions", "-d", '{"action_type": "InstanceStart"}')
        self.assertEqual(status, 204, answer)
        vm.expect("hello\n")
        self.ends(vm, 0)

    def test_a_large_body_is_told_to_continue(self):
        vm = self.run_api()
        path = self.file(json.dumps({"a": "a" * 40000}).encode())
        _, answer = self.curl(vm, "PUT", "/mmds", "-H", "Expect: 100-continue", "-d", f"@{path}")
        self.assertRegex(answer, r"^HTTP/1\.1 100 [^\n]*\r?\n\r?\nHTTP/1\.1 204 ")
        self.assertEqual(len(vm.do("GET", "/mmds")["a"]), 40000)
        path = self.file(json.dumps({"a": "a" * 60000}).encode())
        _, answer = self.curl(vm, "PUT", "/mmds", "-H", "Expect: 100-continue", "-d", f"@{path}")
        self.assertRegex(answer, r"^HTTP/1\.1 400 ")
        self.assertIn("is larger than the limit of 51200 allowed by server.", answer)


class Many(ApiTestCase):
    alone = True
    N = 100

    def begin(self, vm):
        vm.wait_for_socket()
        vm.do("PUT", "/machine-config", {"vcpu_count": 1, "mem_size_mib": 16})
        vm.do("PUT", "/boot-source", {"kernel_image_path": tiny("echo")})
        vm.start_instance()
        vm.expect("ready\n")
        return vm.do("GET", "/")["state"]

    def test_a_hundred_machines_at_once(self):
        vms = [self.keep(ApiVm(self.folder(), "--id", f"vm{i}")) for i in range(self.N)]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            states = list(pool.map(self.begin, vms))
        self.assertEqual(states, ["Running"] * self.N)
        for i, vm in enumerate(vms):
            self.assertEqual(vm.do("GET", "/")["id"], f"vm{i}")
            vm.signal(signal.SIGTERM)
        for vm in vms:
            self.ends(vm, -signal.SIGTERM)
