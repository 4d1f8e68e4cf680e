#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Source lines of sites, i386 and x86-64: as addr2line has them on 1,000 sites at random, from the image itself and from
# each place where a debug file may stand, in kernels and modules, in every form of report; a file that does not belong is
# refused, and DWARF that is damaged is named and costs nothing else.
cd "$(dirname "$0")/../.." || exit 1
. tests/audit/lib.sh

audit() # arguments: the report in $work/r.json
{
	rm -f "$work/r.json"
	"$B/paravane" audit "$@" --json "$work/r.json" >"$work/out" 2>&1
}
lines() # file: sites with a line, of how many
{
	jq -r '"\([.sites[] | select(.source[0].line)] | length) of \(.sites | length)"' "$1"
}
same() # all sites have the lines of $work/want.json
{
	diff <(jq -c '.sites[] | [.disassembly, .source]' "$work/want.json") \
		<(jq -c '.sites[] | [.disassembly, .source]' "$work/r.json") >>"$work/out"
}

# 334 functions with three sites each, two of them inlined, one twice.
{
	cat <<'C'
static inline __attribute__((always_inline)) unsigned low(unsigned n)
{
	unsigned v;
	__asm__ volatile("rdmsr" : "=a"(v) : "c"(n) : "edx");
	return v;
}
static inline __attribute__((always_inline)) unsigned twice(unsigned n)
{
	__asm__ volatile("cli");
	return low(n) + 1;
}
C
	for i in $(seq 334); do
		echo "unsigned f$i(unsigned n)"
		echo "{ unsigned v = twice(n + $i);"
		echo
		echo "  __asm__ volatile(\"wbinvd\"); return v * $i; }"
	done
	echo "unsigned (*const all[])(unsigned) = {"
	for i in $(seq 334); do echo "f$i,"; done
	echo "};"
	echo "void _start(void) { for (unsigned i = 0; i < 334; i++) all[i](i); }"
} >"$work/kernel.c"
cat >"$work/module.c" <<'C'
extern int printk(const char *, ...);
static inline __attribute__((always_inline)) void off(void) { __asm__ volatile("cli"); }
__attribute__((section(".init.text"))) int init_module(void)
{
	off();
	return printk("on");
}
void cleanup_module(void) { __asm__ volatile("sti"); }
__attribute__((section(".text.unlikely"))) void rare(void)
{
	off();
	__asm__ volatile("661: nop; nop; nop; 662:\n.pushsection .altinstr_replacement, \"ax\"\n663: stac\n664:\n"
			 ".popsection\n.pushsection .altinstructions, \"a\"\n.long 661b - ., 663b - .\n"
			 ".word 9*32+20\n.byte 3, 3\n.popsection");
}
C

