"""Boards that two processes make: the same bytes and the same errors as of one."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from synobench import beside, boards
from synobench.board import files, rendering
from synobench.board.build import SuiteFacts, build_board
from synobench.board.files import Files
from synobench.board.publish import render
from synobench.entries import RendererEntry
from synobench.errors import BenchError
from synobench.kept import Kept
from synobench.registry import Registry
from synobench.store import Store, document
from synobench.suite import Suite, parse
from synobench.testing.records import make_record, make_records

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no copies are made elsewhere")

FACTS = SuiteFacts("demo", "1.0", "Which?", "c", {"c": "total"})
COUNTERS = {"c": lambda ledger: {"total": float(ledger.layers[0].effective)}}


class Two:
    """Lets two processes take part, or one, whatever else this process has loaded; counts copies that told all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch, self.told = monkeypatch, 0

        two = self

        class Counted(beside.Told[Any]):
            def _next(self, pipe: Any) -> Any:
                yield from super()._next(pipe)
                two.told += self.whole

        monkeypatch.setattr(beside, "Told", Counted)
        monkeypatch.setattr(files, "PIECE", 2)
        for module in (files, rendering):
            monkeypatch.setattr(module, "MANY", 2)

    def __call__(self, held: bool) -> None:
        self.told = 0
        for module in (beside, rendering):
            self._patch.setattr(module, "able", lambda: held)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Two:
    return Two(monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "leaderboards")
    networks = [(f"data-{i}", "snn-conv") for i in range(6)]
    for record in make_records({"magnitude": [180, 170], "taylor": [182, 171]}, targets=(0.5, 0.9), networks=networks):
        store.add(record)
    return store


@pytest.fixture
def demo(suite_text: Callable[..., str]) -> Suite:
    return replace(parse(suite_text(pruners=["none", "magnitude"], model="snn-conv")), name="demo")


def test_two_processes_make_the_bytes_of_one(
    store: Store, demo: Suite, registry: Registry, two: Two, tmp_path: Path
) -> None:
    found = []
    for held in (True, False):
        two(held)
        board = boards.build(demo, registry, store.root)
        boards.write(board, registry, store.root, tmp_path / f"site-{held}")
        # Some of the records, and then the curves with what stands apart.
        assert two.told == (2 if held else 0)
        site = {p.name: p.read_bytes() for p in (tmp_path / f"site-{held}" / "demo").iterdir()}
        found.append((site, {p.name: p.read_bytes() for p in (store.root / "boards" / "demo").iterdir()}))
        for path in (store.root / "boards" / "demo").iterdir():
            path.unlink()
    assert found[0] == found[1]
    assert {"pareto.pdf", "index.html"} <= found[0][0].keys()
    assert {"runs.csv", "ranks.svg"} <= found[0][1].keys()


def test_runs_of_both_processes_hold_equal_parts_once(store: Store, two: Two) -> None:
    two(True)
    board = build_board(FACTS, Files(store.paths("demo")), COUNTERS)
    assert two.told == 1
    assert len(board.runs) == len(store.paths("demo"))
    for role in ("model", "rule", "budget", "revisions"):
        assert len({id(run.inputs[role]) for run in board.runs}) == 1
    assert len({id(run.code) for run in board.runs}) == 1
    two(False)
    assert build_board(FACTS, Files(store.paths("demo")), COUNTERS) == board


def wrong(record: dict[str, Any]) -> None:
    record["outcome"]["test"]["top1"]["hits"] += 1


def failed(record: dict[str, Any]) -> None:
    record["status"] = "failed"


@pytest.mark.parametrize("places", [(0,), (-1,), (0, -1)])
@pytest.mark.parametrize("change", [wrong, failed])
def test_a_record_is_told_of_whichever_process_reads_it(
    store: Store, two: Two, places: tuple[int, ...], change: Callable[[Any], None]
) -> None:
    paths = store.paths("demo")
    records = list(store.records("demo"))
    for place in places:
        change(records[place])
        paths[place].write_text(document(records[place]))
    told = []
    for held in (True, False):
        two(held)
        try:
            board = build_board(FACTS, Files(paths), COUNTERS)
            told.append((sorted(failure.key for failure in board.failures), board.notes))
        except BenchError as error:
            told.append(str(error))
    assert told[0] == told[1]
    if change is failed:
        assert told[0] == ([records[place]["key"] for place in places], ())


def test_a_key_that_both_processes_saw_is_told(tmp_path: Path, two: Two) -> None:
    two(True)
    paths = [tmp_path / f"{i}.json" for i in range(4)]
    for i, path in enumerate(paths):
        path.write_text(document(make_record(seed=i % 3)))
    with pytest.raises(BenchError, match="two records have the key"):
        build_board(FACTS, Files(paths), COUNTERS)


