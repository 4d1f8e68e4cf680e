#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The audit of modules against objdump's linear disassembly of all their code sections, filtered by a list of mnemonics from
# the SDM (docs/disagreements.md). int3 is left out on both sides, as are replacements, which are no live code.
#
# usage: tests/audit/test_modules_count.sh [DIR]: a whole tree instead of the modules in build/guests
cd "$(dirname "$0")/../.." || exit 1
. tests/audit/lib.sh
export LC_ALL=C

# by_objdump DIR: "module:section+offset instruction"
by_objdump()
{
	find "$1" -name '*.ko' -printf '%P\n' | sort | while read -r name; do
		objdump -d -M intel --no-show-raw-insn -w "$1/$name" |
			awk -F'\t' -v sections=1 -f tests/boot/sensitive.awk | grep -v '^\.altinstr_replacement+' | sed "s|^|$name:|"
	done | sort
}

# compare NAME DIR
compare()
{
	"$B/paravane" audit --modules "$2" --json "$work/r.json" >"$work/text" 2>&1
	jq -r '.modules[] | .name as $name | .sites[] | select(.origin != "replacement" and .op != "OP_INT3") |
		[$name + ":" + .section, .offset, .disassembly] | @tsv' "$work/r.json" |
		awk -F'\t' '{ printf "%s+%x %s\n", $1, $2, $3 }' | sort >"$work/audit"
	by_objdump "$2" >"$work/objdump" 2>"$work/err"
	{
		join -v1 "$work/objdump" "$work/audit" | sed 's/^/by objdump alone: /'
		join -v2 "$work/objdump" "$work/audit" | sed 's/^/by the audit alone: /'
	} >"$work/differ"
	cat "$work/err" "$work/differ" >"$work/out"
	echo "# $1: $(jq '.modules | length' "$work/r.json") modules, $(wc -l <"$work/audit") by the audit, $(wc -l <"$work/objdump") by objdump"
	[ -s "$work/r.json" ] && [ ! -s "$work/differ" ]
	result $? "$1: no disagreement"
}

# The comparison must see something.
mkdir "$work/self"
printf '.text\ncli\npopf\nrdmsr\n.section .init.text, "ax"\nhlt\n.section .altinstr_replacement, "ax"\nstac\n' |
	as --32 -o "$work/self/m.ko"
compare "a module with known instructions" "$work/self"
[ "$(cut -d' ' -f1 "$work/objdump" | tr '\n' ' ')" = "m.ko:.init.text+0 m.ko:.text+0 m.ko:.text+1 m.ko:.text+2 " ]
result $? "objdump's list has all of it, replacements apart"

if [ $# -gt 0 ]; then
	compare "$1" "$1"
	finish
fi
for width in 686 amd64; do
	if [ ! -s build/guests/modules-$width.tar ]; then
		skip "Debian's $width modules" "no modules: make guests"
		continue
	fi
	mkdir "$work/$width" && tar -C "$work/$width" -xf build/guests/modules-$width.tar
	compare "Debian's $width modules" "$work/$width"
done
finish