flags="-O2 -ffreestanding -fno-pic -fno-pie -fcf-protection=none -fno-stack-protector -fno-asynchronous-unwind-tables"
link="-nostdlib -static -no-pie -Wl,-z,noexecstack -Wl,-z,noseparate-code"
for w in 32 64; do
	at=0xc0100000 model=
	[ $w = 64 ] && at=0xffffffff81000000 model="-mcmodel=kernel -mno-red-zone"
	for form in "-gdwarf-4" "-gdwarf-5" "-gdwarf-5 -gz=zlib" "-gdwarf-4 -gz=zlib-gnu"; do
		# shellcheck disable=SC2086 # lists of words
		gcc -m$w $flags $model $form $link -Wl,--build-id=sha1 -Wl,-Ttext=$at -o "$work/vmlinux" "$work/kernel.c" \
			2>"$work/out" && audit "$work/vmlinux" &&
			python3 tests/audit/check_lines.py "$work/r.json" "$work/vmlinux" 1000 >"$work/out" &&
			grep -q '^1000 sites compared, 1000 of them with a line, 6[67][0-9] in inlined code: 0 differ' "$work/out"
		result $? "$w: $form: 1,000 sites as addr2line has them"
	done
	audit "$work/vmlinux" --csv "$work/r.csv" --sarif "$work/r.sarif" --html "$work/r.html" --all
	[ "$(jq -r .debug_file "$work/r.json")" = "$work/vmlinux" ] &&
		grep -q 'source: .*kernel.c:4 in low, inlined at .*kernel.c:10 in twice, inlined at .*kernel.c:13 in f1$' "$work/out"
	result $? "$w: in text"
	for form in json csv sarif html; do
		python3 tests/audit/check_reports.py $form "$work/r.$form" "$work/r.json" >"$work/out" 2>&1
		result $? "$w: in $form"
	done

	# --- the debug file apart ------------------------------------------------------------------------------
	cp "$work/r.json" "$work/want.json"
	mkdir -p "$work/k/boot" "$work/root/.build-id" "$work/named/boot"
	objcopy --only-keep-debug "$work/vmlinux" "$work/vmlinux.debug"
	objcopy -S "$work/vmlinux" "$work/k/boot/vmlinuz-1" && cp "$work/k/boot/vmlinuz-1" "$work/stripped"
	audit "$work/stripped" --debug-dir "$work/root" && [ "$(lines "$work/r.json")" = "0 of 1002" ] &&
		[ "$(jq -r .debug_file "$work/r.json")" = null ]
	result $? "$w: stripped: no lines"
	audit "$work/stripped" --debug "$work/vmlinux.debug" && same
	result $? "$w: --debug"
	id=$(readelf -n "$work/vmlinux" | sed -n 's/.*Build ID: //p')
	mkdir -p "$work/root/.build-id/${id:0:2}"
	cp "$work/vmlinux.debug" "$work/root/.build-id/${id:0:2}/${id:2}.debug"
	audit "$work/stripped" --debug-dir "$work/root" && same
	result $? "$w: by build ID"
	cp "$work/vmlinux.debug" "$work/named/boot/vmlinux-1"
	audit "$work/k/boot/vmlinuz-1" --debug-dir "$work/named" && same
	result $? "$w: by name, vmlinux for vmlinuz"
	# shellcheck disable=SC2086
	gcc -m$w $flags $model -g $link -Wl,--build-id=none -Wl,-Ttext=$at -o "$work/vmlinux.noid" "$work/kernel.c"
	audit "$work/vmlinux.noid" && cp "$work/r.json" "$work/want.json"
	mkdir -p "$work/l/.debug" "$work/links/$work/l"
	objcopy --only-keep-debug "$work/vmlinux.noid" "$work/l/k.debug"
	objcopy -S --add-gnu-debuglink="$work/l/k.debug" "$work/vmlinux.noid" "$work/l/k"
	audit "$work/l/k" && same
	result $? "$w: by debuglink, beside it"
	mv "$work/l/k.debug" "$work/l/.debug/" && audit "$work/l/k" && same
	result $? "$w: by debuglink, in .debug"
	mv "$work/l/.debug/k.debug" "$work/links/$work/l/" && audit "$work/l/k" --debug-dir "$work/links" && same
	result $? "$w: by debuglink, under the root"
	printf x >>"$work/links/$work/l/k.debug"
	audit "$work/l/k" --debug-dir "$work/links" && [ "$(lines "$work/r.json")" = "0 of 1002" ] &&
		jq -e '.notes[] | select(contains("k.debug: nothing proves that it belongs"))' "$work/r.json" >>"$work/out"
	result $? "$w: by debuglink, another file: not taken"

	# --- modules ---------------------------------------------------------------------------------------------
	mkdir -p "$work/lib/modules/1" "$work/mroot/lib/modules/1"
	# shellcheck disable=SC2086
	gcc -m$w $flags $model -g -c -o "$work/m.o" "$work/module.c" 2>"$work/out" &&
		ld -r -m "$([ $w = 64 ] && echo elf_x86_64 || echo elf_i386)" --build-id=sha1 -o "$work/m.ko" "$work/m.o" 2>>"$work/out"
	audit --modules "$work/m.ko" --all --csv "$work/r.csv" --sarif "$work/r.sarif" --html "$work/r.html"
	cat >"$work/expected" <<'X'
