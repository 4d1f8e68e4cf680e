#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# patch --modules: a module, a tree and an initramfs, plain and packed; undone byte for byte; everything else as it was;
# signatures; what cannot be patched is named, and nothing half-written is left.
cd "$(dirname "$0")/../.." || exit 1
. tests/audit/lib.sh
pv=$B/paravane

run() # expected status, then the command
{
	local want=$1
	shift
	"$@" >"$work/out" 2>&1
	[ $? -eq "$want" ]
}

# Sites that a window takes, one with a relocated operand among its neighbours; one that only int3 fits, one that traps;
# code in .init.text, and in a section without symbols of its own but its section symbol.
cat >"$work/m.s" <<'S'
.text
.globl init_module
init_module: pushf; cli; movl counter, %eax; incl %eax; movl %eax, counter; popf; ret
lonely: jmp 1f; 1: popf; 2: jmp 2b
.data
counter: .long 0
.section .init.text, "ax"
setup: sti; nop; nop; nop; nop; call printk; ret
.section .other.text, "ax"
cli; nop; nop; nop; nop; ret
.text
call .other.text
S
as --32 -o "$work/m.ko" "$work/m.s" && as --64 -o "$work/m64.ko" "$work/m.s" || exit 1
printf '%s' "0123456789abcdef" >"$work/sig"
# algo, hash, id_type, signer_len, key_id_len, 3 bytes of padding, the length in four; then the magic words
signed() # module: with a signature of 16 bytes
{
	cat "$1" "$work/sig"
	printf '\0\0\2\0\0\0\0\0\0\0\0\20~Module signature appended~\n'
}
signed "$work/m.ko" >"$work/signed.ko"

# A word that names code by arithmetic alone, here any byte of the padding: `array - 0x3000(%esi,%esi)` of b43legacy.
{
	printf '.text\nfirst: pushf; cli; nop; nop; nop; popf; ret\n.p2align 6\nsecond: cli; nop; nop; nop; nop; ret\n'
	printf '.section .rodata, "a"\narray: .long 0\n.section .text.far, "ax"\nthird:'
	for i in $(seq 0 200); do printf ' movzwl array - %d(%%esi,%%esi), %%ecx;' "$i"; done
	printf ' ret\n'
} >"$work/arithmetic.s"
as --32 -o "$work/arithmetic.ko" "$work/arithmetic.s" || exit 1

# --- one module ---------------------------------------------------------------------------------------------
run 0 "$pv" patch --modules "$work/m.ko" -o "$work/p.ko" && grep -q '3 windows' "$work/out" &&
	grep -q 'breakpoint *1$' "$work/out" && ! grep -q signature "$work/out"
result $? "a module: windows and a breakpoint"
size=$(stat -c %s "$work/m.ko")
cmp <(tail -c +53 "$work/m.ko") <(tail -c +53 "$work/p.ko" | head -c $((size - 52))) >"$work/out" 2>&1
result $? "nothing of it moves or changes behind its ELF header"
readelf -SW "$work/p.ko" >"$work/out" 2>&1 && grep -q ' \.paravane\.plan .* AX ' "$work/out" &&
	grep -q ' \.init\.paravane\.plan .* AX ' "$work/out"
result $? "it has a plan for .init code and one for the rest"
run 0 "$pv" unpatch "$work/p.ko" -o "$work/back.ko" && cmp "$work/m.ko" "$work/back.ko" >>"$work/out"
result $? "undone byte for byte"
run 0 "$pv" verify "$work/m.ko" "$work/p.ko" && grep -q ' 4 windows (0 by hop, 1 breakpoints), 3 stubs' "$work/out"
result $? "verified"
gzip -c "$work/m.ko" >"$work/m.ko.gz" && gzip -c "$work/p.ko" >"$work/p.ko.gz"
run 0 "$pv" verify "$work/m.ko.gz" "$work/p.ko.gz" && run 4 "$pv" verify "$work/m.ko" "$work/m.ko" &&
	grep -q 'not a module that' "$work/out"
