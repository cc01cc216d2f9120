"""Intervals, paired differences and power, against scipy, formulas and simulation."""

import math
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as oracle

from synobench import stats
from synobench.errors import BenchError

VALUES = [0.91, 0.93, 0.925, 0.89, 0.905]
finite = st.floats(-1e6, 1e6, allow_nan=False)


def test_interval_is_students() -> None:
    found = stats.interval(VALUES)

    low, high = oracle.t.interval(0.95, 4, loc=np.mean(VALUES), scale=oracle.sem(VALUES))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.n, found.mean, found.sd) == (5, pytest.approx(np.mean(VALUES)), pytest.approx(np.std(VALUES, ddof=1)))
    assert (found.least, found.most) == (0.89, 0.93)


def test_special_functions_are_loaded_for_the_first_figure_that_takes_one() -> None:
    code = (
        "import sys, synobench.boards, synobench.stats as s; assert 'scipy' not in sys.modules; "
        "s.interval([1.0]); assert 'scipy' not in sys.modules; "
        "print(s.interval([1.0, 2.0]).half); assert 'scipy' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert float(done.stdout) == stats.interval([1.0, 2.0]).half


def test_interval_takes_another_level() -> None:
    high = oracle.t.interval(0.8, 4, loc=np.mean(VALUES), scale=oracle.sem(VALUES))[1]

    assert stats.interval(VALUES, 0.8).high == pytest.approx(high)


def test_one_value_has_no_interval() -> None:
    found = stats.interval([0.5])

    assert (found.mean, found.sd, found.half, found.low, found.high) == (0.5, None, None, None, None)
    assert not found.constant
    assert found.holds(0.5) is None


def test_no_value_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        stats.interval([])


def test_equal_values_have_no_spread_at_all() -> None:
    found = stats.interval([0.1] * 3)

    assert (found.mean, found.sd, found.half, found.constant) == (0.1, 0.0, 0.0, True)


@given(st.lists(finite, min_size=1, max_size=8), st.randoms())
def test_no_figure_depends_on_order(values: Any, shuffler: Any) -> None:
    shuffled = list(values)
    shuffler.shuffle(shuffled)

    assert stats.interval(shuffled) == stats.interval(values)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_cover_as_they_say(n: Any) -> None:
    draw = random.Random(n)
    trials = 6000
    covered = sum(stats.interval([draw.gauss(1, 2) for _ in range(n)]).holds(1.0) for _ in range(trials))

    assert 0.94 < covered / trials < 0.96


def test_paired_joins_by_seed() -> None:
    found = stats.paired({0: 0.9, 1: 0.8, 2: 0.7, 7: 0.1}, {2: 0.6, 0: 0.7, 1: 0.5, 9: 0.9})

    expected = oracle.ttest_rel([0.9, 0.8, 0.7], [0.7, 0.5, 0.6]).confidence_interval()
    assert found.n == 3
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_paired_without_a_shared_seed_is_a_gap() -> None:
    assert stats.paired({0: 1.0}, {1: 1.0}) is None
    assert stats.paired_ratio({0: 1.0}, {0: 0.0}) is None


def test_ratio_is_the_mean_of_ratios() -> None:
    assert stats.paired_ratio({0: 1.0, 1: 3.0}, {0: 2.0, 1: 3.0}).mean == pytest.approx(0.75)


def test_holds_includes_both_ends() -> None:
    found = stats.interval([1.0, 3.0])

    assert found.holds(found.high)
    assert not found.holds(found.high + 1e-9)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_smallest_difference_is_seen_four_times_in_five(n: Any) -> None:
    shift = stats.smallest_difference(2.0, n)
    draws = np.random.default_rng(n).normal(shift, 2.0, (40000, n))
    half = oracle.t.ppf(0.975, n - 1) * draws.std(axis=1, ddof=1) / math.sqrt(n)

    assert np.mean(draws.mean(axis=1) - half > 0) == pytest.approx(0.8, abs=0.01)


def test_smallest_difference_needs_two_pairs() -> None:
    with pytest.raises(ValueError, match="two pairs"):
        stats.smallest_difference(1.0, 1)


@pytest.mark.parametrize("sd", [0.0, 0.001, 0.004, 0.02, 0.5])
@pytest.mark.parametrize("keywords", [{}, {"power": 0.9, "level": 0.9}, {"level": 0.99}])
def test_seeds_needed_are_the_fewest_that_see_it(sd: float, keywords: Any) -> None:
    n = stats.seeds_needed(sd, 0.005, **keywords)

    assert stats.smallest_difference(sd, n, **keywords) <= 0.005
    assert n == 2 or stats.smallest_difference(sd, n - 1, **keywords) > 0.005
    assert stats.seeds_needed(sd, 0.005, least=n + 3, **keywords) == n + 3


def test_seeds_needed_for_no_difference() -> None:
    with pytest.raises(ValueError, match="above 0"):
        stats.seeds_needed(0.1, 0.0)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused_in_one_line(wrong: float) -> None:
    with pytest.raises(BenchError, match=f"hold {wrong}") as told:
        stats.interval([0.1, wrong])
    assert "\n" not in str(told.value)
    with pytest.raises(BenchError):
        stats.paired({0: wrong}, {0: 0.1})


@pytest.mark.parametrize("level", [0.0, 1.0, 95, math.nan])
def test_a_level_lies_between_zero_and_one(level: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        stats.interval([0.1, 0.2], 2 * level - 1)


def test_sampling_error_of_ten_thousand_images() -> None:
    assert stats.sampling_error(0.9, 10000) == pytest.approx(1.959964 * 0.003)
