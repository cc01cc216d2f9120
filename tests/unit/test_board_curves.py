"""The curves of a network's entries: which points they hold, which seeds, and figures worked out by hand."""

import dataclasses
import math
from typing import Any

import pytest

from synobench.board import SuiteFacts, build_board
from synobench.board.curves import kind_of
from synobench.testing.records import make_record

FACTS = SuiteFacts("demo", "1.0", "?", "effective", {"effective": "total"})
PARAMETERS, BIASES = 1770, 26


def effective(ledger: Any) -> Any:
    return {"total": sum(layer.effective for layer in ledger.layers) / ledger.samples}


def cell(pruner: Any, hits: Any, target: Any, **how: Any) -> list[Any]:
    return [make_record(pruner, target, seed, hit, **how) for seed, hit in enumerate(hits)]


def board_of(*groups: Any, **changes: Any) -> Any:
    facts = dataclasses.replace(FACTS, **changes)
    return build_board(facts, [r for group in groups for r in group], {"effective": effective})


def curves_of(*groups: Any, **changes: Any) -> Any:
    return board_of(*groups, **changes).networks[0].curves


def compression(sparsity: float) -> float:
    kept = sum(size - round(size * sparsity) for size in (144, 1600))
    return PARAMETERS / (kept + BIASES)


CONTROL = cell("none", [200, 200, 200], None)
HALF, MOST = cell("a", [200, 199, 200], 0.5), cell("a", [180, 181, 182], 0.9)


def test_the_area_is_the_mean_accuracy_along_the_curve() -> None:
    curve = curves_of(CONTROL, HALF, MOST)["a"]

    assert curve.areas == pytest.approx({0: 0.95, 1: 0.95, 2: 0.955})
    assert curve.shares == pytest.approx(curve.areas)
    assert curve.area.mean == pytest.approx((0.95 + 0.95 + 0.955) / 3)
    assert (curve.entry, curve.kind, curve.targets, curve.left_out) == ("a", "sparsity", 2, ())


def test_one_point_of_loss_lies_between_two_targets() -> None:
    curve = curves_of(CONTROL, HALF, MOST)["a"]

    start, end = math.log2(compression(0.5)), math.log2(compression(0.9))
    # of ten points of loss one is a tenth of the way; of nine points behind half a point it is half a point in nine
    at = [start + share * (end - start) for share in (2 / 20, 1 / 18, 2 / 18)]
    assert curve.compression.value == pytest.approx(2 ** (sum(at) / 3))
    assert curve.compression.bounded == ()
    assert curve.compression.low < curve.compression.value < curve.compression.high
    assert curve.synops.value < 1


def test_the_share_is_of_the_control_of_the_same_seed() -> None:
    curve = curves_of(cell("none", [200, 160, 200], None), HALF, MOST)["a"]

    assert curve.shares == pytest.approx({0: 0.95, 1: 0.95 / 0.8, 2: 0.955})


def test_a_seed_that_lacks_a_target_is_left_out() -> None:
    curve = curves_of(CONTROL, HALF, MOST[:2])["a"]

    assert sorted(curve.areas) == [0, 1]
    assert curve.left_out == (2,)
    assert curve.compression.n == 2


def test_an_entry_that_lacks_a_target_of_the_network_has_no_area() -> None:
    curves = curves_of(CONTROL, HALF, MOST, cell("b", [150] * 3, 0.5), cell("b", [150] * 3, 0.8))

    assert curves["a"].area is None
    assert curves["a"].left_out == (0, 1, 2)
    assert curves["b"].compression is None


def test_without_a_control_there_is_an_area_and_no_crossing() -> None:
    curve = curves_of(HALF, MOST)["a"]

    assert curve.area.n == 3
    assert (curve.compression, curve.synops, curve.share, curve.shares) == (None, None, None, {})


def test_a_control_on_another_parent_is_not_paired() -> None:
    groups = [[dict(record) for record in group] for group in (CONTROL, HALF, MOST)]
    for records in groups:
        for record in records:
            weights = "x" if record["inputs"]["pruner"]["name"] == "none" and record["inputs"]["seed"] == 1 else "y"
            record["provenance"] = {**record["provenance"], "shared": {"parent": {"weights": weights}}}
    curve = curves_of(*groups)["a"]

    assert sorted(curve.areas) == [0, 1, 2]
    assert sorted(curve.shares) == [0, 2]
    assert (curve.compression.n, curve.compression.left_out) == (2, (1,))


def test_one_target_makes_no_curve() -> None:
    assert curves_of(CONTROL, HALF) == {}
    assert curves_of(CONTROL) == {}


def test_without_a_figure_of_synops_there_is_no_crossing_of_them() -> None:
    curve = curves_of(CONTROL, HALF, MOST, headlines={"effective": "unknown"})["a"]

    assert curve.synops is None
    assert curve.compression.n == 3


def test_targets_of_several_kinds_are_curves_of_their_own() -> None:
    kept = [{"name": "parameters", "value": value} for value in (0.5, 0.2)]
    more = [cell("a", [190] * 3, target, sparsity=1 - target["value"]) for target in kept]
    curves = curves_of(CONTROL, HALF, MOST, *more)

    assert {name: curve.kind for name, curve in curves.items()} == {
        "a, by parameters": "parameters",
        "a, by sparsity": "sparsity",
    }
    assert {curve.entry for curve in curves.values()} == {"a"}


def test_a_setting_has_its_own_control() -> None:
    rule = {"name": "stdp", "params": {}}
    groups = [
        cell("none", [100] * 3, None, rule=rule),
        cell("a", [90] * 3, 0.5, rule=rule),
        cell("a", [80] * 3, 0.9, rule=rule),
    ]
    curves = curves_of(CONTROL, HALF, MOST, *groups)

    (stdp,) = (curve for name, curve in curves.items() if "stdp" in name)
    assert stdp.shares == pytest.approx({0: 0.85, 1: 0.85, 2: 0.85})


def test_kinds_are_told_in_words() -> None:
    told = [
        {"name": "none"},
        {"name": "sparsity", "value": 0.5},
        {"name": "synops", "value": 0.5, "counter": "effective"},
    ]

    assert [kind_of(target) for target in told] == ["", "sparsity", "SynOps (effective)"]