cli rare module.c:2 off | module.c:11 rare
cli init_module module.c:2 off | module.c:5 init_module
stac null module.c:12 rare
sti cleanup_module module.c:8 cleanup_module
X
	found()
	{
		jq -r --arg dir "$work/" '.modules[0].sites[] | "\(.disassembly) \(.symbol.name) " +
			([.source[] | "\(.file | ltrimstr($dir)):\(.line) \(.function)"] | join(" | "))' "$work/r.json" |
			sort >"$work/found"
		sort "$work/expected" | diff - "$work/found" >>"$work/out"
	}
	found && [ "$(grep -c '^        source: ' "$work/out")" = 4 ]
	result $? "$w: module: lines of every section, of a replacement those of what it is copied over"
	for form in json csv sarif html; do
		python3 tests/audit/check_reports.py "modules-$form" "$work/r.$form" "$work/r.json" >"$work/out" 2>&1
		result $? "$w: module: in $form"
	done
	objcopy --only-keep-debug "$work/m.ko" "$work/m.ko.debug"
	cp "$work/m.ko.debug" "$work/mroot/lib/modules/1/m.ko"
	objcopy -g "$work/m.ko" "$work/lib/modules/1/m.ko" && xz -f "$work/lib/modules/1/m.ko"
	audit --modules "$work/lib/modules/1/m.ko.xz" --debug "$work/m.ko.debug" && found
	result $? "$w: module: --debug"
	audit --modules "$work/lib" --debug-dir "$work/mroot" && found
	result $? "$w: module: by name, of a packed module"
	(cd "$work" && find lib/modules | cpio -o -H newc --quiet >"$work/initrd")
	audit --modules "$work/initrd" --debug-dir "$work/mroot" && found
	result $? "$w: module: by name, of an initramfs"

	# --- what cannot be ----------------------------------------------------------------------------------
	refused() # name words arguments
	{
		local name=$1 words=$2
		shift 2
		audit "$@"
		[ $? -eq 2 ] && grep -q "$words" "$work/out" && [ ! -e "$work/r.json" ]
		result $? "$w: refused: $name"
	}
	sed 's/wbinvd/invd/' "$work/kernel.c" >"$work/other.c"
	# shellcheck disable=SC2086
	gcc -m$w $flags $model -g $link -Wl,--build-id=sha1 -Wl,-Ttext=$at -o "$work/other" "$work/other.c"
	refused "of another build" 'other: build ID .*, the image has .*: give the debug file of this very build' \
		"$work/stripped" --debug "$work/other"
	refused "without DWARF" 'stripped: no debug information' "$work/stripped" --debug "$work/stripped"
	refused "no ELF file" 'kernel.c: not an ELF file' "$work/stripped" --debug "$work/kernel.c"
	refused "not there" 'nothing: No such file' "$work/stripped" --debug "$work/nothing"
	refused "of a module" 'm.ko.debug: not the debug file of' "$work/stripped" --debug "$work/m.ko.debug"

	# --- damage --------------------------------------------------------------------------------------------
	# From its start on, where what is damaged is seen; lines that are merely wrong are not.
	for section in .debug_info .debug_line .debug_abbrev .debug_str; do
		cp "$work/vmlinux.noid" "$work/bad"
		read -r offset size < <(readelf -SW "$work/bad" | sed 's/^ *\[ *[0-9]*\]//' |
			awk -v s=$section '$1 == s { print "0x" $4, "0x" $5 }')
		head -c "$((size / 2))" /dev/zero | tr '\0' '\351' |
			dd of="$work/bad" bs=1M seek=$((offset + 8)) oflag=seek_bytes conv=notrunc 2>/dev/null
		audit "$work/bad" && [ "$(jq '.sites | length' "$work/r.json")" = 1002 ] && { [ $section = .debug_str ] ||
			jq -e '.notes[] | select(startswith("debug information"))' "$work/r.json" >>"$work/out"; }
		result $? "$w: $section damaged: all sites are there, and a note"
	done
done
cp "$work/m.ko" "$work/lib/second.ko"
"$B/paravane" audit --modules "$work/lib" --debug "$work/m.ko.debug" >"$work/out" 2>&1
[ $? -eq 2 ] && grep -q 'holds 2 modules, the file is of one: give --debug-dir' "$work/out"
result $? "refused: one debug file for two modules"
finish
