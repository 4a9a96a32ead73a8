"""The configuration as a file: what one form says, another one does."""

import json

from api import ApiVm
from televm import *


class ConfigFile(TestCase):
    def run_file(self, config):
        """Start `televm --config-file` without an API."""
        path = self.file(json.dumps(config).encode(), "vm.json")
        return self.keep(Televm("--config-file", path, "--no-api"))

    def printed(self, *arguments):
        vm = self.run_tiny("hello", *arguments, "--print-config")
        self.ends(vm, 0, "")
        self.assertEqual(vm.output().count("\n"), 1)
        return json.loads(vm.output())

    def test_what_is_printed_runs(self):
        disk = self.file(name="disk", size=1 << 20)
        config = self.printed("--cpus", "3", "--memory", "64M", "--disk", f"{disk},ro", "--console", "serial",
                              "--rng", "bandwidth=64K", "--balloon", "size=4")
        self.assertEqual(config["machine-config"]["vcpu_count"], 3)
        self.assertEqual(config["drives"][0]["path_on_host"], disk)
        vm = self.run_file(config)
        self.ends(vm, 0)
        self.assertEqual(vm.output(), "hello\n")

    def test_the_same_again(self):
        """What a running machine gives back is what it was made of."""
        printed = self.run_tiny("echo", "--print-config", "--rng", "off", "--log-level", "debug")
        self.ends(printed, 0, "")
        config = json.loads(printed.output())
        path = self.file(printed.output().encode(), "vm.json")
        vm = self.keep(ApiVm(self.folder(), "--config-file", path)).wait_for_socket()
        self.assertEqual(vm.ask_api("GET", "/vm/config").body, config)
        self.assertEqual(vm.ask_api("GET", "/machine-config").body, config["machine-config"])

    def test_refused(self):
        good = self.printed()
        for change, sentence in (
            ({"drives": [{"drive_id": "a", "path_on_host": "x"}]}, "drives: 0: missing field `is_root_device`"),
            ({"machine-config": {"vcpu_count": 33, "mem_size_mib": 64}}, "machine-config: 33 vCPUs are asked for"),
            ({"televm": {"x": 1}}, "televm: unknown field `x`"),
        ):
            with self.subTest(sentence=sentence):
                vm = self.run_file(good | change)
                self.ends(vm, 152)
                self.assertIn("Configuration for VMM from one single json failed:", vm.errors())
                self.assertIn(sentence, vm.errors())
