#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What unwinds through signal frames in a booted guest (tests/unwind/unwind.h): by the long engine, by the direct one, whose
# vDSO is patched, and under QEMU. gdb is asked about a core of each.
cd "$(dirname "$0")/../.." || exit 1
. tests/boot/lib.sh
program=$B/unwind/unwind
need_guest_space
need "$pv" "$guests/vmlinuz-686" "$guests/busybox" "$program"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

by_paravane()
{
	timeout -k 10 "$BOOT_TIMEOUT" "$pv" run "$work/vmlinux-686.pv" --initrd "$work/initrd" --append console=ttyS0 "$@" </dev/null
}

by_qemu()
{
	timeout -k 10 "$BOOT_TIMEOUT" qemu-system-i386 -accel tcg -cpu max -m 256 -display none -monitor none -serial stdio -no-reboot \
		-kernel "$guests/vmlinuz-686" -initrd "$work/initrd" -append "console=ttyS0 noreplace-smp noisapnp" </dev/null
}

# frames WAY CONSOLE: the functions that gdb finds in that core, from the handler on
frames()
{
	tr -d '\r' <"$2" | sed -n "/^PARAVANE-CORE $1\$/,/^PARAVANE-CORE-END\$/{ /^PARAVANE-/!p }" | base64 -d | gzip -dc >"$work/core"
	gdb -nx -batch -ex bt "$program" "$work/core" 2>"$work/gdb" >>"$work/gdb.out"
	sed -nE 's/^#[0-9]+ +(0x[0-9a-f]+ in )?(<[^>]*>|[^ ]+).*/\2/p' "$work/gdb.out" | sed -n '/^end_here$/,$p' | tr '\n' ' '
}

walks_cores() # CONSOLE
{
	local way

	for way in 0 1 2; do
		: >"$work/gdb.out"
		[ "$(frames $way "$1")" = "end_here <signal handler called> faults in_c in_b dump_core main " ] || return 1
	done
}

# check NAME ENTRIES COMMAND...: the output is as expected, and the two entries have these bytes
check()
{
	local name=$1 entries=$2 status # in $work/log, what came besides the cores

	shift 2
	"$@" >"$work/console" 2>&1
	status=$?
	sed '/^PARAVANE-CORE /,/^PARAVANE-CORE-END/d' "$work/console" >"$work/log"
	battery_of "$work/console" >"$work/out"
	[ $status -eq 0 ] && grep -v '^~' "$work/out" | diff -u tests/unwind/unwind.exp - >"$work/diff"
	tap $? "$name: what unwinds, returns and resumes" "$work/diff" "$work/log"
	[ "$(sed -n 's/^~.*: //p' "$work/out" | tr '\n' '/')" = "$entries" ]
	tap $? "$name: the sigreturn entries' bytes" "$work/out"
	if command -v gdb >/dev/null; then
		walks_cores "$work/console"
		tap $? "$name: gdb's backtraces" "$work/gdb.out" "$work/gdb"
	else
		tap 0 "$name: gdb's backtraces # SKIP gdb is not installed"
	fi
}

as_built='58 b8 77 00 00 00 cd 80/b8 ad 00 00 00 cd 80/'
far_calls='58 9a 00 11 00 f8 33 00/9a 00 11 00 f8 33 00/'

make_initrd "$work/initrd" tests/unwind/init "$program"
patched 686 "$work" >"$work/patch" 2>&1
tap $? patch "$work/patch" || exit 1
check default "$as_built" by_paravane
if lacks=$(lacks_direct); then
	tap 0 "direct # SKIP $lacks"
else
	check direct "$far_calls" by_paravane --engine=direct --mode=auto
	check "direct, trap" "$as_built" by_paravane --engine=direct --mode=trap
fi
if command -v qemu-system-i386 >/dev/null; then
	check qemu "$as_built" by_qemu
else
	tap 0 "qemu # SKIP qemu-system-i386 is not installed"
fi
echo "1..$tap_n"
exit $tap_failed
