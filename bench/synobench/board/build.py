"""Records -> Board: a pure function, the same whatever the order in which the records come.

Accuracy is counted again from the hit masks, sparsity from the layers and SynOps from the ledger; no total that a
record tells is taken on trust, and what nobody measured is a gap.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from synobench.board import labels, versus
from synobench.board.across import Standing, stand
from synobench.board.checklist import Checklist, grade
from synobench.board.comparable import OfSuite, newest
from synobench.board.curves import CurveSummary, kind_of, summaries
from synobench.board.decoded import Reader
from synobench.board.files import Files
from synobench.board.parts import Parts
from synobench.board.reading import Counter, Metric
from synobench.board.rows import FEWEST, Counting, Naming, Row, places
from synobench.board.runs import Run
from synobench.board.twins import Place, Twins, own_rows, places_of
from synobench.board.verdicts import Court, Power, powers
from synobench.errors import BenchError, nearest
from synobench.kept import Kept
from synobench.protocol import PRUNER, Published
from synobench.stats import Estimate, sampling_error, smallest_difference
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
    """One data set with one model. What is said of its rows together is computed when it is first asked for.

    Args:
        dataset, model: labels; `detail` tells the model in full.
        rows: the control first, then target by target, in order of rank; what is not ranked comes last in its target.
        published: figures of others on it, as the suite tells them; they are never ranked.
        counting: which figure is the SynOps.
        several: whether the board has targets of several kinds.
        images: number of test images.
        versus: what its entries are, ``pruner`` or ``rule``.
    """

    dataset: str
    model: str
    detail: str
    rows: tuple[Row, ...]
    published: tuple[Published, ...]
    counting: Counting
    several: bool
    images: int | None
    versus: str = PRUNER

    @cached_property
    def sampling(self) -> float | None:
        """Half-width of the 95 % interval that the finite test set alone gives an accuracy, at the dense network's."""
        bases = sorted((row for row in self.rows if row.unpruned and row.accuracy), key=lambda row: not row.reference)
        dense = bases[0].accuracy if bases else None
        return sampling_error(dense.mean, self.images) if dense and self.images else None

    @cached_property
    def smallest(self) -> float | None:
        """The difference to the control that a paired test of `pairs` seeds finds four times in five.

        At the median spread of its ranked entries; None where that is not known.
        """
        spread = statistics.median(gap.sd for gap in self._gaps if gap.sd is not None) if self._gaps else None
        return smallest_difference(spread, self.pairs) if spread is not None and self.pairs else None

    @cached_property
    def pairs(self) -> int | None:
        """The fewest seeds paired with the control."""
        return min((gap.n for gap in self._gaps), default=None)

    @cached_property
    def _gaps(self) -> list[Estimate]:
        held = (row.difference for row in self.rows if not row.control)
        return [gap for gap in held if gap and gap.n >= FEWEST]

    @cached_property
    def caveats(self) -> tuple[str, ...]:
        """What the ledgers say of their own figures, operations that nobody counts among them."""
        return tuple(sorted({caveat for told in {run.caveats for run in self._runs} for caveat in told}))

    @cached_property
    def reference(self) -> str | None:
        """The label of the reference entry, where it has runs here."""
        return next((row.entry for row in self.rows if row.reference and row.runs), None)

    @cached_property
    def power(self) -> tuple[Power, ...]:
        """What the comparisons with the reference and with the control could have seen."""
        return powers(self.rows)

    @cached_property
    def curves(self) -> Mapping[str, CurveSummary]:
        """The label of an entry -> its accuracy over all targets."""
        return summaries(self.rows, self.counting.counter, self.counting.headlines, several=self.several)

    @cached_property
    def mark(self) -> bytes | None:
        """What tells it from every other network, whatever it is made of; None where that is not known."""
        told = hashlib.sha256(repr((self.dataset, self.model, self.detail, self.published, self.several)).encode())
        for row in self.rows:
            marks = [run.mark for run in (*row.behind, *row.dense)]
            if not all(marks):
                return None
            kinds = [(kind, len(twin.pairs), twin.missing) for kind, twin in row.twins.items()]
            told.update(repr((row.naming, len(row.runs), row.missing, row.rank, kinds)).encode(errors="surrogatepass"))
            told.update(b"".join(marks))
        return told.digest()

    @property
    def _runs(self) -> Iterator[Run]:
        return (run for row in self.rows for run in row.runs)

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

    @cached_property
    def machines(self) -> tuple[str, ...]:
        """The machines that its runs ran on."""
        return tuple(sorted({run.machine for run in self._runs}))


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
        kept: what was made before, for `once`; None where nothing is kept.
        whole: the board that it is a part of; None where it is one itself.
    """

    suite: SuiteFacts
    networks: tuple[Network, ...]
    failures: tuple[Failure, ...]
    machines: tuple[Machine, ...]
    columns: tuple[str, ...]
    notes: tuple[str, ...]
    kept: Kept | None = field(default=None, repr=False, compare=False)
    whole: Board | None = field(default=None, repr=False, compare=False)

    @cached_property
    def across(self) -> Standing | None:
        """Its entries across networks, those of the whole board; None where these are too few for any test."""
        return self.whole.across if self.whole else stand(versus.places(self.networks))

    @cached_property
    def checklists(self) -> tuple[Checklist, ...]:
        """Each entry of the whole board graded by Blalock et al. 2020, sorted by entry; rules are no pruners."""
        if self.whole:
            return self.whole.checklists
        return grade(self.networks) if self.suite.versus == PRUNER else ()

    def of(self, network: Network) -> Board:
        """Return the part of the board that tells of one of its networks."""
        return replace(self, networks=(network,), whole=self.whole or self)

    def once(self, name: str, networks: Sequence[Network], make: Callable[[], str], *beside: object) -> str:
        """Return a text that `make` makes of networks, or the one that was kept of the same networks before.

        It may depend on nothing else but the facts of the suite, the columns of the board and the sources of the plugin
        and of the bench.

        Args:
            name: of the text; it begins with that of its plugin.
            networks: of this board.
            make: writes it.
            beside: what else it depends on, as plain data.
        """
        marks = [network.mark for network in networks]
        if self.kept is None or None in marks:
            return make()
        told = (name, self.suite, self.columns, beside)
        return self.kept.text(self.kept.key(repr(told), *(mark or b"" for mark in marks)), make)

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """Every run in a row of the board, sorted by key."""
        held = (run for network in self.networks for row in network.rows for run in row.runs)
        return tuple(sorted(held, key=lambda run: run.key))

    @cached_property
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
    records: Iterable[Mapping[str, Json]] | Files,
    counters: Mapping[str, Counter],
    metrics: Mapping[str, Metric] | None = None,
    read_ledger: Callable[[Mapping[str, Json]], Any] | None = None,
) -> Board:
    """Compute a suite's board from its records and failures, in any order.

    Args:
        suite: the facts of the suite.
        records: ``ok`` records and failures, as plain data or in files.
        counters: name -> function of a ledger; each is applied to every record. The suite's own must be among them.
        metrics: name -> function of a record.
        read_ledger: makes of ``outcome.ledger`` what counters take; the bench's own Ledger unless it is given.

    Raises:
        BenchError: a record contradicts itself, two records claim one place, or the suite's counter is not given.
    """
    if suite.counter not in counters:
        raise BenchError(f"suite {suite.name} counts with {suite.counter!r}{nearest(suite.counter, counters)}")
    here = OfSuite(suite.name, suite.version)
    reader = Reader(counters, metrics or {}, read_ledger or _ledger, Parts())
    # One record is held at a time: thousands of them take more memory than a board may.
    every = records.runs(here, reader) if isinstance(records, Files) else list(map(reader.of, here.done(records)))
    every.sort(key=lambda run: run.key)
    runs = newest(every, suite.plan)
    networks = _networks(own_rows(runs, suite.plan), places_of(runs), suite)
    shown = {run.key for network in networks for row in network.rows for run in row.behind}
    return Board(
        suite=suite,
        networks=tuple(networks),
        failures=tuple(_failures(here.failed, {run.key for run in every}, suite.versus)),
        machines=tuple(_machines(runs)),
        columns=tuple(sorted(_columns(networks), key=lambda name: ("." not in name, name))),
        notes=tuple(_notes(here.others, len(every) - len(runs), len(runs) - len(shown))),
        kept=records.kept if isinstance(records, Files) else None,
    )


def _ledger(facts: Mapping[str, Json]) -> Any:
    from synobench.ledger import Ledger

    return Ledger.from_record(facts, None)


def _notes(others: int, superseded: int, alone: int) -> list[str]:
    told = {"records of another suite or version": others, "runs of earlier revisions": superseded}
    told |= {"twins without their host": alone}
    return [f"{count} {what} left out" for what, count in told.items() if count]


def _columns(networks: Iterable[Network]) -> set[str]:
    """Return the names of all further columns: of counters, and of metrics."""
    runs = [run for network in networks for row in network.rows for run in row.runs]
    counted: dict[str, dict[str, Any]] = {}
    for run in runs:
        for name, columns in run.counts.items():
            counted.setdefault(name, {}).update(columns)
    held = {f"{name}.{column}" for name, columns in counted.items() for column in columns}
    return held.union(*[run.metrics for run in runs if run.metrics])


def _networks(runs: Sequence[Run], twins: Mapping[Place, Run], suite: SuiteFacts) -> list[Network]:
    """Group runs and plan by network, and name everything once for the whole board."""
    cells: list[Cell] = [*((run.inputs, run) for run in runs), *((inputs, None) for inputs in suite.plan)]
    texts = labels.Texts(suite.versus)
    groups: dict[tuple[str, ...], Group] = {}
    for inputs, run in cells:
        groups.setdefault(_place(inputs, texts), {}).setdefault(texts.row(inputs), []).append((inputs, run))
    firsts = [held[0][0] for group in groups.values() for held in group.values()]
    names = versus.Names(suite, firsts)
    told: dict[tuple[str, ...], list[Published]] = {}
    for inputs, figure in suite.published:
        told.setdefault(_place(inputs, texts), []).append(figure)
    several = len({kind for inputs in firsts if (kind := kind_of(inputs["target"]))}) > 1
    counting = Counting(suite.counter, suite.headlines)
    made = []
    for place, group in groups.items():
        rows = _rows(group, names, counting, Twins(twins), suite.versus)
        found = _network(names.network(place), group, rows, told.get(place, ()), (counting, several))
        made.append(replace(found, versus=suite.versus))
    return sorted(made, key=lambda network: (network.dataset, network.model))


def _place(inputs: Inputs, texts: labels.Texts) -> tuple[str, ...]:
    """Return what makes a network of its own on a board: data set and model."""
    return texts.of(inputs["dataset"]), texts.of(inputs["model"])


def _rows(group: Group, names: versus.Names, counting: Counting, twins: Twins, kind: str) -> list[Row]:
    """Return a network's rows: the control first, then target by target, by rank."""
    around = {place[0]: held[0][0] for place, held in group.items()}
    settings = labels.setting_labels(labels.setting_of(inputs, kind) for inputs in around.values())
    namings = {place: names.naming(held[0][0], place[0], settings[place[0]]) for place, held in group.items()}
    runs = {place: tuple(_once(held)) for place, held in group.items()}
    dense = {naming.family: runs[place] for place, naming in namings.items() if naming.unpruned}
    ranks, court = _ranks(namings, runs), Court()
    rows = []
    for place, held in group.items():
        naming = namings[place]
        planned = {int(inputs["seed"]) for inputs, run in held if run is None}
        row = Row(
            naming=naming,
            place=place,
            runs=runs[place],
            missing=tuple(sorted(planned - {run.seed for run in runs[place]})),
            dense=dense.get(naming.family, ()),
            counting=counting,
            judge=court,
            rank=ranks.get(place),
            twins=twins.of(f"{naming.label}, {naming.target_label}", runs[place]),
        )
        rows.append(row)
    rows.sort(key=_order)
    court.sit(rows)
    return rows


