#!/usr/bin/env python3
"""Runs a command by testbed/run (the argument) on a terminal of our own, as a person would: its size
arrives, keys that emulators and shells like to keep reach the command, and in the end the terminal's
settings are what they were."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

COMMAND = r"""
stty size; echo ready
IFS= read -r line; printf %s "$line" | od -An -tx1
stty size
trap 'echo caught; exit 9' INT
echo waiting; sleep 1000
"""

seen = b""


def expect(master, pattern):
    global seen
    deadline = time.monotonic() + 90
    while not (match := re.search(pattern, seen)):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([master], [], [], left)[0]:
            sys.exit(f"waited in vain for {pattern}, saw {seen}")
        try:
            seen += os.read(master, 4096)
        except OSError:
            sys.exit(f"it ended before {pattern}, saw {seen}")
    seen = seen[match.end():]


def set_size(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def main():
    master, slave = pty.openpty()
    set_size(slave, 40, 100)
    before = termios.tcgetattr(slave)
    child = os.fork()
    if child == 0:
        os.login_tty(slave) if hasattr(os, "login_tty") else login(slave)
        os.execv(sys.argv[1], [sys.argv[1], "--timeout", "120", "--", "bash", "-c", COMMAND])
    expect(master, rb"40 100\r\n.*ready\r\n")
    set_size(slave, 50, 120)
    os.kill(child, signal.SIGWINCH)
    time.sleep(0.5)
    # Echoed as ^Ax, then read: both keys, and nothing else.
    os.write(master, b"\x01x\r")
    expect(master, rb"\^Ax\r\n 01 78\r\n50 120\r\nwaiting\r\n")
    time.sleep(0.5)
    os.write(master, b"\x03")
    expect(master, rb"caught\r\n")
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != 9:
        sys.exit(f"the exit status is {os.waitstatus_to_exitcode(status)}, not 9")
    if termios.tcgetattr(slave) != before:
        sys.exit("the terminal's settings are not what they were")


def login(fd):
    os.setsid()
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
    for number in range(3):
        os.dup2(fd, number)


if __name__ == "__main__":
    main()
