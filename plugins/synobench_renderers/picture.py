"""Accuracy against SynOps, one panel a network, as SVG with the same bytes on every call.

Where a range spans more than a factor of `WIDE`, SynOps are on a logarithmic axis, and accuracy is spaced by the
logarithm of the error, so that 99.0 and 99.5 % stand as far apart as 98 and 99 %.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from synobench.board import Board, Network
from synobench.board.figures import fixed, plain, quantity
from synobench.board.rows import Row
from synobench.stats import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Styles = dict[str, dict[str, Any]]

WIDE = 6.0
"""The factor from which a logarithmic axis reads better."""

INK, FAINT, PAPER = "#24292e", "#d0d5db", "#fefefe"
"""The colours of text, of rules and of the ground; the page replaces them by its own."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7b5ea7", "#8c6d46")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
CONTROL_MARKER, CONTROL_NAME = "*", "dense control"

_SIZE = 4.6, 3.5
_LABEL = 24
_TEXT = 0.068
_LEVELS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 50, 70, 90)
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "synobench",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.linewidth": 0.8,
    **{f"{part}.color": INK for part in ("text", "xtick", "ytick")},
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlesize": 10.0,
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Scale:
    """One axis: how a figure is placed, where ticks stand and what they say."""

    place: Callable[[float], float]
    ticks: tuple[float, ...]
    text: Callable[[float], str]
    log: bool


def accuracy_synops(board: Board) -> str:
    """Return the picture as SVG."""
    networks = _with_figures(board)
    return _svg(networks, board, _styles(networks))


def panels(board: Board) -> list[tuple[str, str]]:
    """Return each network's label with its own SVG; an entry looks the same in all of them."""
    networks = _with_figures(board)
    return [(network.label, _svg([network], board, _styles(networks))) for network in networks]


def _with_figures(board: Board) -> list[Network]:
    return [network for network in board.networks if any(_drawn(row) for row in network.rows)]


