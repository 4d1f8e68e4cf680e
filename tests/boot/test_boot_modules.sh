#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Modules of the Debian kernel package, an ext4 stack among them: their code is translated, in every mode, and behaves
# the same in all: as modules.exp has it.
cd "$(dirname "$0")/../.." || exit 1
. tests/boot/lib.sh
need_guest_space
need "$pv" "$guests/vmlinuz-686" "$guests/modules-686.tar" "$guests/initrd-modules.cpio.gz"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

runs=("--mode=auto" "--mode=translate" "--mode=trap" "--user=translate" "--unpatched")
direct_lacks=$(lacks_direct)
echo "1..$((1 + ${#runs[@]}))"
patched 686 "$work" >"$work/patch" 2>&1
tap $? "modules: patch" "$work/patch" || exit 1
for options in "${runs[@]}"; do
	if [ "$direct_lacks" ] && [ "$options" = --mode=trap ]; then
		tap 0 "modules $options # SKIP $direct_lacks"
		continue
	fi
	image=$work/vmlinux-686.pv
	[ "$options" = --unpatched ] && image=$guests/vmlinuz-686
	# shellcheck disable=SC2086 # words
	timeout -k 10 "$BOOT_TIMEOUT" "$pv" run "$image" --initrd "$guests/initrd-modules.cpio.gz" \
		--append console=ttyS0 $options </dev/null >"$work/console" 2>&1
	status=$?
	battery_of "$work/console" >"$work/out"
	if [ $status -ne 0 ]; then
		tap 1 "modules $options: exit status $status" "$work/console"
	elif ! diff -u tests/boot/modules.exp "$work/out" >"$work/diff"; then
		tap 1 "modules $options: the output differs" "$work/diff"
	else
		tap 0 "modules $options"
	fi
done
exit $tap_failed
