#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The commands in the order that a user gives them, on Debian's kernels: audit, patch, verify, run, unpatch. Time
# and memory of the first three are printed, not judged.
cd "$(dirname "$0")/../.." || exit 1
. tests/boot/lib.sh
need "$pv" "$guests/vmlinuz-686" "$guests/vmlinuz-686-pae" "$guests/vmlinuz-amd64" "$guests/initrd-test.cpio.gz"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# step NAME COMMAND...: succeeds with status 0; its time and peak memory as a comment
step()
{
	local name=$1 status t0=$EPOCHREALTIME t1
	shift
	"$@" >"$work/out" 2>&1
	status=$?
	t1=$EPOCHREALTIME
	echo "# $name: $(((${t1/./} - ${t0/./}) / 1000)) ms"
	tap $status "$name" "$work/out"
}

for kernel in 686 686-pae; do
	src=$guests/vmlinuz-$kernel
	image=$work/vmlinux-$kernel.pv
	step "$kernel: audit" "$pv" audit "$src" --json "$work/a.json"
	# About 4,500 sites by an independent count of this kernel family; far off means that the scan is broken.
	jq -e '.sites | length > 4000 and length < 6000' "$work/a.json" >"$work/out" 2>&1
	tap $? "$kernel: the audit's JSON lists the sites" "$work/out"
	step "$kernel: patch" "$pv" patch "$src" -o "$image" || continue
	step "$kernel: verify" "$pv" verify "$src" "$image"
	if lacks=$(host_lacks); then
		tap 0 "$kernel: run # SKIP $lacks"
	elif [[ $B != *asan ]]; then # see need_guest_space
		boot_test "$image" "$work/console" --memory 128M --audit "$work/runtime.json"
		tap $? "$kernel: run with --audit" "$work/console"
		grep -q PARAVANE-DONE "$work/console"
		tap $? "$kernel: user space ran to its end" "$work/console"
		step "$kernel: audit --runtime" "$pv" audit "$src" --runtime "$work/runtime.json"
	fi
	step "$kernel: unpatch" "$pv" unpatch "$image" -o "$work/again"
	cmp "$src" "$work/again" >"$work/out" 2>&1
	tap $? "$kernel: unpatching gives back the source" "$work/out"
done

step "amd64: audit" "$pv" audit "$guests/vmlinuz-amd64" --json "$work/a.json"
jq -e '.sites | length > 1000' "$work/a.json" >"$work/out" 2>&1
tap $? "amd64: the audit's JSON lists the sites" "$work/out"
"$pv" patch "$guests/vmlinuz-amd64" -o "$work/amd64.pv" >"$work/out" 2>&1
[ $? -ne 0 ] && [ ! -e "$work/amd64.pv" ] && [ -s "$work/out" ]
tap $? "amd64: patch refuses, says so and leaves no file" "$work/out"
echo "1..$tap_n"
exit $tap_failed
