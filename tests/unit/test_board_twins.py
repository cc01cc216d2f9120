"""Gains over twins: which records are whose twins, what a host gains, and when the two are one network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest

from synobench.board import Board, SuiteFacts, build_board
from synobench.board.figures import gain, gains
from synobench.board.prose import reading
from synobench.board.rows import Row
from synobench.board.text import board_text
from synobench.errors import BenchError
from synobench.stats import paired
from synobench.stats.multiple import compare
from synobench.store import key_of
from synobench.testing.records import hit_mask, make_failure, make_records
from synobench.twins import kept_counts

FACTS = SuiteFacts("demo", "1.0", "Which?", "effective", {"effective": "synops"})
COUNTERS = {"effective": lambda _: {"synops": 1.0}}
Record = dict[str, Any]


def board(records: Iterable[Record], **facts: Any) -> Board:
    return build_board(dataclasses.replace(FACTS, **facts), records, COUNTERS)


def twin_of(host: Record, kind: str, hits: int | None = None) -> Record:
    """Return the record of a host's twin; with the host's own outcome, unless its hits are given."""
    pruner = {"name": kind, "params": {"scope": "global", "allocation": kept_counts(host)}}
    inputs = {**host["inputs"], "pruner": pruner}
    record = {**host, "key": key_of(inputs), "inputs": inputs}
    if hits is not None:
        told = {"hits": hits, "total": 200, "mask": hit_mask(hits, 200, inputs["seed"])}
        record["outcome"] = {**host["outcome"], "test": {**host["outcome"]["test"], "top1": told}}
    return record


def suite(pruners: Sequence[str] = ("magnitude", "taylor"), seeds: int = 5) -> list[Record]:
    """Return the records of a suite whose pruners keep their weights in different places."""
    made = make_records(dict.fromkeys(pruners, (180, 170)), targets=(0.8, 0.9), seeds=range(seeds))
    return [shifted(r, ["none", *pruners].index(r["inputs"]["pruner"]["name"])) for r in made]


def shifted(record: Record, weights: int) -> Record:
    """Return a record that keeps so many weights more in its first tensor, and as many less in its second."""
    told = record["outcome"]["sparsity"]
    steps = zip(told["layers"], (weights, -weights), strict=True)
    layers = [{**layer, "kept": layer["kept"] + step, "nonzero": layer["nonzero"] + step} for layer, step in steps]
    return {**record, "outcome": {**record["outcome"], "sparsity": {**told, "layers": layers}}}


def with_twins(records: Sequence[Record], steps: dict[str, int] | None = None) -> Iterator[Record]:
    """Yield the records and their twins; those of a kind in `steps` have so many hits less, and a seed's number."""
    yield from records
    for host in records:
        if host["inputs"]["target"]["name"] == "none":
            continue
        for kind in ("magnitude", "random"):
            less = (steps or {}).get(kind)
            hits = host["outcome"]["test"]["top1"]["hits"]
            seed = host["inputs"]["seed"]
            yield twin_of(host, kind, None if less is None else hits - less - seed % 2)


def rows(found: Board, entry: str | None = None) -> list[Row]:
    return [r for n in found.networks for r in n.rows if not r.control and entry in (None, r.entry)]


def test_twins_stand_behind_their_hosts_and_in_no_row() -> None:
    records = suite()
    found = board(with_twins(records, {"random": 20}))
    plain = board(records)
    assert [r.label for r in rows(found)] == [r.label for r in rows(plain)]
    assert [r.rank for r in rows(found)] == [r.rank for r in rows(plain)]
    assert {run.key for run in found.runs} == {r["key"] for r in records}
    assert {run.inputs["pruner"]["name"] for run in found.twins} == {"magnitude", "random"}
    assert len(found.twins) == len({t.key for t in found.twins}) == 40
    assert all(set(row.twins) == {"magnitude", "random"} for row in rows(found))
    assert all(row.twins == {} for row in rows(plain))
    assert found.notes == ()


def test_the_gain_is_paired_by_seed_and_judged_with_its_own_kind() -> None:
    found = board(with_twins(suite(), {"random": 20, "magnitude": 1}))
    for kind in ("magnitude", "random"):
        named: dict[str, tuple[dict[int, float], dict[int, float]]] = {}
        for row in rows(found):
            twin = row.twins[kind]
            others = {run.seed: run.top1.accuracy for run in twin.runs}
            assert twin.gain == paired(row.by_seed(), others)
            named[f"{row.label}, {row.target_label}"] = row.by_seed(), others
        verdicts = compare(named)
        assert [row.twins[kind].verdict for row in rows(found)] == list(verdicts)
        assert {v.verdict for v in verdicts} == ({"better"} if kind == "random" else {v.verdict for v in verdicts})
    assert all("better" in gain(row.twins["random"]) for row in rows(found))


def test_a_host_equal_to_its_twin_says_so_and_is_no_comparison() -> None:
    found = board(with_twins(suite(), {"random": 20}))
    for row in rows(found):
        twin = row.twins["magnitude"]
        assert (twin.same, twin.verdict, gain(twin)) == (True, None, "same network")
        assert (twin.gain.mean, twin.gain.sd) == (0.0, 0.0)  # type: ignore[union-attr]
        assert not row.twins["random"].same


def change(record: Record, what: str) -> Record:
    outcome = record["outcome"]
    test, ledger = outcome["test"], outcome["ledger"]
    if what == "ledger":
        return {**record, "outcome": {**outcome, "ledger": {**ledger, "digest": "sha256:33"}}}
    score = {"hits": 150, "total": 200, "mask": hit_mask(150, 200, 77)}
    return {**record, "outcome": {**outcome, "test": {**test, what: score}}}


