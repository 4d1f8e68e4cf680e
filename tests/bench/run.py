#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speed beside the host itself and beside QEMU: `make bench`.

Runs tests/bench's program natively (on one CPU, as the guest has one; a 64-bit build of it where the host executes no
32-bit code), under paravane and under
qemu-system-i386 -accel tcg with the same kernel, initrd and memory; the runs alternate. Takes medians, prints the
table with the targets, and writes results.json, results.md and bench.svg into docs/bench/. Judges nothing: the exit
status says only whether every run came to its end.

Environment: RUNS (3), BUDGET (ms a row, 250), BIG (MiB of the big buffers, 1024), MEMORY (MiB of the guests, 512; the
rows with a big buffer get another guest, with BIG + 512), KERNEL (686), MODES (of paravane: "default" for none, one of --mode's, or "user-" and one of --user's; the first is the one compared), ROWS (names or beginnings, commas between; -NAME leaves out; all),
IDLE (seconds, 10; 0 leaves boot and idle out), OUT (docs/bench), B (build/rel), UML (a User Mode Linux; linux.uml of
the PATH),
KEEP (a directory that gets the patched kernel and the initrd).
"""
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import chart
import initrd
import targets

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HANG = 900  # seconds after which a run has stopped; a guard, not a measure


def env(name, standard):
    return type(standard)(os.environ.get(name) or standard)  # the standard says the type


B = env("B", "build/rel")
RUNS, BUDGET, BIG, MEMORY = env("RUNS", 3), env("BUDGET", 250), env("BIG", 1024), env("MEMORY", 512)
IDLE, KERNEL, MODES, ROWS = env("IDLE", 10), env("KERNEL", "686"), env("MODES", "default").split(), env("ROWS", "")
OUT = env("OUT", "docs/bench")
IDLE_MEMORY = 256
# Above some 700 MiB a 32-bit kernel has high memory, which it maps page by page: other rows would show that too.
BIG_ROWS = ("fault-huge", "random-access")
GUESTS = "build/guests"
# What the recipe has paravane add, so that QEMU's kernel does the same work at boot.
QEMU_APPEND = "noreplace-smp noisapnp"


class RunFailed(Exception):
    pass


def note(text):
    print("bench: " + text, file=sys.stderr, flush=True)


def rows_of(lines):
    found = {}
    for line in lines:
        row = re.fullmatch(r"([a-z0-9-]+)\t(?:([0-9.]+)|failed.*)", line.strip())  # "-": not possible there
        if row and row[2]:
            found[row[1]] = float(row[2])
        elif row:
            note(line.strip().replace("\t", ": "))
    return found


def native_build():
    """What the column is called, and the program: the guest's own, if the host can execute it."""
    try:
        subprocess.run([f"{B}/bench/bench", "--exit"], check=True)
        return "N", f"{B}/bench/bench"
    except (OSError, subprocess.CalledProcessError):
        return targets.ORIENTATION, f"{B}/bench/bench64"


def native(work):
    column, program = native_build()
    busybox = f"{work}/busybox" if column == "N" else shutil.which("busybox")
    command = [program, "-m", str(BUDGET), "-b", str(BIG), "-d", work] + (["-x", busybox] if busybox else [])
    cpu = max(os.sched_getaffinity(0))
    done = subprocess.run(command + ["--"] + [r for r in ROWS.split(",") if r], stdin=subprocess.DEVNULL,
                          timeout=HANG, stdout=subprocess.PIPE, text=True,
                          preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
    return rows_of(done.stdout.splitlines())


def qemu(work, memory, append):
    return ["qemu-system-i386", "-accel", "tcg", "-nographic", "-no-reboot", "-m", str(memory),
            "-kernel", f"{GUESTS}/vmlinuz-{KERNEL}", "-initrd", f"{work}/initrd.gz",
            "-append", f"console=ttyS0 {QEMU_APPEND} {append}"]


def paravane(mode):
    def command(work, memory, append):
        how = "user" if mode.startswith("user-") else "mode"
        options = [] if mode == "default" else ["--" + how, mode.removeprefix("user-")]
        return [f"{B}/paravane", "run", f"{work}/vmlinux.pv", "--memory", f"{memory}M", *options,
                "--initrd", f"{work}/initrd.gz", "--append", f"console=ttyS0 {append}"]
    return command


def is_64_bit(program):
    with open(program, "rb") as f:
        return f.read(5) == b"\x7fELF\x02"  # EI_CLASS


def uml(program):
    """A 64-bit one runs the 64-bit build, and no busybox."""
    def command(work, memory, append):
        archive = "initrd64.gz" if is_64_bit(program) else "initrd.gz"
        return [program, f"mem={memory}M", f"initrd={work}/{archive}", "con=null", "con0=null,fd:1",
                "console=tty0"] + append.split()
    return command


def cpu_seconds(pid):
    """CPU time of a process, its threads and its living descendants."""
    total = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0]) / 1e9
            with open(f"/proc/{pid}/task/{task}/children") as f:
                total += sum(cpu_seconds(int(child)) for child in f.read().split())
    except FileNotFoundError:
        pass  # gone between the listing and the reading
    return total


def until(process, marker, lines):
    """Reads the console up to the marker."""
    for line in process.stdout:
        lines.append(line)
        if marker in line:
            return
    raise RunFailed("the guest ended before %s; its last lines:\n%s" % (marker, "".join(lines[-25:])))


