#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# audit --modules: a tree, an initramfs and single modules, plain and packed, of both widths; damaged files among them,
# which are named while the rest still comes; and Debian's modules against objdump.
cd "$(dirname "$0")/../.." || exit 1
. tests/audit/lib.sh

modules() # expected status, then arguments; text in out, every other form in m.*
{
	local want=$1
	shift
	rm -f "$work"/m.json "$work"/m.csv "$work"/m.sarif "$work"/m.html
	"$B/paravane" audit --modules "$@" --json "$work/m.json" --csv "$work/m.csv" --sarif "$work/m.sarif" \
		--html "$work/m.html" >"$work/out" 2>&1
	[ $? -eq "$want" ]
}

# The JSON fits its schema and adds up, and the others say what it says.
valid() # name
{
	for form in json csv sarif html; do
		python3 tests/audit/check_reports.py "modules-$form" "$work/m.$form" "$work/m.json" >"$work/out" 2>&1
		result $? "$1: $form"
	done
}

holds() # jq filter
{
	jq -e "$1" "$work/m.json" >>"$work/out" 2>&1
}

# A function that only a relocation leads to, past bytes that would swallow its first instruction if decoded in a row;
# one that only its symbol names; a replacement; and a call of what the kernel exports.
cat >"$work/m.s" <<'S'
.text
.globl init_module
init_module: call printk; call .Lfar; ret
.type lonely, @function
lonely: pushf; cli; hlt; ret
.size lonely, . - lonely
.section .init.text, "ax"
.byte 0xb8, 0x00
.Lfar: cli; wbinvd; ret
.section .altinstr_replacement, "ax"
sti
S
mkdir -p "$work/tree/kernel/a" "$work/tree/kernel/b"
as --32 -o "$work/m32.ko" "$work/m.s" && as --64 -o "$work/m64.ko" "$work/m.s" || exit 1
for w in 32 64; do
	modules 0 "$work/m$w.ko" && holds ".totals.modules == 1 and .modules[0].width == $w and .totals.sites == 5 and
		.totals.replacements == 1 and .totals.by_op.OP_CLI == 2"
	result $? "$w: one module"
	holds '[.modules[0].sites[] | select(.section == ".init.text") | [.offset, .origin, .symbol]] ==
		[[2, "descent", null], [3, "descent", null]]'
	result $? "$w: a relocation leads to code"
	holds '[.modules[0].sites[] | select(.symbol.name == "lonely") | .symbol.offset] == [0, 1, 2]'
	result $? "$w: a symbol names its sites"
	valid "$w"
done
"$B/paravane" audit "$work/m32.ko" >"$work/out" 2>&1
[ $? -eq 2 ] && grep -q -- 'audit --modules' "$work/out"
result $? "a module without --modules: says what to do"
modules 0 "$work/m32.ko" --all && grep -q 'lonely+0x1 *fa *cli' "$work/out" && grep -q 'replacement: live' "$work/out"
result $? "--all lists the sites"

# A jump label's key may be an element of an array of the kernel.
printf '%s\n' '.text' 'label: .byte 0x0f, 0x1f, 0x44, 0, 0; ret' 'on: sti; ret' '.section __jump_table, "aw"' \
	'.long label - ., on - .; .quad nf_hooks_needed + 0x362 - .' >"$work/key.s"
as --64 -o "$work/key.ko" "$work/key.s" && modules 0 "$work/key.ko" && holds '.modules[0].notes == []'
result $? "a jump label whose key is an element of the kernel's"

# --- a tree -------------------------------------------------------------------------------------------------
cp "$work/m32.ko" "$work/tree/kernel/a/plain.ko"
gzip -c "$work/m32.ko" >"$work/tree/kernel/a/g.ko.gz"
xz -c "$work/m64.ko" >"$work/tree/kernel/b/x.ko.xz"
zstd -qc "$work/m32.ko" >"$work/tree/kernel/b/z.ko.zst"
echo "kernel/a/plain.ko:" >"$work/tree/modules.dep"
ln -s . "$work/tree/loop"
modules 0 "$work/tree/" && holds '[.modules[].name] ==
	["kernel/a/g.ko.gz", "kernel/a/plain.ko", "kernel/b/x.ko.xz", "kernel/b/z.ko.zst"] and
	[.modules[].compression] == ["gzip", "none", "xz", "zstd"] and .totals.sites == 20 and .totals.with_sites == 4'
