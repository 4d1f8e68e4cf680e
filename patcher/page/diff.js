/* SPDX-License-Identifier: GPL-3.0-or-later */
/* --- two audits compared ------------------------------------------------------------------------------------- */
function pairs(title, list) {
	const top = Math.max(1, ...list.map(p => Math.max(p.old, p.new)));
	return element("div", null, element("h3", null, title), list.filter(p => p.old || p.new).map(p => {
		const bar = element("div.bar", { title: p.name + ": " + p.old + ", then " + p.new }, element("span", null, p.name), element("span", null, element("i.old"), element("i")),
			element("span", null, p.new === p.old ? count(p.new) : count(p.new) + " (" + (p.new > p.old ? "+" : "−") + count(Math.abs(p.new - p.old)) + ")"));
		const [o, n] = bar.querySelectorAll("i");
		o.style.width = 100 * p.old / top + "%";
		n.style.width = 100 * p.new / top + "%";
		bar.style = colour(p.name) + "; grid-template-columns: minmax(0, 8em) 1fr 7em";
		return bar;
	}));
}

function diff() {
	const place = p => p ? p.symbol ? p.symbol + "+0x" + p.offset.toString(16) : p.address : "";
	const rank = ["tactic", "removed", "added", "moved"]; /* what merely moved comes last */
	const rows = D.sites.map(s => ({ ...s, here: s.new || s.old, change: s.changes.includes("tactic") ? "tactic" : s.changes[0] }))
		.sort((a, b) => rank.indexOf(a.change) - rank.indexOf(b.change));
	rows.forEach((r, index) => { r.index = index; });
	const tactic = p => p ? p.tactic || "unplanned" : "";
	const both = r => r.old && r.new && tactic(r.old) !== tactic(r.new) ? tactic(r.old) + " → " + tactic(r.new) : tactic(r.here);
	const columns = [
		{ name: "Change", text: r => r.change, key: r => r.change, width: "6em" },
		{ name: "Function", text: r => place(r.here), key: r => place(r.here).toLowerCase(), width: "minmax(5em, 1.4fr)" },
		{ name: "Instruction", text: r => r.here.disassembly, key: r => r.here.disassembly, width: "minmax(5em, 1.2fr)", kind: "mono" },
		{ name: "Class", text: r => r.class, key: r => r.class, width: "7.5em", kind: "tag" },
		{ name: "Tactic", text: both, key: both, width: "minmax(7.5em, .8fr)" },
		{ name: "Old", text: r => r.old ? r.old.address : "", key: r => r.old ? r.old.address : "", width: "minmax(7em, .5fr)", kind: "mono", wide: true },
		{ name: "New", text: r => r.new ? r.new.address : "", key: r => r.new ? r.new.address : "", width: "minmax(7em, .5fr)", kind: "mono", wide: true },
	];
	const facets = { change: r => r.change, class: r => r.class };
	const detail = r => {
		const side = (title, p) => element("div", null, element("h3", null, title), p ? element("dl", null, [["Address", p.address], ["Function", place(p)], ["Encoding", p.bytes], ["Instruction", p.disassembly], ["Tactic", tactic(p)]]
			.flatMap(([k, v]) => [element("dt", null, k), element("dd.mono", null, v)])) : element("div.hint", null, "not there"));
		return element("div.detail", null, side("Old", r.old), side("New", r.new));
	};
	const grid = new Grid(rows, columns, facets, r => [r.change, place(r.old), place(r.new), r.here.disassembly, r.class, r.op, both(r), r.old && r.old.address, r.new && r.new.address].join(" "), detail);
	document.getElementById("title").textContent = baseName(D.old.image) + " and " + baseName(D.new.image) + " compared";
	document.getElementById("facts").textContent = "old: " + D.old.image + ", " + count(D.old.sites) + " sites · new: " + D.new.image + ", " + count(D.new.sites) + " sites";
	main.append(element("section", { "aria-label": "summary" }, tiles([["Added", count(D.counts.added)], ["Removed", count(D.counts.removed)], ["Moved", count(D.counts.moved)],
		["Another tactic", count(D.counts.tactic)], ["As before", count(D.counts.same)]])),
		element("section", { "aria-label": "counts" }, element("h2", null, "Counts, old and new"), element("div.charts", null, pairs("by class", D.by_class), pairs("by tactic", D.by_tactic), chart(grid, "change", "by change", 9))), grid.element);
	grid.columnsFit();
	grid.draw();
	return grid;
}

