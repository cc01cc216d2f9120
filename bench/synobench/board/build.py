"""Records -> Board: a pure function, the same whatever the order in which the records come.

Accuracy is counted again from the hit masks, sparsity from the layers and SynOps from the ledger; no total that a
record tells is taken on trust, and what nobody measured is a gap.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from synobench.board import labels, versus
from synobench.board.across import Standing, stand
from synobench.board.checklist import Checklist, grade
from synobench.board.comparable import OfSuite, newest
from synobench.board.curves import CurveSummary, kind_of, summaries
from synobench.board.rows import FEWEST, Row, make_row, ranked
from synobench.board.runs import Counter, Metric, Parts, Run, read_run
from synobench.board.twins import own_rows, places_of, with_twins
from synobench.board.verdicts import Power, judged, powers
from synobench.errors import BenchError, nearest
from synobench.protocol import PRUNER, Published
from synobench.stats import sampling_error, smallest_difference
from synobench.twins import allocation_of

Json = Any
Inputs = Mapping[str, Json]
Cell = tuple[Inputs, Run | None]
Group = dict[tuple[str, ...], list[Cell]]
"""The cells of one network: setting, target and pruner as canonical text -> one a seed."""


@dataclass(frozen=True)
class SuiteFacts:
    """What a board must know of its suite.

    Args:
        name, version, question: as the suite says.
        counter: the counter of the SynOps column and axis.
        headlines: counter name -> the column that a SynOps axis or target means.
        definitions: counter name -> its formula, shown below the tables.
        plan: the inputs of every planned cell, as a record holds them; cells without a record are shown as gaps.
        published: figures of others, each with the inputs of a planned cell on its network.
        reference: the pruner that the others are judged against, as a record's inputs hold it; None without one.
        versus: what the entries are, ``pruner`` or ``rule``.
        titles: a rule on its network, as `versus.trained` writes it -> what the suite calls it there.
        references: the rules that the others are judged against, likewise.
    """

    name: str
    version: str
    question: str
    counter: str
    headlines: Mapping[str, str]
    definitions: Mapping[str, str] = field(default_factory=dict)
    plan: Sequence[Inputs] = field(default=(), repr=False)
    published: Sequence[tuple[Inputs, Published]] = field(default=(), repr=False)
    reference: Mapping[str, Json] | None = None
    versus: str = PRUNER
    titles: Mapping[str, str] = field(default_factory=dict, repr=False)
    references: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True)
class Network:
    """One data set with one model.

    Args:
        dataset, model: labels; `detail` tells the model in full.
        rows: the control first, then target by target, in order of rank; what is not ranked comes last in its target.
        images: number of test images.
        sampling: half-width of the 95 % interval that the finite test set alone gives an accuracy, at the control's.
        smallest: the difference to the control that a paired test of `pairs` seeds finds four times in five, at the
            median spread of its ranked entries; None where that is not known.
        caveats: what the ledgers say of their own figures, operations that nobody counts among them.
        published: figures of others on it, as the suite tells them; they are never ranked.
        reference: the label of the reference entry, where it has runs here.
        power: what the comparisons with the reference and with the control could have seen.
        curves: the label of an entry -> its accuracy over all targets.
        versus: what its entries are, ``pruner`` or ``rule``.
    """

    dataset: str
    model: str
    detail: str
    rows: tuple[Row, ...]
    images: int | None
    sampling: float | None
    smallest: float | None
    pairs: int | None
    caveats: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
    reference: str | None = None
    power: tuple[Power, ...] = ()
    curves: Mapping[str, CurveSummary] = field(default_factory=dict)
    versus: str = PRUNER

    @property
    def label(self) -> str:
        """``dataset / model``."""
        return f"{self.dataset} / {self.model}"

    @property
    def above(self) -> tuple[Row, ...]:
        """The control and the ranked rows."""
        return tuple(row for row in self.rows if row.control or row.rank is not None)

    @property
    def below(self) -> tuple[Row, ...]:
        """The rows below the line: without seeds enough to be ranked."""
        return tuple(row for row in self.rows if not row.control and row.rank is None)

    @functools.cached_property
    def machines(self) -> tuple[str, ...]:
        """The machines that its runs ran on."""
        return tuple(sorted({run.machine for row in self.rows for run in row.runs}))


@dataclass(frozen=True)
class Machine:
    """A machine that runs ran on, with the least and greatest yardstick that it gave (GFLOP/s, GB/s)."""

    text: str
    runs: int
    gflops: tuple[float, float] | None
    gbps: tuple[float, float] | None


@dataclass(frozen=True)
class Failure:
    """A planned run that failed."""

    key: str
    label: str
    stage: str
    plugin: str
    message: str


@dataclass(frozen=True)
class Board:
    """A table over records, with its statistics.

    Args:
        suite: the facts of the suite.
        networks: sorted by data set and model.
        failures: sorted by label.
        machines: sorted by text.
        columns: names of the further columns, counters' first.
        notes: what was left out, and why.
        across: its entries across networks; None where these are too few for any test.
        checklists: each entry graded by Blalock et al. 2020, sorted by entry.
    """

    suite: SuiteFacts
    networks: tuple[Network, ...]
    failures: tuple[Failure, ...]
    machines: tuple[Machine, ...]
    columns: tuple[str, ...]
    notes: tuple[str, ...]
    across: Standing | None = None
    checklists: tuple[Checklist, ...] = ()

    @functools.cached_property
    def runs(self) -> tuple[Run, ...]:
        """Every run in a row of the board, sorted by key."""
        held = (run for network in self.networks for row in network.rows for run in row.runs)
        return tuple(sorted(held, key=lambda run: run.key))

    @property
    def twins(self) -> tuple[Run, ...]:
        """The runs that stand behind rows as their twins, each once, sorted by key."""
        rows = [row for network in self.networks for row in network.rows]
        held = {run.key: run for row in rows for run in row.behind}
        own = {run.key for row in rows for run in row.runs}
        return tuple(held[key] for key in sorted(held.keys() - own))

    @property
    def published(self) -> tuple[Published, ...]:
        """Every published figure, network by network, each with its network's label on the board."""
        return tuple(figure for network in self.networks for figure in network.published)


