"""What the host's kernel alone executes for the bytes that devices move: the least that any monitor can take.

  testbed/run --host aia --count --cpus 1 --share bench -- python3 /share/floor.py

Prints instructions for each MiB, those of this interpreter included (some 1,000 a call).
"""

import os
import socket
import time

MIB = 1 << 20
PIECE = 65536
FILE = "/var/tmp/televm-floor"
ROUNDS = 32


def counted(action):
    """Nanoseconds are instructions here."""
    begin = time.monotonic_ns()
    action()
    return time.monotonic_ns() - begin


def say(what, total, mib):
    print(f"{what:<40}{total / mib / 1e6:6.2f} Mi", flush=True)


def file_rows():
    """A file that is in the page cache and dirty, as bench/devices.py has its disk."""
    with open("/proc/sys/vm/dirty_writeback_centisecs", "w", encoding="ascii") as file:
        file.write("0")
    data = bytearray(MIB)
    fd = os.open(FILE, os.O_RDWR | os.O_CREAT, 0o600)
    os.unlink(FILE)
    for n in range(2 * ROUNDS):
        os.pwrite(fd, data, n * MIB)
    say("pread of 1 MiB", sum(counted(lambda n=n: os.preadv(fd, [data], n * MIB)) for n in range(ROUNDS)), ROUNDS)
    say("pwrite of 1 MiB", sum(counted(lambda n=n: os.pwrite(fd, data, n * MIB)) for n in range(ROUNDS)), ROUNDS)
    os.close(fd)


def drain(sock, into, count):
    while count > 0:
        count -= sock.recv_into(into, min(count, PIECE))


def socket_rows():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    data, into = bytes(PIECE), bytearray(PIECE)
    buffers = [bytearray(4096) for _ in range(16)]
    sent = received = 0
    for _ in range(ROUNDS):
        sent += counted(lambda: ours.sendall(data))
        drain(theirs, into, PIECE)
        ours.sendall(data)
        received += counted(lambda: theirs.recvmsg_into(buffers))
    say("sendmsg of 64 KiB to a Unix socket", sent, ROUNDS * PIECE / MIB)
    say("recvmsg of 64 KiB into sixteen buffers", received, ROUNDS * PIECE / MIB)


file_rows()
socket_rows()