result $? "tree: plain, gzip, xz and zstd, links not followed"
valid tree
cp "$work/m.json" "$work/tree.json"
modules 0 "$work/tree" && cmp <(jq 'del(.source)' "$work/m.json") <(jq 'del(.source)' "$work/tree.json") >>"$work/out"
result $? "tree: the same every time"
modules 0 "$work/tree/kernel/b/x.ko.xz" && holds '.modules[0].compression == "xz" and .totals.sites == 5'
result $? "one packed module"

# --- initramfs ----------------------------------------------------------------------------------------------
(cd "$work/tree" && find kernel -type f | sort | cpio -o -H newc 2>/dev/null) >"$work/plain.cpio"
mkdir -p "$work/early/kernel/x86/microcode"
echo microcode >"$work/early/kernel/x86/microcode/GenuineIntel.bin"
(cd "$work/early" && find . | cpio -o -H newc 2>/dev/null) >"$work/early.cpio"
gzip -c "$work/plain.cpio" >"$work/i.gz"
xz --check=crc32 -c "$work/plain.cpio" >"$work/i.xz"
zstd -qc "$work/plain.cpio" >"$work/i.zst"
bzip2 -c "$work/plain.cpio" >"$work/i.bz2"
lz4 -lqc "$work/plain.cpio" >"$work/i.lz4"
for i in plain.cpio i.gz i.xz i.zst i.bz2 i.lz4; do
	cat "$work/early.cpio" "$work/$i" >"$work/initrd"
	modules 0 "$work/initrd" && cmp <(jq 'del(.source)' "$work/m.json") <(jq 'del(.source)' "$work/tree.json") >>"$work/out"
	result $? "initramfs: $i behind microcode gives what the tree gives"
done
valid initramfs
head -c "$(($(stat -c %s "$work/plain.cpio") - 1300))" "$work/plain.cpio" >"$work/short.cpio"
modules 4 "$work/short.cpio" && grep -q 'cut off' "$work/out" && holds '.totals.unreadable == 1 and .totals.modules >= 3'
result $? "initramfs: cut off, the files before it are read"
head -c "$(($(stat -c %s "$work/i.gz") / 2))" "$work/i.gz" >"$work/short.gz"
modules 4 "$work/short.gz" && grep -q 'short.gz: gzip: the deflate stream ends early' "$work/out"
result $? "initramfs: a stream that is cut off is named"
cat "$work/plain.cpio" <(echo "junk, no archive") >"$work/junk.cpio"
modules 4 "$work/junk.cpio" && grep -q 'neither a cpio header' "$work/out" && holds '.totals.sites == 20'
result $? "initramfs: junk behind the archive"

# --- damage -------------------------------------------------------------------------------------------------
bad=$work/tree/kernel/bad
mkdir "$bad"
: >"$bad/empty.ko"
head -c 1500 /dev/zero >"$bad/zeros.ko"
head -c 400 "$work/m32.ko" >"$bad/short.ko"
head -c 100 "$work/tree/kernel/b/x.ko.xz" >"$bad/short.ko.xz"
cp "$B/paravane" "$bad/program.ko"
# A section header that points behind the file; a relocation of an unknown type; a symbol in no section.
python3 - "$work/m32.ko" "$bad" <<'P'
import struct, sys
src, out = open(sys.argv[1], "rb").read(), sys.argv[2]
shoff, (shentsize, shnum) = struct.unpack_from("<I", src, 32)[0], struct.unpack_from("<HH", src, 46)
headers = [list(struct.unpack_from("<10I", src, shoff + shentsize * i)) for i in range(shnum)]
def save(name, at, value):
    b = bytearray(src); struct.pack_into("<I", b, at, value); open(f"{out}/{name}.ko", "wb").write(b)
