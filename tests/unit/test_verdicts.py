"""The verdicts of one network: families, the best group, pairing, and what they could have seen."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as oracle

from synobench.board import SuiteFacts, build_board
from synobench.board.verdicts import power
from synobench.stats import smallest_difference
from synobench.stats.multiple import compare, holm
from synobench.testing.records import hit_mask, make_record

MAGNITUDE = {"name": "magnitude", "params": {}}
FACTS = SuiteFacts("demo", "1.0", "?", "c", {"c": "n"}, reference=MAGNITUDE)

BASE = [150, 160, 154, 158, 148]
BETTER = [156, 165, 160, 165, 155]
OPEN = [152, 155, 158, 156, 151]
WORSE = [130, 141, 133, 139, 128]
DENSE = [190, 191, 189, 190, 192]


def cell(pruner: Any, hits: Any, target: Any = 0.9, **how: Any) -> list[Any]:
    return [make_record(pruner, target, seed, hit, **how) for seed, hit in enumerate(hits)]


def board_of(*groups: Any, **changes: Any) -> Any:
    facts = dataclasses.replace(FACTS, **changes)
    return build_board(facts, [r for group in groups for r in group], {"c": lambda _: {"n": 1.0}})


def network_of(*groups: Any, **changes: Any) -> Any:
    return board_of(*groups, **changes).networks[0]


def row_of(network: Any, entry: str, target: str = "sparsity 90 %") -> Any:
    return next(row for row in network.rows if (row.entry, row.target_label) == (entry, target))


def accuracies(hits: Any, total: int = 200) -> dict[int, float]:
    return {seed: hit / total for seed, hit in enumerate(hits)}


WHOLE = (cell("none", DENSE, None), cell("magnitude", BASE), cell("a", BETTER), cell("b", OPEN), cell("c", WORSE))


@pytest.fixture(scope="module")
def network() -> Any:
    return network_of(*WHOLE)


def test_each_row_is_judged_against_the_reference_in_one_family(network: Any) -> None:
    rows = [row_of(network, name) for name in "abc"]
    expected = compare(
        {n: (accuracies(h), accuracies(BASE)) for n, h in zip("abc", (BETTER, OPEN, WORSE), strict=True)}
    )

    assert [row.verdict.verdict for row in rows] == ["better", "open", "worse"]
    for row, found in zip(rows, expected, strict=True):
        assert row.verdict == dataclasses.replace(found, name=f"{row.entry}, magnitude")
        assert row.verdict.p == pytest.approx(oracle.ttest_rel(*zip(*_pairs(row), strict=True)).pvalue)
    assert network.reference == "magnitude"


def _pairs(row: Any) -> list[tuple[int, int]]:
    return list(zip({"a": BETTER, "b": OPEN, "c": WORSE}[row.entry], BASE, strict=True))


def test_the_comparisons_with_the_control_are_a_family_of_their_own(network: Any) -> None:
    rows = [row_of(network, name) for name in ("magnitude", "a", "b", "c")]
    steps = holm([row.to_control.p for row in rows])

    assert [row.to_control.adjusted for row in rows] == pytest.approx([step.adjusted for step in steps])
    assert {row.to_control.verdict for row in rows} == {"worse"}
    assert [row.to_control.difference.mean for row in rows] == pytest.approx([row.difference.mean for row in rows])


def test_reference_and_control_have_no_verdict_of_their_own(network: Any) -> None:
    control = row_of(network, "none", "no target")

    assert (control.verdict, control.to_control, row_of(network, "magnitude").verdict) == (None, None, None)
    assert row_of(network, "magnitude").superiority is None
    assert row_of(network, "magnitude").mcnemar == {}


def test_each_target_is_compared_with_the_reference_at_that_target() -> None:
    network = network_of(
        cell("magnitude", BASE),
        cell("a", BETTER),
        cell("magnitude", WORSE, 0.95),
        cell("a", BASE, 0.95),
        cell("a", BASE, 0.5),
    )

    gaps = {row.target_label: row.verdict and row.verdict.difference.mean for row in network.rows if row.entry == "a"}
    assert gaps["sparsity 90 %"] == pytest.approx(31 / 5 / 200)
    assert gaps["sparsity 95 %"] == pytest.approx(99 / 5 / 200)
    assert gaps["sparsity 50 %"] is None
    assert {row.verdict.level for row in network.rows if row.verdict} == {0.975, 0.95}


def test_without_a_reference_there_is_no_verdict_against_it() -> None:
    for without in (network_of(*WHOLE, reference=None), network_of(WHOLE[0], *WHOLE[2:])):
        assert {row.verdict for row in without.rows} == {None}
        assert without.reference is None
        assert row_of(without, "a").to_control is not None


def test_a_reference_with_other_parameters_is_another_entry() -> None:
    layer = {"name": "magnitude", "params": {"scope": "layer"}}
    network = network_of(
        cell("magnitude", BASE), cell("magnitude[scope=layer]", OPEN), cell("a", BETTER), reference=layer
    )

    assert row_of(network, "a").verdict.difference.mean == pytest.approx((sum(BETTER) - sum(OPEN)) / 1000)
    assert network.reference == "magnitude[scope=layer]"


def test_rows_of_one_setting_are_compared_with_their_own_reference() -> None:
    rule = {"name": "stdp", "params": {}}
    network = network_of(
        cell("magnitude", BASE), cell("a", BETTER), cell("magnitude", WORSE, rule=rule), cell("a", BASE, rule=rule)
    )
    gaps = {row.setting.split(",")[0]: row.verdict.difference.mean for row in network.rows if row.entry == "a"}

    assert gaps["rule=stdp"] == pytest.approx(99 / 1000)
    assert gaps["rule=backprop"] == pytest.approx(31 / 1000)


def test_a_row_without_a_shared_seed_is_no_comparison() -> None:
    late = [make_record("late", 0.9, seed, 150) for seed in (7, 8, 9)]
    network = network_of(cell("magnitude", BASE), cell("a", BETTER), late)

    assert row_of(network, "late").verdict is None
    assert row_of(network, "late").superiority is None
    assert row_of(network, "a").verdict.level == 0.95


def test_two_shared_seeds_count_in_the_family_and_stay_open() -> None:
    network = network_of(cell("magnitude", BASE), cell("a", BETTER), cell("two", [199, 198]))

    assert row_of(network, "two").verdict.verdict == "open"
    assert row_of(network, "two").verdict.p is None
    assert row_of(network, "a").verdict.adjusted == pytest.approx(2 * row_of(network, "a").verdict.p)


def test_seeds_on_other_parents_are_not_paired() -> None:
    base, records = cell("magnitude", BASE), cell("a", BETTER)
    for record in (*base, *records):
        record["provenance"]["shared"] = {"parent": {"weights": "sha256:00"}}
    records[4]["provenance"]["shared"]["parent"]["weights"] = "sha256:11"
    row = row_of(network_of(base, records), "a")

    assert (row.verdict.difference.n, sorted(row.mcnemar), row.superiority.wins) == (4, [0, 1, 2, 3], 4)


def test_the_best_group_is_told_by_holm_within_its_target() -> None:
    close = [hits - 1 - (seed > 2) for seed, hits in enumerate(BETTER)]
    alone = network_of(cell("a", BETTER), cell("close", close))
    among = network_of(cell("a", BETTER), cell("close", close), *(cell(f"x{i}", OPEN) for i in range(40)))

    assert row_of(alone, "close").best is False
    assert row_of(among, "close").best is True
    assert row_of(among, "a").best is True
    assert row_of(network_of(cell("a", BETTER), cell("close", close), cell("b", BASE, 0.5)), "close").best is False


def test_mcnemar_and_superiority_stand_beside_the_verdict(network: Any) -> None:
    row = row_of(network, "a")

    assert sorted(row.mcnemar) == [0, 1, 2, 3, 4]
    assert [row.mcnemar[s].difference for s in range(5)] == pytest.approx([(a - b) / 200 for a, b in _pairs(row)])
    assert (row.superiority.wins, row.superiority.probability) == (5, 1.0)


def test_power_tells_what_a_family_could_have_seen(network: Any) -> None:
    reference, control = network.power
    sds = sorted(oracle.tstd([(a - b) / 200 for a, b in _pairs(row_of(network, name))]) for name in "abc")

    assert (reference.against, reference.pairs, reference.family) == ("magnitude", 5, 3)
    assert reference.spread == pytest.approx(sds[1])
    assert reference.smallest == pytest.approx(sds[1] * 1.681997)
    assert reference.strict > reference.smallest
    assert reference.needed == _needed(sds[1])
    assert (control.against, control.family) == ("the dense control", 4)
    assert (control.smallest, control.pairs) == (network.smallest, network.pairs)


def _needed(sd: float) -> int:
    """The fewest seeds at which a paired t-test finds half a point four times in five, by scipy's non-central t."""
    for n in range(2, 10_000):
        critical = oracle.t.ppf(0.975, n - 1)
        if oracle.nct.sf(critical, n - 1, 0.005 * n**0.5 / sd) >= 0.8:
            return n
    raise AssertionError