result $? "verified packed; what was not patched is refused"
run 0 "$pv" patch --modules "$work/arithmetic.ko" -o "$work/p2.ko" && run 0 "$pv" verify "$work/arithmetic.ko" "$work/p2.ko" &&
	grep -q '([1-9][0-9]* relocated words name the middle of an instruction' "$work/out"
result $? "words that name the middle of a no-op are arithmetic"
run 0 "$pv" patch --modules "$work/signed.ko" -o "$work/ps.ko" && grep -q '1 had a signature' "$work/out" &&
	grep -q sig_enforce "$work/out" && ! grep -q 'Module signature appended~$' <(tail -c 28 "$work/ps.ko") &&
	run 0 "$pv" unpatch "$work/ps.ko" -o "$work/back.ko" && cmp "$work/signed.ko" "$work/back.ko" >>"$work/out"
result $? "a signature is taken off, explained, and comes back with unpatch"
run 0 "$pv" audit --modules "$work/p.ko" --json "$work/p.json" && grep -q '(patched: 3 windows)' "$work/out" &&
	"$pv" audit --modules "$work/m.ko" --json "$work/m.json" >/dev/null &&
	python3 tests/audit/check_reports.py modules-json "$work/p.json" >>"$work/out" 2>&1 &&
	jq -e '.modules[0].patched.windows == 3' "$work/p.json" >>"$work/out" &&
	jq -e '.modules[0].patched == null' "$work/m.json" >>"$work/out" &&
	cmp <(jq '.modules[0] | del(.name, .patched)' "$work/p.json") \
		<(jq '.modules[0] | del(.name, .patched)' "$work/m.json") >>"$work/out"
result $? "audit says that it is patched, and tells of its source"
run 0 "$pv" patch --modules "$work/p.ko" -o "$work/again.ko" && grep -q 'patched already' "$work/out" &&
	cmp "$work/p.ko" "$work/again.ko" >>"$work/out"
result $? "a patched one stays as it is"
run 2 "$pv" patch --modules "$work/m64.ko" -o "$work/no.ko" && grep -q '64-bit' "$work/out" && [ ! -e "$work/no.ko" ]
result $? "a 64-bit module is refused"
head -c 200 "$work/m.ko" >"$work/cut.ko"
run 2 "$pv" patch --modules "$work/cut.ko" -o "$work/no.ko" && [ ! -e "$work/no.ko" ]
result $? "one that is cut off is refused"
cp "$work/p.ko" "$work/bad.ko"
printf 'X' | dd of="$work/bad.ko" bs=1 seek=60 conv=notrunc 2>/dev/null
run 2 "$pv" unpatch "$work/bad.ko" -o "$work/no.ko" && grep -q 'changed after patching' "$work/out" && [ ! -e "$work/no.ko" ]
result $? "unpatch finds a change"
run 2 "$pv" patch --modules "$work/m.ko" -o "$work/no.ko" --hole 0xf8000000 && grep -q '^usage' "$work/out"
result $? "options that are for images are refused"

# --- a tree -------------------------------------------------------------------------------------------------
mkdir -p "$work/tree/kernel/a" "$work/tree/empty"
cp "$work/m.ko" "$work/tree/kernel/plain.ko"
gzip -c "$work/m.ko" >"$work/tree/kernel/a/g.ko.gz"
xz -c "$work/signed.ko" >"$work/tree/kernel/a/x.ko.xz"
zstd -qc "$work/m.ko" >"$work/tree/kernel/a/z.ko.zst"
echo kernel/plain.ko: >"$work/tree/modules.dep"
ln -s kernel/plain.ko "$work/tree/link"
chmod 640 "$work/tree/kernel/plain.ko"
chmod 555 "$work/tree/kernel/a"
run 0 "$pv" patch --modules "$work/tree/" -o "$work/otree" && grep -q '4 modules, 4 patched' "$work/out" &&
	cmp <(cd "$work/tree" && find . -printf '%p %y %m %l\n' | sort) \
		<(cd "$work/otree" && find . -printf '%p %y %m %l\n' | sort) >>"$work/out" &&
	cmp "$work/tree/modules.dep" "$work/otree/modules.dep" >>"$work/out"