text = next(i for i, h in enumerate(headers) if h[1] == 1 and h[2] & 4)
rel = next(i for i, h in enumerate(headers) if h[1] == 9)
sym = next(i for i, h in enumerate(headers) if h[1] == 2)
save("section", shoff + shentsize * text + 16, 0x7fffffff)
save("relocation", headers[rel][4] + 4, struct.unpack_from("<I", src, headers[rel][4] + 4)[0] | 0xff)
b = bytearray(src); struct.pack_into("<H", b, headers[sym][4] + 16 * (headers[sym][5] // 16 - 1) + 14, 0x7ff0)
open(f"{out}/symbol.ko", "wb").write(b)
P
modules 4 "$work/tree" && holds '[.modules[] | select(.status != "ok") | [.name[10:], .status]] == [
	["/empty.ko", "unreadable"], ["/program.ko", "unreadable"], ["/relocation.ko", "damaged"],
	["/section.ko", "damaged"], ["/short.ko", "unreadable"], ["/short.ko.xz", "unreadable"],
	["/symbol.ko", "damaged"], ["/zeros.ko", "unreadable"]] and .totals.damaged == 3 and .totals.unreadable == 5' &&
	grep -q 'kernel/bad/section.ko  DAMAGED: section .*(.text): .* pass the end of the file' "$work/out" &&
	grep -q 'kernel/bad/short.ko.xz  UNREADABLE: file: xz: the LZMA stream ends early' "$work/out"
result $? "damaged modules are named, status 4"
holds '([.modules[] | select(.status == "ok") | .by_class.privileged] | add) == 16 and
	([.modules[] | select(.name == "kernel/bad/section.ko").sites[].section] | unique | . == [".altinstr_replacement"])'
result $? "the other modules and the sound sections of a damaged one are there"
valid damaged
python3 - "$work/m64.ko" "$bad" <<'P'
import random, sys
src, out = open(sys.argv[1], "rb").read(), sys.argv[2]
for seed in range(300):
    r, b = random.Random(seed), bytearray(src)
    for _ in range(r.randint(1, 12)):
        b[r.randrange(len(b))] = r.choice((0, 1, 0x7f, 0x80, 0xff, r.randrange(256)))
    open(f"{out}/flip{seed}.ko", "wb").write(b)
P
modules 4 "$work/tree" && holds '.totals.modules == 312 and .totals.sites >= 700' && ! grep -q 'please report' "$work/out"
result $? "300 modules with flipped bytes: no worker dies"
valid "flipped bytes"

# --- the bar, and what is refused -----------------------------------------------------------------------------
python3 -c 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]))' "$B/paravane" audit --modules "$work/tree/kernel/a" \
	>"$work/out" 2>&1 && grep -q '\[####.*\] 2 of 2 modules' "$work/out"
result $? "a progress bar on a terminal"
"$B/paravane" audit --modules "$work/tree/kernel/a" >/dev/null 2>"$work/out" && [ ! -s "$work/out" ]
result $? "no bar elsewhere"
mkdir "$work/none"
refused() # name words arguments...
{
	local name=$1 words=$2
	shift 2
	"$B/paravane" audit --modules "$@" >"$work/out" 2>&1
	[ $? -eq 2 ] && grep -q "$words" "$work/out"
	result $? "$name"
}
refused "no modules in it" 'no kernel module' "$work/none"
refused "not there" 'nowhere: No such file' "$work/nowhere"
refused "no archive" 'neither a directory' "$work/m.s"
refused "--runtime" 'modules goes without --diff, --runtime' "$work/tree" --runtime "$work/x"
for form in csv sarif html; do
	refused "$form: a directory that is not there" 'none/no/x: No such file' "$work/tree/kernel/a" --$form "$work/none/no/x"
done
refused "a directory that is not there" 'none/no/x: No such file' "$work/tree/kernel/a" --json "$work/none/no/x"

# --- Debian's modules -----------------------------------------------------------------------------------------
if [ -r build/guests/modules-686.tar ]; then
	mkdir "$work/debian"
	tar -C "$work/debian" -xf build/guests/modules-686.tar
	modules 0 "$work/debian" && holds '[.modules[].notes[]] == [] and .totals.undecoded_bytes == 0'
	result $? "Debian's 686 modules: nothing is left undecoded"
	valid "Debian's 686 modules"
	for m in "$work/debian"/*.ko; do
		objdump -d -w --no-show-raw-insn "$m" | awk -F'\t' -v m="$(basename "$m")" '
			/^Disassembly of section / { s = substr($0, 24); sub(/:$/, "", s) }
			$2 ~ /^(cli|sti|hlt|pushf|popf|pushfl|popfl|rdmsr|wrmsr|rdtsc|cpuid|wbinvd|verw|in|out|stac|clac)([ \t]|$)/ {
				sub(/:/, "", $1); print m, s, $1 }' | tr -s ' '
	done | sort >"$work/theirs"
	jq -r '.modules[] | .name as $m | .sites[] | "\($m) \(.section) \(.offset)"' "$work/m.json" |
		while read -r m s o; do printf '%s %s %x\n' "$m" "$s" "$o"; done | sort >"$work/ours"
	comm -23 "$work/theirs" "$work/ours" >"$work/out"
	[ -s "$work/theirs" ] && [ ! -s "$work/out" ]
	result $? "Debian's 686 modules: all $(wc -l <"$work/theirs") that objdump sees are found"
else
	skip "Debian's 686 modules" "no modules: make guests"
fi
finish
