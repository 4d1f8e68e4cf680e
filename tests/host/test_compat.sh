#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The engine that executes 32-bit code directly, where the host cannot: one boot on a host that TCG makes, checked
# against the battery, and one that loads patched modules. `make check-compat` is the whole of it.
cd "$(dirname "$0")/../.." || exit 1
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
TCG_TIMEOUT=570 BOOT_TIMEOUT=540 MODES=--mode=auto exec tests/host/check-compat.sh boots modules
