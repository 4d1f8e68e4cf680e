# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# The ELF inside a bzImage (boot protocol 2.08: payload_offset, payload_length), compressed by xz as Debian does.
payload_of()
{
	local setup offset length
	setup=$(($(od -An -tu1 -j $((0x1f1)) -N1 "$1")))
	offset=$(($(od -An -tu4 -j $((0x248)) -N4 "$1")))
	length=$(($(od -An -tu4 -j $((0x24c)) -N4 "$1")))
	tail -c +$(((setup + 1) * 512 + offset + 1)) "$1" | head -c "$length" | xz -dc --single-stream
}
