#!/usr/bin/env bash
# Boots the small kernel on QEMU's machine itself, without a host and a microVM: with the device tree
# that QEMU makes, and with one that has the old string of the instruction set alone, as of firmware
# before the list of extensions. Shows what it saw, and fails, when user space is not reached.
. "$(dirname "$0")/../../tools/lib.sh"

guests=${TELEVM_GUESTS:-$TELEVM_ROOT/build/guest}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# machine MACHINE ARGUMENT...: QEMU with two harts, the kernel and what it is to do.
machine() {
	local machine=$1
	shift
	timeout 180 "$TELEVM_ROOT/testbed/qemu" -M "$machine" -smp 2 -m 256M -nographic -no-reboot \
		-kernel "$guests/Image" -initrd "$guests/initramfs.cpio" \
		-append 'console=ttyS0 quiet televm.exec="nproc; find /sys/firmware/devicetree/base/cpus -name riscv,isa*"' \
		"$@" </dev/null
}

# boots ARGUMENT...: both harts and user space are there. What it printed is in $work/output.
boots() {
	if ! machine virt "$@" >"$work/output" 2>&1; then
		cat "$work/output"
		die "QEMU did not end as it should: $*"
	fi
	tr -d '\r' <"$work/output" >"$work/text"
	if ! grep -q 'televm-guest: user space reached, 2 harts' "$work/text" ||
		! grep -q 'televm-guest: exit status 0' "$work/text"; then
		cat "$work/text"
		die "user space did not do its work: $*"
	fi
}

# old_string_only FILE: take the list of extensions out of a device tree.
old_string_only() {
	local hart name
	for hart in $(fdtget -l "$1" /cpus | grep '^cpu@'); do
		for name in riscv,isa-base riscv,isa-extensions; do
			if fdtget "$1" "/cpus/$hart" "$name" >"$work/value" 2>&1; then
				fdtput -d "$1" "/cpus/$hart" "$name"
			fi
		done
		fdtget "$1" "/cpus/$hart" riscv,isa
	done
}

boots
machine "virt,dumpdtb=$work/tree" >"$work/output" 2>&1 || die "no device tree: $(cat "$work/output")"
old_string_only "$work/tree"
boots -dtb "$work/tree"
if grep -q 'riscv,isa-extensions' "$work/text"; then
	die "the list of extensions was still there"
fi
