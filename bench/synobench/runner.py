"""Plan a suite against the store, run what is pending, resume what was cut: the store is the only memory."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

from synobench import provenance
from synobench.registry import Registry
from synobench.store import SCHEMA, Record, Store, read_json
from synobench.suite import Cell, Skipped, Suite, cells
from synobench.twins import MARK, Twins

Job = dict[str, Any]
Result = dict[str, Any]


class Executor(Protocol):
    """Where jobs run (see ExecutorEntry)."""

    def submit(self, job: Mapping[str, Any], notify: Callable[[dict[str, Any]], None] | None = None) -> Future[Result]:
        """Take one job."""

    def close(self, cancel: bool = False) -> None:
        """Take no more; with `cancel`, kill what runs."""


class Watcher(Protocol):
    """What is told of each job."""

    def started(self, job: Mapping[str, Any]) -> None:
        """A job begins."""

    def event(self, job: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """A job goes on."""

    def finished(self, job: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """A job ended, well or not."""

    def fewer(self, jobs: int) -> None:
        """So many jobs that were to come will not: a host failed, or its twins are shared or done."""


@dataclass(frozen=True)
class Settings:
    """Where a run reads and writes, and where it computes: all of it provenance, none of it in a key."""

    root: Path
    cache: Path
    data: str | None = None
    device: str = "cpu"
    plugins: tuple[str, ...] = ()
    strict: bool = False
    offline: bool = False
    again: bool = False
    checkpoint_seconds: float = 10.0


@dataclass
class Plan:
    """A suite held against the store; its cells hold the twins of every host that is judged."""

    suite: Suite
    cells: list[Cell]
    skipped: list[Skipped]
    done: set[str]
    failures: dict[str, Record]
    twins: Twins
    pending: list[Cell] = field(init=False)

    def __post_init__(self) -> None:
        self.pending = [cell for cell in self.cells if cell.key not in self.done]

    def parents(self) -> dict[str, list[Cell]]:
        """Return the pending cells by the key of their parent."""
        found: dict[str, list[Cell]] = defaultdict(list)
        for cell in self.pending:
            found[cell.parent_key].append(cell)
        return dict(found)

    def coming(self, cell: Cell) -> int:
        """Return how many twins a pending cell brings as it is judged; less where hosts share one."""
        return 0 if self.twins.judged(cell) else self.twins.expected(cell)

    def follow(self, host: Cell) -> list[Cell]:
        """Take in the twins of a cell that was judged just now, and return those that are to be run."""
        known = {cell.key for cell in self.cells}
        new = [twin for twin in self.twins.of(host) if twin.key not in known]
        todo = [twin for twin in new if not self.twins.stored(twin)]
        self.cells += new
        self.done |= {twin.key for twin in new} - {twin.key for twin in todo}
        self.pending += todo
        return todo


def plan(suite: Suite, registry: Registry, store: Store, only: Sequence[str] = (), *, again: bool = False) -> Plan:
    """Resolve a suite and see what of it is done.

    `only` keeps the cells whose label has one of its texts in it, or matches it as a pattern, and their twins; with
    `again` nothing counts as done.
    """
    made, skipped = cells(suite, registry)
    twins = Twins(made, registry, store)
    chosen = [c for c in made if _chosen(c.label, only)]
    chosen += _known_twins(made, twins, only)
    done = set() if again else {c.key for c in chosen if store.has(suite.name, c.key)}
    failures = {str(f.get("key")): f for f in store.failures(suite.name)}
    return Plan(suite, chosen, [*skipped, *twins.skipped], done, failures, twins)


def _known_twins(made: Sequence[Cell], twins: Twins, only: Sequence[str]) -> list[Cell]:
    """Return the twins of the judged hosts, each once: those of chosen hosts, and those that `only` itself names."""
    planned = {cell.key for cell in made}
    named = [text for text in only if MARK.strip("/") in text]
    found: dict[str, Cell] = {}
    for host in made:
        own = _chosen(host.label, only)
        for twin in twins.of(host) if own or named else ():
            if twin.key not in planned and (own or _chosen(twin.label, named)):
                found.setdefault(twin.key, twin)
    return list(found.values())


def _chosen(label: str, only: Sequence[str]) -> bool:
    return not only or any(_matches(label, text) for text in only)


def _matches(label: str, pattern: str) -> bool:
    # Brackets stand for themselves, for labels are full of them: "*[widths=24]*" means what it says.
    return fnmatchcase(label, pattern.replace("[", "[[]")) if any(c in pattern for c in "*?") else pattern in label


@dataclass(frozen=True)
class Estimate:
    """Seconds of work still to do, by the records of the same networks; and the networks that no record tells of."""

    seconds: float
    unknown: tuple[str, ...]


def estimate(todo: Plan, records: Iterable[Record], cached: Callable[[str], bool]) -> Estimate:
    """Add up what pending cells and the parents that they still need took in records of the same network.

    `cached` says whether the parent of a key need not be trained.
    """
    spent: dict[str, list[float]] = defaultdict(list)
    trained: dict[str, float] = {}
    for record in records:
        # A record that lacks its cost is for `verify` to tell of; here it only says nothing.
        with contextlib.suppress(KeyError, TypeError):
            label = f"{record['inputs']['dataset']['name']}/{record['inputs']['model']['name']}"
            seconds = {phase: float(record["cost"][phase]["seconds"]) for phase in ("train", "prune", "tune", "judge")}
            trained[label] = seconds.pop("train")
            spent[label].append(sum(seconds.values()))
    total, unknown = 0.0, set()
    for parent, waiting in todo.parents().items():
        label = f"{waiting[0].inputs['dataset']['name']}/{waiting[0].inputs['model']['name']}"
        if label not in spent:
            unknown.add(label)
            continue
        runs = sum(1 + todo.coming(cell) for cell in waiting)
        total += runs * sum(spent[label]) / len(spent[label])
        total += 0.0 if cached(parent) else trained[label]
    return Estimate(total, tuple(sorted(unknown)))


def changed_plugins(todo: Plan, registry: Registry, store: Store, cache: Path) -> dict[str, tuple[int, int]]:
    """Return the plugins whose source changed under what is kept: how many done records, and how many parents.

    Of parents, those count that pending cells would stand on.
    """
    known = {origin.plugin: provenance.source_digest(origin.module) for origin in registry.origins}

    def changed(facts: Mapping[str, Any]) -> list[str]:
        return [n for n, told in (facts.get("plugins") or {}).items() if n in known and told.get("digest") != known[n]]

    done = (read_json(path) for path in store.paths(todo.suite.name) if path.stem in todo.done)
    records = Counter(name for record in done for name in changed(record.get("provenance") or {}))
    parents = Counter(name for key in todo.parents() for name in changed(_kept_facts(parent_path(cache, key))))
    return {name: (records[name], parents[name]) for name in sorted({*records, *parents})}


def _kept_facts(path: Path) -> dict[str, Any]:
    """Return what is kept of a parent; nothing of one that is absent or damaged, for its own job says so."""
    try:
        facts = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def parent_path(cache: Path, key: str) -> Path:
    """Return the file whose presence says that a parent is trained and kept."""
    return cache / "parents" / key[:2] / key / "parent.json"


class Runner:
    """Runs a plan on an executor: a parent first, then the cells that stand on it, then their twins."""

    def __init__(
        self, todo: Plan, executor: Executor, settings: Settings, watcher: Watcher, registry: Registry | None = None
    ) -> None:
        self._plan, self._executor, self._settings, self._watcher = todo, executor, settings, watcher
        self._registry, self._one = registry, threading.Lock()
        self._open: dict[Future[Result], Job] = {}
        self._places: dict[str, Mapping[str, Any]] = {}
        self._cells: dict[str, Cell] = {}
        self._coming = {cell.key: todo.coming(cell) for cell in todo.pending}
        self.failed: list[tuple[str, dict[str, Any]]] = []
        self.finished = 0

    def run(self) -> None:
        """Run everything that is pending. Interrupted, it kills what runs; what is stored stays."""
        waiting = self._plan.parents()
        try:
            for key in list(waiting):
                if parent_path(self._settings.cache, key).exists():
                    self._submit_all(waiting.pop(key))
                else:
                    self._submit(self._job("parent", waiting[key][0]))
            while self._open:
                done, _ = wait(self._open, return_when=FIRST_COMPLETED)
                for future in done:
                    self._settle(self._open.pop(future), future.result(), waiting)
        except BaseException:
            self._executor.close(cancel=True)
            raise
        self._executor.close(cancel=False)

    def _submit_all(self, ready: Iterable[Cell]) -> None:
        for cell in ready:
            self._cells[cell.key] = cell
            self._submit(self._job("cell", cell))

    def _submit(self, job: Job) -> None:
        future = self._executor.submit(job, lambda event: self._event(job, event))
        self._open[future] = job

    def _event(self, job: Job, event: Mapping[str, Any]) -> None:
        if event.get("phase") == "start":
            self._places.pop(job["key"], None)
            self._watcher.started(job)
            self._tell("run_started", job)
            return
        if "plugin" in event:
            self._places[job["key"]] = event
        self._watcher.event(job, event)
        self._tell("run_progress", job, event=dict(event))

    def _settle(self, job: Job, result: Result, waiting: dict[str, list[Cell]]) -> None:
        ok = result["status"] == "ok"
        stored = ok or result["error"]["stage"] != "worker"
        result = result if ok else self._blamed(job, result)
        self._watcher.finished(job, result)
        if job["job"] == "cell":
            self.finished += ok
            if not ok:
                self._fail(job, result, stored)
            self._ended(job, result)
            self._follow(job["key"], ok)
            return
        standing = waiting.pop(job["key"])
        if ok:
            self._submit_all(standing)
            return
        for fallen in (self._job("cell", cell) for cell in standing):
            self._watcher.finished(fallen, result)
            self._fail(fallen, result, stored=False)
            self._ended(fallen, result)
            self._follow(fallen["key"], ok=False)

    def _follow(self, key: str, ok: bool) -> None:
        """Run the twins of a cell that was judged."""
        twins = self._plan.follow(self._cells.pop(key)) if ok else []
        fewer = self._coming.pop(key, 0) - len(twins)
        if fewer > 0:
            self._watcher.fewer(fewer)
        self._submit_all(twins)

    def _blamed(self, job: Job, result: Result) -> Result:
        """Name the stage and the plugin at work as a worker died, for it could not do so itself."""
        place = self._places.get(job["key"])
        if place is None or result["error"]["kind"] != "WorkerDied":
            return result
        return {**result, "error": {**result["error"], "stage": place["phase"], "plugin": place["plugin"]}}

    def _fail(self, job: Job, result: Result, stored: bool) -> None:
        """Note a failure; the engine has stored it, unless its parent failed or its worker died."""
        if not stored:
            facts = {"schema": SCHEMA, "key": job["key"], "status": "failed", "inputs": job["inputs"]}
            Store(self._settings.root).fail({**facts, "error": result["error"], "provenance": {}})
        self.failed.append((job["label"], result["error"]))

    def _ended(self, job: Job, result: Result) -> None:
        if self._registry is None:
            return
        path = result.get("path") or Store(self._settings.root).failure_path(job["suite"], job["key"])
        self._tell("run_finished", job, record=read_json(Path(path)))

    def _tell(self, hook: str, job: Job, **facts: Any) -> None:
        """Call an event hook for a cell, one at a time: executors tell of events from threads of their own."""
        if self._registry is None or job["job"] != "cell":
            return
        with self._one:
            told = {name: job[name] for name in ("key", "suite", "label")}
            self._registry.notify(f"synobench_{hook}", job=told, **facts)

    def _job(self, kind: str, cell: Cell) -> Job:
        s = self._settings
        parent = cell.label if "pruner" in cell.parent else cell.network
        parent += f"/seed={cell.inputs['seed']}" if "seed" in cell.parent and "pruner" not in cell.parent else ""
        return {
            "job": kind,
            "key": cell.key if kind == "cell" else cell.parent_key,
            "label": cell.label if kind == "cell" else f"parent {parent}",
            "suite": self._plan.suite.name,
            "inputs": dict(cell.inputs),
            "parent": dict(cell.parent),
            "parent_key": cell.parent_key,
            "root": str(s.root.absolute()),
            "cache": str(s.cache.absolute()),
            "data": s.data,
            "device": s.device,
            "plugins": list(s.plugins),
            "strict": s.strict,
            "offline": s.offline,
            "checkpoint_seconds": s.checkpoint_seconds,
        }
