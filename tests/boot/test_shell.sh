#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The shell in the guest answers: through the demo's scripted session, and on a terminal of its own with the
# keys that the console keeps for itself.
cd "$(dirname "$0")/../.." || exit 1
. tests/boot/lib.sh
need_guest_space
need "$pv" "$guests/vmlinuz-686" "$guests/initrd-demo.cpio.gz"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "1..5"

B=$B tests/boot/demo.sh </dev/null >"$work/demo" 2>&1
tap $? "the demo without a terminal ends with status 0" "$work/demo"
sum=$(seq 1 1000 | sha256sum)
grep -qF "$sum" "$work/demo"
tap $? "its shell computes what this machine computes" "$work/demo"

# A pty, as a person has it: wait for the prompt, type, then leave by Ctrl-A x.
patched 686 "$work" >"$work/patch" 2>&1
coproc PTY { timeout -k 10 "$BOOT_TIMEOUT" script -qefc "$pv run $work/vmlinux-686.pv \
	--initrd $guests/initrd-demo.cpio.gz --append 'console=ttyS0 quiet'" /dev/null 2>&1; }
pty_pid=$PTY_PID
exec 3<&"${PTY[0]}" 4>&"${PTY[1]}"
until_text()
{
	local text='' c
	while IFS= read -r -d '' -n 1 -t "$BOOT_TIMEOUT" -u 3 c; do
		text+=$c
		printf '%s' "$c" >>"$work/pty"
		case $text in
		*"$1") return 0 ;;
		esac
	done
	return 1
}
until_text '/ # '
tap $? "a prompt on the terminal" "$work/pty"
printf 'echo $((6 * 7))-answers\r' >&4
until_text $'\n42-answers'
tap $? "what is typed is answered" "$work/pty"
until_text '/ # ' # and then nothing happens any more, but for what is typed
sleep 1
printf '\001x' >&4
cat <&3 >>"$work/pty"
wait "$pty_pid"
status=$?
echo "(exit status $status)" >>"$work/pty"
[ $status -lt 124 ]
tap $? "Ctrl-A x leaves" "$work/pty"
exit $tap_failed
