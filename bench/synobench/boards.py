"""From a store to a board and its files, for the command line: which records, counters and renderers take part."""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from synobench.board import Board, SuiteFacts, build_board
from synobench.board.publish import check as compare
from synobench.board.publish import publish
from synobench.board.versus import trained
from synobench.entries import CounterEntry, PrunerEntry
from synobench.errors import BenchError
from synobench.params import as_dict, parse_spec, resolve
from synobench.protocol import RULE
from synobench.registry import Registry
from synobench.store import Store
from synobench.suite import Cell, Network, Suite, cells, find_suite, in_parts

STALE, NOTHING = 1, 3


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from walking again and again through thousands of runs, which hold no cycles."""
    held = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if held:
            gc.enable()


@uncollected()
def build(suite: Suite, registry: Registry, root: Path, more: Sequence[str] = ()) -> Board:
    """Compute a suite's board from the records below a folder, `more` counters' columns added.

    Raises:
        BenchError: a record cannot be read or contradicts itself, or a counter is unknown.
    """
    names = dict.fromkeys((suite.counter, *suite.counters, *more))
    counters = {name: counter_of(registry, name) for name in names}
    entries: dict[str, CounterEntry] = {name: registry.get("counter", parse_spec(name)[0]) for name in names}
    metrics = {name: registry.get("metric", name).load() for name in suite.metrics}
    plan = _plan(suite, registry)
    planned = [cell for cell, _ in plan]
    places = {cell.network: cell.inputs for cell in planned}
    facts = SuiteFacts(
        name=suite.name,
        version=suite.version,
        question=suite.question,
        counter=suite.counter,
        headlines={name: entry.headline for name, entry in entries.items()},
        definitions={name: entry.definition for name, entry in entries.items()},
        plan=[cell.inputs for cell in planned],
        reference=reference_of(suite, registry),
        versus=suite.versus,
        titles={trained(cell.inputs): network.entry for cell, network in plan if network.entry},
        references=frozenset(trained(c.inputs) for c, n in plan if suite.reference in (n.entry, n.rule)),
        published=[(places[figure.network], figure) for figure in suite.published if figure.network in places],
    )
    board = build_board(facts, Store(root).records(suite.name), counters, metrics)
    registry.notify("synobench_board_built", board=board)
    return board


def _plan(suite: Suite, registry: Registry) -> list[tuple[Cell, Network]]:
    """Return the planned cells that the loaded plugins can resolve, each with the network of the suite that it is on.

    A board does without a stranger's pruner.
    """
    found: list[tuple[Cell, Network]] = []
    for part in in_parts(suite):
        with contextlib.suppress(BenchError):
            found += [(cell, part.networks[0]) for cell in cells(part, registry)[0]]
    return found


def reference_of(suite: Suite, registry: Registry) -> dict[str, Any] | None:
    """Return the reference pruner as a record's inputs hold it; None where no plugin knows it, or rules are judged."""
    if suite.versus == RULE:
        return None
    name, overrides = parse_spec(suite.reference)
    with contextlib.suppress(BenchError):
        entry: PrunerEntry = registry.get("pruner", name)
        return {"name": name, "params": as_dict(resolve(entry.params, overrides, f"pruner {name}"))}
    return None


def counter_of(registry: Registry, spec: str) -> Any:
    """Return a counter as a function of a ledger, its parameters bound."""
    name, overrides = parse_spec(spec)
    entry: CounterEntry = registry.get("counter", name)
    params = resolve(entry.params, overrides, f"counter {name}")
    given, load = vars(params), functools.cache(entry.load)
    return lambda ledger: load()(ledger, **given)


@uncollected()
def write(board: Board, registry: Registry, root: Path, site: Path) -> list[str]:
    """Write a board's files and return a line for each place that now holds it."""
    publish(board, _renderers(registry), root / "boards", site)
    registry.notify("synobench_pages_built", site=site)
    page = site / board.suite.name / "index.html"
    lines = [f"board: {root / 'boards' / board.suite.name / 'README.md'}"]
    return [*lines, f"page: {page}"] if page.exists() else lines


def _renderers(registry: Registry) -> list[Any]:
    return [found.entry for found in registry.all("renderer")]


def check(names: Iterable[str], registry: Registry, root: Path) -> int:
    """Hold committed boards against what their records give; print the differences.

    Returns:
        0 where all are the same, 1 where one is stale, 3 where nothing was compared.
    """
    compared, stale = 0, []
    for name in names:
        built = build(find_suite(name, registry), registry, root)
        drift = compare(built, _renderers(registry), root / "boards")
        compared += drift.compared
        stale += [f"{built.suite.name}/{file}" for file, _ in drift.stale]
        for _, diff in drift.stale:
            print(diff)
    print(f"{compared} files compared, {len(stale)} stale{': ' if stale else ''}{', '.join(stale)}")
    if not compared:
        return NOTHING
    return STALE if stale else 0
