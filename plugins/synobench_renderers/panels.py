"""Panels of points with intervals, one a network, under one legend: what most pictures of a board are made of."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from synobench.board import Board, Network
from synobench.board.figures import plain
from synobench.board.rows import Row
from synobench.stats import Estimate
from synobench_renderers.legend import LINE, SMALL, draw, laid, wrapped
from synobench_renderers.scales import Scale, Ticks, accuracies
from synobench_renderers.sheet import BACK, Sheet, breadth, cut
from synobench_renderers.styles import CONTROL, CONTROL_NAME, FAINT, INK, PAPER, Style, Styles, keyed

MOST = 12
"""Panels in one picture; how many networks are left out is told below them."""

SCREEN, PRINT = (330.0, 240.0), (221.0, 178.0)
"""Width and height of a panel: two stand side by side on a page on the screen, or within 16 cm of paper, unscaled."""

MARGINS = 50.0, 14.0, 40.0, 26.0
"""Left, right, below and above a panel's box."""

EDGE = 6.0
"""Around a picture."""

Span = tuple[float, float, float]
"""Middle, lower and upper end."""


@dataclass(frozen=True)
class Kind:
    """What a picture shows.

    Args:
        title: what it shows, in words.
        figure: the figure across, of a row; None leaves the row out.
        scale: its axis, from all figures of a panel.
        label: its words.
        joined: whether the points of an entry are joined.
        front: whether the best that can be had is outlined (fewer across, more accuracy).
        control: whether the dense control has a point; without one, its accuracy is a line alone.
        empty: what is said where nothing can be drawn.
        rows: the rows of a network that take part; all of them unless it is given.
        note: what is to be said of the picture's signs, behind what holds for all.
    """

    title: str
    figure: Callable[[Row, Network], Estimate | None]
    scale: Callable[[Sequence[float], Network], Scale]
    label: Callable[[Network, Board], str]
    joined: bool = True
    front: bool = False
    control: bool = True
    empty: str = "No run has such a figure."
    rows: Callable[[Network], Sequence[Row]] = lambda network: network.rows
    note: str = ""


@dataclass(frozen=True)
class Point:
    """A row as it is drawn, in points of the sheet."""

    row: Row
    across: Span
    up: Span

    @property
    def spot(self) -> tuple[float, float]:
        """Where its mean stands."""
        return self.across[0], self.up[0]


@dataclass(frozen=True)
class Box:
    """A rectangle on the sheet: left, bottom, right, top."""

    left: float
    bottom: float
    right: float
    top: float


def drawn(kind: Kind, network: Network) -> Iterator[Row]:
    """Yield the rows that are drawn as points: those with both figures."""
    held = (row for row in kind.rows(network) if kind.control or not row.control)
    return (row for row in held if row.accuracy and kind.figure(row, network))


def able(kind: Kind, networks: Iterable[Network]) -> list[Network]:
    """Return the networks of which something can be drawn."""
    return [network for network in networks if any(True for _ in drawn(kind, network))]


def _controls(network: Network) -> list[Row]:
    return [row for row in network.rows if row.control and row.accuracy]


