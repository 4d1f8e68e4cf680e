#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# check-compat.sh [boots|modules|unplanned|units|guests|probe]...: what only a host that executes 32-bit code can show, on a host that TCG
# makes (run-in-tcg.sh): the patched 686 kernel boots to its end with the battery's output under every mode of the
# direct engine, pages of modules are promoted, patched ahead of time or not, the flat guests run patched and direct, and so do the unit tests that run guest code natively;
# `paravane probe` tries every instruction in compatibility mode too. TAP.
# All of it is `make check-compat`, which builds what is needed first. What TCG gets wrong stands in
# tests/host/tcg-excluded.txt. MODES="--mode=trap ..." boots with these options instead.
cd "$(dirname "$0")/../.." || exit 1
. tests/boot/lib.sh
if [ -z "${IN_TCG-}" ]; then
	mkdir -p "$B/compat"
	patched 686 "$B/compat" >"$B/compat/log" 2>&1 &&
		"$pv" patch --modules "$guests/initrd-modules.cpio.gz" -o "$B/compat/initrd-patched" >"$B/compat/log" 2>&1 || {
		tail -n 5 "$B/compat/log"
		exit 1
	}
	TCG_TIMEOUT=${TCG_TIMEOUT:-3600} BOOT_TIMEOUT=${BOOT_TIMEOUT:-900} exec tests/host/run-in-tcg.sh \
		env MODES="${MODES-}" "$0" "$@"
fi
excluded=tests/host/tcg-excluded.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CMOCKA_MESSAGE_OUTPUT=TAP NATIVE_TIMEOUT=600

# excuse PROGRAM TEST: why TCG fails it; fails when it should not
excuse()
{
	sed -n "s/^$1 $2 //p" "$excluded" | grep .
}

boots()
{
	local options start status

	for options in ${MODES:---mode=auto --mode=trap --mode=translate --user=translate}; do
		start=$SECONDS
		# shellcheck disable=SC2086 # words
		boot_test "$B/compat/vmlinux-686.pv" "$work/console" --memory 256M $options
		status=$?
		battery_of "$work/console" >"$work/battery"
		if [ $status -ne 0 ]; then
			tap 1 "686 $options: exit status $status" "$work/console"
		else
			diff -u tests/boot/battery.exp "$work/battery" >"$work/diff"
			tap $? "686 $options, $((SECONDS - start)) s" "$work/diff"
		fi
	done
}

# with_modules INITRD NAME: Debian's modules are loaded, unloaded and loaded again
with_modules()
{
	local status

	"$pv" run "$B/compat/vmlinux-686.pv" --initrd "$1" --append console=ttyS0 --memory 256M \
		--audit "$work/audit" </dev/null >"$work/console" 2>&1
	status=$?
	battery_of "$work/console" >"$work/battery"
	diff -u tests/boot/modules.exp "$work/battery" >"$work/diff" && [ $status -eq 0 ]
	tap $? "$2: exit status $status" "$work/diff" "$work/console"
	grep -E -A 20 '"(blocks_translated|module_pages)"' "$work/audit" >"$work/diff"
}
field()
{
	sed -n "s/^ *\"$1\": \([0-9]*\),*$/\1/p" "$work/diff" | head -n 1
}

modules()
{
	with_modules "$B/compat/initrd-patched" "patched modules"
	[ "$(field promoted)" -gt 150 ] && [ "$(field windows)" -ge 4 ] && [ "$(field demoted)" -gt 50 ] &&
		[ "$(field direct)" -gt 50 ] && [ "$(field refused)" -eq 0 ] && [ "$(field instructions)" -eq 0 ]
	tap $? "patched modules run directly" "$work/diff"
}

# Translated at first, then promoted; the code of the second time is where that of the first was.
unplanned()
{
	with_modules "$guests/initrd-modules.cpio.gz" "modules as they came"
	[ "$(field blocks_translated)" -gt 1000 ] && [ "$(field promoted)" -gt 120 ] && [ "$(field demoted)" -gt 50 ] &&
		[ "$(field direct)" -gt 50 ] && [ "$(field instructions)" -gt 100000 ]
	tap $? "modules as they came run directly once they have settled" "$work/diff"
}

# one PROGRAM OUTPUT STATUS: its results, with its name, less what TCG fails
one()
{
	local program=$1 out=$2 status=$3 line name why seen=0

	while IFS= read -r line; do
		name=${line#*ok }
		name=${name#*- }
		case $line in
		*ok\ *\#\ SKIP*)
			name=${line#*# SKIP }
			seen=$((seen + 1))
			tap 1 "$program $name: skipped on a host that has what it needs" "$out" ;;
		ok\ *)
			seen=$((seen + 1))
			if why=$(excuse "$program" "$name"); then
				tap 1 "$program $name: passes, so it does not belong in $excluded ($why)"
			else
				tap 0 "$program $name"
			fi ;;
		not\ ok\ *)
			seen=$((seen + 1))
			if why=$(excuse "$program" "$name"); then
				tap 0 "$program $name # SKIP $why"
			else
				tap 1 "$program $name" "$out"
			fi ;;
		esac
	done < <(grep -E '^(not )?ok ' "$out")
	if [ $seen -eq 0 ] || { [ "$status" -ne 0 ] && ! grep -q '^not ok' "$out"; }; then
		tap 1 "$program: exit status $status, $seen tests reported" "$out"
	fi
}

units()
{
	local source program

	for source in $(grep -l '"tests/unit/native.h"' tests/unit/test_*.c); do
		program=${source##*/}
		program=${program%.c}
		"$B/tests/unit/$program" </dev/null >"$work/out" 2>&1
		one "$program" "$work/out" $?
	done
}

guests()
{
	GUEST_TIMEOUT=600 tests/guest/test_guests.sh </dev/null >"$work/out" 2>&1
	one test_guests "$work/out" $?
}

probe()
{
	"$B/tests/unit/test_probe" </dev/null >"$work/out" 2>&1
	one test_probe "$work/out" $?
	tests/probe/test_probe.sh </dev/null >"$work/out" 2>&1
	one probe "$work/out" $?
	"$pv" probe >"$work/out" 2>&1
	grep -q '^Summary: .* compatibility mode, CPL 3$' "$work/out"
	tap $? "probe tries both modes" "$work/out"
}

lacks_direct && tap 1 "this host executes 32-bit code" && exit 1
for part in ${*:-units guests probe boots modules unplanned}; do
	$part
done
echo "1..$tap_n"
exit $tap_failed