@pytest.mark.parametrize("what", ["ledger", "top1", "top5"])
def test_one_seed_that_differs_makes_another_network(what: str) -> None:
    records = suite(["taylor"])
    twins = [twin_of(host, "magnitude") for host in records if host["inputs"]["target"]["name"] != "none"]
    assert all(row.twins["magnitude"].same for row in rows(board([*records, *twins])))
    twins[2] = change(twins[2], what)
    assert sorted(r.twins["magnitude"].same for r in rows(board([*records, *twins]))) == [False, True]


def test_hosts_of_one_allocation_share_their_twins() -> None:
    records = list(make_records({"taylor": (180, 170), "magnitude": (175, 165)}, targets=(0.8, 0.9)))
    twins = {t["key"]: t for t in with_twins(records, {"random": 10})}
    found = board(twins.values())
    behind = {row.label: {run.key for run in row.twins["random"].runs} for row in rows(found)}
    assert behind["taylor"] == behind["magnitude"]
    assert len(found.twins) == 20


OTHER = {
    "seed": lambda _: {"seed": 9},
    "parent": lambda _: {"parent": {"name": "trained", "key": "f" * 64}},
    "target": lambda _: {"target": {"name": "sparsity", "value": 0.85}},
    "fine-tuning": lambda _: {"tune": {"name": "other", "params": {}}},
    "allocation": lambda _: {"pruner": {"name": "random", "params": {"allocation": [1, 173]}}},
    "budget": lambda r: {"budget": {**r["inputs"]["budget"], "batch": 32}},
}


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_a_twin_shares_all_but_the_pruner_with_its_host(change: Any) -> None:
    records = suite(["taylor"], seeds=1)
    twin = twin_of(records[1], "random", 100)
    inputs = {**twin["inputs"], **change(twin)}
    stray = {**twin, "inputs": inputs, "key": key_of(inputs)}
    found = board([*records, stray])
    assert [r.twins for r in rows(found)] == [{}, {}]
    assert found.notes == ("1 twins without their host left out",)
    assert board([*records, twin]).notes == ()


def test_host_and_twin_have_revisions_of_their_own() -> None:
    def revised(record: Record) -> Record:
        inputs = {**record["inputs"], "revisions": {**record["inputs"]["revisions"], "pruner": 5}}
        return {**record, "inputs": inputs, "key": key_of(inputs)}

    records = suite(["taylor"])
    hosts = [revised(r) if r["inputs"]["pruner"]["name"] == "taylor" else r for r in records]
    twins = [twin_of(r, "random", 100) for r in records if r["inputs"]["target"]["name"] != "none"]
    assert [len(row.twins["random"].runs) for row in rows(board([*hosts, *twins]))] == [5, 5]


def test_a_missing_twin_is_a_gap_and_a_failed_one_is_named() -> None:
    records = suite(["taylor"])
    first = [r for r in records if r["inputs"]["target"].get("value") == 0.8]
    found = board([*records, *(twin_of(r, "random", 100) for r in first[:3])])
    table = gains(found.networks[0].rows)
    assert table[0] == ("target", "entry", "over random twin")
    assert "seeds 3, 4 missing" in table[1][-1]
    assert table[2] == ("sparsity 90 %", "taylor", "\N{EN DASH}")
    assert len(table) == 3
    pruner = {"name": "random", "params": {"allocation": [14, 160]}}
    assert ", sparsity 90 %, seed 0" in (label := board([make_failure(pruner)]).failures[0].label)
    assert "random (twin)" in label
    assert "(twin)" not in board([make_failure("random")]).failures[0].label


def test_a_listed_allocation_is_a_row_and_a_twin_at_once() -> None:
    records = suite(["taylor"])
    twins = [twin_of(r, "random", 100) for r in records if r["inputs"]["target"].get("value") == 0.8]
    plan = [twin["inputs"] for twin in twins]
    found = board([*records, *twins], plan=plan)
    assert sorted({row.detail.partition("[")[0] for row in rows(found)}) == ["random", "taylor"]
    assert [bool(row.twins) for row in rows(found) if row.entry == "taylor"] == [True, False]
    assert all(row.twins == {} for row in rows(found) if row.entry != "taylor")
    assert found.twins == ()


def test_a_run_whose_parent_is_another_network_is_not_paired() -> None:
    records = suite(["taylor"])
    shared = {"shared": {"parent": {"weights": "sha256:1"}}}
    records = [{**r, "provenance": {**r["provenance"], **shared}} for r in records]
    twins = [twin_of(r, "random", 100) for r in records if r["inputs"]["target"].get("value") == 0.8]
    twins[0]["provenance"] = {**twins[0]["provenance"], "shared": {"parent": {"weights": "sha256:2"}}}
    (row,) = (row for row in rows(board([*records, *twins])) if row.twins)
    assert row.twins["random"].gain.n == 4  # type: ignore[union-attr]
    assert row.twins["random"].verdict.difference.n == 4  # type: ignore[union-attr]


def test_the_order_of_the_records_is_nothing() -> None:
    records = list(with_twins(suite(), {"random": 20, "magnitude": 1}))
    assert board(records) == board(reversed(records))


def test_the_text_and_the_reading_tell_of_twins_only_where_there_are_some() -> None:
    bare, found = board(suite()), board(with_twins(suite(), {"random": 20}))
    text = board_text(found)
    assert "over magnitude twin" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "same network" in text
    assert "twin" not in board_text(bare)
    assert len(reading(found)) == len(reading(bare)) + 1


def test_two_twins_of_one_place_cannot_be() -> None:
    records = suite(["taylor"], seeds=1)
    twin = twin_of(records[1], "random", 100)
    with pytest.raises(BenchError, match="two records have the key"):
        board([*records, twin, twin])
