"""Methods across blocks: ranks, pairs, cliques and what few blocks can tell."""

import math

import numpy as np
import pytest
from scipy import stats as oracle

from synobench.errors import BenchError
from synobench.stats.across import FEWEST_BLOCKS, across, pooled
from synobench.stats.ranks import friedman, signed_rank

Values = dict[str, dict[str, float]]


def drawn(blocks: int, shifts: dict[str, float], seed: int = 0) -> Values:
    draw = np.random.default_rng(seed)
    level = draw.normal(0.8, 0.05, blocks)
    return {
        m: {f"d{i:02}/net": float(v) for i, v in enumerate(level + draw.normal(s, 0.004, blocks))}
        for m, s in shifts.items()
    }


def test_clear_methods_are_set_apart() -> None:
    values = drawn(12, {"worst": -0.1, "best": 0.05, "twin": 0.05, "next": 0.0})
    found = across(values)
    table = [[values[m][b] for m in found.ranks] for b in found.blocks]

    assert list(found.ranks)[2:] == ["next", "worst"]
    expected = np.mean([oracle.rankdata([-v for v in row]) for row in table], axis=0)
    assert list(found.ranks.values()) == pytest.approx(expected.tolist())
    assert found.friedman == friedman(table)
    assert {frozenset((p.a, p.b)) for p in found.pairs if not p.apart} == {frozenset(("best", "twin"))}
    assert [set(bar) for bar in found.cliques] == [{"best", "twin"}]
    assert found.says() == "12 blocks, 5 of 6 pairs apart"


def test_pairs_are_exact_tests_with_holm() -> None:
    values = drawn(9, {"a": 0.0, "b": 0.004, "c": 0.008})
    found = across(values)
    raw = {
        p: oracle.wilcoxon([values[p.a][b] - values[p.b][b] for b in found.blocks], method="exact").pvalue
        for p in found.pairs
    }

    for pair, p in raw.items():
        assert pair.test.p == pytest.approx(p)
        ordered = sorted(raw.values())
        holm = max(min(1, (3 - i) * q) for i, q in enumerate(ordered) if q <= p)
        assert pair.adjusted == pytest.approx(holm)
        assert pair.apart is (pair.adjusted <= 0.05)


def test_a_third_method_decides_nothing_about_two() -> None:
    values = drawn(8, {"a": 0.0, "b": 0.004, "c": 0.002, "d": 0.003})
    test = {frozenset((p.a, p.b)): p.test.p for p in across(values).pairs}
    alone = across({m: values[m] for m in "ab"}).pairs[0]

    assert test[frozenset("ab")] == alone.test.p


@pytest.mark.parametrize("blocks", [1, FEWEST_BLOCKS - 1])
def test_under_six_blocks_ranks_are_descriptive(blocks: int) -> None:
    found = across(drawn(blocks, {"a": 0.0, "b": 0.5}))

    assert found.descriptive
    assert found.ranks == {"b": 1, "a": 2}
    assert (found.friedman, found.pairs, found.cliques) == (None, (), ())
    assert found.says().startswith(f"descriptive: {blocks} block")
    assert found.floor > 0.05


def test_six_blocks_are_the_fewest_that_can_reject() -> None:
    found = across(drawn(FEWEST_BLOCKS, {"a": 0.0, "b": 0.5}))

    assert not found.descriptive
    assert found.pairs[0].apart
    assert found.cliques == ()
    assert found.floor == found.pairs[0].adjusted == 2.0**-5


def test_many_pairs_and_few_blocks_say_so() -> None:
    found = across(drawn(6, {"a": 0.0, "b": 0.1, "c": 0.2}))

    assert not any(pair.apart for pair in found.pairs)
    assert found.floor == min(pair.adjusted for pair in found.pairs) == 3 / 32
    assert found.says() == "6 blocks cannot set any pair of 3 methods apart (least adjusted p 0.094)"
    assert found.cliques == (("c", "b", "a"),)


def test_all_ties() -> None:
    found = across({m: {f"b{i}": 0.5 for i in range(7)} for m in "abc"})

    assert set(found.ranks.values()) == {2.0}
    assert found.friedman.p == 1
    assert {pair.test for pair in found.pairs} == {signed_rank([])}
    assert found.cliques == (("a", "b", "c"),)


def test_blocks_that_lack_a_method_are_left_out() -> None:
    values = drawn(8, {"a": 0.0, "b": 0.1})
    del values["a"]["d03/net"]
    found = across(values)

    assert (len(found.blocks), found.left_out) == (7, ("d03/net",))


def test_order_plays_no_part() -> None:
    values = drawn(8, {"a": 0.0, "b": 0.001, "c": 0.002})
    turned = {m: dict(reversed(held.items())) for m, held in reversed(values.items())}

    assert across(turned) == across(values)


def test_pooling_by_data_set_gives_each_one_voice() -> None:
    values = {"a": {"mnist/x": 0.2, "mnist/y": 0.4, "digits/x": 0.9}, "b": {"mnist/x": 0.5}}

    assert pooled(values, lambda block: block.partition("/")[0]) == {
        "a": {"mnist": pytest.approx(0.3), "digits": 0.9},
        "b": {"mnist": 0.5},
    }


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"a": {"x": 1.0}}, "two methods"),
        ({"a": {"x": 1.0}, "b": {"y": 1.0}}, "no block"),
        ({"a": {"x": 1.0}, "b": {"x": math.nan}}, "nan"),
    ],
)
def test_what_cannot_be_ranked_is_refused_in_one_line(values: Values, told: str) -> None:
    with pytest.raises(BenchError, match=told) as caught:
        across(values)
    assert "\n" not in str(caught.value)
