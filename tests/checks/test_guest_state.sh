#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Code that runs behind a gate finds the guest's vector and x87 state in the registers. Proven by disassembly:
# the objects of monitor/vmm and monitor/dev (and the policy table) hold no vector or x87 instruction, and call nothing outside
# themselves (libc may use SSE at any time) but what tests/checks/guest_state.allow names, with the reason.
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build/rel}
allow=tests/checks/guest_state.allow
n=0
failed=0

verdict()
{
	n=$((n + 1))
	if [ -z "$2" ]; then
		echo "ok $n - $1"
	else
		printf '%s\n' "$2" | sed 's/^/# /'
		echo "not ok $n - $1"
		failed=1
	fi
}

# hypercalls/policy.c is a table and its look-ups; the handlers ask it all the time.
mapfile -t objects < <(find "$B/monitor/vmm" "$B/monitor/dev" "$B/hypercalls/policy.o" -name '*.o' 2>/dev/null | sort)
echo "1..4"
verdict "there are objects to look at ($B)" "$([ ${#objects[@]} -gt 1 ] || echo "build first")"

# Registers by name, x87 and state instructions by mnemonic. An allowed instruction stands in the allow file as
# `insn FILE MNEMONIC` (XSAVE and XRSTOR are how the state is put aside before vector code may run).
touched=$(for o in "${objects[@]}"; do
	src=${o#"$B"/}
	objdump -d --no-show-raw-insn "$o" | awk -v o="${src%.o}" -v allow="$allow" '
		BEGIN {
			while ((getline line <allow) > 0) {
				split(line, w)
				if (w[1] == "insn")
					ok[w[2] " " w[3]] = 1
			}
		}
		/>:$/ { f = $2 }
		/%[xyz]mm[0-9]|%mm[0-7]|%st|%k[0-7]|\t(f[a-z0-9]+|emms|v?ldmxcsr|v?stmxcsr|xsave|xrstor|vzero)/ {
			sub(/^ *[0-9a-f]+:\t/, "")
			if (!((o " " $1) in ok))
				print o " " f " " $0
		}'
done)
verdict "no vector or x87 instruction" "$touched"

# What the objects define among themselves needs no leave.
defined=$(nm -g --defined-only "${objects[@]}" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u)
calls=$(for o in "${objects[@]}"; do
	src=${o#"$B"/}
	nm -u "$o" | awk -v o="${src%.o}" '{ sub(/@.*/, "", $2); print o, $2 }'
done)
outside=$(awk -v defined="$defined" -v allow="$allow" '
	BEGIN {
		n = split(defined, d, "\n")
		for (i = 1; i <= n; i++)
			own[d[i]] = 1
		while ((getline line <allow) > 0) {
			split(line, w)
			if (w[1] == "call")
				ok[w[2] " " w[3]] = 1
		}
	}
	!($2 in own) && !(($1 " " $2) in ok) && !(("* " $2) in ok) { print $1 " calls " $2 }' <<<"$calls")
[ -z "$calls" ] && outside=
verdict "no call to the outside that has no leave" "$outside"

# An entry that nothing needs any more would hide the next offence.
stale=$(awk -v calls="$calls" '
	BEGIN {
		n = split(calls, c, "\n")
		for (i = 1; i <= n; i++) {
			split(c[i], w, " ")
			used[c[i]] = 1
			used["* " w[2]] = 1
		}
	}
	$1 == "call" && !(($2 " " $3) in used) { print "nothing needs: " $0 }' "$allow")
verdict "no stale entry in $allow" "$stale"
exit $failed