result $? "tree: the same layout, modes and links"
packed() # command, file, what it unpacks to
{
	: >"$work/out"
	$1 "$work/otree/kernel/$2" 2>>"$work/out" | cmp - "$work/$3" >>"$work/out" 2>&1
	result $? "tree: $2 is packed as it was"
}
packed cat plain.ko p.ko
packed zcat a/g.ko.gz p.ko
packed xzcat a/x.ko.xz ps.ko
packed zstdcat a/z.ko.zst p.ko
run 2 "$pv" patch --modules "$work/tree" -o "$work/otree" && grep -q 'exists' "$work/out"
result $? "tree: an output that exists is refused"
run 0 "$pv" verify "$work/tree/" "$work/otree" &&
	grep -q 'otree: 4 modules: 4 verified, 0 as in the source, 0 refused, 0 not judged; 24 sites, 16 windows$' "$work/out"
result $? "tree: verified"
cp "$work/cut.ko" "$work/tree/kernel/cut.ko"
cp "$work/m64.ko" "$work/tree/kernel/m64.ko"
run 4 "$pv" patch --modules "$work/tree" -o "$work/otree2" && grep -q 'left as it is: kernel/cut.ko' "$work/out" &&
	grep -q 'left as it is: kernel/m64.ko: a 64-bit' "$work/out" && grep -q '2 that cannot be' "$work/out" &&
	cmp "$work/cut.ko" "$work/otree2/kernel/cut.ko" >>"$work/out"
result $? "tree: what cannot be patched is named and left as it is; the rest is patched"
run 0 "$pv" verify "$work/tree" "$work/otree2" && grep -q ' 6 modules: 4 verified, 2 as in the source, 0 refused' "$work/out"
result $? "tree: verified, with modules that are as they were"
# One with a byte of its code exchanged, one that is gone, one that nobody asked for, one that no longer unpacks, one
# that was not patched but is not the source's either.
chmod -R u+w "$work/otree2"
cp "$work/bad.ko" "$work/otree2/kernel/plain.ko"
rm "$work/otree2/kernel/a/x.ko.xz"
cp "$work/p.ko" "$work/otree2/kernel/more.ko"
head -c 200 "$work/otree/kernel/a/z.ko.zst" >"$work/otree2/kernel/a/z.ko.zst"
head -c 100 "$work/cut.ko" >"$work/otree2/kernel/cut.ko"
run 4 "$pv" verify "$work/tree" "$work/otree2" && [ "$(grep -c '^kernel/.*: REFUSED: ' "$work/out")" = 3 ] &&
	[ "$(grep -c '^kernel/.*: not judged: ' "$work/out")" = 2 ] && [ "$(wc -l <"$work/out")" = 6 ] &&
	grep -q '^kernel/plain.ko: REFUSED: .*source' "$work/out" &&
	grep -q '^kernel/a/x.ko.xz: REFUSED: it is not in the patched tree$' "$work/out" &&
	grep -q '^kernel/more.ko: REFUSED: it is not in the source tree$' "$work/out" &&
	grep -q '^kernel/a/z.ko.zst: not judged: ' "$work/out" && grep -q '^kernel/cut.ko: not judged: ' "$work/out" &&
	grep -q ' 7 modules: 1 verified, 1 as in the source, 3 refused, 2 not judged' "$work/out"
result $? "tree: each module that is not verified has a line"
run 2 "$pv" verify "$work/tree" "$work/nothing" && grep -q 'nothing: No such file' "$work/out" &&
	run 2 "$pv" verify "$work/tree" "$work/m.s" && grep -q 'neither a directory' "$work/out"
result $? "tree: nothing to compare it with"
mkfifo "$work/tree/kernel/fifo"
run 2 "$pv" patch --modules "$work/tree" -o "$work/otree3" && grep -q 'kernel/fifo' "$work/out" &&
	[ -z "$(find "$work" -name 'otree3*')" ]
result $? "tree: a failure leaves nothing"
rm "$work/tree/kernel/fifo" "$work/tree/kernel/cut.ko" "$work/tree/kernel/m64.ko"

