#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Every header compiles alone.
cd "$(dirname "$0")/../.." || exit 1

mapfile -t headers < <(ls hypercalls/*.h patcher/*.h monitor/*.h monitor/*/*.h tests/*.h tests/*/*.h 2>/dev/null)
echo "1..${#headers[@]}"
n=0
failed=0
for h in "${headers[@]}"; do
	n=$((n + 1))
	if out=$(${CC:-gcc} -std=gnu11 -Wall -Wextra -Werror -I. -D_GNU_SOURCE -fsyntax-only -x c - 2>&1 \
		<<<"#include \"$h\""); then
		echo "ok $n - $h"
	else
		echo "$out" | sed 's/^/# /'
		echo "not ok $n - $h"
		failed=1
	fi
done
exit $failed
