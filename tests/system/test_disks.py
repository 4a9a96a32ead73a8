"""Disks, with Linux's driver: data, order, what is refused, and hosts that fail."""

import hashlib

from televm import *

BAD_CONFIG = 152
ENGINES = ("sync", "uring")
# Engine and harts: both of each without all four.
KINDS = (("sync", 1), ("uring", 4))


def digest(data):
    return hashlib.sha256(data).hexdigest()


def blocks(path):
    """What the file takes of its file system, in bytes."""
    return os.stat(path).st_blocks * 512


class DiskCase(TestCase):
    def random_disk(self, size, name="disk"):
        return self.file(os.urandom(size), name)

    def ext4_disk(self, size, folder=None):
        path = f"{folder or self.folder()}/ext4"
        with open(path, "wb") as file:
            file.truncate(size)
        host("mke2fs", "-q", "-t", "ext4", "-F", path)
        return path

    def host_folder(self):
        """A folder on the host's disk, not in its memory."""
        folder = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(folder.cleanup)
        return folder.name

    def talk_to_disk(self, path, *keys, harts=1):
        return self.talk_to_linux("--disk", ",".join((path, *keys)), "--cpus", str(harts))

    def one_line(self, vm, pattern):
        """televm has written one line before its last, which is like the pattern."""
        errors = vm.errors().removesuffix(SHUT_DOWN)
        self.assertRegex(errors, pattern)
        self.assertEqual(errors.count("\n"), 1, errors)


