#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Every form of the audit's report against its format and against the JSON one: of a small image with a site of each
# tactic and a run report, of the two kernels where they are, and of two images compared.
cd "$(dirname "$0")/../.." || exit 1
. tests/audit/lib.sh

check() # form file name
{
	python3 tests/audit/check_reports.py "$1" "$2" "$work/r.json" >"$work/out" 2>&1
	result $? "$3"
}

forms() # name image [option ...]
{
	local name=$1 image=$2
	shift 2

	"$B/paravane" audit "$image" "$@" --json "$work/r.json" --csv "$work/r.csv" --sarif "$work/r.sarif" \
		--html "$work/r.html" >"$work/out" 2>&1
	result $? "$name: audit"
	for form in json csv sarif html; do
		check $form "$work/r.$form" "$name: $form"
	done
}

as --32 -o "$work/o" tests/golden/tactics.in && ld -m elf_i386 -z noseparate-code -Ttext=0xc0100000 -e _start \
	-o "$work/an image, 100%" "$work/o" 2>/dev/null || exit 1
"$B/paravane" audit "$work/an image, 100%" --json "$work/r.json" >/dev/null
jq '{version: 1, image_sha256, seconds: 2.5, blocks_translated: 7,
	exits: [{reason: "trap: sensitive instruction met in direct code", count: 30, ms: 0.5}],
	sites: [.sites[] | {va, count: 3, kind: "trap", reason: "a, \"b\"</script>"}]}' "$work/r.json" >"$work/run"
forms "every tactic" "$work/an image, 100%" --runtime "$work/run"
for kernel in 686 amd64; do
	if [ -r "build/guests/vmlinuz-$kernel" ]; then
		forms "kernel $kernel" "build/guests/vmlinuz-$kernel"
	else
		skip "kernel $kernel" "no kernel: make guests"
	fi
done

# --- two images ----------------------------------------------------------------------------------------------
# The second has a function more, an instruction before the sites of another, and a site less.
cat >"$work/old.s" <<'S'
.globl _start, grows, loses
_start: cli; mov %cr3, %eax; mov %eax, %cr3; nop; nop; ret
grows: xor %eax, %eax; sti; mov %eax, %ebx; mov %ebx, %ecx; ret
loses: hlt; mov %eax, %ebx; mov %ebx, %ecx; cli; mov %eax, %ebx; mov %ebx, %ecx; ret
S
sed -e 's/^grows:/added: sti; mov %eax, %ebx; mov %ebx, %ecx; ret\ngrows: inc %edx;/' -e 's/hlt; //' \
	-e 's/\(_start: .*\) nop; nop; ret/\1 ret/' "$work/old.s" >"$work/new.s"
for i in old new; do
	as --32 -o "$work/o" "$work/$i.s" &&
		ld -m elf_i386 -z noseparate-code -Ttext=0xc0100000 -e _start -o "$work/$i" "$work/o" || exit 1
	"$B/paravane" audit "$work/$i" --json "$work/$i.json" >/dev/null
done
"$B/paravane" audit --diff "$work/old" "$work/new" --json "$work/d.json" --html "$work/d.html" >"$work/d.txt" 2>&1
cp "$work/d.txt" "$work/out"
[ "$(jq -c '[.counts.added, .counts.removed, .counts.moved]' "$work/d.json")" = "[1,1,2]" ] &&
	grep -q '^+ .*added+0x0  sti' "$work/d.txt" && grep -q '^- .*loses+0x0  hlt' "$work/d.txt" &&
	grep -q '^1 added, 1 removed, 2 moved' "$work/d.txt"
result $? "diff: one added, one removed, the others followed"
check diff "$work/d.json" "diff: json"
check html "$work/d.html" "diff: html"
"$B/paravane" audit --diff "$work/old.json" "$work/new.json" --json "$work/j.json" >/dev/null 2>"$work/out" &&
	cmp <(jq 'del(.old.image, .new.image)' "$work/d.json") <(jq 'del(.old.image, .new.image)' "$work/j.json")
result $? "diff: of the two reports as of the two images"
"$B/paravane" audit --diff "$work/old" "$work/old.json" --json "$work/d.json" >"$work/out" 2>&1 &&
	jq -e '.sites == [] and .counts.same == 6' "$work/d.json" >/dev/null
result $? "diff: of an image with itself"
jq '.sites[].tactic = "trap"' "$work/old.json" >"$work/trap.json"
"$B/paravane" audit --diff "$work/old" "$work/trap.json" --json "$work/d.json" >"$work/out" 2>&1 &&
	jq -e '.counts.tactic == 6 and .counts.moved == 0' "$work/d.json" >/dev/null && grep -q -- '-> trap' "$work/out"
result $? "diff: another tactic"

# --- what cannot be -----------------------------------------------------------------------------------------
refused() # name words command...
{
	local name=$1 words=$2
	shift 2
	rm -f "$work"/no.*
	"$B/paravane" audit "$@" >"$work/out" 2>&1
	[ $? -eq 2 ] && grep -q "$words" "$work/out" && [ -z "$(find "$work" -name 'no.*')" ]
	result $? "$name"
}

echo '{"version": 1, "image": "x", "image_sha256": "", "sites": [{"va": 1}]}' >"$work/bad1.json"
echo '{"version": 9}' >"$work/bad2.json"
printf '{\n"version": 1,,' >"$work/bad3.json"
refused "diff: a site that is none" 'bad1.json: sites\[0\]' --diff "$work/old" "$work/bad1.json" --json "$work/no.json"
refused "diff: another version" 'bad2.json: not an audit report' --diff "$work/bad2.json" "$work/old" --html "$work/no.html"
refused "diff: not JSON, with the line" 'bad3.json:2:' --diff "$work/bad3.json" "$work/old" --html "$work/no.html"
refused "diff: one image" 'usage' --diff "$work/old"
refused "diff: no such file" 'nothing-here: No such file' --diff "$work/old" "$work/nothing-here"
refused "diff: as CSV" 'csv\|text' --diff "$work/old" "$work/new" --csv "$work/no.csv"
for form in csv sarif html; do
	refused "$form: a directory that is not there" "$work/none/no: No such file" "$work/old" --$form "$work/none/no"
done
sed 's/"count": 30/"count": -1/' "$work/run" >"$work/run.bad"
refused "run report: exits" 'exits\[0\]: needs reason' "$work/an image, 100%" --runtime "$work/run.bad" --html "$work/no.html"
sed 's/"seconds": 2.5/"seconds": "x"/' "$work/run" >"$work/run.bad"
refused "run report: seconds" 'run.bad: seconds' "$work/an image, 100%" --runtime "$work/run.bad" --html "$work/no.html"
finish
