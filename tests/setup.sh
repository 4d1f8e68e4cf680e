#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Install the Debian packages that building and testing need. Quiet and quick when nothing is missing; otherwise
# apt-get runs as root or through sudo. A mirror that is in the middle of a sync makes `apt-get update` fail in
# part: that alone is no reason to stop, only packages that cannot be had are.
set -u

build='gcc libc6-dev make binutils binutils-dev libelf-dev libdw-dev llvm-14-dev libzydis-dev libjansson-dev
	nettle-dev libseccomp-dev zlib1g-dev liblzma-dev libzstd-dev liblz4-dev liblzo2-dev libbz2-dev'
check='chromium libcmocka-dev libunicorn-dev gcc-multilib lib32stdc++-12-dev xz-utils bzip2 lzop lz4 zstd cpio gzip e2fsprogs jq python3-jsonschema qemu-system-x86 systemd-boot-efi'
tools='python3 clang clang-format clang-tidy cppcheck shellcheck git'

missing()
{
	# shellcheck disable=SC2086 # a list of words
	dpkg-query -W -f='${Package} ${db:Status-Abbrev}\n' $build $check $tools 2>/dev/null |
		awk -v want="$build $check $tools" '
			$2 ~ /^.i/ { have[$1] = 1 }
			END { n = split(want, w); for (i = 1; i <= n; i++) if (!(w[i] in have)) print w[i] }'
}

need=$(missing)
[ -z "$need" ] && exit 0

if ! command -v apt-get >/dev/null; then
	echo "setup: no apt-get here. Install what these Debian packages hold, then run make again:" $need >&2
	exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
	root=
elif command -v sudo >/dev/null; then
	root=sudo
else
	echo "setup: these packages are missing, and there is neither root nor sudo to install them:" $need >&2
	exit 1
fi

echo "setup: installing" $need
export DEBIAN_FRONTEND=noninteractive
$root apt-get -qq update || echo "setup: the package index did not refresh in full; going on with what there is" >&2
# shellcheck disable=SC2086
install="$root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install"
if ! $install $need >/dev/null; then
	# One package at a time: what can be had is had, and the message names what cannot.
	for p in $need; do
		$install "$p" >/dev/null || true
	done
fi

need=$(missing)
if [ -n "$need" ]; then
	echo "setup: could not install:" $need >&2
	exit 1
fi
