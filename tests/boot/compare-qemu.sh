#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Time from start to user space (the marker that the first process prints) under `qemu-system-i386 -accel tcg` and
# under paravane: same kernel, initrd and memory, runs interleaved, medians. Writes docs/boot-time.md.
# RUNS=N (default 5), MEMORY=N (MiB, default 256). A report, not a test: nothing passes or fails by it.
cd "$(dirname "$0")/../.." || exit 1
. tests/boot/lib.sh
runs=${RUNS:-5}
memory=${MEMORY:-256}
doc=docs/boot-time.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! command -v qemu-system-i386 >/dev/null; then
	echo "boot-time: qemu-system-i386 is not installed: run make setup" >&2
	exit 1
fi

# to_marker OUT COMMAND...: milliseconds until the marker stands in the output, the rest is let run out
to_marker()
{
	local out=$1 start=$EPOCHREALTIME marker='' line
	shift
	while IFS= read -r line; do
		printf '%s\n' "$line" >>"$out"
		case $line in
		*PARAVANE-INIT-OK*) marker=${marker:-$EPOCHREALTIME} ;;
		esac
	done < <(timeout -k 10 "$BOOT_TIMEOUT" "$@" </dev/null 2>&1)
	[ -n "$marker" ] && echo $(((${marker/./} - ${start/./}) / 1000))
}

median()
{
	sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : int((v[NR / 2] + v[NR / 2 + 1]) / 2) }'
}

seconds()
{
	awk -v ms="$1" 'BEGIN { printf "%.2f", ms / 1000 }'
}

{
	echo "# Boot time beside QEMU"
	echo
	echo "Seconds from the start of the command to the first line that the first process prints, with the same"
	echo "kernel, initrd and memory ($memory MiB); the runs alternate. QEMU is" \
		"\`$(qemu-system-i386 --version | sed -n '1s/QEMU emulator version \([^ ]*\).*/\1/p')" \
		"-accel tcg\`. Written by \`make boot-time\`."
	echo
	echo "Host: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) CPUs, Linux $(uname -r)."
	echo
	echo "| kernel | runs | paravane median (min to max) | QEMU TCG median (min to max) | paravane / QEMU |"
	echo "| --- | --- | --- | --- | --- |"
} >"$work/doc"

for kernel in 686 686-pae; do
	patched "$kernel" "$work" >/dev/null || exit 1
	: >"$work/p"
	: >"$work/q"
	for ((i = 0; i < runs; i++)); do
		rm -f "$work/console"
		to_marker "$work/console" qemu-system-i386 -accel tcg -nographic -no-reboot -m "$memory" \
			-kernel "$guests/vmlinuz-$kernel" -initrd "$guests/initrd-test.cpio.gz" \
			-append "console=ttyS0 battery=no noreplace-smp noisapnp" >>"$work/q"
		rm -f "$work/console"
		to_marker "$work/console" "$pv" run "$work/vmlinux-$kernel.pv" --memory "${memory}M" \
			--initrd "$guests/initrd-test.cpio.gz" --append "console=ttyS0 battery=no" >>"$work/p"
		echo "$kernel run $((i + 1)): QEMU $(tail -n 1 "$work/q") ms, paravane $(tail -n 1 "$work/p") ms" >&2
	done
	if [ "$(wc -l <"$work/p")" -ne "$runs" ] || [ "$(wc -l <"$work/q")" -ne "$runs" ]; then
		echo "boot-time: $kernel: some run never reached user space; the last console:" >&2
		tail -n 20 "$work/console" >&2
		exit 1
	fi
	p=$(median <"$work/p")
	q=$(median <"$work/q")
	echo "| $(sed -n "s/^vmlinuz-$kernel //p" "$guests/VERSIONS") | $runs |" \
		"$(seconds "$p") ($(seconds "$(sort -n "$work/p" | head -n 1)") to" \
		"$(seconds "$(sort -n "$work/p" | tail -n 1)")) |" \
		"$(seconds "$q") ($(seconds "$(sort -n "$work/q" | head -n 1)") to" \
		"$(seconds "$(sort -n "$work/q" | tail -n 1)")) |" \
		"$(awk -v p="$p" -v q="$q" 'BEGIN { printf "%.2f", p / q }') |" >>"$work/doc"
done

{
	cat "$work/doc"
	for kernel in 686 686-pae; do
		echo
		echo "## Exits of one boot: $kernel"
		echo
		echo "\`paravane run --stats\`, to power-off, without the battery:"
		echo
		echo '```'
		"$pv" run "$work/vmlinux-$kernel.pv" --memory "${memory}M" --initrd "$guests/initrd-test.cpio.gz" \
			--append "console=ttyS0 battery=no" --console none --stats </dev/null 2>&1
		echo '```'
	done
} >"$doc"
sed -n '/^| kernel/,/^$/p' "$doc"
