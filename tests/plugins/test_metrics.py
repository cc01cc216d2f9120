"""Columns computed from one record."""

from typing import Any

import pytest

import synobench_metrics
from synobench.testing.records import make_record

ENTRIES = {entry.name: entry for entry in synobench_metrics.synobench_metrics()}


def measured(name: Any, record: Any) -> Any:
    return ENTRIES[name].load()(record)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top1", 150 / 200),
        ("top5", 175 / 200),
        ("validation", 75 / 100),
        ("sparsity", 1570 / 1744),
        ("compression", 1744 / 174),
        ("parameters-kept", 200),
        ("train-seconds", 1.5),
        ("prune-seconds", 0.015),
        ("prune-cpu-seconds", 0.0225),
        ("tune-seconds", 0.75),
        ("train-samples", 96000),
        ("prune-samples", 960),
        ("tune-samples", 48000),
        ("prune-passes", 30),
    ],
)
def test_figures(name: Any, value: Any) -> None:
    assert measured(name, make_record()) == pytest.approx(value)


def test_peak_memory_is_the_greatest_that_was_measured() -> None:
    record = make_record()
    assert measured("peak-memory", record) is None
    record["cost"]["train"]["peak_bytes"] = 5
    record["cost"]["judge"]["peak_bytes"] = 7
    assert measured("peak-memory", record) == 7


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("record", [{}, {"outcome": None, "cost": []}, {"outcome": {"test": {"top1": {"hits": "9"}}}}])
def test_what_a_record_lacks_is_a_gap(name: Any, record: Any) -> None:
    assert measured(name, record) is None


def test_nothing_kept_has_no_compression() -> None:
    record = make_record(sparsity=1.0)

    assert measured("sparsity", record) == 1
    assert measured("compression", record) is None


def test_every_entry_is_documented_and_loads() -> None:
    assert len(ENTRIES) == 15
    for entry in ENTRIES.values():
        assert entry.unit
        assert entry.load().__doc__
