#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The loop of audit, patch and run: code that nothing in the image leads to is patched once a run has been there, and
# the verifier proves its page; a run report that is none is refused, and no output is left.
cd "$(dirname "$0")/../.." || exit 1
. tests/audit/lib.sh

cat >"$work/s" <<'S'
.globl _start, next
_start:	mov $(0x20 ^ 0x5a5a5a5a), %eax	/* where .Lhidden is, disguised */
	xor $0x5a5a5a5a, %eax
	add $0xc0100000, %eax
	jmp *%eax
	.balign 32, 0xcc
.Lhidden: cli
	mov %eax, %ebx
	mov %ebx, %ecx
	sti
	mov %ecx, %edx
	mov %edx, %esi
	call next
	ret
	.balign 4096, 0xcc
	.fill 64, 1, 0xff	/* no instruction starts so: with it, nothing before it is believed */
next:	cli
	mov %eax, %ebx
	mov %ebx, %ecx
	ret
S
as --32 -o "$work/o" "$work/s" && ld -m elf_i386 -z noseparate-code -Ttext=0xc0100000 -e _start -o "$work/image" "$work/o" || exit 1
hidden=$((0xc0100020))

patch() # run report, or nothing
{
	"$B/paravane" patch "$work/image" -o "$work/pv" --report "$work/json" ${1:+--runtime "$1"} >"$work/out" 2>&1
}
tactic() # address
{
	jq -r --argjson va "$1" '[.sites[] | select(.va == $va) | .tactic][0] // "unknown"' "$work/json"
}

patch && [ "$(tactic $hidden)" = unknown ]
result $? "without a run report the code is not found"
"$B/paravane" verify "$work/image" "$work/pv" >"$work/out" 2>&1
result $? "and what was patched is proven: the obscure page is none of it"
proven=$(grep -o '[0-9]* bytes checked' "$work/out" | cut -d' ' -f1)

# A site alone, then the start of the block alone: either is enough.
echo "{\"version\": 1, \"image_sha256\": \"$(printf '0%.0s' {1..64})\",
	\"sites\": [{\"va\": $hidden, \"count\": 5, \"kind\": \"translated\"}]}" >"$work/run.site"
echo "{\"version\": 1, \"sites\": [], \"blocks\": [$hidden, 57005]}" >"$work/run.block"
for from in site block; do
	patch "$work/run.$from" && [ "$(tactic $hidden)" = window ] && [ "$(tactic $((hidden + 5)))" = window ]
	result $? "with its $from in the run report it is patched, and so is what follows"
	"$B/paravane" verify "$work/image" "$work/pv" >"$work/out" 2>&1 &&
		[ "$(grep -o '[0-9]* bytes checked' "$work/out" | cut -d' ' -f1)" -gt $((proven + 4000)) ]
	result $? "$from: proven, with one page more"
done
patch "$work/run.site" && grep -q '1 sites, 1 of them in this image, 1 now served by stubs; 1 addresses were new' "$work/out"
result $? "what the report was good for is said"
"$B/paravane" patch "$work/image" -o "$work/plain" >/dev/null 2>&1
echo '{"version": 1, "sites": [{"va": 3222278208, "count": 5, "kind": "trap"}]}' >"$work/run.known"
"$B/paravane" patch "$work/image" -o "$work/same" --runtime "$work/run.known" >"$work/out" 2>&1 && cmp "$work/plain" "$work/same" >>"$work/out"
result $? "a report of what is known changes nothing"

"$B/paravane" patch "$work/image" -o "$work/with" --runtime "$work/run.site" >/dev/null 2>&1
"$B/paravane" audit --diff "$work/plain" "$work/with" >"$work/out" 2>&1 &&
	grep -q '^2 added, 0 removed, 0 moved, 0 with another tactic, 1 as before' "$work/out" &&
	grep -q '^+ 0xc0100020 .*cli .*window' "$work/out"
