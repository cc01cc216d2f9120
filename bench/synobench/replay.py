"""Replays: a stored cell is run again from nothing, and the difference is judged by how far its seeds lie apart."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synobench.board.reading import read_score
from synobench.board.runs import Score
from synobench.errors import BenchError, nearest
from synobench.registry import Registry
from synobench.stats import t_quantile
from synobench.store import Record, Store, canonical, read_json
from synobench.suite import Cell, Suite, cells, find_suite
from synobench.verify import verify_file

SHORTEST = 6
"""The fewest digits that a key may be cut to."""

IDENTICAL, WITHIN, OUTSIDE, UNJUDGED = "identical", "within the seeds' spread", "outside the seeds' spread", "unjudged"


@dataclass(frozen=True)
class Judgement:
    """A replay held against the stored run.

    Args:
        key: of the cell.
        stored, replayed: top-1 accuracy in [0, 1].
        images: on how many test images one is a hit and the other is none.
        bound: the greatest difference that 95 of 100 pairs of seeds would stay within; None where it is not known.
        seeds: how many other seeds it is told from.
        verdict: ``IDENTICAL``, ``WITHIN``, ``OUTSIDE`` or ``UNJUDGED``.
    """

    key: str
    stored: float
    replayed: float
    images: int
    bound: float | None
    seeds: int
    verdict: str

    def says(self) -> str:
        """Return it as a line: figures in per cent and points."""
        told = f"{self.key[:12]}: {100 * self.stored:.2f} % stored, {100 * self.replayed:.2f} % replayed"
        if self.verdict == IDENTICAL:
            return f"{told}; identical, image by image"
        told = f"{told}, {100 * (self.replayed - self.stored):+.2f} points, {self.images} images apart"
        if self.bound is None:
            return f"{told}; unjudged: other seeds stored: {self.seeds}, needed: 2"
        return f"{told}; {self.verdict}: ± {100 * self.bound:.2f} points, by {self.seeds} other seeds"


def judge(stored: Record, replayed: Record, family: Iterable[Record]) -> Judgement:
    """Judge a replay by the spread of the other seeds of its cell.

    Two runs of one distribution differ by sigma * sqrt(2); with the sample deviation s of the k seeds other than the
    replayed one, their difference stays within t(0.975; k - 1) * s * sqrt(2) in 95 % of cases. A replay of the same
    seed should do far better; one that does worse was not made by what is recorded.

    Args:
        stored: a record.
        replayed: the same cell, run again.
        family: records of the same cell at any seeds; the replayed seed's own is left out.
    """
    own, new = (read_score(r, "outcome.test.top1") for r in (stored, replayed))
    apart = _apart(own, new)
    others = [read_score(r, "outcome.test.top1").accuracy for r in family if r["key"] != stored["key"]]
    bound = spread_bound(others)
    verdict = UNJUDGED
    if apart == 0:
        verdict = IDENTICAL
    elif bound is not None:
        verdict = WITHIN if abs(new.accuracy - own.accuracy) <= bound else OUTSIDE
    return Judgement(str(stored["key"]), own.accuracy, new.accuracy, apart, bound, len(others), verdict)


def spread_bound(others: Sequence[float], level: float = 0.95) -> float | None:
    """Return the bound on the difference of two runs, told from independent runs of the same cell; None below two."""
    if len(others) < 2:
        return None
    return t_quantile((1 + level) / 2, len(others) - 1) * statistics.stdev(others) * math.sqrt(2)


def _apart(a: Score, b: Score) -> int:
    if a.total != b.total:
        raise BenchError(f"the replay was judged on {b.total} images, the stored run on {a.total}")
    return (int.from_bytes(a.mask, "big") ^ int.from_bytes(b.mask, "big")).bit_count()


def family_of(record: Record, store: Store) -> list[Record]:
    """Return the stored records that differ from a record in their seed alone, its own among them."""
    own = _without_seed(record["inputs"])
    suite = record["inputs"]["suite"]["name"]
    return [r for r in store.records(suite) if _without_seed(r.get("inputs")) == own]


def _without_seed(inputs: Any) -> str:
    """Return what a cell's seeds share; nothing of what is no inputs at all, which is for ``verify`` to tell of."""
    told = inputs if isinstance(inputs, Mapping) else {}
    return canonical({k: v for k, v in told.items() if k not in ("seed", "parent")})


