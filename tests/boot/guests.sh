#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Fetch the stock Debian kernels and the busybox that serve as guests into build/guests/, through apt with a
# state directory of its own: the host's sources and keys are used, but the host learns no foreign architecture,
# and no root is needed. What is already there is not fetched again, so a rerun needs no network.
#
# A mirror in the middle of a sync may fail for the newest version of a package (its index is newer than its
# pool, or an index does not match): then every older version that some index still offers is tried in turn.
#
#   vmlinuz-686 vmlinuz-686-pae vmlinuz-amd64 busybox VERSIONS
#   modules-686.tar: of the same package as vmlinuz-686, those that the tests load
set -u
cd "$(dirname "$0")/../.." || exit 1
out=$PWD/build/guests
mkdir -p "$out"

want=()
[ -s "$out/vmlinuz-686" ] || want+=("vmlinuz-686 linux-image-686 i386")
[ -s "$out/vmlinuz-686-pae" ] || want+=("vmlinuz-686-pae linux-image-686-pae i386")
[ -s "$out/vmlinuz-amd64" ] || want+=("vmlinuz-amd64 linux-image-amd64 amd64")
[ -s "$out/busybox" ] || want+=("busybox busybox-static i386")
[ -s "$out/modules-686.tar" ] || want+=("modules-686.tar linux-image-686 i386")
[ ${#want[@]} -eq 0 ] && exit 0

exec 9>"$out/.lock"
flock 9

apt=$out/apt
log=$apt/log
rm -rf "$apt"
mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/debs"
: >"$apt/state/status"
: >"$log"
cat >"$apt/apt.conf" <<EOF
APT::Architecture "i386";
APT::Architectures { "i386"; "amd64"; };
APT::Sandbox::User "";
Acquire::Languages "none";
Dir::State "$apt/state";
Dir::State::status "$apt/state/status";
Dir::Cache "$apt/cache";
EOF
export APT_CONFIG=$apt/apt.conf

get()
{
	apt-get -q "$@" >>"$log" 2>&1
}

# download ARCH PACKAGE: the deb's path on stdout; the newest version that can be had.
download()
{
	local arch=$1 pkg=$2 version deb

	while read -r version; do
		rm -f "$apt/debs/${pkg}"_*.deb
		(cd "$apt/debs" && get download "$pkg:$arch=$version") || continue
		for deb in "$apt/debs/${pkg}"_*.deb; do
			if dpkg-deb --info "$deb" >/dev/null 2>&1; then
				echo "$deb"
				return 0
			fi
		done
	done < <(apt-cache madison "$pkg:$arch" 2>>"$log" | awk -F' *\\| *' '!seen[$2]++ { print $2 }')
	return 1
}

# images_of ARCH META: packages that hold the image, best first: what the meta package depends on (one name a
# version), then, newest first, every kernel of the same flavour that an index offers.
images_of()
{
	{
		apt-cache show "$2:$1" 2>>"$log" | sed -n 's/^Depends:.*\(linux-image-[0-9][^ ,]*\).*/\1/p'
		apt-cache search --names-only "^linux-image-[0-9.]+-[0-9]+-${2#linux-image-}\$" 2>>"$log" |
			sed 's/[ :].*//' | sort -rV
	} | awk '!seen[$0]++'
}

# modules DEB TAR: an ext4 stack, a block device for it, and the kernel's own tests that fit.
modules()
{
	local dir m
	dir=$(mktemp -d)
	mkdir "$dir/flat"
	dpkg-deb --fsys-tarfile "$1" | tar -x -C "$dir" ./lib/modules
	for m in crc16 crc32c_generic mbcache jbd2 ext4 brd test_static_key_base test_static_keys; do
		find "$dir/lib/modules" -name "$m.ko" -exec cp {} "$dir/flat/" \;
	done
	tar -C "$dir/flat" -cf "$2" .
	rm -rf "$dir"
}

fetch()
{
	local file=$1 pkg=$2 arch=$3 from=$2 deb='' p

	case $pkg in
	linux-image-*)
		for p in $(images_of "$arch" "$pkg"); do
			deb=$(download "$arch" "$p") && break
		done
		from=./boot/vmlinuz-${p:-}
		from=${from/vmlinuz-linux-image-/vmlinuz-}
		[[ $file = modules-* ]] && from=./lib/modules ;;
	*)
		deb=$(download "$arch" "$pkg")
		from=./bin/busybox ;;
	esac
	if [ -z "$deb" ]; then
		echo "guests: no version of $pkg ($arch) could be fetched; the end of apt's log:" >&2
		tail -n 8 "$log" >&2
		return 1
	fi
	if [ "$from" = ./lib/modules ]; then
		modules "$deb" "$out/$file.part"
	elif ! dpkg-deb --fsys-tarfile "$deb" | tar -xO "$from" >"$out/$file.part"; then
		echo "guests: $(basename "$deb") holds no $from" >&2
		return 1
	fi
	mv "$out/$file.part" "$out/$file"
	{
		grep -v "^$file " "$out/VERSIONS" 2>/dev/null
		echo "$file $(dpkg-deb --show --showformat '${Package} ${Version}' "$deb")"
	} >"$out/VERSIONS.part"
	mv "$out/VERSIONS.part" "$out/VERSIONS"
	rm -f "$deb"
	echo "guests: $(grep "^$file " "$out/VERSIONS")"
}

echo "guests: fetching ${#want[@]} packages with apt"
get update || echo "guests: apt could not refresh every index; going on with those it has" >&2

failed=0
for w in "${want[@]}"; do
	# shellcheck disable=SC2086 # three words
	fetch $w || failed=1
done
chmod +x "$out/busybox" 2>/dev/null
[ $failed -eq 0 ] && rm -rf "$apt"
exit $failed
