/* SPDX-License-Identifier: GPL-3.0-or-later */
/* --- the map ------------------------------------------------------------------------------------------------- */
function mapSection(grid, sites) {
	const total = D.map.reduce((n, s) => n + s.size, 0);
	const strip = element("div.strip", { role: "img", "aria-label": "sections in the order of their addresses, by size" }, D.map.map(s => {
		const part = element("div" + (s.exec ? ".exec" : !s.data ? ".empty" : ""), { title: s.name + ", 0x" + s.va + ", " + bytesOf(s.size) + (s.exec ? ", code" : s.write ? ", data" : ", constants") + (s.data ? "" : ", not in the file") },
			s.size / total > .06 ? s.name : "");
		part.style.flex = s.size + " 0 0";
		return part;
	}));
	let by = "class";
	const parts = D.sections.map((section, index) => ({ index, section, sites: sites.filter(s => s.section === index) }))
		.filter(p => p.sites.length).map(p => new MapPart(grid, p.index, p.section, p.sites, () => by));
	const largest = Math.max(...parts.map(p => p.section.size), 1);
	parts.forEach(p => p.element.classList.toggle("small", p.section.size < largest / 8));
	const legend = element("div.legend");
	const redraw = () => {
		const names = [...new Set(sites.map(s => grid.facets[by](s)))];
		legend.replaceChildren(...names.map(n => { const e = element("span", null, element("span.dot"), n); e.style = colour(n); return e; }));
		parts.forEach(p => p.draw());
	};
	const choice = ["class", "tactic"].map(name => {
		const radio = element("input", { type: "radio", name: "by", value: name, onchange: () => { by = name; redraw(); } });
		radio.checked = name === by;
		return element("label", null, radio, " by " + name);
	});
	for (const event of ["resize", "recolour"]) addEventListener(event, redraw);
	grid.listeners.push(() => parts.forEach(p => p.draw()));
	queueMicrotask(redraw);
	return element("section", { "aria-label": "map of the image" },
		element("div.two", null, element("h2", null, "The image and its sites"), D.planned ? element("fieldset", { "aria-label": "colours" }, choice) : null),
		strip, parts.map(p => p.element), legend);
}

/* One code section: sites by place, stacked by class or tactic. A slider for the keyboard. */
class MapPart {
	constructor(grid, index, section, sites, by) {
		Object.assign(this, { grid, index, section, sites, by, cursor: -1 });
		this.canvas = element("canvas", { tabindex: 0, role: "slider", "aria-label": "place in " + section.name + "; Enter filters the table", "aria-valuemin": 0,
			onkeydown: e => this.key(e), onclick: e => this.click(e), onblur: () => { this.cursor = -1; this.draw(); } });
		this.element = element("div.part", null, element("div.two", null, element("span.mono", null, section.name + (section.live ? "" : " (live only once the kernel copies it)")),
			element("span", null, "0x" + section.va + ", " + bytesOf(section.size) + ", " + count(sites.length) + " sites")), this.canvas);
	}
	bin(s) { return Math.min(this.bins - 1, Math.floor(s.offset / this.section.size * this.bins)); }
	colours(names) {
		const probe = element("i"), found = new Map();
		document.body.append(probe);
		for (const n of names) {
			probe.style = colour(n) + "; color: var(--c)";
			found.set(n, getComputedStyle(probe).color);
		}
		probe.style = "color: var(--accent)";
		this.accent = getComputedStyle(probe).color;
		probe.remove();
		return found;
	}
	draw() {
		const ratio = devicePixelRatio || 1, width = this.canvas.clientWidth, height = this.canvas.clientHeight, facet = this.grid.facets[this.by()];
		if (!width) return;
		this.bins = Math.max(20, Math.floor(width / 4));
		this.canvas.width = width * ratio;
		this.canvas.height = height * ratio;
		const g = this.canvas.getContext("2d"), step = width / this.bins, names = [...new Set(this.sites.map(facet))];
		const colours = this.colours(names), sums = Array.from({ length: this.bins }, () => new Map());
		const filtered = this.grid.shown.length < this.grid.rows.length ? new Set(this.grid.shown) : null;
		for (const s of this.sites) {
			if (filtered && !filtered.has(s)) continue;
			const sum = sums[this.bin(s)], name = facet(s);
			sum.set(name, (sum.get(name) || 0) + 1);
		}
		const totals = sums.map(m => [...m.values()].reduce((a, b) => a + b, 0)), most = Math.max(1, ...totals);
		g.scale(ratio, ratio);
		sums.forEach((sum, i) => {
			let y = height;
			for (const n of names) {
				if (!sum.has(n)) continue;
				const h = Math.max(1.5, sum.get(n) / most * (height - 2));
				g.fillStyle = colours.get(n);
				g.fillRect(i * step, y - h, Math.max(1, step - 1), h);
				y -= h;
			}
		});
		if (this.cursor >= 0) {
			g.strokeStyle = this.accent;
			g.lineWidth = 2;
			g.strokeRect(this.cursor * step, 1, step, height - 2);
		}
		this.totals = totals;
		this.canvas.setAttribute("aria-valuemax", this.bins - 1);
	}
	label(bin) {
		const part = i => "+0x" + Math.floor(i / this.bins * this.section.size).toString(16);
		return this.section.name + part(bin) + " …" + part(bin + 1);
	}
	choose(bin) {
		const { index, section, bins } = this;
		this.grid.setRange({ label: this.label(bin), test: s => s.section === index && Math.min(bins - 1, Math.floor(s.offset / section.size * bins)) === bin });
	}
	click(e) { this.choose(Math.max(0, Math.min(this.bins - 1, Math.floor(e.offsetX / this.canvas.clientWidth * this.bins)))); }
	key(e) {
		const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10 }[e.key];
		if (step) this.cursor = Math.max(0, Math.min(this.bins - 1, this.cursor + step));
		else if (e.key === "Enter" && this.cursor >= 0) this.choose(this.cursor);
		else return;
		e.preventDefault();
		this.draw();
		this.canvas.setAttribute("aria-valuenow", this.cursor);
		this.canvas.setAttribute("aria-valuetext", this.label(this.cursor) + ": " + this.totals[this.cursor] + " sites");
	}
}

