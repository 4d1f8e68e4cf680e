# SPDX-License-Identifier: GPL-3.0-or-later
"""check_pe.py IMAGE JSON MISSED: the unmistakable sensitive instructions that objdump finds in .text are sites of the audit,
with their bytes, but for MISSED: constants that stand between the code, and code of another width. Of a bzImage the
compressed payload, which stands in .text too, has no site."""
import json, re, struct, subprocess, sys

image, report, limit = sys.argv[1], json.load(open(sys.argv[2])), int(sys.argv[3])
data = open(image, "rb").read()
wanted = re.compile(r"(cli|sti|hlt|cpuid|rdmsr|wrmsr|rdtsc|lgdt|lidt|pushf|popf|iret)[lqd]?\b")
headers = subprocess.run(["objdump", "-h", image], capture_output=True, text=True, check=True).stdout
_, _, _, vma, _, offset, _ = re.search(r"^ *\d+ \.text .*$", headers, re.M)[0].split()
delta = int(vma, 16) - int(offset, 16)
payload = range(0)
if data[0x202:0x206] == b"HdrS":
    start = (data[0x1f1] + 1) * 512 + struct.unpack_from("<I", data, 0x248)[0] + delta
    payload = range(start, start + struct.unpack_from("<I", data, 0x24C)[0])

sites = {s["va"] & (1 << 64) - 1: s["bytes"] for s in report["sites"]}
code = subprocess.run(["objdump", "-d", "-j", ".text", image], capture_output=True, text=True, check=True).stdout
found = 0
missed = []
wrong = [f"{hex(va)} is in the payload" for va in sites if va in payload]
for line in code.splitlines():
    part = line.split("\t")
    if len(part) < 3 or not wanted.match(part[2]):
        continue
    va, bytes = int(part[0].strip(" :"), 16), part[1].replace(" ", "")
    if va in payload:
        continue
    found += 1
    if sites.get(va) != bytes:
        missed.append(f"{hex(va)}: objdump has {bytes} {part[2]}, the audit {sites.get(va)}")
if len(missed) > limit:
    wrong += missed
if found < 10:
    wrong.append(f"objdump finds {found} in all")
print("\n".join(wrong))
sys.exit(bool(wrong))
