# shellcheck shell=bash
# What the scripts of this folder share: packages of Debian 13, for any architecture, unpacked
# into a folder without being installed.
#
# Sourced, never run, after tools/lib.sh.

# Where mke2fs and depmod are; other users than root may not have it.
PATH=$PATH:/usr/sbin:/sbin

# without_inherited COMMAND...: without file descriptors that our caller left open: apt hands on
# one whose number must have a single digit for the shell that it starts.
without_inherited() (
	local fd
	for fd in /proc/self/fd/*; do
		fd=${fd##*/}
		[ "$fd" -le 2 ] || eval "exec $fd>&-"
	done
	exec "$@"
)

# unpack_packages ARCH PACKAGES DIR: the packages (separated by commas) and all they need,
# unpacked in DIR. Nothing is configured: no maintainer script runs, so no emulation is needed.
# mmdebstrap writes a tar, which every one of its modes can, and we unpack it: thus it works for
# root and for everybody else.
unpack_packages() {
	local arch=$1 packages=$2 dir=$3 log=$3.log mode=root
	[ "$(id -u)" = 0 ] || mode=chrootless
	mkdir -p "$dir"
	if ! without_inherited mmdebstrap --mode="$mode" --variant=extract --architectures="$arch" --include="$packages" \
		--format=tar "$TELEVM_SUITE" - "$(trixie_source)" 2>"$log" |
		tar -x --no-same-owner -C "$dir" --exclude=./dev --exclude=./proc --exclude=./sys \
			--exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
			--exclude='./usr/share/locale/*' --exclude='./var/cache/*' \
			--exclude='./var/lib/apt/lists/*'; then
		tail -n 20 "$log" >&2
		die "could not unpack Debian's $arch packages from $(mirror) (above: the end of mmdebstrap's own report)"
	fi
	rm -f "$log"
}

# relative_links DIR: make absolute symbolic links inside DIR relative, so that they stay inside
# it when DIR is not the root.
relative_links() {
	local dir=$1 link target
	find "$dir" -type l -lname '/*' -print0 |
		while IFS= read -r -d '' link; do
			target=$(readlink "$link")
			ln -sfnr "$dir$target" "$link"
		done
}

# merged_usr DIR: /bin, /lib and /sbin as links into /usr, which no package brings.
merged_usr() {
	local dir=$1 name
	for name in bin lib lib64 sbin; do
		mkdir -p "$dir/usr/$name"
		[ -e "$dir/$name" ] || ln -s "usr/$name" "$dir/$name"
	done
}
