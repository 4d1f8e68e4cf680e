#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Build the initrds: newc cpio, gzip, the same bytes for the same input whoever builds them and when.
# /dev/console comes with the kernel's built-in initramfs, so no device node (and no root) is needed.
set -eu
cd "$(dirname "$0")/../.."
out=build/guests

build()
{
	local name=$1 init=$2 work
	shift 2
	work=$(mktemp -d)
	# 755 whatever the umask: modes are part of the archive.
	install -d -m 755 "$work/bin" "$work/proc" "$work/sys" "$work/dev"
	install -m 755 "$out/busybox" "$work/bin/busybox"
	ln -s busybox "$work/bin/sh"
	install -m 755 "$init" "$work/init"
	for f; do
		install -m 755 "$f" "$work/"
	done
	(cd "$work" && chmod 755 . && find . -print0 | xargs -0 touch -h -d @0 &&
		find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --reproducible --quiet) | gzip -9n >"$out/$name.part"
	mv "$out/$name.part" "$out/$name"
	rm -rf "$work"
}

build initrd-demo.cpio.gz tests/boot/init-demo
build initrd-test.cpio.gz tests/boot/init-test tests/boot/battery
build initrd-rewrite.cpio.gz tests/boot/init-rewrite

# A file system for the modules to mount, the same bytes every time.
if [ -s "$out/modules-686.tar" ]; then
	work=$(mktemp -d)
	tar -C "$work" -xf "$out/modules-686.tar"
	truncate -s 16M "$work/ext4.img"
	PATH=$PATH:/sbin:/usr/sbin mke2fs -q -F -t ext4 -U 00000000-0000-4000-8000-000000000000 \
		-E hash_seed=00000000-0000-4000-8000-000000000000 "$work/ext4.img"
	gzip -9n "$work/ext4.img"
	build initrd-modules.cpio.gz tests/boot/init-modules "$work"/*.ko "$work/ext4.img.gz"
	rm -rf "$work"
fi
