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
#   modules-amd64.tar: of the same package as vmlinuz-amd64, those that tests/host/run-in-tcg.sh loads
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
[ -s "$out/modules-amd64.tar" ] || want+=("modules-amd64.tar linux-image-amd64 amd64")
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

# modules_of FILE: for 686 an ext4 stack, a block device for it, and the kernel's own tests that fit; for amd64 what
# a root file system over virtio needs. What a kernel has built in is no file, and is left out.
modules_of()
{
	case $1 in
	modules-686.tar) echo crc16 crc32c_generic mbcache jbd2 ext4 brd test_static_key_base test_static_keys ;;
	modules-amd64.tar) echo virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci fscache \
		netfs 9pnet 9pnet_virtio 9p overlay ;;
	esac
}

# modules DEB TAR NAME...
modules()
{
	local dir m deb=$1 tar=$2
	shift 2
	dir=$(mktemp -d)
	mkdir "$dir/flat"
	dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$dir" ./lib/modules
	for m; do
		find "$dir/lib/modules" -name "$m.ko" -exec cp {} "$dir/flat/" \;
	done
	tar -C "$dir/flat" -cf "$tar" .
	rm -rf "$dir"
}

# version_of FILE: package and version that it came from, when it is there
version_of()
{
	[ -s "$out/$1" ] && sed -n "s/^$1 //p" "$out/VERSIONS" 2>/dev/null
}

# record FILE DEB
record()
{
	{
		grep -v "^$1 " "$out/VERSIONS" 2>/dev/null
		echo "$1 $(dpkg-deb --show --showformat '${Package} ${Version}' "$2")"
	} >"$out/VERSIONS.part"
	mv "$out/VERSIONS.part" "$out/VERSIONS"
	echo "guests: $(grep "^$1 " "$out/VERSIONS")"
}

# image DEB FILE
image()
{
	local from
	from=$(dpkg-deb --fsys-tarfile "$1" | tar -t | grep '^\./boot/vmlinuz-' | head -n 1)
	[ -n "$from" ] && dpkg-deb --fsys-tarfile "$1" | tar -xO "$from" >"$2"
}

fetch()
{
	local file=$1 pkg=$2 arch=$3 deb='' p kernel=''

	case $file in
	modules-*)
		kernel=${file#modules-}
		kernel=vmlinuz-${kernel%.tar} ;;
	esac
	case $pkg in
	linux-image-*)
		for p in $(version_of "${kernel:-none}" | cut -d' ' -f1) $(images_of "$arch" "$pkg"); do
			deb=$(download "$arch" "$p") && break
		done ;;
	*)
		deb=$(download "$arch" "$pkg") ;;
	esac
	if [ -z "$deb" ]; then
		echo "guests: no version of $pkg ($arch) could be fetched; the end of apt's log:" >&2
		tail -n 8 "$log" >&2
		return 1
	fi
	case $file in
	modules-*)
		# shellcheck disable=SC2046 # a list of words
		modules "$deb" "$out/$file.part" $(modules_of "$file") ;;
	vmlinuz-*)
		image "$deb" "$out/$file.part" ;;
	*)
		dpkg-deb --fsys-tarfile "$deb" | tar -xO ./bin/busybox >"$out/$file.part" ;;
	esac || {
		echo "guests: $(basename "$deb") does not hold what $file is made of" >&2
		return 1
	}
	mv "$out/$file.part" "$out/$file"
	record "$file" "$deb"
	# Modules fit the kernel of their own package only.
	if [ -n "$kernel" ] && [ "$(version_of "$kernel")" != "$(version_of "$file")" ]; then
		image "$deb" "$out/$kernel.part" && mv "$out/$kernel.part" "$out/$kernel" && record "$kernel" "$deb"
	fi
	rm -f "$deb"
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
