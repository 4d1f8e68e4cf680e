#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Both builds of the benchmark program on the host with next to no budget: every row is there and is a number, or "-"
# where the build cannot have it. Then what the table and the chart make of either column. No figure is judged.
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build/rel}
work=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
n=0
echo "1..9"

verdict() # NAME, after the command whose status counts; FILES that explain a failure
{
	local status=$? name=$1

	n=$((n + 1))
	shift
	if [ $status -eq 0 ]; then
		echo "ok $n - $name"
	else
		cat "$@" /dev/null | sed 's/^/# /'
		echo "not ok $n - $name"
		failed=1
	fi
}

every_row_printed()
{
	diff "$work/rows" <(cut -f1 "$work/out") >"$work/bad" && [ "$(wc -l <"$work/rows")" -ge 28 ]
}

# A number above zero, or "-" in one of the rows ($1, an expression) that this build may lack here
every_row_a_time()
{
	! grep -vP "^([a-z0-9-]+\t[0-9]+\.[0-9]+|($1)\t-)$" "$work/out" >"$work/bad" &&
		! grep -P '\t0\.00$' "$work/out" >>"$work/bad"
}

rows_picked() # PROGRAM
{
	"$1" -m 1 -d "$work" -- null-v mmap sig -sigx -null-int | cut -f1 | tr '\n' ' ' >"$work/bad"
	[ "$(cat "$work/bad")" = "null-vdso signal mmap-munmap " ]
}

check_build() # PROGRAM NAME ROWS-IT-MAY-LACK [ARGUMENTS]
{
	local program=$1 name=$2 lacks=$3

	shift 3
	"$program" --list >"$work/rows"
	"$program" -m 1 -b 4 -d "$work" "$@" >"$work/out" 2>"$work/err"
	every_row_printed
	verdict "$name: every row is printed, in order" "$work/bad" "$work/err"
	every_row_a_time "$lacks"
	verdict "$name: every row is a time, or cannot be had" "$work/bad" "$work/err"
	rows_picked "$program"
	verdict "$name: rows are picked by the beginning of their names" "$work/bad"
}

shell=() lacks='sh-true|shell-loop'
if [ -x build/guests/busybox ]; then
	shell=(-x build/guests/busybox) lacks=none
fi
if "$B/bench/bench" --exit 2>/dev/null; then
	check_build "$B/bench/bench" i386 "$lacks" "${shell[@]}"
else
	for i in 1 2 3; do
		echo "ok $i - i386 build # SKIP this host does not run i386 programs (CONFIG_IA32_EMULATION)"
	done
	n=3
fi
check_build "$B/bench/bench64" "64-bit build" 'null-int80|sh-true|shell-loop'

# The column's name comes from what the host can execute: here from a stand-in for the i386 build.
mkdir "$work/bench"
column()
{
	B=$work python3 -c 'import sys
sys.dont_write_bytecode = True
sys.path.insert(0, "tests/bench")
import run
print(*run.native_build())'
}
ln -s /bin/true "$work/bench/bench"
[ "$(column)" = "N $work/bench/bench" ]
verdict "a host that executes the i386 build has column N"
ln -sf /bin/false "$work/bench/bench"
[ "$(column)" = "N64 $work/bench/bench64" ]
verdict "another has column N64"

python3 - >"$work/bad" 2>&1 <<'PY'
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, "tests/bench")
import chart, targets

def result(column):
    return {"native": column, "geometric_mean": 0.4, "medians": {
        "native": {"sieve": 100.0, "signal": 10.0}, "paravane": {"sieve": 101.0, "signal": 60.0},
        "qemu": {"sieve": 400.0, "signal": 90.0}}}

def row(text, name):
    return next([c.strip() for c in line.split("|")] for line in text.splitlines() if line.startswith(f"| {name} "))

n, n64 = (targets.table(result(c)) for c in ("N", "N64"))
mark = "N64: a 64-bit build, for orientation"
assert row(n, "row")[3] == "N" and row(n64, "row")[3] == "N64", "the head of the column"
assert row(n, "sieve")[9] == "hit" and row(n64, "sieve")[9] == "1.01 N64", "a target against N"
assert row(n, "signal")[9] == row(n64, "signal")[9] == "**miss**", "a target against Q"
assert "target 0.5: **miss**" in n and "miss" not in n64.splitlines()[-1], "the mean"
assert mark in n64 and mark in chart.svg(result("N64")) and mark in targets.native_means("N64"), "the mark"
assert "N64" not in n + chart.svg(result("N")) + targets.native_means("N"), "no mark"
PY
verdict "targets against N64 are ratios, and table, chart and JSON say what N64 is" "$work/bad"
exit $failed