def build_board(
    suite: SuiteFacts,
    records: Iterable[Mapping[str, Json]],
    counters: Mapping[str, Counter],
    metrics: Mapping[str, Metric] | None = None,
    read_ledger: Callable[[Mapping[str, Json]], Any] | None = None,
) -> Board:
    """Compute a suite's board from its records and failures, in any order.

    Args:
        suite: the facts of the suite.
        records: ``ok`` records and failures, as plain data.
        counters: name -> function of a ledger; each is applied to every record. The suite's own must be among them.
        metrics: name -> function of a record.
        read_ledger: makes of ``outcome.ledger`` what counters take; the bench's own Ledger unless it is given.

    Raises:
        BenchError: a record contradicts itself, two records claim one place, or the suite's counter is not given.
    """
    if suite.counter not in counters:
        raise BenchError(f"suite {suite.name} counts with {suite.counter!r}{nearest(suite.counter, counters)}")
    parts, here = Parts(), OfSuite(suite.name, suite.version)
    # One record is held at a time: thousands of them take more memory than a board may.
    every = [read_run(r, counters, metrics or {}, read_ledger or _ledger, parts) for r in here.done(records)]
    every.sort(key=lambda run: run.key)
    runs = newest(every, suite.plan)
    networks = _networks(own_rows(runs, suite.plan), suite)
    twins = places_of(runs)
    networks = [dataclasses.replace(network, rows=tuple(with_twins(network.rows, twins))) for network in networks]
    networks = _with_curves(networks, suite)
    shown = {run.key for network in networks for row in network.rows for run in row.behind}
    names = {column for network in networks for row in network.rows for column in row.columns}
    return Board(
        suite=suite,
        networks=tuple(networks),
        failures=tuple(_failures(here.failed, {run.key for run in every}, suite.versus)),
        machines=tuple(_machines(runs)),
        columns=tuple(sorted(names, key=lambda name: ("." not in name, name))),
        notes=tuple(_notes(here.others, len(every) - len(runs), len(runs) - len(shown))),
        across=stand(versus.places(networks)),
        # It grades pruning, and rules are no pruners.
        checklists=grade(networks) if suite.versus == PRUNER else (),
    )


def _ledger(facts: Mapping[str, Json]) -> Any:
    from synobench.ledger import Ledger

    return Ledger.from_record(facts, None)


def _notes(others: int, superseded: int, alone: int) -> list[str]:
    told = {"records of another suite or version": others, "runs of earlier revisions": superseded}
    told |= {"twins without their host": alone}
    return [f"{count} {what} left out" for what, count in told.items() if count]


def _networks(runs: Sequence[Run], suite: SuiteFacts) -> list[Network]:
    """Group runs and plan by network, name everything once for the whole board, and compute each network."""
    cells: list[Cell] = [*((run.inputs, run) for run in runs), *((inputs, None) for inputs in suite.plan)]
    texts = labels.Texts(suite.versus)
    groups: dict[tuple[str, ...], Group] = {}
    for inputs, run in cells:
        groups.setdefault(_place(inputs, texts), {}).setdefault(texts.row(inputs), []).append((inputs, run))
    names = versus.Names(suite, [held[0][0] for group in groups.values() for held in group.values()])
    told: dict[tuple[str, ...], list[Published]] = {}
    for inputs, figure in suite.published:
        told.setdefault(_place(inputs, texts), []).append(figure)
    made = [
        _network(names, place, group, _rows(group, names, suite), told.get(place, ()), suite.versus)
        for place, group in groups.items()
    ]
    return sorted(made, key=lambda network: (network.dataset, network.model))


def _with_curves(networks: Sequence[Network], suite: SuiteFacts) -> list[Network]:
    several = len({kind for network in networks for row in network.rows if (kind := kind_of(row.target))}) > 1
    return [
        replace(network, curves=summaries(network.rows, suite.counter, suite.headlines, several=several))
        for network in networks
    ]


