#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The HTML report in a browser: that it draws itself, how long that takes, and what a reader does with it
# (page_steps.js), for a small image with a run report, the 686 kernel, the amd64 kernel, two images compared and modules.
cd "$(dirname "$0")/../.." || exit 1
browser=$(command -v chromium || command -v chromium-browser)
if [ -z "$browser" ]; then
	echo "1..0 # SKIP chromium is not installed"
	exit 0
fi
. tests/audit/lib.sh
LOADS=${LOADS:-5}

# dom PAGE: the page as the browser has it in the end
dom()
{
	timeout 120 "$browser" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
		--disable-background-networking --disable-component-update --disable-sync --allow-file-access-from-files \
		--user-data-dir="$work/profile" --window-size=1280,900 --dump-dom "file://$1" >"$work/dom" 2>"$work/err"
	rm -rf "$work/profile"
}

# steps PAGE: with a reader's steps behind it
steps()
{
	{
		sed '/^<\/body>/,$d' "$1"
		echo "<script>"
		cat tests/audit/page_steps.js
		echo "</script></body></html>"
	} >"$work/page.html"
	dom "$work/page.html"
}

# opening PAGE: milliseconds from the start of loading to everything drawn, of some loads in a row in one browser
opening()
{
	cat >"$work/loads.html" <<H
<!doctype html><body><script>
const times = [];
function load() {
	const frame = document.createElement("iframe");
	Object.assign(frame, { width: 1280, height: 900, src: "$(basename "$1")", onload: () => {
		times.push(Math.round(frame.contentWindow.performance.getEntriesByType("navigation")[0].domComplete));
		document.body.dataset.times = times.join(" ");
		if (times.length < $LOADS) load();
		frame.hidden = true;
	} });
	document.body.append(frame);
}
load();
</script></body>
H
	dom "$work/loads.html"
	attribute times
}

attribute()
{
	python3 -c 'import html, re, sys
found = re.search("data-" + sys.argv[1] + "=\"([^\"]*)\"", open(sys.argv[2], encoding="utf-8").read())
print(html.unescape(found[1]) if found else "")' "$1" "$work/dom"
}

page() # name file
{
	local line

	line=$(opening "$2")
	echo "# $1: opens in $(tr ' ' '\n' <<<"$line" | sort -n | sed -n "$((LOADS / 2 + 1))p") ms, the median of $line; $(stat -c %s "$2") bytes"
	steps "$2"
	tail -n 5 "$work/err" >"$work/out"
	[ -n "$(attribute ready)" ]
	result $? "$1: draws itself" || return
	echo "# $1: $(attribute scroll) ms a scroll"
	while read -r line; do
		echo "${line:-no results}" >"$work/out"
		[ "${line#ok }" != "$line" ]
		result $? "$1: ${line#ok }"
	done <<<"$(attribute results)"
}

as --32 -o "$work/o" tests/golden/tactics.in && ld -m elf_i386 -z noseparate-code -Ttext=0xc0100000 -e _start \
	-o "$work/image" "$work/o" 2>/dev/null || exit 1
"$B/paravane" audit "$work/image" --json "$work/json" >/dev/null
jq '{version: 1, image_sha256, seconds: 2.5, blocks_translated: 7,
	exits: [{reason: "trap: sensitive instruction met in direct code", count: 30, ms: 0.5}],
	sites: [.sites[] | {va, count: 3, kind: "trap", reason: "<b>\"</script>"}]}' "$work/json" >"$work/run"
"$B/paravane" audit "$work/image" --runtime "$work/run" --html "$work/html" >/dev/null
page "every tactic" "$work/html"
for kernel in 686 amd64; do
	if [ -r build/guests/vmlinuz-$kernel ]; then
		"$B/paravane" audit build/guests/vmlinuz-$kernel --html "$work/html" >/dev/null
		page "kernel $kernel" "$work/html"
	else
		skip "kernel $kernel" "no kernel: make guests"
	fi
done
if [ -r build/guests/vmlinuz-686 ] && [ -r build/guests/vmlinuz-686-pae ]; then
	"$B/paravane" audit --diff build/guests/vmlinuz-686 build/guests/vmlinuz-686-pae --html "$work/html" >/dev/null
	page "two kernels compared" "$work/html"
fi
if [ -r build/guests/modules-686.tar ]; then
	mkdir "$work/modules"
	tar -C "$work/modules" -xf build/guests/modules-686.tar
	echo junk >"$work/modules/junk.ko"
	"$B/paravane" audit --modules "$work/modules" --html "$work/html" >/dev/null
	page "modules" "$work/html"
else
	skip "modules" "no modules: make guests"
fi
finish
