"""The critical-difference diagram: mean ranks across blocks, and bars over the entries that no test tells apart.

Demšar (2006) drew it; the bars here join the cliques of exact signed-rank tests under Holm's step-down, pair by pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synobench.board.figures import fixed, plain
from synobench_renderers.sheet import BACK, Sheet, breadth, cut
from synobench_renderers.styles import FAINT, INK, Style

_AXIS, _SIDE, _LINE, _BAR, _EDGE = 260.0, 210.0, 15.0, 7.0, 8.0

_BARS = "Bars join entries that exact signed-rank tests, pair by pair under Holm's step-down, do not set apart."


def diagram(
    ranks: Mapping[str, float], cliques: Sequence[Sequence[str]], note: str, looks: Mapping[str, Style]
) -> Sheet:
    """Draw the diagram.

    Args:
        ranks: entry -> its mean rank, 1 the best.
        cliques: groups that no test tells apart; those of one entry have no bar.
        note: a line below.
        looks: the look of each entry's point.
    """
    order = sorted(ranks, key=lambda name: (ranks[name], name))
    half = (len(order) + 1) // 2
    names = {name: cut(plain(name), _SIDE - 40) for name in order}
    side = max(breadth(f"{text}  {fixed(ranks[name])}") for name, text in names.items()) + 12
    bars = _levels([sorted(ranks[name] for name in clique) for clique in cliques if len(clique) > 1])
    depth = _BAR * (1 + max((level for level, _, _ in bars), default=-1)) + 8
    height = 40 + depth + _LINE * half + 32
    sheet = Sheet(2 * (_EDGE + side) + _AXIS, height, "Mean ranks across blocks")
    left, top = _EDGE + side, height - 34

    def to(rank: float) -> float:
        return left + (rank - 1) / max(1, len(order) - 1) * _AXIS

    sheet.text((left + _AXIS / 2, height - 11), "mean rank, 1 the best", across="center")
    sheet.line([(left, top), (left + _AXIS, top)], INK, 0.8)
    for tick in range(1, len(order) + 1):
        sheet.line([(to(tick), top), (to(tick), top + 4)], INK, 0.8)
        sheet.text((to(tick), top + 6), str(tick), across="center")
    for level, low, high in bars:
        y = top - 8 - level * _BAR
        sheet.line([(to(low) - 3, y), (to(high) + 3, y)], INK, 3.0)
    for place, name in enumerate(order):
        first = place < half
        row = place if first else len(order) - 1 - place
        x, y, edge = to(ranks[name]), top - depth - 8 - row * _LINE, left - 4 if first else left + _AXIS + 4
        style = looks.get(name, Style(INK, "o"))
        sheet.line([(x, top), (x, y), (edge, y)], FAINT, 0.9, layer=BACK)
        sheet.mark((x, top), style.marker, 5.0, style.colour, style.colour)
        told = f"{names[name]}  {fixed(ranks[name])}" if first else f"{fixed(ranks[name])}  {names[name]}"
        sheet.text((edge + (-3 if first else 3), y), told, across="right" if first else "left", up="center")
    for line, told in enumerate((_BARS, note)):
        sheet.text((_EDGE, _EDGE + 12 * line), cut(told, sheet.width - 2 * _EDGE, 7.5), size=7.5)
    return sheet


def _levels(spans: Sequence[Sequence[float]]) -> list[tuple[int, float, float]]:
    """Return each bar with the first level at which it touches no other."""
    ends: list[float] = []
    placed = []
    for low, high in sorted((span[0], span[-1]) for span in spans):
        level = next((i for i, end in enumerate(ends) if end < low - 0.1), len(ends))
        ends[level : level + 1] = [high]
        placed.append((level, low, high))
    return placed