result $? "two patched images compared: the second has what the run found"
"$B/paravane" audit --diff "$work/image" "$work/plain" >"$work/out" 2>&1 && grep -q '^0 added, 0 removed, 0 moved, 0 with' "$work/out"
result $? "an image and its patched form: as planned"
cp "$work/plain" "$work/damaged"
printf '\377' | dd of="$work/damaged" bs=1 seek=$(($(stat -c %s "$work/damaged") / 2)) conv=notrunc 2>/dev/null
at=$(grep -abo PVMANIF1 "$work/damaged" | head -n 1 | cut -d: -f1)
printf '\377\377\377\377' | dd of="$work/damaged" bs=1 seek=$((at + 8)) conv=notrunc 2>/dev/null
"$B/paravane" audit --diff "$work/image" "$work/damaged" >"$work/out" 2>&1
[ $? -eq 2 ] && grep -q "damaged: " "$work/out"
result $? "a patched image that is damaged is refused"

# The whole loop: what the first run meets unpatched, the second finds served. Whatever engine the host has.
counts() # report: blocks without proof, blocks with sensitive instructions that are news, their sites, how often
{
	jq -r '[.blocks_unverified, (.blocks | length), .unpatched_sites, .unpatched_count] | join(" ")' "$1"
}
turn() # n: the image $work/n.pv
{
	"$B/paravane" run "$work/$1.pv" --memory 64M --audit "$work/$1.json" </dev/null >"$work/out" 2>&1 && grep -q '^hidden: 200' "$work/out"
}
if lacks=$("$B/paravane" run /dev/null 2>&1 | sed -n 's/^paravane: \(host: .*\)/\1/p' | grep .) || [ "${B%asan}" != "$B" ]; then
	result 0 "the loop with runs # SKIP ${lacks:-a sanitizer cannot run guests}"
else
	hidden=$B/guest/hidden.elf
	"$B/paravane" patch "$hidden" -o "$work/1.pv" >"$work/out" 2>&1 && turn 1
	result $? "a run of hidden code"
	"$B/paravane" patch "$hidden" -o "$work/2.pv" --runtime "$work/1.json" >"$work/out" 2>&1 &&
		"$B/paravane" verify "$hidden" "$work/2.pv" >>"$work/out" 2>&1 && turn 2
	result $? "its report patches the code, which verifies and runs"
	read -r blocks news sites times < <(counts "$work/1.json")
	echo "first run: $blocks $news $sites $times, second: $(counts "$work/2.json")" >"$work/out"
	[ "$blocks" -ge 2 ] && [ "$news" -ge 2 ] && [ "$sites" -ge 1 ] && [ "$times" -ge 8192 ] &&
		read -r blocks2 news2 sites2 times2 < <(counts "$work/2.json") && # the boot, at physical addresses, stays
		[ "$blocks2" -lt "$blocks" ] && [ "$news2" -eq 0 ] && [ "$sites2" -lt "$sites" ] && [ "$times2" -lt 100 ]
	result $? "unverified, unpatched: lower in the second run"
fi

refused() # name words
{
	rm -f "$work/pv"
	patch "$work/bad"
	[ $? -eq 2 ] && grep -q "$2" "$work/out" && [ -z "$(find "$work" -name 'pv*')" ]
	result $? "refused: $1"
}
echo '{"version": 1, "sites": [' >"$work/bad"
refused "cut short, with the line" 'bad:[0-9]*: '
echo '{"version": 1, "sites": [{"va": 1, "count": 1, "kind": "trap"}, {"va": "x"}]}' >"$work/bad"
refused "a site, with its number" 'bad: sites\[1\]'
echo '{"version": 1, "sites": [], "blocks": [1, 2, -3]}' >"$work/bad"
refused "a block, with its number" 'bad: blocks\[2\]'
echo "{\"version\": 1, \"image_sha256\": \"$(printf '1%.0s' {1..64})\", \"sites\": []}" >"$work/bad"
refused "of another image" 'bad: the report is about another image'
rm "$work/bad"
refused "not there" 'bad: No such file'
finish
