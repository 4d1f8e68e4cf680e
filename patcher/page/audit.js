/* SPDX-License-Identifier: GPL-3.0-or-later */
/* --- an audit ------------------------------------------------------------------------------------------------ */
const reachedFrom = {
	table: "the entry point or a table of the kernel: control flow leads here",
	symbol: "only a symbol or a relocated word: it may be data",
	run: "a run, which executed it; nothing else leads here",
	sweep: "the linear sweep alone: nothing that names code leads here",
	replacement: "nowhere yet: a replacement, live once the kernel copies it over an alternative",
};

function unpackSites() {
	const text = i => i < 0 ? "" : D.texts[i];
	const wide = D.width === 64, digits = wide ? 16 : 8;
	const bases = D.sections.map(s => wide ? BigInt("0x" + s.va) : parseInt(s.va, 16));
	return D.sites.map((s, index) => {
		const [section, offset, length, op, symbol, symbolOffset, origin, tactic, window, insn, reason, tries, code, source, seen, kind, why, tables, confidence] = s;
		const name = text(symbol), va = bases[section] + (wide ? BigInt(offset) : offset);
		return { index, section, offset, length, op: D.ops[op], name, symbol: name ? name + "+0x" + symbolOffset.toString(16) : "", origin: D.origins[origin], confidence,
			tactic: tactic < 0 ? "unplanned" : D.tactics[tactic], window, insn: text(insn), reason: text(reason), tries, code, tables: tables.map(([table, what]) => [text(table), text(what)]), source: text(source),
			seen, kind: text(kind), why: text(why), va, address: va.toString(16).padStart(digits, "0") };
	});
}

/* Lines of [offset, bytes, text, guest offset]; equal lines in a row (int3 behind a jump) become one. */
function listing(title, base, lines, isHit, note) {
	const pre = element("pre", { tabindex: 0 }), widest = Math.min(24, Math.max(...lines.map(l => D.texts[l[1]].length), 2));
	const hex = n => (BigInt(base) + BigInt(n)).toString(16).padStart(8, "0");
	for (let i = 0, last = null; i < lines.length; i++) {
		const [at, bytes, text, guest] = lines[i];
		let same = 1;
		while (i + 1 < lines.length && guest === undefined && lines[i + 1][2] === text && lines[i + 1][1] === bytes) i++, same++;
		const line = element("span" + (isHit(at) ? ".hit" : ""), null, hex(at) + "  ", element("span.by", null, D.texts[bytes].padEnd(widest) + "  "), D.texts[text] + (same > 1 ? "  × " + same : ""));
		if (guest !== undefined && guest !== last) line.append(element("span.by", null, "   ; for " + (last = guest, note(guest))));
		pre.append(line, "\n");
	}
	return element("div", null, element("h3", null, title), pre);
}

/* What holds of a site of an image and of a module. */
function siteFacts(place, s) {
	const facts = [place, ["Function", s.symbol || "unknown"]];
	if (s.source) facts.push(["Source", element("div.mono", null, s.source.split(/, (?=inlined at )/).map(f => element("div", null, f)))]);
	facts.push(["Reached from", reachedFrom[s.confidence]], ["Sensitive", s.op.why + " (" + s.op.manual + ")"], ["Virtualized", s.op.meaning],
		["Served by", s.op.hypercall + ", " + s.op.lowering]);
	if (s.tables.length) facts.push(["The kernel's tables", element("div", null, s.tables.map(([table, what]) => element("div", null, element("b", null, table), ": " + what)))]);
	return facts;
}
const factList = facts => element("dl", null, facts.flatMap(([k, v]) => [element("dt", null, k), element("dd", null, v)]));

function auditDetail(s) {
	const facts = siteFacts(["Address", "0x" + s.address + ", " + s.length + (s.length === 1 ? " byte" : " bytes") + " in " + D.sections[s.section].name], s);
	if (s.reason) facts.push(["Left because", s.reason]);
	if (s.seen >= 0) facts.push(["At run time", count(s.seen) + " times, " + s.kind + (s.why ? ": " + s.why : "") + (D.run.seconds ? ", " + rate(s.seen) : "")]);
	const tries = element("div", null, element("h3", null, "Tactics tried"), s.tries.length
		? element("ol", null, s.tries.map(([t, why]) => element("li" + (D.texts[why] === "taken" ? ".taken" : ""), null, D.tactics[t] + ": " + D.texts[why])))
		: element("div.hint", null, s.tactic === "verbatim" ? "none: it runs natively as it is" : s.origin === "replacement" ? "none: nothing is live here" : "none: this image is audited only"));
	const code = element("div.code");
	if (s.window >= 0) {
		const [va, length, stub, before, after, lines] = D.windows[s.window], near = Number(s.va) - va;
		const name = guest => "0x" + (va + guest).toString(16);
		code.append(listing("Before: " + length + " bytes", va, before, at => at === near, String),
			listing("After", va, after, () => false, String));
		if (stub >= 0) code.append(listing("Stub", stub, lines, () => false, name));
	} else {
		code.append(listing(s.tactic === "verbatim" || s.tries.length ? "As it stays" : "Code", s.va, s.code, at => at === 0, String));
	}
	return element("div.detail", null, factList(facts), tries, code);
}

