# shellcheck shell=bash
# What every script of the project shares: where things are cached, how a long
# step is announced, where Debian's archive is, and how a cached thing is made
# once, whole or not at all, and again when what it was made from changes.
#
# Sourced, never run:  . "$(dirname "$0")/../tools/lib.sh"

set -euo pipefail

TELEVM_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TELEVM_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/televm
TELEVM_SUITE=trixie
# Overridden by the one test that rebuilds everything elsewhere, and by users with a full disk.
TELEVM_CACHE=${TELEVM_CACHE_DIR:-$TELEVM_CACHE}
export TELEVM_ROOT TELEVM_CACHE TELEVM_SUITE

# say TEXT...: progress for a person, on standard error so that output stays usable.
say() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# die TEXT...: one sentence and a failure.
die() {
	say "$*"
	exit 1
}

# as_root COMMAND...: run it as root, through sudo when we are somebody else.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "'$*' needs root: run as root or install sudo"
	fi
}

# mirror: the archive's address: TELEVM_MIRROR, else the one the system's own apt uses.
mirror() {
	if [ -n "${TELEVM_MIRROR:-}" ]; then
		printf '%s\n' "$TELEVM_MIRROR"
		return
	fi
	local uri
	# shellcheck disable=SC2016 # the dollar signs are apt's
	uri=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN)' 'Created-By: Packages' 2>/dev/null |
		awk '/ Debian$/ && !/security/ && !/backports/ { print $1; exit }')
	[ -n "$uri" ] || die "cannot tell the address of Debian's archive from apt: set TELEVM_MIRROR"
	printf '%s\n' "${uri%/}"
}

# trixie_source: the sources.list line for Debian 13, checked against Debian's own keys.
trixie_source() {
	printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
		"$(mirror)" "$TELEVM_SUITE"
}

# key_of FILE|=TEXT...: a short name for "made from these": contents of files, and texts.
key_of() {
	local input
	for input in "$@"; do
		case $input in
		=*) printf '%s\n' "$input" ;;
		*) sha256sum <"$input" ;;
		esac
	done | sha256sum | cut -c1-16
}

# cached NAME KEY COMMAND...: print the path of $TELEVM_CACHE/NAME-KEY, making it first with
# COMMAND... PATH when it is not there. Two callers at once make it once; a build that is
# interrupted leaves nothing behind; older keys of the same NAME go when unused for two weeks.
cached() {
	local name=$1 key=$2
	shift 2
	local path=$TELEVM_CACHE/$name-$key
	if [ ! -e "$path" ]; then
		mkdir -p "$TELEVM_CACHE"
		(
			flock 9
			[ ! -e "$path" ] || exit 0
			work=$(mktemp -d "$TELEVM_CACHE/.making-$name-XXXXXX")
			trap 'rm -rf "$work"' EXIT
			trap 'exit 130' INT TERM
			"$@" "$work/out" >&2
			find "$TELEVM_CACHE" -maxdepth 1 -name "$name-????????????????" -mtime +14 -exec rm -rf {} +
			mv "$work/out" "$path"
		) 9>"$TELEVM_CACHE/.lock-$name"
		[ -e "$path" ] || die "making $name failed"
	fi
	touch -c "$path"
	printf '%s\n' "$path"
}
