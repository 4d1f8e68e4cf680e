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

count = collections.Counter(c["outcome"] for c in report["cases"])
words = {"traps": "trap:", "leaks": "leak", "silent": "silently", "emulated": "are answered", "right": "run without",
         "not-run": "could not"}
for outcome, word in words.items():
    if count[outcome] != report["summary"][outcome]:
        wrong.append(f"summary: {outcome} is {report['summary'][outcome]}, the cases have {count[outcome]}")
    shown = re.search(rf"^ +(\d+) {word}", text, re.M)
    if not shown or int(shown[1]) != count[outcome]:
        wrong.append(f"text: {outcome}: {shown and shown[1]}, JSON {count[outcome]}")

rows = set(re.findall(r"^SENSITIVE\((OP_\w+)", open("hypercalls/sensitive.def").read(), re.M))
if rows != {c["op"] for c in report["cases"]}:
    wrong.append(f"rows without a case: {rows - {c['op'] for c in report['cases']}}")
if sum(report["summary"]["rows"].values()) != len(rows):
    wrong.append("summary: the rows do not add up")
if {c["operand"] for c in report["cases"] if c["op"] == "OP_INT"} != set(range(256)):
    wrong.append("INT was not tried with every vector")

wrong += [f"text: longer than 100 columns: {line}" for line in text.splitlines() if len(line) > 100]
wrong += [f"text: trailing space: {line}" for line in text.splitlines() if line != line.rstrip()]
for finding in report["host"]:
    if not re.search(rf"^{re.escape(finding['name'])} ", text, re.M):
        wrong.append(f"text: no finding {finding['name']}")
print("\n".join(wrong))
sys.exit(bool(wrong))