/* The ranges behind the two counts, the largest first. */
function unreachedSection() {
	const place = (i, offset) => (BigInt("0x" + D.sections[i].va) + BigInt(offset)).toString(16).padStart(D.width === 64 ? 16 : 8, "0");
	const rows = [...D.unreached].sort((a, b) => b[2] - a[2] || a[0] - b[0] || a[1] - b[1]);
	const words = { sweep: "read as code by the sweep", undecoded: "no reading as code" };
	const head = ["Address", "Section", "Function", "Bytes", "What", "Sites"], right = [3, 5];
	const table = () => element("table", null, element("tr", null, head.map((h, i) => element("th" + (right.includes(i) ? ".num" : ""), { scope: "col" }, h))),
		rows.map(([section, offset, length, symbol, inside, kind, sites]) => element("tr", null,
			[place(section, offset), D.sections[section].name, symbol < 0 ? "" : D.texts[symbol] + "+0x" + inside.toString(16), count(length), words[kind], sites ? count(sites) : ""]
				.map((c, i) => element("td" + (right.includes(i) ? ".num" : i ? "" : ".mono"), null, c)))));
	const details = element("details", { style: "margin-top: 12px", ontoggle: () => { if (details.open && !details.querySelector("table")) details.append(table()); } },
		element("summary", null, count(rows.length) + (rows.length === 1 ? " range" : " ranges") + ", the largest first"));
	details.id = "unreached";
	return element("section", { "aria-label": "bytes that no path reaches" }, element("h2", null, "Bytes of code by how they are reached"),
		tiles([["Reached", bytesOf(D.bytes.reached)], ["By the sweep alone", bytesOf(D.bytes.sweep)], ["Neither code nor padding", bytesOf(D.bytes.undecoded)], ["Padding", bytesOf(D.bytes.padding)]]),
		rows.length ? details : null);
}

const rate = n => D.run.seconds ? (n / D.run.seconds >= 100 ? count(Math.round(n / D.run.seconds)) : (n / D.run.seconds).toPrecision(3)) + "/s" : "";

/* What one visit of a site costs, by how it was met: the exits that such visits cause. */
const exitOf = { trap: "trap:", breakpoint: "breakpoint:", step: "single step", translated: "translated: sensitive", unverified: "page fault: execution" };

function runSection() {
	const run = D.run, exits = run.exits.reduce((n, e) => n + e[1], 0), ms = run.exits.reduce((n, e) => n + e[2], 0);
	const quote = path => /^[\w./+-]+$/.test(path) ? path : "'" + path.replaceAll("'", "'\\''") + "'";
	const command = "paravane patch " + quote(D.image) + " -o " + quote(baseName(D.image) + ".pv") + " --runtime " + quote(run.path);
	const list = [["Sites met without a stub", count(run.sites)]];
	if (run.seconds) list.push(["Guest time", run.seconds.toFixed(2), "s"]);
	if (exits) list.push(["Exits", count(exits), rate(exits)], ["Spent in them", ms.toFixed(1), "ms" + (run.seconds ? ", " + (ms / run.seconds / 10).toFixed(1) + " % of the time" : "")]);
	if (run.blocks_translated) list.push(["Blocks translated", count(run.blocks_translated), rate(run.blocks_translated)]);
	const missed = Object.entries(run.kinds).sort((a, b) => b[1] - a[1]).map(([kind, n]) => {
		const exit = run.exits.find(e => exitOf[kind] && e[0].startsWith(exitOf[kind]) && e[1]);
		return [kind, n, exit ? exit[2] / exit[1] : null];
	});
	const table = (head, rows) => element("table", null, element("tr", null, head.map((h, i) => element("th" + (i ? ".num" : ""), { scope: "col" }, h))),
		rows.map(r => element("tr", null, r.map((c, i) => element("td" + (i ? ".num" : ""), null, c)))));
	const copy = element("button", { type: "button", onclick: () => navigator.clipboard && navigator.clipboard.writeText(command).then(() => { copy.textContent = "Copied"; }) }, "Copy");
	return element("section", { "aria-label": "run report" }, element("h2", null, "The run"), tiles(list),
		element("div.tables", null,
			element("div", null, element("h3", null, "What was missed, and its cost"), table(["met as", "times", "per second", "µs each", "ms"],
				missed.map(([k, n, each]) => [k, count(n), rate(n) || "unknown", each === null ? "unknown" : (each * 1e3).toFixed(2), each === null ? "unknown" : (each * n).toFixed(1)]))),
			run.exits.length ? element("div", null, element("h3", null, "Exits by reason"), table(["reason", "times", "per second", "ms"],
				run.exits.filter(e => e[1]).sort((a, b) => b[2] - a[2]).map(e => [e[0], count(e[1]), rate(e[1]) || "unknown", e[2].toFixed(1)]))) : null),
		element("h3", { style: "margin-top: 14px" }, "Patch with what this run found"),
		element("div.command", null, element("code", null, command), copy),
		run.unknown.length ? element("details", { style: "margin-top: 12px" }, element("summary", null, count(run.unknown.length) + (run.unknown.length > 1 ? " sites" : " site") + " of the run that the image does not have: modules, user code, code written later"),
			table(["address", "times", "met as", "where", "why"], run.unknown.map(u => ["0x" + u[0], count(u[1]), u[2], u[3], u[4]]))) : null);
}

