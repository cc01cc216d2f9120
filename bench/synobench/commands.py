"""What each verb does. Each imports what it needs when it runs, so that looking costs little."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synobench import registry as registries
from synobench.errors import BenchError, nearest
from synobench.params import parse_spec, resolve
from synobench.progress import duration
from synobench.registry import Registry
from synobench.store import Record, Store, read_json
from synobench.suite import find_suite, with_pruners

if TYPE_CHECKING:
    from synobench.citations import Bibliography
    from synobench.replay import Judgement
    from synobench.runner import Plan, Settings
    from synobench.suite import Suite

Failures = list[tuple[str, dict[str, Any]]]
"""Label and error of each run that failed."""

NOTHING = 3
"""The exit code of a command that found nothing to look at."""


def _load(arguments: Namespace, *, strangers: bool = True) -> Registry:
    return registries.load(arguments.plugin, strict=arguments.strict, strangers=strangers)


def _planned(arguments: Namespace, registry: Registry) -> Plan:
    from synobench.runner import plan

    suite = find_suite(arguments.suite, registry)
    suite = with_pruners(suite, arguments.pruner)
    made = plan(
        suite, registry, Store(arguments.leaderboards), arguments.only, again=getattr(arguments, "again", False)
    )
    if not made.cells:
        labels = [cell.label for cell in plan(suite, registry, Store(arguments.leaderboards)).cells]
        raise BenchError(f"no cell of suite {suite.name} {_unmatched(arguments.only, labels)}")
    return made


def _unmatched(only: Sequence[str], labels: Sequence[str]) -> str:
    parts = {part for label in labels for part in label.split("/")}
    return f"has {' or '.join(only)} in its label{nearest(only[0], parts)}" if parts else "can be run"


def run(arguments: Namespace) -> int:
    """Run what is pending, then build the board and show it."""
    registry = _load(arguments)
    todo = _planned(arguments, registry)
    settings = _settings(arguments)
    if not arguments.again:
        _tell_changes(todo, registry, settings)
    failed = _execute(todo, registry, settings, arguments) if todo.pending else []
    _tell_failures(failed, arguments.leaderboards / "failures" / todo.suite.name)
    from synobench import boards
    from synobench.board.text import board_text

    with boards.keeping(arguments.cache, todo.suite, registry, arguments.leaderboards) as kept:
        built = boards.build(todo.suite, registry, arguments.leaderboards, kept=kept)
        print(board_text(built))
        for line in boards.write(built, registry, arguments.leaderboards, arguments.site):
            print(line)
    return 1 if failed else 0


def _settings(arguments: Namespace) -> Settings:
    from synobench.preflight import checkpoint_seconds
    from synobench.runner import Settings

    files = tuple(str(Path(p).absolute()) for p in arguments.plugin)
    return Settings(
        root=arguments.leaderboards,
        cache=arguments.cache / "again" if arguments.again else arguments.cache,
        data=str(Path(arguments.data).absolute()) if arguments.data else None,
        device=arguments.device,
        plugins=files,
        strict=arguments.strict,
        offline=arguments.offline,
        again=arguments.again,
        checkpoint_seconds=checkpoint_seconds(os.environ),
    )


def _execute(todo: Plan, registry: Registry, settings: Settings, arguments: Namespace) -> Failures:
    from synobench.preflight import check_run
    from synobench.progress import Progress
    from synobench.runner import Runner, parent_path
    from synobench.worker import worker_command

    name, overrides = parse_spec(arguments.executor)
    entry = registry.get("executor", name)
    params = resolve(entry.params, overrides, f"executor {name}")
    check_run(todo, registry, settings, arguments.site)
    if settings.again:
        shutil.rmtree(settings.cache, ignore_errors=True)
    executor = entry.load()(params, worker_command(settings.plugins, settings.strict))
    missing = sum(not parent_path(settings.cache, key).exists() for key in todo.parents())
    coming = sum(map(todo.coming, todo.pending))
    with Progress(len(todo.pending) + missing + coming) as progress:
        runner = Runner(todo, executor, settings, progress, registry)
        runner.run()
    return runner.failed


def _tell_failures(failed: Failures, folder: Path) -> None:
    """Tell each cause once, however many runs it took along."""
    causes: dict[str, list[str]] = {}
    for label, error in failed:
        blamed = f" in plugin {error['plugin']}" if error.get("plugin") else ""
        causes.setdefault(f"{error['stage']}{blamed}: {error['kind']}: {error['message']}", []).append(label)
    for cause, labels in causes.items():
        more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
        print(f"synobench: failed: {labels[0]}{more}: {cause}", file=sys.stderr)
    if failed:
        print(
            f"synobench: {len(failed)} runs failed; tracebacks lie in {folder}; run tries them again", file=sys.stderr
        )


def _tell_changes(todo: Plan, registry: Registry, settings: Settings) -> None:
    from synobench.runner import changed_plugins

    for plugin, found in changed_plugins(todo, registry, Store(settings.root), settings.cache).items():
        what = " and ".join(f"{n} {name}" for n, name in zip(found, ("records", "kept parents"), strict=True) if n)
        line = f"plugin {plugin!r} changed since {what} were made, under the same revision"
        print(f"synobench: {line}; --again makes them once more", file=sys.stderr)


def plan(arguments: Namespace) -> int:
    """Show what of a suite is done and what is pending."""
    from synobench.runner import estimate, parent_path

    todo = _planned(arguments, _load(arguments))
    store = Store(arguments.leaderboards)

    def cached(key: str) -> bool:
        return parent_path(arguments.cache, key).exists()

    known = estimate(todo, store.records(todo.suite.name), cached)
    states = {c.label: _state(c.key, todo) for c in todo.cells}
    coming = sum(map(todo.coming, todo.pending))
    if arguments.json:
        facts = {"cells": states, "seconds": known.seconds, "unknown": known.unknown, "twins_to_come": coming}
        print(json.dumps(facts, indent=1, sort_keys=True))
        return 0
    for cell in todo.cells:
        print(f"{states[cell.label]:8} {cell.label}{_reason(cell.key, todo)}")
    for skip in todo.skipped:
        print(f"{'skipped':8} {skip.label}: {skip.reason}")
    counts = [f"{n} {s}" for s in ("done", "pending", "failed") if (n := list(states.values()).count(s))]
    counts += [f"up to {coming} twins to come as their hosts are judged"] if coming else []
    print(
        f"{todo.suite.name} {todo.suite.version}: {', '.join(counts)}; {_duration(known.seconds, known.unknown, todo)}"
    )
    return 0


def _state(key: str, todo: Plan) -> str:
    if key in todo.done:
        return "done"
    return "failed" if key in todo.failures else "pending"


def _reason(key: str, todo: Plan) -> str:
    if key in todo.done or key not in todo.failures:
        return ""
    error = todo.failures[key].get("error") or {}
    return f": {error.get('stage')}: {error.get('kind')}: {error.get('message')}"


def _duration(seconds: float, unknown: tuple[str, ...], todo: Plan) -> str:
    if not todo.pending:
        return "nothing to run"
    told = [f"about {duration(seconds)} on one slot, by the records of these networks"] if seconds else []
    told += [f"no record tells how long {', '.join(unknown)} takes"] if unknown else []
    return "; ".join(told)


def board(arguments: Namespace) -> int:
    """Build boards, or check the committed ones."""
    from synobench import boards
    from synobench.board.text import board_text

    registry = _load(arguments, strangers=bool(arguments.more))
    store = Store(arguments.leaderboards)
    names = arguments.suite or _known_suites(store, registry)
    if arguments.check:
        return boards.check(names, registry, arguments.leaderboards)
    if not names:
        told = f"no records of a registered suite lie below {arguments.leaderboards}"
        raise BenchError(f"{told}; 'synobench run quickstart' makes some")
    for suite in [find_suite(name, registry) for name in names]:
        cache = None if arguments.afresh else arguments.cache
        with boards.keeping(cache, suite, registry, arguments.leaderboards) as kept:
            built = boards.build(suite, registry, arguments.leaderboards, arguments.more, kept=kept)
            print(board_text(built, more=arguments.more))
            if not arguments.more:
                for line in boards.write(built, registry, arguments.leaderboards, arguments.site):
                    print(line)
    return 0


def _known_suites(store: Store, registry: Registry) -> list[str]:
    """Return the registered suites that have records; of the others, only the user knows the file."""
    known = {found.entry.name for found in registry.all("suite")}
    for name in store.suites():
        if name not in known:
            print(f"synobench: suite {name} is not registered; its board needs its TOML file's name", file=sys.stderr)
    return [name for name in store.suites() if name in known]


def plugins(arguments: Namespace) -> int:
    """List plugins and entries, or show one."""
    from synobench.listing import show

    return show(arguments, _load(arguments))


def data(arguments: Namespace) -> int:
    """List data sets and checkpoints, or fetch some."""
    from synobench import checkpoints
    from synobench.layouts import data_folder, describe

    registry = _load(arguments)
    folder = data_folder(arguments.data)
    if arguments.action == "list":
        print(f"data below {folder}")
        for found in registry.all("dataset"):
            print(f"{found.entry.name:16} {describe(found.entry, folder)}")  # type: ignore[arg-type]
        print(f"checkpoints below {checkpoints.folder()}")
        for found in registry.all("checkpoint"):
            print(f"{found.entry.name:22} {checkpoints.describe(found.entry)}")  # type: ignore[arg-type]
        return 0
    from synobench.fetch import fetch

    known = {found.entry.name for found in registry.all("checkpoint")}
    for name in arguments.name:
        if name in known:
            checkpoints.bring(registry.get("checkpoint", name), arguments.offline)
        else:
            fetch(registry.get("dataset", name), folder, offline=arguments.offline)
    return 0


def verify(arguments: Namespace) -> int:
    """Check stored records and print one line a finding."""
    from synobench.submission import changed_since
    from synobench.verify import verify_suite

    registry = _load(arguments, strangers=False)
    store = Store(arguments.leaderboards)
    findings, checked = [], 0
    for name in arguments.suite:
        if name not in store.suites():
            raise BenchError(f"suite {name} has no records below {store.root}{nearest(name, store.suites())}")
    for name in arguments.suite or store.suites():
        seen, found = verify_suite(store, name, registry)
        checked += seen
        findings += found
    if arguments.base:
        findings += changed_since(arguments.leaderboards, arguments.base)
    for finding in findings:
        print(finding)
    print(f"{checked} records checked, {len(findings)} findings")
    if not checked:
        return NOTHING
    return 1 if findings else 0


def replay(arguments: Namespace) -> int:
    """Run stored cells again, parents too, and judge each difference by the spread of the cell's other seeds."""
    from synobench import replay as replays

    if bool(arguments.key) == (arguments.sample is not None):
        raise BenchError("replay takes either keys or --sample N")
    if not arguments.key and arguments.sample < 1:
        raise BenchError(f"--sample draws one record or more, not {arguments.sample}")
    registry, store = _load(arguments), Store(arguments.leaderboards)
    suites = {suite.name: suite for suite in (find_suite(name, registry) for name in arguments.suite)}
    if arguments.key:
        paths = replays.find(arguments.key, store)
    else:
        paths = replays.sample(store, list(suites), arguments.sample, arguments.salt)
    records = [replays.held(path, registry) for path in paths]
    found = [
        j
        for suite, some in replays.by_suite(records, suites, registry)
        for j in _replayed(suite, some, registry, arguments)
    ]
    for judgement in found:
        print(judgement.says())
    return replays.exit_code(found, len(records))