# --- initramfs ----------------------------------------------------------------------------------------------
archive() # directory format: newc or crc
{
	(cd "$1" && find . -print0 | LC_ALL=C sort -z | cpio -0 -o -H "$2" -R 0:0 --reproducible --quiet)
}
archive "$work/tree" newc >"$work/plain.cpio"
archive "$work/tree" crc >"$work/crc.cpio"
mkdir -p "$work/early/kernel/x86/microcode"
echo microcode >"$work/early/kernel/x86/microcode/GenuineIntel.bin"
archive "$work/early" newc >"$work/early.cpio"
unpack() # archive directory
{
	rm -rf "$2" && mkdir "$2" && (cd "$2" && cpio -i -d --quiet --no-absolute-filenames) <"$1" 2>>"$work/out"
}
initramfs() # name, file, command that unpacks the last part of it
{
	run 0 "$pv" patch --modules "$work/$2" -o "$work/o.$2" && grep -q '4 modules, 4 patched' "$work/out" &&
		$3 <"$work/o.$2" >"$work/o.cpio" 2>>"$work/out" && unpack "$work/o.cpio" "$work/o.dir" &&
		cmp <(cpio -t --quiet <"$work/o.cpio") <(cpio -t --quiet <"$work/plain.cpio") >>"$work/out" &&
		diff -r "$work/o.dir" "$work/otree" >>"$work/out"
	result $? "initramfs: $1"
}
initramfs plain plain.cpio cat
run 0 "$pv" verify "$work/plain.cpio" "$work/o.plain.cpio" && grep -q ' 4 modules: 4 verified, ' "$work/out"
result $? "initramfs: verified"
initramfs "plain with checksums" crc.cpio cat
for f in "gzip -c" "xz --check=crc32 -c" "zstd -qc" "lz4 -qlc" "bzip2 -c"; do
	command -v "${f%% *}" >/dev/null || continue
	$f "$work/plain.cpio" >"$work/i.${f%% *}" && initramfs "${f%% *}" "i.${f%% *}" "${f%% *} -dc"
done
{
	cat "$work/early.cpio"
	gzip -c "$work/plain.cpio"
} >"$work/early.gz"
early=$(stat -c %s "$work/early.cpio")
behind() { tail -c +$((early + 1)) | gzip -dc; }
initramfs "microcode in front of a compressed archive" early.gz behind
cmp -n "$early" "$work/early.cpio" "$work/o.early.gz" >"$work/out" 2>&1
result $? "initramfs: what holds no module is copied as it stands"
gzip -c "$work/early.cpio" >"$work/none.gz"
run 0 "$pv" patch --modules "$work/none.gz" -o "$work/o.none.gz" && cmp "$work/none.gz" "$work/o.none.gz" >>"$work/out"
result $? "initramfs: without modules the same bytes come out"
head -c 3000 "$work/plain.cpio" >"$work/short.cpio"
run 2 "$pv" patch --modules "$work/short.cpio" -o "$work/no.cpio" && grep -q 'offset 0x' "$work/out" && [ ! -e "$work/no.cpio" ]
result $? "initramfs: one that is cut off is refused"
echo hello >"$work/text"
run 2 "$pv" patch --modules "$work/text" -o "$work/no" && [ ! -e "$work/no" ]
result $? "neither module nor initramfs: refused"

# --- Debian's -----------------------------------------------------------------------------------------------
if [ -s build/guests/modules-686.tar ]; then
	mkdir "$work/debian" && tar -C "$work/debian" -xf build/guests/modules-686.tar
	run 0 "$pv" patch --modules "$work/debian" -o "$work/odebian" && grep -q '100.00% of the' "$work/out"
	result $? "Debian's modules are patched, every site"
	run 0 "$pv" verify "$work/debian" "$work/odebian" && grep -q ' 0 refused, 0 not judged' "$work/out"
	result $? "and verified"
	for f in "$work"/debian/*.ko; do
		"$pv" unpatch "$work/odebian/${f##*/}" -o "$work/back.ko" >"$work/out" 2>&1 &&
			cmp "$f" "$work/back.ko" >>"$work/out" || break
	done
	result $? "and undone byte for byte"
fi
chmod -R u+w "$work"
finish
