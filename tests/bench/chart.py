# SPDX-License-Identifier: GPL-3.0-or-later
"""Bars on a logarithmic scale: each row's time as a multiple of native, paravane above QEMU."""
import math
from xml.sax.saxutils import escape

import targets

WIDTH, LEFT, RIGHT, TOP, STEP, BAR = 860, 130, 70, 64, 30, 11
SERIES = (("paravane", "#1f6fb4"), ("qemu", "#d98032"))


def bars(result):
    """(row, [(ratio or None) for each series])"""
    medians = result["medians"]
    for row, native in medians["native"].items():
        ratios = [medians[name].get(row) for name, _ in SERIES]
        if native and any(ratios):
            yield row, [r and r / native for r in ratios]


def svg(result):
    rows = list(bars(result))
    top = max((r for _, ratios in rows for r in ratios if r), default=10)
    decades = max(1, math.ceil(math.log10(top)))
    reference = "native"
    if result["native"] == targets.ORIENTATION:
        reference = f"{targets.ORIENTATION}: {targets.ORIENTATION_MEANS}"
    low = -0.3  # 0.5: room for what comes out faster than native
    height = TOP + STEP * len(rows) + 20

    def x(value):
        share = (max(math.log10(value), low) - low) / (decades - low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
           f'font-size="12">', f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
           f'<text x="12" y="22" font-size="15">Time of each row as a multiple of {reference} '
           '(shorter is better)</text>']
    at = 12
    for name, colour in SERIES:
        out.append(f'<rect x="{at}" y="34" width="11" height="11" fill="{colour}"/>'
                   f'<text x="{at + 16}" y="44">{escape(name)}</text>')
        at += 100
    for d in range(decades + 1):
        out.append(f'<line x1="{x(10 ** d):.1f}" x2="{x(10 ** d):.1f}" y1="{TOP - 6}" y2="{height - 14}" '
                   f'stroke="{"#444" if d == 0 else "#ddd"}"/>'
                   f'<text x="{x(10 ** d):.1f}" y="{TOP - 10}" text-anchor="middle" fill="#555">{10 ** d}</text>')
    for i, (row, ratios) in enumerate(rows):
        y = TOP + i * STEP
        out.append(f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(row)}</text>')
        for j, ((_, colour), r) in enumerate(zip(SERIES, ratios)):
            if not r:
                continue
            left, right, mid = x(10 ** low), x(r), y + j * (BAR + 1)
            out.append(f'<rect x="{left:.1f}" y="{mid}" width="{max(right - left, 1):.1f}" height="{BAR}" '
                       f'fill="{colour}"/><text x="{right + 4:.1f}" y="{mid + 9}" font-size="10" fill="#333">'
                       f'{r:.3g}</text>')
    out.append("</svg>\n")
    return "\n".join(out)
