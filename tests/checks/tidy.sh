#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# clang-tidy, cppcheck and shellcheck over the whole tree, or over the files named. A file that passed is not
# looked at again until it, a header, or the rules change.
cd "$(dirname "$0")/../.." || exit 1
stamps=build/tidy
mkdir -p $stamps
llvm=$(llvm-config-14 --cflags 2>/dev/null | tr ' ' '\n' | grep '^-I')
export stamps llvm

if [ $# -gt 0 ]; then
	files=("$@")
else
	mapfile -t files < <(ls hypercalls/*.c patcher/*.c monitor/*.c monitor/*/*.c tests/*/*.c 2>/dev/null)
fi
# One digest over what every file depends on keeps this simple; it costs reruns, never a missed finding.
export rules
rules=$(cat .clang-tidy tests/checks/tidy.sh ./*/*.h ./*/*/*.h ./*/*.def ./*/*/*.def 2>/dev/null | sha1sum)

tidy_one()
{
	local f=$1 stamp pre='' flat=''
	stamp=$stamps/$(echo "$rules $f $(sha1sum <"$f")" | sha1sum | cut -c1-40)
	[ -e "$stamp" ] && return 0
	[ "$f" = hypercalls/diag.c ] || pre='-include tests/checks/tidy.h'
	case $f in
	tests/guest/*|tests/oracle/guest.c) # 32-bit code whose memory starts at address 0
		pre='-m32 -ffreestanding -Wno-main-return-type'
		flat=--suppress=nullPointer
		case ${f##*/} in
		flat_*) ;;
		*) pre+=' -DGUEST_HIGH' ;;
		esac ;;
	tests/unwind/*) pre=-m32 ;;
	esac
	# shellcheck disable=SC2086 # words
	clang-tidy --quiet "$f" -- -std=gnu11 -I. -D_GNU_SOURCE $llvm $pre 2>/dev/null || return 1
	# varFuncNullUB: NULL is a pointer in glibc. comparePointers: start and end symbols of one blob.
	# uninitStructMember: does not see that a callee fills the struct; gcc does.
	cppcheck --quiet --std=c11 --language=c -I. -D_GNU_SOURCE -D__x86_64__ -U__ASSEMBLER__ \
		--enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
		--suppress=missingIncludeSystem --suppress=nullPointerRedundantCheck --suppress=varFuncNullUB \
		--suppress=comparePointers --suppress=uninitStructMember \
		--suppress=compareBoolExpressionWithInt $flat "$f" || return 1
	touch "$stamp"
}
export -f tidy_one

failed=0
printf '%s\n' "${files[@]}" | xargs -r -P "$(nproc)" -I{} bash -c 'tidy_one {} || { echo "tidy: {}"; exit 1; }' ||
	failed=1
if [ $# -eq 0 ]; then
	grep -rlE '^#!/bin/(ba)?sh' tests .ci | xargs shellcheck -S warning -x || failed=1
fi
[ $failed -eq 0 ] && echo "tidy: ${#files[@]} files clean"
exit $failed
