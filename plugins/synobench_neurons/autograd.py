"""The fused neuron as an autograd function: only the input currents are kept, membranes are computed again.

For a layer of M neurons (all samples) the forward pass reads M T currents (M, if they are constant) and writes M T
spikes (M T / k^2, if they are pooled); the backward pass reads the same again and writes the gradient of the currents.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from synobench.neurons import LIF
from synobench_neurons.kernels import Kernel
from synobench_neurons.layout import Layout, chunks, is_channels_last


class Fire(torch.autograd.Function):
    """Currents [T, N, ...] (or [1, N, ...], held for `steps` steps) -> spikes [T, N, ...], pooled where `pool` > 1."""

    @staticmethod
    def forward(currents: Tensor, equation: LIF, steps: int, pool: int) -> Tensor:
        """Run the neuron over all steps."""
        layout, kernel = _prepare(currents, equation, steps, pool)
        spikes = layout.empty(currents, steps, pool)
        flat, out = layout.flat(currents), layout.flat(spikes, pooled=True)
        for at in chunks(flat):
            kernel.forward(flat[:, at], out[:, at])
        return spikes

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        """Keep the currents."""
        currents, ctx.equation, ctx.steps, ctx.pool = inputs
        ctx.save_for_backward(currents)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient of the currents."""
        (currents,) = ctx.saved_tensors
        return gradient_of(currents, gradient, ctx.equation, ctx.steps, ctx.pool), None, None, None

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], currents: Tensor, *rest: Any) -> tuple[Tensor, int]:
        """Run a batch of networks as one larger batch of samples."""
        merged = _merge(currents, dims[0], info.batch_size)
        return _split(fire(merged, *rest), info.batch_size), 1


class FireGradient(torch.autograd.Function):
    """Currents and dL/dspikes -> dL/dcurrents, shaped and laid out like the currents; it has no derivative itself."""

    @staticmethod
    def forward(currents: Tensor, gradient: Tensor, equation: LIF, steps: int, pool: int) -> Tensor:
        """Run the neuron again, then back through all steps."""
        layout, kernel = _prepare(currents, equation, steps, pool)
        result = layout.empty(currents, currents.shape[0])
        flat, given, out = layout.flat(currents), layout.flat(gradient, pooled=True), layout.flat(result)
        for at in chunks(flat):
            kernel.backward(flat[:, at], given[:, at], out[:, at])
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        """Keep nothing."""

    @staticmethod
    def backward(ctx: Any, *_gradients: Tensor) -> Any:
        """Refuse: a surrogate derivative is not differentiated again."""
        raise NotImplementedError("the fused LIF has no second derivative")

    @staticmethod
    def vmap(
        info: Any, dims: tuple[int | None, ...], currents: Tensor, gradient: Tensor, *rest: Any
    ) -> tuple[Tensor, int]:
        """Run a batch of networks as one larger batch of samples."""
        merged = (_merge(x, dim, info.batch_size) for x, dim in zip((currents, gradient), dims, strict=False))
        return _split(gradient_of(*merged, *rest), info.batch_size), 1


fire: Callable[..., Tensor] = Fire.apply
"""``(currents, equation, steps, pool) -> spikes``."""

gradient_of: Callable[..., Tensor] = FireGradient.apply
"""``(currents, gradient, equation, steps, pool) -> gradient of the currents``."""


def _merge(x: Tensor, dim: int | None, size: int) -> Tensor:
    """Turn x with a batch dimension into [T, batch * N, ...]."""
    x = x.unsqueeze(1).expand(-1, size, *x.shape[1:]) if dim is None else x.movedim(dim, 1)
    return x.flatten(1, 2)


def _split(x: Tensor, size: int) -> Tensor:
    """Undo `_merge`: [T, batch, N, ...]."""
    return x.reshape(x.shape[0], size, -1, *x.shape[2:])


def _prepare(currents: Tensor, equation: LIF, steps: int, pool: int) -> tuple[Layout, Kernel]:
    layout = Layout(currents.shape[1:], is_channels_last(currents), pool)
    return layout, Kernel(equation, layout, steps, currents.shape[0] != steps, currents)
