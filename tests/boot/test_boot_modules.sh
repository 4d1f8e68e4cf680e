#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Modules of the Debian kernel package, an ext4 stack among them: their code is translated, in every mode, and behaves
# the same in all, patched ahead of time or not: as modules.exp has it.
cd "$(dirname "$0")/../.." || exit 1
. tests/boot/lib.sh
need_guest_space
need "$pv" "$guests/vmlinuz-686" "$guests/modules-686.tar" "$guests/initrd-modules.cpio.gz"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# "patched": with every module of the initrd patched
runs=("--mode=auto" "--mode=translate" "--mode=trap" "--user=translate" "--unpatched" "--unpatched --mode=auto" "--mode=auto patched"
	"--unpatched patched")
direct_lacks=$(lacks_direct)
echo "1..$((2 + ${#runs[@]}))"
patched 686 "$work" >"$work/patch" 2>&1
tap $? "modules: patch" "$work/patch" || exit 1
"$pv" patch --modules "$guests/initrd-modules.cpio.gz" -o "$work/initrd-patched" >"$work/patch" 2>&1
tap $? "modules: patch --modules" "$work/patch" || exit 1
for run in "${runs[@]}"; do
	options=${run% patched}
	initrd=$guests/initrd-modules.cpio.gz
	[ "$run" = "$options" ] || initrd=$work/initrd-patched
	if [ "$direct_lacks" ] && [ "$options" = --mode=trap ]; then
		tap 0 "modules $run # SKIP $direct_lacks"
		continue
	fi
	image=$work/vmlinux-686.pv
	[[ $options = --unpatched* ]] && image=$guests/vmlinuz-686
	# shellcheck disable=SC2086 # words
	timeout -k 10 "$BOOT_TIMEOUT" "$pv" run "$image" --initrd "$initrd" \
		--append console=ttyS0 $options </dev/null >"$work/console" 2>&1
	status=$?
	battery_of "$work/console" >"$work/out"
	if [ $status -ne 0 ]; then
		tap 1 "modules $run: exit status $status" "$work/console"
	elif ! diff -u tests/boot/modules.exp "$work/out" >"$work/diff"; then
		tap 1 "modules $run: the output differs" "$work/diff"
	else
		tap 0 "modules $run"
	fi
done
exit $tap_failed
