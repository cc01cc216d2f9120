"""The statistics against scikit-posthocs and statsmodels, where they are installed: `pip install scikit-posthocs`."""

import base64
from typing import Any

import numpy as np
import pandas as pd
import pytest

from synobench.stats import interval, seeds_needed
from synobench.stats.across import across
from synobench.stats.evidence import mcnemar
from synobench.stats.multiple import holm
from synobench.stats.ranks import cliques
from synobench.stats.ttests import tost

METHODS = ("a", "b", "c", "d")


def oracle(name: str) -> Any:
    return pytest.importorskip(name, reason="an oracle for tests alone: pip install scikit-posthocs brings it")


@pytest.mark.parametrize("seed", range(4))
def test_pairs_across_blocks_are_scikit_posthocs(seed: int) -> None:
    posthocs = oracle("scikit_posthocs")
    table = np.random.default_rng(seed).normal([0, 0.5, 1, 1.2], 0.5, (9, 4))
    values = {m: {f"b{i}": float(v) for i, v in enumerate(table[:, j])} for j, m in enumerate(METHODS)}
    long = pd.DataFrame(table, columns=list(METHODS)).melt()
    expected = posthocs.posthoc_wilcoxon(long, val_col="value", group_col="variable", p_adjust="holm")

    found = across(values)

    assert {(p.a, p.b): p.adjusted for p in found.pairs} == pytest.approx(
        {(p.a, p.b): expected.loc[p.a, p.b] for p in found.pairs}
    )


@pytest.mark.parametrize("seed", range(6))
def test_cliques_are_scikit_posthocs(seed: int) -> None:
    oracle("scikit_posthocs")
    from scikit_posthocs._plotting import _find_maximal_cliques

    joined = np.triu(np.random.default_rng(seed).random((7, 7)) < 0.5, 1)
    names = list("abcdefg")
    expected = _find_maximal_cliques(pd.DataFrame((joined | joined.T).astype(int), index=names, columns=names))

    found = cliques(names, [(names[i], names[j]) for i, j in zip(*np.nonzero(joined), strict=True)])

    assert {frozenset(group) for group in found} == {frozenset(group) for group in expected if len(group) > 1}


@pytest.mark.parametrize("seed", range(4))
def test_holm_is_statsmodels(seed: int) -> None:
    multitest = oracle("statsmodels.stats.multitest")
    drawn = np.random.default_rng(seed).random(9) ** 4
    rejected, adjusted, *_ = multitest.multipletests(drawn, 0.05, method="holm")

    steps = holm(drawn.tolist())

    assert [s.rejected for s in steps] == rejected.tolist()
    assert [s.adjusted for s in steps] == pytest.approx(adjusted.tolist())


def test_mcnemar_is_statsmodels() -> None:
    tables = oracle("statsmodels.stats.contingency_tables")
    hits = np.random.default_rng(0).random((2, 500)) < [[0.9], [0.86]]
    a, b = (base64.b64encode(np.packbits(side).tobytes()).decode() for side in hits)
    found = mcnemar(a, b, 500)
    expected = tables.mcnemar([[found.both, found.only_a], [found.only_b, found.neither]], exact=True)

    assert found.p == pytest.approx(expected.pvalue)


def test_equivalence_is_statsmodels() -> None:
    weightstats = oracle("statsmodels.stats.weightstats")
    a, b = np.random.default_rng(1).normal(0.9, 0.003, (2, 6))

    assert tost(interval((a - b).tolist())) == pytest.approx(weightstats.ttost_paired(a, b, -0.005, 0.005)[0])


@pytest.mark.parametrize("sd", [0.002, 0.004, 0.01])
def test_seeds_needed_are_statsmodels(sd: float) -> None:
    power = oracle("statsmodels.stats.power").TTestPower()

    expected = power.solve_power(effect_size=0.005 / sd, alpha=0.05, power=0.8)

    assert seeds_needed(sd) == np.ceil(expected)
