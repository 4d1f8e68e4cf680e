#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# An idle guest, counted, not timed: Debian's i386 kernels tick 250 times a second at rest too (CONFIG_HZ_PERIODIC). Each
# tick is one interrupt and wakes one process of the host; the VMX sleeps through it.
cd "$(dirname "$0")/../.." || exit 1
. tests/boot/lib.sh
need_guest_space
need "$pv" "$guests/vmlinuz-686" "$guests/initrd-demo.cpio.gz"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "1..5"

SECONDS_IDLE=5 HZ=250
patched 686 "$work" >"$work/patch" 2>&1
start_console "$work/vmlinux-686.pv" --initrd "$guests/initrd-demo.cpio.gz" --append "console=ttyS0 quiet"

# PID... : how often they went to sleep, in total
sleeps()
{
	local pid total=0

	for pid; do
		total=$((total + $(sed -n 's/^voluntary_ctxt_switches:\s*//p' "/proc/$pid/status")))
	done
	echo $total
}

# The marks are put together by the shell, so that its echo of the command does not match.
until_line 'Leave with'
tap $? "the guest has booted" "$work/console"
cat >&4 <<END
ticks() { awk '/XT-PIC *timer/ { print \$2 }' /proc/interrupts; }; uptime_cs() { awk '{ print \$1 * 100 }' /proc/uptime; }
sleep 2; t=\$(ticks) u=\$(uptime_cs); echo BE''GIN; sleep $SECONDS_IDLE
echo E''ND \$((\$(ticks) - t)) \$((\$(uptime_cs) - u)); poweroff -f
END
until_line '^BEGIN$'
pids=$(descendants "$vmx")
workers=$(echo "$pids" | tail -n +2)
vmx_before=$(sleeps "$vmx")
workers_before=$(sleeps $workers)
until_line '^END [0-9]+ [0-9]+$'
vmx_sleeps=$(($(sleeps "$vmx") - vmx_before))
worker_sleeps=$(($(sleeps $workers) - workers_before))
read -r _ ticks centiseconds <<<"$line"
end_console
status=$?
echo "# $ticks timer interrupts in $((centiseconds * 10)) ms; the VMX slept $vmx_sleeps times, workers $worker_sleeps times"
[ $status -eq 0 ]
tap $? "it powers off" "$work/console"

# By the guest's own clock. Fewer is a host that was late for some: Linux programs each tick when the last one came. More
# are its shell's own timers.
[ "${ticks:-0}" -ge $HZ ] && [ "$ticks" -le $((centiseconds * HZ / 100 + HZ / 5)) ]
tap $? "no more ticks than the guest's kernel asks for" "$work/console"
[ "$vmx_sleeps" -le $((ticks / 2)) ] # all but those that find the worker awake on a busy host
tap $? "the VMX sleeps through them"
[ "$worker_sleeps" -le $((ticks * 5 / 4 + 50)) ]
tap $? "a tick wakes one worker once"
exit $tap_failed
