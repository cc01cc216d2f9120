"""The fused neuron against a plain step loop written here, over resets, surrogates, layouts, shortcuts and dtypes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call, grad, vmap

from synobench.neurons import LIF
from synobench_models.params import SpikingConv
from synobench_models.spiking import conv
from synobench_neurons import layout, loop
from synobench_neurons.module import FusedLIF


class Step(torch.autograd.Function):
    """The Heaviside step with the derivative of the equation's surrogate, written out as in its definition."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, kind: str, alpha: float) -> Tensor:
        ctx.save_for_backward(u)
        ctx.kind, ctx.alpha = kind, alpha
        return torch.heaviside(u, u.new_ones(()))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (u,) = ctx.saved_tensors
        a = ctx.alpha
        if ctx.kind == "atan":
            slope = a / (2 * (1 + (math.pi / 2 * a * u) ** 2))
        elif ctx.kind == "sigmoid":
            slope = a * torch.sigmoid(a * u) * torch.sigmoid(-a * u)
        else:
            slope = torch.where((a * u).abs() < 1, a - a * (a * u).abs(), torch.zeros_like(u))
        return gradient * slope, None, None


def step_loop(x: Tensor, equation: LIF) -> Tensor:
    v, spikes = torch.zeros_like(x[0]), []
    for current in x:
        h = equation.beta * v + current
        s = Step.apply(h - equation.threshold, equation.surrogate, equation.alpha)
        spikes.append(s)
        r = s.detach() if equation.detach_reset else s
        v = h - h * r if equation.reset == "hard" else h - equation.threshold * r
    return torch.stack(spikes)


def pool_by(spikes: Tensor, side: int) -> Tensor:
    return F.avg_pool2d(spikes.flatten(0, 1), side).unflatten(0, spikes.shape[:2]) if side > 1 else spikes


equations = st.builds(
    LIF,
    tau=st.sampled_from([1.0, 1.5, 2.0, 3.0, 4.0]),
    threshold=st.sampled_from([0.5, 0.8, 1.0]),
    reset=st.sampled_from(["hard", "soft"]),
    surrogate=st.sampled_from(["atan", "sigmoid", "triangle"]),
    alpha=st.sampled_from([0.7, 2.0]),
    detach_reset=st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(
    equation=equations,
    steps=st.integers(1, 6),
    channels_last=st.booleans(),
    constant=st.booleans(),
    pool=st.integers(1, 3),
    chunk=st.sampled_from([1, 100, 1 << 20]),
    seed=st.integers(0, 2**31),
)
def test_spikes_and_gradients_are_those_of_the_step_loop(
    equation: LIF, steps: int, channels_last: bool, constant: bool, pool: int, chunk: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 3, 6, 12) if constant else (steps, 2, 3, 6, 12)
    x = torch.randn(shape, dtype=torch.float64, generator=generator) * 1.5
    if channels_last:
        x = x.movedim(-3, -1).contiguous().movedim(-1, -3)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    neuron = FusedLIF(equation)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "CHUNK", chunk)
        if constant:
            spikes = neuron.forward_constant(ours, steps, pool)
        else:
            spikes = neuron.forward_pooled(ours, pool) if pool > 1 else neuron(ours)
        expected = pool_by(step_loop(theirs.expand(steps, *shape) if constant else theirs, equation), pool)
        # Pooling with a side of 3 divides by 9 or multiplies by 1/9: that may differ in the last bit.
        assert torch.equal(spikes, expected) if pool != 3 else torch.allclose(spikes, expected, atol=1e-15, rtol=0)
        weights = torch.randn(expected.shape, dtype=torch.float64, generator=generator)
        spikes.backward(weights)
    expected.backward(weights)
    assert theirs.grad is not None
    assert float(theirs.grad.abs().max()) > 0
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-10, rtol=0)


