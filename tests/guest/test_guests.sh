#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs every flat guest of guests.txt (or those named as arguments) in every mode and compares what it prints with
# NAME.exp. Modes: plain (the image as it is), direct (the same, by the direct engine), long (all of it as 64-bit code), translate
# (as 32-bit code where the host has that), auto and trap (patched, by the direct engine), w1 and w4 (the same, that many
# workers), qemu (QEMU TCG as a second opinion, without the lines that start with '~').
# On an emulated host (tests/host) the cases that tests/host/tcg-excluded.txt names are left out of the comparison.
# GUEST_TIMEOUT: seconds that a guest may take (default 60).
# With REBASE=1 the plain mode's output becomes the expected one: review the diff against the SDM.
cd "$(dirname "$0")/../.." || exit 1
. tests/boot/lib.sh
P=$pv
need_guest_space
top=$(mktemp -d) || exit 1
trap 'rm -rf "$top"' EXIT
order=

report() # verdict name
{
	echo "$1 - $2"
}

# Guests may print what is theirs alone (addresses of the monitor never): nothing is filtered but carriage returns.
run_paravane() # mode image options...
{
	local mode=$1
	shift
	if [ "$term" ]; then
		: >"$tmp/out"
		"$P" run "$@" $opts --append "$append" --memory 64M </dev/null >"$tmp/out" 2>"$tmp/err" &
		for ((i = 0; i < 200; i++)); do # it speaks before it does what only a signal ends
			[ -s "$tmp/out" ] && break
			sleep 0.1
		done
		sleep "$term"
		kill -TERM $!
		wait $!
	else
		timeout -k 5 "${GUEST_TIMEOUT:-60}" "$P" run "$@" $opts --append "$append" --memory 64M </dev/null >"$tmp/out" 2>"$tmp/err"
	fi
	echo "status $?" >>"$tmp/out"
	if [ "$evicts" ]; then # its statistics are no line of the guest's
		grep -q '^  translation cache flushes  *[1-9]' "$tmp/err" || echo "no flush of the translation cache" >>"$tmp/out"
	fi
	if [ "$inside" ] && { [ "$mode" = plain ] || [ "$mode" = long ]; }; then
		grep -q '^  calls of the kernel that stayed in blocks  *[1-9]' "$tmp/err" || echo "all calls left their blocks" >>"$tmp/out"
	fi
	tr -d '\r' <"$tmp/out" >"$tmp/$mode"
	compare "$mode" "tests/guest/${name/:/-}.exp"
}

# The output less the cases that what makes this host gets wrong: their lines, and the one about registers behind each.
less_excluded() # file
{
	if [ -z "${IN_TCG-}" ]; then
		cat "$1"
		return
	fi
	awk -v guest="guest $name " '
		NR == FNR {
			if (index($0, guest) == 1 && split($0, part, "\"") > 2)
				excluded[part[2]] = 1
			next
		}
		{
			case_of = $0
			sub(/(, ring [03])?: .*/, "", case_of)
			behind = case_of in excluded || (behind && /^[~ ] eax /)
			if (!behind)
				print
		}' tests/host/tcg-excluded.txt "$1"
}

compare() # mode expected
{
	if diff -u --label expected --label "$1" <(less_excluded "$2") <(less_excluded "$tmp/$1") >"$tmp/diff"; then
		report ok "$name $1"
	else
		head -40 "$tmp/diff" | sed 's/^/# /'
		head -5 "$tmp/err" | sed 's/^/# stderr: /'
		report "not ok" "$name $1"
	fi
}

run_qemu()
{
	timeout -k 5 60 qemu-system-i386 -accel tcg -cpu max -kernel "$1" -append "$append" -m 64 -serial stdio -display none \
		-monitor none -no-reboot -device isa-debug-exit,iobase=0xf4,iosize=0x04 </dev/null 2>"$tmp/err" |
		tr -d '\r' >"$tmp/qemu"
	grep -v -e '^~' -e '^status ' "tests/guest/${name/:/-}.exp" >"$tmp/qemu.exp"
	compare qemu "$tmp/qemu.exp"
}

# Every mode of one guest.
run_guest()
{
	elf=$B/guest/${name%%:*}.elf
	append=
	case $name in *:*) append=${name#*:} ;; esac
	opts='' term='' qemu=yes patch=yes evicts= inside=
	for f in $flags; do
		case $f in
		noqemu) qemu= ;;
		nopatch) patch= ;;
		opt=*) opts="$opts ${f#opt=}" ;;
		evicts) evicts=yes opts="$opts --stats" ;;
		inside) inside=yes opts="$opts --stats" ;;
		term=*) term=${f#term=} ;;
		esac
	done
	if [ "${REBASE-}" ]; then
		timeout 60 "$P" run "$elf" $opts --append "$append" --memory 64M </dev/null 2>/dev/null | tr -d '\r' >"tests/guest/${name/:/-}.exp"
		echo "status $status" >>"tests/guest/${name/:/-}.exp"
	fi
	run_paravane plain "$elf"
	run_paravane direct "$elf" --mode auto
	run_paravane translate "$elf" --mode translate
	run_paravane long "$elf" --user translate
	if [ -z "$patch" ]; then
		run_paravane w4 "$elf" --mode auto --workers 4
	elif "$P" patch "$elf" -o "$tmp/pv" >"$tmp/err" 2>&1 && "$P" verify "$elf" "$tmp/pv" >"$tmp/err" 2>&1; then
		report ok "$name patched and verified"
		run_paravane auto "$tmp/pv" --mode auto
		if [ "$direct_lacks" ]; then
			report ok "$name trap # SKIP $direct_lacks"
		else
			run_paravane trap "$tmp/pv" --mode trap
		fi
		run_paravane w1 "$tmp/pv" --mode auto --workers 1
		run_paravane w4 "$tmp/pv" --mode auto --workers 4
	else
		head -5 "$tmp/err" | sed 's/^/# /'
		report "not ok" "$name patched and verified"
	fi
	if [ "$qemu" ]; then
		if command -v qemu-system-i386 >/dev/null; then
			run_qemu "$elf"
		else
			report ok "$name qemu # SKIP qemu-system-i386 is not installed"
		fi
	fi
}

# Most of a run's time is waiting: several guests at once, each with its own directory and output.
jobs=0
direct_lacks=$(lacks_direct)
while read -r name status flags; do
	case $name in '' | '#'*) continue ;; esac
	[ $# -gt 0 ] && [[ " $* " != *" $name "* ]] && continue
	[ "${IN_TCG-}" ] && grep -q "^guest $name \"\" " tests/host/tcg-excluded.txt && continue
	if [ $jobs -ge 4 ]; then
		wait -n
		jobs=$((jobs - 1))
	fi
	tmp=$top/$name
	mkdir "$tmp"
	run_guest >"$tmp/tap" &
	jobs=$((jobs + 1))
	order="$order $tmp/tap"
done <tests/guest/guests.txt
wait
cat $order
echo "1..$(cat $order | grep -cE '^(not )?ok')"
! grep -q '^not ok' $order
