"""From a store to a board and its files, for the command line: which records, counters and renderers take part."""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import importlib.metadata
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from synobench.board import Board, SuiteFacts, build_board
from synobench.board.files import Files
from synobench.board.publish import check as compare
from synobench.board.publish import publish, slug
from synobench.board.shelf import Shelf
from synobench.board.versus import trained
from synobench.entries import CounterEntry, PrunerEntry
from synobench.errors import BenchError
from synobench.kept import Kept
from synobench.params import as_dict, parse_spec, resolve
from synobench.protocol import RULE
from synobench.provenance import source_digest
from synobench.registry import HOME, Registry
from synobench.store import Record, Store
from synobench.suite import Cell, Network, Suite, cells, find_suite, in_parts

STALE, NOTHING = 1, 3

LIBRARIES = ("jinja2", "markupsafe", "matplotlib", "numpy", "pandas", "scipy")
"""The libraries that the bytes of a board could depend on."""


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from walking again and again through thousands of runs, which hold no cycles."""
    held = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if held:
            if not gc.get_freeze_count():
                # All that was made is old from here on, or the collector would walk through it at once.
                gc.freeze()
                gc.unfreeze()
            gc.enable()


@uncollected()
def build(suite: Suite, registry: Registry, root: Path, more: Sequence[str] = (), *, kept: Kept | None = None) -> Board:
    """Compute a suite's board from the records below a folder, `more` counters' columns added.

    Args:
        suite: of the board.
        registry: of the plugins.
        root: of the records.
        more: counters.
        kept: what was computed before; a board that it has a part in has the same bytes as one without.

    Raises:
        BenchError: a record cannot be read or contradicts itself, or a counter is unknown.
    """
    names = dict.fromkeys((suite.counter, *suite.counters, *more))
    counters = {name: counter_of(registry, name) for name in names}
    entries: dict[str, CounterEntry] = {name: registry.get("counter", parse_spec(name)[0]) for name in names}
    metrics = {name: registry.get("metric", name).load() for name in suite.metrics}
    plan = plan_of(suite, registry)
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
        **naming_of(suite, plan),
        published=[(places[figure.network], figure) for figure in suite.published if figure.network in places],
    )
    own = all(registry.find(*place).origin.distribution == HOME for place in _counting(names, suite.metrics))
    store, counted = Store(root), repr((sorted(names), sorted(suite.metrics)))
    # The digest of a stranger's source may not tell all that its counter depends on, and what one does besides counting
    # would be lost in another process.
    records: Files | Iterator[Record] = store.records(suite.name)
    if own:
        records = Files(store.paths(suite.name), Shelf(kept, counted) if kept else None)
    board = build_board(facts, records, counters, metrics)
    registry.notify("synobench_board_built", board=board)
    return board


def _counting(counters: Iterable[str], metrics: Iterable[str]) -> list[tuple[str, str]]:
    """Return kind and name of each counter and metric."""
    return [*(("counter", parse_spec(spec)[0]) for spec in counters), *(("metric", name) for name in metrics)]


@contextlib.contextmanager
def keeping(cache: Path | None, suite: Suite, registry: Registry, root: Path) -> Iterator[Kept | None]:
    """Lend what was computed for a suite's board before, below a cache folder, and keep what is new.

    It depends on the sources of the bench and of every plugin that is loaded, and on the versions of the libraries;
    None where these are not known, or without a folder.
    """
    salt = _salt(registry) if cache else None
    if cache is None or salt is None:
        with uncollected():
            yield None
        return
    place = hashlib.sha256(str(root.resolve()).encode(errors="surrogatepass")).hexdigest()[:12]
    kept = Kept(cache / "boards" / f"{slug(suite.name)}-{place}.sqlite", salt)
    try:
        with uncollected():
            yield kept
        kept.save()
    finally:
        kept.close()


def _salt(registry: Registry) -> str | None:
    modules = {(origin.module, origin.version) for origin in registry.origins}
    try:
        sources = [(*module, source_digest(module[0])) for module in sorted(modules)]
        libraries = [(name, importlib.metadata.version(name)) for name in LIBRARIES]
        return repr((source_digest("synobench"), sources, libraries, sys.version))
    except (BenchError, OSError, importlib.metadata.PackageNotFoundError):
        return None


def plan_of(suite: Suite, registry: Registry) -> list[tuple[Cell, Network]]:
    """Return the planned cells that the loaded plugins can resolve, each with the network of the suite that it is on.

    A board does without a stranger's pruner.
    """
    found: list[tuple[Cell, Network]] = []
    for part in in_parts(suite):
        with contextlib.suppress(BenchError):
            found += [(cell, part.networks[0]) for cell in cells(part, registry)[0]]
    return found


def naming_of(suite: Suite, plan: Sequence[tuple[Cell, Network]]) -> dict[str, Any]:
    """Return what a board must know to name its entries: what they are, titles of rules, and the reference rules."""
    return {
        "versus": suite.versus,
        "titles": {trained(cell.inputs): network.entry for cell, network in plan if network.entry},
        "references": frozenset(trained(c.inputs) for c, n in plan if suite.reference in (n.entry, n.rule)),
    }


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
