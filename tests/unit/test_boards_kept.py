"""Boards built with a cache: the same bytes as without, whatever became of the records, the sources or the cache."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from synobench import boards, hookimpl
from synobench import registry as registries
from synobench.board import Board
from synobench.board.decoded import Reader
from synobench.board.publish import render
from synobench.board.text import board_text
from synobench.entries import CounterEntry
from synobench.errors import BenchError
from synobench.registry import Origin, Registry
from synobench.store import Record, Store, document
from synobench.suite import Suite, parse
from synobench.testing.records import hit_mask, make_record, make_records
from synobench.twins import kept_counts

TOLD = ("markdown", "csv", "runs", "latex", "html", "svg", "cost-svg")


@pytest.fixture
def demo(suite_text: Callable[..., str]) -> Suite:
    made = parse(suite_text(pruners=["none", "magnitude"], model="snn-conv"))
    return replace(made, name="demo", counters=("fanout",), metrics=("top1", "prune-cpu-seconds"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "leaderboards")
    networks = [("digits", "snn-conv"), ("mnist", "mlp-300-150-10")]
    for record in make_records({"magnitude": [180, 170], "taylor": [182, 171]}, targets=(0.5, 0.9), networks=networks):
        store.add(record)
    return store


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tell the keys of the records that are read, as they are."""
    seen: list[str] = []
    read = Reader.read

    def told(self: Reader, content: bytes, *more: Any) -> Any:
        seen.append(json.loads(content)["key"])
        return read(self, content, *more)

    monkeypatch.setattr(Reader, "read", told)
    return seen


Files = dict[str, bytes | None]


def files(board: Board, registry: Registry, names: tuple[str, ...] = TOLD) -> Files:
    made = render(board, [registry.get("renderer", name) for name in names])
    return {**{file.name: file.data for file in made}, "text": board_text(board).encode()}


def built(suite: Suite, registry: Registry, store: Store, cache: Path | None, names: tuple[str, ...] = TOLD) -> Files:
    with boards.keeping(cache, suite, registry, store.root) as kept:
        assert (kept is None) == (cache is None)
        return files(boards.build(suite, registry, store.root, kept=kept), registry, names)