class Data(DiskCase):
    weight = 9

    def test_two_in_order(self):
        for engine, harts in KINDS:
            with self.subTest(engine=engine, harts=harts):
                first, second = self.random_disk(3 * MIB), self.random_disk(2 * MIB + 512)
                vm = self.talk_to_linux("--disk", f"{first},engine={engine}", "--disk", f"{second},ro,engine={engine}",
                                        "--cpus", str(harts))
                for name, path in (("vda", first), ("vdb", second)):
                    self.assertEqual(int(vm.ask(f"cat /sys/block/{name}/size")) * 512, os.path.getsize(path))
                    self.assertEqual(vm.ask(f"sha256sum </dev/{name}").split()[0], digest(read(path)))
                    st = os.stat(path)
                    self.assertEqual(vm.ask(f"cat /sys/block/{name}/serial").strip(),
                                     f"{st.st_dev}{st.st_rdev}{st.st_ino}"[:20])
                self.assertEqual(vm.ask("cat /sys/block/vd?/ro").split(), ["0", "1"])
                self.power_off(vm)

    def test_twelve(self):
        """As many as there may be, and no more."""
        flags = []
        for n in range(12):
            flags += ["--disk", self.file(bytes([n]) * 512)]
        vm = self.talk_to_linux(*flags)
        self.refused("--kernel", IMAGE, *flags, "--disk", "/dev/null", status=153, sentence="--disk: more than 12 disks")
        got = vm.ask("for c in a b c d e f g h i j k l; do od -An -tu1 -N1 /dev/vd$c; done")
        self.assertEqual(got.split(), [str(n) for n in range(12)])
        self.power_off(vm)

    def test_ext4_over_a_reboot(self):
        for engine, harts in KINDS:
            with self.subTest(engine=engine, harts=harts):
                disk = self.ext4_disk(64 * MIB)
                flags = "--disk", f"{disk},engine={engine}", "--cpus", str(harts)
                vm = self.talk_to_linux(*flags)
                vm.ask("mount -t ext4 /dev/vda /mnt")
                vm.ask("for n in 1 2 3 4; do head -c 1000123 /dev/urandom >/mnt/$n & done; wait")
                want = vm.ask("cd /mnt; sha256sum 1 2 3 4; cd /; umount /mnt")
                vm.send("reboot\n")
                self.ends(vm, 0, REBOOTED)
                host("e2fsck", "-fn", disk)
                vm = self.talk_to_linux(*flags)
                vm.ask("mount -t ext4 /dev/vda /mnt")
                self.assertEqual(vm.ask("cd /mnt; sha256sum 1 2 3 4; cd /"), want)
                vm.ask("umount /mnt")
                self.power_off(vm)

    def test_fio_verifies_ext4(self):
        """What fio has written, in any order and size, it finds again: by direct I/O, and after it was cached."""
        jobs = [f"--name={name} --rw=randwrite --bsrange={sizes} --direct={direct} --fsync={fsync}"
                for name, sizes, direct, fsync in (("direct", "4k-128k", 1, 0), ("cached", "512-64k", 0, 16))]
        for engine, harts in KINDS:
            with self.subTest(engine=engine, harts=harts):
                disk = self.ext4_disk(48 * MIB)
                vm = self.talk_to_linux("--disk", f"{disk},engine={engine}", "--disk", f"{ROOTFS},ro",
                                        "--cpus", str(harts))
                self.mount_debian(vm, "vdb")
                vm.ask("mount -t ext4 /dev/vda /mnt/mnt")
                got = vm.ask("cd /mnt/tmp; chroot /mnt fio --name=global --directory=/mnt --ioengine=psync --size=4m --verify=crc32c "
                             "--verify_fatal=1 --verify_state_save=0 --fallocate=none --thread --aux-path=/tmp "
                             f"--end_fsync=1 {' '.join(jobs)} 2>&1; cd /")
                self.assertEqual(len(re.findall(r"err= 0\b", got)), len(jobs), got)
                vm.ask("umount /mnt/mnt")
                self.power_off(vm)
                host("e2fsck", "-fn", disk)

    def test_many_at_once(self):
        """More requests than the queue holds, of all sizes, from four harts."""
        for engine in ENGINES:
            with self.subTest(engine=engine):
                disk = self.file(size=8 * MIB)
                source = self.random_disk(2 * MIB)
                vm = self.talk_to_linux("--disk", f"{disk},engine={engine}", "--disk", f"{source},ro,engine={engine}",
                                        "--cpus", "4")
                vm.ask("for n in 0 1 2 3; do for bs in 4096 65536; do dd if=/dev/vdb of=/dev/vda bs=$bs count=$((2097152 / bs)) "
                       "seek=$((n * 2097152 / bs)) conv=notrunc oflag=direct 2>/dev/null & done; done; wait; sync")
                self.power_off(vm)
                self.assertEqual(digest(read(disk)), digest(read(source) * 4))

    def test_block_device(self):
        disk = self.random_disk(2 * MIB)
        loop = host("losetup", "--find", "--show", disk).strip()
        self.addCleanup(host, "losetup", "--detach", loop)
        for engine in ENGINES:
            with self.subTest(engine=engine):
                content = read(disk)
                vm = self.talk_to_disk(loop, f"engine={engine}")
                self.assertEqual(vm.ask("sha256sum </dev/vda").split()[0], digest(content))
                vm.ask("tr a-z b-za </dev/vda >/tmp/new; dd if=/tmp/new of=/dev/vda bs=64k conv=fsync 2>/dev/null")
                self.power_off(vm)
                table = bytes.maketrans(b"abcdefghijklmnopqrstuvwxyz", b"bcdefghijklmnopqrstuvwxyza")
                self.assertEqual(digest(read(disk)), digest(content.translate(table)))
        vm = self.talk_to_disk(loop)
        vm.ask("busybox blkdiscard /dev/vda")
        self.power_off(vm)
        self.assertLess(blocks(disk), MIB // 2)

    def test_read_only(self):
        content = os.urandom(2 * MIB)
        disk = self.file(content)
        os.chmod(disk, 0o444)
        for engine in ENGINES:
            with self.subTest(engine=engine):
                vm = self.talk_to_disk(disk, "ro", f"engine={engine}")
                self.assertEqual(vm.ask("cat /sys/block/vda/ro"), "1\n")
                vm.ask("busybox blockdev --setrw /dev/vda", status=None)
                vm.ask("dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync 2>&1", status=1)
                vm.ask("busybox blkdiscard /dev/vda 2>&1", status=1)
                self.assertEqual(vm.ask("sha256sum </dev/vda").split()[0], digest(content))
                self.power_off(vm)
        self.assertTrue(read(disk) == content)

    def test_read_only_ext4(self):
        disk = self.ext4_disk(16 * MIB)
        before = digest(read(disk))
        vm = self.talk_to_disk(disk, "ro")
        vm.ask("mount -t ext4 -o ro /dev/vda /mnt && ls /mnt && ! touch /mnt/file 2>/dev/null")
        vm.ask("mount -o remount,rw /mnt 2>/dev/null && touch /mnt/file", status=None)
        vm.ask("umount /mnt")
        self.power_off(vm)
        self.assertEqual(digest(read(disk)), before)

    def test_odd_size(self):
        """What is no whole sector is not part of the disk, and told."""
        disk = self.file(os.urandom(1500))
        vm = self.talk_to_disk(disk)
        self.assertEqual(vm.ask("cat /sys/block/vda/size"), "2\n")
        self.power_off(vm, None)
        self.one_line(vm, f"the size of '{disk}' is no multiple of 512: its last 476 bytes are not part of the disk")

    def test_empty(self):
        """A disk of no size is one."""
        vm = self.talk_to_disk(self.file())
        self.assertEqual(vm.ask("cat /sys/block/vda/size"), "0\n")
        vm.ask("head -c 1 /dev/vda | wc -c")
        self.power_off(vm)

    def test_limits(self):
        """Bandwidth and operations by the second: a second's worth at once, then as given."""
        for keys, command in ((("bandwidth=2M",), "dd if=/dev/vda bs=1M count=6 iflag=direct"),
                              (("ops=100", "engine=uring"), "dd if=/dev/vda bs=4k count=300 iflag=direct")):
            with self.subTest(keys):
                vm = self.talk_to_disk(self.file(size=8 * MIB), *keys)
                got = vm.ask(f"cat /proc/uptime; {command} 2>/dev/null >/dev/null; cat /proc/uptime").split()
                self.assertGreater(float(got[2]) - float(got[0]), 1.8)
                self.power_off(vm)


class Root(DiskCase):
    """Booted from, without an initramfs."""

    def root(self, path, offset):
        """An ext4 file system with what is in the initramfs, in a file from an offset on."""
        folder = self.folder()
        with open(INITRAMFS, "rb") as file:
            subprocess.run(["busybox", "cpio", "-idm"], cwd=folder, stdin=file, check=True, capture_output=True)
        host("mke2fs", "-q", "-t", "ext4", "-F", "-E", f"offset={offset}", "-d", folder, path, "24m")

    def boot(self, *disks, keys=""):
        flags = []
        for disk in disks:
            flags += ["--disk", disk]
        vm = self.run_televm("--kernel", IMAGE, *flags, "--append",
                             "quiet init=/init televm.exec='cat /proc/cmdline; grep / /proc/mounts; cat /bin/busybox >/tmp/x; "
                             "sha256sum /bin/busybox'".replace("'", '"'))
        self.ends(vm, 0, SHUT_DOWN)
        self.assertIn("exit status 0", vm.output())
        self.assertRegex(vm.output(), rf"/dev/root / ext4 {keys}")
        return vm.output()

    def test_by_order(self):
        disk = self.file(size=32 * MIB)
        self.root(disk, 0)
        other = self.random_disk(MIB)
        self.assertIn(" root=/dev/vda rw ", self.boot(disk, other, keys="rw"))
        # Its root was not unmounted, and a journal cannot be replayed on a disk that is read-only.
        host("e2fsck", "-fy", disk, status=None)
        self.assertIn(" root=/dev/vda ro ", self.boot(other, f"{disk},root,ro", keys="ro"))

    def test_by_partuuid(self):
        disk = self.file(size=32 * MIB)
        self.root(disk, MIB)
        with open(disk, "r+b") as file:
            file.seek(440)
            file.write(bytes.fromhex("78563412"))
            file.seek(446)
            file.write(bytes([0, 0, 0, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little") + (24 * 2048).to_bytes(4, "little"))
            file.seek(510)
            file.write(b"\x55\xaa")
        self.assertIn(" root=PARTUUID=12345678-01 ", self.boot(f"{disk},partuuid=12345678-01"))


class Driver(DiskCase):
    weight = 4

    def test_comes_and_goes(self):
        driver = "/sys/bus/virtio/drivers/virtio_blk"
        for engine, harts in KINDS:
            with self.subTest(engine=engine, harts=harts):
                content = os.urandom(MIB)
                vm = self.talk_to_disk(self.file(content), f"engine={engine}", harts=harts)
                for n in range(4):
                    # Something is being read when it goes.
                    vm.ask(f"(while dd if=/dev/vda of=/dev/null bs=64k iflag=direct 2>/dev/null; do :; done) & sleep 0.{n}; "
                           f"echo virtio0 >{driver}/unbind && ! test -e /dev/vda && wait && "
                           f"echo virtio0 >{driver}/bind")
                    self.assertEqual(vm.ask("sha256sum </dev/vda").split()[0], digest(content))
                self.power_off(vm)


class Durable(DiskCase):
    weight = 4

    def test_flushed_before_a_kill(self):
        for engine, harts in KINDS:
            with self.subTest(engine=engine, harts=harts):
                disk = self.file(size=8 * MIB)
                vm = self.talk_to_disk(disk, f"engine={engine}", harts=harts)
                want = vm.ask("head -c 1048576 /dev/urandom >/tmp/data; dd if=/tmp/data of=/dev/vda bs=64k conv=fsync 2>/dev/null; "
                              "sha256sum </tmp/data").split()[0]
                vm.signal(signal.SIGKILL)
                self.assertEqual(vm.wait(), -signal.SIGKILL)
                self.assertEqual(digest(read(disk)[:MIB]), want)

    def test_ext4_after_a_kill(self):
        """What was synced is there when the journal has been replayed."""
        disk = self.ext4_disk(32 * MIB, self.host_folder())
        vm = self.talk_to_disk(disk, "engine=uring", harts=4)
        vm.ask("mount -t ext4 /dev/vda /mnt")
        want = vm.ask("head -c 2097152 /dev/urandom >/mnt/synced; sync; sha256sum /mnt/synced")
        vm.send("while :; do head -c 100000 /dev/urandom >/mnt/$RANDOM; done\n")
        time.sleep(0.7)
        vm.signal(signal.SIGKILL)
        vm.wait()
        vm = self.talk_to_disk(disk)
        self.assertEqual(vm.ask("mount -t ext4 /dev/vda /mnt; sha256sum /mnt/synced"), want)
        vm.ask("umount /mnt")
        self.power_off(vm)
        host("e2fsck", "-fn", disk)

    def syncs(self, *keys):
        trace = self.file(name="trace")
        vm = self.run_linux("--disk", ",".join((self.file(size=MIB), *keys)), append="quiet",
                            ask="for n in 1 2 3; do dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync 2>/dev/null; done",
                            program=["strace", "-f", "-o", trace, "-e", "trace=fdatasync", TELEVM])
        self.ends(vm, 0, SHUT_DOWN)
        return read(trace).count(b"fdatasync(")

    def test_cache(self):
        """Flushes of the guest reach the disk, with cache=unsafe none does."""
        self.assertGreaterEqual(self.syncs(), 3)
        self.assertEqual(self.syncs("cache=unsafe"), 0)


class Discard(DiskCase):
    weight = 3

    def test_gives_space_back(self):
        for engine, folder in (("sync", self.folder()), ("uring", self.host_folder())):
            with self.subTest(engine=engine):
                disk = f"{folder}/disk"
                with open(disk, "wb") as file:
                    file.write(os.urandom(16 * MIB))
                    os.fsync(file.fileno())
                self.assertGreaterEqual(blocks(disk), 16 * MIB)
                vm = self.talk_to_disk(disk, f"engine={engine}")
                vm.ask("busybox blkdiscard -o 4194304 -l 8388608 /dev/vda")
                self.assertLess(blocks(disk), 9 * MIB)
                self.assertEqual(vm.ask("head -c 12582912 /dev/vda | tail -c 8388608 | tr -d '\\0' | wc -c").strip(), "0")
                vm.ask("busybox blkdiscard /dev/vda")
                self.power_off(vm)
                self.assertLess(blocks(disk), MIB)
                self.assertEqual(os.path.getsize(disk), 16 * MIB)

    def test_trim_of_ext4(self):
        disk = self.ext4_disk(64 * MIB)
        vm = self.talk_to_disk(disk)
        vm.ask("mount -t ext4 /dev/vda /mnt; head -c 16777216 /dev/urandom >/mnt/file; sync")
        full = blocks(disk)
        vm.ask("rm /mnt/file; sync; busybox fstrim /mnt")
        self.assertGreater(full - blocks(disk), 15 * MIB)
        vm.ask("umount /mnt")
        self.power_off(vm)
        host("e2fsck", "-fn", disk)


class Failing(DiskCase):
    """The host fails: the guest has an I/O error, the log a line, and the machine goes on."""

    weight = 4
    READ = "dd if=/dev/vda of=/dev/null bs=4k count=1 iflag=direct 2>&1"

    def test_cut_short(self):
        for engine in ENGINES:
            with self.subTest(engine=engine):
                disk = self.random_disk(8 * MIB)
                vm = self.talk_to_disk(disk, f"engine={engine}")
                os.truncate(disk, 4 * MIB)
                self.assertIn("Input/output error", vm.ask(f"{self.READ} skip=1500", status=1))
                # Not to the end: Linux reads ahead.
                self.assertEqual(vm.ask("head -c 3145728 /dev/vda | sha256sum").split()[0], digest(read(disk)[:3 * MIB]))
                os.truncate(disk, 8 * MIB)
                vm.ask(f"{self.READ} skip=1500")
                self.power_off(vm, None)
                self.one_line(vm, f"'{disk}': read of 4096 bytes at 6144000: the file has become shorter")

    def test_removed(self):
        """Its name is gone, not the file."""
        disk = self.random_disk(MIB)
        want = digest(read(disk))
        vm = self.talk_to_disk(disk)
        os.remove(disk)
        self.assertEqual(vm.ask("sha256sum </dev/vda").split()[0], want)
        self.power_off(vm)

    def test_full_file_system(self):
        for engine in ENGINES:
            with self.subTest(engine=engine):
                folder = self.folder()
                host("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder)
                self.addCleanup(host, "umount", "-l", folder)
                disk = f"{folder}/disk"
                with open(disk, "wb") as file:
                    file.truncate(16 * MIB)
                vm = self.talk_to_disk(disk, f"engine={engine}")
                write = "dd if=/tmp/data of=/dev/vda bs=1M oflag=direct conv=notrunc 2>&1"
                vm.ask("head -c 8388608 /dev/urandom >/tmp/data")
                self.assertIn("Input/output error", vm.ask(write, status=1))
                host("mount", "-o", "remount,size=32m", folder)
                want = vm.ask(f"({write}) >/dev/null; sha256sum </tmp/data").split()[0]
                self.power_off(vm, None)
                self.assertEqual(digest(read(disk)[:8 * MIB]), want)
                self.assertRegex(vm.errors(), f"'{disk}': write of [0-9]+ bytes at [0-9]+: No space left on device\n")

    def mapped(self, name, table):
        """A block device of the host by a table of device mapper, which can be changed."""
        host("dmsetup", "create", "--noudevsync", "--noudevrules", name, "--table", table)
        self.addCleanup(host, "dmsetup", "remove", "--noudevsync", "--noudevrules", "--retry", name)
        host("dmsetup", "mknodes", name)
        return f"/dev/mapper/{name}"

    def change(self, name, table):
        host("dmsetup", "suspend", "--noudevsync", "--nolockfs", name)
        host("dmsetup", "load", "--noudevsync", name, "--table", table)
        host("dmsetup", "resume", "--noudevsync", "--noudevrules", name)

    def test_no_answer(self):
        """A disk that does not answer holds up nothing but itself, and not the end of the machine."""
        host("modprobe", "dm-mod")
        device = self.mapped("silent", f"0 16384 linear {self.loop(8 * MIB)} 0")
        vm = self.talk_to_disk(device, "engine=uring")
        host("dmsetup", "suspend", "--noudevsync", "--nolockfs", "silent")
        self.addCleanup(host, "dmsetup", "resume", "--noudevsync", "--noudevrules", "silent")
        # Not at the start, which the host has kept since the guest looked for partitions.
        vm.ask(f"{self.READ} skip=1024 >/dev/null &")
        eventually("it is asked", lambda: vm.ask("cat /sys/block/vda/inflight").split() == ["1", "0"])
        vm.ask("head -c 1000 /dev/hwrng >/dev/null")
        vm.signal(signal.SIGTERM)
        self.ends(vm, 143)
        self.assertIn("blk 'disk0': its disk does not answer: what was under way may be lost\n", vm.errors())

    def loop(self, size):
        disk = self.random_disk(size)
        loop = host("losetup", "--find", "--show", disk).strip()
        self.addCleanup(host, "losetup", "--detach", loop)
        return loop

    def test_bad_sectors(self):
        host("modprobe", "dm-mod")
        loop = self.loop(8 * MIB)
        for engine in ENGINES:
            with self.subTest(engine=engine):
                name = f"bad-{engine}"
                device = self.mapped(name, f"0 8192 linear {loop} 0\n8192 4096 error\n12288 4096 linear {loop} 12288")
                vm = self.talk_to_disk(device, f"engine={engine}")
                for skip, status in ((0, 0), (1024, 1), (1535, 1), (1536, 0)):
                    vm.ask(f"{self.READ} skip={skip}", status=status)
                self.change(name, f"0 16384 linear {loop} 0")
                vm.ask(f"{self.READ} skip=1024")
                self.power_off(vm, None)
                self.assertRegex(vm.errors(), f"'{device}': read of 4096 bytes at 4194304: Input/output error\n")

    def test_flush_that_failed(self):
        """What was written is lost, so flushing fails from then on, though the disk is well again."""
        host("modprobe", "dm-mod")
        loop = self.loop(8 * MIB)
        for engine in ENGINES:
            with self.subTest(engine=engine):
                name = f"flush-{engine}"
                good = f"0 16384 linear {loop} 0"
                device = self.mapped(name, good)
                vm = self.talk_to_disk(device, f"engine={engine}")
                write = "dd if=/dev/zero of=/dev/vda bs=64k count=4 conv=fsync 2>&1"
                vm.ask(write)
                self.change(name, "0 16384 error")
                self.assertIn("Input/output error", vm.ask(write, status=1))
                self.change(name, good)
                self.assertIn("Input/output error", vm.ask(write, status=1))
                vm.ask(self.READ)
                self.power_off(vm, None)
                self.assertIn(f"'{device}': what was written may be lost, and flushing fails from now on\n", vm.errors())


class Refused(DiskCase):
    def refuse(self, path, sentence, *keys, **how):
        self.refused("--kernel", tiny("hello"), "--disk", ",".join((path, *keys)), status=BAD_CONFIG, sentence=sentence, **how)

    def test_missing(self):
        self.refuse("/no/such/disk", "disk 'disk0': open '/no/such/disk' for reading and writing: No such file or directory")

    def test_folder(self):
        self.refuse("/usr", "'/usr'")
        self.refuse("/usr", "'/usr' is neither a regular file nor a block device", "ro")

    def test_fifo(self):
        path = f"{self.folder()}/fifo"
        os.mkfifo(path)
        for keys in ((), ("ro",)):
            self.refuse(path, f"'{path}' is neither a regular file nor a block device", *keys)

    def test_character_device(self):
        self.refuse("/dev/zero", "'/dev/zero' is neither a regular file nor a block device")

    def test_not_allowed(self):
        disk = self.random_disk(MIB)
        os.chown(disk, 65534, 65534)
        os.chmod(disk, 0o444)
        os.chmod(os.path.dirname(disk), 0o755)
        # Who may use KVM, but not every file.
        bound = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all", TELEVM]
        self.refuse(disk, f"open '{disk}' for reading and writing: Permission denied", program=bound)
        os.chmod(disk, 0)
        self.refuse(disk, f"open '{disk}' for reading: Permission denied", "ro", program=bound)

    def test_in_use(self):
        disk = self.random_disk(MIB)
        for engine in ENGINES:
            with self.subTest(engine=engine):
                first = self.run_tiny("echo", "--disk", f"{disk},engine={engine}")
                first.expect("ready\n")
                self.refuse(disk, f"'{disk}' is in use by another disk\n")
                self.refuse(disk, f"'{disk}' is in use by another disk that writes to it\n", "ro")
                first.signal(signal.SIGTERM)
                self.ends(first, 143)
                readers = [self.run_tiny("echo", "--disk", f"{disk},ro,engine={engine}") for _ in range(2)]
                for reader in readers:
                    reader.expect("ready\n")
                self.refuse(disk, f"'{disk}' is in use by another disk\n")
                for reader in readers:
                    reader.signal(signal.SIGKILL)
                    reader.wait()
                self.ends(self.run_tiny("hello", "--disk", disk), 0, SHUT_DOWN)

    def test_twice_in_one_vm(self):
        disk = self.random_disk(MIB)
        self.refused("--kernel", tiny("hello"), "--disk", disk, "--disk", disk, status=BAD_CONFIG,
                     sentence=f"disk 'disk1': '{disk}' is in use by another disk")
