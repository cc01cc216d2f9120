"""The layer that models build: currents in, spikes out, with the two shortcuts that spare memory traffic."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synobench.neurons import LIF
from synobench_neurons import loop
from synobench_neurons.autograd import fire

_HALVES = (torch.bfloat16, torch.float16)


class FusedLIF(nn.Module):
    """A leaky integrate-and-fire layer over all time steps (equation: `synobench.neurons`).

    Membranes start at zero in every call; half-precision currents are integrated in float32.

    Args:
        equation: the neuron's parameters.
    """

    spiking = True

    def __init__(self, equation: LIF) -> None:
        super().__init__()
        self.equation = equation

    def forward(self, currents: Tensor) -> Tensor:
        """Map currents [T, N, ...] to spikes [T, N, ...]."""
        return self._fire(currents, currents.shape[0], 1)

    def forward_constant(self, current: Tensor, steps: int, pool: int = 1) -> Tensor:
        """Map a current [N, ...], held for all steps, to spikes [steps, N, ...], averaged over pool x pool windows."""
        return self._fire(current.unsqueeze(0), steps, pool)

    def forward_pooled(self, currents: Tensor, pool: int) -> Tensor:
        """Map currents [T, N, C, H, W] to spikes averaged over pool x pool windows, [T, N, C, H / pool, W / pool]."""
        return self._fire(currents, currents.shape[0], pool)

    def reset(self) -> None:
        """Do nothing: no state outlives a call."""

    def extra_repr(self) -> str:
        """Name the equation in the printed model."""
        return str(self.equation)

    def _fire(self, currents: Tensor, steps: int, pool: int) -> Tensor:
        wide = currents.float() if currents.dtype in _HALVES else currents
        if torch.compiler.is_compiling():
            spikes = loop.run(wide, self.equation, steps)
            spikes = spikes if pool == 1 else _pool(spikes, pool)
        else:
            spikes = fire(wide, self.equation, steps, pool)
        return spikes.to(currents.dtype)


def _pool(spikes: Tensor, pool: int) -> Tensor:
    pooled = F.avg_pool2d(spikes.flatten(0, 1), pool)
    return pooled.view(*spikes.shape[:2], *pooled.shape[1:])
