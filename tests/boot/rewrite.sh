#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# rewrite.sh KERNEL: a stock Debian kernel whose text is rewritten under load (tests/boot/init-rewrite): tracers, kprobes,
# return probes, jump labels. What it prints must be as rewrite.exp has it; where QEMU is installed, it runs the same, and
# the lines that differ from kernel to kernel are compared as well.
cd "$(dirname "$0")/../.." || exit 1
. tests/boot/lib.sh
kernel=$1
initrd=$guests/initrd-rewrite.cpio.gz
BOOT_TIMEOUT=400 # a full function tracer is 70,000 changes of the address space
need_guest_space
need "$pv" "$guests/vmlinuz-$kernel" "$initrd"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Where all code is translated, the modes are one.
runs=("--mode=auto")
[ "$kernel" = 686 ] && runs=("--unpatched")
windows= # the run whose text has windows
lacks_direct >/dev/null || windows=--mode=auto runs=("--mode=auto" "--unpatched" "--unpatched --mode=auto")

by_qemu()
{
	timeout -k 10 "$BOOT_TIMEOUT" qemu-system-i386 -accel tcg -m 256 -display none -monitor none -serial stdio -no-reboot \
		-kernel "$guests/vmlinuz-$kernel" -initrd "$initrd" -append "console=ttyS0 nowatchdog noreplace-smp noisapnp" \
		</dev/null >"$work/qemu.console" 2>&1
	battery_of "$work/qemu.console" >"$work/qemu"
	grep -v '^~' "$work/qemu" | diff -u tests/boot/rewrite.exp - >"$work/diff"
}

# probes_at_most OUT: no more probes than under QEMU, and some. Windows over a page that nobody has written to make the kernel
# refuse a few (docs/limits.md).
probes_at_most()
{
	paste -d' ' <(sed -n 's/^~.*: \([0-9]*\) probes$/\1/p' "$1") <(sed -n 's/^~.*: \([0-9]*\) probes$/\1/p' "$work/qemu") |
		awk '{ print "probes, and under QEMU: " $0; bad += !($1 > 0 && $1 <= $2) } END { exit !NR || bad }'
}

# same_output OUT OPTIONS: as QEMU's where that ran, else as far as every kernel prints it
same_output()
{
	if [ -s "$work/qemu" ] && [ "$2" != "$windows" ]; then
		diff -u "$work/qemu" "$1"
	else
		grep -v '^~' "$1" | diff -u tests/boot/rewrite.exp - && { [ ! -s "$work/qemu" ] || probes_at_most "$1"; }
	fi
}

echo "1..$((2 + ${#runs[@]}))"
patched "$kernel" "$work" >"$work/patch" 2>&1
tap $? "$kernel: patch" "$work/patch" || exit 1
if command -v qemu-system-i386 >/dev/null; then
	by_qemu
	tap $? "$kernel under QEMU" "$work/diff" "$work/qemu.console"
else
	tap 0 "$kernel under QEMU # SKIP qemu-system-i386 is not installed"
fi
for options in "${runs[@]}"; do
	case $options in
	*--unpatched*) image=$guests/vmlinuz-$kernel ;;
	*) image=$work/vmlinux-$kernel.pv ;;
	esac
	# shellcheck disable=SC2086 # words
	timeout -k 10 "$BOOT_TIMEOUT" "$pv" run "$image" --initrd "$initrd" --append "console=ttyS0 nowatchdog" $options \
		</dev/null >"$work/console" 2>&1
	status=$?
	# What the kernel thinks of the host's CPU is no matter of rewriting.
	battery_of "$work/console" | grep -v 'Speculative Return Stack Overflow: WARNING' >"$work/out"
	if [ $status -ne 0 ]; then
		tap 1 "$kernel rewritten $options: exit status $status" "$work/console"
	elif ! same_output "$work/out" "$options" >"$work/diff"; then
		tap 1 "$kernel rewritten $options: the output differs" "$work/diff"
	else
		tap 0 "$kernel rewritten $options"
	fi
done
exit $tap_failed
