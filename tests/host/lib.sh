# SPDX-License-Identifier: GPL-3.0-or-later
# Sourced by the tests that check-compat.sh does on a host that TCG makes: skips them where that cannot be, or need not.
# shellcheck shell=bash
. tests/boot/lib.sh
need_guest_space
if ! lacks_direct >/dev/null; then
	echo "1..0 # SKIP this host executes 32-bit code itself: the other tests show it"
	exit 0
fi
if ! command -v qemu-system-x86_64 >/dev/null; then
	echo "1..0 # SKIP qemu-system-x86_64 is not installed (make setup)"
	exit 0
fi
need "$pv" "$guests/vmlinuz-686" "$guests/vmlinuz-amd64" "$guests/modules-amd64.tar" "$guests/initrd-test.cpio.gz" \
	"$guests/initrd-modules.cpio.gz"
