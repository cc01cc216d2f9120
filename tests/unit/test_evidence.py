"""McNemar and the sign-flip test, against scipy and enumeration."""

import base64
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as oracle

from synobench.errors import BenchError
from synobench.stats.evidence import MOST_FLIPS, mcnemar, sign_flip


def mask(hits: object) -> str:
    return base64.b64encode(np.packbits(np.asarray(hits, bool)).tobytes()).decode()


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=70))
@settings(deadline=None)
def test_mcnemar_counts_and_is_the_binomial_test(images: list[tuple[bool, bool]]) -> None:
    a, b = zip(*images, strict=True)
    found = mcnemar(mask(a), mask(b), len(images))
    only_a, only_b = images.count((True, False)), images.count((False, True))

    assert (found.both, found.neither) == (images.count((True, True)), images.count((False, False)))
    assert (found.only_a, found.only_b) == (only_a, only_b)
    expected = oracle.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert found.p == pytest.approx(expected)
    assert found.difference == pytest.approx(np.mean(a) - np.mean(b))


def test_mcnemar_of_ten_thousand_images() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.random(10_000) < 0.95, draw.random(10_000) < 0.93
    found = mcnemar(mask(a), mask(b), 10_000)

    assert found.p == pytest.approx(oracle.binomtest(found.only_a, found.only_a + found.only_b).pvalue)
    assert found.both + found.only_a == a.sum()


def test_the_first_image_is_the_highest_bit() -> None:
    found = mcnemar(base64.b64encode(b"\x80\x00").decode(), base64.b64encode(b"\x00\x80").decode(), 9)

    assert (found.only_a, found.only_b, found.both, found.neither) == (1, 1, 0, 7)


@pytest.mark.parametrize(
    ("wrong", "total", "told"),
    [
        ("AA==", 9, "has 1 bytes, 9 images need 2"),
        ("AQ==", 7, "behind its last image"),
        ("no base64!", 8, "base64"),
        ("ä", 8, "base64"),
        ("", 0, "one test image"),
    ],
)
def test_wrong_masks_are_refused(wrong: str, total: int, told: str) -> None:
    with pytest.raises(BenchError, match=told) as caught:
        mcnemar(wrong, wrong, total)
    assert "\n" not in str(caught.value)


def enumerated(values: list[float]) -> float:
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(values))
    ]
    return float(np.mean([s >= abs(sum(values)) - 1e-9 for s in sums]))


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=9))
@settings(deadline=None)
def test_sign_flip_is_the_enumeration(values: list[int]) -> None:
    assert sign_flip(values).p == enumerated(values)


def test_sign_flip_of_reals_is_scipys() -> None:
    values = np.random.default_rng(2).normal(0.4, 1, 10)
    expected = oracle.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)

    assert sign_flip(values.tolist()).p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("n", [1, 3, 5, 10, 30])
def test_floor_is_reached_where_all_agree(n: int) -> None:
    found = sign_flip([0.1 + i for i in range(n)])

    assert found.p == found.floor == 2.0 ** (1 - n)


def test_equal_decimals_are_ties() -> None:
    steps = [0.93 - 0.91, 0.95 - 0.93, 0.97 - 0.95, 0.99 - 0.97, 0.41 - 0.37]

    assert len(set(steps)) > 2
    for signs in itertools.product((-1, 1), repeat=5):
        twins = [s * u for s, u in zip(signs, (1, 1, 1, 1, 2), strict=True)]
        assert sign_flip(s * d for s, d in zip(signs, steps, strict=True)).p == enumerated(twins)


def test_all_zero_says_nothing() -> None:
    assert sign_flip([0.0] * 4).p == 1


def test_sign_flip_has_its_limits() -> None:
    assert sign_flip([]) is None
    assert sign_flip([1.0] * (MOST_FLIPS + 1)) is None
    with pytest.raises(BenchError, match="inf"):
        sign_flip([0.1, math.inf])


def test_forty_differences_are_still_exact() -> None:
    assert sign_flip([1.0] * 39 + [-1.0]).p == pytest.approx(2 * (1 + 40) / 2**40)
