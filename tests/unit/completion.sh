#!/usr/bin/env bash
# Completion for bash, with the real program behind it: completion.sh TELEVM COMPLETIONS.
# Every flag of every help is offered, and what is offered is right where it stands.
set -euo pipefail
export LC_ALL=C
televm=$(realpath "$1")
# shellcheck source=completions/televm
. "$2"

# complete_line WORD... CURRENT: what is offered, a word a line, sorted.
complete_line() {
	COMP_WORDS=("$televm" "$@")
	COMP_CWORD=$#
	_televm
	[ ${#COMPREPLY[@]} = 0 ] || printf '%s\n' "${COMPREPLY[@]}" | sort
}

failed=0
# is WANTED WORD... CURRENT
is() {
	local wanted=$1 got
	shift
	got=$(complete_line "$@" | paste -sd ' ' -)
	[ "$got" = "$wanted" ] || {
		echo "televm $*: '$got' is offered, not '$wanted'"
		failed=1
	}
}

# offers_all_flags HELP... -- WORD...: each flag that the help has.
offers_all_flags() {
	local help=() flag offered n=0
	while [ "$1" != -- ]; do
		help+=("$1")
		shift
	done
	shift
	offered=$(complete_line "$@" --)
	while read -r flag; do
		n=$((n + 1))
		grep -qxFe "$flag" <<<"$offered" || {
			echo "televm $*: $flag is not offered"
			failed=1
		}
	done < <("$televm" "${help[@]}" | grep -oE '^  --[a-z0-9-]+' | tr -d ' ')
	[ "$n" -ge 1 ] || {
		echo "televm ${help[*]}: has no flags"
		failed=1
	}
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
touch Image vm.sock

offers_all_flags run --help -- run
offers_all_flags help api -- --id x
offers_all_flags ctl metrics --help -- ctl vm.sock metrics
offers_all_flags ctl stop --help -- ctl vm.sock stop
is run ru
is 'ctl help run' ''
is '--api-sock' --api
is '--cpus' run --cp
is 'Image' run --kernel Im
is 'Image' run --kernel = Im
is 'Image vm.sock' run --kernel =
is '' run --cpus ''
is 'vm.sock' ctl v
is 'patch pause put' ctl vm.sock p
is '--help --json' ctl vm.sock status -
is 'Image' ctl vm.sock disk id I
is 'disk net' ctl vm.sock limits ''
is 'Image' --config-file I
is 'api ctl run' help ''
is 'aia auto plic' run --irqchip ''
is 'Debug' --level D
# What is offered as a value is one.
for flag in --irqchip --console --log-level; do
	for value in $(complete_line run "$flag" ''); do
		"$televm" run --kernel k "$flag" "$value" --print-config >/dev/null || failed=1
	done
done
# Every command of the help is offered.
for command in $("$televm" ctl --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
	complete_line ctl vm.sock "$command" | grep -qx "$command" || {
		echo "ctl $command is not offered"
		failed=1
	}
done
exit $failed
