#!/usr/bin/env bash
# The manual pages beside the program's own help: manual.sh TELEVM DOCS.
# Each has every command, flag and key that the other has.
set -euo pipefail
export LC_ALL=C
televm=$(realpath "$1")
docs=$(realpath "$2")
failed=0

# same WHAT HELP MANUAL: two lists, a word a line.
same() {
	local difference
	if [ -z "$2" ] || ! difference=$(diff <(sort -u <<<"$2") <(sort -u <<<"$3")); then
		printf '%s (<: only the help has it, >: only the manual page)\n%s\n' "$1" "${difference:-none}"
		failed=1
	fi
}

# flags: those that begin a line of a help.
flags() {
	sed -nE 's/^  (-h, )?(--[a-z0-9-]+).*/\2/p'
}

# headings PAGE: the lines of its FLAGS, DEVICES or COMMANDS that are no text, but say what there is.
headings() {
	awk '/^# / { is_here = /FLAGS|DEVICES|COMMANDS/ } is_here && after_empty && /^\*/
		{ after_empty = $0 == "" }' "$docs/$1.scd"
}

# keys_of FLAG: what the manual page says of a flag that takes a list of keys.
keys_of() {
	awk -v flag="*$1*" '/^\*--/ { is_here = index($0, flag) == 1 }
		is_here && (/^\t\*[a-z-]+=?[a-z]*\*/ || /^\*.*=\*/)' "$docs/televm-run.1.scd" |
		sed -E 's/=[a-z]+\*(\|\*[a-z]+\*)+/=*/' | grep -oE '\*[a-z-]+=?\*' | grep -v '^\*--' | tr -d '*='
}

headed_flags() {
	headings "$1" | grep -E '^\*-' | grep -oE -- '--[a-z0-9-]+'
}

same "flags of run" "$("$televm" run --help | flags)" "$(headed_flags televm-run.1)"
same "flags of the API's forms" "$("$televm" help api | flags)" "$(headed_flags televm-api.1)"

commands=$("$televm" ctl --help | sed -nE '/^Commands:/,/^$/s/^  ([a-z]+) .*/\1/p')
same "commands of ctl" "$commands" "$(headings televm-ctl.1 | grep -oE '\*[a-z]+ ?[a-z]*\*' | tr -d '*' | cut -d ' ' -f 1)"
for command in $commands; do
	same "flags of ctl $command" "$("$televm" ctl "$command" --help | flags)" \
		"$(headings televm-ctl.1 | grep -E "\*${command}[* ]" | grep -oE -- '--[a-z]+'
		echo --help)"
done
same "commands" "$("$televm" --help | sed -nE '/^Commands:/,/^$/s/^  ([a-z]+) .*/\1/p')" \
	"$(headings televm.1 | grep -oE '^\*(run|ctl|help)\*' | tr -d '*')"

# Each key is in the help, and the program knows it.
for flag in --disk --net --vsock --balloon --rng; do
	help=$("$televm" run --help | awk -v flag="$flag" '/^  -/ { is_here = $1 == flag } is_here')
	keys=$(keys_of $flag)
	[ "$(wc -l <<<"$keys")" -ge 2 ] || {
		echo "$flag: the manual page has no keys of it"
		failed=1
	}
	for key in $keys; do
		grep -qE "(^|[ ,:(])$key([ =,)]|$)" <<<"$help" || {
			echo "$flag: the help has no key '$key'"
			failed=1
		}
		! "$televm" run --kernel k "$flag" "$([ $flag = --disk ] && echo f,)$key" --print-config 2>&1 |
			grep -q "unknown key" || {
			echo "$flag: the program knows no key '$key'"
			failed=1
		}
	done
done
exit $failed
