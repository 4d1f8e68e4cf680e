# SPDX-License-Identifier: GPL-3.0-or-later
"""check_probe.py JSON TEXT: the JSON keeps its schema, agrees with itself, and the text of another run agrees with it."""
import collections, json, re, sys

try:
    import jsonschema
except ImportError:
    print("python3-jsonschema is not installed: run make setup")
    sys.exit(1)

report = json.load(open(sys.argv[1]))
text = open(sys.argv[2]).read()
schema = json.load(open("docs/probe.schema.json"))
wrong = []

jsonschema.Draft202012Validator.check_schema(schema)
for e in jsonschema.Draft202012Validator(schema).iter_errors(report):
    wrong.append(f"schema: {list(e.absolute_path)}: {e.message}")

words = {"traps": "trap:", "leaks": "leak", "silent": "silently", "emulated": "are answered", "right": "run without",
         "not-run": "could not"}
table = dict(re.findall(r"^SENSITIVE\((OP_\w+),.*\n\s*(WIDTH_\w+)", open("hypercalls/sensitive.def").read(), re.M))


def check(mode, cases, summary, rows):
    """One mode's cases against their summary, the text's summary, and the rows of the policy table."""
    count = collections.Counter(c["outcome"] for c in cases)
    shown = re.search(rf"^Summary: (\d+) cases of (\d+) rows of the policy table, {mode}, CPL 3\n((?: +\d+ .*\n)+)", text, re.M)
    if not shown or (int(shown[1]), int(shown[2])) != (len(cases), len(rows)):
        wrong.append(f"text: {mode}: no summary of {len(cases)} cases, {len(rows)} rows: {shown and shown[0]}")
    for outcome, word in words.items():
        if count[outcome] != summary[outcome]:
            wrong.append(f"summary: {mode}: {outcome} is {summary[outcome]}, the cases have {count[outcome]}")
        line = shown and re.search(rf"^ +(\d+) {word}", shown[3], re.M)
        if not line or int(line[1]) != count[outcome]:
            wrong.append(f"text: {mode}: {outcome}: {line and line[1]}, JSON {count[outcome]}")
    if rows != {c["op"] for c in cases}:
        wrong.append(f"{mode}: rows without a case: {rows ^ {c['op'] for c in cases}}")
    if sum(summary["rows"].values()) != len(rows):
        wrong.append(f"summary: {mode}: the rows do not add up")
    if {c["operand"] for c in cases if c["op"] == "OP_INT"} != set(range(256)):
        wrong.append(f"{mode}: INT was not tried with every vector")


check("64-bit mode", report["cases"], report["summary"], set(table))
compat = report["compatibility_mode"]
if compat["available"]:
    check("compatibility mode", compat["cases"], compat["summary"], {op for op, w in table.items() if w != "WIDTH_64"})
elif "Not tried in compatibility mode\n" not in text:
    wrong.append("text: does not say that compatibility mode was not tried")

wrong += [f"text: longer than 100 columns: {line}" for line in text.splitlines() if len(line) > 100]
wrong += [f"text: trailing space: {line}" for line in text.splitlines() if line != line.rstrip()]
for finding in report["host"]:
    if not re.search(rf"^{re.escape(finding['name'])} ", text, re.M):
        wrong.append(f"text: no finding {finding['name']}")
print("\n".join(wrong))
sys.exit(bool(wrong))
