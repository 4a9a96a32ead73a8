"""What the host's kernel alone executes for the bytes that devices move: the least that any monitor can take.

  testbed/run --host aia --count --cpus 1 --share bench -- python3 /share/floor.py

Prints instructions for each MiB, those of this interpreter included (some 1,000 a call).
"""

import fcntl
import os
import socket
import struct
import time

MIB = 1 << 20
PIECE = 65536
FILE = "/var/tmp/televm-floor"
ROUNDS = 32
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_UP = 2, 0x1000, 0x4000, 1
SIOCSIFFLAGS = 0x8914


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


def tap_row():
    """Frames of 64 KiB that the host looks at and drops: what its TCP would do comes on top."""
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"floor0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", b"floor0", IFF_UP))
    head = bytes(10) + b"\xff" * 6 + b"\x02" + bytes(5) + b"\x88\xb5"
    data = bytes(PIECE - 64)
    os.writev(fd, [head, data])
    say("writev of frames of 64 KiB to a tap", sum(counted(lambda: os.writev(fd, [head, data])) for _ in range(ROUNDS)),
        ROUNDS * PIECE / MIB)
    os.close(fd)


file_rows()
socket_rows()
tap_row()
