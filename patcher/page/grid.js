/* SPDX-License-Identifier: GPL-3.0-or-later */
/* --- the table: only the rows in view exist ------------------------------------------------------------------ */
const ROW = 29;

/* What a facet says of a row: values with their weights. */
const facetPairs = said => Array.isArray(said) ? said : [[said, 1]];

class Grid {
	/* columns: {name, text(row), key(row) to sort, width, kind}; facets: {name: row => value, or [value, weight] of several} */
	constructor(rows, columns, facets, words, detail, noun = "sites") {
		Object.assign(this, { rows, columns, facets, words, detail, noun });
		this.shown = rows;
		this.chosen = new Map();	/* facet name -> set of values */
		this.range = null;		/* {label, test(row)}: from the map */
		this.sort = { column: null, down: false };
		this.open = new Map();		/* row -> height of its detail */
		this.active = 0;
		this.items = new Map();		/* row -> its element */
		this.listeners = [];
		this.build();
	}

	build() {
		this.search = element("input", { type: "search", placeholder: "Search: " + (this.noun === "modules" ? "module, symbol, instruction …" : "symbol, address, instruction, reason …"), "aria-label": "search the table", oninput: () => this.filter() });
		this.chips = element("span");
		this.counter = element("span", { role: "status" });
		this.counter.id = "count";
		this.heads = this.columns.map(c => element("div" + (c.wide ? ".wide" : "") + (c.kind === "num" ? ".num" : ""), { role: "columnheader" },
			element("button", { type: "button", onclick: () => this.sortBy(c) }, c.name)));
		const head = element("div.row.head", { role: "row" }, this.heads);
		this.space = element("div", { role: "rowgroup" });
		this.space.id = "space";
		this.nothing = element("div.empty", { style: "padding: 14px" }, "Nothing here has all that was asked for.");
		this.scroll = element("div", { onscroll: () => this.draw(), onkeydown: e => this.key(e) }, this.space, this.nothing);
		this.scroll.id = "scroll";
		const grid = element("div", { role: "treegrid", "aria-label": this.noun, "aria-rowcount": this.rows.length + 1 }, head, this.scroll);
		grid.id = "grid";
		this.element = element("section", { "aria-label": this.noun }, element("h2", null, this.noun[0].toUpperCase() + this.noun.slice(1)),
			element("div.tools", null, this.search, this.chips, this.counter), grid);
		addEventListener("resize", () => { this.columnsFit(); for (const r of this.open.keys()) this.open.set(r, 0); this.draw(); });
		addEventListener("keydown", e => this.globalKey(e));
		this.columnsFit();
	}

	columnsFit() {
		const narrow = matchMedia("(max-width: 820px)").matches;
		const style = this.columns.filter(c => !(narrow && c.wide)).map(c => c.width).join(" ");
		this.element.querySelector(".head").style.gridTemplateColumns = style;
		for (const item of this.items.values()) item.firstChild.style.gridTemplateColumns = style;
		this.element.querySelector(".head").style.paddingRight = 10 + this.scroll.offsetWidth - this.scroll.clientWidth + "px";
		this.style = style;
	}

	choose(facet, value) {
		const set = this.chosen.get(facet) || new Set();
		set.has(value) ? set.delete(value) : set.add(value);
		set.size ? this.chosen.set(facet, set) : this.chosen.delete(facet);
		this.filter();
	}

	setRange(range) { this.range = range; this.filter(); }

	sortBy(column) {
		this.sort = { column, down: this.sort.column === column && !this.sort.down };
		this.columns.forEach((c, i) => {
			const mine = c === column;
			this.heads[i].setAttribute("aria-sort", mine ? this.sort.down ? "descending" : "ascending" : "none");
			this.heads[i].firstChild.textContent = c.name + (mine ? this.sort.down ? " ↓" : " ↑" : "");
		});
		this.filter();
	}

