#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds the ORC rows of an audit against the tables of the ELF, read here anew in the layout of Linux 4.14 to 6.2.

usage: check_orc.py VMLINUX AUDIT.json
"""
import bisect
import json
import struct
import sys


def sections(elf):
    shoff, n, strndx = struct.unpack_from("<Q", elf, 40)[0], *struct.unpack_from("<HH", elf, 60)
    heads = [struct.unpack_from("<IIQQQQ", elf, shoff + 64 * i) for i in range(n)]
    names = heads[strndx][4]
    return {elf[names + h[0]:elf.index(b"\0", names + h[0])].decode(): (h[3], elf[h[4]:h[4] + h[5]]) for h in heads}


def entry(raw):
    sp_off, bp_off, bits = struct.unpack("<hhH", raw)
    sp, bp, kind = bits & 15, bits >> 4 & 15, bits >> 8 & 3
    if not sp:
        return ("end of stack" if bits >> 10 & 1 else "undefined", None, None)
    form = {2: "dx%+d", 3: "di%+d", 4: "bp%+d", 5: "sp%+d", 6: "r10%+d", 7: "r13%+d", 8: "(bp%+d)", 9: "(sp)%+d"}[sp]
    saved = {0: None, 1: f"prevsp{bp_off:+d}", 4: f"bp{bp_off:+d}"}[bp]
    return ("call", "regs", "regs (partial)")[kind], form % sp_off, saved if kind == 0 else None


def main():
    elf = sections(open(sys.argv[1], "rb").read())
    base, ip = elf[".orc_unwind_ip"]
    entries = elf[".orc_unwind"][1]
    at = [base + 4 * i + struct.unpack_from("<i", ip, 4 * i)[0] for i in range(len(ip) // 4)]
    checked = 0
    for site in json.load(open(sys.argv[2]))["sites"]:
        rows = [c["orc"] for c in site["context"] if c["table"] == "ORC"]
        if len(rows) != 1:
            sys.exit(f"{site['address']}: {len(rows)} rows of ORC")
        if site["origin"] == "replacement":
            continue
        i = bisect.bisect_right(at, site["va"] % 2**64) - 1
        want = entry(entries[6 * i:6 * i + 6]) if i >= 0 else ("no entry", None, None)
        got = (rows[0]["type"], rows[0]["sp"], rows[0]["bp"])
        if got != want:
            sys.exit(f"{site['address']}: {got}, the table has {want}")
        checked += 1
    print(checked, "sites as in the table")
    return checked < 1000


sys.exit(main())
