#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The generated documents are those that the sources make, and the links of every document lead somewhere.
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build/rel}
if [ ! -x "$B/docs/gen/tables" ]; then
	echo "1..0 # SKIP $B/docs/gen/tables is not built: run make docs"
	exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
echo "1..2"

B=$B docs/gen/docs.sh "$work" 2>"$work/err" &&
	for f in policy.md abi.md; do
		diff -u "docs/$f" "$work/$f" || echo "docs/$f is stale: run make docs"
	done >"$work/diff" 2>&1
if [ -s "$work/err" ] || [ -s "$work/diff" ]; then
	head -n 40 "$work/err" "$work/diff" | sed 's/^/# /'
	echo "not ok 1 - generated documents are current"
	failed=1
else
	echo "ok 1 - generated documents are current"
fi

for f in README.md docs/*.md; do
	grep -oE '\]\([^)#:]+\)' "$f" | tr -d '()]' | while read -r link; do
		[ -e "$(dirname "$f")/$link" ] || echo "# $f: no $link"
	done
done >"$work/links"
if [ -s "$work/links" ]; then
	cat "$work/links"
	echo "not ok 2 - links"
	failed=1
else
	echo "ok 2 - links"
fi
exit $failed
