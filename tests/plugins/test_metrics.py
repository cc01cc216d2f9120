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
        ("train-cpu-seconds", 2.25),
        ("train-passes", 3000),
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


def trained(**told: Any) -> Any:
    """Return a record of three epochs of 1,000 samples, in which validation accuracy ends at 0.9."""
    record = make_record()
    curve = [{"epoch": e, "loss": 0.5, "validation": v} for e, v in ((1, 0.7), (2, 0.82), (3, 0.9))]
    record["outcome"]["curves"]["train"] = curve
    looks = [[62, 0.1], [125, 0.5], [250, 0.6], [500, 0.65], [1000, 0.7]]
    told = {"validation": {"by": ["samples", "accuracy"], "at": [1, 2, 4, 8, 16], "values": looks}, **told}
    record["outcome"]["measurements"] = {f"train/{name}": value for name, value in told.items()}
    return record


def test_samples_to_90_are_those_of_the_first_look_that_reached_it() -> None:
    record = trained()
    assert measured("samples-to-90", record) == 2000
    record["outcome"]["curves"]["train"][-1]["validation"] = 0.66
    assert measured("samples-to-90", record) == 250
    record["outcome"]["measurements"]["train/validation"]["values"][0][1] = 0.7
    assert measured("samples-to-90", record) == 62
    del record["outcome"]["measurements"]["train/validation"]
    assert measured("samples-to-90", record) is None


def test_update_norms_tell_their_spread_by_depth_and_the_cosine_its_mean() -> None:
    def table(*values: Any) -> Any:
        return {"by": ["a", "b"], "at": [1, 9], "values": list(values)}

    record = trained(
        **{"update-norm": table([0.1, 0.2], [0.01, 0.08]), "cosine-to-backprop": table([0.1, 0.2], [0.5, 0.9])}
    )
    assert measured("update-spread", record) == pytest.approx(8)
    assert measured("backprop-cosine", record) == pytest.approx(0.7)
    for broken in (None, 0.0):
        again = trained(
            **{"update-norm": table([0.1, broken], [0.01, 0.08]), "cosine-to-backprop": table([0.1, None], [0.5, 0.9])}
        )
        assert measured("update-spread", again) is None
    assert measured("backprop-cosine", again) is None


def test_nothing_kept_has_no_compression() -> None:
    record = make_record(sparsity=1.0)

    assert measured("sparsity", record) == 1
    assert measured("compression", record) is None


def test_every_entry_is_documented_and_loads() -> None:
    assert len(ENTRIES) == 21
    for entry in ENTRIES.values():
        assert entry.unit
        assert entry.load().__doc__
