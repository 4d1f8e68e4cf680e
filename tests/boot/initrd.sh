#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Build the initrds into build/guests.
set -eu
cd "$(dirname "$0")/../.."
. tests/boot/lib.sh

make_initrd "$guests"/initrd-demo.cpio.gz tests/boot/init-demo
make_initrd "$guests"/initrd-test.cpio.gz tests/boot/init-test tests/boot/battery
make_initrd "$guests"/initrd-rewrite.cpio.gz tests/boot/init-rewrite

# A file system for the modules to mount, the same bytes every time.
if [ -s "$guests/modules-686.tar" ]; then
	work=$(mktemp -d)
	tar -C "$work" -xf "$guests/modules-686.tar"
	truncate -s 16M "$work/ext4.img"
	PATH=$PATH:/sbin:/usr/sbin mke2fs -q -F -t ext4 -U 00000000-0000-4000-8000-000000000000 \
		-E hash_seed=00000000-0000-4000-8000-000000000000 "$work/ext4.img"
	gzip -9n "$work/ext4.img"
	make_initrd "$guests"/initrd-modules.cpio.gz tests/boot/init-modules "$work"/*.ko "$work/ext4.img.gz"
	rm -rf "$work"
fi
