"""The damped Fisher matrix against the dense one, in float64, at the condition numbers of real networks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from synobench.errors import BenchError
from synobench.fisher import LARGEST, Dual, Primal, Recursion, blocks, fisher_loss, gram, inverse, joint_step, through
from synobench.gradients import SampleGradients, Span

sizes = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31))


def drawn(p: int, m: int, seed: int, skew: float = 0.0) -> Tensor:
    """Return gradients [p, m] whose columns fall off as those of trained networks do."""
    made = torch.randn(p, m, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return made * torch.logspace(0, -skew, m, dtype=torch.float64)


def dense(matrix: Tensor, n: int, damp: float) -> Tensor:
    return matrix @ matrix.T / n + damp * torch.eye(len(matrix), dtype=torch.float64)


@given(size=sizes, damp=st.sampled_from([1e-5, 1e-2, 1.0]), skew=st.sampled_from([0.0, 3.0]))
def test_each_form_is_the_inverse(size: tuple[int, int, int], damp: float, skew: float) -> None:
    p, m, seed = size
    matrix = drawn(p, m, seed, skew)
    wanted = torch.linalg.inv(dense(matrix, m + 3, damp))
    vector = drawn(p, 1, seed + 1)[:, 0]
    for form in (Dual, Primal, Recursion):
        found = form(matrix, m + 3, damp)
        # What cancels in 1 - q is lost against the largest entry, 1 / damp.
        assert torch.allclose(found.diagonal, wanted.diagonal(), rtol=1e-6, atol=1e-9 / damp)
        assert torch.allclose(found.times(vector), wanted @ vector, rtol=1e-6, atol=1e-9 / damp)


def test_the_cheaper_direct_form_is_taken_and_the_recursion_is_bounded() -> None:
    assert isinstance(inverse(drawn(3, 8, 0), 8, 1.0), Primal)
    assert isinstance(inverse(drawn(8, 3, 0), 3, 1.0), Dual)
    assert isinstance(inverse(drawn(8, 3, 0), 3, 1.0, "recursion"), Recursion)
    with pytest.raises(BenchError, match=r"a recursion over 12,289 weights needs 1\.2 GB"):
        Recursion(torch.zeros(LARGEST + 1, 1), 1, 1.0)
    with pytest.raises(BenchError, match="must be above 0, not 0"):
        inverse(drawn(2, 2, 0), 2, 0.0)


def test_float32_gradients_are_summed_in_float64() -> None:
    matrix = drawn(40, 30, 1, 4.0).float()
    wanted = torch.linalg.inv(dense(matrix.double(), 30, 1e-6))
    condition = float(torch.linalg.cond(dense(matrix.double(), 30, 1e-6)))
    assert condition > 4e5
    assert torch.allclose(Dual(matrix, 30, 1e-6).diagonal, wanted.diagonal(), rtol=1e-6)


@given(size=sizes, damp=st.sampled_from([1e-4, 0.3]), share=st.floats(0, 1))
def test_the_joint_step_is_that_of_the_optimal_brain_surgeon(
    size: tuple[int, int, int], damp: float, share: float
) -> None:
    p, m, seed = size
    matrix, weights = drawn(p, m, seed), drawn(p, 1, seed + 1)[:, 0]
    keep = torch.rand(p, generator=torch.Generator().manual_seed(seed)) >= share
    step = joint_step(matrix, weights, keep, m, damp)
    whole, gone = torch.linalg.inv(dense(matrix, m, damp)), ~keep
    wanted = -whole[:, gone] @ torch.linalg.solve(whole[gone][:, gone], weights[gone])
    assert torch.allclose(step, wanted, rtol=1e-6, atol=1e-7)
    assert torch.equal(step[gone], -weights[gone])


def test_products_over_many_chunks_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, vector = drawn(23, 4, 5), drawn(23, 1, 6)[:, 0]
    wanted = matrix.T @ matrix, matrix.T @ vector, Dual(matrix, 9, 0.1).times(vector)
    monkeypatch.setattr("synobench.fisher.CHUNK", 7)
    found = gram(matrix), through(matrix, vector), Dual(matrix, 9, 0.1).times(vector)
    for a, b in zip(found, wanted, strict=True):
        assert torch.allclose(a, b)


def test_blocks_stay_within_their_tensors() -> None:
    spans = (Span("a", 0, 5, (5,)), Span("b", 5, 7, (2,)))
    assert blocks(spans, 0) == [slice(0, 5), slice(5, 7)]
    assert blocks(spans, -1) == [slice(0, 7)]
    assert blocks(spans, 2) == [slice(0, 2), slice(2, 4), slice(4, 5), slice(5, 7)]


def test_the_loss_by_the_fisher_matrix() -> None:
    matrix = drawn(4, 3, 7).float()
    weights = torch.ones(4)
    found = SampleGradients(matrix, matrix.sum(1), 5, weights, (), matrix.square().sum(0).double(), torch.arange(3))
    change = torch.tensor([-1.0, 0.5, 0.0, 2.0], dtype=torch.float64)
    wanted = float((matrix.double().T @ change).square().sum()) / 10
    assert fisher_loss(found, weights + change.float()) == pytest.approx(wanted)
