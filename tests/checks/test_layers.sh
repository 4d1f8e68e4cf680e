#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The arrows between the parts, proven on the include lines and on the built objects:
#
#   patcher -> hypercalls <- monitor      dev/ never sees vmm/
#   of vmm/ and dev/, only the world switch and who may use vmm/host.h make host system calls; main.c alone exits
#
# B names the build whose objects are read.
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build/rel}
n=0
failed=0

# verdict NAME OFFENDERS: passes when there are none
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

# includes DIR FORBIDDEN: include lines under DIR that name a FORBIDDEN prefix (an extended regular expression)
includes()
{
	grep -rnE --include='*.[chS]' --include='*.def' "^[[:space:]]*#[[:space:]]*include[[:space:]]+\"($2)" "$1" 2>/dev/null
}

echo "1..9"
verdict "hypercalls depends on nothing of ours" "$(includes hypercalls '(patcher|monitor|tests)/')"
verdict "patcher never includes monitor" "$(includes patcher '(monitor|tests)/')"
verdict "monitor never includes patcher" "$(includes monitor '(patcher|tests)/')"
verdict "monitor/dev never includes monitor/vmm" "$(includes monitor/dev 'monitor/vmm/')"
# A path that climbs or names a neighbour would slip past the patterns above.
verdict "includes are root-relative" "$(grep -rnE --include='*.[chS]' --include='*.def' \
	'^[[:space:]]*#[[:space:]]*include[[:space:]]+"' hypercalls patcher monitor tests 2>/dev/null |
	grep -vE '"(hypercalls|patcher|monitor|tests)/[^".]*[a-z0-9_]\.(h|def|c|inc)"')"

inside=$(find "$B/monitor/vmm" "$B/monitor/dev" -name '*.o' 2>/dev/null | sort)
verdict "there are objects to look at ($B)" "$([ -n "$inside" ] || echo "build first")"
# The only SYSCALL instruction stands in vmm/host.h, as inline functions (and in the world switch). Who includes it
# is a decision; this is the list. Calls of libc's wrappers are the business of test_guest_state.sh.
may='^monitor/vmm/(host[a-z0-9_]*|world[a-z0-9_]*|init|io|run|shadow|shadow_forget|shadow_hole|shadow_seg|trace|worker)\.'
verdict "host system calls come from the world switch, vmm/host.h and the files with leave to use it" "$(
	grep -rlE '"monitor/vmm/host\.h"' monitor/vmm monitor/dev 2>/dev/null | grep -vE "$may"
	grep -rnE '\b(syscall|sysenter|int +\$0x80)\b.*"' --include='*.[chS]' monitor/vmm monitor/dev |
		grep -E 'asm|^[^:]*:[0-9]+:[[:space:]]*"' | grep -vE '^monitor/vmm/(host|world)'
	for o in $inside; do
		src=${o#"$B"/}
		grep -qE "$may" <<<"$src" && continue
		objdump -d --no-show-raw-insn "$o" |
			awk -v o="$src" '/>:$/ { f = $2 } /\t(syscall|sysenter|int +\$0x80)/ { print o, f, $0 }'
	done)"
verdict "deep code never exits the process" "$(
	for o in $(find "$B/monitor" "$B/hypercalls" "$B/patcher" -name '*.o' | sort); do
		case $o in
		*/monitor/main.o) continue ;;
		esac
		nm -u "$o" | awk -v o="${o#"$B"/}" '$2 ~ /^(exit|err|errx|quick_exit)(@|$)/ { print o " calls " $2 }'
	done)"
# Loading it takes ten times what the rest of the start does (patcher/verify_insn.c).
verdict "LLVM is loaded by who verifies, not with the program" "$(readelf -d "$B/paravane" | grep NEEDED | grep -i llvm)"
exit $failed
