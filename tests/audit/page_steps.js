/* SPDX-License-Identifier: GPL-3.0-or-later
 * What a reader does with the page, as steps that the test appends to it: each leaves a line "ok name" or
 * "not ok name: why" in the body's data-results. */
const results = [];
function step(name, work) {
	try {
		const why = work();
		results.push(why === true ? "ok " + name : "not ok " + name + ": " + why);
	} catch (e) {
		results.push("not ok " + name + ": " + e);
	}
}
const same = (got, want) => JSON.stringify(got) === JSON.stringify(want) || "got " + JSON.stringify(got) + ", not " + JSON.stringify(want);
const press = (key, on) => (on || document.activeElement || document.body).dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
/* A value that is missing shows as one of these words; ORC has an entry type of that name. */
const broken = text => /undefined|NaN/.test(text.replaceAll("ORC: undefined", ""));
const rows = () => [...document.querySelectorAll("#space .row")];
const type = text => { grid.search.value = text; grid.search.dispatchEvent(new Event("input")); };
const all = grid.rows.length;

step("few rows exist", () => rows().length < 80 || rows().length + " rows");
step("all rows are there", () => same([grid.shown.length, grid.rows.length], [all, (D.modules || D.sites).length]));
step("slash goes to the search", () => { press("/", document.body); return document.activeElement === grid.search; });
step("search", () => {
	type("sti");
	const found = grid.shown.length;
	type("sti nothing-has-this");
	return found > 0 && found < all && grid.shown.length === 0;
});
step("escape clears the search", () => { press("Escape", document.body); return same([grid.search.value, grid.shown.length], ["", all]); });
step("arrow down goes to the table", () => { grid.search.focus(); press("ArrowDown"); return same(document.activeElement.getAttribute("aria-rowindex"), "2"); });
step("arrows move", () => { press("ArrowDown"); press("ArrowDown"); press("ArrowUp"); return same(document.activeElement.getAttribute("aria-rowindex"), "3"); });
step("enter unfolds", () => { press("Enter"); return document.activeElement.getAttribute("aria-expanded") === "true" && !!document.querySelector(".detail") && document.querySelector(".detail").offsetHeight > 50; });
step("what is unfolded pushes down what follows", () => {
	const items = [...document.querySelectorAll(".item")].sort((a, b) => a.offsetTop - b.offsetTop);
	return items.every((e, i) => !i || Math.abs(items[i - 1].offsetTop + items[i - 1].offsetHeight - e.offsetTop) <= 1) || "gaps or overlaps";
});
step("end goes to the last row", () => { press("End"); return same(document.activeElement.getAttribute("aria-rowindex"), String(all + 1)); });
step("the last row is in view", () => { const r = document.activeElement.getBoundingClientRect(), v = grid.scroll.getBoundingClientRect(); return r.top >= v.top && r.bottom <= v.bottom + 1; });
step("what the last row unfolds comes into view", () => { press("Enter"); const r = document.querySelector(".item:last-child .detail, .detail:last-child").getBoundingClientRect(), v = grid.scroll.getBoundingClientRect(); return r.bottom <= v.bottom + 1 || same([r.bottom], [v.bottom]); });
step("escape folds", () => { press("Escape", document.body); return !document.querySelector(".detail"); });
step("sorting turns round", () => {
	const column = grid.columns[1], button = grid.heads[1].firstChild, order = () => grid.shown.map(column.key);
	button.click();
	const up = order();
	button.click();
	const down = order();
	return up.every((k, i) => !i || up[i - 1] <= k) && down.every((k, i) => !i || down[i - 1] >= k) && grid.heads[1].getAttribute("aria-sort") === "descending";
});
step("a bar filters, and again takes it off", () => {
	const bar = document.querySelector("button.bar");
	bar.click();
	const n = grid.shown.length, pressed = bar.getAttribute("aria-pressed");
	bar.click();
	const [facet, value] = bar.title.split(": "), said = grid.rows.flatMap(r => facetPairs(grid.facets[facet](r)).filter(([v]) => v === value));
	return same([n, pressed, grid.shown.length, +bar.lastChild.textContent.replaceAll(",", "")], [said.length, "true", all, said.reduce((sum, [, weight]) => sum + weight, 0)]);
});
if (D.unreached)
	step("the bytes that no path reaches unfold", () => {
		const list = document.getElementById("unreached"), want = D.unreached.length;
		if (!want) return list === null;
		list.open = true;
		list.dispatchEvent(new Event("toggle"));
		return same(list.querySelectorAll("tr").length, want + 1);
	});
