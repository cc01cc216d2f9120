"""t-tests of a mean, against scipy and their limits."""

import math

import numpy as np
import pytest
from scipy import stats as oracle

from synobench.stats import interval
from synobench.stats.ttests import t_probability, tost

VALUES = [0.004, 0.007, 0.001, 0.006, -0.002]


def test_two_sided_p_is_scipys() -> None:
    assert t_probability(interval(VALUES)) == pytest.approx(oracle.ttest_1samp(VALUES, 0).pvalue)
    assert t_probability(interval([-v for v in VALUES])) == pytest.approx(oracle.ttest_1samp(VALUES, 0).pvalue)


def test_p_falls_under_alpha_just_where_the_interval_leaves_zero_out() -> None:
    draw = np.random.default_rng(3)
    seen = set()
    for _ in range(300):
        found = interval(draw.normal(0.8, 1, 5).tolist(), 0.9)
        seen.add(found.holds(0.0))
        assert (t_probability(found) <= 0.1) is not found.holds(0.0)
    assert seen == {True, False}


def test_equivalence_is_the_larger_of_scipys_one_sided_p() -> None:
    low = oracle.ttest_1samp(VALUES, -0.005, alternative="greater").pvalue
    high = oracle.ttest_1samp(VALUES, 0.005, alternative="less").pvalue

    assert tost(interval(VALUES), 0.005) == pytest.approx(max(low, high))


def test_equivalence_is_the_ninety_percent_interval_within_the_margin() -> None:
    draw = np.random.default_rng(4)
    seen = set()
    for _ in range(300):
        found = interval(draw.normal(0, 0.004, 5).tolist(), 0.9)
        inside = found.low > -0.005 and found.high < 0.005
        seen.add(inside)
        assert (tost(found) < 0.05) is inside
    assert seen == {True, False}


def test_values_that_do_not_vary() -> None:
    assert t_probability(interval([0.0, 0.0])) == 1
    assert t_probability(interval([0.1, 0.1])) == 0
    assert tost(interval([0.001, 0.001])) == 0
    assert tost(interval([0.009, 0.009])) == 1
    assert tost(interval([0.005, 0.005])) == 0.5


def test_extreme_means_stay_probabilities() -> None:
    assert t_probability(interval([1e9, 1e9 + 1])) == pytest.approx(0, abs=1e-8)
    assert math.isfinite(t_probability(interval([1e-300, -1e-300])))


def test_one_value_is_refused() -> None:
    with pytest.raises(ValueError, match="two values"):
        t_probability(interval([0.1]))


def test_margin_is_above_zero() -> None:
    with pytest.raises(ValueError, match="above 0"):
        tost(interval(VALUES), 0.0)
