#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What the kernel's tables say of a site, in text and JSON: of a linked kernel and of a module, i386 and x86-64, and for
# each layout of the alternatives; what ORC says, of x86-64; and that Debian's kernels explain all their replacements.
cd "$(dirname "$0")/../.." || exit 1
. tests/audit/lib.sh
. tests/boot/payload.sh

# source FEATURE FIELDS: SMAP is word 9 bit 20, ALWAYS word 3 bit 21. FIELDS stand behind the feature, TAIL behind the
# lengths.
source_of() # not-SMAP fields, plain fields, tail, word directive
{
	cat <<S
.text
.globl _start
_start: call alt
	call faults
	call label
	call always
	ret
alt: rdmsr
	nop
	ret
always: rdtsc
	ret
faults: wrmsr
	ret
fixup: cli
	ret
label: .byte 0x0f, 0x1f, 0x44, 0, 0
	ret
on: sti
	ret
lacks: hlt
	ret
.section .altinstr_replacement, "ax"
repl: stac
	nop
repl2: clac
repl3: cli
.section .altinstructions, "a"
	.long alt - ., repl - .; .word 9*32+20; $2; .byte 3, 3; $3
	.long lacks - ., repl2 - .; $1; .byte 1, 3; $3
	.long always - ., repl3 - .; .word 3*32+21; $2; .byte 2, 1; $3
.section __ex_table, "a"
	.long faults - ., fixup - ., 0
	.long alt - ., fixup - ., 0
.section __jump_table, "aw"
	.long label - ., on - .; $4 key - .
.data
	.long 0
key: .long 0, 0
S
}

want='{
 "rdmsr": [["exception table", "site", null, false], ["alternatives", "site", "SMAP", false]],
 "rdtsc": [["alternatives", "site", "ALWAYS", false]],
 "wrmsr": [["exception table", "site", null, false]],
 "cli": [["exception table", "fixup", null, false], ["exception table", "fixup", null, false],
  ["alternatives", "replacement", "ALWAYS", false]],
 "sti": [["jump labels", "target", null, false]],
 "hlt": [["alternatives", "site", "SMAP", true]],
 "stac": [["alternatives", "replacement", "SMAP", false]],
 "clac": [["alternatives", "replacement", "SMAP", true]]}'

same() # jq path of the sites
{
	jq -e --argjson want "$want" "[$1[] | {key: .disassembly, value: [.context[] | [.table, .role, .feature, .inverted]]}] |
		group_by(.key) | map({key: .[0].key, value: (map(.value) | add)}) | from_entries | . == \$want, ." \
		"$work/r.json" >"$work/out" && [ "$(head -n 1 "$work/out")" = true ]
}

for w in 32 64; do
	emulation=elf_i386 key=.long at=0xc0100000
	[ $w = 64 ] && emulation=elf_x86_64 key=.quad at=0xffffffff81000000
	for layout in 12 13 14; do
		case $layout in
		12) source_of '.word 0x8000+9*32+20' '' '' $key ;;
		13) source_of '.word 0x8000+9*32+20' '' '.byte 0' $key ;;
		14) source_of '.word 9*32+20, 1' '.word 0' '' $key ;;
		esac >"$work/s.s"
		as --$w -o "$work/m.ko" "$work/s.s" && ld -m $emulation -z noseparate-code -Ttext=$at -e _start \
			-o "$work/image" "$work/m.ko" 2>"$work/out" || exit 1
		"$B/paravane" audit "$work/image" --all --json "$work/r.json" --csv "$work/r.csv" --sarif "$work/r.sarif" \
			--html "$work/r.html" >"$work/text" 2>&1
		same .sites
		result $? "$w: kernel, alternatives of $layout bytes"
		python3 tests/audit/check_reports.py json "$work/r.json" >"$work/out" 2>&1
		result $? "$w: kernel, alternatives of $layout bytes: schema"
		cp "$work/r.json" "$work/k.json"
		"$B/paravane" audit --modules "$work/m.ko" --all --json "$work/r.json" >"$work/mtext" 2>&1
		same '.modules[0].sites'
		result $? "$w: module, alternatives of $layout bytes"
		python3 tests/audit/check_reports.py modules-json "$work/r.json" >"$work/out" 2>&1
		result $? "$w: module, alternatives of $layout bytes: schema"
	done
	for form in csv sarif html; do
		python3 tests/audit/check_reports.py $form "$work/r.$form" "$work/k.json" >"$work/out" 2>&1 &&
			grep -q 'if the CPU has SMAP' "$work/r.$form"
		result $? "$w: the same in $form"
	done
	cat "$work/text" "$work/mtext" >"$work/out"
	ok=0
	for text in "$work/text" "$work/mtext"; do
		grep -q 'alternatives: replaced by the code at .* if the CPU has SMAP' "$text" || ok=1
		grep -q 'alternatives: copied over alt+0x0 if the CPU has SMAP; not live before' "$text" || ok=1
		grep -q 'alternatives: copied over lacks+0x0 if the CPU lacks SMAP' "$text" || ok=1
		grep -q 'alternatives: copied over always+0x0 at every boot' "$text" || ok=1
		grep -q 'exception table: may fault; then goes on at fixup+0x0' "$text" || ok=1
		grep -q 'exception table: where a fault at faults+0x0 goes on' "$text" || ok=1
		grep -q 'jump labels: reached by the jump label at label+0x0' "$text" || ok=1
	done
	result $ok "$w: the same in words"
