# shellcheck shell=bash
# What the scripts of this folder share: packages of Debian 13, for any architecture, unpacked
# into a folder without being installed.
#
# Sourced, never run, after tools/lib.sh.

# Where mke2fs and depmod are; other users than root may not have it.
PATH=$PATH:/usr/sbin:/sbin

# unpack_packages ARCH PACKAGES DIR: the packages (separated by commas) and all they need,
# unpacked in DIR without what only people read.
unpack_packages() {
	local arch=$1 packages=$2 dir=$3
	mkdir -p "$dir"
	debian_tar "$arch" "$packages" "$dir.tar" || exit 1
	tar -x --no-same-owner -f "$dir.tar" -C "$dir" --exclude=./dev --exclude=./proc --exclude=./sys \
		--exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
		--exclude='./usr/share/locale/*' --exclude='./var/cache/*' \
		--exclude='./var/lib/apt/lists/*'
	rm "$dir.tar"
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
