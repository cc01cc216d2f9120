"""Runs of one entry at one target, over seeds -> one Row; rows of one target -> ranks."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from synobench.board.runs import COST, PHASES, Run
from synobench.stats import Estimate, interval, paired, paired_ratio

if TYPE_CHECKING:
    from synobench.board.twins import Twin
    from synobench.stats.evidence import Mcnemar
    from synobench.stats.multiple import Comparison
    from synobench.stats.robust import Superiority

Json = Any
Figure = Callable[[Run], "float | None"]
T = TypeVar("T")
Told = Callable[["Iterable[float | None]"], T]
"""What is told of some values, of which those that nobody measured are None."""

_COUNTED = tuple(item for item in COST if item != "seconds")
_spent = operator.itemgetter(*_COUNTED)

CONTROL = "none"
"""The name of the dense control's pruner, and of its target."""

FEWEST, FEW = 3, 5
"""Below the first an entry is not ranked, below the second it is marked."""

SYNOPS_SLACK = 0.01
"""A SynOps target counts as reached within this fraction of what was asked."""


@dataclass(frozen=True)
class Naming:
    """What a row is called, and what it aims at.

    Args:
        entry: its label; `detail` tells all parameters; `setting` what stands around it, where a network has several.
        target: the target as plain data, with its label.
        unpruned: whether no pruner touched its network. `control`: whether it is moreover what entries are held
            against, and no entry itself. `reference`: whether it is the entry that others are judged against.
        family: what it shares with its dense network, as text. `peers`: with the entry that it is judged against.
    """

    entry: str
    detail: str
    setting: str
    target: Mapping[str, Json]
    target_label: str
    control: bool
    reference: bool = False
    unpruned: bool = False
    family: str = ""
    peers: str = ""

    @property
    def label(self) -> str:
        """The entry with its setting."""
        return f"{self.entry} ({self.setting})" if self.setting else self.entry


@dataclass(frozen=True)
class Counting:
    """Which figure is the SynOps of a board: its counter, and counter -> the column that an axis or target means."""

    counter: str
    headlines: Mapping[str, str]


class Verdicts(Protocol):
    """What judges the rows of one network together."""

    def best(self, row: Row) -> bool | None:
        """Say whether the first place of its target is not shown to be better."""

    def verdict(self, row: Row) -> Comparison | None:
        """Compare it with the reference entry at its target."""

    def to_control(self, row: Row) -> Comparison | None:
        """Compare it with the dense control."""

    def superiority(self, row: Row) -> Superiority | None:
        """Count how often it beats the reference."""

    def mcnemar(self, row: Row) -> Mapping[int, Mcnemar]:
        """Compare it with the reference image by image."""


