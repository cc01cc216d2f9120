"""Runs of one entry at one target, over seeds -> one Row; rows of one target -> ranks."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from synobench.board.runs import COST, PHASES, Run
from synobench.stats import Estimate, interval, paired, paired_ratio

if TYPE_CHECKING:
    from synobench.board.twins import Twin
    from synobench.stats.evidence import Mcnemar
    from synobench.stats.multiple import Comparison
    from synobench.stats.robust import Superiority

Json = Any
Figure = Callable[[Run], "float | None"]

CONTROL = "none"
"""The name of the dense control's pruner, and of its target."""

FEWEST, FEW = 3, 5
"""Below the first an entry is not ranked, below the second it is marked."""

SYNOPS_SLACK = 0.01
"""A SynOps target counts as reached within this fraction of what was asked."""


@dataclass(frozen=True)
class Row:
    """One entry at one target on one network, over seeds.

    Args:
        entry: its label; `detail` tells all parameters; `setting` what stands around it, where a network has several.
        target: the target as plain data, with its label.
        control: whether it is the dense control. `reference`: whether it is the entry that others are judged against.
        runs: by seed, in order. `missing`: planned seeds without a run.
        accuracy: top-1 over seeds. `deterministic`: it stands on a checkpoint and every seed gave the same hits.
        difference: accuracy less the dense control's, paired by seed; None without a control.
        unpaired: seeds left out of it, for a parent of one key whose weights are not the control's.
        sparsity, parameters_kept: what was reached. `missed`: seeds that missed the target by more than one weight.
        synops: the headline figure; `synops_ratio`: over the dense control's of the same seed.
        columns: further counter columns (``counter.column``) and metrics.
        cost: phase -> samples, forward, backward, peak_bytes, trials.
        seconds: machine -> phase -> seconds.
        rank: place by mean accuracy within its target; None for the control and below the line.
        twins: magnitude and random pruning at its kept counts by tensor, where they were run, by kind.
        best: whether the first place of its target is not shown to be better, by Holm over the rows of that target;
            None where its seeds cannot tell.
        verdict: against the suite's reference entry at the same target; None for the reference, the control, and where
            there is none. `to_control`: against the dense control. Both by Holm over all such comparisons on a network.
        superiority: how often it beats the reference. `mcnemar`: seed -> the two on the same test images.
    """

    entry: str
    detail: str
    setting: str
    target: Mapping[str, Json]
    target_label: str
    control: bool
    reference: bool
    runs: tuple[Run, ...] = field(repr=False)
    missing: tuple[int, ...]
    accuracy: Estimate | None
    deterministic: bool
    difference: Estimate | None
    unpaired: tuple[int, ...]
    sparsity: Estimate | None
    parameters_kept: Estimate | None
    missed: tuple[int, ...]
    synops: Estimate | None
    synops_ratio: Estimate | None
    columns: Mapping[str, Estimate | None]
    cost: Mapping[str, Mapping[str, Estimate | None]]
    seconds: Mapping[str, Mapping[str, Estimate | None]]
    rank: int | None = None
    best: bool | None = None
    twins: Mapping[str, Twin] = field(default_factory=dict)
    verdict: Comparison | None = None
    to_control: Comparison | None = None
    superiority: Superiority | None = None
    mcnemar: Mapping[int, Mcnemar] = field(default_factory=dict, repr=False)

    @property
    def label(self) -> str:
        """The entry with its setting."""
        return f"{self.entry} ({self.setting})" if self.setting else self.entry

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that ran."""
        return tuple(run.seed for run in self.runs)

    @property
    def enough(self) -> bool:
        """Whether there are seeds enough to rank it."""
        return len(self.runs) >= FEWEST or self.deterministic

    @property
    def few(self) -> bool:
        """Whether it has seeds, but fewer than the bench asks for."""
        return 0 < len(self.runs) < FEW and not self.deterministic

    @property
    def behind(self) -> tuple[Run, ...]:
        """Its own runs and those of its twins."""
        return (*self.runs, *(run for twin in self.twins.values() for run in twin.runs))

    def by_seed(self) -> dict[int, float]:
        """Return seed -> top-1 accuracy."""
        return {run.seed: run.top1.accuracy for run in self.runs}


@dataclass(frozen=True)
class Naming:
    """What a row is called, and what it aims at."""

    entry: str
    detail: str
    setting: str
    target: Mapping[str, Json]
    target_label: str
    control: bool
    reference: bool = False


def make_row(
    naming: Naming,
    runs: Sequence[Run],
    control: Sequence[Run],
    planned: Iterable[int],
    headlines: Mapping[str, str],
    counter: str,
) -> Row:
    """Compute a row from its runs (one a seed), and from the dense control's on the same network and setting.

    Args:
        naming: its labels.
        runs: at most one run a seed.
        control: the same.
        planned: the seeds that the suite asks for.
        headlines: counter -> the column that a SynOps axis or target means.
        counter: the counter of the board's SynOps column.
    """
    runs = sorted(runs, key=lambda run: run.seed)
    dense = {run.seed: run for run in control}
    unpaired = tuple(run.seed for run in runs if run.seed in dense and not same_parent(run, dense[run.seed]))
    own, base = _headline(runs, counter, headlines), _headline(control, counter, headlines)
    return Row(
        **vars(naming),
        runs=tuple(runs),
        missing=tuple(sorted(set(planned) - {run.seed for run in runs})),
        accuracy=over(runs, lambda run: run.top1.accuracy),
        deterministic=cannot_vary(runs),
        difference=gap(runs, control),
        unpaired=unpaired,
        sparsity=over(runs, lambda run: run.sparsity),
        parameters_kept=over(runs, lambda run: float(run.parameters_kept)),
        missed=tuple(run.seed for run in runs if misses(run, dense.get(run.seed), headlines)),
        synops=interval(own.values()) if own else None,
        synops_ratio=paired_ratio(own, base),
        columns=_columns(runs),
        cost={phase: _cost(runs, phase) for phase in PHASES},
        seconds={machine: _seconds(runs, machine) for machine in sorted({run.machine for run in runs})},
    )


def is_control(inputs: Mapping[str, Json]) -> bool:
    """Say whether a run is the unpruned control."""
    return bool(inputs["pruner"]["name"] == CONTROL and inputs["target"]["name"] == CONTROL)


def same_parent(a: Run, b: Run) -> bool:
    """Say whether two runs of a seed can be paired: a parent of one key must be one network, to the bit.

    A pruner that acts before or in training makes a parent of its own; its key says so, and the seed alone pairs it.
    """
    keys = [run.inputs["parent"].get("key") for run in (a, b)]
    return keys[0] != keys[1] or None in (a.weights, b.weights) or a.weights == b.weights


def shared(runs: Iterable[Run], others: Iterable[Run]) -> list[tuple[Run, Run]]:
    """Return the runs of the seeds that can be paired, each with its counterpart."""
    held = {run.seed: run for run in others}
    return [(run, held[run.seed]) for run in runs if run.seed in held and same_parent(run, held[run.seed])]


def gap(runs: Iterable[Run], others: Iterable[Run]) -> Estimate | None:
    """Return the difference in accuracy over the seeds that can be paired; None where none can."""
    pairs = shared(runs, others)
    return paired(_accuracies(run for run, _ in pairs), _accuracies(other for _, other in pairs))


def over(runs: Iterable[Run], figure: Figure) -> Estimate | None:
    """Return the estimate of a figure over the runs that have it; None where none has."""
    return _known(map(figure, runs))


def _known(values: Iterable[float | None]) -> Estimate | None:
    held = tuple([value for value in values if value is not None])
    return _interval(held) if held else None


@functools.lru_cache(maxsize=2**12)
def _interval(values: tuple[float, ...]) -> Estimate:
    """Return the estimate of some values: passes and sizes are the same in row after row."""
    return interval(values)


def cannot_vary(runs: Sequence[Run]) -> bool:
    """Say whether every seed of runs on a checkpoint gave the same hits, image by image."""
    masks = {run.top1.mask for run in runs}
    return len(runs) > 1 and len(masks) == 1 and runs[0].inputs["parent"]["name"] != "trained"


def misses(run: Run, dense: Run | None, headlines: Mapping[str, str]) -> bool:
    """Say whether a run is off its target by more than one weight, or by more than 1 % of the SynOps asked for."""
    target = run.inputs["target"]
    kind, asked = target["name"], target.get("value")
    if kind == "sparsity":
        return bool(abs((run.prunable - run.kept) - asked * run.prunable) > 1 + 1e-6)
    if kind == "parameters":
        return bool(abs(run.parameters_kept - asked * run.parameters) > 1 + 1e-6)
    if kind != "synops" or dense is None:
        return False
    name = target.get("counter", "")
    own, base = (headline(r, name, headlines) for r in (run, dense))
    return bool(own is not None and base and abs(own / base - asked) > SYNOPS_SLACK * asked)


def headline(run: Run, counter: str, headlines: Mapping[str, str]) -> float | None:
    """Return the figure that stands for a counter, a sample; None where the counter or its figure is not there."""
    return run.counts.get(counter, {}).get(headlines.get(counter, ""))


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of one target with ranks by mean accuracy."""
    listed = [row for row in rows if row.enough and row.runs and not row.control]
    means = [Fraction(sum(run.top1.hits for run in row.runs), len(row.runs)) for row in listed]
    placed = {id(row): 1 + sum(other > own for other in means) for row, own in zip(listed, means, strict=True)}
    return [dataclasses.replace(row, rank=placed.get(id(row))) for row in rows]