step("few rows exist wherever the table is scrolled to", () => {
	const start = performance.now();
	let steps = 0, most = 0;
	for (let y = 0; y < grid.height; y += 3000, steps++) { grid.scroll.scrollTop = y; grid.draw(); most = Math.max(most, rows().length); }
	document.body.dataset.scroll = ((performance.now() - start) / steps).toFixed(2);
	return most < 80 || most + " rows";
});
step("light and dark", () => {
	const ground = () => getComputedStyle(document.body).backgroundColor, button = document.getElementById("theme"), before = ground();
	button.click();
	const other = ground();
	button.click();
	return before !== other && ground() === before;
});
/* WCAG 2.1, 1.4.3: 4.5 for text. */
step("contrast", () => {
	const light = rgb => { const [r, g, b] = rgb.match(/[\d.]+/g).map(v => (v /= 255, v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)); return .2126 * r + .7152 * g + .0722 * b; };
	const probe = document.body.appendChild(document.createElement("i")), bad = [];
	const value = name => { probe.style.color = "var(--" + name + ")"; return light(getComputedStyle(probe).color); };
	for (const theme of ["light", "dark"]) {
		document.documentElement.dataset.theme = theme;
		for (const ink of ["text", "muted"])
			for (const paper of ["ground", "panel", "sunk", "chosen"]) {
				const [a, b] = [value(ink), value(paper)].sort((x, y) => y - x);
				if ((a + .05) / (b + .05) < 4.5) bad.push(theme + ": " + ink + " on " + paper);
			}
	}
	probe.remove();
	return same(bad, []);
});
if (D.kind === "audit") {
	step("the map filters", () => {
		const canvas = document.querySelector("canvas");
		canvas.focus();
		press("ArrowRight");
		press("Enter");
		const n = grid.shown.length, chip = document.querySelector(".chip");
		chip.click();
		return n < all && grid.shown.length === all;
	});
	step("every row unfolds", () => {
		for (let i = 0; i < grid.rows.length; i += Math.max(1, Math.floor(grid.rows.length / 300))) {
			const r = grid.rows[i], text = grid.detail(r).textContent;
			if (!text.includes(r.op.manual) || broken(text)) return "row " + i + ": " + text;
			if (r.window >= 0 && !(text.includes("Before") && text.includes("After"))) return "row " + i + " has no listing";
		}
		return true;
	});
}
if (D.kind === "modules") {
	step("every module unfolds", () => {
		for (const r of grid.rows) {
			const text = grid.detail(r).textContent;
			if (!text.includes(r.path) || r.message && !text.includes(r.message) || broken(text)) return r.path + ": " + text.slice(0, 400);
		}
		return true;
	});
	step("sites by class are what the totals say", () => same(D.classes.map((c, i) => grid.rows.reduce((n, r) => n + r.counts[i], 0)), D.classes.map(c => D.totals.by_class[c])));
	step("a site unfolds, and keys in it do not move the table", () => {
		type(D.ops[0].mnemonic.toLowerCase());
		const some = grid.rows.filter(r => r.sites.length);
		if (!grid.shown.length || grid.shown.length > some.length) return grid.shown.length + " modules for " + D.ops[0].mnemonic;
		grid.focus();
		press("Enter");
		const site = document.querySelector(".list details");
		site.open = true;
		site.dispatchEvent(new Event("toggle"));
		site.firstChild.focus();
		press("ArrowDown");
		const marked = document.querySelectorAll(".list .hit").length, text = site.textContent, here = document.activeElement === site.firstChild;
		press("Escape", document.body);
		press("Escape", document.body);
		return same([marked > 0, here, /Sensitive.*Virtualized.*Served by/.test(text), broken(text), grid.shown.length], [true, true, true, false, all]);
	});
}
if (D.run) {
	step("the run", () => {
		const text = document.querySelector("section[aria-label='run report']").textContent;
		return text.includes("--runtime") && !broken(text) || text;
	});
}
document.body.dataset.results = results.join("\n");