def test_no_power_is_told_below_three_seeds() -> None:
    assert network_of(cell("magnitude", BASE[:2]), cell("a", BETTER[:2])).power == ()
    assert power("x", []) is None
    assert power("x", [None]) is None


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(25)))
def test_the_order_of_records_changes_no_verdict(order: list[int]) -> None:
    records = [record for group in WHOLE for record in group]
    rows = network_of([records[i] for i in order]).rows

    expected = {row.entry: (row.verdict, row.to_control, row.best) for row in network_of(*WHOLE).rows}
    assert {row.entry: (row.verdict, row.to_control, row.best) for row in rows} == expected


def test_power_counts_the_untested_and_tells_the_fewest_pairs() -> None:
    (reference,) = network_of(
        cell("magnitude", BASE), cell("a", BETTER), cell("b", OPEN[:4]), cell("c", [199, 198])
    ).power

    assert (reference.family, reference.pairs) == (3, 4)
    spread = reference.spread
    assert reference.strict == pytest.approx(smallest_difference(spread, 4, level=1 - 0.05 / 3))


def test_an_entry_without_a_target_is_not_judged_against_the_control_as_reference() -> None:
    free = [make_record("slim", {"name": "none"}, seed, hit) for seed, hit in enumerate(BETTER)]
    network = network_of(*WHOLE, free)
    row = row_of(network, "slim", "no target")

    assert row.verdict is None
    assert row.to_control.verdict == "worse"


def released(records: Any, hits: int) -> Any:
    """The records as if every seed stood on one checkpoint and hit the same images."""
    for record in records:
        record["inputs"]["parent"] = {"name": "checkpoint", "checkpoint": "x", "key": "y"}
        score = record["outcome"]["test"]["top1"]
        score.update(hits=hits, mask=hit_mask(hits, score["total"], 0))
    return records


def test_what_cannot_vary_is_level_with_the_first_only_where_it_is_equal() -> None:
    groups = [released(cell(name, [hits] * 5), hits) for name, hits in (("a", 150), ("b", 149), ("c", 150))]
    network = network_of(*groups)

    assert [row_of(network, name).best for name in "abc"] == [True, False, True]
    assert {row.deterministic for row in network.rows} == {True}


def test_equal_hits_at_every_seed_are_level_though_they_have_no_spread() -> None:
    network = network_of(cell("a", BETTER), cell("b", BETTER), cell("c", [hits - 3 for hits in BETTER]))

    assert [row_of(network, name).best for name in "abc"] == [True, True, None]
