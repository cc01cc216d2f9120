"""Two sides of stored records: what became of each cell, and by how much each entry moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from synobench.board import Board, Network, figures, findings
from synobench.board.rows import Row, headline, shared
from synobench.board.verdicts import pairing
from synobench.compare.report import Facts, Report, Section, comparison_facts, estimate_facts
from synobench.compare.sides import Side
from synobench.replay import spread_bound
from synobench.stats.intervals import Estimate, paired_ratio
from synobench.stats.multiple import Comparison
from synobench.stats.multiple import compare as judge
from synobench.store import Record, canonical

MakeBoard = Callable[[str, Iterable[Record]], Board]

SAME, RECOUNTED, MOVED = "same", "recomputed by a new counter", "moved within the seeds' spread"
CHANGED, NEW, GONE = "changed", "new", "gone"
CLASSES = (SAME, RECOUNTED, MOVED, CHANGED, NEW, GONE)
"""What can become of a cell."""

_WORDS = frozenset({"suite", "network", "entry", "target", "verdict"})


@dataclass(frozen=True)
class Placed:
    """An entry at one target on one network of a board."""

    board: Board
    network: Network
    row: Row

    @property
    def cells(self) -> tuple[str, ...]:
        """How a table names it, under `_PLACE`."""
        return self.board.suite.name, self.network.label, self.row.label, self.row.target_label

    @property
    def facts(self) -> Facts:
        """How plain data name it."""
        names = ("suite", "dataset", "model", "entry", "target")
        told = (self.board.suite.name, self.network.dataset, self.network.model, self.row.label, self.row.target_label)
        return dict(zip(names, told, strict=True))


_PLACE = ("suite", "network", "entry", "target")


@dataclass(frozen=True)
class Moved:
    """An entry of which a run is no longer the same: after less before, among all such entries."""

    place: Placed
    cells: Mapping[str, int]
    verdict: Comparison


@dataclass(frozen=True)
class Recounted:
    """An entry of which a run has other counts: its SynOps after over those before."""

    place: Placed
    ratio: Estimate | None


def compare_sides(before: Side, after: Side, make: MakeBoard) -> Report:
    """Compare the records of two sides, key by key and entry by entry.

    Args:
        before: the first side.
        after: the second; it is better where its accuracy is higher.
        make: builds the board of one suite from its records.
    """
    names = sorted(before.records.keys() | after.records.keys())
    old, new = (
        _places([make(name, side.records.get(name, {}).values()) for name in names]) for side in (before, after)
    )
    classes = {name: _classes(name, before, after, old) for name in names}
    both = [(old[key], new[key]) for key in new if key in old]
    moved, counted = _moved(both, classes), _recounted(both)
    fresh, lost = ([place for key, place in a.items() if key not in b] for a, b in ((new, old), (old, new)))
    sections = (
        _counts(classes, before, after),
        _effects(moved),
        _ratios(counted),
        _listed(NEW, fresh),
        _listed(GONE, lost),
    )
    return Report(
        title=f"{after.name} against {before.name}",
        sentences=tuple(_sentences(classes)),
        sections=tuple(section for section in sections if section.rows),
        notes=_notes(before, after, len(moved)),
        facts={
            "kind": "records",
            "a": before.name,
            "b": after.name,
            "cells": {name: dict(Counter(held.values())) for name, held in classes.items()},
            "keys": {name: {k: kind for k, kind in held.items() if kind != SAME} for name, held in classes.items()},
            "moved": [{**m.place.facts, "comparison": comparison_facts(m.verdict)} for m in moved],
            "recomputed": [{**c.place.facts, "synops_ratio": estimate_facts(c.ratio)} for c in counted],
            NEW: [_row_facts(place) for place in fresh],
            GONE: [_row_facts(place) for place in lost],
        },
        shared=sum(kind not in (NEW, GONE) for held in classes.values() for kind in held.values()),
    )


def _places(boards: Iterable[Board]) -> dict[str, Placed]:
    """Return each row that has runs, under what its cells share but for the seed: suite and inputs, revisions apart."""
    found = {}
    for board in boards:
        for network in board.networks:
            for row in network.rows:
                if row.runs:
                    told = {k: v for k, v in row.runs[0].inputs.items() if k not in ("seed", "parent", "revisions")}
                    found[canonical(told)] = Placed(board, network, row)
    return found


def _classes(suite: str, before: Side, after: Side, places: Mapping[str, Placed]) -> dict[str, str]:
    """Return the class of each key of one suite."""
    old, new = (side.records.get(suite, {}) for side in (before, after))
    rows = {run.key: place.row for place in places.values() for run in place.row.runs}
    return {key: _class(old.get(key), new.get(key), rows.get(key)) for key in sorted(old.keys() | new.keys())}


def _class(old: Record | None, new: Record | None, row: Row | None) -> str:
    """Say what became of a cell; whether it moved far is told by the spread of its other seeds, as they were."""
    if old is None or new is None:
        return NEW if old is None else GONE
    one, two = (record["outcome"] for record in (old, new))
    if one["test"] == two["test"]:
        return SAME if one["ledger"] == two["ledger"] else RECOUNTED
    bound = spread_bound([run.top1.accuracy for run in (row.runs if row else ()) if run.key != old["key"]])
    hits = [outcome["test"]["top1"]["hits"] / outcome["test"]["top1"]["total"] for outcome in (one, two)]
    return MOVED if bound is not None and abs(hits[1] - hits[0]) <= bound else CHANGED


def _moved(both: Sequence[tuple[Placed, Placed]], classes: Mapping[str, Mapping[str, str]]) -> list[Moved]:
    """Return the entries of which a run hits other images, compared as one family."""
    apart = [(a, b) for a, b in both if any(x.top1.mask != y.top1.mask for x, y in shared(b.row.runs, a.row.runs))]
    judged = judge({str(i): pairing(b.row, a.row) for i, (a, b) in enumerate(apart)})
    told = [Counter(classes[b.board.suite.name].get(run.key, NEW) for run in b.row.runs) for _, b in apart]
    return [Moved(b, cells, verdict) for (_, b), cells, verdict in zip(apart, told, judged, strict=True)]


def _recounted(both: Iterable[tuple[Placed, Placed]]) -> list[Recounted]:
    """Return the entries of which a run hits the same images at other counts."""
    found = []
    for a, b in both:
        pairs = shared(b.row.runs, a.row.runs)
        if any(x.top1.mask == y.top1.mask and x.counts != y.counts for x, y in pairs):
            found.append(Recounted(b, paired_ratio(_synops(b), _synops(a))))
    return found


def _synops(place: Placed) -> dict[int, float]:
    suite = place.board.suite
    held = {run.seed: headline(run, suite.counter, suite.headlines) for run in place.row.runs}
    return {seed: value for seed, value in held.items() if value is not None}


def _sentences(classes: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    counts = Counter(kind for held in classes.values() for kind in held.values())
    told = ", ".join(f"{counts[kind]:,} {kind}" for kind in CLASSES if counts[kind])
    yield f"{sum(counts.values()):,} cells: {told}."
    if not sum(counts[kind] for kind in CLASSES if kind not in (NEW, GONE)):
        yield "No cell is on both sides: there is nothing to compare."


def _counts(classes: Mapping[str, Mapping[str, str]], before: Side, after: Side) -> Section:
    counts = {name: Counter(held.values()) for name, held in classes.items()}
    kinds = [kind for kind in CLASSES if any(count[kind] for count in counts.values())]
    rows = [
        (name, *(str(len(side.records.get(name, ()))) for side in (before, after)), *(str(count[k]) for k in kinds))
        for name, count in counts.items()
    ]
    return Section("Cells by key", ("suite", "before", "after", *kinds), tuple(rows), _WORDS)


def _effects(moved: Iterable[Moved]) -> Section:
    heads = (*_PLACE, "points", "p", "sign-flip p (floor)", "verdict", "cells")
    rows = []
    for found in moved:
        verdict = found.verdict
        cells = ", ".join(f"{found.cells[kind]} {kind}" for kind in CLASSES if found.cells.get(kind))
        gap = figures.percent(verdict.difference, sign=True)
        tested = (findings.probability(verdict.adjusted), findings.sign_flip(verdict.flip), verdict.says())
        rows.append((*found.place.cells, gap, *tested, cells))
    return Section("Top-1 accuracy, after less before, paired by seed", heads, tuple(rows), _WORDS | {"cells"})


def _ratios(counted: Iterable[Recounted]) -> Section:
    rows = [(*found.place.cells, figures.ratio(found.ratio)) for found in counted]
    return Section(
        "Recomputed by a new counter, the hits being the same", (*_PLACE, "SynOps, after / before"), tuple(rows), _WORDS
    )


def _listed(kind: str, places: Iterable[Placed]) -> Section:
    heads = (*_PLACE, "seeds", "top-1 %", "to dense, points", "verdict")
    rows = []
    for place in places:
        row = place.row
        gap = figures.GAP if row.control else figures.percent(row.difference, sign=True)
        against = f"{row.verdict.says()} than {place.network.reference}" if row.verdict else ""
        rows.append((*place.cells, figures.count(row), figures.accuracy(row), gap, against))
    return Section(f"{kind.capitalize()} entries", heads, tuple(rows), _WORDS)


def _row_facts(place: Placed) -> Facts:
    row = place.row
    told = {"accuracy": estimate_facts(row.accuracy), "difference": estimate_facts(row.difference)}
    return {**place.facts, **told, "seeds": list(row.seeds), "verdict": comparison_facts(row.verdict)}


def _notes(before: Side, after: Side, moved: int) -> tuple[str, ...]:
    told = [f"Before is {before.name}, after is {after.name}; cells are joined by their keys."]
    if moved:
        told.append(
            f"Intervals stand at the level that Holm's step-down gives each of the {moved} comparisons, and p is "
            "adjusted by it; the sign-flip p stands beside its floor and decides nothing. A cell moved within the "
            "seeds' spread where two of its seeds would differ as much in 95 of 100 cases."
        )
    return tuple(told)