@settings(max_examples=40, deadline=None)
@given(equation=equations, seed=st.integers(0, 2**31))
def test_the_loop_for_compilers_is_the_same_neuron(equation: LIF, seed: int) -> None:
    x = torch.randn(4, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    spikes, expected = loop.run(ours, equation, 4), step_loop(theirs, equation)
    assert torch.equal(spikes, expected)
    spikes[1:].sum().backward()
    expected[1:].sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_of_currents_is_that_of_spikes_and_gradients(dtype: torch.dtype) -> None:
    x = (torch.randn(4, 3, 40, generator=torch.Generator().manual_seed(3)) * 2).to(dtype).requires_grad_()
    spikes = FusedLIF(LIF())(x)
    assert spikes.dtype == dtype
    wide = x.detach().double().requires_grad_()
    expected = step_loop(wide, LIF())
    assert torch.equal(spikes.double(), expected)
    spikes.sum().backward()
    expected.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == dtype
    torch.testing.assert_close(x.grad.double(), wide.grad, atol=1e-5 if dtype != torch.bfloat16 else 2e-2, rtol=1e-2)


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_fires_at_exactly_the_threshold(reset: str) -> None:
    x = torch.tensor([[0.5, 1.0], [0.75, 1.0 - 2**-24]])
    spikes = FusedLIF(LIF(reset=reset))(x)  # h: 0.5, 0.75 + 0.25 = 1 exactly; 1 exactly, then a breath below 1
    assert spikes.tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_currents_are_left_as_they_were() -> None:
    x = torch.randn(4, 2, 3, 4, 4)
    kept = x.clone()
    FusedLIF(LIF()).forward_pooled(x.requires_grad_(), 2).sum().backward()
    FusedLIF(LIF(tau=3.0)).forward_constant(x[0], 4).sum().backward()
    assert torch.equal(x, kept)


def test_expanded_and_transposed_currents_are_read_as_they_are_seen() -> None:
    x = torch.randn(3, 5, 4, dtype=torch.float64)
    assert torch.equal(FusedLIF(LIF())(x.transpose(0, 1)), step_loop(x.transpose(0, 1), LIF()))
    held = x[:1].expand(6, -1, -1)
    assert torch.equal(FusedLIF(LIF())(held), step_loop(held, LIF()))


def test_no_neurons_no_spikes() -> None:
    assert FusedLIF(LIF())(torch.empty(4, 0, 3)).shape == (4, 0, 3)
    assert FusedLIF(LIF()).forward_pooled(torch.empty(4, 0, 3, 4, 4), 2).shape == (4, 0, 3, 2, 2)


def test_only_the_currents_are_kept_for_the_backward_pass() -> None:
    x, kept = torch.randn(4, 2, 3, 8, 8, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        FusedLIF(LIF()).forward_pooled(x, 2)
    assert [t.data_ptr() for t in kept] == [x.data_ptr()]


def test_there_is_no_second_derivative() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    (first,) = torch.autograd.grad(FusedLIF(LIF())(x).sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivative"):
        first.sum().backward()


def test_gradients_of_single_samples_by_vmap() -> None:
    torch.manual_seed(0)
    model = conv(SpikingConv(4, 3), (1, 8, 8), 10, lambda: FusedLIF(LIF(threshold=0.3))).double()
    images, labels = torch.randn(5, 1, 8, 8).double() * 2, torch.randint(0, 10, (5,))
    params = dict(model.named_parameters())

    def loss(params: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, params, (image[None],)).mean(0), label[None])

    together = vmap(grad(loss), (None, 0, 0))(params, images, labels)
    for i in range(5):
        alone = torch.autograd.grad(loss(params, images[i], labels[i]), list(params.values()))
        assert max(float(g.abs().max()) for g in alone) > 0
        for ours, theirs in zip(together.values(), alone, strict=True):
            torch.testing.assert_close(ours[i], theirs, atol=1e-12, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("pool", [1, 2])
def test_cuda_gives_the_numbers_of_the_cpu(pool: int) -> None:
    x = torch.randn(4, 3, 8, 8, 8, dtype=torch.float64)
    results = []
    for device in ("cpu", "cuda"):
        y = x.to(device, copy=True).requires_grad_()
        spikes = FusedLIF(LIF()).forward_pooled(y, pool)
        spikes.square().sum().backward()
        results.append((spikes.detach().cpu(), y.grad.cpu() if y.grad is not None else None))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1], atol=1e-12, rtol=0)
