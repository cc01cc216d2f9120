"""Pictures of what was measured in training, by depth or over inference: the first measured update beside the last."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from synobench.board import Board, Network
from synobench.board.figures import plain
from synobench.board.rows import Row
from synobench_renderers import scales
from synobench_renderers.legend import LINE, SMALL, draw, laid, wrapped
from synobench_renderers.measured import PICTURES, pictures
from synobench_renderers.panels import EDGE, MARGINS, MOST, Box, around, axis_across, axis_up, placed
from synobench_renderers.scales import Scale
from synobench_renderers.sheet import Sheet, cut
from synobench_renderers.styles import Style, Styles, traced

WIDTH, HEIGHT = 330.0, 200.0
"""Of a panel: two stand side by side, the first measured update and the last."""


@dataclass(frozen=True)
class Kind:
    """What a picture shows.

    Args:
        name: of the axis up. `label`: of the axis across.
        scale: of the axis up.
        mean: over seeds. `means`: what it is called.
        broken: whether a null is a figure that was not finite, rather than none at all, for inference had ended.
    """

    name: str
    label: str
    scale: Callable[[Sequence[float]], Scale]
    mean: Callable[[Sequence[float]], float]
    means: str
    broken: bool = True


@dataclass(frozen=True)
class Place:
    """One entry at one column of a table: mean, least and greatest over seeds; None where no seed has a figure.

    `broken` says whether a seed's figure was not finite.
    """

    span: tuple[float, float, float] | None
    broken: bool


@dataclass(frozen=True)
class Trace:
    """One entry at one update: a place a column, numbered from `first`."""

    name: str
    update: int
    first: int
    places: tuple[Place, ...]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _geometric(values: Sequence[float]) -> float:
    return math.exp(_mean(list(map(math.log, values)))) if min(values) > 0 else 0.0


KINDS = {
    "updates": Kind("|dW| / |W|", "depth, input first", scales.factors, _geometric, "geometric means"),
    "energy": Kind("energy", "sweeps of inference", scales.factors, _geometric, "geometric means", broken=False),
    "cosine": Kind("cosine", "depth, input first", scales.plain_figures, _mean, "means"),
}
"""Name of a picture -> how it is drawn."""


def of_board(board: Board, name: str) -> Sheet | None:
    """Draw a board of rules; None of any other, or where nothing of the kind was measured."""
    if name not in pictures(board):
        return None
    held = {n.label: found for n in board.networks if (found := _traces(n, PICTURES[name].table, KINDS[name]))}
    networks = [network for network in board.networks if network.label in held]
    title = f"{PICTURES[name].title}: {plain(board.suite.name)}"
    return _sheet(title, KINDS[name], networks, held, traced(board.networks))


def _traces(network: Network, table: str, kind: Kind) -> list[tuple[Trace, Trace]]:
    """Return the first and the last trace of each unpruned entry that has any, by the alphabet."""
    rows = sorted((row for row in network.rows if row.unpruned), key=lambda row: row.label)
    return [found for row in rows if (found := _trace(row, table, kind))]


def _trace(row: Row, table: str, kind: Kind) -> tuple[Trace, Trace] | None:
    tables = [run.training[table] for run in row.runs if table in run.training]
    # Seeds that stopped inference earlier have fewer columns.
    wide = max((len(held["by"]) for held in tables), default=0)
    if not tables:
        return None
    name = str(tables[0]["by"][0])
    start = int(name) if name.isdecimal() and len(name) < 6 else 1
    first, last = (Trace(row.label, tables[0]["at"][i], start, _places(tables, i, wide, kind)) for i in (0, -1))
    return first, last


def _places(
    tables: Sequence[Mapping[str, list[list[float | None]]]], at: int, wide: int, kind: Kind
) -> tuple[Place, ...]:
    columns = ([t["values"][at][c] if c < len(t["by"]) else None for t in tables] for c in range(wide))
    return tuple(_place(column, kind) for column in columns)


def _place(values: Sequence[float | None], kind: Kind) -> Place:
    held = [value for value in values if value is not None]
    whole = len(held) == len(values)
    # Without the seeds whose inference had ended, a mean would be that of others than the one before it.
    span = (kind.mean(held), min(held), max(held)) if held and (whole or kind.broken) else None
    return Place(span, kind.broken and not whole)


def _sheet(
    title: str, kind: Kind, networks: Sequence[Network], held: Mapping[str, list[tuple[Trace, Trace]]], looks: Styles
) -> Sheet:
    shown, width = networks[:MOST], 2 * WIDTH + 2 * EDGE
    names = sorted({trace.name for network in shown for trace, _ in held[network.label]})
    legend = laid([(name, looks[name]) for name in names], width - 2 * EDGE)
    notes = wrapped(_note(kind, len(networks) - len(shown)), width - 2 * EDGE - 10)
    below = LINE * (len(legend) + len(notes)) + 2 * EDGE
    sheet = Sheet(width, len(shown) * HEIGHT + below, title)
    for i, network in enumerate(shown):
        _pair(sheet, sheet.height - i * HEIGHT, network, held[network.label], (kind, looks))
    draw(sheet, legend, (EDGE + 10, below - EDGE - LINE / 2))
    for i, note in enumerate(reversed(notes)):
        sheet.text((EDGE + 10, EDGE + 3 + i * LINE), note, size=SMALL)
    return sheet


def _note(kind: Kind, left_out: int) -> str:
    broken = "; a cross at the upper edge: not finite at some seed" if kind.broken else "; as far as all seeds went"
    further = f" {left_out} further networks are not drawn." if left_out else ""
    return (
        f"Unpruned networks: {kind.means} over seeds, bars from the least to the greatest seed{broken}. Left the first "
        f"measured update, right the last.{further}"
    )


def _pair(
    sheet: Sheet, top: float, network: Network, found: Sequence[tuple[Trace, Trace]], drawing: tuple[Kind, Styles]
) -> None:
    """Draw the first and the last update of a network side by side, on the same axes."""
    kind, _ = drawing
    figures = [value for pair in found for trace in pair for p in trace.places if p.span for value in p.span]
    scale = kind.scale(figures or [1.0])
    spans = [_moved(p.span, scale.place) for pair in found for trace in pair for p in trace.places if p.span]
    ends = around(spans or [(0.0, 0.0, 0.0)], scale.least)
    for side, traces in enumerate(zip(*found, strict=True)):
        left = EDGE + side * WIDTH
        box = Box(left + MARGINS[0], top - HEIGHT + MARGINS[2], left + WIDTH - MARGINS[1], top - MARGINS[3])
        updates = sorted({trace.update for trace in traces})
        told = f"{network.label}, update {' or '.join(f'{update:,}' for update in updates)}"
        sheet.text((left + EDGE, box.top + 9), cut(plain(told), WIDTH - 2 * EDGE, 10.0), size=10.0)
        _panel(sheet, box, traces, (scale, ends), drawing)


def _panel(
    sheet: Sheet, box: Box, traces: Sequence[Trace], up: tuple[Scale, tuple[float, float]], drawing: tuple[Kind, Styles]
) -> None:
    (scale, ends), (kind, looks) = up, drawing
    first = min(trace.first for trace in traces)
    last = max(trace.first + len(trace.places) - 1 for trace in traces)
    across = first - 0.3, max(last, first + 1) + 0.3
    axis_across(sheet, box, scales.places(first, last), across, kind.label)
    axis_up(sheet, box, scale, ends, kind.name)
    to_x, to_y = placed(across, box.left, box.right), placed(ends, box.bottom, box.top)
    for trace in traces:
        look = looks[trace.name]
        spots = list(_spots(trace, to_x, lambda value: to_y(scale.place(value))))
        if len(spots) > 1:
            sheet.line([(x, y) for x, (y, _, _) in spots], look.colour, 1.3, look.dashes)
        for x, (y, low, high) in spots:
            sheet.line([(x, max(low, box.bottom)), (x, min(high, box.top))], look.colour, 0.9)
            sheet.mark((x, y), look.marker, 4.0, look.colour, look.colour)
        _crosses(sheet, box, trace, look, to_x)


def _spots(
    trace: Trace, to_x: Callable[[float], float], to_y: Callable[[float], float]
) -> Iterator[tuple[float, tuple[float, float, float]]]:
    for i, place in enumerate(trace.places, start=trace.first):
        if place.span:
            yield to_x(i), _moved(place.span, to_y)


def _crosses(sheet: Sheet, box: Box, trace: Trace, look: Style, to_x: Callable[[float], float]) -> None:
    for i, place in enumerate(trace.places, start=trace.first):
        if place.broken:
            sheet.mark((to_x(i), box.top), "x", 6.0, look.colour, look.colour)


def _moved(span: tuple[float, float, float], to: Callable[[float], float]) -> tuple[float, float, float]:
    return to(span[0]), to(span[1]), to(span[2])
