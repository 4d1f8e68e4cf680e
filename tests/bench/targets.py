# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows, what one operation of each is, and how fast each has to be; the table that says so."""

# Column N where the host executes no 32-bit code. It is another program: no target is hit or missed against it.
ORIENTATION = "N64"
ORIENTATION_MEANS = "a 64-bit build, for orientation"

# name: (what, kind, factor). N: at most factor times native. Q: at most factor times QEMU. P: at most, itself.
ROWS = {
    "sieve": ("primes below 65,536", "N", 1.03),
    "sha256": ("16 KiB", "N", 1.03),
    "recursion": ("fib(20)", "N", 1.03),
    "sort": ("qsort of 4,096, callback", "N", 1.03),
    "matrix-x87": ("32 x 32 doubles", "N", 1.03),
    "matrix-sse": ("64 x 64 floats", "N", 1.03),
    "memcpy": ("1 MiB", "N", 1 / 0.8),
    "null-vdso": ("getppid by AT_SYSINFO", "N", 1.5),
    "null-int80": ("getppid by int $0x80", None, None),
    "read-1": ("/dev/zero", "N", 2),
    "write-1": ("/dev/zero", "N", 2),
    "read-4k": ("/dev/zero", "N", 2),
    "stat": ("a file on tmpfs", "N", 2),
    "signal": ("kill itself, handler, return", "Q", 1 / 6),
    "fault-anon": ("a page, with its share of mmap and munmap", "Q", 0.8),
    "fault-huge": ("a page of the big buffer, huge pages", "Q", 1 / 3),
    "fault-file": ("a page of a file in the page cache", "Q", 1.5),
    "mmap-munmap": ("16 pages, one touched", None, None),
    "random-access": ("a word of the big buffer", "Q", 1 / 4),
    "fork-exit": ("fork, _exit, wait", "Q", 1 / 2.5),
    "vfork-exec": ("this program, static", "Q", 1 / 2.5),
    "sh-true": ("busybox sh -c true", "Q", 1 / 2.5),
    "shell-loop": ("one of 200 processes of a shell loop", "Q", 1 / 2.5),
    "pipe-pingpong": ("a byte there and back, two processes", "Q", 1 / 10),
    "pipe-bandwidth": ("64 KiB", "N", 1 / 0.8),
    "processes-20": ("a turn; 32 resident pages each", "Q", 1 / 4),
    "threads-tls": ("a turn; 8 threads", "Q", 1 / 4),
    "file-write": ("4 KiB", None, None),
    "file-read": ("4 KiB", None, None),
    "file-create": ("create, close, unlink", None, None),
    "boot": ("start to init, 256 MiB", "Q", 1 / 10),
    "idle": ("% of a core, guest at rest", "P", 1),
}


def limit(kind, factor):
    if kind is None:
        return "-"
    if kind == "P":
        return "under %g %%" % factor
    if kind == "Q" and factor < 0.5:
        return "Q/%g" % round(1 / factor, 2)
    return "%g %s" % (factor, kind)


def verdict(row, medians, column):
    """hit, miss, or - where nothing is asked or something was not measured; a ratio where N is not N"""
    kind, factor = ROWS.get(row, ("", None, None))[1:]
    mine = medians["paravane"].get(row)
    other = {"N": medians["native"].get(row), "Q": medians["qemu"].get(row), "P": 1}.get(kind)
    if mine is None or other is None:
        return "-"
    if kind == "N" and column == ORIENTATION:
        return f"{ratio(mine, other)} {ORIENTATION}"
    return "hit" if mine <= other * factor else "**miss**"


def show(row, value):
    if value is None:
        return "-"
    if row == "idle":
        return "%.2f %%" % value
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if value >= size:
            return "%.3g %s" % (value / size, unit) if value < 1000 * size else "%.0f %s" % (value / size, unit)
    return "%.3g ns" % value


def ratio(a, b):
    return "-" if a is None or not b else "%.2f" % (a / b) if a / b < 100 else "%.0f" % (a / b)


def mean_line(mean, column):
    if column == ORIENTATION:
        return f"Geometric mean of {column}/paravane: {mean:.2f} ({column}: {ORIENTATION_MEANS}; the target is 0.5 of N)"
    return f"Geometric mean of N/paravane: {mean:.2f} (target 0.5: {'hit' if mean >= 0.5 else '**miss**'})"


def table(result):
    medians, column = result["medians"], result["native"]
    others = [m for m in medians if m not in ("native", "paravane", "qemu")]
    lines = ["| " + " | ".join(["row", "one operation", column, "paravane", "Q", f"paravane/{column}", "Q/paravane",
                                "target", "", *others]) + " |", "|" + " --- |" * (9 + len(others))]
    names = list(ROWS) + [r for r in medians["paravane"] if r not in ROWS]
    for row in names:
        n, p, q = (medians[m].get(row) for m in ("native", "paravane", "qemu"))
        if n is None and p is None and q is None:
            continue
        what, kind, factor = ROWS.get(row, ("", None, None))
        cells = [row, what, show(row, n), show(row, p), show(row, q), ratio(p, n), ratio(q, p), limit(kind, factor),
                 verdict(row, medians, column)] + [show(row, medians[m].get(row)) for m in others]
        lines.append("| " + " | ".join(cells) + " |")
    if column == ORIENTATION:
        lines.append(f"\n{column}: {ORIENTATION_MEANS}; this host executes no 32-bit code.")
    if result["geometric_mean"]:
        lines.append("\n" + mean_line(result["geometric_mean"], column))
    return "\n".join(lines)


def native_means(column):
    if column == ORIENTATION:
        return f"{ORIENTATION}: {ORIENTATION_MEANS}, on the host itself"
    return "N: the same binary on the host itself"


def document(result, text):
    h = result["host"]
    return f"""# Results

Written by `make bench`; [README.md](README.md) says how it measures.
{native_means(result["native"])}.
Q: QEMU {h["qemu"]} TCG. Medians of {result["runs"]} runs, {result["budget_ms"]} ms a row; kernel {result["kernel"]},
{result["memory_mib"]} MiB, big buffer {result["big_mib"]} MiB (in a guest with 512 MiB more).

Host: {h["cpu"]}, {h["cpus"]} CPUs, Linux {h["kernel"]}, load {h["load"]:.1f} at the end.

![paravane and QEMU, as multiples of native](bench.svg)

{text}
"""
