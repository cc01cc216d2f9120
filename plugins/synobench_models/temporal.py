"""How a spiking network runs over time: [T, N] folded for ordinary layers, unfolded for neurons.

A backend may offer shortcuts (``forward_constant(current, steps, pool)``, ``forward_pooled(currents, pool)``) that give
the numbers of the plain path and move fewer bytes; they are left aside where someone watches the modules they skip.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

NeuronFactory = Callable[[], nn.Module]


def over_time(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply an ordinary layer to every step of x [T, N, ...] at once."""
    out: Tensor = layer(x.flatten(0, 1))
    return out.view(*x.shape[:2], *out.shape[1:])


def channels_last(image: Tensor) -> Tensor:
    """Lay an image [N, C, H, W] out so that convolutions and neurons after it work with channels innermost."""
    return image.movedim(1, -1).contiguous().movedim(-1, 1)


def fire(neuron: nn.Module, currents: Tensor, pool: nn.Module | None = None) -> Tensor:
    """Return the spikes [T, N, ...] that currents [T, N, ...] cause, pooled where a pooling layer is given."""
    side = _window(pool, currents)
    shortcut = getattr(neuron, "forward_pooled", None)
    if shortcut is not None and side > 1 and not _watched(neuron, pool):
        pooled: Tensor = shortcut(currents, side)
        return pooled
    spikes: Tensor = neuron(currents)
    return spikes if pool is None else over_time(pool, spikes)


def fire_constant(neuron: nn.Module, current: Tensor, steps: int, pool: nn.Module | None = None) -> Tensor:
    """Return the spikes [steps, N, ...] under one current [N, ...] held for all steps, as a static image causes it."""
    side = _window(pool, current)
    shortcut = getattr(neuron, "forward_constant", None)
    if shortcut is not None and side and not _watched(neuron, pool):
        spikes: Tensor = shortcut(current, steps, side)
        return spikes
    return fire(neuron, current.expand(steps, *current.shape), pool)


def _window(pool: nn.Module | None, x: Tensor) -> int:
    """Return the side of a pooling window that shortcuts can take (1: no pooling), 0 if they cannot."""
    if pool is None:
        return 1
    side = pool.kernel_size if isinstance(pool, nn.AvgPool2d) else 0
    if not isinstance(side, int) or side == 0 or pool.stride != side or pool.padding != 0:
        return 0
    return side if x.shape[-1] % side == 0 and x.shape[-2] % side == 0 else 0


def _watched(*modules: nn.Module | None) -> bool:
    """Tell whether a forward hook would miss a call: then every module must be called as itself."""
    return any(m is not None and (m._forward_hooks or m._forward_pre_hooks) for m in modules)