def _place(inputs: Inputs, texts: labels.Texts) -> tuple[str, ...]:
    """Return what makes a network of its own on a board: data set and model."""
    return texts.of(inputs["dataset"]), texts.of(inputs["model"])


def _rows(places: Group, names: versus.Names, suite: SuiteFacts) -> list[Row]:
    """Return a network's rows: the control first, then target by target, by rank."""
    settings = labels.setting_labels(labels.setting_of(held[0][0], suite.versus) for held in places.values())
    namings = {place: names.naming(group[0][0], place[0], settings[place[0]]) for place, group in places.items()}
    dense = {namings[place].family: _once(group) for place, group in places.items() if namings[place].dense}
    targets: dict[str, list[Row]] = {}
    for place, group in places.items():
        naming = namings[place]
        seeds = [int(inputs["seed"]) for inputs, run in group if run is None]
        row = make_row(naming, _once(group), dense.get(naming.family, []), seeds, suite.headlines, suite.counter)
        targets.setdefault(place[1], []).append(row)
    return judged(sorted((row for rows in targets.values() for row in ranked(rows)), key=_order))


def _once(cells: Iterable[Cell]) -> list[Run]:
    """Return the runs of one place, which must not hold a seed twice."""
    held: dict[int, Run] = {}
    for _, run in cells:
        if run is not None and (other := held.setdefault(run.seed, run)) is not run:
            raise BenchError(f"records {other.key} and {run.key} claim one cell: they differ in their parent alone")
    return [held[seed] for seed in sorted(held)]


def _order(row: Row) -> tuple[Any, ...]:
    return not row.control, labels.target_order(row.target), row.rank is None, row.rank or 0, row.label, row.detail


def _network(
    names: versus.Names,
    place: tuple[str, ...],
    group: Group,
    rows: Sequence[Row],
    published: Iterable[Published],
    kind: str,
) -> Network:
    dataset, model = names.datasets[place[0]], names.models[place[1]]
    runs = [run for row in rows for run in row.runs]
    totals = sorted({run.top1.total for run in runs})
    if len(totals) > 1:
        raise BenchError(f"records of {dataset} / {model} were judged on {totals[0]} and on {totals[-1]} test images")
    bases = [row for row in rows if row.accuracy and row.dense]
    dense = next((row.accuracy for row in (*(row for row in bases if row.reference), *bases)), None)
    gaps = [row.difference for row in rows if not row.control and row.difference and row.difference.n >= FEWEST]
    spread = statistics.median(gap.sd for gap in gaps if gap.sd is not None) if gaps else None
    pairs = min((gap.n for gap in gaps), default=None)
    return Network(
        dataset=dataset,
        model=model,
        detail=labels.full_text(next(iter(group.values()))[0][0]["model"]),
        rows=tuple(rows),
        images=totals[0] if totals else None,
        sampling=sampling_error(dense.mean, totals[0]) if dense else None,
        smallest=smallest_difference(spread, pairs) if spread is not None and pairs else None,
        pairs=pairs,
        caveats=tuple(sorted({caveat for run in runs for caveat in run.caveats})),
        published=tuple(replace(figure, network=f"{dataset} / {model}") for figure in published),
        reference=next((row.entry for row in rows if row.reference and row.runs), None),
        power=powers(rows),
        versus=kind,
    )


def _failures(records: Iterable[Mapping[str, Json]], done: set[str], kind: str) -> list[Failure]:
    failed = [r for r in records if r.get("status") != "ok" and r.get("key") not in done]
    return sorted((_failure(record, kind) for record in failed), key=lambda failure: (failure.label, failure.key))


def _failure(record: Mapping[str, Json], kind: str) -> Failure:
    inputs, error = record["inputs"], record.get("error") or {}
    names = [str((inputs.get(role) or {}).get("name")) for role in ("dataset", "model", "pruner")]
    names[-1] += " (twin)" if allocation_of(inputs.get("pruner") or {}) else ""
    if kind != PRUNER and inputs.get(kind):
        names.insert(2, labels.full_text(inputs[kind]))
    target = labels.target_text(inputs["target"]) if inputs.get("target") else "no target"
    told = {name: " ".join(str(error.get(name) or "unknown").split()) for name in ("stage", "plugin", "message")}
    return Failure(str(record.get("key")), f"{' / '.join(names)}, {target}, seed {inputs.get('seed')}", **told)


def _machines(runs: Sequence[Run]) -> list[Machine]:
    held: dict[str, list[Run]] = {}
    for run in runs:
        held.setdefault(run.machine, []).append(run)
    return [Machine(t, len(rs), _range(rs, "gflops"), _range(rs, "gbps")) for t, rs in sorted(held.items())]


def _range(runs: Iterable[Run], name: str) -> tuple[float, float] | None:
    held = [run.yardstick[name] for run in runs if name in run.yardstick]
    return (min(held), max(held)) if held else None
