# shellcheck shell=bash
# What the scripts of this folder share: files of Debian 13's riscv64 packages without installing
# anything, our /init, a busybox user space round it, and results put in place whole.
#
# Sourced, never run, after tools/lib.sh.

# shellcheck disable=SC2034 # used by the scripts
build=$TELEVM_ROOT/build/guest

# What a shell user looks for first. The other applets are there as `busybox NAME`.
applets=(
	'[' arping ash awk basename cat chmod chown chroot clear cmp cp cut date dd df dirname dmesg du
	echo egrep env expr false fgrep find free grep gunzip gzip halt head hexdump hostname httpd id
	ifconfig insmod ip kill killall less ln losetup ls lsmod lspci md5sum mkdir mkfifo mknod
	mkswap modprobe more mount mv nc nproc od passwd ping pgrep pidof pkill poweroff printf ps pwd
	readlink reboot reset rm rmdir rmmod route sed seq setsid sh sha256sum sleep sort
	stat stty switch_root sync sysctl tail tar tee telnet test time timeout top touch tr true tty
	udhcpc umount uname uniq uptime vi watch wc wget which xargs yes
)

# unpack PACKAGES DIR PATH...: from the packages (separated by commas) and all that they need, the
# files and folders named (as in ./boot), into the new folder DIR.
unpack() {
	local packages=$1 dir=$2
	shift 2
	debian_tar riscv64 "$packages" "$dir.tar" || exit 1
	mkdir "$dir"
	tar --extract --file="$dir.tar" --no-same-owner --directory="$dir" --wildcards "$@"
	rm "$dir.tar"
}

# place FROM TO: TO is the new file or the old one, never a part of it.
place() {
	if ! cmp -s "$1" "$2"; then
		mkdir -p "$(dirname "$2")"
		cp --sparse=always "$1" "$2.new"
		mv "$2.new" "$2"
	fi
	say "$2: $(stat -c %s "$2") bytes"
}

# compile NAME TO: our static program of guest/NAME.c.
compile() {
	local name=$1 to=$2 sysroot
	sysroot=$("$TELEVM_ROOT/testbed/sysroot")
	# -N: code and data together, so that the whole program is two pages.
	clang-19 --target=riscv64-linux-gnu --sysroot="$sysroot" -std=gnu17 -Os -Wall -Wextra -Werror \
		-ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables \
		-static -nostdlib -fuse-ld=lld -Wl,-N,--build-id=none,--strip-all \
		-o "$to" "$TELEVM_ROOT/guest/$name.c"
}

fetch_busybox() {
	say "downloading Debian's busybox for riscv64 (2 MB)"
	unpack busybox-static "$1.packages" './usr/bin/busybox'
	mv "$1.packages/usr/bin/busybox" "$1"
	rm -rf "$1.packages"
}

# user_space DIR: a small user space in the new folder DIR: busybox, its usual names, our /init and
# /bin/vsock.
user_space() {
	local dir=$1 busybox name
	busybox=$(cached guest-busybox "$(key_of "=$TELEVM_SUITE" "=$(declare -f fetch_busybox)")" \
		fetch_busybox)
	mkdir -p "$dir"/{bin,dev,etc,mnt,proc,root,run,sys,tmp}
	ln -s bin "$dir/sbin"
	cp "$busybox" "$dir/bin/busybox"
	for name in "${applets[@]}"; do
		ln -s busybox "$dir/bin/$name"
	done
	printf 'root:x:0:0:root:/root:/bin/sh\n' >"$dir/etc/passwd"
	printf 'root:x:0:\n' >"$dir/etc/group"
	compile init "$dir/init"
	compile vsock "$dir/bin/vsock"
}

# pack DIR FILE: the folder as a plain newc archive that belongs to root, the same bytes each time.
pack() {
	find "$1" -exec touch --no-dereference --date=@0 {} +
	(cd "$1" && find . -mindepth 1 -print0 | LC_ALL=C sort -z |
		cpio --null --create --format=newc --reproducible --owner=+0:+0 --quiet) >"$2"
}
