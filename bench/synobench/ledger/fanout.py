"""Fan-out maps: how many weights each input position of a layer meets. Every SynOps total is linear in them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

COUNTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Modules that the ledger counts, subclasses included."""

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d


def operation(layer: nn.Module) -> str:
    """Return ``linear``, ``conv1d``, ``conv2d`` or ``conv3d``."""
    return f"conv{len(layer.kernel_size)}d" if isinstance(layer, _Conv) else "linear"


def fanout_map(layer: nn.Module, shape: tuple[int, ...], weights: Tensor | None) -> Tensor:
    """Return how many products each input position takes part in, int64 of `shape` (one sample, channels first).

    It is the gradient of ``sum conv(x, m)`` with respect to x, in float64: exact, and padding modes that repeat values
    at the border are followed through.

    Args:
        layer: a module of `COUNTED`.
        shape: of its input at one step; positions of a linear layer come before its features.
        weights: M(w), a boolean tensor like the weights; None for a layer without a zero weight.
    """
    if isinstance(layer, nn.Linear):
        by_feature = _by_feature(layer, weights)
        return by_feature.expand(shape).contiguous()
    assert isinstance(layer, _Conv)
    if weights is None:
        one = _input_gradient(layer, (1, *shape[1:]), torch.ones(1, 1, *layer.kernel_size, dtype=torch.float64), 1)
        return (one * (layer.out_channels // layer.groups)).expand(shape).contiguous()
    return _input_gradient(layer, shape, weights.to("cpu", torch.float64), layer.groups)


def _by_feature(layer: nn.Linear, weights: Tensor | None) -> Tensor:
    if weights is None:
        return torch.full((layer.in_features,), layer.out_features, dtype=torch.int64)
    return weights.sum(0, dtype=torch.int64).cpu()


def _input_gradient(layer: _Conv, shape: tuple[int, ...], weights: Tensor, groups: int) -> Tensor:
    conv, padding = _CONV[len(layer.kernel_size)], layer.padding
    with torch.enable_grad():
        x = torch.zeros(1, *shape, dtype=torch.float64, requires_grad=True)
        padded: Tensor = x
        if layer.padding_mode != "zeros":
            padded, padding = F.pad(x, layer._reversed_padding_repeated_twice, mode=layer.padding_mode), 0  # type: ignore[assignment]
        total = conv(padded, weights, None, layer.stride, padding, layer.dilation, groups).sum()
        (gradient,) = torch.autograd.grad(total, x)
    return gradient[0].round().to(torch.int64)
