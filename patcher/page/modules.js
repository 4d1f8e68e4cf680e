/* SPDX-License-Identifier: GPL-3.0-or-later */
/* --- many modules: a row unfolds to the module's sites ------------------------------------------------------- */
const moduleStates = ["ok", "damaged", "unreadable"];
const textOf = i => i < 0 ? "" : D.texts[i];

/* Directories that all names have in common. */
function commonFolder(names) {
	if (!names.length) return "";
	const first = names[0].split("/").slice(0, -1);
	let n = first.length;
	for (const name of names) {
		const parts = name.split("/");
		let i = 0;
		while (i < n && i < parts.length - 1 && parts[i] === first[i]) i++;
		n = i;
	}
	return first.slice(0, n).map(p => p + "/").join("");
}

function unpackModules() {
	const common = commonFolder(D.modules.map(m => m[0]));
	const rows = D.modules.map(([path, state, width, compression, instructions, undecoded, counts, message, windows, notes, sites]) => {
		const name = path.slice(common.length), folders = name.split("/").slice(0, -1);
		return { path, name, folder: folders.slice(0, 2).join("/") || common || "/", state: moduleStates[state], width, compression: textOf(compression), instructions, undecoded,
			counts: counts.slice(0, -1), replacements: counts.at(-1), total: counts.slice(0, -1).reduce((a, b) => a + b, 0), message: textOf(message), windows, notes: notes.map(textOf), sites };
	});
	rows.sort((a, b) => b.total - a.total || b.replacements - a.replacements || (a.path < b.path ? -1 : 1));
	rows.forEach((r, index) => { r.index = index; });
	return rows;
}

function unpackModuleSite([section, offset, op, symbol, symbolOffset, origin, insn, bytes, source = -1, tables = []]) {
	const name = textOf(symbol);
	return { place: textOf(section) + "+0x" + offset.toString(16), op: D.ops[op], symbol: name ? name + "+0x" + symbolOffset.toString(16) : "", origin: D.origins[origin],
		insn: textOf(insn), bytes: textOf(bytes), source: textOf(source), tables: tables.map(([table, what]) => [textOf(table), textOf(what)]) };
}

/* [instruction, sites] of a module; replacements are not live, and not counted. */
function moduleInstructions(r) {
	const sums = new Map();
	for (const s of r.sites)
		if (D.origins[s[5]] !== "replacement") sums.set(D.ops[s[2]].mnemonic, (sums.get(D.ops[s[2]].mnemonic) || 0) + 1);
	return [...sums];
}

function moduleWords(r) {
	const words = new Set();
	for (const s of r.sites.map(unpackModuleSite)) words.add(s.place.split("+")[0]).add(s.symbol.split("+")[0]).add(s.insn).add(s.op.mnemonic).add(s.op.class).add(s.source).add(s.tables.flat().join(" "));
	return [r.path, r.state, r.message, ...words].join(" ");
}

/* One site: a line that unfolds to what is known of it. */
function moduleSite(grid, s, isHit) {
	const cls = element("span.tag", null, s.op.class), cells = [s.place, s.symbol || "?", s.bytes, s.insn].map((t, i) => element("span" + (i === 1 ? "" : ".mono"), { title: t }, t));
	const site = element("details" + (isHit ? ".hit" : ""), { ontoggle: () => {
		if (site.childElementCount === 1) site.append(factList(siteFacts(["Place", s.place + (s.origin === "replacement" ? ", not live until the kernel copies it" : "")], s)));
		grid.draw();
	} }, element("summary", null, cells, cls));
	cls.style = colour(s.op.class);
	return site;
}

/* The sites of a module; those that the search asks for are marked and stand first. */
function moduleSites(grid, r) {
	const asked = grid.asked().filter(w => !r.path.toLowerCase().includes(w)), sites = r.sites.map(unpackModuleSite);
	const isHit = s => asked.length > 0 && asked.every(w => [s.place, s.symbol, s.bytes, s.insn, s.op.mnemonic, s.op.class, s.source].join(" ").toLowerCase().includes(w));
	const hits = new Set(sites.filter(isHit));
	return element("div.list", { tabindex: -1 }, [...hits, ...sites.filter(s => !hits.has(s))].map(s => moduleSite(grid, s, hits.has(s))));
}