done

# ORC: a call frame with BP saved, entry code, nothing; the entries of a module are in no order. The place that the
# replacement is copied over is inside the first.
cat >"$work/s.s" <<'S'
.text
.globl _start
_start: rdmsr
	nop
	ret
entry: sti
	ret
dark: hlt
	ret
.section .altinstr_replacement, "ax"
repl: stac
.section .altinstructions, "a"
	.long _start - ., repl - .; .word 9*32+20; .byte 3, 3
S
for form in m image; do
	order='_start entry dark' entries='16, -16, 0x15, 0, 0, 0x400, 0, 0, 0'
	[ $form = m ] && order='dark _start entry' entries='0, 0, 0, 16, -16, 0x15, 0, 0, 0x400'
	{
		cat "$work/s.s"
		echo '.section .orc_unwind_ip, "a"'
		for at in $order; do echo ".long $at - ."; done
		echo '.section .orc_unwind, "a"'
		echo ".short $entries"
	} >"$work/orc.s"
	as --64 -o "$work/orc.ko" "$work/orc.s"
	[ $form = m ] && cp "$work/orc.ko" "$work/m.ko"
done
ld -m elf_x86_64 -z noseparate-code -Ttext=0xffffffff81000000 -e _start -o "$work/image" "$work/orc.ko" 2>"$work/out"
"$B/paravane" audit "$work/image" --all --json "$work/k.json" --csv "$work/r.csv" --sarif "$work/r.sarif" \
	--html "$work/r.html" >"$work/text" 2>&1
"$B/paravane" audit --modules "$work/m.ko" --all --json "$work/r.json" >"$work/mtext" 2>&1
orc='[["hlt", {"type": "undefined", "sp": null, "bp": null, "signal": false}],
	["rdmsr", {"type": "call", "sp": "sp+16", "bp": "prevsp-16", "signal": false}],
	["stac", {"type": "call", "sp": "sp+16", "bp": "prevsp-16", "signal": false}],
	["sti", {"type": "end of stack", "sp": null, "bp": null, "signal": false}]]'
jq -e --argjson want "$orc" '[.sites[] | [.disassembly, .context[-1].orc]] | sort == $want' "$work/k.json" >"$work/out" &&
	jq -e --argjson want "$orc" '[.modules[0].sites[] | [.disassembly, .context[-1].orc]] | sort == $want' \
		"$work/r.json" >>"$work/out" &&
	python3 tests/audit/check_reports.py json "$work/k.json" >>"$work/out" 2>&1 &&
	python3 tests/audit/check_reports.py modules-json "$work/r.json" >>"$work/out" 2>&1
result $? "ORC of a kernel and of a module"
ok=0
for text in "$work/text" "$work/mtext"; do
	grep -q "ORC: call: the caller's SP is sp+16, its BP is saved at prevsp-16" "$text" || ok=1
	grep -q 'ORC: end of stack: nothing called this code' "$text" || ok=1
	grep -q 'ORC: undefined: not known to the unwinder' "$text" || ok=1
done
cat "$work/text" "$work/mtext" >"$work/out"
result $ok "ORC in words"
for form in csv sarif html; do
	python3 tests/audit/check_reports.py $form "$work/r.$form" "$work/k.json" >"$work/out" 2>&1 &&
		grep -q "the caller's SP is sp+16" "$work/r.$form"
	result $? "ORC in $form"
done

for kernel in 686 amd64; do
	if [ -r "build/guests/vmlinuz-$kernel" ]; then
		"$B/paravane" audit "build/guests/vmlinuz-$kernel" --json "$work/r.json" >"$work/out" 2>&1
		jq -e '[.sites[] | select(.origin == "replacement")] | length > 200 and
			all(.[]; any(.context[]; .role == "replacement" and .feature != null))' "$work/r.json" >"$work/out" 2>&1
		result $? "kernel $kernel: every replacement has its CPU feature"
		jq -e '[.sites[] | select(.disassembly == "stac" or .disassembly == "clac") | .context[0].feature] |
			unique == ["SMAP"]' "$work/r.json" >"$work/out" 2>&1
		result $? "kernel $kernel: stac and clac are live under SMAP"
		[ $kernel = 686 ] && continue
		payload_of build/guests/vmlinuz-amd64 >"$work/vmlinux" 2>"$work/out" &&
			python3 tests/audit/check_orc.py "$work/vmlinux" "$work/r.json" >>"$work/out" 2>&1
		result $? "kernel amd64: ORC of every site as the tables have it"
	else
		skip "kernel $kernel" "no kernel: make guests"
	fi
done
finish