def picture(
    board: Board,
    kind: Kind,
    styles: Styles,
    networks: Sequence[Network] | None = None,
    panel: tuple[float, float] = SCREEN,
) -> Sheet:
    """Draw a board.

    Args:
        board: the board.
        kind: what to draw.
        styles: the look of each entry.
        networks: those to draw; all that have the figures, up to `MOST`, unless they are given.
        panel: width and height of each.
    """
    held = able(kind, board.networks if networks is None else networks)
    shown = held[:MOST]
    columns = 1 if len(shown) < 2 else 2 if len(shown) <= 6 or panel == PRINT else 3
    width = columns * panel[0] + 2 * EDGE
    legend = laid(_keys(board, shown, kind, styles), width - 2 * EDGE)
    notes = wrapped(_notes(kind, len(held) - len(shown)), width - 2 * EDGE - 10) if shown else []
    below = LINE * (len(legend) + len(notes)) + 2 * EDGE
    height = max(1, math.ceil(len(shown) / columns)) * panel[1] + below
    sheet = Sheet(width, height, f"{kind.title}: {plain(board.suite.name)}")
    for i, network in enumerate(shown):
        left, top = EDGE + (i % columns) * panel[0], height - (i // columns) * panel[1]
        box = Box(left + MARGINS[0], top - panel[1] + MARGINS[2], left + panel[0] - MARGINS[1], top - MARGINS[3])
        _panel(sheet, box, network, (board, kind, styles))
    if not shown:
        sheet.text((width / 2, height / 2), kind.empty, across="center", size=9)
    draw(sheet, legend, (EDGE + 10, below - EDGE - LINE / 2))
    for i, note in enumerate(reversed(notes)):
        sheet.text((EDGE + 10, EDGE + 3 + i * LINE), note, size=SMALL)
    return sheet


def _keys(board: Board, networks: Sequence[Network], kind: Kind, styles: Styles) -> list[tuple[str, Style]]:
    names = {row.label for network in networks for row in drawn(kind, network) if not row.control}
    control = any(_controls(network) for network in networks)
    return keyed(board.networks, styles, names) + ([(CONTROL_NAME, CONTROL)] if control else [])


def _notes(kind: Kind, left_out: int) -> str:
    further = f" {left_out} further networks are not drawn." if left_out else ""
    return f"Means over seeds with Student-t 95 % intervals; hollow: too few seeds to be ranked{kind.note}.{further}"


def _panel(sheet: Sheet, box: Box, network: Network, drawing: tuple[Board, Kind, Styles]) -> None:
    board, kind, styles = drawing
    rows, controls = list(drawn(kind, network)), _controls(network)
    figures = [kind.figure(row, network) for row in rows]
    across = kind.scale([figure.mean for figure in figures if figure], network)
    up = accuracies([row.accuracy.mean for row in (*rows, *controls) if row.accuracy], network.images)
    spans = [(_span(figure, across), _span(row.accuracy, up)) for row, figure in zip(rows, figures, strict=True)]
    lines = [_span(row.accuracy, up) for row in controls]
    ends = around([x for x, _ in spans], across.least), around([*(y for _, y in spans), *lines])
    to_x, to_y = placed(ends[0], box.left, box.right), placed(ends[1], box.bottom, box.top)
    points = [Point(r, _moved(x, to_x), _moved(y, to_y)) for r, (x, y) in zip(rows, spans, strict=True)]
    for y, _, _ in lines:
        if not kind.front:
            sheet.line([(box.left, to_y(y)), (box.right, to_y(y))], INK, 0.7, CONTROL.dashes, BACK)
    label = kind.label(network, board) + (f", {across.log}" if across.log else "")
    start = box.left - MARGINS[0] + EDGE
    sheet.text((start, box.top + 9), cut(plain(network.label), box.right - start, 10.0), size=10.0)
    axis_across(sheet, box, across, ends[0], label)
    axis_up(sheet, box, up, ends[1], "top-1 %")
    _points(sheet, box, points, kind, styles)


def axis_across(sheet: Sheet, box: Box, scale: Scale, ends: tuple[float, float], label: str) -> None:
    """Draw the axis at the bottom of a box, between two places on its scale."""
    to = placed(ends, box.left, box.right)

    def apart(ticks: Ticks) -> bool:
        edges = [(to(scale.place(t)), breadth(scale.text(t)) / 2 + 4) for t in ticks]
        return all(b - half - (a + other) >= 0 for (a, other), (b, half) in itertools.pairwise(edges))

    for tick in scale.fitted(lambda p: ends[0] <= p <= ends[1], apart):
        x = to(scale.place(tick))
        sheet.line([(x, box.bottom), (x, box.top)], FAINT, 0.6, layer=BACK)
        sheet.text((x, box.bottom - 11), scale.text(tick), across="center")
    sheet.line([(box.left, box.bottom), (box.right, box.bottom)], INK, 0.8)
    middle = (box.left + box.right) / 2
    sheet.text((middle, box.bottom - 25), cut(label, box.right - box.left + 40), across="center")


def axis_up(sheet: Sheet, box: Box, scale: Scale, ends: tuple[float, float], name: str) -> None:
    """Draw the axis at the left of a box, likewise."""
    to = placed(ends, box.bottom, box.top)

    def apart(ticks: Ticks) -> bool:
        heights = sorted(to(scale.place(tick)) for tick in ticks)
        return all(b - a >= LINE for a, b in itertools.pairwise(heights))

    for tick in scale.fitted(lambda p: ends[0] <= p <= ends[1], apart):
        y = to(scale.place(tick))
        sheet.line([(box.left, y), (box.right, y)], FAINT, 0.6, layer=BACK)
        sheet.text((box.left - 4, y), scale.text(tick), across="right", up="center")
    sheet.line([(box.left, box.bottom), (box.left, box.top)], INK, 0.8)
    label = name + (f", {scale.log}" if scale.log else "")
    sheet.text((box.left - 38, (box.bottom + box.top) / 2), label, across="center", up="center", turn=90)


def _points(sheet: Sheet, box: Box, points: Sequence[Point], kind: Kind, styles: Styles) -> None:
    front = _front(points) if kind.front else []
    if front:
        _stairs(sheet, box, front)
    lines: dict[str, list[Point]] = {}
    for point in points:
        lines.setdefault("" if point.row.control else point.row.label, []).append(point)
    for name, held in lines.items():
        style = styles.get(name, CONTROL)
        if kind.joined and name and len(held) > 1:
            sheet.line(sorted(point.spot for point in held), style.colour, 1.3, style.dashes)
        for point in held:
            _point(sheet, box, point, style, kind.front and point not in front)


def _point(sheet: Sheet, box: Box, point: Point, style: Style, behind: bool) -> None:
    """Draw one point; those `behind` the front are small, and hollow are those without seeds enough."""
    (x, left, right), (y, low, high) = point.across, point.up
    if point.row.enough:
        sheet.line([(max(left, box.left), y), (min(right, box.right), y)], style.colour, 0.5 if behind else 0.9)
        sheet.line([(x, max(low, box.bottom)), (x, min(high, box.top))], style.colour, 0.5 if behind else 0.9)
    size = 9.0 if style is CONTROL else 2.6 if behind else 5.0
    sheet.mark((x, y), style.marker, size, style.colour, style.colour if point.row.enough else PAPER)


def _front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats in both figures, from left to right; those without seeds enough are out."""
    best: list[Point] = []
    for point in sorted((p for p in points if p.row.enough), key=lambda p: (p.across[0], -p.up[0])):
        if not best or point.up[0] > best[-1].up[0]:
            best.append(point)
    return best


def _stairs(sheet: Sheet, box: Box, front: Sequence[Point]) -> None:
    """Outline what the front reaches: at each place across, the highest accuracy that so much buys."""
    spots = [(front[0].across[0], box.bottom)]
    for point in front:
        spots += [(point.across[0], spots[-1][1]), point.spot]
    sheet.line([*spots, (box.right, spots[-1][1])], INK, 1.2)


def _span(estimate: Estimate | None, scale: Scale) -> Span:
    if estimate is None:
        raise ValueError("only rows with both figures are drawn")
    half = estimate.half or 0.0
    return scale.place(estimate.mean), scale.place(estimate.mean - half), scale.place(estimate.mean + half)


def _moved(span: Span, to: Callable[[float], float]) -> Span:
    return to(span[0]), to(span[1]), to(span[2])


def placed(ends: tuple[float, float], low: float, high: float) -> Callable[[float], float]:
    """Return what maps places on a scale, from the one end to the other, to points from low to high."""
    return lambda place: low + (place - ends[0]) / (ends[1] - ends[0]) * (high - low)


def around(spans: Sequence[Span], least: float = 0.0) -> tuple[float, float]:
    """Return limits around means and intervals: an interval much longer than the spread of the means runs out."""
    low, high = min(span[0] for span in spans), max(span[0] for span in spans)
    wider = max(0.0, least - (high - low)) / 2
    spread = (high - low) or least or 0.1 * abs(high) or 1.0
    ends = min(span[1] for span in spans), max(span[2] for span in spans)
    reach = [min(max(far + 0.03 * spread, 0.06 * spread), 0.35 * spread) for far in (low - ends[0], ends[1] - high)]
    return low - max(reach[0], wider), high + max(reach[1], wider)
