"""How an entry looks, the same in every picture: colours and shapes that readers with any colour vision tell apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from synobench.board import Network
from synobench.protocol import RULE

INK, FAINT, PAPER = "#24292e", "#d0d5db", "#fefefe"
"""The colours of text, of rules and of the ground: a white card, which reads on light and on dark pages."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7b5ea7", "#8c6d46")
MORE_COLOURS = (*COLOURS, "#6b7280", "#9f1239")
"""For boards of rules, where colours alone tell rules apart."""

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
    """Return label -> look of every entry with runs, by the alphabet: no two alike up to 64 entries.

    Where pruners act after training rules, a rule has a colour and a pruner a shape, as far as there are enough.
    """
    held = list(networks)
    names = sorted({row.label for n in held for row in n.rows if row.runs and not row.control})
    parts = parted(held)
    if not parts:
        return {name: _style(place) for place, name in enumerate(names)}
    rules, pruners = (sorted(set(each)) for each in zip(*parts.values(), strict=True))
    # No rule is a control, whose shape is free for what no pruner has touched.
    shapes = dict(zip(pruners, (CONTROL_MARKER, *MARKERS), strict=False))
    return {name: replace(_of_rule(rules.index(rule)), marker=shapes[pruner]) for name, (rule, pruner) in parts.items()}


def parted(networks: Iterable[Network]) -> dict[str, tuple[str, str]]:
    """Return label -> rule and "+ pruner", of entries that are rules, some of them pruned; nothing of any others.

    Nothing either where there are more rules than colours or more pruners than shapes.
    """
    rows = [row for n in networks if n.versus == RULE for row in n.rows if row.runs]
    rules = {row.entry for row in rows if row.unpruned}
    found = {}
    for row in rows:
        rule = max((r for r in rules if row.entry == r or row.entry.startswith(f"{r} + ")), key=len, default=row.entry)
        setting = f" ({row.setting})" if row.setting else ""
        found[row.label] = rule + setting, row.entry[len(rule) + 1 :]
    pruners = {pruner for _, pruner in found.values()}
    enough = len({rule for rule, _ in found.values()}) <= len(MORE_COLOURS) and len(pruners) <= len(MARKERS) + 1
    return found if enough and "" in pruners and len(pruners) > 1 else {}


def keyed(networks: Iterable[Network], looks: Styles, names: Iterable[str]) -> list[tuple[str, Style]]:
    """Return what a legend of some entries names: each of them, or rules by colour and pruners by shape."""
    shown, parts = sorted(names), parted(networks)
    if not parts:
        return [(name, looks[name]) for name in shown]
    rules = {parts[name][0]: replace(looks[name], marker=CONTROL_MARKER) for name in shown}
    shapes = {parts[name][1]: Style(INK, looks[name].marker) for name in shown if parts[name][1]}
    return [(name, look) for each in (rules, shapes) for name, look in sorted(each.items(), key=lambda item: item[0])]


def traced(networks: Iterable[Network]) -> dict[str, Style]:
    """Return the looks of lines of rules that are not pruned, each with a shape of its own."""
    held = list(networks)
    looks = styles(held)
    if not parted(held):
        return looks
    names = sorted({row.label for n in held for row in n.rows if row.unpruned and row.label in looks})
    return {name: replace(looks[name], marker=MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)}


def _of_rule(place: int) -> Style:
    return Style(MORE_COLOURS[place], CONTROL_MARKER, DASHES[place % len(DASHES)])


def _style(place: int) -> Style:
    turn = place // len(COLOURS)
    colour, marker = COLOURS[place % len(COLOURS)], MARKERS[(place + turn) % len(MARKERS)]
    return Style(colour, marker, DASHES[turn % len(DASHES)])
