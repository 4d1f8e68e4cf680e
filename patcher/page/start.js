/* SPDX-License-Identifier: GPL-3.0-or-later */
const grid = ({ audit, diff, modules })[D.kind]();
document.title = document.getElementById("title").textContent;
/* The address may ask for a view: #open=3&search=cli (for links, and for tests). */
{
	const ask = new URLSearchParams(location.hash.slice(1));
	if (ask.get("search")) { grid.search.value = ask.get("search"); grid.filter(); }
	if (ask.has("open") && grid.shown[+ask.get("open")]) { grid.active = +ask.get("open"); grid.toggle(grid.shown[grid.active]); }
	main.dataset.ready = Math.round(performance.now());
}
