#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The bytes that no path reaches: ranges, padding apart, and how sure each site is; of a kernel and of a module.
cd "$(dirname "$0")/../.." || exit 1
. tests/audit/lib.sh

# 1: behind a jump, only the sweep reads it, and what it jumps to. 5: only a word in the data names it. Last,
# bytes that are no instruction. _start is the one symbol.
cat >"$work/s.s" <<'S'
.text
.globl _start
_start: cli
	jmp 2f
	.p2align 4, 0xcc
1:	rdmsr
	jmp 3f
	.p2align 4, 0xcc
2:	nop
	ret
	.p2align 4, 0xcc
	hlt
3:	wrmsr
	ret
	.p2align 4, 0xcc
5:	sti
	ret
	.p2align 4, 0xcc
4:	clts
	ret
	.p2align 4, 0xcc
	cli
	.byte 0xff, 0xff
.section __ex_table, "a"
	.long 4b - ., 4b - ., 0
.data
	.long 0x11, 5b
S
as --32 -o "$work/m.ko" "$work/s.s" && ld -m elf_i386 -z noseparate-code -Ttext=0xc0100000 -e _start -q -o "$work/image" \
	"$work/m.ko" 2>"$work/out" || exit 1
"$B/paravane" audit "$work/image" --all --json "$work/r.json" --html "$work/r.html" >"$work/text" 2>&1
"$B/paravane" audit --modules "$work/m.ko" --all --json "$work/m.json" >"$work/mtext" 2>&1

bytes='{"reached": 10, "sweep": 8, "undecoded": 3, "padding": 78}'
ranges='[["sweep", 16, 4, 1], ["sweep", 48, 4, 2], ["undecoded", 96, 3, 0]]'
sure='[["cli", "table"], ["clts", "table"], ["hlt", "sweep"], ["rdmsr", "sweep"], ["sti", "symbol"], ["wrmsr", "sweep"]]'
for form in .:r '.modules[0]:m'; do
	jq -c "${form%:*} | .bytes, [.unreached[] | [.kind, .offset, .length, .sites]],
		([.sites[] | [.disassembly, .confidence]] | sort)" "$work/${form#*:}.json" >"$work/got"
	{
		jq -c . <<<"$bytes"
		jq -c . <<<"$ranges"
		[ "$form" = .:r ] && jq -c . <<<"$sure"
		[ "$form" = .:r ] || jq -c '.[0][1] = "symbol"' <<<"$sure" # no entry point
	} | diff - "$work/got" >"$work/out" 2>&1
	result $? "${form#*:}: bytes, ranges and confidence"
done
python3 tests/audit/check_reports.py json "$work/r.json" >"$work/out" 2>&1 &&
	python3 tests/audit/check_reports.py modules-json "$work/m.json" >>"$work/out" 2>&1 &&
	python3 tests/audit/check_reports.py html "$work/r.html" "$work/r.json" >>"$work/out" 2>&1
result $? "the reports agree with each other and with their schemas"
cat "$work/text" "$work/mtext" >"$work/out"
grep -q '^bytes of code: 10 reached; 8 by the sweep alone (2 ranges), 3 undecoded (1 ranges); 78 of padding$' "$work/text" &&
	grep -q '^\.text+0x30 c0100030 _start+0x30  4 bytes  \[sweep\]  2 sensitive$' "$work/text" &&
	grep -q '^ *\.text+0x60 _start+0x60  3 bytes  \[undecoded\]$' "$work/mtext"
result $? "in words"
[ "$(grep -c 'reached: the sweep alone: nothing that names code leads here' "$work/out")" = 6 ] &&
	[ "$(grep -c 'reached: only a symbol or a relocated word leads here: it may be data' "$work/out")" = 3 ]
result $? "each site that no table leads to says so"
"$B/paravane" audit "$work/image" >"$work/out" 2>&1 && ! grep -q 'no path' "$work/out"
result $? "the list is for --all"

for kernel in 686 amd64; do
	if [ ! -r build/guests/vmlinuz-$kernel ]; then
		skip "kernel $kernel" "no kernel: make guests"
		continue
	fi
	"$B/paravane" audit build/guests/vmlinuz-$kernel --json "$work/r.json" >"$work/out" 2>&1 &&
		python3 tests/audit/check_reports.py json "$work/r.json" >>"$work/out" 2>&1 &&
		jq -e '.bytes | .sweep > 1000 and .sweep + .undecoded < .reached / 500' "$work/r.json" >>"$work/out"
	result $? "kernel $kernel: little is unreached"
done
finish
