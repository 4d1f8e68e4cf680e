#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The demo: audit, patch and verify Debian's kernel, then run it to a shell. With a terminal the shell is yours;
# without one a short scripted session shows that it answers.
cd "$(dirname "$0")/../.." || exit 1
. tests/boot/lib.sh
kernel=${KERNEL:-686}
src=$guests/vmlinuz-$kernel
image=$guests/vmlinux-$kernel.pv
initrd=$guests/initrd-demo.cpio.gz

say()
{
	echo "+ $*"
	"$@"
}

say "$pv" audit "$src" --json "$guests/audit-$kernel.json" | sed -n '1,40p' || exit 1
say "$pv" patch "$src" -o "$image" || exit 1
say "$pv" verify "$src" "$image" || exit 1

run=("$pv" run "$image" --initrd "$initrd" --append "console=ttyS0")
echo "+ $pv run $image --initrd $initrd --append \"console=ttyS0\""
if [ -t 0 ] && [ -t 1 ]; then
	exec "${run[@]}"
fi

# Each command goes in when the prompt of the one before has come out, as a person would type it.
commands=('uname -srm' 'cat /proc/loadavg' 'seq 1 1000 | sha256sum' 'ps | head -n 3' 'poweroff -f')
coproc VM { timeout -k 10 "$BOOT_TIMEOUT" "${run[@]}" 2>&1; }
vm_pid=$VM_PID
exec 3<&"${VM[0]}" 4>&"${VM[1]}"
eval "exec ${VM[1]}>&-"

ready=0
while IFS= read -r -u 3 line; do
	printf '%s\n' "${line%$'\r'}"
	case $line in
	*'Leave with: poweroff'*)
		ready=1
		break ;;
	esac
done
[ $ready -eq 1 ] && for c in "${commands[@]}"; do
	IFS= read -r -d '#' -u 3 text || break
	text=${text//$'\r'/}
	printf '%s#' "${text//$'\e[6n'/}" # the shell asks a terminal where its cursor is
	printf '%s\n' "$c" >&4
done
tr -d '\r' <&3 | sed 's|\x1b\[6n||g'
exec 4>&-
wait "$vm_pid"
status=$?
echo
echo "exit status $status"
exit $status
