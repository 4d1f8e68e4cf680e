#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Audits of what is no plain kernel: PE images (the EFI stubs of Debian's kernels), flat binaries and Multiboot images,
# images that were patched, a kernel with a damaged section header. Their instructions are those that objdump finds.
cd "$(dirname "$0")/../.." || exit 1
. tests/boot/lib.sh
need "$pv" "$guests/vmlinuz-686" "$guests/vmlinuz-amd64"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "1..8"

# pe NAME WIDTH MISSED OPTION... FILE
pe()
{
	local name=$1 width=$2 missed=$3
	shift 3
	"$pv" audit "$@" --json "$work/pe.json" >"$work/text" 2>"$work/out" && grep -q ": PE, $width-bit" "$work/text" &&
		python3 tests/audit/check_pe.py "${!#}" "$work/pe.json" "$missed" >>"$work/out" 2>&1
	tap $? "$name" "$work/out"
}
pe "the 686 kernel's EFI stub and decompressor" 32 5 --pe "$guests/vmlinuz-686"
pe "the amd64 kernel's" 64 3 --pe "$guests/vmlinuz-amd64"
efi=/usr/lib/systemd/boot/efi/systemd-bootx64.efi
if [ -e $efi ]; then
	pe "systemd-boot" 64 0 $efi
else
	tap 0 "systemd-boot # SKIP $efi is absent: run make setup"
fi

"$pv" patch "$guests/vmlinuz-686" -o "$work/vmlinux.pv" >"$work/out" 2>&1
"$pv" audit "$guests/vmlinuz-686" --json "$work/plain.json" --csv "$work/plain.csv" >/dev/null 2>>"$work/err"
"$pv" audit "$work/vmlinux.pv" --json "$work/patched.json" --csv "$work/patched.csv" >"$work/text" 2>>"$work/err"
jq -S '.image = "" | .notes = []' "$work/plain.json" >"$work/a"
jq -S '.image = "" | .notes = []' "$work/patched.json" >"$work/b"
cmp "$work/a" "$work/b" >"$work/out" 2>&1 && cmp "$work/plain.csv" "$work/patched.csv" >>"$work/out" 2>&1 &&
	grep -q '^note: patched: [0-9]* windows, [0-9]* bytes of stubs' "$work/text"
tap $? "a patched image is audited as what it was made from, and says so" "$work/out"

dd if=/dev/zero of="$work/vmlinux.pv" bs=1 seek=$((0x400000)) count=8 conv=notrunc 2>/dev/null
"$pv" audit "$work/vmlinux.pv" >"$work/text" 2>"$work/out"
[ $? = 2 ] && grep -q "vmlinux.pv: it was changed after patching" "$work/out" && [ ! -s "$work/text" ]
tap $? "one that was changed since is refused" "$work/out"

cat >"$work/s" <<'S'
	.long 0x1badb002, 0x10000, -(0x1badb002 + 0x10000), 0x100000, 0x100000, 0, 0, 0x100020
_start:	cli
	lgdt 0x100000
	sti
	hlt
S
gcc -m32 -c -x assembler -o "$work/o" "$work/s" && objcopy -O binary -j .text "$work/o" "$work/flat" &&
	tail -c +33 "$work/flat" >"$work/raw" && "$pv" audit "$work/flat" --json "$work/flat.json" >"$work/out" 2>&1 &&
	"$pv" audit --raw --base 0x100020 --width 32 "$work/raw" --json "$work/raw.json" >>"$work/out" 2>&1 &&
	[ "$(jq -c '[.sites[] | [.va, .bytes]]' "$work/flat.json")" = "$(jq -c '[.sites[] | [.va, .bytes]]' "$work/raw.json")" ] &&
	[ "$(jq '.sites | length' "$work/raw.json")" = 4 ]
tap $? "a flat Multiboot image, and its code as a raw image" "$work/out"

# The header of .exit.text in the kernel's ELF points behind the end of the file.
python3 - "$guests/vmlinuz-686" "$work/vmlinux" <<'P' 2>"$work/out"
import lzma, struct, sys
b = open(sys.argv[1], "rb").read()
at = (b[0x1f1] + 1) * 512 + struct.unpack_from("<I", b, 0x248)[0]
elf = bytearray(lzma.LZMADecompressor().decompress(b[at:at + struct.unpack_from("<I", b, 0x24c)[0]]))
shoff, n, strndx = struct.unpack_from("<I", elf, 32)[0], *struct.unpack_from("<HH", elf, 48)
names = struct.unpack_from("<I", elf, shoff + 40 * strndx + 16)[0]
for i in range(n):
    name = names + struct.unpack_from("<I", elf, shoff + 40 * i)[0]
    if elf.startswith(b".exit.text\0", name):
        struct.pack_into("<I", elf, shoff + 40 * i + 16, len(elf))
open(sys.argv[2], "wb").write(elf)
P
"$pv" audit "$work/vmlinux" --json "$work/damaged.json" >"$work/text" 2>>"$work/out"
grep -q '^note: section header [0-9]* (.exit.text): its bytes pass the end of the file; going on without it' "$work/text" &&
	[ "$(jq '[.sites[] | select(.section == ".text")] | length' "$work/damaged.json")" = \
		"$(jq '[.sites[] | select(.section == ".text")] | length' "$work/plain.json")" ]
tap $? "one damaged section header costs one section" "$work/out"

! "$pv" patch "$work/vmlinux" -o "$work/no.pv" >"$work/text" 2>"$work/out" && [ ! -e "$work/no.pv" ] &&
	grep -q "vmlinux: section header .*: its bytes pass the end of the file.*can be audited, not patched" "$work/out" &&
	! "$pv" patch "$efi" -o "$work/no.pv" >"$work/text" 2>>"$work/out" && [ ! -e "$work/no.pv" ]
tap $? "a damaged image and a PE image are not patched" "$work/out"
exit "$tap_failed"
