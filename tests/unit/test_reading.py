"""A record is read from its evidence, and refused by name where it contradicts itself."""

import base64
import copy
from typing import Any

import pytest

from synobench.board.reading import finite, machine_text, read_run
from synobench.errors import BenchError
from synobench.ledger import Ledger
from synobench.testing.records import make_record


def effective(ledger: Any) -> Any:
    return {"total": sum(layer.effective for layer in ledger.layers) / ledger.samples}


def read(record: Any, counters: Any = None, metrics: Any = None) -> Any:
    return read_run(
        record, {"effective": effective} if counters is None else counters, metrics or {}, Ledger.from_record
    )


def changed(path: Any, value: Any) -> Any:
    record = copy.deepcopy(make_record())
    *parents, last = path.split(".")
    place = record
    for name in parents:
        place = place[name]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return record


def test_figures_come_from_the_evidence() -> None:
    run = read(make_record("magnitude", 0.9, seed=3, hits=151, total=199))

    assert (run.top1.hits, run.top1.total, run.seed) == (151, 199, 3)
    assert run.top1.accuracy == 151 / 199
    assert run.top5.hits == 175
    assert run.validation == 75 / 99
    assert (run.prunable, run.kept, run.parameters_kept) == (1744, 174, 200)
    assert run.sparsity == 1570 / 1744
    assert run.counts == {"effective": {"total": 174.0}}
    assert (run.machine, run.yardstick) == ("name cpu, threads 1", {"gbps": 5.0, "gflops": 43.0})
    assert run.cost["tune"]["seconds"] == 0.75
    assert run.cost["train"]["peak_bytes"] is None


def test_first_image_is_the_highest_bit() -> None:
    def nine_images(mask: Any) -> Any:
        return changed("outcome.test.top1", {"hits": 2, "total": 9, "mask": base64.b64encode(mask).decode()})

    assert read(nine_images(b"\x80\x80")).top1.accuracy == 2 / 9
    with pytest.raises(BenchError, match="ones beyond its 9 images"):
        read(nine_images(b"\x80\x40"))


def test_a_hostile_key_stays_on_one_line() -> None:
    record = changed("outcome.test.top1.hits", 1) | {"key": "a\nb\x1b[31m"}

    with pytest.raises(BenchError) as caught:
        read(record)

    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("outcome.test.top1.hits", 149, "hits says 149, its mask holds 150"),
        ("outcome.test.top5.hits", 149, "top5.hits says 149"),
        ("outcome.test.top1.hits", True, "holds True as 'outcome.test.top1.hits'"),
        ("outcome.test.top1.hits", KeyError, "lacks 'outcome.test.top1.hits'"),
        ("outcome.test.top1.mask", "!", "mask is not base64"),
        ("outcome.test.top1.mask", "AAAA", "mask has 3 bytes for 200 images"),
        ("outcome.test.top1.total", 0, "bytes for 0 images"),
        ("outcome.test.top1.total", 193, "ones beyond its 193 images"),
        ("outcome.sparsity.kept", 175, "its layers hold 174 kept weights, it says 175"),
        ("outcome.sparsity.prunable", 1745, "its layers hold 1744 prunable weights, it says 1745"),
        ("outcome.sparsity.parameters_kept", 1771, "keeps more weights than there are"),
        ("outcome.sparsity.layers", [{"name": "fc"}], "a layer of outcome.sparsity lacks 'total'"),
        ("outcome.sparsity.layers", KeyError, "lacks 'outcome.sparsity.layers'"),
        ("outcome.ledger", KeyError, "lacks 'outcome.ledger'"),
        ("outcome.ledger", {}, "the ledger of the record is not readable"),
        ("outcome", KeyError, "lacks 'outcome.sparsity.prunable'"),
        ("cost", KeyError, "lacks 'cost'"),
        ("inputs.pruner", {}, "lacks 'inputs.pruner.name'"),
        ("inputs.seed", "0", "holds '0' as 'inputs.seed'"),
        ("inputs", [], "lacks 'inputs.dataset.name'"),
        ("inputs.export", [1], "lacks 'inputs.export.name'"),
        ("inputs.revisions", {"bench": "1"}, "as 'inputs.revisions'"),
        ("inputs.rule.params", [1], "holds [1] as 'inputs.rule.params'"),
        ("inputs.target.value", None, "holds None as 'inputs.target.value'"),
        ("inputs.target.value", 1e999, "holds inf as 'inputs.target.value'"),
        ("provenance", "x", "holds 'x' as 'provenance'"),
        ("provenance.device", [], "holds [] as 'provenance.device'"),
        ("cost.judge", "x", "holds 'x' as 'cost.judge'"),
        ("outcome.validation", {"hits": 3, "total": 2}, "holds 3 hits in 2 validation images"),
        ("outcome.sparsity.parameters", 10**400, "weights, over 9223372036854775807"),
        ("outcome.ledger.steps", 1e999, "the ledger of the record is not readable"),
    ],
)
def test_contradictions_are_refused_by_name(path: Any, value: Any, told: Any) -> None:
    record = changed(path, value)
    if path == "outcome.test.top1.total" and value == 193:
        ones = base64.b64encode(b"\xff" * 25).decode()
        record["outcome"]["test"]["top1"] = {"hits": 200, "total": 193, "mask": ones}

    with pytest.raises(BenchError) as caught:
        read(record)

    assert told in str(caught.value).replace('"', "'")
    assert record["key"] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_failing_counter_and_metric_are_named() -> None:
    with pytest.raises(BenchError, match=r"counter 'broken' fails on record .*ZeroDivisionError"):
        read(make_record(), {"broken": lambda _: {"x": 1 / 0}})
    with pytest.raises(BenchError, match=r"metric 'broken' fails on record .*KeyError"):
        read(make_record(), {}, {"broken": lambda record: record["nothing"]})


def test_what_is_not_measured_is_a_gap() -> None:
    run = read(make_record(), {"c": lambda _: {"a": None, "b": float("nan")}}, {"m": lambda _: None})

    assert run.counts == {"c": {"a": None, "b": None}}
    assert run.metrics == {"m": None}
    assert [finite(x) for x in (True, "1", None, float("inf"), 2)] == [None, None, None, None, 2.0]


def test_top5_and_validation_may_be_absent() -> None:
    run = read(changed("outcome.test.top5", None))

    assert run.top5 is None
    assert read(changed("outcome.validation", KeyError)).validation is None


def test_ledger_caveats_are_carried() -> None:
    record = changed("outcome.ledger.uncounted", [{"module": "head", "op": "einsum", "calls": 1}])

    assert read(record).caveats == ("uncounted: einsum in head, 1 a pass",)


def test_machines_are_told_by_their_device_alone() -> None:
    assert machine_text({"threads": 2, "name": "cpu", "gone": None, "more": {"b": 1, "a": 2}}) == (
        'more {"a":2,"b":1}, name cpu, threads 2'
    )
    assert machine_text({}) == "unknown machine"