def renderer(name: str, run: Any, **more: Any) -> RendererEntry:
    return RendererEntry(name, summary="a file", file=f"{name}.txt", run=run, **more)


def test_each_file_is_made_once_and_only_what_stands_apart_in_a_copy(store: Store, two: Two, tmp_path: Path) -> None:
    log = tmp_path / "log"
    # The copy takes a file before this process is done with its own.
    told = logged(log, "m", lambda: len(makers(log)) == 2)
    two(True)
    board = build_board(FACTS, Files(store.paths("demo")), COUNTERS)
    entries = [renderer(name, told(name), apart=name != "m") for name in "abmyz"]
    assert [file.data for file in render(board, entries)] == [b"a", b"b", b"m", b"y", b"z"]
    lines = [line.split() for line in log.read_text().splitlines()]
    assert sorted(name for name, _ in lines) == list("abmyz")
    assert ["m", str(os.getpid())] in lines
    assert len(makers(log)) == 2


def test_a_copy_draws_before_it_writes_what_any_process_can(store: Store, two: Two, tmp_path: Path) -> None:
    log = tmp_path / "log"
    # This process is the last to be done.
    told = logged(log, "own", lambda: len(log.read_text().splitlines()) == 5)
    two(True)
    board = build_board(FACTS, Files(store.paths("demo")), COUNTERS)
    names = {"a": "a.csv", "b": "b.svg", "c": "c.txt", "d": "d.pdf"}
    entries = [replace(renderer(name, told(name), apart=True), file=file) for name, file in names.items()]
    render(board, [*entries, renderer("own", told("own"))])
    mine = str(os.getpid())
    assert [name for name, who in map(str.split, log.read_text().splitlines()) if who != mine] == list("bdac")


def logged(log: Path, patient: str, due: Callable[[], bool]) -> Callable[[str], Callable[[Any], str]]:
    """Make renderers that write their name and process down; that of one name then waits, a minute at most."""

    def told(name: str) -> Callable[[Any], str]:
        def run(board: Any) -> str:
            with log.open("a") as file:
                file.write(f"{name} {os.getpid()}\n")
            until = time.monotonic() + 60
            while name == patient and not due() and time.monotonic() < until:
                time.sleep(0.01)
            return name

        return run

    return told


def makers(log: Path) -> set[str]:
    return {line.split()[-1] for line in log.read_text().splitlines()}


@pytest.mark.parametrize("broken", [("a",), ("m",), ("z",), ("a", "m"), ("m", "z"), ("a", "z")])
def test_the_first_renderer_that_fails_is_told(store: Store, two: Two, broken: tuple[str, ...]) -> None:
    def fails(_: Any) -> str:
        raise ZeroDivisionError

    two(True)
    board = build_board(FACTS, Files(store.paths("demo")), COUNTERS)
    entries = [renderer(n, fails if n in broken else lambda _: "text", apart=n != "m") for n in "azm"]
    with pytest.raises(BenchError, match=f"renderer '{broken[0]}' fails on the board of demo: ZeroDivisionError"):
        render(board, entries)


def test_what_a_copy_makes_is_kept(store: Store, demo: Suite, registry: Registry, two: Two, tmp_path: Path) -> None:
    two(True)

    def built() -> dict[str, bytes | None]:
        with boards.keeping(tmp_path / "cache", demo, registry, store.root) as kept:
            board = boards.build(demo, registry, store.root, kept=kept)
            return {file.name: file.data for file in render(board, [found.entry for found in registry.all("renderer")])}

    first = built()
    before = made(tmp_path / "cache")
    assert built() == first
    assert made(tmp_path / "cache") == before
    assert (first["pareto.pdf"] or b"").decode("latin-1").encode() in before


def made(cache: Path) -> set[bytes]:
    (path,) = cache.rglob("*.sqlite")
    with sqlite3.connect(path) as file:
        return {data for (data,) in file.execute("SELECT data FROM kept")}


def test_a_copy_reads_what_is_kept_and_writes_nothing(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept.sqlite", "salt")
    old, fresh, new = (kept.key(name) for name in ("old", "fresh", "new"))
    kept.put(old, b"old")
    kept.save()
    kept.put(fresh, b"fresh")
    kept.apart()
    assert (kept.find(old), kept.find(fresh), kept.find(new)) == (b"old", b"fresh", None)
    kept.put(new, b"new")
    kept.save()
    other = Kept(tmp_path / "kept.sqlite", "salt")
    assert (other.find(old), other.find(fresh), other.find(new)) == (b"old", None, None)
    other.add(kept.news())
    assert kept.news()[1] == {new: b"new"}
    assert other.find(new) == b"new"
    other.save()
    other.close()
    assert Kept(tmp_path / "kept.sqlite", "salt").find(new) == b"new"
