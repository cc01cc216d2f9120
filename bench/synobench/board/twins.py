"""Gains over twins: each row against magnitude and random pruning at its own kept counts by tensor, paired by seed.

A twin is found by what the records hold alone: the host's inputs but for the pruner, and as `allocation` what the
host was measured to keep. Its runs stand behind the rows of their hosts, never in rows of their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from synobench.board.rows import gap, over, same_parent
from synobench.board.runs import Run
from synobench.stats import Estimate
from synobench.stats.multiple import Comparison, compare
from synobench.store import canonical
from synobench.twins import KINDS, allocation_of

Place = tuple[str, str, tuple[int, ...]]
"""What a twin and its host share, as text, the kind of the twin, and the weights kept by tensor."""


Pairs = Sequence[tuple[Run, Run]]
"""Hosts with their twins of one kind, a seed each."""

Rivals = Callable[[], Mapping[str, Comparison]]
"""The verdicts on the gains over all twins of one kind on a network, by what a row is called; computed when called."""


@dataclass(frozen=True)
class Twin:
    """A row's twins of one kind, over seeds.

    Args:
        kind: ``magnitude`` or ``random``.
        name: what its row is called on its network.
        pairs: each host with its twin, by seed, in order. `missing`: seeds of the host without a twin.
        rivals: the verdicts on all gains over twins of its kind on its network.
    """

    kind: str
    name: str = field(repr=False)
    pairs: Pairs = field(repr=False)
    missing: tuple[int, ...]
    rivals: Rivals = field(repr=False, compare=False)

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The twins by seed, in order."""
        return tuple(twin for _, twin in self.pairs)

    @cached_property
    def accuracy(self) -> Estimate | None:
        """Top-1 over seeds."""
        return over(self.runs, lambda run: run.top1.accuracy)

    @cached_property
    def gain(self) -> Estimate | None:
        """The host's accuracy less its twin's, paired by seed, its interval at 95 %."""
        return gap([run for run, _ in self.pairs], self.runs)

    @cached_property
    def same(self) -> bool:
        """Whether host and twin are one network at every seed: equal hits image by image, and equal ledgers."""
        return all(_equal(host, twin) for host, twin in self.pairs)

    @property
    def verdict(self) -> Comparison | None:
        """Of the gain, by Holm over the gains on its network over twins of its kind; None where it is the same."""
        return self.rivals().get(self.name)

    @property
    def difference(self) -> Estimate | None:
        """The gain with the interval that its verdict rests on; at 95 % where there is no verdict."""
        return self.verdict.difference if self.verdict and self.verdict.difference else self.gain


def own_rows(runs: Iterable[Run], plan: Iterable[Mapping[str, Any]]) -> list[Run]:
    """Return the runs that stand in rows: all but twins, and of these the ones that the suite itself lists."""
    listed = {canonical(inputs["pruner"]) for inputs in plan if allocation_of(inputs["pruner"])}
    return [run for run in runs if not allocation_of(run.inputs["pruner"]) or canonical(run.inputs["pruner"]) in listed]


def places_of(runs: Iterable[Run]) -> dict[Place, Run]:
    """Return the twins among runs by what they share with their hosts."""
    twins = [run for run in runs if _kind(run)]
    return {(_shared(run), _kind(run), tuple(allocation_of(run.inputs["pruner"]))): run for run in twins}


class Twins:
    """Finds the twins of the rows of one network, and judges each kind of them when a verdict is first asked for.

    Args:
        places: the twins of a board.
    """

    def __init__(self, places: Mapping[Place, Run]) -> None:
        self._places = places
        self._found: dict[str, list[Twin]] = {kind: [] for kind in KINDS}
        self._verdicts: dict[str, Mapping[str, Comparison]] = {}

    def of(self, name: str, runs: Iterable[Run]) -> dict[str, Twin]:
        """Return the twins of a row, given what it is called on its network."""
        if not self._places:
            return {}
        hosts = [(run, _shared(run)) for run in runs if not _kind(run)]
        found: dict[str, Twin] = {}
        for kind in KINDS:
            told = ((run, self._places.get((shared, kind, run.kept_by_tensor))) for run, shared in hosts)
            if pairs := [(run, twin) for run, twin in told if twin is not None]:
                found[kind] = self._twin(kind, name, [run for run, _ in hosts], pairs)
        return found

    def _twin(self, kind: str, name: str, hosts: Sequence[Run], pairs: Pairs) -> Twin:
        missing = tuple(sorted({run.seed for run in hosts} - {twin.seed for _, twin in pairs}))
        twin = Twin(kind, name, tuple(pairs), missing, partial(self._judged, kind))
        self._found[kind].append(twin)
        return twin

    def _judged(self, kind: str) -> Mapping[str, Comparison]:
        """Judge the gains over one kind of twin; what is the same as its twin is no comparison."""
        if kind not in self._verdicts:
            self._verdicts[kind] = self._judge(kind)
        return self._verdicts[kind]

    def _judge(self, kind: str) -> Mapping[str, Comparison]:
        apart = {twin.name: _paired(twin.pairs) for twin in self._found[kind] if not twin.same}
        return dict(zip(apart, compare(apart), strict=True))


def _kind(run: Run) -> str:
    return str(run.inputs["pruner"]["name"]) if allocation_of(run.inputs["pruner"]) else ""


def _shared(run: Run) -> str:
    """Return all inputs but the pruner, as text."""
    revisions = {role: n for role, n in (run.inputs.get("revisions") or {}).items() if role != "pruner"}
    # Far quicker than canonical text, and as good: a twin's inputs are its host's, value by value.
    return json.dumps({**run.inputs, "pruner": None, "revisions": revisions}, sort_keys=True)


def _equal(a: Run, b: Run) -> bool:
    fives = [None if run.top5 is None else run.top5.mask for run in (a, b)]
    return a.top1.mask == b.top1.mask and fives[0] == fives[1] and a.digest == b.digest


def _paired(pairs: Pairs) -> tuple[dict[int, float], dict[int, float]]:
    held = [(run, twin) for run, twin in pairs if same_parent(run, twin)]
    return {a.seed: a.top1.accuracy for a, _ in held}, {b.seed: b.top1.accuracy for _, b in held}
