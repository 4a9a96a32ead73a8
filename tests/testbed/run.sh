#!/usr/bin/env bash
# Checks what testbed/run promises, by booting the emulated host some ten times (about a minute), and the
# small kernel on QEMU's bare machine twice: one line for each promise, and at the end how many held.
set -u
here=$(cd "$(dirname "$0")" && pwd)
run=$here/../../testbed/run
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# check WHAT COMMAND...: one promise; what was seen is shown when it does not hold.
check() {
	local what=$1
	shift
	if "$@" >"$work/check" 2>&1; then
		passed=$((passed + 1))
		printf 'ok %s\n' "$what"
	else
		failed=$((failed + 1))
		printf 'not ok %s\n' "$what"
		tail -n 40 "$work/check" | sed 's/^/#   /'
	fi
}

# same WANTED SEEN
same() {
	[ "$1" = "$2" ] && return
	printf 'wanted: %s\nseen:   %s\n' "$1" "$2"
	return 1
}

# in_host NAME OPTION... -- COMMAND...: run it; NAME.out, NAME.err and NAME.status tell what came out.
in_host() {
	local name=$1
	shift
	"$run" --timeout 120 "$@" >"$work/$name.out" 2>"$work/$name.err" </dev/null
	echo $? >"$work/$name.status"
}

is() {
	same "$2" "$(cat "$work/$1")" || {
		tail -n 20 "$work/${1%.*}.err"
		return 1
	}
}

says() {
	grep -q -e "$2" "$work/$1" || {
		cat "$work/$1"
		return 1
	}
}

check "what is cached is whole or not there" "$here/cached.sh"

# Arguments of every kind, streams, status and share, in one boot.
# shellcheck disable=SC2016,SC1003 # no expansion, that is the point
arguments=('' ' ' "it's" '"' $'two\nlines\n' '$HOME `id` \' '*' -- -c $'\001\002\177' $'\303\251\377\200\201\210' '' 'end ')
printf 'shared\n' >"$work/a, b"
program='import os, sys
print(ascii(sys.argv[1:]))
sys.stderr.write("to stderr\n")
print(open("/share/a, b").read().strip())
try: open("/share/new", "w"); print("written")
except OSError: print("read-only")
print(repr(sys.stdin.read()))
open("/dev/stdout", "w").write("opened again\n")
sys.stdout.flush()
os._exit(77)'
in_host args --share "$work" -- python3 -uc "$program" "${arguments[@]}"
wanted=$(python3 -c 'import sys; print(ascii(sys.argv[1:]))' "${arguments[@]}")
check "arguments arrive as they are" same "$wanted" "$(sed -n 1p "$work/args.out")"
check "the exit status is the command's" is args.status 77
check "standard error stays apart" is args.err "to stderr"
check "--share shows a folder" same shared "$(sed -n 2p "$work/args.out")"
check "--share is read-only" same read-only "$(sed -n 3p "$work/args.out")"
check "standard input is empty" same "''" "$(sed -n 4p "$work/args.out")"
check "/dev/stdout can be opened" same "opened again" "$(sed -n 5p "$work/args.out")"

check "the small kernel boots on the bare machine" "$here/bare.sh"

# Each host has KVM with the interrupt controller that it is for; two at a time.
kvm='import fcntl
kvm = open("/dev/kvm")
print("version", fcntl.ioctl(kvm, 0xAE00), "irqchip", fcntl.ioctl(kvm, 0xAE03, 0))'
for hosts in "aia plic" "aia-emul nosstc" "rva23"; do
	for host in $hosts; do
		in_host "$host" --host "$host" -- python3 -c "$kvm" &
	done
	wait
done
for host in aia aia-emul; do
	check "host $host has KVM and its AIA" is "$host.out" "version 12 irqchip 1"
done
for host in plic nosstc rva23; do
	check "host $host has KVM and no AIA" is "$host.out" "version 12 irqchip 0"
done

# A big output, by a command that leaves a process behind and is killed by a signal.
# shellcheck disable=SC2016 # for the shell in the host
in_host big -- sh -c 'sleep 1000 & seq 200000; kill -SEGV $$'
check "a command killed by a signal gives 128 + its number" is big.status 139
check "all output arrives" same "$(seq 200000 | cksum)" "$(cksum <"$work/big.out")"

# The same work is the same number of instructions, here in thousands, to three digits.
# shellcheck disable=SC2016 # for the shell in the host
count='work() { for ((i = 0; i < 3000; i++)); do :; done; }
work
begin=$EPOCHREALTIME
work
end=$EPOCHREALTIME
echo $((${end/./} - ${begin/./}))'
for name in count1 count2; do
	in_host $name --count -- bash -c "$count" &
done
wait
counts_agree() {
	local a b
	a=$(cat "$work/count1.out") b=$(cat "$work/count2.out")
	echo "counted: $a and $b"
	cat "$work"/count?.err
	[ "$a" -gt 10000 ] && [ $(((a - b) * 1000)) -le "$a" ] && [ $(((b - a) * 1000)) -le "$a" ]
}
check "--count gives the same figure twice" counts_agree

# Ends of other kinds.
begin=$(date +%s)
"$run" --timeout 6 -- sleep 1000 >"$work/late.out" 2>"$work/late.err" </dev/null
echo $? >"$work/late.status"
check "--timeout gives status 124" is late.status 124
check "--timeout says so" says late.err "gave up after 6 seconds"
check "--timeout is kept" test $(($(date +%s) - begin)) -le 20
in_host panic -- sh -c 'echo c >/proc/sysrq-trigger; sleep 100'
check "a panic of the host gives status 125" is panic.status 125
check "a panic of the host shows its console" says panic.err "sysrq triggered crash"
in_host missing -- no-such-command
check "a command that is not there gives status 127" is missing.status 127
"$run" --hots aia -- true >"$work/flag.out" 2>"$work/flag.err"
echo $? >"$work/flag.status"
check "an unknown flag is an error" is flag.status 2

ended_by_signal() {
	local pid status=0 tries=0 left=
	"$run" -- sleep 1000 </dev/null &
	pid=$!
	while [ $tries -lt 100 ]; do
		left=$(pgrep -P "$pid" -f -- '-M virt')
		[ -z "$left" ] || break
		tries=$((tries + 1))
		sleep 0.1
	done
	sleep 1
	kill -TERM "$pid"
	wait "$pid" || status=$?
	[ -n "$left" ] || {
		echo "its emulator was not found"
		return 1
	}
	same 143 "$status" && ! kill -0 "$left"
}
check "SIGTERM ends it and its emulator" ended_by_signal

check "a terminal is passed through and given back" "$here/terminal.py" "$run"

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
