"""Who is better than whom on one network: each row against the reference entry, the dense control and the first place.

All comparisons with the reference are one family of Holm's step-down, all with the control another, and those with the
first place of a target a third. Runs are paired by seed, and only where their parents are the same.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from synobench.board.rows import FEWEST, Row, shared
from synobench.stats.evidence import Mcnemar, mcnemar
from synobench.stats.intervals import ALPHA, seeds_needed, smallest_difference
from synobench.stats.multiple import BETTER, WORSE, Comparison, compare
from synobench.stats.robust import Superiority, superiority

Pairing = tuple[Mapping[int, float], Mapping[int, float]]
"""Two entries' accuracies by seed, over the seeds that can be paired."""


@dataclass(frozen=True)
class Power:
    """What the comparisons with one entry could have seen.

    Args:
        against: the label of that entry.
        pairs: the fewest paired seeds of a comparison.
        spread: the median standard deviation of the paired differences, in accuracy.
        smallest: the true difference that one comparison alone finds four times in five.
        strict: the same at the level of the strictest test of the family. `family`: how many it holds.
        needed: the seeds with which one comparison alone would so find half a point.
    """

    against: str
    pairs: int
    spread: float
    smallest: float
    strict: float
    family: int
    needed: int


class Court:
    """Judges the rows of one network, a family at a time, when a verdict is first asked for."""

    def __init__(self) -> None:
        self._rows: Sequence[Row] = ()
        self._places: dict[tuple[str, ...], int] = {}

    def sit(self, rows: Sequence[Row]) -> None:
        """Take the rows of the network, in their order; once."""
        self._rows, self._places = rows, {row.place: i for i, row in enumerate(rows)}

    def best(self, row: Row) -> bool | None:
        """Say whether the first place of its target is not shown to be better."""
        return self._groups.get(self._places[row.place])

    def verdict(self, row: Row) -> Comparison | None:
        """Compare it with the reference entry at its target."""
        return self._against.get(self._places[row.place])

    def to_control(self, row: Row) -> Comparison | None:
        """Compare it with its dense network."""
        return self._to_control.get(self._places[row.place])

    def superiority(self, row: Row) -> Superiority | None:
        """Count how often it beats the reference."""
        other = self._references.get(self._places[row.place])
        return None if other is None else superiority(*pairing(row, other))

    def mcnemar(self, row: Row) -> dict[int, Mcnemar]:
        """Compare it with the reference image by image."""
        other = self._references.get(self._places[row.place])
        return {} if other is None else _within(row, other)

    @cached_property
    def _references(self) -> dict[int, Row]:
        """Return the reference entry that each row is set against."""
        first = {(row.peers, row.target_label): row for row in self._rows if row.reference}
        bases = {i: first.get((row.peers, row.target_label)) for i, row in enumerate(self._rows) if not row.control}
        return {i: base for i, base in bases.items() if base is not None and base is not self._rows[i]}

    @cached_property
    def _against(self) -> dict[int, Comparison]:
        return _family(self._rows, self._references)

    @cached_property
    def _to_control(self) -> dict[int, Comparison]:
        dense = {row.family: row for row in self._rows if row.unpruned}
        pruned = ((i, row) for i, row in enumerate(self._rows) if not row.unpruned)
        return _family(self._rows, {i: dense[row.family] for i, row in pruned if row.family in dense})

    @cached_property
    def _groups(self) -> dict[int, bool | None]:
        """Mark the rows of each target that its first place is not shown to be better than."""
        targets: dict[str, list[int]] = {}
        for i, row in enumerate(self._rows):
            if row.rank is not None:
                targets.setdefault(row.target_label, []).append(i)
        return {i: best for places in targets.values() for i, best in _group(self._rows, places).items()}


def powers(rows: Sequence[Row]) -> tuple[Power, ...]:
    """Return what the comparisons of one network with the reference, and with the control, could have seen."""
    reference = next((row.entry for row in rows if row.reference), "")
    dense = "the dense control" if any(row.control for row in rows) else "the dense network of its own rule"
    families = {reference: [row.verdict for row in rows], dense: [row.to_control for row in rows]}
    found = [power(against, comparisons) for against, comparisons in families.items()]
    return tuple(one for one in found if one is not None)


def power(against: str, comparisons: Iterable[Comparison | None]) -> Power | None:
    """Return what a family of comparisons could have seen; None where none of them has seeds enough."""
    held = [comparison for comparison in comparisons if comparison is not None]
    gaps = [c.difference for c in held if c.difference is not None and c.difference.n >= FEWEST]
    if not gaps:
        return None
    spread, pairs = statistics.median(gap.sd or 0.0 for gap in gaps), min(gap.n for gap in gaps)
    return Power(
        against=against,
        pairs=pairs,
        spread=spread,
        smallest=smallest_difference(spread, pairs),
        strict=smallest_difference(spread, pairs, level=1 - ALPHA / len(held)),
        family=len(held),
        needed=seeds_needed(spread),
    )


def pairing(row: Row, other: Row) -> Pairing:
    """Return the accuracies of two rows over the seeds that can be paired."""
    pairs = shared(row.runs, other.runs)
    return {a.seed: a.top1.accuracy for a, _ in pairs}, {b.seed: b.top1.accuracy for _, b in pairs}


def _family(rows: Sequence[Row], others: Mapping[int, Row]) -> dict[int, Comparison]:
    """Compare rows with others as one family; a row that shares no seed is no part of it."""
    pairs = {i: pairing(rows[i], other) for i, other in others.items()}
    held = {str(i): pair for i, pair in pairs.items() if pair[0]}
    found = {int(comparison.name): comparison for comparison in compare(held)}
    return {i: dataclasses.replace(c, name=f"{rows[i].label}, {others[i].label}") for i, c in found.items()}


def _group(rows: Sequence[Row], places: Sequence[int]) -> dict[int, bool | None]:
    if len(places) < 2:
        return {}
    first = min(places, key=lambda i: rows[i].rank or 0)
    found = _family(rows, {i: rows[first] for i in places if i != first})
    return {i: True if i == first else _level(rows[i], rows[first], found.get(i)) for i in places}


def _level(row: Row, first: Row, found: Comparison | None) -> bool | None:
    """Say whether a row is level with the first place; None where its seeds cannot tell."""
    if found is None or found.difference is None:
        return None
    if found.constant and (found.difference.mean == 0 or (row.deterministic and first.deterministic)):
        return found.difference.mean == 0
    return None if found.p is None else found.verdict not in (BETTER, WORSE)


def _within(row: Row, other: Row) -> dict[int, Mcnemar]:
    return {a.seed: mcnemar(a.top1.mask, b.top1.mask, a.top1.total) for a, b in shared(row.runs, other.runs)}
