"""Reading many records: one at a time, their common parts held once, and each part named once."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from synobench.board.build import SuiteFacts, build_board
from synobench.board.comparable import OfSuite
from synobench.board.labels import Texts, setting_of
from synobench.board.parts import Parts
from synobench.board.reading import read_run
from synobench.boards import uncollected
from synobench.errors import BenchError
from synobench.ledger import Layer, Ledger
from synobench.store import canonical
from synobench.testing.records import make_failure, make_inputs, make_record, make_records

FACTS = SuiteFacts("demo", "1.0", "Which?", "c", {"c": "total"})
COUNTERS = {"c": lambda ledger: {"total": float(ledger.layers[0].effective)}}


def read(record: dict[str, Any], parts: Parts) -> Any:
    return read_run(record, COUNTERS, {}, Ledger.from_record, parts)


def test_a_board_asks_for_a_record_only_when_the_one_before_it_was_read() -> None:
    asked, counted = [0], []

    def records() -> Iterator[dict[str, Any]]:
        for record in make_records({"magnitude": (180, 170)}, targets=(0.5, 0.8), seeds=range(2)):
            asked[0] += 1
            yield record

    def counter(ledger: Ledger) -> dict[str, float]:
        counted.append(asked[0])
        return COUNTERS["c"](ledger)

    build_board(FACTS, records(), {"c": counter})
    assert counted == [1, 2, 3, 4, 5, 6]


def test_runs_hold_equal_parts_once_and_apart_what_differs() -> None:
    parts = Parts()
    a, b = (read(make_record("magnitude", 0.9, seed), parts) for seed in (0, 1))
    other = read(make_record("random", 0.9, 0), parts)
    for held in ("dataset", "model", "rule", "pruner", "target", "budget", "revisions"):
        assert a.inputs[held] is b.inputs[held]
    assert a.machine is b.machine
    assert a.code is b.code
    assert a.libraries is b.libraries
    assert a.caveats is b.caveats
    assert a.inputs["pruner"] is not other.inputs["pruner"]
    assert other.inputs["pruner"]["name"] == "random"
    assert a.inputs["rule"] is a.inputs["tune"]


def test_parts_tell_whole_numbers_fractions_and_truths_apart() -> None:
    parts = Parts()
    values = [{"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": None}, {"a": [1]}]
    assert [type(parts.one(value)["a"]) for value in values] == [type(value["a"]) for value in values]
    assert parts.made(str, {"a": 1}) == "{'a': 1}"
    assert parts.made(len, {"a": 1}) == 1
    assert parts.one({"a": 1}) == {"a": 1}


def test_what_is_read_with_common_parts_is_what_is_read_without() -> None:
    parts = Parts()
    made = [make_record("magnitude", target, seed) for target in (0.5, 0.9) for seed in range(3)]
    assert [read(record, parts) for record in made] == [read(record, Parts()) for record in copy.deepcopy(made)]


def test_texts_are_canonical_and_belong_to_the_part_not_to_its_place_in_memory() -> None:
    texts = Texts()
    assert [texts.of({"b": i, "a": 0}) for i in range(500)] == [canonical({"b": i, "a": 0}) for i in range(500)]


@pytest.mark.parametrize("role", ["rule", "tune", "neuron", "export", "budget", "target", "pruner"])
def test_the_text_of_a_row_changes_with_each_part_that_makes_a_row(role: str) -> None:
    texts, plain = Texts(), make_inputs()
    changed = {**plain, role: {"name": "other"}}
    assert texts.row(plain) == (canonical(setting_of(plain)), canonical(plain["target"]), canonical(plain["pruner"]))
    assert texts.row(changed) == tuple(map(canonical, (setting_of(changed), changed["target"], changed["pruner"])))
    assert texts.row(changed) != texts.row(plain)


def test_the_text_of_a_row_knows_a_parent_by_name_and_checkpoint_alone() -> None:
    texts, plain = Texts(), make_inputs()
    keyed = {**plain, "parent": {**plain["parent"], "key": "another"}}
    checkpoint = {**plain, "parent": {"name": "checkpoint", "checkpoint": "a"}}
    assert texts.row(keyed) == texts.row(plain) != texts.row(checkpoint)
    assert texts.row(checkpoint) != texts.row({**plain, "parent": {"name": "checkpoint", "checkpoint": "b"}})


def test_a_suite_keeps_its_failures_by_key_and_counts_all_others() -> None:
    own, failure = make_record(), make_failure("random")
    other = {**make_record(seed=1), "inputs": {**own["inputs"], "suite": {"name": "demo", "version": "2.0"}}}
    here = OfSuite("demo", "1.0")
    assert list(here.done([failure, other, own])) == [own]
    assert here.failed == [failure]
    assert here.others == 1


@pytest.mark.parametrize("twice", [make_record(), make_failure()])
def test_two_records_of_one_key_are_refused(twice: dict[str, Any]) -> None:
    with pytest.raises(BenchError, match="two records have the key"):
        list(OfSuite("demo", "1.0").done([twice, copy.deepcopy(twice)]))


def test_a_record_and_a_failure_may_share_a_key() -> None:
    done = make_record()
    here = OfSuite("demo", "1.0")
    assert list(here.done([{**make_failure(), "key": done["key"]}, done])) == [done]
    assert len(here.failed) == 1


def test_a_layer_read_from_a_record_is_the_layer_that_its_facts_make() -> None:
    told = make_record()["outcome"]["ledger"]
    facts = {"steps": told["steps"], "samples": told["samples"]}
    made = [
        Layer(**{k: tuple(v) if isinstance(v, list) else v for k, v in (facts | x).items()}) for x in told["layers"]
    ]
    read = Ledger.from_record(told).layers
    assert list(read) == made
    assert list(map(repr, read)) == list(map(repr, made))


@pytest.mark.parametrize("fact", ["name", "op", "weight", "input", "output", "nonzero", "events", "dense"])
def test_a_layer_that_lacks_a_fact_is_refused(fact: str) -> None:
    told = make_record()["outcome"]["ledger"]
    del told["layers"][1][fact]
    with pytest.raises(BenchError, match=fact):
        Ledger.from_record(told)


@pytest.mark.parametrize("before", [True, False])
def test_the_collector_rests_while_a_board_is_built_and_is_then_as_it_was(*, before: bool) -> None:
    was, seen = gc.isenabled(), []

    @uncollected()
    def fails() -> None:
        seen.append(gc.isenabled())
        raise BenchError("a record cannot be read")

    try:
        (gc.enable if before else gc.disable)()
        with pytest.raises(BenchError):
            fails()
        assert [*seen, gc.isenabled()] == [False, before]
    finally:
        (gc.enable if was else gc.disable)()


@pytest.mark.parametrize("frozen", [True, False])
def test_what_a_board_leaves_is_old_at_once_unless_somebody_froze_objects(*, frozen: bool) -> None:
    was = gc.isenabled()

    @uncollected()
    def made() -> list[dict[str, int]]:
        return [{"a": i} for i in range(10)]

    try:
        gc.enable()
        if frozen:
            gc.freeze()
        count, left = gc.get_freeze_count(), made()
        if frozen:
            assert gc.get_freeze_count() == count > 0
        else:
            assert gc.get_freeze_count() == 0
            assert any(one is left for one in gc.get_objects(generation=2))
    finally:
        gc.unfreeze()
        (gc.enable if was else gc.disable)()
