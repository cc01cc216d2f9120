"""P(A > B), interquartile mean and profiles, against scipy and enumeration."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as oracle

from synobench.errors import BenchError
from synobench.stats.robust import CHUNK, interquartile_mean, iqm, profile, superiority

BLOCKS = {"b": {0: 0.2, 1: 0.3, 2: 0.7}, "a": {4: 0.5, 2: 0.9}}


def by_seed(values: object) -> dict[int, float]:
    return dict(enumerate(np.asarray(values, float).tolist()))


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(deadline=None)
def test_superiority_without_ties_is_clopper_pearson(drawn: tuple[int, int]) -> None:
    wins, n = drawn
    found = superiority(by_seed([1.0] * wins + [-1.0] * (n - wins)), by_seed([0.0] * n))
    expected = oracle.binomtest(wins, n).proportion_ci(0.95, method="exact")

    assert (found.wins, found.ties, found.losses) == (wins, 0, n - wins)
    assert found.probability == wins / n
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_ties_count_half_and_widen_the_interval() -> None:
    found = superiority(by_seed([1, 1, 0, 0, 0, -1]), by_seed([0.0] * 6))

    assert found.probability == 3.5 / 6
    assert found.low == pytest.approx(oracle.binomtest(2, 6).proportion_ci(method="exact").low)
    assert found.high == pytest.approx(oracle.binomtest(5, 6).proportion_ci(method="exact").high)


def test_superiority_of_all_ties_and_of_no_pair() -> None:
    tied = superiority({0: 1.0}, {0: 1.0})

    assert (tied.probability, tied.low, tied.high) == (0.5, 0, 1)
    assert superiority({0: 1.0}, {1: 1.0}) is None
    with pytest.raises(BenchError, match="nan"):
        superiority({0: math.nan}, {0: 1.0})


def test_superiority_joins_by_seed() -> None:
    assert superiority({0: 1.0, 1: 2.0, 2: 9.0}, {1: 1.0, 0: 3.0}).probability == 0.5


def test_meaningful_needs_more_than_half_and_three_quarters_in_reach() -> None:
    found = {
        wins: superiority(by_seed([1.0] * wins + [-1.0] * (1000 - wins)), by_seed([0.0] * 1000))
        for wins in (500, 600, 740)
    }

    assert [one.meaningful for one in found.values()] == [False, False, True]
    assert not superiority(by_seed([1.0] * 5), by_seed([0.0] * 5)).meaningful


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=23))
@settings(deadline=None)
def test_iqm_is_scipys_trimmed_mean(values: list[float]) -> None:
    assert iqm(values) == pytest.approx(oracle.trim_mean(values, 0.25), abs=1e-12)


def test_iqm_over_blocks_joins_all_runs() -> None:
    assert interquartile_mean(BLOCKS, repeats=10).value == pytest.approx(np.mean([0.3, 0.5, 0.7]))


def test_bootstrap_resamples_within_blocks() -> None:
    found = interquartile_mean({"a": {0: 0.0, 1: 4.0}, "b": {0: 100.0, 1: 104.0}}, repeats=40_000, level=0.9)
    both = [sum(pick) / 4 for pick in itertools.product((0, 0, 4, 4), (0, 0, 4, 4), (100, 104), (100, 104))]
    draws = [
        iqm([*a, *b])
        for a in itertools.product((0.0, 4.0), repeat=2)
        for b in itertools.product((100.0, 104.0), repeat=2)
    ]

    assert len(both) == 64
    assert (found.low, found.high) == tuple(np.quantile(np.repeat(draws, 1000), [0.05, 0.95]))


def test_bootstrap_of_one_block_is_the_enumerated_one() -> None:
    values = [0.0, 1.0, 5.0]
    means = np.mean(list(itertools.product(values, repeat=3)), axis=1)
    found = interquartile_mean({"only": by_seed(values)}, repeats=20_000, level=0.8)

    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.1, 0.9], method="inverted_cdf")))


def test_bootstrap_has_its_own_generator() -> None:
    np.random.seed(1)
    before = np.random.get_state()[1].tolist()
    wide = {str(i): by_seed(np.random.default_rng(i).normal(size=5)) for i in range(4)}
    first = interquartile_mean(wide, repeats=CHUNK + 7)
    turned = {name: dict(reversed(held.items())) for name, held in reversed(wide.items())}

    assert interquartile_mean(turned, repeats=CHUNK + 7) == first
    assert np.random.get_state()[1].tolist() == before
    assert interquartile_mean(wide, repeats=200).low != interquartile_mean(wide, repeats=200, seed=1).low


def test_a_block_of_one_run_leaves_no_interval() -> None:
    found = interquartile_mean({**BLOCKS, "c": {0: 0.5}})

    assert (found.low, found.high, found.repeats) == (None, None, 0)
    assert math.isfinite(found.value)


def test_runs_that_do_not_vary() -> None:
    found = interquartile_mean({"a": {0: 0.5, 1: 0.5}}, repeats=50)

    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_profile_is_the_share_above() -> None:
    found = profile(BLOCKS, [0.1, 0.3, 0.6, 0.9], repeats=200)

    assert [one.value for one in found.fractions] == [1, 0.6, 0.4, 0]
    assert all(one.low <= one.value <= one.high for one in found.fractions)
    assert found.fractions[1].low < found.fractions[1].high


@pytest.mark.parametrize("wrong", [{}, {"a": {}}, {"a": {0: math.nan, 1: 1.0}}])
def test_what_has_no_runs_or_no_numbers_is_refused(wrong: dict[str, dict[int, float]]) -> None:
    with pytest.raises(BenchError, match=r"run in every block|nan") as told:
        interquartile_mean(wrong)
    assert "\n" not in str(told.value)


def test_profile_refuses_nan() -> None:
    with pytest.raises(BenchError, match="thresholds hold nan"):
        profile(BLOCKS, [math.nan])
