"""From a store to a board and its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from synobench import boards, hookimpl
from synobench import registry as registries
from synobench.board import Board
from synobench.errors import BenchError
from synobench.registry import Origin, Registry
from synobench.store import Store
from synobench.suite import Suite, parse
from synobench.testing.records import make_records


@pytest.fixture
def root(tmp_path: Path) -> Path:
    store = Store(tmp_path / "leaderboards")
    for record in make_records({"magnitude": [180, 170]}, targets=(0.5, 0.9)):
        store.add(record)
    return store.root


@pytest.fixture
def demo(suite_text: Callable[..., str]) -> Suite:
    return replace(parse(suite_text(pruners=["none", "magnitude"], model="snn-conv")), name="demo")


def entries(board: Board) -> set[str]:
    return {row.entry for network in board.networks for row in network.rows if row.runs}


def test_a_board_holds_the_records_and_the_counters_asked_for(demo: Suite, registry: Registry, root: Path) -> None:
    built = boards.build(replace(demo, counters=("fanout",), metrics=("top1",)), registry, root, ["energy"])
    assert entries(built) == {"none", "magnitude"}
    assert built.suite.headlines["effective"] == registry.get("counter", "effective").headline
    assert set(built.suite.headlines) == {"effective", "fanout", "energy"}
    runs = [run for network in built.networks for row in network.rows for run in row.runs]
    assert len(runs) == 15
    assert all(set(run.counts) == {"effective", "fanout", "energy"} and "top1" in run.metrics for run in runs)
    assert len(built.suite.plan) == 2


def test_a_counter_takes_its_parameters(demo: Suite, registry: Registry, root: Path) -> None:
    built = boards.build(demo, registry, root, ["energy[precision=int8]"])
    assert "energy[precision=int8]" in built.suite.headlines


@pytest.mark.parametrize("more", [["efective"], ["energy[precision=int9]"]])
def test_a_counter_that_cannot_be_is_told(more: list[str], demo: Suite, registry: Registry, root: Path) -> None:
    with pytest.raises(BenchError):
        boards.build(demo, registry, root, more)


def test_a_suite_that_names_a_pruner_which_is_not_loaded_has_a_board(
    demo: Suite, registry: Registry, root: Path
) -> None:
    told = replace(demo, pruners=("none", "strange", "magnitude"))
    built = boards.build(told, registry, root)
    assert entries(built) == {"none", "magnitude"}
    assert len(built.suite.plan) == 2


def test_a_board_is_the_same_whatever_was_first(demo: Suite, registry: Registry, root: Path, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    for record in reversed(list(make_records({"magnitude": [180, 170]}, targets=(0.5, 0.9)))):
        other.add(record)
    for place in (root, other.root):
        boards.write(boards.build(demo, registry, place), registry, place, place / "site")
    files = sorted(p.relative_to(root) for p in (root / "boards").rglob("*") if p.is_file())
    assert files
    assert all((root / f).read_bytes() == (other.root / f).read_bytes() for f in files)


def test_each_place_that_holds_the_board_is_told(demo: Suite, registry: Registry, root: Path) -> None:
    lines = boards.write(boards.build(demo, registry, root), registry, root, root / "site")
    paths = [Path(line.partition(": ")[2]) for line in lines]
    assert len(paths) == 2
    assert all(p.is_file() for p in paths)


def test_watchers_are_told_of_a_board(demo: Suite, root: Path) -> None:
    seen: list[Any] = []
    found = registries.load(strangers=False)
    watcher = ModuleType("watcher")

    @hookimpl
    def synobench_board_built(board: Board) -> None:
        seen.append(board)

    watcher.synobench_board_built = synobench_board_built  # type: ignore[attr-defined]
    found.add(Origin("watcher", "strange", "1", "watcher"), lambda: watcher)
    assert found.failures == []
    built = boards.build(demo, found, root)
    assert seen == [built]


@pytest.fixture
def known(registry: Registry, demo: Suite, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Let the suite be found by its name."""
    monkeypatch.setattr(boards, "find_suite", lambda name, _: replace(demo, name=name))
    return registry


def test_a_check_tells_fresh_stale_and_nothing_apart(
    known: Registry, demo: Suite, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert boards.check(["demo"], known, root) == boards.NOTHING
    boards.write(boards.build(demo, known, root), known, root, root / "site")
    assert boards.check(["demo", "empty"], known, root) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("files compared, 0 stale")
    (root / "boards" / "demo" / "README.md").write_text("changed\n")
    assert boards.check(["demo"], known, root) == boards.STALE
    out = capsys.readouterr().out
    assert out.splitlines()[-1].endswith("1 stale: demo/README.md")
    assert "-changed" in out