	asked() { return this.search.value.toLowerCase().split(/\s+/).filter(Boolean); }

	filter() {
		const words = this.asked();
		const chosen = [...this.chosen];
		this.shown = this.rows.filter(r =>
			chosen.every(([f, set]) => facetPairs(this.facets[f](r)).some(([value]) => set.has(value))) &&
			(!this.range || this.range.test(r)) &&
			(!words.length || words.every(w => (r.words ??= this.words(r).toLowerCase()).includes(w))));
		if (this.sort.column) {
			const key = this.sort.column.key, sign = this.sort.down ? -1 : 1;
			this.shown.sort((a, b) => { const x = key(a), y = key(b); return sign * (x < y ? -1 : x > y ? 1 : a.index - b.index); });
		}
		this.active = 0;
		this.scroll.scrollTop = 0;
		this.drawChips();
		this.draw();
		this.listeners.forEach(f => f());
	}

	drawChips() {
		const chip = (label, off) => element("button.chip", { type: "button", title: "remove this filter", onclick: off }, label + " ✕");
		this.chips.replaceChildren();
		for (const [facet, set] of this.chosen)
			for (const value of set) this.chips.append(chip(facet + ": " + value, () => this.choose(facet, value)), " ");
		if (this.range) this.chips.append(chip(this.range.label, () => this.setRange(null)));
	}

	/* Where rows stand: unfolded ones are higher by their detail. */
	layout() {
		this.unfolded = [];
		if (this.open.size)
			this.shown.forEach((r, i) => { if (this.open.has(r)) this.unfolded.push({ i, extra: this.open.get(r) }); });
		this.height = this.shown.length * ROW + this.unfolded.reduce((n, u) => n + u.extra, 0);
		this.space.style.height = this.height + "px";
		this.nothing.hidden = !!this.shown.length;
	}
	top(i) { let y = i * ROW; for (const u of this.unfolded) { if (u.i >= i) break; y += u.extra; } return y; }
	at(y) {
		let shift = 0;
		for (const u of this.unfolded) {
			if (y < u.i * ROW + shift) break;
			if (y < (u.i + 1) * ROW + shift + u.extra) return u.i;
			shift += u.extra;
		}
		return Math.floor((y - shift) / ROW);
	}

	draw() {
		this.layout();
		const from = Math.max(0, this.at(this.scroll.scrollTop) - 6);
		const to = Math.min(this.shown.length, this.at(this.scroll.scrollTop + this.scroll.clientHeight) + 7);
		const want = new Map();
		for (let i = from; i < to; i++) want.set(this.shown[i], i);
		if (this.shown[this.active]) want.set(this.shown[this.active], this.active); /* it may have the focus */
		for (const [r, e] of this.items) if (!want.has(r)) { e.remove(); this.items.delete(r); }
		let grown = false;
		for (const [r, i] of want) grown = this.drawItem(r, i) || grown;
		if (grown) {
			this.layout();
			for (const [r, i] of want) this.items.get(r).style.top = this.top(i) + "px";
		}
		this.counter.textContent = this.shown.length === this.rows.length ? count(this.rows.length) + " " + this.noun
			: count(this.shown.length) + " of " + count(this.rows.length) + " " + this.noun;
	}

	/* Returns whether the height of its detail was news. */
	drawItem(r, i) {
		let e = this.items.get(r);
		const open = this.open.has(r);
		if (!e) {
			const row = element("div.row", { role: "row", onclick: () => { this.active = this.shown.indexOf(r); this.toggle(r); } },
				this.columns.map(c => {
					const cell = element("span" + (c.wide ? ".wide" : "") + (c.kind ? "." + c.kind : ""), { role: "gridcell" }, c.text(r));
					cell.title = c.text(r);
					if (c.kind === "tag") cell.style = colour(c.text(r));
					return cell;
				}));
			row.style.gridTemplateColumns = this.style;
			e = element("div.item", null, row);
			this.items.set(r, e);
			this.space.append(e);
		}
		if (open && !e.lastChild.classList.contains("detail")) e.append(this.detail(r));
		if (!open && e.lastChild.classList.contains("detail")) e.lastChild.remove();
		e.style.top = this.top(i) + "px";
		e.firstChild.tabIndex = i === this.active ? 0 : -1;
		e.firstChild.setAttribute("aria-expanded", open);
		e.firstChild.setAttribute("aria-rowindex", i + 2);
		if (!open) return false;
		const extra = e.lastChild.offsetHeight, news = this.open.get(r) !== extra;
		this.open.set(r, extra);
		return news;
	}

