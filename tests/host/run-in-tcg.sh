#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# run-in-tcg.sh COMMAND [ARGUMENT...]: run a command of this checkout on a machine that QEMU emulates (TCG, one CPU)
# under Debian's stock amd64 kernel: a host that executes 32-bit code itself, wherever this is started.
#
# The machine sees this machine's root file system through 9p, read-only, with a writable layer in its memory: the
# command runs in the checkout with the libraries and programs installed here, and what it writes is gone at the
# end; /tmp is empty. (Privileges are those of whoever started this.) Its output appears on stdout, both streams in
# one; the exit status is the command's, 124 when the time is over, 125 when there was no machine to run on or it
# died, the reason being on stderr then. B and BOOT_TIMEOUT are handed on. Nothing is read from stdin.
#
#   TCG_TIMEOUT  seconds until the machine is stopped (default 900)
#   TCG_CPU      QEMU's CPU model (default max,la57=off,smap=off: through QEMU 8 a far return of user code reads the
#                stack as the kernel would, and SMAP forbids it)
#   TCG_MEMORY   its memory (default 3G)
#   TCG_LOG      keep the kernel's console in this file
set -u
cd "$(dirname "$0")/../.." || exit 125
root=$PWD
guests=$root/build/guests
qemu=qemu-system-x86_64

die()
{
	echo "run-in-tcg: $1" >&2
	exit 125
}

[ $# -gt 0 ] || die "usage: tests/host/run-in-tcg.sh COMMAND [ARGUMENT...]"
command -v $qemu >/dev/null || die "$qemu is not installed: run make setup (Debian: qemu-system-x86)"
for f in vmlinuz-amd64 modules-amd64.tar busybox; do
	[ -s "$guests/$f" ] || die "build/guests/$f is absent: run make guests"
done
[ "$(sed -n 's/^vmlinuz-amd64 //p' "$guests/VERSIONS")" = "$(sed -n 's/^modules-amd64.tar //p' "$guests/VERSIONS")" ] ||
	die "build/guests: vmlinuz-amd64 and modules-amd64.tar differ in version: delete both and run make guests"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/fs"/{bin,dev,proc,sys,lower,upper,root,modules}
cp "$guests/busybox" "$work/fs/bin/busybox"
tar -C "$work/fs/modules" -xf "$guests/modules-amd64.tar"
# Each behind those that it depends on, which changes from kernel to kernel.
modules=$(cd "$work/fs/modules" && for file in *.ko; do
	module=${file%.ko}
	echo "$module $module"
	tr '\0' '\n' <"$file" | sed -n 's/^depends=//p' | tr ',' '\n' | sed "/./!d; s/\$/ $module/"
done | tsort)

# ttyS0 is the console, ttyS1 takes the command's output, ttyS2 its exit status.
cat >"$work/fs/init" <<EOF
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
# What the kernel has built in is no module, and those that failed are missed by the mounts.
for m in $(echo $modules); do
	[ -e /modules/\$m.ko ] && insmod /modules/\$m.ko
done
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose root /lower &&
	mount -t tmpfs -o size=50% upper /upper && mkdir /upper/top /upper/work &&
	mount -t overlay -o lowerdir=/lower,upperdir=/upper/top,workdir=/upper/work root /root || {
		echo "run-in-tcg: no root file system"
		poweroff -f
	}
mount -t proc proc /root/proc
mount -t sysfs sys /root/sys
mount -t devtmpfs dev /root/dev
mkdir -p /root/dev/pts /root/dev/shm
ln -s /proc/self/fd /root/dev/fd
mount -t devpts devpts /root/dev/pts
mount -t tmpfs shm /root/dev/shm
case '$root' in
/tmp/*) ;;
*) mount -t tmpfs -o mode=1777 tmp /root/tmp ;;
esac
ip link set lo up
stty -F /dev/ttyS1 raw
stty -F /dev/ttyS2 raw
chroot /root /bin/bash -s <>/dev/null >/dev/ttyS1 2>&1 </command
echo \$? >/dev/ttyS2
poweroff -f
EOF
{
	printf 'cd %q || exit 125\n' "$root"
	printf 'export HOME=/tmp PATH=%q IN_TCG=1\n' "$PATH"
	[ -n "${B-}" ] && printf 'export B=%q\n' "$B"
	[ -n "${BOOT_TIMEOUT-}" ] && printf 'export BOOT_TIMEOUT=%q\n' "$BOOT_TIMEOUT"
	printf '%q ' "$@"
	echo '</dev/null'
} >"$work/fs/command"
chmod +x "$work/fs/init"
(cd "$work/fs" && find . | cpio -o -H newc -R 0:0 --quiet) >"$work/initrd" || die "cpio failed: run make setup"

# A plain pipe: stdout may be a file, which QEMU would truncate.
timeout --foreground -k 10 "${TCG_TIMEOUT:-900}" $qemu -accel tcg -cpu "${TCG_CPU:-max,la57=off,smap=off}" -smp 1 \
	-m "${TCG_MEMORY:-3G}" -nodefaults -no-user-config -no-reboot -display none -kernel "$guests/vmlinuz-amd64" \
	-initrd "$work/initrd" -append "console=ttyS0 quiet panic=-1 mitigations=off nokaslr 8250.nr_uarts=4" \
	-virtfs "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap" \
	-serial "file:$work/console" -serial stdio -serial "file:$work/status" </dev/null 2>"$work/qemu" | cat
status=${PIPESTATUS[0]}
[ -n "${TCG_LOG-}" ] && cp "$work/console" "$TCG_LOG"
if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
	echo "run-in-tcg: stopped after ${TCG_TIMEOUT:-900} s (TCG_TIMEOUT)" >&2
	exit 124
fi
result=$(tr -cd '0-9' <"$work/status" 2>/dev/null)
if [ -z "$result" ]; then
	{
		echo "run-in-tcg: the machine died before the command ended (QEMU's status is $status); its last words:"
		tail -n 10 "$work/qemu"
		tail -n 20 "$work/console"
	} >&2
	exit 125
fi
exit "$result"