function audit() {
	const sites = unpackSites(), planned = sites.filter(s => s.tactic !== "unplanned"), need = planned.filter(s => s.tactic !== "verbatim");
	const left = need.filter(s => s.tactic === "trap" || s.tactic === "none");
	const columns = [
		{ name: "Address", text: s => s.address, key: s => s.va, width: D.width === 64 ? "10.5em" : "6em", kind: "mono" },
		{ name: "Function", text: s => s.symbol, key: s => s.name.toLowerCase(), width: "minmax(5em, 1.4fr)" },
		{ name: "Instruction", text: s => s.insn, key: s => s.insn, width: "minmax(5em, 1.4fr)", kind: "mono" },
		{ name: "Class", text: s => s.op.class, key: s => s.op.class, width: "7.5em", kind: "tag" },
		{ name: "Tactic", text: s => s.tactic, key: s => s.tactic === "unplanned" ? -1 : D.tactics.indexOf(s.tactic), width: "7.5em", kind: "tag" },
		D.debug ? { name: "Source", text: s => s.source.split(/ in |, inlined/)[0], key: s => s.source, width: "minmax(6em, 1fr)", wide: true }
			: { name: "Section", text: s => D.sections[s.section].name, key: s => D.sections[s.section].name, width: "minmax(6em, .7fr)", wide: true },
	];
	if (D.run) columns.push({ name: "Met", text: s => s.seen < 0 ? "" : count(s.seen), key: s => s.seen, width: "4.5em", kind: "num" });
	const facets = { class: s => s.op.class, tactic: s => s.tactic, section: s => D.sections[s.section].name, instruction: s => s.op.mnemonic,
		"reached from": s => s.confidence, table: s => s.tables.length ? s.tables[0][0] : "no table", run: s => s.seen >= 0 ? s.kind : "not met" };
	const grid = new Grid(sites, columns, facets, s => [s.address, "0x" + s.address, s.symbol, s.insn, s.op.mnemonic, s.op.form, s.op.class, s.tactic, facets.section(s), s.reason, s.kind, s.source, s.tables.flat().join(" ")].join(" "), auditDetail);
	document.getElementById("title").textContent = "Audit of " + baseName(D.image);
	document.getElementById("facts").textContent = [D.image, D.container + (D.compression !== "none" ? " (" + D.compression + ")" : ""), D.width + "-bit", count(D.symbols) + " symbols (" + D.symbol_source + ")",
		D.recipe ? "recipe " + D.recipe : "no recipe", D.debug ? "lines from " + D.debug : "no debug information", "sha256 " + D.sha256.slice(0, 16) + "…"].join(" · ");
	document.getElementById("facts").title = "sha256 " + D.sha256;
	const list = [["Sensitive instructions", count(sites.length), "of " + count(D.instructions)]];
	if (D.planned) list.push(["Patched", percent(need.length - left.length, need.length), "of " + count(need.length) + " that need it"], ["Left to trap", count(need.filter(s => s.tactic === "trap").length)],
		["Left and may not trap", count(need.filter(s => s.tactic === "none").length)], ["Windows", count(D.windows.length)]);
	list.push(["No path reaches", bytesOf(D.bytes.sweep + D.bytes.undecoded), "of code"]);
	main.append(element("section", { "aria-label": "summary" }, tiles(list),
		D.notes.length ? element("details", { style: "margin-top: 12px" }, element("summary", null, D.notes.length + (D.notes.length > 1 ? " notes" : " note") + " on damage and skipped tables"), element("ul", null, D.notes.map(n => element("li", null, n)))) : null));
	if (D.run) main.append(runSection());
	main.append(mapSection(grid, sites), element("section", { "aria-label": "counts" }, element("h2", null, "Counts"),
		element("div.charts", null, chart(grid, "class", "by class", 9), D.planned ? chart(grid, "tactic", "by tactic", 9) : null, chart(grid, "instruction", "by instruction", 9),
			chart(grid, "section", "by section", 6), D.run ? chart(grid, "run", "by how the run met them", 6) : element("div", null, chart(grid, "reached from", "by where control comes from", 5), element("div", { style: "margin-top: 14px" }, chart(grid, "table", "by table of the kernel", 5))))), unreachedSection(), grid.element);
	grid.columnsFit();
	grid.draw();
	return grid;
}

