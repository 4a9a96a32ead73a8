"""What programs that count by a plugin of the emulator share: compiling the plugin, and names for addresses."""

import bisect
import os
import subprocess

HERE = os.path.dirname(os.path.realpath(__file__))


def build(source, plugin):
    """Compile SOURCE, which includes qemu_plugin.h, to the shared library PLUGIN."""
    subprocess.run(["gcc", "-std=gnu17", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-I", HERE, "-o", plugin, source],
                   check=True)


class Symbols:
    """Names by address, from pairs of both."""

    def __init__(self, pairs):
        self.pairs = sorted(pairs)
        self.addresses = [address for address, _ in self.pairs]

    def name(self, address):
        """The name of what holds ADDRESS."""
        i = bisect.bisect_right(self.addresses, address) - 1
        return self.pairs[i][1] if i >= 0 else hex(address)


def nm_pairs(text, base=0):
    """Of what nm and /proc/kallsyms print, and a kernel's map has; a module's name stands behind."""
    words = (line.split() for line in text.splitlines())
    return [(int(word[0], 16) + base, " ".join(word[2:])) for word in words if len(word) > 2]
