"""From scores to masks: counts are exact, ties are settled by order."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from synobench.errors import ContractError
from synobench.selection import keep_allocated, keep_by_layer, keep_globally, kept_at_sparsity

decimals = st.decimals(0, 1, places=4)
scores = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.lists(st.integers(-3, 3), min_size=1, max_size=12).map(lambda v: torch.tensor(v, dtype=torch.float32)),
    min_size=1,
)


def ones(masks: dict[str, Tensor]) -> int:
    return sum(int(m.sum()) for m in masks.values())


@given(st.integers(1, 10**6) | st.integers(1, 999).map(lambda k: 10**4 * k), decimals)
def test_what_is_removed_is_the_ceiling_of_the_decimal(total: int, sparsity: Decimal) -> None:
    removed = total - kept_at_sparsity(total, float(sparsity))
    assert removed == math.ceil(Fraction(sparsity) * total)
    assert removed >= Fraction(sparsity) * total > removed - 1


@pytest.mark.parametrize(
    ("total", "sparsity", "removed"),
    [
        (10, 0.9, 9),
        (10, 0.7, 7),
        (100, 0.29, 29),
        (1000, 0.001, 1),
        (100, 0.07, 7),
        (100, 0.55, 55),
        (3, 0.5, 2),
        (7, 0.0, 0),
        (7, 1.0, 7),
    ],
)
def test_the_decimal_as_written_counts_not_its_binary_neighbour(total: int, sparsity: float, removed: int) -> None:
    assert total - kept_at_sparsity(total, sparsity) == removed


@given(scores, st.data())
def test_the_highest_stay_and_ties_go_by_order(found: dict[str, Tensor], data: st.DataObject) -> None:
    flat = [(-float(v), i) for i, v in enumerate(torch.cat(list(found.values())).tolist())]
    kept = data.draw(st.integers(0, len(flat)))
    chosen = {i for _, i in sorted(flat)[:kept]}
    masks = keep_globally(found, kept)
    assert list(masks) == list(found)
    assert torch.cat(list(masks.values())).tolist() == [i in chosen for i in range(len(flat))]


@given(scores, st.data())
def test_layers_keep_the_same_share_by_largest_remainder(found: dict[str, Tensor], data: st.DataObject) -> None:
    total = sum(s.numel() for s in found.values())
    kept = data.draw(st.integers(0, total))
    masks = keep_by_layer(found, kept)
    assert ones(masks) == kept
    exact = {n: Fraction(kept * s.numel(), total) for n, s in found.items()}
    rest = {n: exact[n] - math.floor(exact[n]) for n in found}
    more = [n for n in found if int(masks[n].sum()) > math.floor(exact[n])]
    assert all(abs(int(masks[n].sum()) - exact[n]) < 1 for n in found)
    order = list(found)
    for n in more:
        for other in set(order) - set(more):
            assert rest[n] > rest[other] or (rest[n] == rest[other] and order.index(n) < order.index(other))
    for n, mask in masks.items():
        assert torch.equal(mask, keep_globally({n: found[n]}, int(mask.sum()))[n])


@given(scores, st.data())
def test_an_allocation_is_kept_tensor_by_tensor(found: dict[str, Tensor], data: st.DataObject) -> None:
    counts = [data.draw(st.integers(0, s.numel())) for s in found.values()]
    masks = keep_allocated(found, counts)
    assert [int(m.sum()) for m in masks.values()] == counts
    for (n, s), k in zip(found.items(), counts, strict=True):
        assert torch.equal(masks[n], keep_globally({n: s}, k)[n])


@pytest.mark.parametrize("counts", [[1], [1, 1, 1], [3, 1], [-1, 1], []])
def test_an_allocation_that_does_not_fit_is_refused(counts: list[int]) -> None:
    with pytest.raises(ContractError, match=r"does not fit the prunable tensors of sizes \[2, 2\]"):
        keep_allocated({"a": torch.zeros(2), "b": torch.zeros(2)}, counts)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_refused_with_their_tensor(value: float) -> None:
    found = {"good": torch.ones(2), "bad": torch.tensor([1.0, value])}
    for keep in (keep_globally, keep_by_layer):
        with pytest.raises(ContractError, match="the scores of bad are not all finite"):
            keep(found, 2)
    with pytest.raises(ContractError, match="the scores of bad are not all finite"):
        keep_allocated(found, [1, 1])


@pytest.mark.parametrize("keep", [keep_globally, keep_by_layer])
@pytest.mark.parametrize("kept", [0, 12])
def test_nothing_and_everything_keep_shapes(keep: object, kept: int) -> None:
    found = {"a": torch.rand(2, 3), "b": torch.rand(3, 1, 2)}
    masks = keep(found, kept)  # type: ignore[operator]
    assert {n: (m.dtype, m.shape) for n, m in masks.items()} == {n: (torch.bool, s.shape) for n, s in found.items()}
    assert ones(masks) == kept


def test_scores_of_other_kinds_are_compared_exactly() -> None:
    whole = {"a": torch.tensor([2**40, 2**40 + 1])}
    assert keep_globally(whole, 1)["a"].tolist() == [False, True]
    double = {"a": torch.tensor([1.0, 1.0 + 1e-12], dtype=torch.float64), "b": torch.tensor([0.5])}
    assert keep_globally(double, 1)["a"].tolist() == [False, True]
    half = {"a": torch.tensor([1.0, 2.0], dtype=torch.bfloat16, requires_grad=True)}
    assert keep_globally(half, 1)["a"].tolist() == [False, True]


def test_tensors_that_are_not_contiguous_are_ranked_by_their_own_order() -> None:
    turned = torch.arange(6.0).view(2, 3).T
    assert keep_globally({"a": turned}, 2)["a"].tolist() == [[False, False], [False, True], [False, True]]