def _replayed(suite: Suite, records: list[Record], registry: Registry, arguments: Namespace) -> Iterator[Judgement]:
    """Run some cells of one suite once more in an empty cache, and judge those that were stored."""
    from synobench.replay import cell_of, family_of, judge
    from synobench.runner import Plan
    from synobench.twins import Twins

    store, cells = Store(arguments.leaderboards), [cell_of(record, suite, registry) for record in records]
    before = {cell.key: store.replays(suite.name, cell.key) for cell in cells}
    settings = _settings(Namespace(**{**vars(arguments), "again": True}))
    todo = Plan(suite, cells, [], set(), {}, Twins([], registry, store))
    failed = _execute(todo, registry, settings, Namespace(**{**vars(arguments), "site": settings.cache}))
    _tell_failures(failed, arguments.leaderboards / "failures" / suite.name)
    for record in records:
        new = [path for path in store.replays(suite.name, record["key"]) if path not in before[record["key"]]]
        if new:
            yield judge(record, read_json(new[-1]), family_of(record, store))


def cite(arguments: Namespace) -> int:
    """Print the references of a suite's board, and a line for each that is missing."""
    _, _, found = _cited(arguments)
    print(found.text, end="")
    return _tell_findings(found)


def paper(arguments: Namespace) -> int:
    """Write the files of one evaluation section, and tell a line for each reference that is missing."""
    from synobench import boards
    from synobench.paper import files, write

    suite, registry, found = _cited(arguments)
    board = boards.build(suite, registry, arguments.leaderboards)
    for path in write(arguments.out, files(board, suite, registry, found)):
        print(path)
    return _tell_findings(found)