@dataclass(frozen=True)
class Row:
    """One entry at one target on one network, over seeds. Its figures are computed when they are first asked for.

    Args:
        naming: its labels.
        place: what tells it from the other rows of its network.
        runs: by seed, in order. `missing`: planned seeds without a run.
        dense: the runs of its dense network: the control's on the same network and setting, or its own rule's.
        counting: which figure is the SynOps.
        judge: of the rows of its network.
        rank: place by mean accuracy within its target; None for the control and below the line.
        twins: magnitude and random pruning at its kept counts by tensor, where they were run, by kind.
    """

    naming: Naming
    place: tuple[str, ...] = field(repr=False)
    runs: tuple[Run, ...] = field(repr=False)
    missing: tuple[int, ...]
    dense: tuple[Run, ...] = field(repr=False)
    counting: Counting = field(repr=False)
    judge: Verdicts = field(repr=False, compare=False)
    rank: int | None = None
    twins: Mapping[str, Twin] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.__dict__.update(vars(self.naming))

    if TYPE_CHECKING:
        # The labels of `naming` are its own.
        entry: str = field(init=False)
        detail: str = field(init=False)
        setting: str = field(init=False)
        target: Mapping[str, Json] = field(init=False)
        target_label: str = field(init=False)
        control: bool = field(init=False)
        reference: bool = field(init=False)
        unpruned: bool = field(init=False)
        family: str = field(init=False)
        peers: str = field(init=False)

    @property
    def label(self) -> str:
        """The entry with its setting."""
        return self.naming.label

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

    @cached_property
    def accuracy(self) -> Estimate | None:
        """Top-1 over seeds."""
        return over(self.runs, lambda run: run.top1.accuracy)

    @cached_property
    def deterministic(self) -> bool:
        """Whether it stands on a checkpoint and every seed gave the same hits."""
        return cannot_vary(self.runs)

    @cached_property
    def difference(self) -> Estimate | None:
        """Accuracy less its dense network's, paired by seed; None without one, and of an entry that is unpruned."""
        return None if self.unpruned and not self.control else gap(self.runs, self.dense)

    @cached_property
    def unpaired(self) -> tuple[int, ...]:
        """The seeds left out of the difference, for a parent of one key whose weights are not the control's."""
        dense = {run.seed: run for run in self.dense}
        return tuple(run.seed for run in self.runs if run.seed in dense and not same_parent(run, dense[run.seed]))

    @cached_property
    def sparsity(self) -> Estimate | None:
        """The fraction of prunable weights that was removed."""
        return over(self.runs, lambda run: run.sparsity)

    @cached_property
    def parameters_kept(self) -> Estimate | None:
        """The parameters that were kept."""
        return over(self.runs, lambda run: float(run.parameters_kept))

    @cached_property
    def missed(self) -> tuple[int, ...]:
        """The seeds that missed the target by more than one weight, or by more than 1 % of the SynOps asked for."""
        dense, headlines = {run.seed: run for run in self.dense}, self.counting.headlines
        return tuple(run.seed for run in self.runs if misses(run, dense.get(run.seed), headlines))

    @cached_property
    def synops(self) -> Estimate | None:
        """The headline figure of the suite's counter."""
        own = _headline(self.runs, self.counting)
        return interval(own.values()) if own else None

    @cached_property
    def synops_ratio(self) -> Estimate | None:
        """That over the dense control's of the same seed."""
        return paired_ratio(_headline(self.runs, self.counting), _headline(self.dense, self.counting))

    @cached_property
    def columns(self) -> Mapping[str, Estimate | None]:
        """The further counter columns (``counter.column``) and metrics."""
        return _columns(self.runs, _known)

    @cached_property
    def cost(self) -> Mapping[str, Mapping[str, Estimate | None]]:
        """Phase -> samples, forward, backward, peak_bytes, trials."""
        return _cost(self.runs, _known)

    @cached_property
    def seconds(self) -> Mapping[str, Mapping[str, Estimate | None]]:
        """Machine -> phase -> seconds."""
        return _seconds(self.runs, _known)

    @cached_property
    def mean_columns(self) -> Mapping[str, float | None]:
        """The means of `columns`, which most tables tell alone: they take a quarter of the time of the estimates."""
        return _columns(self.runs, _mean)

    @cached_property
    def mean_cost(self) -> Mapping[str, Mapping[str, float | None]]:
        """The means of `cost`."""
        return _cost(self.runs, _mean)

    @cached_property
    def mean_seconds(self) -> Mapping[str, Mapping[str, float | None]]:
        """The means of `seconds`."""
        return _seconds(self.runs, _mean)

    @cached_property
    def best(self) -> bool | None:
        """Whether the first place of its target is not shown to be better, by Holm over the rows of that target.

        None where its seeds cannot tell.
        """
        return self.judge.best(self)

    @cached_property
    def verdict(self) -> Comparison | None:
        """Against the suite's reference entry at the same target, by Holm over all such comparisons on a network.

        None for the reference, the control, and where there is none.
        """
        return self.judge.verdict(self)

    @cached_property
    def to_control(self) -> Comparison | None:
        """Against its dense network, by Holm over all such comparisons on a network."""
        return self.judge.to_control(self)

    @cached_property
    def superiority(self) -> Superiority | None:
        """How often it beats the reference."""
        return self.judge.superiority(self)

    @cached_property
    def mcnemar(self) -> Mapping[int, Mcnemar]:
        """Seed -> it and the reference on the same test images."""
        return self.judge.mcnemar(self)

    def by_seed(self) -> dict[int, float]:
        """Return seed -> top-1 accuracy."""
        return {run.seed: run.top1.accuracy for run in self.runs}


