"""The ledger without torch: serialisation, digests, size, and what it says of gaps."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

from synobench.errors import BenchError
from synobench.ledger import INPUT, Layer, Ledger, pack_vectors, unpack_vectors


def layer(name: str = "conv2", **facts: Any) -> Layer:
    usual: dict[str, Any] = {
        "op": "conv2d",
        "weight": (32, 16, 3, 3),
        "input": (16, 14, 14),
        "output": (32, 14, 14),
        "samples": 10,
        "nonzero": 4000,
        "events": 5000,
        "neurons": 6272,
        "dense": 90_000_000,
        "fanout": 1_300_000,
        "effective": 1_200_000,
        "event": 1_300_000.0,
        "events_before": 5000,
        "output_events": 900,
        "kind": "binary",
        "source": ("conv1",),
        "neuron": "lif1",
        "steps": 4,
        "calls": 4,
        "padding": (1, 1),
        "bias": True,
    }
    return Layer(name=name, **{**usual, **facts})


def ledger(*layers: Layer, **facts: Any) -> Ledger:
    vectors = {x.name: {"events": [1, 2], "steps": [0, 1, 1, 1]} for x in layers}
    return Ledger(**{"steps": 4, "samples": 10, "layers": layers, "beside": {"bias": 7}, "vectors": vectors, **facts})


def test_a_record_rebuilds_the_ledger() -> None:
    made = ledger(layer(), layer("fc", op="linear", weight=(10, 5), input=(5,), output=(10,), padding=(), event=None))
    record = json.loads(json.dumps(made.as_record()))
    assert Ledger.from_record(record, unpack_vectors(pack_vectors(made))) == made
    assert Ledger.from_record(record).layers == made.layers
    assert Ledger.from_record(record).digest == made.digest


def test_every_fact_survives_the_record() -> None:
    odd: dict[str, Any] = {
        "kind": "graded", "negative": True, "pooling": "avg", "area": None, "calls": 7, "repeated": True, "groups": 2,
        "stride": (2, 1), "padding": "same", "padding_mode": "circular", "dilation": (1, 3), "bias": True,
        "weight_bits": 8, "activation_bits": 16, "source": ("a", INPUT), "samples": 11, "steps": 5, "event": 0.1 + 0.2,
    }  # fmt: skip
    made = layer(**odd)
    record = ledger(made).as_record()
    assert Ledger.from_record(record).layers == (made,)
    assert {f.name for f in dataclasses.fields(Layer)} == set(record["layers"][0])


def test_the_digest_is_of_the_vectors_alone() -> None:
    one, other = ledger(layer()), ledger(layer(events=1))
    assert one.digest == other.digest
    changed = ledger(layer(), vectors={"conv2": {"events": [1, 3]}})
    assert changed.digest != one.digest
    with pytest.raises(BenchError, match="not those of the record"):
        Ledger.from_record(one.as_record(), changed.vectors)


def test_packing_does_not_depend_on_the_order_of_keys() -> None:
    one = ledger(layer(), vectors={"a": {"x": [1], "y": [2]}, "b": {}})
    other = ledger(layer(), vectors={"b": {}, "a": {"y": [2], "x": [1]}})
    assert one.digest == other.digest
    assert pack_vectors(one) == pack_vectors(other)


def test_damage_is_told() -> None:
    made = ledger(layer())
    packed = pack_vectors(made)
    with pytest.raises(BenchError, match="damaged"):
        unpack_vectors(packed[:-3])
    with pytest.raises(BenchError, match="nothing to pack"):
        pack_vectors(Ledger.from_record(made.as_record()))


@pytest.mark.parametrize("broken", ["steps", "layers", "digest"])
def test_a_missing_total_is_told(broken: str) -> None:
    record = ledger(layer()).as_record()
    del record[broken]
    with pytest.raises(BenchError, match=broken):
        Ledger.from_record(record)


@pytest.mark.parametrize("value", [1.5, "7", None, True])
def test_totals_are_whole_numbers(value: Any) -> None:
    record = ledger(layer()).as_record()
    record["layers"][0]["effective"] = value
    with pytest.raises(BenchError, match="effective"):
        Ledger.from_record(record)


def test_facts_of_a_later_bench_are_passed_over_and_missing_ones_are_gaps() -> None:
    record = ledger(layer()).as_record()
    record["layers"][0]["colour"] = "blue"
    del record["layers"][0]["event"]
    (read,) = Ledger.from_record(record).layers
    assert read.event is None
    assert read.effective == 1_200_000


def test_the_record_of_a_deep_network_stays_below_16_kb() -> None:
    big = {"events": 10**9, "dense": 10**13, "fanout": 10**12, "effective": 10**12, "event": 1.2345678901234567e12}
    big |= {"output_events": 10**9, "events_before": 10**9, "nonzero": 10**6}
    deep = [layer(f"layer{i % 4}.{i}.conv2", source=(f"layer{i}.conv2", f"layer{i}.conv1"), **big) for i in range(21)]
    text = json.dumps({"outcome": {"ledger": ledger(*deep).as_record()}}, sort_keys=True, indent=1)
    assert len(text) < 16_000


def test_derived_facts() -> None:
    made = layer(events=5880, samples=10, calls=4)
    assert made.density == 5880 / (10 * 4 * 16 * 14 * 14)
    assert made.nominal_dense == 10 * 4 * 32 * 14 * 14 * 16 * 9
    assert not made.once
    assert layer(calls=1).once
    assert not layer(calls=1, steps=1).once
    assert layer(kind="analog", source=(INPUT,)).first
    assert not layer(kind="binary", source=(INPUT,)).first
    assert not layer(kind="analog", source=None).first


def test_notes_name_what_a_reader_must_know() -> None:
    uncounted = ({"module": "attention", "op": "bmm", "calls": 2},)
    pooled = layer("conv2", kind="graded", pooling="avg", area=4)
    notes = ledger(pooled, layer("conv3", negative=True), uncounted=uncounted).notes
    assert any("bmm in attention" in n for n in notes)
    assert any("conv2" in n and "before pooling" in n for n in notes)
    assert any("conv3" in n and "negative" in n for n in notes)
    assert ledger(layer()).notes == []


def test_ledgers_and_counters_need_no_torch() -> None:
    code = """
import sys
sys.modules["torch"] = None
import json
from synobench.ledger import Ledger
from synobench_synops import synobench_counters
record = json.loads(sys.stdin.read())
ledger = Ledger.from_record(record)
print(json.dumps({e.name: e.load()(ledger)[e.headline] for e in synobench_counters()}))
"""
    record = json.dumps(ledger(layer()).as_record())
    found = subprocess.run([sys.executable, "-c", code], input=record, capture_output=True, text=True, check=True)
    figures = json.loads(found.stdout)
    assert figures["effective"] == 120_000
    assert figures["fanout"] == 130_000
