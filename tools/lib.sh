# shellcheck shell=bash
# What every script of the project shares: where things are cached, how a long
# step is announced, where Debian's archive is, and how a cached thing is made
# once, whole or not at all, and again when what it was made from changes.
#
# Sourced, never run:  . "$(dirname "$0")/../tools/lib.sh"

set -euo pipefail
# Without it, a step that fails inside $(…) would not end what is being made.
shopt -s inherit_errexit

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
		awk '/ Debian$/ && !/security/ && !/backports/ && !n++ { print $1 }') || uri=
	[ -n "$uri" ] || die "cannot tell the address of Debian's archive from apt: set TELEVM_MIRROR"
	printf '%s\n' "${uri%/}"
}

# debian_tar ARCH PACKAGES FILE [OPTION...]: a tar of Debian 13's PACKAGES (separated by commas) for
# ARCH and of all they need, unpacked and not configured: no maintainer script runs, so no emulation
# is needed. A tar is what each of mmdebstrap's modes can write, so this works for root and for users
# alike. OPTIONs are mmdebstrap's.
#
# For some days after a point release a mirror may serve an index that its trixie does not vouch
# for, while its stable, the same release by another name, still stands on the old one. So that name
# is tried next; what is signed must say that it is trixie under either.
debian_tar() {
	local status=0 watcher
	tell_progress "$BASHPID" &
	watcher=$!
	unwatched_debian_tar "$@" || status=$?
	kill "$watcher" 2>/dev/null || true
	wait "$watcher" || true
	return "$status"
}

# tell_progress PID: tell every ten seconds, as long as PID is there, how much mmdebstrap has got.
tell_progress() {
	local owner=$1 begin sleeper size
	begin=$(date +%s)
	trap 'kill "$sleeper" 2>/dev/null; exit' TERM
	while [ -d "/proc/$owner" ]; do
		# What is left over of it must not hold a lock or pipe of ours.
		without_inherited sleep 10 >/dev/null 2>&1 &
		sleeper=$!
		wait "$sleeper"
		# It loads down into a folder of its own, and unpacks there.
		size=$(find "${TMPDIR:-/tmp}" -maxdepth 1 -name 'mmdebstrap.*' -newermt "@$begin" \
			-exec du -scm {} + 2>/dev/null | tail -n 1 | cut -f1) || true
		[ -z "$size" ] || say "downloaded and unpacked so far: $size MB"
	done
}

unwatched_debian_tar() {
	local arch=$1 packages=$2 file=$3 suite mode=root
	shift 3
	[ "$(id -u)" = 0 ] || mode=chrootless
	for suite in "$TELEVM_SUITE" stable; do
		if without_inherited mmdebstrap --mode="$mode" --variant=extract --architectures="$arch" \
			--include="$packages" --format=tar "$@" \
			--customize-hook="grep -qx 'Codename: $TELEVM_SUITE' \"\$1\"/var/lib/apt/lists/*Release" \
			"$suite" "$file" "$(debian_source "$suite")" 2>"$file.log"; then
			rm -f "$file.log"
			return
		fi
		say "$(mirror) does not give Debian's $arch packages under the name $suite"
	done
	tail -n 20 "$file.log" >&2
	say "could not unpack them (above: the end of mmdebstrap's report)"
	return 1
}

# debian_source SUITE: its sources.list line, checked against Debian's own keys.
debian_source() {
	printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
		"$(mirror)" "$1"
}

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
# interrupted, or of which a command fails, leaves nothing behind; older keys of the same NAME go
# when unused for two weeks. Not for "if" and "||": there bash does not stop at a command that fails.
cached() {
	local name=$1 key=$2
	shift 2
	local path=$TELEVM_CACHE/$name-$key
	if [ ! -e "$path" ]; then
		mkdir -p "$TELEVM_CACHE"
		# Not "( … ) || die": that would let the maker go on behind a command that failed.
		set +e
		(
			set -e
			flock 9
			[ ! -e "$path" ] || exit 0
			work=$(mktemp -d "$TELEVM_CACHE/.making-$name-XXXXXX")
			trap 'rm -rf "$work"' EXIT
			trap 'exit 130' INT TERM
			"$@" "$work/out" >&2
			find "$TELEVM_CACHE" -maxdepth 1 -name "$name-????????????????" -mtime +14 -exec rm -rf {} +
			mv "$work/out" "$path"
		) 9>"$TELEVM_CACHE/.lock-$name"
		set -e
		[ -e "$path" ] || die "making $name failed"
	fi
	touch -c "$path"
	printf '%s\n' "$path"
}
