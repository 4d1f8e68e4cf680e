#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a row's time goes under paravane: tests/bench/attribute.py ROW PASSES [ROW PASSES]...

Boots twice a row, with PASSES and with three times as many passes, and prints the difference of the two `--stats`
reports for one operation: exits and milliseconds by reason, hypercalls, host calls, hottest sites. What both boots
do alike cancels out. Counts are exact; times are only as quiet as the machine. Environment as for run.py: MEMORY, BIG, KERNEL, MODES (the first).
"""
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import run

PER = {"fault-anon": 1024, "fault-file": 1024, "shell-loop": 200, "processes-20": 20, "threads-tls": 8}


def stats(command, row, passes):
    """{(section, line): (count, ms)}, and nanoseconds an operation as the program has it"""
    done = subprocess.run(command + ["--append", f"console=ttyS0 big={run.BIG} rows={row} passes={passes}", "--stats"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=run.HANG)
    found, section = {}, ""
    for line in done.stdout.partition("statistics of the run")[2].splitlines():
        if line.startswith("  "):
            name, *numbers = re.split(r"\s{2,}", re.sub(r"(\D)\s(\d[\d.]*)$", r"\1  \2", line.strip()))
            if section.startswith("hottest"):
                name, numbers = "  ".join([name] + numbers[:-1]), numbers[-1:]
            try:
                found[section, name] = [float(v.split()[0]) for v in numbers[:2]] + [0.0]
            except (ValueError, IndexError):
                continue
        else:
            section = line.split("  ")[0].split(" (")[0]
    return found, run.rows_of(done.stdout.splitlines()).get(row)


def attribute(command, row, passes):
    few, _ = stats(command, row, passes)
    many, ns = stats(command, row, 3 * passes)
    operations = 2 * passes * PER.get(row, run.BIG * 256 if row in run.BIG_ROWS[:1] else 1)
    print(f"== {row}: {ns} ns; of one operation:")
    before = None
    for (section, name), value in many.items():
        count = (value[0] - few.get((section, name), [0])[0]) / operations
        if count < 0.004:
            continue
        if section != before:
            print(section)
            before = section
        us = (value[1] - few.get((section, name), [0, 0])[1]) * 1000 / operations
        print(f"  {name:60.60} {count:10.2f}" + (f" {us:10.2f} us" if section.startswith("exits") else ""))


def main():
    pairs = list(zip(sys.argv[1::2], map(int, sys.argv[2::2])))
    with tempfile.TemporaryDirectory(prefix="paravane-bench-") as work:
        run.prepare(work)
        for row, passes in pairs:
            memory = run.BIG + 512 if row in run.BIG_ROWS else run.MEMORY
            attribute(run.paravane(run.MODES[0])(work, memory, "")[:-2], row, passes)


if __name__ == "__main__":
    run.os.chdir(run.ROOT)
    main()
