/* SPDX-License-Identifier: GPL-3.0-or-later */
"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const main = document.getElementById("main");
const number = new Intl.NumberFormat("en");

/* element("div.a.b", {title: ...}, child, "text", ...) */
function element(what, attributes, ...children) {
	const [tag, ...classes] = what.split(".");
	const e = document.createElement(tag);
	if (classes.length) e.className = classes.join(" ");
	for (const [k, v] of Object.entries(attributes || {})) {
		if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
		else if (v !== null && v !== undefined) e.setAttribute(k, v);
	}
	for (const c of children.flat()) if (c !== null && c !== undefined) e.append(c);
	return e;
}
const count = n => number.format(n);
const percent = (n, of) => of ? (100 * n / of).toFixed(2) + " %" : "none";
const bytesOf = n => n >= 1 << 20 ? (n / (1 << 20)).toFixed(1) + " MiB" : n >= 1024 ? (n / 1024).toFixed(1) + " KiB" : n + (n === 1 ? " byte" : " bytes");
const colour = name => "--c: var(--" + name.replace("+", "-").replaceAll(" ", "-") + ", var(--accent))";
const baseName = path => path.slice(path.lastIndexOf("/") + 1);

function tiles(list) {
	return element("dl.tiles", null, list.map(([name, value, note]) =>
		element("div", null, element("dt", null, name), element("dd", null, String(value), note ? element("small", null, " " + note) : null))));
}

/* --- the theme: the system's until the switch says otherwise ------------------------------------------------ */
{
	const button = document.getElementById("theme"), root = document.documentElement;
	const system = matchMedia("(prefers-color-scheme: dark)");
	const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
	const show = () => { button.textContent = isDark() ? "Light" : "Dark"; dispatchEvent(new Event("recolour")); };
	const fromAddress = location.hash.match(/theme=(dark|light)/);
	try { root.dataset.theme = localStorage.getItem("paravane-theme") || ""; } catch { /* a page from a file may have no storage */ }
	if (fromAddress) root.dataset.theme = fromAddress[1];
	button.title = "switch between light and dark";
	button.addEventListener("click", () => {
		root.dataset.theme = isDark() ? "light" : "dark";
		try { localStorage.setItem("paravane-theme", root.dataset.theme); } catch { /* as above */ }
		show();
	});
	system.addEventListener("change", show);
	show();
}

