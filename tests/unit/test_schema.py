"""The public JSON Schema of a record: what the bench writes is valid, what is forged is not."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from synobench import cli
from synobench.cost import COUNTS, PHASES
from synobench.ledger import KINDS, Layer
from synobench.protocol import PRECISIONS
from synobench.store import SCHEMA, Store

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"
TEXT = json.loads((LEADERBOARDS / "schema" / f"record-{SCHEMA}.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(TEXT)

BROKEN = """
from synobench import PrunerEntry, hookimpl

class Broken:
    def __init__(self, params):
        raise RuntimeError("it never worked")

@hookimpl
def synobench_pruners():
    yield PrunerEntry("broken", run=Broken, summary="it raises")
"""

SUITE = """
name = "tiny"
version = "1.0"
question = "Is it valid?"
counter = "effective"
seeds = [0]
pruners = ["none", "magnitude", "broken"]
[[targets]]
name = "sparsity"
values = [0.5]
[[targets]]
name = "synops"
counter = "effective"
values = [0.5]
[[networks]]
dataset = "digits"
model = "snn-conv[width=2,steps=2]"
rule = "backprop"
train_epochs = 1
tune_epochs = 1
batch = 128
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store in which a spiking network was run a moment ago, with a pruner that fails among others."""
    folder = tmp_path_factory.mktemp("schema")
    (folder / "broken_pruner.py").write_text(BROKEN, encoding="utf-8")
    (folder / "tiny.toml").write_text(SUITE, encoding="utf-8")
    places = [f"--{name}={folder / name}" for name in ("leaderboards", "cache", "site")]
    run = ["-p", str(folder / "broken_pruner.py"), "run", str(folder / "tiny.toml"), "--executor=inline", *places]
    assert cli.main(run) == 1
    return Store(folder / "leaderboards")


@pytest.fixture
def record(store: Store) -> dict[str, Any]:
    """Return a fresh record of magnitude at a SynOps target."""
    return next(r for r in store.records("tiny") if r["inputs"]["target"]["name"] == "synops")


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(TEXT)


def test_fresh_records_are_valid(store: Store) -> None:
    records = list(store.records("tiny"))
    assert {r["inputs"]["target"]["name"] for r in records} == {"none", "sparsity", "synops"}
    for record in records:
        VALIDATOR.validate(record)


def test_fresh_failures_are_valid(store: Store) -> None:
    failures = store.failures("tiny")
    assert failures
    for failure in failures:
        VALIDATOR.validate(failure)


def test_committed_records_are_valid() -> None:
    store = Store(LEADERBOARDS)
    for suite in store.suites():
        for path in store.paths(suite)[::10]:
            VALIDATOR.validate(json.loads(path.read_bytes()))


def test_it_knows_every_fact_that_the_bench_writes() -> None:
    known = TEXT["$defs"]
    assert set(known["layer"]["properties"]) == {f.name for f in dataclasses.fields(Layer)}
    assert tuple(known["layer"]["properties"]["kind"]["enum"]) == KINDS
    assert set(known["cost"]["properties"]) == set(PHASES)
    assert set(known["phase"]["properties"]) == {"seconds", "cpu_seconds", "peak_bytes", *COUNTS}
    inputs = known["inputs"]["properties"]
    assert tuple(inputs["budget"]["properties"]["precision"]["enum"]) == PRECISIONS


def test_what_was_not_finite_is_null_and_valid(record: dict[str, Any]) -> None:
    told = record["outcome"]["measurements"]
    told["train/update-norm"]["values"][0][0] = told["train/largest-update"] = None
    VALIDATOR.validate(record)


FORGERIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a measurement as text": lambda r: r["outcome"]["measurements"].update(mine="0.5"),
    "a table without updates": lambda r: r["outcome"]["measurements"]["train/update-norm"].pop("at"),
    "a table with a column too many": lambda r: r["outcome"]["measurements"]["train/update-norm"].update(mine=1),
    "no outcome": lambda r: r.pop("outcome"),
    "no cost of a phase": lambda r: r["cost"].pop("tune"),
    "a score of its own": lambda r: r["outcome"].update(score=1.0),
    "hits without a mask": lambda r: r["outcome"]["test"]["top1"].pop("mask"),
    "half a hit": lambda r: r["outcome"]["test"]["top1"].update(hits=0.5),
    "negative hits": lambda r: r["outcome"]["test"]["top1"].update(hits=-1),
    "a mask that is no base64": lambda r: r["outcome"]["test"]["top1"].update(mask="all of them"),
    "sparsity above one": lambda r: r["outcome"]["sparsity"].update(reached=1.1),
    "negative seconds": lambda r: r["cost"]["train"].update(seconds=-1.0),
    "a short key": lambda r: r.update(key=r["key"][:40]),
    "a key in capitals": lambda r: r.update(key="A" * 64),
    "another schema": lambda r: r.update(schema=2),
    "ok with an error": lambda r: r.update(error={}),
    "failed with an outcome": lambda r: r.update(status="failed"),
    "a SynOps target without a counter": lambda r: r["inputs"]["target"].pop("counter"),
    "a control with a target": lambda r: r["inputs"]["target"].update(name="none"),
    "a path among the inputs": lambda r: r["inputs"].update(data="/home/me"),
    "no revision of the bench": lambda r: r["inputs"]["revisions"].pop("bench"),
    "a seed that is text": lambda r: r["inputs"].update(seed="0"),
    "an invented operation": lambda r: r["outcome"]["ledger"]["layers"][0].update(op="magic"),
    "a fact that no layer has": lambda r: r["outcome"]["ledger"]["layers"][0].update(synops=1),
    "a split without a digest": lambda r: r["inputs"]["dataset"].update(split="mine"),
    "no yardstick": lambda r: r["provenance"].pop("yardstick"),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=list(FORGERIES))
def test_forged_records_are_refused(forge: Callable[[dict[str, Any]], Any], record: dict[str, Any]) -> None:
    VALIDATOR.validate(record)
    forged = copy.deepcopy(record)
    forge(forged)
    assert not VALIDATOR.is_valid(forged)
