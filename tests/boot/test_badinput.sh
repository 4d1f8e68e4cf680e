#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What a user gets wrong: a message that names the thing, a non-zero status below 128 (no signal), no output file.
cd "$(dirname "$0")/../.." || exit 1
. tests/boot/lib.sh
need "$pv" "$guests/vmlinuz-686" "$guests/vmlinuz-686-pae" "$guests/initrd-test.cpio.gz"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
src=$guests/vmlinuz-686
good=$work/good.pv
"$pv" patch "$src" -o "$good" >"$work/err" 2>&1
tap $? "a good image to spoil" "$work/err" || { echo "1..1"; exit 1; }

# refuse NAME WORD COMMAND...: refused, with WORD in the message and the exit status `want` (2: the user's mistake;
# 4: the proof failed)
want=2
refuse()
{
	local name=$1 word=$2 status
	shift 2
	timeout -k 5 60 "$@" </dev/null >"$work/err" 2>&1
	status=$?
	echo "(exit status $status)" >>"$work/err"
	if [[ $B == *asan ]] && grep -q 'low 4 GiB: taken' "$work/err"; then # see need_guest_space
		tap_n=$((tap_n + 1))
		echo "ok $tap_n - $name # SKIP a sanitizer's shadow memory stands where the guest goes"
		return
	fi
	if [ $status -eq 2 ] && [[ $* == *" run "* ]] && grep -q '^paravane: host: ' "$work/err"; then
		tap_n=$((tap_n + 1))
		echo "ok $tap_n - $name # SKIP $(sed -n 's/^paravane: //p' "$work/err")"
		return
	fi
	[[ $status =~ ^($want)$ ]] && grep -qiE -e "$word" "$work/err" &&
		! grep -qE 'Sanitizer|runtime error' "$work/err"
	tap $? "$name" "$work/err"
}

refuse "no command" usage "$pv"
refuse "unknown command" fnord "$pv" fnord
for c in audit patch unpatch verify run; do
	refuse "$c: no file" 'usage|--help' "$pv" $c
	refuse "$c: unknown option" fnord "$pv" $c --fnord "$good"
done
refuse "audit: a file that is not there" nowhere "$pv" audit "$work/nowhere"
refuse "patch: a file that is not there" nowhere "$pv" patch "$work/nowhere" -o "$work/o.pv"
refuse "unpatch: a file that is not there" nowhere "$pv" unpatch "$work/nowhere" -o "$work/o.pv"
refuse "verify: a source that is not there" nowhere "$pv" verify "$work/nowhere" "$good"
refuse "verify: a patched file that is not there" nowhere "$pv" verify "$src" "$work/nowhere"
refuse "run: a file that is not there" nowhere "$pv" run "$work/nowhere"

: >"$work/empty"
head -c 1000000 "$src" >"$work/short"
head -c 100000 /dev/zero >"$work/zeros"
for f in empty short zeros; do
	refuse "audit: $f image" "$f" "$pv" audit "$work/$f"
	refuse "patch: $f image" "$f" "$pv" patch "$work/$f" -o "$work/o.pv"
	refuse "run: $f image" "$f" "$pv" run "$work/$f"
done
[ ! -e "$work/o.pv" ]
tap $? "no output file is left"
refuse "patch: an output that cannot be written" nodir "$pv" patch "$src" -o "$work/nodir/o.pv"
refuse "run: an image that was not patched" vmlinuz-686 "$pv" run "$src"

head -c $(($(stat -c %s "$good") - 5000)) "$good" >"$work/cut.pv"
want='2|4'
refuse "run: a patched file cut short" cut "$pv" run "$work/cut.pv"
refuse "verify: a patched file cut short" cut "$pv" verify "$src" "$work/cut.pv"
# One byte of .text changed by hand: 3 MiB into the file is code in every 6.1 kernel.
cp "$good" "$work/edited.pv"
printf '\xf4' | dd of="$work/edited.pv" bs=1 seek=3145728 conv=notrunc status=none
want=4
refuse "verify: a patched file edited by hand" . "$pv" verify "$src" "$work/edited.pv"
refuse "run: a patched file edited by hand" edited "$pv" run "$work/edited.pv"
refuse "verify: another kernel's image" . "$pv" verify "$guests/vmlinuz-686-pae" "$good"
want=2

refuse "run: missing initrd" nowhere "$pv" run "$good" --initrd "$work/nowhere"
refuse "run: memory too small" memory "$pv" run "$good" --memory 1M
refuse "run: memory too large" memory "$pv" run "$good" --memory 9999999M
refuse "run: memory that is no number" memory "$pv" run "$good" --memory lots
refuse "run: no workers" workers "$pv" run "$good" --workers 0
refuse "run: workers that are no number" workers "$pv" run "$good" --workers x
refuse "run: unknown mode" mode "$pv" run "$good" --mode=fnord
refuse "run: unknown console" console "$pv" run "$good" --console fnord
refuse "run: an option without its value" memory "$pv" run "$good" --memory
echo "1..$tap_n"
exit $tap_failed
