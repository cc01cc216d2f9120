"""The page's charts as inline SVG: a point a row, its figures in words on it, so that it can be read by ear too."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from synobench.board import Network, figures
from synobench.board.figures import plain
from synobench.board.rows import Row
from synobench.stats import Estimate
from synobench_renderers.page.columns import clean
from synobench_renderers.scales import Scale, Ticks
from synobench_renderers.styles import COLOURS, CONTROL, CONTROL_NAME, MARKERS, Style

WIDTH, HEIGHT = 400.0, 275.0
"""The size of a chart, in units of which a line of text takes 11."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, WIDTH - 12.0, 22.0, HEIGHT - 38.0
_LETTER = 6.2

SHAPES: Mapping[str, str] = {
    "o": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
    "s": "M-3.5-3.5h7v7h-7z",
    "^": "M0-4.6 4.3 3.4h-8.6z",
    "D": "M0-4.8 4.8 0 0 4.8-4.8 0z",
    "v": "M0 4.6 4.3-3.4h-8.6z",
    "P": "M-1.5-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
    "X": "M-4.3-2.2-2.2-4.3 0-2.1 2.2-4.3 4.3-2.2 2.1 0 4.3 2.2 2.2 4.3 0 2.1-2.2 4.3-4.3 2.2-2.1 0z",
    "p": "M0-4.7 4.5-1.5 2.8 3.8h-5.6L-4.5-1.5z",
    "*": "M0-6.5 1.6-2.1 6.2-2 2.5.8 3.8 5.3 0 2.6-3.8 5.3-2.5.8-6.2-2-1.6-2.1z",
}
"""Marker -> its outline around the origin."""

Span = tuple[float, float, float]


@dataclass(frozen=True)
class Axes:
    """What a chart shows.

    Args:
        title: in words.
        label: of the axis across.
        figure: what stands across.
        across, up: the two scales, of figures as fractions and amounts.
    """

    title: str
    label: str
    figure: Callable[[Row], Estimate | None]
    across: Scale
    up: Scale


def shapes() -> Markup:
    """Return the markers' outlines, which every chart of the page refers to."""
    held = "".join(f'<path id="m{_shape(marker)}" d="{path}"/>' for marker, path in SHAPES.items())
    return Markup(f'<svg class="shapes" aria-hidden="true"><defs>{held}</defs></svg>')


def chart(network: Network, axes: Axes, looks: Mapping[str, Style], places: Mapping[int, int]) -> Markup:
    """Return the chart of a network.

    Args:
        network: its rows.
        axes: what is shown.
        looks: label -> how an entry looks.
        places: identity of a row -> its number on the page.
    """
    rows = [row for row in network.rows if row.accuracy and axes.figure(row)]
    spans = {id(row): (_span(axes.figure(row), axes.across), _span(row.accuracy, axes.up)) for row in rows}
    x, y = _fit([s[0] for s in spans.values()], _LEFT, _RIGHT), _fit([s[1] for s in spans.values()], _BOTTOM, _TOP)
    lines: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: spans[id(row)][0][0]):
        lines.setdefault("" if row.control else row.label, []).append(row)
    drawn = [
        _line(held, [_spot(spans[id(row)], x, y) for row in held], looks.get(name, CONTROL), places)
        for name, held in sorted(lines.items())
    ]
    name = escape(plain(f"{axes.title}: {network.label}"))
    head = f'<svg class="chart" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{name}">'
    return Markup("\n".join([head, _frame(axes, x, y), *drawn, "</svg>"]))


def legend(network: Network, looks: Mapping[str, Style]) -> Markup:
    """Return the list of a network's entries with their looks."""
    names = sorted({row.label for row in network.rows if row.runs and not row.control})
    held = [(name, looks[name]) for name in names]
    held += [(CONTROL_NAME, CONTROL)] if any(row.control and row.runs for row in network.rows) else []
    items = "".join(_named(style, name) for name, style in held)
    return Markup(f'<ul class="legend">{items}</ul>')


def _named(style: Style, name: str) -> str:
    line = f'<path d="M-11 0h22"{_dashed(style)}/>{_use(style, 0, 0)}</use>'
    kind = _colour(style)
    return f'<li><svg viewBox="-12 -8 24 16" aria-hidden="true" class="{kind}">{line}</svg>{escape(plain(name))}</li>'


def _span(estimate: Estimate | None, scale: Scale) -> Span:
    """Return where a mean stands on an axis, and where its interval ends."""
    if estimate is None:
        raise ValueError("only rows with both figures are drawn")
    half = estimate.half or 0.0
    return scale.place(estimate.mean), scale.place(estimate.mean - half), scale.place(estimate.mean + half)


Fit = Callable[[float], float]


def _fit(spans: Sequence[Span], start: float, end: float) -> Fit:
    """Map a scale onto the chart; an interval much longer than the spread of the means runs out of it."""
    low, high = min(s[0] for s in spans), max(s[0] for s in spans)
    spread = (high - low) or 0.1 * abs(high) or 1.0
    ends = min(s[1] for s in spans), max(s[2] for s in spans)
    below, above = (min(max(far, 0.08 * spread), 0.35 * spread) for far in (low - ends[0], ends[1] - high))
    low, size = low - below, high + above - low + below
    return lambda place: start + (end - start) * min(1.0, max(0.0, (place - low) / size))


