#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# `paravane probe` as a command: text and JSON agree, every row is explained, wrong arguments are named.
cd "$(dirname "$0")/../.." || exit 1
p=${B:-build/rel}/paravane
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0
failed=0

# result STATUS NAME: what $work/why says goes with a failure
result()
{
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		head -n 30 "$work/why" | sed 's/^/# /'
		echo "not ok $n - $2"
		failed=1
	fi
	: >"$work/why"
}
: >"$work/why"
echo "1..6"

"$p" probe >"$work/text" 2>"$work/why"
status=$?
"$p" probe --json >"$work/json" 2>>"$work/why"
json_status=$?
python3 tests/probe/check_probe.py "$work/json" "$work/text" >>"$work/why" 2>&1
result $? "JSON keeps its schema, and the text says the same"

# A host that lacks something is exit status 2, one that lacks nothing 0; both formats alike.
want=0
grep -q '"verdict": "missing"' "$work/json" && want=2
echo "text $status, JSON $json_status, expected $want" >"$work/why"
[ "$status" = $want ] && [ "$json_status" = $want ]
result $? "the exit status is the verdict about the host"

# Each row by its OP_ name; INT sweeps 256 vectors and takes longest.
bad=0
while read -r op; do
	"$p" probe --explain "$op" >"$work/out" 2>&1 && grep -q "($op, " "$work/out" &&
		grep -q '^Why it is sensitive' "$work/out" && grep -qE '^ +See (SDM|APM|Intel) ' "$work/out" &&
		grep -qE '^ +-> (traps|leaks|silent|emulated|right|not-run): ' "$work/out" &&
		grep -q '^What Paravane does' "$work/out" && ! grep -qE '.{101}' "$work/out" || {
		echo "$op:"
		cat "$work/out"
		bad=1
	} >>"$work/why"
done < <(grep -oE '^SENSITIVE\(OP_[A-Z0-9_]+' hypercalls/sensitive.def | cut -d'(' -f2)
result $bad "every row is explained"

"$p" probe --explain mov >"$work/out" 2>"$work/why"
grep -c '^MOV .*(OP_MOV_' "$work/out" >"$work/why"
[ "$(cat "$work/why")" = "$(grep -c '^SENSITIVE(OP_MOV_' hypercalls/sensitive.def)" ]
result $? "a mnemonic in lower case explains all its forms"

bad=0
for args in "--explain NOSUCH" "--explain" "--nosuch" "stray" "--explain="; do
	# shellcheck disable=SC2086
	"$p" probe $args >"$work/out" 2>"$work/err"
	if [ $? != 2 ] || [ -s "$work/out" ] || ! grep -q '^paravane: probe: .*: ' "$work/err"; then
		echo "$args: $(cat "$work/err")" >>"$work/why"
		bad=1
	fi
done
result $bad "wrong names and options are exit status 2 and one line on standard error"

"$p" probe --json --explain POPF >/dev/full 2>"$work/why"
[ $? = 2 ] && grep -q 'cannot be written' "$work/why"
result $? "a full disk is an error"
exit $failed
