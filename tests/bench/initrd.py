# SPDX-License-Identifier: GPL-3.0-or-later
"""The initrd of the benchmark: newc cpio (Documentation/driver-api/early-userspace/buffer-format.rst), gzip.

/dev/console comes with the kernel's built-in initramfs, so no device node is needed.
"""
import gzip
import stat


def member(inode, name, mode, data=b""):
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def write(path, program, busybox=None):
    """Without a busybox: for machines that could not run it."""
    with open(program, "rb") as f:
        init = f.read()
    members = [("bin", stat.S_IFDIR | 0o755, b""), ("proc", stat.S_IFDIR | 0o755, b""),
               ("dev", stat.S_IFDIR | 0o755, b""), ("init", stat.S_IFREG | 0o755, init)]
    if busybox:
        with open(busybox, "rb") as f:
            members += [("bin/busybox", stat.S_IFREG | 0o755, f.read()), ("bin/sh", stat.S_IFLNK | 0o777, b"busybox")]
    archive = b"".join(member(i + 1, *m) for i, m in enumerate(members)) + member(0, "TRAILER!!!", 0)
    with open(path, "wb") as f:
        f.write(gzip.compress(archive, 6, mtime=0))
