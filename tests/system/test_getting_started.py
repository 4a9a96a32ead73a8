"""The walk-through of docs/getting-started.md: its commands are taken from the page, and are run in the order and
the terminals that it says."""

from televm import *

PAGE = f"{HERE}/getting-started.md"
BLOCK = re.compile(r"^```sh (terminal-1|terminal-2|guest)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Shell:
    """A shell of the host that keeps its variables from block to block, as a terminal does."""

    def __init__(self, folder):
        self.process = subprocess.Popen(["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, cwd=folder)
        self.run('sudo() { "$@"; }; curl() { command curl -sS "$@"; }')

    def run(self, commands):
        """Returns what they printed; fails where the last one did."""
        self.process.stdin.write(f"{commands}\nprintf '\\nstatus=%s\\n' $?\n")
        self.process.stdin.flush()
        said = ""
        while not (match := re.search(r"^status=([0-9]+)\n\Z", said, re.MULTILINE)):
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"the shell ended: {said}")
            said += line
        if match[1] != "0":
            raise AssertionError(f"status {match[1]}: {commands}\n{said}")
        return said[:match.start()].rstrip("\n")

    def close(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()


class GettingStarted(TestCase):
    weight = 9

    def start(self, commands):
        """In the first terminal, which is one."""
        before, program = commands.rstrip("\n").rsplit("\n", 1)
        self.assertTrue(program.startswith("televm "), program)
        return self.keep(Televm("-c", f"cd {self.place}\n{before}\nexec {program}", program=["bash"], stdin="pty"))

    def log_in(self, vm):
        vm.expect("login: ")
        vm.send("root\n")
        vm.expect("Password: ")
        vm.send("root\n")
        vm.expect("# ")

    def type(self, vm, commands):
        for line in commands.splitlines():
            if line == "reboot":
                vm.send("reboot\n")
                return
            vm.send(f"{line}; echo status=$?\n")
            match = vm.expect(re.compile(r"status=([0-9]+)\n"))
            self.assertEqual(match[1], "0", line)
            vm.expect("# ")

    def test_the_page(self):
        with open(PAGE, encoding="utf-8") as page:
            blocks = BLOCK.findall(page.read())
        self.assertGreaterEqual(len(blocks), 9)
        self.place = self.folder()
        os.symlink(IMAGE, f"{self.place}/Image")
        host("cp", "--sparse=always", ROOTFS, self.place)
        shell = Shell(self.place)
        self.addCleanup(host, "ip", "link", "delete", "tap0", status=None)
        self.addCleanup(shell.close)
        vm = None
        is_logged_in = False
        for where, commands in blocks:
            with self.subTest(where=where, commands=commands.strip().splitlines()[-1]):
                if where == "terminal-1":
                    vm = self.start(commands)
                    eventually("the socket is there", lambda: os.path.exists("/tmp/televm.socket"), PATIENCE)
                elif where == "guest":
                    if not is_logged_in:
                        self.log_in(vm)
                        is_logged_in = True
                    self.type(vm, commands)
                    if commands.strip() == "reboot":
                        self.ends(vm, 0)
                else:
                    self.check(commands, shell.run(commands))

    def check(self, commands, said):
        """What the page says of the answers."""
        if "33" in commands:
            self.assertRegex(said, r'^\{"fault_message":"Machine config error: .*"\}$')
        else:
            self.assertNotIn("fault_message", said)
        if "status" in commands:
            self.assertRegex(said, r"state +Running\n")
            self.assertRegex(said, r"disk +rootfs: ./rootfs.ext4, root\n")
            self.assertIn('"host_dev_name": "tap0"', said)
        if "tail" in commands:
            self.assertIn("Vmm is stopping.", said + read(f"{self.place}/televm.log").decode())
            self.assertIn("Firecracker exiting successfully. exit_code=0", said)
            self.assertFalse(os.path.exists("/tmp/televm.socket"))
