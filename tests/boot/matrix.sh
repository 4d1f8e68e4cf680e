#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# matrix.sh KERNEL: boot a stock Debian kernel to user space under every setting that must work, run the battery
# there and compare its output, power off. BOOTS=N repeats the main settings N times (make boots).
cd "$(dirname "$0")/../.." || exit 1
. tests/boot/lib.sh
kernel=$1
boots=${BOOTS:-1}
need_guest_space
need "$pv" "$guests/vmlinuz-$kernel" "$guests/initrd-test.cpio.gz"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

runs=()
for ((i = 1; i <= boots; i++)); do
	runs+=("--memory 256M" "--mode=auto" "--mode=trap" "--user=translate" "--workers 1" "--workers 2" "--workers 16")
	runs+=("--mode=translate" "--unpatched" "--unpatched --mode=translate --workers 1")
done
runs+=("--memory 64M" "--memory 2G")

direct_lacks=$(lacks_direct)

echo "1..$((1 + ${#runs[@]}))"
patched "$kernel" "$work" >"$work/patch" 2>&1
tap $? "$kernel: patch" "$work/patch" || exit 1
for options in "${runs[@]}"; do
	if [ "$direct_lacks" ] && [ "$options" = --mode=trap ]; then
		tap 0 "$kernel $options # SKIP $direct_lacks"
		continue
	fi
	case $options in
	*--unpatched*) image=$guests/vmlinuz-$kernel ;;
	*) image=$work/vmlinux-$kernel.pv ;;
	esac
	# shellcheck disable=SC2086 # words
	boot_test "$image" "$work/console" $options
	status=$?
	battery_of "$work/console" >"$work/battery"
	if [ $status -ne 0 ]; then
		tap 1 "$kernel $options: exit status $status" "$work/console"
	elif ! diff -u tests/boot/battery.exp "$work/battery" >"$work/diff"; then
		tap 1 "$kernel $options: the battery's output differs" "$work/diff"
	else
		tap 0 "$kernel $options"
	fi
done
exit $tap_failed
