"""A client of the API, and a televm that is driven by it: what tests share. Runs in the emulated host."""

import http.client
import json
import socket

from televm import *


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()
        self.body = json.loads(self.text) if self.text else None

    def __repr__(self):
        return f"{self.status} {self.text}"


class ApiVm(Televm):
    """`televm --api-sock` with the socket in a folder."""

    def __init__(self, folder, *arguments, **streams):
        self.socket = f"{folder}/api"
        super().__init__("--api-sock", self.socket, *arguments, **streams)
        self.connection = None

    def wait_for_socket(self):
        """Until somebody listens."""
        def answers():
            with contextlib.suppress(OSError):
                return self.ask_api("GET", "/").status == 200
        eventually("the API answers", answers, PATIENCE)
        return self

    def ask_api(self, method, path, body=None):
        if self.connection is None:
            self.connection = Connection(self.socket)
        try:
            self.connection.request(method, path, body=None if body is None else json.dumps(body))
            return Answer(self.connection.getresponse())
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            raise

    def do(self, method, path, body=None):
        """Ask, and have it done. Returns the answer's body."""
        answer = self.ask_api(method, path, body)
        if answer.status not in (200, 204):
            raise AssertionError(f"{method} {path} {body}: {answer}")
        return answer.body

    def start_instance(self):
        self.do("PUT", "/actions", {"action_type": "InstanceStart"})

    def stop(self):
        if self.connection is not None:
            self.connection.close()
        super().stop()


class ApiTestCase(TestCase):
    def run_api(self, *arguments, **streams):
        vm = self.keep(ApiVm(self.folder(), *arguments, **streams))
        return vm.wait_for_socket()


__all__ = [name for name in globals() if not name.startswith("_")] + ["signal"]
