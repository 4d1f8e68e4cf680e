# SPDX-License-Identifier: GPL-3.0-or-later
# Shared by the scripts that boot real kernels. Sourced with the root of the tree as working directory.
# shellcheck shell=bash disable=SC2034
B=${B:-build/rel}
guests=build/guests
pv=$B/paravane
# A hang guard, not a measure: a boot that takes longer has stopped.
BOOT_TIMEOUT=${BOOT_TIMEOUT:-240}

tap_n=0
tap_failed=0 # read by the scripts at their end

# tap STATUS NAME [FILE...]: one result; the files' ends are shown when it failed
tap()
{
	local status=$1 name=$2
	shift 2
	tap_n=$((tap_n + 1))
	if [ "$status" -eq 0 ]; then
		echo "ok $tap_n - $name"
		return 0
	fi
	for f; do
		[ -s "$f" ] || continue
		grep -a -m 12 -E 'BUG|Oops|PANIC|panic|WARNING|EIP:|Code:' "$f" | sed "s|^|# ${f##*/}, of its end: |"
		tail -n 40 "$f" | sed "s|^|# ${f##*/}: |"
	done
	echo "not ok $tap_n - $name"
	tap_failed=1
	return 1
}

# need FILE...: skip the whole script, with the reason, where one is absent
need()
{
	for f; do
		if [ ! -s "$f" ]; then
			echo "1..0 # SKIP $f is absent: run make all guests"
			exit 0
		fi
	done
}

# host_lacks: succeeds, printing what `paravane run` misses, where the host cannot run guests at all
host_lacks()
{
	"$pv" run /dev/null 2>&1 | sed -n 's/^paravane: \(host: .*\)/\1/p' | grep .
}

# need_guest_space: skip the whole script in a sanitizer build, which cannot run guests, and on hosts that cannot
need_guest_space()
{
	local lacks

	case $B in
	*asan)
		echo "1..0 # SKIP a sanitizer's shadow memory stands where the guest goes"
		exit 0 ;;
	esac
	if lacks=$(host_lacks); then
		echo "1..0 # SKIP $lacks"
		exit 0
	fi
}

# lacks_direct: succeeds, printing why, where the host cannot execute 32-bit code directly (then all code is translated)
lacks_direct()
{
	"$pv" run --mode=direct /dev/null 2>&1 | sed -n 's/^paravane: \(host: .*\); leave out --mode=direct$/\1/p' | grep .
}

# patched KERNEL DIR: patch vmlinuz-KERNEL into DIR/vmlinux-KERNEL.pv
patched()
{
	"$pv" patch "$guests/vmlinuz-$1" -o "$2/vmlinux-$1.pv"
}

# make_initrd OUT INIT FILE...: newc cpio, gzip, the same bytes for the same input whoever builds it and when. /dev/console
# comes with the kernel's built-in initramfs, so no device node (and no root) is needed.
make_initrd()
(
	set -eu
	out=$1 init=$2
	shift 2
	tree=$(mktemp -d)
	trap 'rm -rf "$tree"' EXIT
	# 755 whatever the umask: modes are part of the archive.
	install -d -m 755 "$tree/bin" "$tree/proc" "$tree/sys" "$tree/dev"
	install -m 755 "$guests/busybox" "$tree/bin/busybox"
	ln -s busybox "$tree/bin/sh"
	install -m 755 "$init" "$tree/init"
	for f; do
		install -m 755 "$f" "$tree/"
	done
	(cd "$tree" && chmod 755 . && find . -print0 | xargs -0 touch -h -d @0 &&
		find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --reproducible --quiet) | gzip -9n >"$out.part"
	mv "$out.part" "$out"
)

# boot_test IMAGE OUT OPTION...: boot the test initrd; console and messages in OUT; the run's status is returned
boot_test()
{
	local image=$1 out=$2
	shift 2
	timeout -k 10 "$BOOT_TIMEOUT" "$pv" run "$image" --initrd "$guests/initrd-test.cpio.gz" \
		--append "console=ttyS0" "$@" </dev/null >"$out" 2>&1
}

# battery_of OUT: what the battery printed, as tests/boot/battery.exp has it
battery_of()
{
	tr -d '\r' <"$1" | sed -n '/^PARAVANE-BATTERY$/,/^PARAVANE-DONE$/{ /^PARAVANE-/!p }'
}

# start_console OPTION...: a run whose process is $vmx and whose console is descriptors 3 (out) and 4 (in); all that is
# read from it ends up in $work/console
start_console()
{
	coproc PV { exec "$pv" run "$@" 2>&1; }
	vmx=$PV_PID
	exec 3<&"${PV[0]}" 4>&"${PV[1]}"
}

# until_line PATTERN [SECONDS]: read the console up to the line that matches, into $line
until_line()
{
	while IFS= read -r -t "${2:-$BOOT_TIMEOUT}" -u 3 line; do
		line=${line%$'\r'}
		echo "$line" >>"$work/console"
		[[ $line =~ $1 ]] && return 0
	done
	return 1
}

# end_console: read the rest; the run's status is returned
end_console()
{
	cat <&3 >>"$work/console"
	exec 3<&- 4>&-
	wait "$vmx"
}

# descendants PID: it and all processes below it
descendants()
{
	local child

	echo "$1"
	for child in $(cat "/proc/$1/task/$1/children"); do
		descendants "$child"
	done
}