def _cited(arguments: Namespace) -> tuple[Suite, Registry, Bibliography]:
    """Return a suite with its references; strangers' plugins are loaded only where the built-in ones do not do."""
    from synobench.citations import cite as collect

    store = Store(arguments.leaderboards)
    with contextlib.suppress(BenchError):
        registry = _load(arguments, strangers=False)
        suite = find_suite(arguments.suite, registry)
        found = collect(suite, registry, store.records(suite.name))
        if not found.findings:
            return suite, registry, found
    registry = _load(arguments)
    suite = find_suite(arguments.suite, registry)
    return suite, registry, collect(suite, registry, store.records(suite.name))


def _tell_findings(found: Bibliography) -> int:
    for finding in found.findings:
        print(f"synobench: {finding}", file=sys.stderr)
    return 1 if found.findings else 0


def compare(arguments: Namespace) -> int:
    """Compare two entries, folders of records, or git revisions, and print the result."""
    from synobench import compare as comparing

    registry = _load(arguments, strangers=False)
    texts = arguments.a, arguments.b
    report = comparing.compare(*texts, arguments.leaderboards, registry, arguments.suite, arguments.kind)
    print(comparing.write(report, arguments.format), end="")
    return 0 if report.shared else NOTHING


VERBS: dict[str, Callable[[Namespace], int]] = {
    "run": run,
    "plan": plan,
    "board": board,
    "plugins": plugins,
    "data": data,
    "verify": verify,
    "replay": replay,
    "compare": compare,
    "cite": cite,
    "paper": paper,
}
"""Each verb by name."""
