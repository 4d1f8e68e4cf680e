#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The test driver itself: what it must count as a failure, and its closing line.
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0
failed=0

# case NAME WANT-CLOSING WANT-STATUS SCRIPT...: the driver over programs made of the scripts
case_()
{
	local name=$1 closing=$2 status=$3 i=0 progs=() got rc
	shift 3
	n=$((n + 1))
	for s; do
		i=$((i + 1))
		printf '#!/bin/sh\n%s\n' "$s" >"$work/p$i"
		chmod +x "$work/p$i"
		progs+=("$work/p$i")
	done
	got=$(B=$work/b PARAVANE_TEST_TIMEOUT=2 tests/run "${progs[@]}" 2>/dev/null)
	rc=$?
	if [ "$(tail -n 1 <<<"$got")" = "$closing" ] && [ $rc -eq "$status" ]; then
		echo "ok $n - $name"
	else
		printf '%s\n' "$got" "exit status $rc" | sed 's/^/# /'
		echo "not ok $n - $name"
		failed=1
	fi
}

echo "1..9"
case_ "adds up programs" "3 passed, 0 failed" 0 'echo "ok 1 - a"; echo "ok 2 - b"' 'echo "ok - c"'
case_ "a failure" "1 passed, 1 failed" 1 'echo "ok 1 - a"; echo "not ok 2 - b"; exit 1'
case_ "a script's skip" "1 passed, 0 failed, 1 skipped" 0 'echo "ok 1 - a"; echo "ok 2 - b # SKIP no"'
case_ "cmocka's skip" "1 passed, 0 failed, 1 skipped" 0 'echo "ok 1 - a"; echo why; echo "not ok 2 # SKIP b"'
case_ "a program that skips all of itself" "1 passed, 0 failed, 1 skipped" 0 'echo "1..0 # SKIP no"' 'echo ok 1'
case_ "death before the plan is done" "1 passed, 1 failed" 1 'echo 1..3; echo "ok 1 - a"; kill -KILL $$'
case_ "a bad exit status alone" "1 passed, 1 failed" 1 'echo "ok 1 - a"; exit 23'
case_ "a program that tests nothing" "0 passed, 1 failed" 1 'exit 0'
case_ "a program that hangs" "1 passed, 1 failed" 1 'echo "ok 1 - a"; exec sleep 60'
exit $failed
