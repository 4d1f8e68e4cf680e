#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What address spaces that come and go leave behind on the host: processes, descriptors, mappings (/proc/PID/maps). A flat
# guest that loads CR3 over and over, then Debian's kernel with 300 processes at once, twice.
#
# CR3_LOADS sets the number of loads (standard 100,000; 10,000,000 takes some minutes), PROCESSES that of processes.
cd "$(dirname "$0")/../.." || exit 1
. tests/boot/lib.sh
need_guest_space
need "$pv" "$B/guest/switches.elf" "$guests/vmlinuz-686" "$guests/initrd-demo.cpio.gz"
CR3_LOADS=${CR3_LOADS:-100000} PROCESSES=${PROCESSES:-300}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "1..9"

# NAME: "processes descriptors mappings most-mappings-of-one" of the run, in the array NAME
sample()
{
	local pid maps fds=0 all=0 most=0 n=0
	local -n into=$1

	for pid in $(descendants "$vmx"); do
		maps=$(wc -l <"/proc/$pid/maps")
		fds=$((fds + $(ls "/proc/$pid/fd" | wc -l)))
		all=$((all + maps)) most=$((maps > most ? maps : most)) n=$((n + 1))
	done
	into=("$n" "$fds" "$all" "$most")
	echo "# $1: $n processes, $fds descriptors, $all mappings, at most $most in one"
}

same_processes() # NAME NAME
{
	local -n a=$1 b=$2

	[ "${a[0]}" = "${b[0]}" ] && [ "${a[1]}" = "${b[1]}" ]
}

# --- loads of CR3

start_console "$B/guest/switches.elf" --memory 64M
until_line '^ready$'
echo 20000 >&4 # every space has had every worker
until_line '^loaded'
sample warm
echo "$CR3_LOADS" >&4
until_line '^loaded' $((BOOT_TIMEOUT + CR3_LOADS / 5000))
sample loaded
[[ $line == "loaded CR3 $CR3_LOADS times, 0 wrong" ]]
tap $? "$CR3_LOADS loads of CR3, memory right after each" "$work/console"
echo 0 >&4
end_console
tap $? "the guest ends" "$work/console"
same_processes warm loaded
tap $? "loads of CR3 leave no processes and no descriptors behind"
# Of 32 spaces a worker stands for one at a time, and that has one page of its own: beside it and the hole around it (3
# mappings) only pages of the kernel half can come, of which this guest has few.
[ "${loaded[2]}" -le $((warm[2] + 3 * loaded[0])) ]
tap $? "nor mappings"

# --- processes

patched 686 "$work" >"$work/patch" 2>&1
start_console "$work/vmlinux-686.pv" --initrd "$guests/initrd-demo.cpio.gz" --append "console=ttyS0 quiet"
until_line 'Leave with'
# The marks are put together by the shell, so that its echo of the command does not match.
round() # NAME
{
	cat >&4 <<END
p=; for i in \$(seq $PROCESSES); do sleep 1000 & p="\$p \$!"; done; sleep 1; echo ALI''VE \$(ps | grep -c '[s]leep 1000')
END
	until_line '^ALIVE'
	alive=${line#ALIVE }
	sample "$1_alive"
	echo "kill \$p; wait; : | true; echo GO''NE" >&4
	until_line '^GONE'
	sample "$1_gone"
}
round first
round second
[ "$alive" = "$PROCESSES" ]
tap $? "$PROCESSES processes at once" "$work/console"
echo 'poweroff -f' >&4
end_console
tap $? "it powers off" "$work/console"
same_processes first_alive first_gone && same_processes first_gone second_alive && same_processes first_gone second_gone
tap $? "processes of the guest are no processes of the host, and leave no descriptors"
[ "${second_alive[3]}" -le 6000 ]
tap $? "mappings of one worker while they live: a tenth of vm.max_map_count's standard"
# What is mapped goes with the guest's habits, not with how many processes there have been.
[ "${second_gone[2]}" -le $((first_gone[2] * 3 / 2 + 500)) ]
tap $? "the second time leaves no more mappings than the first"
exit $tap_failed
