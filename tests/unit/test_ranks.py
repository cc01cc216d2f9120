"""Friedman's test, the exact signed-rank test and cliques, against scipy and enumeration."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as oracle

from synobench.errors import BenchError
from synobench.stats.ranks import cliques, friedman, midranks, signed_rank

tables = st.integers(2, 5).flatmap(
    lambda k: st.lists(st.lists(st.integers(0, 4), min_size=k, max_size=k), min_size=2, max_size=8)
)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=9))
@settings(deadline=None)
def test_midranks_are_scipys(values: list[int]) -> None:
    assert midranks(values).tolist() == oracle.rankdata(values).tolist()


@given(tables)
@settings(deadline=None)
def test_friedman_is_scipys_with_ties(table: list[list[int]]) -> None:
    found = friedman(table)
    if all(len(set(row)) == 1 for row in table):
        assert (found.chi2, found.f, found.p) == (0, 0, 1)
        return
    if len(table[0]) > 2:
        assert found.chi2 == pytest.approx(oracle.friedmanchisquare(*np.array(table).T).statistic)
    n, k = len(table), len(table[0])
    assert found.df == (k - 1, (k - 1) * (n - 1))
    floor = math.factorial(k) ** (1 - n)
    if math.isinf(found.f):
        assert (found.chi2, found.p) == (pytest.approx(n * (k - 1)), pytest.approx(floor))
    else:
        f = (n - 1) * found.chi2 / (n * (k - 1) - found.chi2)
        assert found.f == pytest.approx(f)
        assert found.p == pytest.approx(max(floor, oracle.f.sf(f, *found.df)))


def test_iman_davenport_is_the_analysis_of_variance_of_ranks() -> None:
    table = np.random.default_rng(1).normal([0, 0.3, 0.6, 0.9], 1, (9, 4))
    ranks = np.apply_along_axis(oracle.rankdata, 1, table)
    n, k = ranks.shape
    methods, blocks = ranks.mean(0), ranks.mean(1)
    rest = ((ranks - methods - blocks[:, None] + ranks.mean()) ** 2).sum() / ((n - 1) * (k - 1))
    between = n * ((methods - ranks.mean()) ** 2).sum() / (k - 1)

    assert friedman(table).f == pytest.approx(between / rest)


def test_agreement_of_all_blocks_has_the_p_of_chance() -> None:
    found = friedman([[1, 2, 3]] * 6)

    assert (found.f, found.p) == (math.inf, pytest.approx(6.0**-5))


@pytest.mark.parametrize("table", [[[1, 2, 3]], [[1], [2]], [1, 2, 3]])
def test_friedman_needs_two_of_each(table: list) -> None:  # type: ignore[type-arg]
    with pytest.raises(BenchError, match="two blocks and two methods"):
        friedman(table)


def test_friedman_refuses_nan() -> None:
    with pytest.raises(BenchError, match="nan"):
        friedman([[1, 2], [math.nan, 1]])


def enumerated(values: list[float]) -> float:
    held = np.array([v for v in values if v])
    ranks = oracle.rankdata(np.abs(held))
    sums = np.array([ranks[np.array(s, bool)].sum() for s in itertools.product((0, 1), repeat=len(held))])
    plus = ranks[held > 0].sum()
    return min(1.0, 2 * min(np.mean(sums <= plus), np.mean(sums >= plus)))


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
@settings(deadline=None)
def test_signed_rank_is_the_enumeration_with_ties_and_zeros(values: list[int]) -> None:
    found = signed_rank(values)

    assert found.n == sum(v != 0 for v in values)
    assert found.p == pytest.approx(enumerated(values) if found.n else 1.0)


@pytest.mark.parametrize("n", [5, 6, 12, 25, 60])
def test_signed_rank_is_scipys_exact_one(n: int) -> None:
    values = np.random.default_rng(n).normal(0.3, 1, n)
    expected = oracle.wilcoxon(values, method="exact")
    found = signed_rank(values)

    assert found.p == pytest.approx(expected.pvalue)
    assert min(found.plus, found.minus) == expected.statistic


def test_signed_rank_has_its_floor() -> None:
    assert [signed_rank(range(1, n + 1)).p for n in (1, 5, 6)] == [1, 0.0625, 0.03125]


def test_equal_decimals_are_ties() -> None:
    values = [0.93 - 0.91, 0.95 - 0.93, 0.91 - 0.93, 0.97 - 0.95, 0.3]

    assert signed_rank(values) == signed_rank([1, 1, -1, 1, 5])


def test_signed_rank_of_no_difference() -> None:
    assert (signed_rank([]).p, signed_rank([0.0] * 7)) == (1, signed_rank([]))


def test_signed_rank_refuses_nan() -> None:
    with pytest.raises(BenchError, match="nan"):
        signed_rank([0.1, math.nan])


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.tuples(st.just(n), st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))))
    )
)
@settings(deadline=None)
def test_cliques_are_all_maximal_groups(drawn: tuple[int, set[tuple[int, int]]]) -> None:
    n, edges = drawn
    names = [f"m{i}" for i in range(n)]
    joined = {frozenset((names[a], names[b])) for a, b in edges if a != b}
    groups = [set(g) for size in range(2, n + 1) for g in itertools.combinations(names, size)]
    whole = [g for g in groups if all(frozenset(p) in joined for p in itertools.combinations(g, 2))]
    maximal = {tuple(sorted(g)) for g in whole if not any(g < other for other in whole)}

    found = cliques(names, [tuple(edge) for edge in joined])  # type: ignore[misc]

    assert set(found) == maximal
    assert list(found) == sorted(found)


def test_no_part_of_a_clique_is_one() -> None:
    rings = [("a", "b"), ("b", "c"), ("a", "c"), ("d", "e"), ("e", "f"), ("d", "f")]

    assert cliques("abcdef", rings) == (("a", "b", "c"), ("d", "e", "f"))


def test_a_clique_need_not_be_a_row_of_neighbours() -> None:
    assert cliques("abcd", [("a", "c"), ("c", "d"), ("b", "d")]) == (("a", "c"), ("b", "d"), ("c", "d"))