class Guest:
    """One boot. Ends the process (only this one) when left."""

    def __init__(self, command):
        self.lines, self.start = [], time.monotonic()
        self.process = subprocess.Popen(["timeout", "-k", "10", str(HANG)] + command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()

    def wait_for(self, marker):
        until(self.process, marker, self.lines)
        return time.monotonic() - self.start


def one_guest(command, work, memory, rows):
    append = f"budget={BUDGET} big={BIG}" + (f" rows={rows}" if rows else "")
    with Guest(command(work, memory, append)) as guest:
        guest.wait_for("BENCH-INIT")
        guest.wait_for("BENCH-DONE")
        return rows_of(guest.lines)


def guest_rows(command, work):
    names = [r for r in ROWS.split(",") if r]
    got = one_guest(command, work, MEMORY, ",".join(names + ["-" + r for r in BIG_ROWS]))
    picked = [r for r in names if not r.startswith("-")]
    big = [r for r in BIG_ROWS if "-" + r not in names and (not picked or any(r.startswith(p) for p in picked))]
    if big:
        got.update(one_guest(command, work, BIG + 512, ",".join(big)))
    return got


def boot_and_idle(command, work):
    with Guest(command(work, IDLE_MEMORY, "bench=idle")) as guest:
        boot = guest.wait_for("BENCH-INIT")
        time.sleep(2)  # what the kernel still had to do
        before, start = cpu_seconds(guest.process.pid), time.monotonic()
        time.sleep(IDLE)
        used, wall = cpu_seconds(guest.process.pid) - before, time.monotonic() - start
        return {"boot": boot * 1e9, "idle": 100 * used / wall}


def prepare(work):
    for f in (f"{GUESTS}/vmlinuz-{KERNEL}", f"{GUESTS}/busybox", f"{B}/bench/bench", f"{B}/bench/bench64",
              f"{B}/paravane"):
        if not os.path.exists(f):
            sys.exit(f"bench: {f} is absent: run make bench, which builds it")
    if not shutil.which("qemu-system-i386"):
        sys.exit("bench: qemu-system-i386 is not installed: run make setup")
    initrd.write(f"{work}/initrd.gz", f"{B}/bench/bench", f"{GUESTS}/busybox")
    initrd.write(f"{work}/initrd64.gz", f"{B}/bench/bench64")
    shutil.copy(f"{GUESTS}/busybox", f"{work}/busybox")
    subprocess.run([f"{B}/paravane", "patch", f"{GUESTS}/vmlinuz-{KERNEL}", "-o", f"{work}/vmlinux.pv"],
                   check=True, stdout=subprocess.DEVNULL)


def run_all(work, machines):
    samples = {name: {} for name in machines}
    failed = False
    for i in range(RUNS):
        for name, command in machines.items():
            start = time.monotonic()
            try:
                got = guest_rows(command, work) if command else native(work)
                if command and IDLE:
                    got.update(boot_and_idle(command, work))
            except RunFailed as e:
                note(f"{name}: {e}")
                failed = True
                continue
            for row, value in got.items():
                samples[name].setdefault(row, []).append(value)
            note("run %d of %d, %s: %d rows in %.0f s; load %.1f" %
                 (i + 1, RUNS, name, len(got), time.monotonic() - start, os.getloadavg()[0]))
    return samples, failed


def machine_names():
    machines = {"native": None, "paravane": paravane(MODES[0]), "qemu": qemu}
    for mode in MODES[1:]:
        machines["paravane " + mode] = paravane(mode)
    found = os.environ.get("UML") or shutil.which("linux.uml")
    if found:
        machines["uml 64-bit" if is_64_bit(found) else "uml"] = uml(found)
    else:
        note("no User Mode Linux (Debian's user-mode-linux): UML=PATH names one")
    return machines


def host():
    with open("/proc/cpuinfo") as f:
        models = [line.split(":", 1)[1].strip() for line in f if line.startswith("model name")]
    version = subprocess.run(["qemu-system-i386", "--version"], stdout=subprocess.PIPE, text=True, check=True)
    return {"cpu": models[0] if models else "unknown", "cpus": os.cpu_count(), "kernel": os.uname().release,
            "qemu": version.stdout.split()[3], "load": os.getloadavg()[0]}


def geometric_mean(medians):
    ratios = [medians["native"][r] / v for r, v in medians["paravane"].items() if r in medians["native"]]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def main():
    os.chdir(ROOT)
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # the guest's files are on tmpfs too
    with tempfile.TemporaryDirectory(prefix="paravane-bench-", dir=base) as work:
        prepare(work)
        if os.environ.get("KEEP"):
            shutil.copytree(work, os.environ["KEEP"], dirs_exist_ok=True)
        samples, failed = run_all(work, machine_names())
    medians = {m: {r: statistics.median(v) for r, v in rows.items()} for m, rows in samples.items()}
    column = native_build()[0]
    result = {"host": host(), "runs": RUNS, "budget_ms": BUDGET, "big_mib": BIG, "memory_mib": MEMORY,
              "kernel": KERNEL, "modes": MODES, "native": column, "native_means": targets.native_means(column),
              "geometric_mean": geometric_mean(medians),
              "medians": medians, "samples": samples}
    table = targets.table(result)
    print(table)
    os.makedirs(OUT, exist_ok=True)
    with open(f"{OUT}/results.json", "w") as f:
        json.dump(result, f, indent=1)
        f.write("\n")
    with open(f"{OUT}/results.md", "w") as f:
        f.write(targets.document(result, table))
    with open(f"{OUT}/bench.svg", "w") as f:
        f.write(chart.svg(result))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