	toggle(r) {
		this.open.has(r) ? this.open.delete(r) : this.open.set(r, 0);
		this.draw();
		this.focus();
		const y = this.top(this.active), below = y + ROW + (this.open.get(r) || 0) - this.scroll.clientHeight;
		if (below > this.scroll.scrollTop) this.scroll.scrollTop = Math.min(y, below);
	}

	focus() {
		const r = this.shown[this.active];
		if (!r) return;
		const y = this.top(this.active), view = this.scroll;
		if (y < view.scrollTop) view.scrollTop = y;
		if (y + ROW > view.scrollTop + view.clientHeight) view.scrollTop = y + ROW - view.clientHeight;
		this.draw();
		this.items.get(r).firstChild.focus({ preventScroll: true });
	}

	key(e) {
		const page = Math.max(1, Math.floor(this.scroll.clientHeight / ROW) - 1), last = this.shown.length - 1;
		const to = { ArrowDown: this.active + 1, ArrowUp: this.active - 1, PageDown: this.active + page, PageUp: this.active - page, Home: 0, End: last }[e.key];
		const r = this.shown[this.active];
		if (!r || e.target.closest(".detail")) return;
		if (to !== undefined) this.active = Math.max(0, Math.min(last, to));
		else if (e.key === "Enter" || e.key === " ") return e.preventDefault(), this.toggle(r);
		else if ((e.key === "ArrowRight") !== this.open.has(r) && /^Arrow(Right|Left)$/.test(e.key)) return e.preventDefault(), this.toggle(r);
		else return;
		e.preventDefault();
		this.focus();
	}

	globalKey(e) {
		if (e.key === "/" && e.target !== this.search && !e.ctrlKey && !e.altKey && !e.metaKey) {
			e.preventDefault();
			this.search.focus();
			this.search.select();
		} else if (e.key === "Escape") {
			if (this.open.size) this.open.clear(), this.draw();
			else if (this.search.value) this.search.value = "", this.filter();
		} else if (e.key === "ArrowDown" && e.target === this.search) {
			e.preventDefault();
			this.focus();
		}
	}
}

/* --- charts whose bars filter the table ---------------------------------------------------------------------- */
function chart(grid, facet, title, most) {
	const sums = new Map();
	for (const r of grid.rows)
		for (const [value, n] of facetPairs(grid.facets[facet](r))) sums.set(value, (sums.get(value) || 0) + n);
	const list = [...sums].sort((a, b) => b[1] - a[1]), top = list.length ? list[0][1] : 1;
	const bars = list.slice(0, most).map(([value, n]) => {
		const bar = element("button.bar", { type: "button", "aria-pressed": "false", title: facet + ": " + value, onclick: () => grid.choose(facet, value) },
			element("span", null, value), element("span", null, element("i")), element("span", null, count(n)));
		bar.querySelector("i").style.width = 100 * n / top + "%";
		bar.style = colour(value);
		grid.listeners.push(() => bar.setAttribute("aria-pressed", !!(grid.chosen.get(facet) && grid.chosen.get(facet).has(value))));
		return bar;
	});
	return element("div", null, element("h3", null, title), bars,
		list.length > most ? element("div.hint", null, "and " + (list.length - most) + " more") : null);
}

