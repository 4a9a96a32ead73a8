"""Tells guest RAM from the rest of a monitor's memory, in the text of /proc/PID/smaps.

Guest RAM may be one mapping or several in a row (the kernel's file, say, is a mapping of its own in
TeleVM's). It is found by its size: mappings that follow each other without a gap and are not
guard pages (without any permission) and that together are exactly as large as the guest's memory.
"""

import re

HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) ")
VALUE = re.compile(r"(\w+):\s+(\d+) kB")
KEYS = ("Rss", "Pss", "Private_Dirty")


class Mapping:
    """One mapping: where it is, what it permits, and its counts in bytes."""

    def __init__(self, match):
        self.begin = int(match[1], 16)
        self.end = int(match[2], 16)
        self.guard = match[3].startswith("---")
        self.counts = {}


def mappings(lines):
    found = []
    for line in lines:
        if match := HEAD.match(line):
            found.append(Mapping(match))
        elif match := VALUE.match(line):
            found[-1].counts[match[1]] = int(match[2]) * 1024
    return found


def guest_ram(found, size):
    """The mappings that are the guest's RAM."""
    for first in range(len(found)):
        for last in range(first, len(found)):
            part = found[first:last + 1]
            if part[-1].guard or (len(part) > 1 and part[-2].end != part[-1].begin):
                break
            if part[-1].end - part[0].begin == size:
                return part
    raise ValueError("guest RAM is not among the mappings")


def split(lines, size):
    """What is inside and what is outside guest RAM: two dictionaries of KEYS."""
    found = mappings(lines)
    ram = guest_ram(found, size)

    def total(part, key):
        return sum(mapping.counts[key] for mapping in part)
    rest = [mapping for mapping in found if mapping not in ram]
    return {key: total(ram, key) for key in KEYS}, {key: total(rest, key) for key in KEYS}