def is_control(inputs: Mapping[str, Json]) -> bool:
    """Say whether a run is the unpruned control."""
    return bool(inputs["pruner"]["name"] == CONTROL and inputs["target"]["name"] == CONTROL)


def same_parent(a: Run, b: Run) -> bool:
    """Say whether two runs of a seed can be paired: a parent of one key must be one network, to the bit.

    A pruner that acts before or in training makes a parent of its own; its key says so, and the seed alone pairs it.
    """
    if a.weights == b.weights or a.weights is None or b.weights is None:
        return True
    return bool(a.inputs["parent"].get("key") != b.inputs["parent"].get("key"))


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
    held = tuple(values)
    if None in held:
        held = tuple([value for value in held if value is not None])
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


def places(groups: Sequence[Sequence[Run]]) -> list[int | None]:
    """Return the places of the entries of one target by mean accuracy; None where there are too few seeds."""
    listed = [bool(runs) and (len(runs) >= FEWEST or cannot_vary(runs)) for runs in groups]
    means = [
        Fraction(sum(run.top1.hits for run in runs), len(runs)) if held else None
        for runs, held in zip(groups, listed, strict=True)
    ]
    ordered = sorted((mean for mean in means if mean is not None), reverse=True)
    place = {mean: i for i, mean in reversed(list(enumerate(ordered, 1)))}
    return [None if mean is None else place[mean] for mean in means]


def _accuracies(runs: Iterable[Run]) -> dict[int, float]:
    return {run.seed: run.top1.accuracy for run in runs}


def _headline(runs: Iterable[Run], counting: Counting) -> dict[int, float]:
    found = {run.seed: headline(run, counting.counter, counting.headlines) for run in runs}
    return {seed: value for seed, value in found.items() if value is not None}


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean that an estimate of the values that are known would tell."""
    told = tuple(values)
    held: Any = [value for value in told if value is not None] if None in told else told
    if not held:
        return None
    # Passes and sizes are the same at every seed, which is told soonest so.
    return held[0] if held.count(held[0]) == len(held) else math.fsum(held) / len(held)


def _columns(runs: Sequence[Run], told: Told[T]) -> dict[str, T]:
    measured = set().union(*[run.metrics for run in runs])
    counted = set().union(*[run.counts for run in runs])
    found: dict[str, T] = {}
    for name in sorted(counted):
        held = [run.counts[name] for run in runs]
        names = sorted(set().union(*held))
        figures = zip(*[map(columns.get, names) for columns in held], strict=True)
        found.update(zip([f"{name}.{column}" for column in names], map(told, figures), strict=True))
    return found | {name: told([run.metrics[name] for run in runs]) for name in sorted(measured)}


def _cost(runs: Sequence[Run], told: Told[T]) -> dict[str, dict[str, T]]:
    found = {}
    for phase in PHASES:
        figures = zip(*[_spent(run.cost[phase]) for run in runs], strict=True) if runs else [()] * len(_COUNTED)
        found[phase] = dict(zip(_COUNTED, map(told, figures), strict=True))
    return found


def _seconds(runs: Sequence[Run], told: Told[T]) -> dict[str, dict[str, T]]:
    machines: dict[str, list[Run]] = {machine: [] for machine in sorted({run.machine for run in runs})}
    for run in runs:
        machines[run.machine].append(run)
    return {
        machine: {phase: told([run.cost[phase]["seconds"] for run in here]) for phase in PHASES}
        for machine, here in machines.items()
    }
