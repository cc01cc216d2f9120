"""How an entry looks, the same in every picture: colours and shapes that readers with any colour vision tell apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from synobench.board import Network

INK, FAINT, PAPER = "#24292e", "#d0d5db", "#fefefe"
"""The colours of text, of rules and of the ground: a white card, which reads on light and on dark pages."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7b5ea7", "#8c6d46")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
DASHES = ((), (5.0, 2.0), (1.5, 1.5))
CONTROL_MARKER, CONTROL_NAME = "*", "dense control"


@dataclass(frozen=True)
class Style:
    """Colour, shape of the points, and dashes of the line (points on, points off; empty: solid)."""

    colour: str
    marker: str
    dashes: tuple[float, ...] = ()


CONTROL = Style(INK, CONTROL_MARKER, (4.0, 3.0))

Styles = Mapping[str, Style]


def styles(networks: Iterable[Network]) -> dict[str, Style]:
    """Return label -> look of every entry with runs, by the alphabet: no two alike up to 64 entries."""
    names = sorted({row.label for n in networks for row in n.rows if row.runs and not row.control})
    return {name: _style(place) for place, name in enumerate(names)}


def _style(place: int) -> Style:
    turn = place // len(COLOURS)
    colour, marker = COLOURS[place % len(COLOURS)], MARKERS[(place + turn) % len(MARKERS)]
    return Style(colour, marker, DASHES[turn % len(DASHES)])
