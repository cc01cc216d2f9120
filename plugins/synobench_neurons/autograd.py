"""The fused neuron as an autograd function: only the input currents are kept, membranes are computed again.

For a layer of M neurons (all samples) the forward pass reads M T currents (M, if they are constant) and writes M T
spikes (M T / k^2, if they are pooled); the backward pass reads the same again and writes the gradient of the currents.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from synobench.neurons import LIF
from synobench_neurons.kernels import Chunk
from synobench_neurons.layout import Layout, chunks, is_channels_last, split_phases


def _layout(currents: Tensor, pool: int) -> Layout:
    return Layout(currents.shape[1:], is_channels_last(currents), pool)


def _blocks(rows: Tensor, equation: LIF, steps: int, constant: bool) -> list[tuple[slice, Chunk]]:
    """Pair each piece of the rows with its scratch."""
    return [(at, Chunk(equation, steps, constant, rows, split_phases(rows[0, at]).shape)) for at in chunks(rows)]


class Fire(torch.autograd.Function):
    """Currents [T, N, ...] (or [1, N, ...], held for `steps` steps) -> spikes [T, N, ...], pooled where `pool` > 1."""

    @staticmethod
    def forward(currents: Tensor, equation: LIF, steps: int, pool: int) -> Tensor:
        """Run the neuron over all steps."""
        layout, constant = _layout(currents, pool), currents.shape[0] != steps
        spikes = layout.empty(currents, steps, pool)
        rows, out = layout.rows(currents), layout.pooled_rows(spikes)
        for at, chunk in _blocks(rows, equation, steps, constant):
            chunk.forward(rows[:, at], out[:, at])
        return spikes

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        """Keep the currents."""
        currents, ctx.equation, ctx.steps, ctx.pool = inputs
        ctx.save_for_backward(currents)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient of the currents."""
        (currents,) = ctx.saved_tensors
        return gradient_of(currents, gradient, ctx.equation, ctx.pool, ctx.steps), None, None, None


def gradient_of(currents: Tensor, gradient: Tensor, equation: LIF, pool: int, steps: int) -> Tensor:
    """Return dL/dcurrents from dL/dspikes, shaped and laid out like the currents."""
    layout, constant = _layout(currents, pool), currents.shape[0] != steps
    result = layout.empty(currents, currents.shape[0])
    rows, given, out = layout.rows(currents), layout.pooled_rows(gradient), layout.rows(result)
    for at, chunk in _blocks(rows, equation, steps, constant):
        chunk.backward(rows[:, at], given[:, at], out[:, at])
    return result