def _spot(spans: tuple[Span, Span], x: Fit, y: Fit) -> tuple[Span, Span]:
    (a, b, c), (d, e, f) = spans
    return (x(a), x(b), x(c)), (y(d), y(e), y(f))


def _line(rows: Sequence[Row], spots: Sequence[tuple[Span, Span]], style: Style, places: Mapping[int, int]) -> str:
    """Return one entry: its line, its intervals and its points."""
    path = "M" + "L".join(f"{x[0]:.1f} {y[0]:.1f}" for x, y in spots)
    if rows[0].control:
        path = f"M{_LEFT:g} {spots[0][1][0]:.1f}H{_RIGHT:g}"
    points = (_point(row, x, y, style, places[id(row)]) for row, (x, y) in zip(rows, spots, strict=True))
    kind = _colour(style) + (" control" if rows[0].control else "")
    line = f'<path class="line" d="{path}"{_dashed(style)}/>'
    return "\n".join([f'<g class="{kind}">{line}', *points, "</g>"])


def _point(row: Row, x: Span, y: Span, style: Style, place: int) -> str:
    """Return a point behind its intervals, which it has where there are seeds enough."""
    bars = _bars(x, y) if row.enough else ""
    more = f' data-r="{place}"' + ("" if row.enough else ' class="few"')
    return f'<path class="bars" d="{bars}"/>{_use(style, x[0], y[0], more)}<title>{escape(told(row))}</title></use>'


def _bars(x: Span, y: Span) -> str:
    across = f"M{x[1]:.1f} {y[0]:.1f}H{x[2]:.1f}" if x[2] - x[1] > 0.5 else ""
    return across + (f"M{x[0]:.1f} {y[1]:.1f}V{y[2]:.1f}" if y[1] - y[2] > 0.5 else "")


def told(row: Row) -> str:
    """Return what a point says: entry, target and figures, one a line."""
    lines = [row.label, "" if row.control else row.target_label, f"{figures.accuracy(row)} % top-1"]
    lines += [f"{figures.amount(row.synops)} SynOps"] if row.synops else []
    lines += [f"{figures.sparsity(row.sparsity)} % sparsity"] if row.sparsity else []
    lines += [f"{figures.count(row)} seed{'s' if len(row.runs) > 1 else ''}"]
    return "\n".join(clean(line) for line in lines if line)


def _frame(axes: Axes, x: Fit, y: Fit) -> str:
    """Return grid, ticks and the words of both axes."""
    across, up = _ticks(axes.across, x, _wide), _ticks(axes.up, y, _high)
    grid = "".join(f"M{p:.1f} {_TOP:g}V{_BOTTOM:g}" for p, _ in across)
    grid += "".join(f"M{_LEFT:g} {p:.1f}H{_RIGHT:g}" for p, _ in up)
    texts = [_text(p, _BOTTOM + 14, t) for p, t in across]
    texts += [_text(_LEFT - 5, p + 4, t, "up") for p, t in up]
    texts += [_text((_LEFT + _RIGHT) / 2, HEIGHT - 6, _words(axes.label, axes.across), "name")]
    texts += [_text(4, 12, _words("top-1 %", axes.up), "name start")]
    return f'<path class="grid" d="{grid}"/><g aria-hidden="true">{"".join(texts)}</g>'


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{named}>{escape(text)}</text>'


def _words(label: str, scale: Scale) -> str:
    return plain(f"{label}, {scale.log}" if scale.log else label)


def _ticks(scale: Scale, fit: Fit, apart: Callable[[Sequence[tuple[float, str]]], bool]) -> list[tuple[float, str]]:
    """Return place and text of the ticks that fit."""

    def held(ticks: Ticks) -> list[tuple[float, str]]:
        return [(fit(scale.place(tick)), scale.text(tick)) for tick in ticks]

    inside = {fit(-1e300), fit(1e300)}
    return held(scale.fitted(lambda place: fit(place) not in inside, lambda ticks: apart(held(ticks))))


def _wide(ticks: Sequence[tuple[float, str]]) -> bool:
    pairs = itertools.pairwise(ticks)
    return all(b[0] - a[0] > _LETTER * (len(a[1]) + len(b[1])) / 2 + 8 for a, b in pairs)


def _high(ticks: Sequence[tuple[float, str]]) -> bool:
    return all(abs(b[0] - a[0]) > 15 for a, b in itertools.pairwise(ticks))


def _use(style: Style, x: float, y: float, more: str = "") -> str:
    """Return an open element that sets a marker at a place."""
    return f'<use href="#m{_shape(style.marker)}" x="{x:.1f}" y="{y:.1f}"{more}>'


def _shape(marker: str) -> int:
    return (*MARKERS, CONTROL.marker).index(marker)


def _colour(style: Style) -> str:
    return f"s{COLOURS.index(style.colour)}" if style.colour in COLOURS else "ink"


def _dashed(style: Style) -> str:
    dashes = " ".join(f"{length:g}" for length in style.dashes)
    return f' stroke-dasharray="{dashes}"' if dashes else ""