def find(keys: Sequence[str], store: Store) -> list[Path]:
    """Return the files of stored records by key, each given in full or by its first digits, each file once.

    Raises:
        BenchError: a key is too short, unknown, or the beginning of several.
    """
    paths = {path.stem: path for suite in store.suites() for path in store.paths(suite)}
    return [paths[key] for key in dict.fromkeys(_whole(key, paths) for key in keys)]


def held(path: Path, registry: Registry) -> Record:
    """Return a record that is what it claims, for hours are not spent on one that is not.

    Raises:
        BenchError: it is not.
    """
    if wrong := verify_file(path, path.parents[1].name, registry):
        raise BenchError(f"record {path.stem[:12]} does not hold: {wrong[0]}")
    return read_json(path)


def _whole(key: str, known: Iterable[str]) -> str:
    if len(key) < SHORTEST:
        raise BenchError(f"{key!r} is too short for a key: give its first {SHORTEST} digits or more")
    found = [other for other in known if other.startswith(key)]
    if len(found) != 1:
        told = "several records" if found else f"no record{nearest(key, (k[: len(key)] for k in known))}"
        raise BenchError(f"{key!r} is the key of {told}")
    return found[0]


def sample(store: Store, suites: Sequence[str], count: int, salt: str) -> list[Path]:
    """Draw records' files, the same for one salt wherever they lie: a date as salt draws others every night."""
    paths = [path for suite in suites or store.suites() for path in store.paths(suite)]
    drawn = sorted(paths, key=lambda path: hashlib.sha256(f"{salt}/{path.stem}".encode()).hexdigest())
    return drawn[:count]


def by_suite(
    records: Iterable[Record], given: Mapping[str, Suite], registry: Registry
) -> list[tuple[Suite, list[Record]]]:
    """Group records by their suite, as it is given or registered.

    Raises:
        BenchError: a suite is neither, or has another version than the record.
    """
    held: dict[str, list[Record]] = {}
    for record in records:
        held.setdefault(record["inputs"]["suite"]["name"], []).append(record)
    grouped = [(given.get(name) or find_suite(name, registry), some) for name, some in sorted(held.items())]
    for suite, some in grouped:
        for record in some:
            version = record["inputs"]["suite"]["version"]
            if version != suite.version:
                told = f"it is of version {version} of suite {suite.name}, here is {suite.version}"
                raise BenchError(f"record {record['key'][:12]} cannot be run here: {told}")
    return grouped


def exit_code(found: Sequence[Judgement], asked: int) -> int:
    """Return 1 where a replay failed or lies outside, 3 where nothing could be judged, else 0."""
    if len(found) < asked or any(judgement.verdict == OUTSIDE for judgement in found):
        return 1
    return 0 if any(judgement.verdict != UNJUDGED for judgement in found) else 3


def cell_of(record: Record, suite: Suite, registry: Registry) -> Cell:
    """Return the cell that a record came from, as it would be run here.

    Raises:
        BenchError: here its inputs would be others, or nothing here stands on its parent.
    """
    planned, _ = cells(suite, registry)
    for cell in planned:
        if cell.key == record["key"]:
            return cell
    # A twin, or a pruner that was added by hand, is in no plan; what stands on the same parent is.
    standing = next((c for c in planned if c.parent_key == record["inputs"]["parent"]["key"]), None)
    if standing is None or "pruner" in standing.parent:
        raise BenchError(f"record {record['key'][:12]} cannot be run here: {_unlike(record['inputs'], planned)}")
    pruner = record["inputs"]["pruner"]
    entry = registry.get("pruner", pruner["name"])
    if entry.revision != record["inputs"]["revisions"]["pruner"]:
        told = f"pruner {entry.name} has revision {entry.revision} here"
        raise BenchError(f"record {record['key'][:12]} cannot be run here: {told}")
    label = f"{standing.network}/{pruner['name']}/seed={record['inputs']['seed']}"
    return Cell(record["inputs"], standing.parent, standing.network, label)


def _unlike(inputs: Mapping[str, Any], planned: Sequence[Cell]) -> str:
    """Name the first part in which a record's inputs are not those of the planned cell that is nearest to it."""

    def differing(cell: Cell) -> list[str]:
        return [k for k in inputs if canonical(inputs[k]) != canonical(cell.inputs.get(k))]

    if not planned:
        return "its suite plans no cell"
    parts = [part for part in min(map(differing, planned), key=len) if part != "parent"]
    return f"its {parts[0] if parts else 'parent'} is not what this bench plans"
