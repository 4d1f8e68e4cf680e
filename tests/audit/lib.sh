# SPDX-License-Identifier: GPL-3.0-or-later
# Shared by the scripts about reports. Sourced with the root of the tree as working directory. `work` is a directory that
# goes with the script; what the step at hand printed belongs in $work/out, which is shown if it failed.
# shellcheck shell=bash
B=${B:-build/rel}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0
failed=0

# result STATUS NAME: one result, which is the function's too; 77 skips it, the end of $work/out says why
result()
{
	n=$((n + 1))
	case $1 in
	0) echo "ok $n - $2" ;;
	77) echo "ok $n - $2 # SKIP $(tail -n 1 "$work/out")" ;;
	*)
		head -n 20 "$work/out" | cut -c 1-400 | sed 's/^/# /'
		echo "not ok $n - $2"
		failed=1
		return 1
		;;
	esac
}

# skip NAME WHY
skip()
{
	echo "$2" >"$work/out"
	result 77 "$1"
}

# finish: the plan, and the script's status
finish()
{
	echo "1..$n"
	exit $failed
}
