#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The source lines of a real kernel against addr2line, on 1,000 sites at random. Not part of `make check`: Debian's smallest
# debug kernel (cloud-amd64) is a package of 280 MB that unpacks to 600 MB. It is kept in DIR, by default
# build/debug-kernel; a second run fetches nothing.
#
# usage: tests/audit/debug-kernel.sh [DIR]
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build/rel}
dir=${1:-build/debug-kernel}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

# fetch VERSIONED-NAME...: all of them, or nothing
fetch()
{
	(cd "$dir" && apt-get -q download "$@") >>"$dir/log" 2>&1
}

if [ -z "$(ls "$dir"/boot/vmlinuz-* 2>/dev/null)" ]; then
	for dbg in $(apt-cache search --names-only '^linux-image-6\.1\.0-[0-9]+-cloud-amd64-dbg$' | cut -d' ' -f1 | sort -rV); do
		if fetch "${dbg%-dbg}" "$dbg"; then
			echo "fetched $dbg"
			break
		fi
		rm -f "$dir"/*.deb
	done
	for deb in "$dir"/*.deb; do
		if [ ! -e "$deb" ]; then
			echo "no kernel could be fetched with its debug package; the end of apt's log:" >&2
			tail -n 5 "$dir/log" >&2
			exit 1
		fi
		dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$dir" --wildcards './boot/vmlinuz-*' './usr/lib/debug/boot/vmlinux-*' \
			2>/dev/null || true # each package has one of the two
		rm "$deb"
	done
fi

vmlinuz=$(ls "$dir"/boot/vmlinuz-*)
vmlinux=$(ls "$dir"/usr/lib/debug/boot/vmlinux-*)
for options in "" "--debug-dir $dir/usr/lib/debug"; do
	start=$(date +%s%N)
	# shellcheck disable=SC2086 # a list of words
	"$B/paravane" audit "$vmlinuz" $options --json "$dir/audit.json" >/dev/null
	echo "audit ${options:+with lines }in $((($(date +%s%N) - start) / 1000000)) ms"
done
jq -r '"\([.sites[] | select(.source[0].line)] | length) of \(.sites | length) sites have a line"' "$dir/audit.json"
python3 tests/audit/check_lines.py "$dir/audit.json" "$vmlinux" 1000