def _figure(networks: Sequence[Network], board: Board, styles: Styles) -> Figure:
    across = min(2, max(1, len(networks)))
    down = max(1, math.ceil(len(networks) / across))
    width, height = across * _SIZE[0], down * _SIZE[1]
    figure = Figure(figsize=(width, height), facecolor=PAPER)
    FigureCanvasSVG(figure)
    for i, network in enumerate(networks):
        left, top = (i % across) * _SIZE[0], (i // across) * _SIZE[1]
        box = (left + 0.62) / width, 1 - (top + _SIZE[1] - 0.55) / height, (_SIZE[0] - 0.8) / width, 2.55 / height
        _panel(figure.add_axes(box), network, board, styles)
    if not networks:
        figure.text(0.5, 0.5, "No run has a SynOps figure.", ha="center", va="center")
    return figure


def _styles(networks: Sequence[Network]) -> Styles:
    names = sorted({row.label for network in networks for row in network.rows if _drawn(row) and not row.control})
    return {n: {"color": COLOURS[i % 8], "marker": MARKERS[(i + i // 8) % 8]} for i, n in enumerate(names)}


def _drawn(row: Row) -> bool:
    return row.accuracy is not None and row.synops is not None


def _panel(axes: Axes, network: Network, board: Board, styles: Styles) -> None:
    rows = [row for row in network.rows if _drawn(row)]
    axes.set_title(plain(network.label), loc="left", pad=8)
    across, up = _synops_scale(rows), _accuracy_scale(rows, network)
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault("" if row.control else row.label, []).append(row)
    ends = {}
    for name, held in lines.items():
        style = styles.get(name, {"color": INK, "marker": CONTROL_MARKER})
        ends[name or CONTROL_NAME] = *_line(axes, held, across, up, style), style["color"]
    _frame(axes, across, up, f"SynOps a sample ({board.suite.counter})")
    axes.set_xlim(_around([_span(row.synops, across) for row in rows]))
    axes.set_ylim(_around([_span(row.accuracy, up) for row in rows]))
    _name_lines(axes, ends)


def _around(spans: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """Return limits around means and intervals: an interval much longer than the spread of the means runs out."""
    low, high = min(span[0] for span in spans), max(span[0] for span in spans)
    spread = (high - low) or 0.1 * abs(high) or 1.0
    ends = min(m - below for m, below, _ in spans), max(m + above for m, _, above in spans)
    reach = [min(max(far, 0.12 * spread), 0.35 * spread) for far in (low - ends[0], ends[1] - high)]
    return low - reach[0], high + reach[1]


def _line(axes: Axes, rows: list[Row], across: Scale, up: Scale, style: dict[str, Any]) -> tuple[float, float]:
    """Draw one entry's points, intervals and line; return its leftmost point."""
    spots = sorted((_span(row.synops, across), _span(row.accuracy, up), row.enough) for row in rows)
    colour, size = style["color"], 4.5 if style["marker"] != CONTROL_MARKER else 9
    axes.plot([x[0] for x, _, _ in spots], [y[0] for _, y, _ in spots], color=colour, lw=1.3)
    for x, y, enough in spots:
        if enough:
            sides = [[x[1]], [x[2]]], [[y[1]], [y[2]]]
            axes.errorbar(x[0], y[0], xerr=sides[0], yerr=sides[1], fmt="none", ecolor=colour, elinewidth=0.9)
        fill = colour if enough else PAPER
        axes.plot(x[0], y[0], marker=style["marker"], ms=size, mfc=fill, mec=colour, ls="none", zorder=3)
    if style["marker"] == CONTROL_MARKER:
        axes.axhline(spots[0][1][0], color=colour, lw=0.7, ls=(0, (4, 3)), zorder=0)
    return spots[0][0][0], spots[0][1][0]


def _span(estimate: Estimate | None, scale: Scale) -> tuple[float, float, float]:
    """Return where a mean stands on an axis, and how far its interval reaches below and above."""
    if estimate is None:
        raise ValueError("only rows with both figures are drawn")
    middle, half = scale.place(estimate.mean), estimate.half or 0.0
    return middle, middle - scale.place(estimate.mean - half), scale.place(estimate.mean + half) - middle


def _synops_scale(rows: Sequence[Row]) -> Scale:
    means = [row.synops.mean for row in rows if row.synops]
    low, high = min(means), max(means)
    if low > 0 and high / low > WIDE:
        floor = low / 100
        ticks = [m * 10.0**e for e in range(-3, 15) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
        return Scale(lambda v: math.log10(max(v, floor)), _thinned(ticks, 3), _operations, log=True)
    step = _step(high - low or high or 1.0)
    ticks = [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return Scale(float, tuple(ticks), _operations, log=False)


def _accuracy_scale(rows: Sequence[Row], network: Network) -> Scale:
    floor = 0.5 / (network.images or 1)
    errors = [max(1 - row.accuracy.mean, floor) for row in rows if row.accuracy]
    low, high = min(errors), max(errors)
    if high / low > WIDE:
        ticks = [1 - level / 100 for level in _LEVELS if 0.7 * low <= level / 100 <= 1.2 * high]
        return Scale(lambda v: -math.log10(max(1 - v, floor)), _thinned(ticks, 7), _per_cent, log=True)
    step = _step(high - low or high or 0.01)
    ticks = [step * i for i in range(math.floor((1 - high) / step), math.ceil((1 - low) / step) + 1)]
    return Scale(float, tuple(ticks), _per_cent, log=False)


def _step(span: float) -> float:
    """Return the round step that cuts a span into three to seven parts."""
    size = 10.0 ** math.floor(math.log10(span / 3))
    return next(m * size for m in (10, 5, 2, 1) if span / (m * size) >= 3 or m == 1)


def _thinned(ticks: Sequence[float], most: int) -> tuple[float, ...]:
    """Keep every n-th tick, so that at most `most` remain."""
    return tuple(ticks[:: math.ceil(len(ticks) / most) or 1])


def _operations(value: float) -> str:
    return quantity(float(f"{value:.6g}"))


def _per_cent(value: float) -> str:
    return fixed(100 * value, 3).rstrip("0").rstrip(".")


def _frame(axes: Axes, across: Scale, up: Scale, title: str) -> None:
    for axis, scale in ((axes.xaxis, across), (axes.yaxis, up)):
        texts = {scale.place(tick): scale.text(tick) for tick in scale.ticks}
        axis.set_major_locator(FixedLocator(sorted(texts)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _, texts=texts: texts.get(value, "")))
    axes.set_facecolor("none")
    axes.grid(color=FAINT, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=3)
    axes.set_xlabel(title + (", logarithmic" if across.log else ""))
    axes.set_ylabel("top-1 %" + (", by log of the error" if up.log else ""), rotation_mode="anchor")


def _name_lines(axes: Axes, ends: dict[str, tuple[float, float, str]]) -> None:
    """Write each line's name at the left of the panel, with a thin leader to its leftmost point."""
    names = {name: _cut(plain(name)) for name in ends}
    low, high = axes.get_xlim()
    room = 0.04 + max(map(len, names.values())) * 0.0195
    axes.set_xlim(low - (high - low) * room / (1 - room), high)
    bottom, top = axes.get_ylim()
    low, high = axes.get_xlim()
    heights = _heights({name: (y - bottom) / (top - bottom) for name, (_, y, _) in ends.items()})
    for name, (x, y, colour) in ends.items():
        height = heights[name]
        spot = (x - low) / (high - low), (y - bottom) / (top - bottom)
        edge = 0.015 + len(names[name]) * 0.0187
        control = name == CONTROL_NAME
        side = "bottom" if control else "center"
        text = axes.text(0.01, height + 0.012 * control, names[name], color=colour, size=8, va=side)
        text.set(transform=axes.transAxes, bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.6})
        if spot[0] > edge and not control:
            axes.plot([edge, spot[0]], [height, spot[1]], color=colour, lw=0.5, alpha=0.6, transform=axes.transAxes)


def _cut(name: str) -> str:
    return name if len(name) <= _LABEL else name[: _LABEL - 1] + "…"


def _heights(wanted: dict[str, float]) -> dict[str, float]:
    """Return a height for each name: the control's on its own line, the others beside their points, apart and clear."""
    pinned = {name: y for name, y in wanted.items() if name == CONTROL_NAME}
    line = pinned.get(CONTROL_NAME)
    under = {name: y for name, y in wanted.items() if line is None or (name not in pinned and y <= line)}
    over = {name: y for name, y in wanted.items() if name not in under and name not in pinned}
    held = _apart(under, 0.03, 0.97 if line is None else line - 0.045)
    return held | pinned | (_apart(over, line + 0.105, 0.97) if line is not None else {})


def _apart(wanted: dict[str, float], floor: float, ceiling: float) -> dict[str, float]:
    """Move heights apart by a line of text at least, in their order, between the two bounds where they fit."""
    order = sorted(wanted, key=lambda name: (wanted[name], name))
    placed: dict[str, float] = {}
    for name in order:
        placed[name] = max(wanted[name], floor)
        floor = placed[name] + _TEXT
    for name in reversed(order):
        placed[name] = min(placed[name], ceiling)
        ceiling = placed[name] - _TEXT
    return placed


def _svg(networks: Sequence[Network], board: Board, styles: Styles) -> str:
    out = io.StringIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        figure = _figure(networks, board, styles)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, facecolor=PAPER)
    lines = out.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"
