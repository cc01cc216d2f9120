"""Gains over twins: each row against magnitude and random pruning at its own kept counts by tensor, paired by seed.

A twin is found by what the records hold alone: the host's inputs but for the pruner, and as `allocation` what the
host was measured to keep. Its runs stand behind the rows of their hosts, never in rows of their own.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from synobench.board.rows import Row, gap, over, same_parent
from synobench.board.runs import Run
from synobench.stats import Estimate
from synobench.stats.multiple import Comparison, compare
from synobench.store import canonical
from synobench.twins import KINDS, allocation_of

Place = tuple[str, str, tuple[int, ...]]
"""What a twin and its host share, as text, the kind of the twin, and the weights kept by tensor."""


@dataclass(frozen=True)
class Twin:
    """A row's twins of one kind, over seeds.

    Args:
        kind: ``magnitude`` or ``random``.
        runs: by seed, in order. `missing`: seeds of the host without a twin.
        accuracy: top-1 over seeds.
        gain: the host's accuracy less its twin's, paired by seed, its interval at 95 %.
        same: whether host and twin are one network at every seed: equal hits image by image, and equal ledgers.
        verdict: of the gain, by Holm over the gains on its network over twins of its kind; None where it is the same.
    """

    kind: str
    runs: tuple[Run, ...] = field(repr=False)
    missing: tuple[int, ...]
    accuracy: Estimate | None
    gain: Estimate | None
    same: bool
    verdict: Comparison | None = None

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


def with_twins(rows: Sequence[Row], places: Mapping[Place, Run]) -> list[Row]:
    """Return the rows of one network, each with the twins that `places` hold for it."""
    if not places:
        return list(rows)
    found = [_twins(row, places) for row in rows]
    for kind in KINDS:
        _judge(kind, rows, found)
    return [dataclasses.replace(row, twins=twins) for row, twins in zip(rows, found, strict=True)]


def _kind(run: Run) -> str:
    return str(run.inputs["pruner"]["name"]) if allocation_of(run.inputs["pruner"]) else ""


def _shared(run: Run) -> str:
    """Return all inputs but the pruner, as text."""
    revisions = {role: n for role, n in (run.inputs.get("revisions") or {}).items() if role != "pruner"}
    # Far quicker than canonical text, and as good: a twin's inputs are its host's, value by value.
    return json.dumps({**run.inputs, "pruner": None, "revisions": revisions}, sort_keys=True)


def _twins(row: Row, places: Mapping[Place, Run]) -> dict[str, Twin]:
    hosts = [(run, _shared(run)) for run in row.runs if not _kind(run)]
    found: dict[str, Twin] = {}
    for kind in KINDS:
        told = ((run, places.get((shared, kind, run.kept_by_tensor))) for run, shared in hosts)
        if pairs := [(run, twin) for run, twin in told if twin is not None]:
            found[kind] = _twin(kind, [run for run, _ in hosts], pairs)
    return found


def _twin(kind: str, hosts: Sequence[Run], pairs: Sequence[tuple[Run, Run]]) -> Twin:
    runs = tuple(twin for _, twin in pairs)
    return Twin(
        kind=kind,
        runs=runs,
        missing=tuple(sorted({run.seed for run in hosts} - {run.seed for run in runs})),
        accuracy=over(runs, lambda run: run.top1.accuracy),
        gain=gap([run for run, _ in pairs], runs),
        same=all(_equal(host, twin) for host, twin in pairs),
    )


def _equal(a: Run, b: Run) -> bool:
    fives = [None if run.top5 is None else run.top5.mask for run in (a, b)]
    return a.top1.mask == b.top1.mask and fives[0] == fives[1] and a.digest == b.digest


def _judge(kind: str, rows: Sequence[Row], found: Sequence[dict[str, Twin]]) -> None:
    """Give each gain over one kind of twin its verdict; what is the same as its twin is no comparison."""
    apart = [i for i, twins in enumerate(found) if kind in twins and not twins[kind].same]
    pairs = {f"{rows[i].label}, {rows[i].target_label}": _paired(rows[i], found[i][kind]) for i in apart}
    for i, verdict in zip(apart, compare(pairs), strict=True):
        found[i][kind] = dataclasses.replace(found[i][kind], verdict=verdict)


def _paired(row: Row, twin: Twin) -> tuple[dict[int, float], dict[int, float]]:
    own, others = ({run.seed: run for run in runs} for runs in (row.runs, twin.runs))
    seeds = [seed for seed, other in others.items() if same_parent(own[seed], other)]
    return {s: own[s].top1.accuracy for s in seeds}, {s: others[s].top1.accuracy for s in seeds}
