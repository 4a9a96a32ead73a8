"""What televm refuses, each time with one clear sentence and before there is a VM."""

import gzip
import socket
import struct

from televm import *

BAD_CONFIG, BAD_ARGUMENTS, HOST_LACKS = 152, 153, 1


def header(**changes):
    """A kernel's header as a file, with some fields changed."""
    fields = {"code": 0x0000006F, "text_offset": 0x200000, "size": 0x10000, "flags": 0, "magic": b"RSC\x05"}
    fields.update(changes)
    return struct.pack("<IIQQQIIQ8s4sI", fields["code"], 0, fields["text_offset"], fields["size"], fields["flags"], 2,
                       0, 0, b"RISCV\0\0\0", fields["magic"], 0) + bytes(4032)


class Kernel(TestCase):
    def refuse(self, path, sentence, *arguments):
        self.refused("--kernel", path, *arguments, status=BAD_CONFIG, sentence=sentence)

    def refuse_content(self, content, sentence, *arguments):
        path = self.file(content, "kernel")
        self.refuse(path, f"kernel '{re.escape(path)}',? ?{sentence}", *arguments)

    def test_missing(self):
        self.refuse("/no/such/kernel", "kernel: open '/no/such/kernel': No such file or directory")

    def test_not_allowed(self):
        path = self.file(read(tiny("hello")))
        os.chmod(path, 0)
        os.chmod(os.path.dirname(path), 0o755)
        self.refused("--kernel", path, status=BAD_CONFIG, sentence=f"kernel: open '{path}': Permission denied",
                     program=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", TELEVM))

    def test_folder(self):
        self.refuse("/usr", "'/usr' is a directory, not a regular file")

    def test_fifo(self):
        path = f"{self.folder()}/fifo"
        os.mkfifo(path)
        self.refuse(path, f"'{path}' is a FIFO, not a regular file")

    def test_socket(self):
        path = f"{self.folder()}/socket"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            self.refuse(path, f"'{path}'")

    def test_device(self):
        self.refuse("/dev/zero", "'/dev/zero' is a character device, not a regular file")

    def test_empty(self):
        self.refuse_content(b"", "is empty")

    def test_elf(self):
        self.refuse_content(read("/bin/true"), "is an ELF file: use arch/riscv/boot/Image")

    def test_initramfs(self):
        self.refuse(INITRAMFS, "is a cpio archive, perhaps the initramfs")

    def test_wrong_magic(self):
        self.refuse_content(header(magic=b"XXX\x05"), "is not a RISC-V kernel: it has no Image header")

    def test_too_short(self):
        self.refuse_content(header()[:63], "is too short for a kernel: 63 bytes")

    def test_big_endian(self):
        self.refuse_content(header(flags=1), "is big-endian")

    def test_no_size(self):
        self.refuse_content(header(size=0), "does not tell its size in memory")

    def test_odd_offset(self):
        self.refuse_content(header(text_offset=0x1000), "wants to lie at 0x1000, not a multiple of 2 MiB")

    def test_cut_short(self):
        """Debian's kernel is an EFI program too, whose section table tells how long it is."""
        whole = os.path.getsize(DEBIAN_IMAGE)
        with open(DEBIAN_IMAGE, "rb") as file:
            begin = file.read(8192)
        path = self.file(begin, "Image", size=whole // 2)
        self.refuse(path, f"is cut short: {whole // 2} of [0-9]+ bytes")

    def test_gzip_cut_short(self):
        whole = gzip.compress(read(tiny("hello")) + random_bytes(20000))
        self.refuse_content(whole[:-1000], "is cut short: its gzip stream does not end")

    def test_gzip_damaged(self):
        whole = bytearray(gzip.compress(read(tiny("hello")) + random_bytes(20000)))
        whole[-6] ^= 1
        self.refuse_content(bytes(whole), "is damaged: its gzip stream is not valid")

    def test_gzip_of_something(self):
        self.refuse_content(gzip.compress(bytes(5000)), "unpacked, is not a RISC-V kernel")

    def test_larger_than_memory(self):
        self.refuse_content(header(size=64 << 20), "needs 68 MiB of memory, the guest has 32 MiB", "--memory", "32M")

    def test_larger_than_anything(self):
        self.refuse_content(header(size=(1 << 64) - 1), "needs [0-9]+ MiB of memory, the guest has 256 MiB")

    def test_debian_in_16_mib(self):
        self.refuse(DEBIAN_IMAGE, "needs [0-9]+ MiB of memory, the guest has 16 MiB", "--memory", "16M")


def random_bytes(size):
    return os.urandom(size)


class Initramfs(TestCase):
    def refuse(self, path, sentence):
        self.refused("--kernel", tiny("hello"), "--initrd", path, status=BAD_CONFIG, sentence=sentence)

    def test_missing(self):
        self.refuse("/no/such/file", "initramfs: open '/no/such/file': No such file or directory")

    def test_folder(self):
        self.refuse("/usr", "initramfs: '/usr' is a directory")

    def test_fifo(self):
        path = f"{self.folder()}/fifo"
        os.mkfifo(path)
        self.refuse(path, f"initramfs: '{path}' is a FIFO")

    def test_empty(self):
        path = self.file()
        self.refuse(path, f"initramfs '{path}' is empty")

    def test_too_large(self):
        path = self.file(b"", "initramfs", size=300 << 20)
        self.refuse(path, f"initramfs '{path}' does not fit: it needs 300 MiB above the kernel, 24[0-9] MiB are free")


class Configuration(TestCase):
    def refuse(self, *arguments, sentence):
        self.refused("--kernel", tiny("hello"), *arguments, status=BAD_CONFIG, sentence=sentence)

    def test_memory(self):
        for size, sentence in {
            "8M": "8 MiB of memory are too little, 16 MiB at least",
            "17M": "17 MiB of memory are not a multiple of 2 MiB",
            "0": "too little",
            "1023T": "too much",
            "64G": r"65536 MiB is more than this host has \([0-9]+ MiB\)",
        }.items():
            with self.subTest(size):
                self.refuse("--memory", size, sentence=sentence)

    def test_vcpus(self):
        for count in ("0", "33", "4294967295"):
            with self.subTest(count):
                self.refuse("--cpus", count, sentence=f"{count} vCPUs are asked for, 1 to 32 can be had")

    def test_command_line(self):
        self.refuse("--append", "x" * 1100, sentence="the kernel command line has [0-9]+ characters")
        self.refuse("--append", "a\nb", sentence="control character")


class Arguments(TestCase):
    def refuse(self, *arguments, sentence):
        self.refused(*arguments, status=BAD_ARGUMENTS, sentence=sentence)

    def test_no_kernel(self):
        self.refuse(sentence="which kernel\\? --kernel FILE is needed")

    def test_unknown_flag(self):
        self.refuse("--kernle", "x", sentence="unknown flag '--kernle'; did you mean --kernel\\?")
        self.refuse("--quux", sentence="unknown flag '--quux'\n")

    def test_values(self):
        for arguments, sentence in {
            ("--cpus", "two"): "--cpus: 'two' is not a number of vCPUs",
            ("--cpus", "-1"): "--cpus: '-1' is not a number",
            ("--memory", "lots"): "--memory: 'lots' is not a size like 128M or 2G",
            ("--memory", "99999999999999999999G"): "is not a size",
            ("--irqchip", "gic"): "'gic' is not auto, plic or aia",
            ("--console", "vga"): "'vga' is not serial, virtio or off",
            ("--log-level", "loud"): "'loud' is not off, error, warn, info, debug or trace",
            ("--kernel",): "--kernel needs a value",
            ("--copy-kernel=yes",): "--copy-kernel takes no value",
            ("--cpus", "1", "--cpus", "2"): "--cpus is given twice",
            ("stray",): "unexpected argument 'stray'",
        }.items():
            with self.subTest(" ".join(arguments)):
                self.refuse(*arguments, sentence=sentence)


class Host(TestCase):
    """Hosts that cannot run a VM, made of this one by mounts that only televm sees."""

    def on_host(self, change, sentence, kernel=IMAGE, status=HOST_LACKS):
        script = f"mount -t tmpfs dev /dev && mknod -m 666 /dev/null c 1 3 && {change}"
        user = "exec setpriv --reuid=65534 --regid=65534 --clear-groups"
        self.refused("--kernel", kernel, status=status, sentence=sentence,
                     program=("unshare", "-m", "bash", "-c", f'{script}; {user} "$@"', "bash", TELEVM))

    def test_no_kvm(self):
        self.on_host("true", "there is no /dev/kvm: load KVM with 'modprobe kvm', or use a kernel built with CONFIG_KVM")

    def test_files_come_first(self):
        """What is wrong with a file is told before KVM is asked for anything."""
        self.on_host("true", "kernel: open '/no/such/kernel': No such file or directory", kernel="/no/such/kernel",
                     status=BAD_CONFIG)

    def test_no_permission(self):
        self.on_host("mknod -m 600 /dev/kvm c 10 232",
                     "no permission to use /dev/kvm: add yourself to the group 'kvm'")

    def test_no_h_extension(self):
        cpuinfo = self.file(b"processor\t: 0\nhart\t\t: 0\nisa\t\t: rv64imafdc_zicsr_zihpm\nmmu\t\t: sv39\n")
        os.chmod(os.path.dirname(cpuinfo), 0o755)
        self.on_host(f"mount --bind {cpuinfo} /proc/cpuinfo", "this processor has no hypervisor \\(H\\) extension")

    def test_not_kvm(self):
        self.on_host("mknod -m 666 /dev/kvm c 1 3", "/dev/kvm")
