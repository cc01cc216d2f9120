"""Replays: which records, which cells, and how a difference is judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synobench.errors import BenchError
from synobench.registry import Registry
from synobench.replay import (
    IDENTICAL,
    OUTSIDE,
    UNJUDGED,
    WITHIN,
    by_suite,
    cell_of,
    exit_code,
    family_of,
    find,
    held,
    judge,
    sample,
    spread_bound,
)
from synobench.store import Store, document, write_atomically
from synobench.suite import Cell, cells, find_suite, parse
from synobench.testing.records import make_record

SUITE = """
name = "demo"
version = "1.0"
question = "Again?"
counter = "effective"
seeds = [0, 1]
pruners = ["none", "magnitude"]
[[targets]]
name = "sparsity"
values = [0.5]
[[networks]]
dataset = "digits"
model = "mlp-300-150-10"
rule = "backprop"
train_epochs = 1
tune_epochs = 0
batch = 32
"""


def family(*hits: int) -> list[dict[str, Any]]:
    return [make_record(seed=seed, hits=some) for seed, some in enumerate(hits)]


def test_the_same_hits_are_identical_and_need_no_other_seed() -> None:
    (stored,) = family(150)
    found = judge(stored, family(150)[0], [stored])
    assert found.verdict == IDENTICAL
    assert found.says().endswith("75.00 % stored, 75.00 % replayed; identical, image by image")


def test_the_bound_is_told_from_the_other_seeds_alone() -> None:
    stored, *others = family(150, 148, 152)
    # s of 74 and 76 % is sqrt(2) points, t(0.975; 1) = 12.706: the bound is 12.706 * sqrt(2) * sqrt(2) points.
    found = judge(stored, make_record(seed=0, hits=155), [stored, *others])
    assert found.bound == pytest.approx(0.25412, abs=1e-5)
    assert (found.seeds, found.verdict) == (2, WITHIN)
    assert "+2.50 points" in found.says()
    assert "± 25.41 points, by 2 other seeds" in found.says()


def test_what_is_further_off_lies_outside() -> None:
    records = family(150, 150, 151, 149, 150)
    found = judge(records[0], make_record(seed=0, hits=140), records)
    assert found.verdict == OUTSIDE
    assert exit_code([found], 1) == 1


def test_with_one_other_seed_a_difference_is_not_judged() -> None:
    records = family(150, 151)
    found = judge(records[0], make_record(seed=0, hits=140), records)
    assert found.verdict == UNJUDGED
    assert "other seeds stored: 1, needed: 2" in found.says()


def test_equal_accuracy_on_other_images_is_not_identical() -> None:
    stored, replayed = make_record(seed=0, hits=150), make_record(seed=1, hits=150)
    assert stored["outcome"]["test"]["top1"]["mask"] != replayed["outcome"]["test"]["top1"]["mask"]
    assert judge(stored, replayed, [stored]).verdict == UNJUDGED


def test_other_test_images_are_refused() -> None:
    with pytest.raises(BenchError, match="judged on 100 images, the stored run on 200"):
        judge(make_record(), make_record(hits=50, total=100), [])


@pytest.mark.parametrize("count", [2, 4, 9])
def test_the_bound_covers_95_of_100_pairs_of_one_distribution(count: int) -> None:
    draws = np.random.default_rng(7).normal(0.9, 0.01, (4000, count + 2))
    within = [abs(row[0] - row[1]) <= (spread_bound(row[2:].tolist()) or 0) for row in draws]
    assert 0.94 < np.mean(within) < 0.96


def test_exit_codes() -> None:
    (stored,) = family(150)
    same = judge(stored, stored, [])
    unjudged = replace(same, verdict=UNJUDGED)
    assert exit_code([same, unjudged], 2) == 0
    assert exit_code([unjudged], 1) == 3
    assert exit_code([same], 2) == 1


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path)
    for record in (*family(150, 151, 152), make_record(target=0.5), make_record(pruner="random")):
        found.add(record)
    return found


def test_a_record_is_found_by_the_beginning_of_its_key(store: Store) -> None:
    record = family(150)[0]
    assert find([record["key"][:8], record["key"]], store) == [store.record_path("demo", record["key"])]
    with pytest.raises(BenchError, match="too short for a key"):
        find(["ab"], store)
    with pytest.raises(BenchError, match="'ffffff0' is the key of no record"):
        find(["ffffff0"], store)


def test_the_family_differs_in_the_seed_alone(store: Store) -> None:
    assert sorted(r["inputs"]["seed"] for r in family_of(family(150)[0], store)) == [0, 1, 2]


def test_a_sample_is_the_same_for_a_salt_and_other_for_another(store: Store) -> None:
    draws = {salt: [path.stem for path in sample(store, [], 2, salt)] for salt in "abcdefgh"}
    assert draws["a"] == [path.stem for path in sample(store, ["demo"], 2, "a")]
    assert len({tuple(keys) for keys in draws.values()}) > 3
    assert len(sample(store, [], 99, "a")) == 5


def test_a_record_that_does_not_hold_is_not_run_again(store: Store, registry: Registry) -> None:
    path = store.paths("demo")[0]
    with pytest.raises(BenchError, match=f"record {path.stem[:12]} does not hold: its ledger's vectors are missing"):
        held(path, registry)


def test_a_broken_neighbour_is_no_member_of_a_family(store: Store) -> None:
    write_atomically(store.record_path("demo", "ab" * 32), document({"schema": 1, "inputs": None}).encode())
    assert len(family_of(family(150)[0], store)) == 3


def ready(registry: Registry) -> tuple[Any, list[Cell]]:
    suite = parse(SUITE)
    return suite, cells(suite, registry)[0]


def test_a_planned_cell_and_one_on_the_same_parent_can_be_run(registry: Registry) -> None:
    suite, planned = ready(registry)
    cell = planned[-1]
    record = {"key": cell.key, "inputs": cell.inputs}
    assert cell_of(record, suite, registry) == cell
    twin = {"name": "random", "params": {"allocation": [3, 4, 5], "scope": "global"}}
    inputs = {**cell.inputs, "pruner": twin}
    found = cell_of({"key": "0" * 64, "inputs": inputs}, suite, registry)
    assert (found.inputs, found.parent) == (inputs, cell.parent)


def test_what_would_be_another_cell_here_is_refused_by_name(registry: Registry) -> None:
    suite, planned = ready(registry)
    inputs = dict(planned[-1].inputs)
    changed = {**inputs, "parent": {"name": "trained", "key": "0" * 64}, "budget": {**inputs["budget"], "batch": 7}}
    with pytest.raises(BenchError, match="cannot be run here: its budget is not what this bench plans"):
        cell_of({"key": "0" * 64, "inputs": changed}, suite, registry)
    later = {**inputs, "revisions": {**inputs["revisions"], "pruner": 9}}
    with pytest.raises(BenchError, match="pruner magnitude has revision 1 here"):
        cell_of({"key": "0" * 64, "inputs": later}, suite, registry)


def test_a_suite_that_is_neither_given_nor_registered_and_another_version_are_refused(registry: Registry) -> None:
    record = make_record()
    with pytest.raises(BenchError, match="demo"):
        by_suite([record], {}, registry)
    suite = parse(SUITE)
    assert by_suite([record], {"demo": suite}, registry) == [(suite, [record])]
    with pytest.raises(BenchError, match=r"it is of version 1.0 of suite demo, here is 2.0"):
        by_suite([record], {"demo": replace(suite, version="2.0")}, registry)
    assert find_suite("quickstart", registry).name == "quickstart"
