# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold the source lines of an audit against binutils' addr2line, which reads DWARF by code of its own.

usage: check_lines.py JSON DEBUGFILE [NUMBER]
Compares function, file and line of NUMBER sites taken at random (without it: of all), with every function that the
code was inlined into. The seed is fixed, so that a difference comes again. Replacements are left out: compilers give them
no lines. Where addr2line says something else LLVM's is asked too, which is a third reader: what it says with the audit is
listed as addr2line's mistake (binutils 2.40 takes the file of some inline functions from the unit). Ends with 1 if any
other site differs."""
import json
import os
import random
import re
import shutil
import subprocess
import sys


def addr2line(program, path, addresses):
    """For each address its frames: [function, file, line]."""
    out = subprocess.run([program, "-a", "-i", "-f", "-e", path], input="".join(f"{a}\n" for a in addresses),
                         capture_output=True, text=True, check=True).stdout.splitlines()
    frames = []
    i = 0
    while i < len(out):
        if re.fullmatch(r"0x[0-9a-f]+", out[i]):
            frames.append([])
            i += 1
            continue
        where = re.match(r"(.*):(\d+|\?)(?: \(discriminator \d+\))?$", out[i + 1])
        frames[-1].append([out[i], where[1], 0 if where[2] == "?" else int(where[2])])
        i += 2
    return frames


def same_file(a, b):
    """addr2line puts the unit's directory before relative names, libdw does not always."""
    a, b = os.path.normpath(a), os.path.normpath(b)
    short, long = sorted((a, b), key=len)
    return short == long or long.endswith("/" + short)


def differs(ours, theirs):
    ours = [[f["function"] or "??", f["file"] or "??", f["line"] or 0] for f in ours] or [["??", "??", 0]]
    if len(ours) != len(theirs):
        return "number of functions"
    for o, t in zip(ours, theirs):
        if o[0] != t[0] and o[0] != "??":
            return "function"  # addr2line takes a symbol where the DWARF names none
        if not same_file(o[1], t[1]):
            return "file"
        if o[2] != t[2]:
            return "line"
    return None


def main():
    sites = [s for s in json.load(open(sys.argv[1]))["sites"] if s["origin"] != "replacement"]
    if len(sys.argv) > 3:
        sites = random.Random(1).sample(sites, min(int(sys.argv[3]), len(sites)))
    theirs = addr2line("addr2line", sys.argv[2], [s["address"] for s in sites])
    third = shutil.which("llvm-addr2line-14") or shutil.which("llvm-addr2line")
    bad = mistakes = lines = inlined = 0
    for s, t in zip(sites, theirs, strict=True):
        lines += bool(s["source"] and s["source"][0]["line"])
        inlined += len(s["source"]) > 1
        why = differs(s["source"], t)
        if not why:
            continue
        mistake = third and not differs(s["source"], addr2line(third, sys.argv[2], [s["address"]])[0])
        mistakes += bool(mistake)
        bad += not mistake
        print(f"{s['address']}: {why}: {s['source']}, addr2line: {t}{', LLVM as the audit' if mistake else ''}")
    print(f"{len(sites)} sites compared, {lines} of them with a line, {inlined} in inlined code: {bad} differ, "
          f"{mistakes} are mistakes of addr2line")
    sys.exit(1 if bad or not lines else 0)


main()
