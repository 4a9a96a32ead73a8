"""Talks to the API of a televm that was started with --api-sock: what the tests of it share."""

import http.client
import json
import socket

from televm import *

SERIAL = "console=ttyS0"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class ApiCase(TestCase):
    """A test of a televm that is configured by its API."""

    def serve(self, *flags, **streams):
        """Start one and wait until it listens. The socket's path is `api` of what is returned."""
        path = f"{self.folder()}/api"
        vm = self.keep(Televm("--api-sock", path, *flags, **streams))
        vm.api = path
        eventually("it listens", lambda: os.path.exists(path) or vm.process.poll() is not None, PATIENCE)
        return vm

    def request(self, vm, method, path, body=None):
        """Returns the status and what came with it, or None."""
        connection = UnixConnection(vm.api)
        with contextlib.closing(connection):
            connection.request(method, path, body if body is None else json.dumps(body),
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        return answer.status, json.loads(content) if content else None

    def get(self, vm, path):
        status, content = self.request(vm, "GET", path)
        self.assertEqual(status, 200, content)
        return content

    def change(self, vm, path, method="PUT", **fields):
        """PUT or PATCH, which is to succeed."""
        status, content = self.request(vm, method, path, fields)
        self.assertEqual(status, 204, content)

    def refuses(self, vm, path, sentence, method="PUT", **fields):
        """The same, which is to be refused with a sentence like that."""
        status, content = self.request(vm, method, path, fields)
        self.assertEqual(status, 400, content)
        self.assertRegex(content["fault_message"], sentence)

    def start(self, vm):
        self.change(vm, "/actions", action_type="InstanceStart")

    def set_paused(self, vm, is_paused):
        self.change(vm, "/vm", "PATCH", state="Paused" if is_paused else "Resumed")

    def configure_linux(self, vm, ask=None, harts=1, append="loglevel=1", kernel=IMAGE, initrd=INITRAMFS):
        """All but the start. ask: what its user space is to run."""
        if ask is not None:
            append += f' televm.exec="{ask}"'
        self.change(vm, "/boot-source", kernel_image_path=kernel, initrd_path=initrd, boot_args=f"{SERIAL} {append}")
        self.change(vm, "/machine-config", vcpu_count=harts, mem_size_mib=256)

    def start_talking(self, vm):
        """Start one that was configured with ask=TALK, and whose standard input is a pipe."""
        self.start(vm)
        vm.expect("shell is up\n")
        if HOST == "aia":
            pin_vcpus(vm)


__all__ = [name for name in globals() if not name.startswith("_")]