def _accuracies(runs: Iterable[Run]) -> dict[int, float]:
    return {run.seed: run.top1.accuracy for run in runs}


def _headline(runs: Iterable[Run], counter: str, headlines: Mapping[str, str]) -> dict[int, float]:
    found = {run.seed: headline(run, counter, headlines) for run in runs}
    return {seed: value for seed, value in found.items() if value is not None}


def _columns(runs: Sequence[Run]) -> dict[str, Estimate | None]:
    measured = {name for run in runs for name in run.metrics}
    counted = {name for run in runs for name in run.counts}
    found: dict[str, Estimate | None] = {}
    for name in sorted(counted):
        told = [run.counts[name] for run in runs]
        for column in sorted({column for columns in told for column in columns}):
            found[f"{name}.{column}"] = _known([columns.get(column) for columns in told])
    return found | {name: _known([run.metrics[name] for run in runs]) for name in sorted(measured)}


def _cost(runs: Sequence[Run], phase: str) -> dict[str, Estimate | None]:
    spent = [run.cost[phase] for run in runs]
    return {item: _known([cost[item] for cost in spent]) for item in COST if item != "seconds"}


def _seconds(runs: Sequence[Run], machine: str) -> dict[str, Estimate | None]:
    here = [run for run in runs if run.machine == machine]
    return {phase: _known([run.cost[phase]["seconds"] for run in here]) for phase in PHASES}