def _ranks(
    namings: Mapping[tuple[str, ...], Naming], runs: Mapping[tuple[str, ...], Sequence[Run]]
) -> dict[tuple[str, ...], int | None]:
    """Return the place of each row within its target, over all settings; the control has none."""
    targets: dict[str, list[tuple[str, ...]]] = {}
    for place, naming in namings.items():
        if not naming.control:
            targets.setdefault(place[1], []).append(place)
    found: dict[tuple[str, ...], int | None] = {}
    for held_places in targets.values():
        ranked = places([runs[place] for place in held_places])
        found |= dict(zip(held_places, ranked, strict=True))
    return found


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
    names: tuple[str, str],
    group: Group,
    rows: Sequence[Row],
    published: Iterable[Published],
    told: tuple[Counting, bool],
) -> Network:
    (dataset, model), label = names, " / ".join(names)
    totals = sorted({run.top1.total for row in rows for run in row.runs})
    if len(totals) > 1:
        raise BenchError(f"records of {label} were judged on {totals[0]} and on {totals[-1]} test images")
    return Network(
        dataset=dataset,
        model=model,
        detail=labels.full_text(next(iter(group.values()))[0][0]["model"]),
        rows=tuple(rows),
        published=tuple(replace(figure, network=label) for figure in published),
        counting=told[0],
        several=told[1],
        images=totals[0] if totals else None,
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