def put(store: Store, record: Record) -> Path:
    path = store.record_path("demo", record["key"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document(record))
    return path


def twin(host: Record, kind: str) -> Record:
    pruner = {"name": kind, "params": {"scope": "global", "allocation": kept_counts(host)}}
    made = make_record(pruner, host["inputs"]["target"], host["inputs"]["seed"], 150, model="snn-conv")
    return {**made, "outcome": {**made["outcome"], "sparsity": host["outcome"]["sparsity"]}}


def changes(store: Store, draw: random.Random) -> Iterator[str]:
    """Add, change and delete records at random, a few at a time, without an end."""
    models = ("snn-conv", "mlp-300-150-10", "snn-mlp", "lenet5")
    while True:
        for _ in range(draw.randint(1, 4)):
            paths = store.paths("demo")
            kind = draw.choice(["add", "add", "twin", "change", "delete", "machine"])
            path = draw.choice(paths)
            record = json.loads(path.read_text())
            if kind == "delete":
                path.unlink()
            elif kind == "add":
                entry, target = draw.choice([("none", None), ("magnitude", 0.5), ("taylor", 0.8), ("<b>|x_&", 0.9)])
                place: dict[str, Any] = {"dataset": draw.choice(["digits", "mnist"]), "model": draw.choice(models)}
                put(store, make_record(entry, target, draw.randint(0, 8), draw.randint(100, 199), **place))
            elif kind == "twin":
                host = make_record("taylor", 0.9, draw.randint(0, 4), 171)
                for made in (host, twin(host, "magnitude"), twin(host, "random")):
                    put(store, made)
            elif kind == "change":
                hits, score = draw.randint(100, 199), record["outcome"]["test"]["top1"]
                score |= {"hits": hits, "mask": hit_mask(hits, 200, draw.randint(0, 9))}
                put(store, record)
            else:
                record["provenance"]["device"]["name"] = draw.choice(["cpu", "another"])
                put(store, record)
            yield kind


@pytest.mark.parametrize("seed", range(3))
def test_whatever_becomes_of_the_records_the_bytes_are_those_without_a_cache(
    seed: int, demo: Suite, registry: Registry, store: Store, cache: Path
) -> None:
    changed = changes(store, random.Random(seed))
    for _ in range(6):
        for _ in range(3):
            next(changed)
        assert built(demo, registry, store, cache) == built(demo, registry, store, None)


def test_only_what_changed_is_read_again(
    demo: Suite, registry: Registry, store: Store, cache: Path, reads: list[str]
) -> None:
    first = built(demo, registry, store, cache)
    assert len(reads) == len(store.paths("demo")) == 50
    reads.clear()
    assert built(demo, registry, store, cache) == first
    assert reads == []
    added = make_record("magnitude", 0.5, 7, 181)
    put(store, added)
    assert built(demo, registry, store, cache) != first
    assert reads == [added["key"]]


def test_only_the_network_that_changed_is_drawn_and_written_again(
    demo: Suite, registry: Registry, store: Store, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synobench_renderers import markdown

    seen: list[str] = []
    section = markdown._network

    def told(network: Any, board: Board) -> Iterator[str]:
        seen.append(network.label)
        return section(network, board)

    monkeypatch.setattr(markdown, "_network", told)
    built(demo, registry, store, cache, ("markdown",))
    assert seen[0].startswith("digits")
    assert len(seen) == 3  # one of them planned alone
    held = seen.copy()
    seen.clear()
    put(store, make_record("magnitude", 0.5, 7, 181))
    built(demo, registry, store, cache, ("markdown",))
    assert seen == held[:1]


def test_pictures_as_pdf_are_kept_whole(demo: Suite, registry: Registry, store: Store, cache: Path) -> None:
    found = [built(demo, registry, store, place, ("pdf",)) for place in (cache, cache, None)]
    assert found[0]["accuracy-synops.pdf"]
    assert found[0] == found[1] == found[2]


def test_another_counter_metric_or_suite_is_another_board(
    demo: Suite, registry: Registry, store: Store, cache: Path
) -> None:
    built(demo, registry, store, cache)
    others: list[dict[str, Any]] = [
        {"counters": ("fanout", "energy[precision=int8]")},
        {"counters": ("fanout", "energy[precision=fp32]")},
        {"counter": "dense"},
        {"metrics": ("validation",)},
        {"question": "Another?"},
        {"reference": "taylor"},
        {"seeds": (0, 1, 9)},
    ]
    for told in others:
        suite = replace(demo, **told)
        assert built(suite, registry, store, cache) == built(suite, registry, store, None)


def test_other_sources_or_versions_let_all_be_computed_again(
    demo: Suite, registry: Registry, store: Store, cache: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, digest = built(demo, registry, store, cache), boards.source_digest
    for name, told in (
        ("source_digest", lambda module: digest(module) + ("x" if module == "synobench" else "")),
        ("source_digest", lambda module: digest(module) + ("x" if module == "synobench_synops" else "")),
        ("LIBRARIES", ("numpy",)),
    ):
        reads.clear()
        with monkeypatch.context() as patch:
            patch.setattr(boards, name, told)
            assert built(demo, registry, store, cache) == first
        assert len(reads) == 50


def test_a_damaged_cache_is_made_anew(
    demo: Suite, registry: Registry, store: Store, cache: Path, reads: list[str]
) -> None:
    first = built(demo, registry, store, cache)
    (path,) = (cache / "boards").iterdir()
    draw = random.Random(0)
    for _ in range(4):
        data = bytearray(path.read_bytes())
        start = draw.randrange(len(data))
        data[start : start + 20_000] = draw.randbytes(min(20_000, len(data) - start))
        path.write_bytes(bytes(data))
        assert built(demo, registry, store, cache) == first
    path.write_bytes(b"nothing of the kind")
    reads.clear()
    assert built(demo, registry, store, cache) == first
    assert len(reads) == 50
    reads.clear()
    assert built(demo, registry, store, cache) == first
    assert reads == []


def test_a_cache_that_cannot_be_written_only_costs_time(
    demo: Suite, registry: Registry, store: Store, cache: Path
) -> None:
    cache.write_text("no folder")
    assert built(demo, registry, store, cache) == built(demo, registry, store, None)


def test_a_cache_of_one_store_is_none_of_another(
    demo: Suite, registry: Registry, store: Store, cache: Path, tmp_path: Path
) -> None:
    built(demo, registry, store, cache)
    other = Store(tmp_path / "other")
    put(other, make_record("magnitude", 0.5, 0, 120))
    assert built(demo, registry, other, cache) == built(demo, registry, other, None)
    assert len(list((cache / "boards").iterdir())) == 2


def test_a_record_that_contradicts_itself_is_refused_with_a_cache_too(
    demo: Suite, registry: Registry, store: Store, cache: Path
) -> None:
    built(demo, registry, store, cache)
    path = store.paths("demo")[3]
    record = json.loads(path.read_text())
    record["outcome"]["test"]["top1"]["hits"] += 1
    put(store, record)
    for _ in range(2):
        with pytest.raises(BenchError, match="its mask holds"):
            built(demo, registry, store, cache)
    path.write_text(path.read_text()[:-10])
    with pytest.raises(BenchError, match="cannot be read"):
        built(demo, registry, store, cache)


def test_two_files_of_one_key_are_refused_with_a_cache_too(
    demo: Suite, registry: Registry, store: Store, cache: Path
) -> None:
    path = store.paths("demo")[0]
    built(demo, registry, store, cache)
    path.with_name("zz.json").write_bytes(path.read_bytes())
    for _ in range(2):
        with pytest.raises(BenchError, match="two records have the key"):
            built(demo, registry, store, cache)


@pytest.mark.parametrize(
    "strange",
    [
        {"inputs": {"budget": {"lr": 1e999}}},
        {"inputs": {"budget": {"n": 2**70}}},
        {"inputs": {"budget": {"name": "\ud800"}}},
        {"inputs": {"further": 1e999}},
        {"inputs": {"further": [1, {"a": None}]}},
        {"inputs": {"export": {"name": "x", "n": 1e999}}},
        {"provenance": {"code": {"commit": "\ud800", "dirty": float("inf")}}},
        {"provenance": {"libraries": {"torch": "2\ud800"}}},
        {"provenance": {"shared": {"parent": {"weights": "\udfff"}}}},
    ],
)
def test_what_a_cache_cannot_tell_is_read_each_time(
    strange: dict[str, dict[str, Any]], demo: Suite, registry: Registry, store: Store, cache: Path
) -> None:
    record = make_record("magnitude", 0.5, 11, 181)
    for part, told in strange.items():
        record[part] |= told
    path = store.record_path("demo", record["key"])
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record).replace("Infinity", "1e999"))

    def outcome(place: Path | None) -> object:
        try:
            with boards.keeping(place, demo, registry, store.root) as kept:
                board = boards.build(demo, registry, store.root, kept=kept)
                return [(run.key, repr(run.inputs), repr(run)) for run in board.runs], board.notes
        except (BenchError, UnicodeError) as error:
            return str(error)

    assert outcome(cache) == outcome(cache) == outcome(None)


def test_a_strangers_counter_is_asked_each_time(demo: Suite, store: Store, cache: Path) -> None:
    registry, price = registries.load(strangers=False), [1.0]
    plugin = ModuleType("synobench_strange")

    def count(_: object) -> dict[str, float]:
        return {"n": price[0]}

    @hookimpl
    def synobench_counters() -> Iterator[CounterEntry]:
        yield CounterEntry(
            "strange", summary="x", citation="none", definition="x", columns=("n",), headline="n", run=count
        )

    plugin.synobench_counters = synobench_counters  # type: ignore[attr-defined]
    registry.add(Origin("strange", "stranger", "1", "synobench_synops"), lambda: plugin)
    assert registry.failures == []
    suite = replace(demo, counters=("strange",))
    first = built(suite, registry, store, cache, ("csv",))
    price[0] = 2.0
    assert built(suite, registry, store, cache, ("csv",)) != first
    assert built(suite, registry, store, cache, ("csv",)) == built(suite, registry, store, None, ("csv",))


def test_a_check_takes_nothing_from_a_cache(
    demo: Suite, registry: Registry, store: Store, cache: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNOBENCH_CACHE", str(cache))
    monkeypatch.setattr(boards, "find_suite", lambda name, _: replace(demo, name=name))
    built(demo, registry, store, cache, ())
    reads.clear()
    boards.check(["demo"], registry, store.root)
    assert len(reads) == 50
