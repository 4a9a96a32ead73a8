#!/usr/bin/env python3
"""Runs the test files beside it in the emulated host: inside.py [--long] HOST [PATTERN].

Prints a line for each test ("ok", "not ok", or "skip", which does not count) and, last, "end". Test classes run side by side, as many as there are
processors, heavy ones first; then, one by one, those that want to be alone. A class and a function
of it may be told apart from others by a pattern as in boot.Harts.test_two or *Harts*.
"""

import argparse
import concurrent.futures
import fnmatch
import glob
import importlib
import multiprocessing
import os
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))


def name_of(test):
    return test.id().removeprefix("test_").removeprefix("long_")


class Result(unittest.TestResult):
    """Writes what happens, a test at a time, so that classes side by side do not mix."""

    def __init__(self, host):
        super().__init__()
        self.host = host
        self.begin = 0

    def startTest(self, test):
        super().startTest(test)
        self.begin = time.monotonic()
        self.troubles = []
        self.reason = None

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.reason = reason

    def write(self, text):
        # One call, and less than a pipe takes at once: not mixed with other processes' lines.
        os.write(1, text.encode(errors="replace")[-65000:])

    def stopTest(self, test):
        super().stopTest(test)
        seconds = time.monotonic() - self.begin
        name = f"{self.host} {name_of(test)} ({seconds:.1f} s)"
        if self.troubles:
            self.write(f"not ok {name}\n" + "".join(self.troubles))
        elif self.reason:
            self.write(f"skip {name}: {self.reason}\n")
        else:
            self.write(f"ok {name}\n")

    def trouble(self, test, error):
        text = "".join("  " + line + "\n" for line in self._exc_info_to_string(error, test).splitlines())
        vms = [*getattr(test, "started", ()), *getattr(type(test), "shared", ())]
        self.troubles.append(text + "".join(vm.report() for vm in vms))

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.trouble(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        if isinstance(test, unittest.TestCase):
            self.trouble(test, err)
        else:  # setUpClass
            text = self._exc_info_to_string(err, test)
            self.write(f"not ok {self.host} {name_of(test)}\n" + "".join(f"  {line}\n" for line in text.splitlines()))

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            self.troubles.append(f"  {subtest._subDescription()}\n")
            self.trouble(test, err)


def run_class(host, names):
    unittest.defaultTestLoader.loadTestsFromNames(names).run(Result(host))


def find(kind, pattern):
    """The wanted tests' names by class."""
    classes = {}
    for path in sorted(glob.glob(f"{HERE}/{kind}_*.py")):
        module = importlib.import_module(os.path.basename(path).removesuffix(".py"))
        for suite in unittest.defaultTestLoader.loadTestsFromModule(module):
            for test in suite:
                if fnmatch.fnmatch(name_of(test), pattern):
                    classes.setdefault(type(test), []).append(test.id())
    return classes


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("host")
    parser.add_argument("pattern", nargs="?", default="*")
    options = parser.parse_args()
    os.environ["TELEVM_HOST"] = options.host
    pattern = options.pattern if any(c in options.pattern for c in "*?[") else f"*{options.pattern}*"
    kind = "long" if options.long else "smoke" if options.smoke else "test"
    classes = find(kind, pattern)
    beside = sorted((c for c in classes if not c.alone), key=lambda c: -c.weight)
    alone = sorted((c for c in classes if c.alone), key=lambda c: -c.weight)
    fork = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count(), mp_context=fork) as pool:
        for future in [pool.submit(run_class, options.host, classes[c]) for c in beside]:
            future.result()
    for one in alone:
        run_class(options.host, classes[one])
    os.write(1, b"end\n")


if __name__ == "__main__":
    sys.path.insert(0, HERE)
    main()
