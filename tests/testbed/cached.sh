#!/usr/bin/env bash
# Checks what `cached` of tools/lib.sh promises: what is made is whole or not there at all, whatever
# command of its maker fails. Prints a word about what does not hold; no emulated host, no download.
. "$(dirname "$0")/../../tools/lib.sh"

TELEVM_CACHE=$(mktemp -d)
trap 'rm -rf "$TELEVM_CACHE"' EXIT

# make_half OUT: its first command works, its second fails, its third would hide that.
make_half() {
	mkdir "$1"
	false
	touch "$1/late"
}

# make_half_inside OUT: the same one $(…) deeper.
make_half_inside() {
	local text
	mkdir "$1"
	text=$(
		false
		echo late
	)
	echo "$text" >"$1/late"
}

make_whole() {
	mkdir "$1"
	echo x >>"$TELEVM_CACHE/times"
}

# fails MAKER: making ends with a failure and leaves nothing.
fails() {
	local status=0 left
	# A shell of its own, since "||" and "if" would reach into the maker.
	set +e
	(
		set -e
		path=$(cached thing 0123456789abcdef "$1")
		echo "$path"
	) >/dev/null 2>&1
	status=$?
	set -e
	[ "$status" -ne 0 ] || die "$1 failed, and its caller went on"
	left=$(find "$TELEVM_CACHE" -mindepth 1 ! -name '.lock-*')
	[ -z "$left" ] || die "$1 failed and left $left"
}

fails make_half
fails make_half_inside
path=$(cached thing 0123456789abcdef make_whole)
again=$(cached thing 0123456789abcdef make_whole)
[ -d "$path" ] || die "what was made is not there"
[ "$path" = "$again" ] || die "it has two names"
[ "$(wc -l <"$TELEVM_CACHE/times")" = 1 ] || die "it was made twice"
