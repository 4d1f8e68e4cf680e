#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The benchmark program on the host with next to no budget: every row is there and is a number. No figure is judged.
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build/rel}
bench=$B/bench/bench
if [ ! -x "$bench" ]; then
	echo "1..0 # SKIP $bench is not built: run make $bench"
	exit 0
fi
if ! "$bench" --exit; then
	echo "1..0 # SKIP this host does not run i386 programs (CONFIG_IA32_EMULATION)"
	exit 0
fi
work=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
trap 'rm -rf "$work"' EXIT
shell=()
[ -x build/guests/busybox ] && shell=(-x build/guests/busybox)
failed=0
echo "1..3"

"$bench" --list >"$work/rows"
"$bench" -m 1 -b 4 -d "$work" "${shell[@]}" >"$work/out" 2>"$work/err"
if [ ${#shell[@]} -eq 0 ]; then
	sed -i -E '/^(sh-true|shell-loop)/d' "$work/rows" "$work/out"
fi
cut -f1 "$work/out" >"$work/printed"
if diff "$work/rows" "$work/printed" >"$work/diff" && [ "$(wc -l <"$work/rows")" -ge 28 ]; then
	echo "ok 1 - every row is printed, in order"
else
	sed 's/^/# /' "$work/diff" "$work/err"
	echo "not ok 1 - every row is printed, in order"
	failed=1
fi

if ! grep -vP '^[a-z0-9-]+\t[0-9]+\.[0-9]+$' "$work/out" >"$work/bad" &&
	! grep -P '\t0\.00$' "$work/out" >>"$work/bad"; then
	echo "ok 2 - every row is a time"
else
	sed 's/^/# /' "$work/bad" "$work/err"
	echo "not ok 2 - every row is a time"
	failed=1
fi

if [ "$("$bench" -m 1 -d "$work" -- null mmap -null-int | cut -f1 | tr '\n' ' ')" = "null-vdso mmap-munmap " ]; then
	echo "ok 3 - rows are picked by the beginning of their names"
else
	echo "not ok 3 - rows are picked by the beginning of their names"
	failed=1
fi
exit $failed
