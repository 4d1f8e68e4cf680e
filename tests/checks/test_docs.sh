#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The generated documents are those that the sources make, the tour is in order, and the links of every document lead somewhere.
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build/rel}
if [ ! -x "$B/docs/gen/tables" ]; then
	echo "1..0 # SKIP $B/docs/gen/tables is not built: run make docs"
	exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
echo "1..3"

B=$B docs/gen/docs.sh "$work" 2>"$work/err" &&
	for f in policy.md abi.md tour.md; do
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

# passages NUMBER...: a tree whose files have one passage each
passages()
{
	rm -rf "$work/tree"
	mkdir -p "$work/tree/hypercalls" "$work/tree/patcher" "$work/tree/monitor"
	for i in $(seq $#); do
		printf '/*\n * Tour %s: T\n *\n * text\n */\n' "${!i}" >"$work/tree/patcher/$i.c"
	done
	docs/gen/tour.sh "$work/tree" >"$work/tour" 2>"$work/err"
}
if passages 2.10 2.9 2.0 1.0 && [ "$(grep -o '^##* [0-9.]*' "$work/tour" | tr -d '# \n')" = 122.92.10 ] &&
	! passages 1.0 1.1 1.1 && grep -q 'passage 1.1 is in patcher/2.c and in patcher/3.c' "$work/err" &&
	! passages 1.0 2.1 && grep -q 'chapter 2 has no opening' "$work/err"; then
	echo "ok 3 - the tour: passages in order, each number once, chapters opened"
else
	sed 's/^/# /' "$work/err" "$work/tour"
	echo "not ok 3 - the tour: passages in order, each number once, chapters opened"
	failed=1
fi
exit $failed
