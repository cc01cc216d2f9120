"""Holm's step-down, its intervals, and the verdict of each comparison."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as oracle

from synobench.board import rows
from synobench.errors import BenchError
from synobench.stats import interval, seeds_needed, smallest_difference
from synobench.stats.multiple import BETTER, FEWEST, OPEN, SAME, WORSE, Comparison, compare, holm

probabilities = st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.0125, 0.02, 0.025, 0.03, 0.05, 0.2, 1.0]), max_size=7)


def by_seed(values: object) -> dict[int, float]:
    return dict(enumerate(np.asarray(values, float).tolist()))


def one(values: object, **keywords: float) -> Comparison:
    (found,) = compare({"only": (by_seed(values), by_seed(np.zeros(len(list(values)))))}, **keywords)  # type: ignore[call-overload]
    return found


def closed_testing(held: list[float], alpha: float) -> list[bool]:
    """Reject where every intersection that holds the hypothesis is rejected by Bonferroni."""
    every = range(len(held))
    subsets = [s for size in range(1, len(held) + 1) for s in itertools.combinations(every, size)]
    return [all(min(held[j] for j in s) * len(s) <= alpha for s in subsets if i in s) for i in every]


@given(probabilities)
@settings(deadline=None)
def test_holm_rejects_what_closed_testing_rejects(held: list[float]) -> None:
    steps = holm(held, 0.0501)

    assert [step.rejected for step in steps] == closed_testing(held, 0.0501)
    assert [step.adjusted <= 0.0501 for step in steps] == [step.rejected for step in steps]
    assert all((step.p <= step.alpha) is step.rejected for step in steps)


def test_holm_by_hand() -> None:
    steps = holm([0.03, 0.001, 0.02, 0.4])

    assert [s.adjusted for s in steps] == pytest.approx([0.06, 0.004, 0.06, 0.4])
    assert [s.rejected for s in steps] == [False, True, False, False]
    assert [s.alpha for s in steps] == pytest.approx([0.05 / 3, 0.05 / 4, 0.05 / 3, 0.05 / 3])


def test_behind_the_stop_no_level_grows() -> None:
    steps = holm([0.03, 0.04])

    assert [s.rejected for s in steps] == [False, False]
    assert [s.alpha for s in steps] == [0.025, 0.025]


def test_equal_probabilities_get_equal_levels() -> None:
    assert len({(s.alpha, s.adjusted) for s in holm([0.01, 0.01, 0.01])}) == 1


def test_holm_of_nothing_and_of_nonsense() -> None:
    assert holm([]) == ()
    assert compare({}) == ()
    with pytest.raises(BenchError, match="nan"):
        holm([0.1, math.nan])
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([1.2])


def test_one_comparison_is_the_paired_t_test() -> None:
    a, b = [0.93, 0.95, 0.94, 0.96], [0.90, 0.91, 0.93, 0.92]
    (found,) = compare({"a": (by_seed(a), by_seed(b))})
    expected = oracle.ttest_rel(a, b)

    assert found.p == found.adjusted == pytest.approx(expected.pvalue)
    ends = expected.confidence_interval(found.level)
    assert (found.difference.low, found.difference.high) == pytest.approx((ends.low, ends.high))
    assert found.level == pytest.approx(0.95)
    assert found.difference == found.joint
    assert (found.verdict, found.says()) == (BETTER, "better")


def drawn(seed: int) -> dict[str, tuple[dict[int, float], dict[int, float]]]:
    draw = np.random.default_rng(seed)
    reference = draw.normal(0.9, 0.005, 5)
    shifts = {"far": 0.04, "near": 0.006, "level": 0.0, "below": -0.03}
    return {name: (by_seed(reference + draw.normal(s, 0.003, 5)), by_seed(reference)) for name, s in shifts.items()}


@pytest.mark.parametrize("seed", range(40))
def test_an_interval_leaves_zero_out_just_where_the_verdict_says_so(seed: int) -> None:
    for found in compare(drawn(seed)):
        assert (found.verdict in (BETTER, WORSE)) is not found.difference.holds(0.0)
        assert found.difference == interval(
            [a - b for a, b in zip(*(side.values() for side in drawn(seed)[found.name]), strict=True)], found.level
        )
        assert found.joint.half >= found.difference.half
        assert found.verdict != WORSE or found.difference.high < 0


def test_levels_are_those_of_the_step_down() -> None:
    found = compare(drawn(0))
    order = sorted(found, key=lambda c: c.p)
    kept = next((i for i, c in enumerate(order) if c.verdict not in (BETTER, WORSE)), len(order))

    assert 0 < kept < 4
    levels = [0.05 / (4 - min(i, kept)) for i in range(4)]
    assert [1 - c.level for c in order] == pytest.approx(levels)
    assert {c.joint.half for c in found} == {interval(list(_gaps(c.name)), 1 - 0.05 / 4).half for c in found}


def _gaps(name: str) -> list[float]:
    a, b = drawn(0)[name]
    return [a[seed] - b[seed] for seed in a]


def test_order_of_the_family_plays_no_part() -> None:
    pairs = drawn(1)
    backwards = dict(reversed(pairs.items()))

    assert compare(backwards) == tuple(reversed(compare(pairs)))


def test_same_within_half_a_point() -> None:
    found = one([0.0004, -0.0006, 0.0001, 0.0002, -0.0003])

    assert (found.verdict, found.says(), found.needed) == (SAME, "same within half a point", None)
    assert found.equivalence < 0.05


def test_margin_is_named() -> None:
    assert one([0.004, -0.006, 0.001, 0.002, -0.003], margin=0.02).says() == "same within 2 points"


def test_better_by_less_than_half_a_point_says_both() -> None:
    found = one([0.0021, 0.0019, 0.0020, 0.0022, 0.0018])

    assert (found.verdict, found.says()) == (BETTER, "better (by less than half a point)")


def test_open_tells_the_seeds_that_would_settle_it() -> None:
    found = one([0.01, -0.01, 0.008, -0.004, 0.002])

    assert found.verdict == OPEN
    assert found.says() == f"not enough evidence: {found.needed} seeds needed"
    sd = found.difference.sd
    for n, enough in ((found.needed, True), (found.needed - 1, False)):
        seen = smallest_difference(sd, n) <= 0.005
        settled = smallest_difference(sd, n, 0.9, 0.9) <= 0.005
        assert (seen and settled) is enough


def test_seeds_needed_do_settle_it_four_times_in_five() -> None:
    found = one([0.01, -0.01, 0.008, -0.004, 0.002])
    draw = np.random.default_rng(5)
    for truth, wanted in ((0.005, {BETTER}), (0.0, {SAME})):
        runs = [one(draw.normal(truth, found.difference.sd, found.needed)).verdict in wanted for _ in range(300)]
        assert sum(runs) / len(runs) > 0.74


def test_needed_is_more_than_there_are() -> None:
    pattern = np.array([-1.2, -0.8, -0.2, 0.3, 0.7, 1.2])
    found = one(0.0028 + 0.00306 * (pattern - pattern.mean()) / pattern.std(ddof=1))

    assert seeds_needed(found.difference.sd) <= 6
    assert (found.verdict, found.needed) == (OPEN, 7)


@pytest.mark.parametrize("turn", [1, -1])
def test_differences_of_decimals_are_the_same_but_for_rounding(turn: int) -> None:
    (found,) = compare(
        {"a": (by_seed([0.93, 0.95, 0.97]), by_seed([0.91, 0.93, 0.95]))}
        if turn > 0
        else {"a": (by_seed([0.91, 0.93, 0.95]), by_seed([0.93, 0.95, 0.97]))}
    )

    assert 0 < found.difference.sd < 1e-15
    assert (found.constant, found.verdict) == (True, OPEN)


@pytest.mark.parametrize("gap", [0.02, 0.0, -0.02])
def test_the_same_difference_at_every_seed_gives_no_verdict(gap: float) -> None:
    b = [0.91, 0.93, 0.95, 0.97, 0.89]
    (found,) = compare({"a": ({i: v + gap for i, v in enumerate(b)}, by_seed(b))})

    assert (found.constant, found.verdict, found.p, found.equivalence, found.needed) == (True, OPEN, None, None, None)
    assert found.says() == "not enough evidence: the difference is the same at every seed"


def test_too_few_seeds_give_no_verdict() -> None:
    single, couple, none = one([0.2]), one([0.2, 0.2001]), one([])

    assert [c.verdict for c in (single, couple, none)] == [OPEN] * 3
    assert (single.difference.half, single.needed, single.says()) == (None, None, "not enough evidence")
    assert couple.p is None
    assert couple.needed == 3
    assert (none.difference, none.joint, none.flip) == (None, None, None)
    assert one([0.2, 0.2001, 0.1999]).verdict == BETTER
    assert FEWEST == rows.FEWEST


def test_untested_comparisons_count_in_the_family() -> None:
    strong = (by_seed([0.93, 0.95, 0.94, 0.96]), by_seed([0.90, 0.91, 0.93, 0.92]))
    alone = compare({"a": strong})[0]
    beside = compare({"a": strong, "b": (by_seed([0.5]), by_seed([0.4]))})[0]

    assert beside.level == pytest.approx(0.975)
    assert beside.adjusted == pytest.approx(2 * alone.p)


def test_only_shared_seeds_are_compared() -> None:
    (found,) = compare({"a": ({0: 1.0, 1: 2.0, 5: 9.0}, {0: 0.5, 1: 1.0, 7: 3.0})})

    assert (found.difference.n, found.difference.mean) == (2, 0.75)


def test_sign_flip_stands_beside_and_never_convicts() -> None:
    found = one([0.031, 0.03, 0.029, 0.03, 0.0305])

    assert found.verdict == BETTER
    assert (found.flip.p, found.flip.floor) == (0.0625, 0.0625)


def test_nan_is_refused_in_one_line() -> None:
    with pytest.raises(BenchError, match="hold nan") as told:
        one([0.1, math.nan, 0.2])
    assert "\n" not in str(told.value)


def test_a_family_rarely_claims_what_is_not_there() -> None:
    draw = np.random.default_rng(11)
    wrong = {"difference": 0, "equivalence": 0}
    for _ in range(400):
        reference = draw.normal(0.9, 0.004, 5)
        shifts = {"a": 0.0, "b": 0.0, "c": 0.03, "d": 0.005, "e": -0.005}
        pairs = {k: (by_seed(reference + draw.normal(s, 0.002, 5)), by_seed(reference)) for k, s in shifts.items()}
        found = {c.name: c for c in compare(pairs)}
        wrong["difference"] += any(found[k].verdict in (BETTER, WORSE) for k in "ab")
        wrong["equivalence"] += any(found[k].negligible for k in "cde")
    assert all(count / 400 < 0.085 for count in wrong.values())
