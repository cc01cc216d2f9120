"""The neuron equation as a plain loop over the steps: what a compiler can trace and fuse by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from synobench.neurons import LIF


class Spike(torch.autograd.Function):
    """The step function at u >= 0, its derivative replaced by the equation's surrogate."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, equation: LIF) -> Tensor:
        """Return 1 where u >= 0, else 0."""
        ctx.save_for_backward(u)
        ctx.equation = equation
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Multiply by the surrogate derivative at u."""
        (u,) = ctx.saved_tensors
        return gradient * slope(u, ctx.equation), None


def slope(u: Tensor, equation: LIF) -> Tensor:
    """Return the surrogate derivative of the spike at u = h - threshold."""
    alpha = equation.alpha
    if equation.surrogate == "atan":
        return 0.5 * alpha / (1.0 + (0.5 * math.pi * alpha * u).square())
    if equation.surrogate == "sigmoid":
        s = torch.sigmoid(alpha * u)
        return alpha * s * (1.0 - s)
    return alpha * (1.0 - (alpha * u).abs()).clamp(min=0.0)


spike: Callable[[Tensor, LIF], Tensor] = Spike.apply


def run(currents: Tensor, equation: LIF, steps: int) -> Tensor:
    """Return the spikes [steps, N, ...] under currents [steps, N, ...], or [1, N, ...] held for all steps."""
    v, spikes = torch.zeros_like(currents[0]), []
    for t in range(steps):
        h = equation.beta * v + currents[t if currents.shape[0] == steps else 0]
        s = spike(h - equation.threshold, equation)
        reset = s.detach() if equation.detach_reset else s
        v = h * (1.0 - reset) if equation.reset == "hard" else h - equation.threshold * reset
        spikes.append(s)
    return torch.stack(spikes)
