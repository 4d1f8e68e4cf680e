#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The far transfers and segment loads of the virtual CPU against QEMU's; tests/oracle/scenario.h says how.
# Usage: tests/oracle/test_oracle.sh [COUNT [FIRST]]. B names the build whose library is tested.
cd "$(dirname "$0")/../.." || exit 1
count=${1:-10000}
first=${2:-1}
B=${B:-build/rel}
out=$B/tests/oracle
name="$count far transfers and segment loads end as in QEMU"

fail()
{
	sed 's/^/# /' "$out/log"
	echo "not ok 1 - $name"
	exit 1
}

echo "1..1"
if ! command -v qemu-system-i386 >/dev/null; then
	echo "ok 1 - $name # SKIP qemu-system-i386 is not installed (make setup)"
	exit 0
fi
mkdir -p "$out"
rm -f "$out/outcomes"
case $B in *asan) sanitize=-fsanitize=address,undefined ;; *) sanitize= ;; esac
${CC:-gcc} -m32 -std=gnu11 -O1 -Wall -Wextra -Werror -I. -DFIRST="$first" -DCOUNT="$count" -ffreestanding -fno-pie \
	-fno-stack-protector -fno-asynchronous-unwind-tables -mgeneral-regs-only -fno-delete-null-pointer-checks \
	-nostdlib -static -Wl,-z,max-page-size=0x1000,-z,noexecstack,--no-warn-rwx-segments,--build-id=none \
	-Wl,-T,tests/oracle/guest.ld -o "$out/guest" tests/oracle/guest.c >"$out/log" 2>&1 || fail
# shellcheck disable=SC2046 # words
${CC:-gcc} -std=gnu11 -O1 -g $sanitize -Wall -Wextra -Werror -I. -o "$out/model" tests/oracle/model.c \
	"$B/libparavane.a" $(make -s MODE="${B##*/}" print-LDLIBS) >"$out/log" 2>&1 || fail
# isa-debug-exit turns the guest's 0 into 1; a triple fault of the harness is 0
timeout 500 qemu-system-i386 -accel tcg -m 16 -display none -nodefaults -no-reboot -debugcon "file:$out/outcomes" \
	-device isa-debug-exit,iobase=0xf4,iosize=1 -kernel "$out/guest" >"$out/log" 2>&1
status=$?
[ $status = 1 ] || { echo "qemu ended with status $status" >>"$out/log"; fail; }
"$out/model" "$out/outcomes" "$first" "$count" >"$out/log" 2>&1 || fail
sed 's/^/# /' "$out/log"
echo "ok 1 - $name"
