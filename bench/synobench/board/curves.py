"""One entry over all its targets on one network: the area under its accuracy, and what it reaches within one point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from synobench.board.rows import Row, headline, same_parent
from synobench.board.runs import Run
from synobench.stats.curves import AtLoss, Curve, Point, areas, compression_at_loss, synops_at_loss
from synobench.stats.intervals import Estimate, interval

FEWEST_TARGETS = 2
"""The fewest operating points that make a curve."""


@dataclass(frozen=True)
class CurveSummary:
    """An entry over its targets of one kind, against log2(compression), seed by seed.

    Args:
        entry: the label of its rows. `kind`: of its targets, as ``sparsity``. `targets`: how many there are.
        areas: seed -> area under accuracy over its width: the mean accuracy along the curve.
        shares: seed -> that over the accuracy of the dense control.
        area, share: the same over seeds.
        compression: where accuracy has fallen one point below the dense control's. `synops`: over the control's, there.
        left_out: seeds that lack an operating point.
    """

    entry: str
    kind: str
    targets: int
    areas: Mapping[int, float] = field(repr=False)
    shares: Mapping[int, float] = field(repr=False)
    area: Estimate | None
    share: Estimate | None
    compression: AtLoss | None
    synops: AtLoss | None
    left_out: tuple[int, ...]


def kind_of(target: Mapping[str, object]) -> str:
    """Return what a target is a value of: ``sparsity``, ``parameters``, ``SynOps (effective)``; empty for no target."""
    name = str(target["name"])
    counter = f" ({target['counter']})" if "counter" in target else ""
    return "" if name == "none" else f"{'SynOps' if name == 'synops' else name}{counter}"


def summaries(
    rows: Sequence[Row], counter: str, headlines: Mapping[str, str], *, several: bool = False
) -> dict[str, CurveSummary]:
    """Return the curves of one network: the label of an entry -> its summary, in the order of labels.

    Args:
        rows: of the network, the dense control's too.
        counter: of the SynOps.
        headlines: counter -> the column that a SynOps axis means.
        several: whether the board has targets of several kinds, which are then part of the label.
    """
    dense = {row.family: {run.seed: run for run in row.runs} for row in rows if row.unpruned}
    groups: dict[tuple[str, str], list[Row]] = {}
    asked: dict[str, set[str]] = {}
    for row in rows:
        if kind := kind_of(row.target):
            asked.setdefault(kind, set()).add(row.target_label)
            groups.setdefault((row.label, kind), []).append(row)
    found = {}
    for (label, kind), held in sorted(groups.items()):
        if len(asked[kind]) >= FEWEST_TARGETS and any(row.runs for row in held):
            points = _points(held, dense.get(held[0].family, {}), counter, headlines)
            summary = _summary(label, kind, len(asked[kind]), points)
            found[f"{label}, by {kind}" if several else label] = summary
    return found


Placed = tuple[Point | None, list[Point]]


def _points(
    rows: Iterable[Row], dense: Mapping[int, Run], counter: str, headlines: Mapping[str, str]
) -> dict[int, Placed]:
    """Return seed -> the dense control's point, where it can be paired, and those of the entry."""
    runs: dict[int, list[Run]] = {}
    for row in rows:
        for run in row.runs:
            runs.setdefault(run.seed, []).append(run)
    placed: dict[int, Placed] = {}
    for seed, held in sorted(runs.items()):
        base = dense.get(seed)
        paired = base is not None and all(same_parent(run, base) for run in held)
        control = _point(base, counter, headlines) if base is not None and paired else None
        placed[seed] = control, [point for run in held if (point := _point(run, counter, headlines))]
    return placed


def _point(run: Run, counter: str, headlines: Mapping[str, str]) -> Point | None:
    """Return a run's operating point; None where it kept no parameter, which no compression tells."""
    if not run.parameters_kept:
        return None
    return Point(run.top1.accuracy, run.parameters / run.parameters_kept, headline(run, counter, headlines))


def _summary(label: str, kind: str, targets: int, placed: Mapping[int, Placed]) -> CurveSummary:
    curves = {seed: Curve(dense, tuple(held)) for seed, (dense, held) in placed.items() if len(held) == targets}
    under = areas(curves)
    controls = {seed: curve.dense.accuracy for seed, curve in curves.items() if curve.dense}
    shares = {seed: value / controls[seed] for seed, value in under.items() if controls.get(seed)}
    return CurveSummary(
        entry=label,
        kind=kind,
        targets=targets,
        areas=under,
        shares=shares,
        area=interval(under.values()) if under else None,
        share=interval(shares.values()) if shares else None,
        compression=compression_at_loss(curves) if curves else None,
        synops=synops_at_loss(curves) if curves else None,
        left_out=tuple(sorted(placed.keys() - under.keys())),
    )