function moduleDetail(grid, r) {
	const facts = [["Module", r.path], ["File", (r.width ? r.width + "-bit" : "unknown width") + (r.compression !== "none" ? ", " + r.compression : "")]];
	if (r.message) facts.push([r.state === "damaged" ? "Damaged" : "Unreadable", r.message]);
	if (r.notes.length) facts.push(["Notes", element("div", null, r.notes.map(n => element("div", null, n)))]);
	if (r.windows >= 0) facts.push(["Patched", count(r.windows) + " windows; what stands here is of the module that it was made from"]);
	const more = [["Instructions", count(r.instructions)], ["Sites", count(r.total) + (r.replacements ? ", and " + count(r.replacements) + " in replacements" : "")]];
	if (r.undecoded) more.push(["Neither code nor padding", bytesOf(r.undecoded)]);
	const left = r.total + r.replacements - r.sites.length;
	return element("div.detail", null, factList(facts), factList(more),
		r.sites.length ? moduleSites(grid, r)
			: element("div.hint", null, r.state === "unreadable" || left ? "" : "No sensitive instruction."),
		left ? element("div.hint", null, count(left) + " more sites are left out of this page.") : null);
}

function modules() {
	const rows = unpackModules(), t = D.totals;
	const sum = (name, of) => ({ name, text: r => of(r) ? count(of(r)) : "", key: of, width: "7.4em", kind: "num" });
	const columns = [
		{ name: "Module", text: r => r.name, key: r => r.name, width: "minmax(8em, 3fr)" },
		sum("Sites", r => r.total),
		...D.classes.map((name, i) => ({ ...sum(name, r => r.counts[i]), wide: true })),
		{ ...sum("replacements", r => r.replacements), wide: true },
		sum("Instructions", r => r.instructions),
	];
	if (t.damaged || t.unreadable) columns.push({ name: "State", text: r => r.state + (r.message ? ": " + r.message : ""), key: r => moduleStates.indexOf(r.state), width: "minmax(6em, 1fr)" });
	const facets = { class: r => D.classes.map((name, i) => [name, r.counts[i]]).filter(([, n]) => n), instruction: moduleInstructions, folder: r => [[r.folder, r.total]],
		state: r => r.state !== "ok" ? r.state : r.total ? "with sites" : "without sites" };
	const grid = new Grid(rows, columns, facets, moduleWords, r => moduleDetail(grid, r), "modules");
	document.getElementById("title").textContent = "Audit of the modules in " + baseName(D.source.replace(/\/+$/, ""));
	document.getElementById("facts").textContent = D.source + " · " + count(t.modules) + " modules";
	const list = [["Modules", count(t.modules)], ["With sensitive instructions", count(t.with_sites)], ["Sensitive instructions", count(t.sites), "of " + count(t.instructions)],
		["In replacements", count(t.replacements)], ["Neither code nor padding", bytesOf(t.undecoded_bytes)]];
	if (t.damaged) list.push(["Damaged in part", count(t.damaged)]);
	if (t.unreadable) list.push(["Unreadable", count(t.unreadable)]);
	const left = [D.left_out ? count(D.left_out) + " sites" : "", D.lines ? "" : "source lines and what the kernel's tables say of sites"].filter(Boolean).join(", and ");
	main.append(element("section", { "aria-label": "summary" }, tiles(list),
		left ? element("p.hint", { style: "margin: 12px 0 0" }, "Left out to keep this page under 5 MiB: " + left + ". audit --modules with --json or --csv has them.") : null),
	element("section", { "aria-label": "counts" }, element("h2", null, "Counts"), element("div.charts", null, chart(grid, "class", "sites by class", 9), chart(grid, "instruction", "sites by instruction", 9),
		chart(grid, "folder", "sites by folder", 9), chart(grid, "state", "modules by state", 9))), grid.element);
	grid.columnsFit();
	grid.draw();
	return grid;
}
