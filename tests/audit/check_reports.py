# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold the reports of one audit against their formats and against each other.

usage: check_reports.py json|csv|sarif|diff|html|modules-json|modules-csv|modules-sarif|modules-html FILE [THE AUDIT'S JSON]
Says what is wrong and ends with 1; 77 when a validator is missing."""
import csv
import io
import json
import re
import sys
import urllib.parse


def need(ok, what):
    if not ok:
        sys.exit(what)


def schema(report, path):
    try:
        import jsonschema
    except ImportError:
        print("python3-jsonschema is not installed")
        sys.exit(77)
    with open(path) as f:
        want = json.load(f)
    jsonschema.Draft202012Validator.check_schema(want)
    errors = [f"{list(e.absolute_path)}: {e.message}" for e in jsonschema.Draft202012Validator(want).iter_errors(report)]
    need(not errors, "\n".join(errors[:5]))


def check_unreached(report):
    """The ranges add up to the counts, do not touch each other's bytes, and hold the sites that they say."""
    ranges, last = report["unreached"], -2**63
    for kind in ("sweep", "undecoded"):
        need(report["bytes"][kind] == sum(r["length"] for r in ranges if r["kind"] == kind), f"bytes: {kind}")
    need(report["bytes"]["undecoded"] == report["undecoded_bytes"], "undecoded_bytes")
    holds = lambda r, s: 0 <= s["va"] - r["va"] < r["length"]
    for r in sorted(ranges, key=lambda r: r["va"]):
        need(r["va"] >= last, f"{r['section']}+{r['offset']:#x}: overlaps another")
        last = r["va"] + r["length"]
        inside = sum(holds(r, s) for s in report["sites"])
        need(inside == r["sites"], f"{r['section']}+{r['offset']:#x}: {r['sites']} sites, {inside} listed")
    for s in report["sites"]:
        need(any(holds(r, s) for r in ranges) == (s["confidence"] == "sweep"), f"{s['section']}: confidence {s['confidence']}")
        need((s["origin"] == "replacement") == (s["confidence"] == "replacement"), "confidence of replacements")


def check_json(path, _):
    report = json.load(open(path))
    schema(report, "docs/audit-report.schema.json")
    check_unreached(report)
    for s in report["sites"]:
        at = s["address"]
        need(int(at, 16) == s["va"] % 2**64, f"{at}: va says otherwise")
        need(len(s["bytes"]) == 2 * s["length"], f"{at}: length")
        tactics = [t["tactic"] for t in s["tried"]]
        if s["tactic"] in (None, "verbatim"):
            need(not tactics, f"{at}: tactics tried for nothing")
        else:
            need(tactics[-1] == s["tactic"], f"{at}: {s['tactic']} is not the last tactic tried")
            need(len(set(tactics)) == len(tactics), f"{at}: a tactic stands twice")
        need((s["window"] is not None) == (s["tactic"] in ("in-place", "window", "window+tail", "hop", "breakpoint")),
             f"{at}: window of {s['tactic']}")


def check_modules(path, _):
    report = json.load(open(path))
    schema(report, "docs/audit-modules.schema.json")
    modules, totals = report["modules"], report["totals"]
    names = [m["name"] for m in modules]
    need(names == sorted(names, key=lambda n: n.encode()), "modules are not sorted by name")
    by_op, replacements = {}, 0
    for m in modules:
        live = [s for s in m["sites"] if s["origin"] != "replacement"]
        check_unreached(m)
        need(m["replacements"] == len(m["sites"]) - len(live), f"{m['name']}: replacements")
        need((m["message"] is None) == (m["status"] == "ok"), f"{m['name']}: message")
        for c, n in m["by_class"].items():
            need(n == sum(s["class"] == c for s in live), f"{m['name']}: {c}")
        for s in m["sites"]:
            need(len(s["bytes"]) == 2 * s["length"], f"{m['name']}: length")
        for s in live:
            by_op[s["op"]] = by_op.get(s["op"], 0) + 1
        replacements += m["replacements"]
    need(totals["by_op"] == by_op and totals["sites"] == sum(by_op.values()), "totals: by_op")
    need(totals["replacements"] == replacements and totals["modules"] == len(modules), "totals")
    need(totals["instructions"] == sum(m["instructions"] for m in modules), "totals: instructions")
    for c, n in totals["by_class"].items():
        need(n == sum(m["by_class"][c] for m in modules), f"totals: {c}")
    for status in ("damaged", "unreadable"):
        need(totals[status] == sum(m["status"] == status for m in modules), f"totals: {status}")


def check_csv(path, audit):
    raw = open(path, "rb").read()
    need(raw.endswith(b"\r\n") and raw.count(b"\n") == raw.count(b"\r\n"), "RFC 4180, 2: lines end with CRLF")
    rows = list(csv.reader(raw.decode().splitlines(), strict=True))
    need(all(len(r) == len(rows[0]) for r in rows), "RFC 4180, 4: every line has as many fields as the first")
    sites = json.load(open(audit))["sites"]
    need(len(rows) == len(sites) + 1, f"{len(rows) - 1} rows for {len(sites)} sites")
    for row, s in zip(csv.DictReader(raw.decode().splitlines()), sites):
        for field in ("address", "section", "bytes", "disassembly", "op", "mnemonic", "form", "class", "origin", "confidence", "why", "manual"):
            need(row[field] == s[field], f"{s['address']}: {field} is {row[field]!r}, not {s[field]!r}")
        for field in ("tactic", "unpatched_because"):
            need(row[field] == (s[field] or ""), f"{s['address']}: {field}")
        top = s["source"][0] if s["source"] else {"file": None, "line": None}
        need(row["file"] == (top["file"] or "") and row["line"] == str(top["line"] or ""), f"{s['address']}: file and line")
        tables = "; ".join(f"{c['table']}: {c['text']}" for c in s["context"])
        need(row["context"] == tables, f"{s['address']}: context {row['context']!r}, not {tables!r}")
        need(bool(row["inlined_at"]) == (len(s["source"]) > 1), f"{s['address']}: inlined_at")
        need(row["runtime_count"] == (str(s["runtime"]["count"]) if s["runtime"] else ""), f"{s['address']}: count")


def check_modules_csv(path, audit):
    raw = open(path, "rb").read()
    need(raw.endswith(b"\r\n") and raw.count(b"\n") == raw.count(b"\r\n"), "RFC 4180, 2: lines end with CRLF")
    lines = list(csv.reader(io.StringIO(raw.decode(), newline=""), strict=True))
    need(all(len(r) == len(lines[0]) for r in lines), "RFC 4180, 4: every line has as many fields as the first")
    rows = iter([dict(zip(lines[0], r)) for r in lines[1:]])
    for m in json.load(open(audit))["modules"]:
        if m["message"] is not None:
            row = next(rows)
            need({k: v for k, v in row.items() if v} == {"module": m["name"], "message": m["message"]}, f"{m['name']}: {row}")
        for s in m["sites"]:
            row, at = next(rows), f"{m['name']}: {s['section']}+{s['offset']:#x}"
            for field in ("section", "bytes", "disassembly", "op", "class", "origin"):
                need(row[field] == s[field], f"{at}: {field} is {row[field]!r}, not {s[field]!r}")
            need([row["module"], row["section_offset"], row["message"]] == [m["name"], str(s["offset"]), ""], f"{at}: place")
            symbol = s["symbol"] or {"name": "", "offset": ""}
            need([row["symbol"], row["offset"]] == [symbol["name"], str(symbol["offset"])], f"{at}: symbol")
            need(row["why"] and row["manual"], f"{at}: why")
            need(row["context"] == "; ".join(f"{c['table']}: {c['text']}" for c in s["context"]), f"{at}: context")
            top = s["source"][0] if s["source"] else {"file": None, "line": None}
            need(row["file"] == (top["file"] or "") and row["line"] == str(top["line"] or ""), f"{at}: file and line")
    need(next(rows, None) is None, "more rows than sites and damaged modules")


def sarif_run(path):
    """What the SARIF 2.1.0 schema requires, and what the standard says of the rest (its sections are named)."""
    log = json.load(open(path))
    need(log["version"] == "2.1.0", "3.13.2: version")
    need(len(log["runs"]) == 1, "3.13.4: runs")
    run = log["runs"][0]
    driver = run["tool"]["driver"]
    need(driver["name"] == "paravane", "3.19.8: name")
    rules = driver["rules"]
    ids = [r["id"] for r in rules]
    need(len(set(ids)) == len(ids), "3.49.3: rule ids differ")
    for r in rules:
        need(r["shortDescription"]["text"] and r["fullDescription"]["text"] and r["help"]["text"], f"{r['id']}: text")
    for i in run["invocations"]:
        need(isinstance(i["executionSuccessful"], bool), "3.20.14: executionSuccessful")
    return run, rules


def check_modules_sarif(path, audit):
    run, rules = sarif_run(path)
    artifacts, results, modules = run["artifacts"], iter(run["results"]), json.load(open(audit))["modules"]
    need(len(artifacts) - len(modules) == any("parentIndex" in a for a in artifacts), "an artifact a module, and the archive")
    for i, m in enumerate(modules):
        uri = artifacts[i]["location"]["uri"]
        need(m["name"] == "(archive)" or urllib.parse.unquote(uri).endswith(m["name"].split("/")[-1]), f"{m['name']}: artifact {uri}")
        need(artifacts[i].get("parentIndex", len(modules)) == len(modules), f"{m['name']}: 3.24.3 parentIndex")
        for s in m["sites"]:
            r, at = next(results), f"{m['name']}: {s['section']}+{s['offset']:#x}"
            need(rules[r["ruleIndex"]]["id"] == r["ruleId"] == s["op"], f"{at}: 3.27.6 ruleIndex")
            need([r["kind"], r["level"]] == ["informational", "none"], f"{at}: 3.27.9 {r['kind']}")
            (place,) = r["locations"]
            physical = place["physicalLocation"]
            need(physical["address"]["fullyQualifiedName"] == f"{s['section']}+{s['offset']:#x}", f"{at}: 3.32 address")
            need("absoluteAddress" not in physical["address"], f"{at}: a module has no address")
            target = r.get("analysisTarget", physical["artifactLocation"])
            need([target["index"], target["uri"]] == [i, uri], f"{at}: 3.4.5 index")
            if s["source"] and s["source"][0]["line"]:
                need(physical["region"] == {"startLine": s["source"][0]["line"]}, f"{at}: 3.30.5 startLine")
            if s["symbol"]:
                want = f"{s['symbol']['name']}+{s['symbol']['offset']:#x}"
                need(place["logicalLocations"][0]["fullyQualifiedName"] == want, f"{at}: 3.33.5 {want}")
    need(next(results, None) is None, "more results than sites")
    want = [(i, "error" if m["status"] == "unreadable" else "warning", note) for i, m in enumerate(modules)
            for note in m["notes"] + [m["message"]] * (m["status"] == "unreadable")]
    got = [(n["locations"][0]["physicalLocation"]["artifactLocation"]["index"], n["level"], n["message"]["text"])
           for n in run["invocations"][0]["toolExecutionNotifications"]]
    need(got == want, f"3.20.21: notifications {got}, not {want}")


def check_sarif(path, audit):
    run, rules = sarif_run(path)
    sites = json.load(open(audit))["sites"]
    need(len(run["results"]) == len(sites), "as many results as sites")
    for r, s in zip(run["results"], sites):
        at = s["address"]
        need(rules[r["ruleIndex"]]["id"] == r["ruleId"] == s["op"], f"{at}: 3.27.6 ruleIndex")
        need(r["message"]["text"], f"{at}: 3.27.11 message")
        need(r["level"] in ("none", "note", "warning", "error"), f"{at}: 3.27.10 level")
        need((r["kind"] == "fail") == (r["level"] != "none"), f"{at}: 3.27.9 only a failure has a level")
        left = s["tactic"] in ("trap", "breakpoint", "none")
        need((r["kind"] == "fail") == left, f"{at}: {r['kind']} for {s['tactic']}")
        (place,) = r["locations"]
        physical = place["physicalLocation"]
        need(re.fullmatch(r"[A-Za-z0-9._~/%-]+", physical["artifactLocation"]["uri"]), f"{at}: 3.4.3 uri")
        top = s["source"][0] if s["source"] else {"file": None, "line": None}
        need(r["properties"]["context"] == s["context"], f"{at}: context")
        need(r["properties"]["confidence"] == s["confidence"], f"{at}: confidence")
        need(all(c["text"] in r["message"]["text"] for c in s["context"]), f"{at}: context is not in the message")
        need(bool(top["file"]) == ("analysisTarget" in r), f"{at}: 3.27.13 analysisTarget")
        if top["line"]:
            need(physical["region"] == {"startLine": top["line"]}, f"{at}: 3.30.5 startLine")
        if len(s["source"]) > 1:
            frames = r["stacks"][0]["frames"]
            got = [[f["location"]["logicalLocations"][0]["name"], f["location"]["physicalLocation"]["region"]["startLine"]]
                   for f in frames]
            need(got == [[f["function"], f["line"]] for f in s["source"]], f"{at}: 3.44 stacks: {got}")
        need(int(physical["address"]["fullyQualifiedName"], 16) == int(at, 16), f"{at}: 3.32 address")
        need(physical["address"].get("absoluteAddress", 0) >= 0, f"{at}: 3.32.6 absoluteAddress")
        if s["symbol"]:
            want = f"{s['symbol']['name']}+{s['symbol']['offset']:#x}"
            need(place["logicalLocations"][0]["fullyQualifiedName"] == want, f"{at}: 3.33.5 {want}")
        if s["runtime"] and s["runtime"]["count"]:
            need(r["occurrenceCount"] == s["runtime"]["count"], f"{at}: 3.27.19 occurrenceCount")


def check_diff(path, _):
    diff = json.load(open(path))
    schema(diff, "docs/audit-diff.schema.json")
    count = {c: sum(c in s["changes"] for s in diff["sites"]) for c in ("added", "removed", "moved", "tactic")}
    for c, n in count.items():
        need(diff["counts"][c] == n, f"{c}: {diff['counts'][c]} counted, {n} listed")
    need(diff["new"]["sites"] - diff["old"]["sites"] == count["added"] - count["removed"], "added less removed")
    for s in diff["sites"]:
        need((s["old"] is None) == ("added" in s["changes"]), "only what is added has no old place")
        need((s["new"] is None) == ("removed" in s["changes"]), "only what is removed has no new place")


def page_data(path):
    """The page asks for nothing outside."""
    page = open(path, encoding="utf-8").read()
    need(len(page) < 5 << 20, "5 MiB")
    code = re.sub(r'<script type="application/json" id="data">.*?</script>', "", page, flags=re.S)
    need(not re.search(r"""(src|href|action)\s*=\s*["']?(?!#)|url\(|@import|fetch\(|XMLHttp|WebSocket""", code),
         "the page refers to something outside it")
    need("http://" not in code.replace("http://www.w3.org/2000/svg", "") and "https://" not in code, "an address")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def check_modules_html(path, audit):
    data, report = page_data(path), json.load(open(audit))
    texts, modules = data["texts"], report["modules"]
    need(data["totals"] == report["totals"] and data["source"] == report["source"], "totals")
    need(len(data["modules"]) == len(modules), "as many rows as modules")
    left_out = 0
    for row, m in zip(data["modules"], modules):
        name, state, width, compression, instructions, undecoded, counts, message, windows, notes, sites = row
        need([name, ["ok", "damaged", "unreadable"][state], width] == [m["name"], m["status"], m["width"]], f"{m['name']}: {row[:3]}")
        need([texts[compression], instructions, undecoded] == [m[k] for k in ("compression", "instructions", "undecoded_bytes")],
             f"{name}: instructions")
        need(counts == [m["by_class"][c] for c in data["classes"]] + [m["replacements"]], f"{name}: counts")
        need((texts[message] if message >= 0 else None) == m["message"] and [texts[n] for n in notes] == m["notes"], f"{name}: notes")
        need(windows == (m["patched"]["windows"] if m["patched"] else -1), f"{name}: windows")
        left_out += len(m["sites"]) - len(sites)
        for r, s in zip(sites, m["sites"]):
            section, offset, op, symbol, symbol_offset, origin, insn, code = r[:8]
            at = f"{name}: {s['section']}+{s['offset']:#x}"
            need([texts[section], offset, data["ops"][op]["id"]] == [s["section"], s["offset"], s["op"]], f"{at}: place and op")
            need([data["origins"][origin], texts[insn], texts[code]] == [s["origin"], s["disassembly"], s["bytes"]], f"{at}: code")
            need(([texts[symbol], symbol_offset] if symbol >= 0 else None) == (list(s["symbol"].values()) if s["symbol"] else None),
                 f"{at}: symbol")
            source, tables = r[8:] or [-1, []]
            if data["lines"]:
                shown = texts[source] if source >= 0 else ""
                need(bool(shown) == bool(s["source"]), f"{at}: source")
                need(all(f["function"] in shown and (f["file"] or "?") in shown for f in s["source"]), f"{at}: {shown!r}")
                need([[texts[i] for i in t] for t in tables] == [[c["table"], c["text"]] for c in s["context"]], f"{at}: tables")
    need(data["left_out"] == left_out, f"left_out is {data['left_out']}, not {left_out}")


def check_html(path, audit):
    """The data inside the page is the audit's."""
    data = page_data(path)
    if data["kind"] == "diff":
        return
    report = json.load(open(audit))
    sites, texts = report["sites"], data["texts"]
    need(data["bytes"] == report["bytes"], "bytes")
    need([[data["sections"][r[0]]["name"], r[1], r[2], r[5], r[6]] for r in data["unreached"]] ==
         [[r["section"], r["offset"], r["length"], r["kind"], r["sites"]] for r in report["unreached"]], "unreached")
    need(len(data["sites"]) == len(sites), "as many rows as sites")
    for row, s in zip(data["sites"], sites):
        at = s["address"]
        section = data["sections"][row[0]]
        need(int(section["va"], 16) + row[1] == int(at, 16), f"{at}: section and offset")
        need(data["ops"][row[3]]["id"] == s["op"], f"{at}: op")
        need(row[7] == -1 if s["tactic"] is None else data["tactics"][row[7]] == s["tactic"], f"{at}: tactic")
        need(texts[row[9]] == s["disassembly"], f"{at}: disassembly")
        need([texts[t[1]] for t in row[11]] == [t["outcome"] for t in s["tried"]], f"{at}: tactics tried")
        if row[8] >= 0:
            va, length, stub, before, after, listing = data["windows"][row[8]]
            need(va == s["window"]["va"] and length == s["window"]["length"], f"{at}: window")
            need(sum(len(texts[i[1]]) for i in before) <= 2 * length, f"{at}: before")
            need(sum(len(texts[i[1]]) for i in after if 0 <= i[0] < length) == 2 * length, f"{at}: after")
            need((stub >= 0) == bool(listing) == (s["tactic"] != "breakpoint"), f"{at}: stub")
        shown = texts[row[13]] if row[13] >= 0 else ""
        for f in s["source"]:
            place = f"{f['file'] or '?'}{':' + str(f['line']) if f['line'] else ''}{' in ' + f['function'] if f['function'] else ''}"
            need(place in shown, f"{at}: {place} is not in {shown!r}")
        need([[texts[i] for i in c] for c in row[17]] == [[c["table"], c["text"]] for c in s["context"]], f"{at}: context")
        need(row[18] == s["confidence"], f"{at}: confidence")
        need(bool(shown) == bool(s["source"]), f"{at}: source")
        need(row[14] == (s["runtime"]["count"] if s["runtime"] else -1), f"{at}: count")


check = {"json": check_json, "csv": check_csv, "sarif": check_sarif, "diff": check_diff, "html": check_html,
         "modules-json": check_modules, "modules-csv": check_modules_csv, "modules-sarif": check_modules_sarif,
         "modules-html": check_modules_html}
check[sys.argv[1]](sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
