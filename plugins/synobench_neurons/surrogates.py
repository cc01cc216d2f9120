"""Surrogate derivatives of the spike: out = base + gradient * ds/dh at u = h - threshold, element by element.

All three are even functions, so the sign in which u is kept does not matter.  `u` is overwritten; `base` may be `out`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Surrogate = Callable[[Tensor, Tensor, Tensor, float, Tensor], None]
"""``(base, gradient, u, alpha, out)``; base and gradient broadcast to the shape of u and out."""


def atan(base: Tensor, gradient: Tensor, u: Tensor, alpha: float, out: Tensor) -> None:
    """Derivative alpha / (2 (1 + (pi alpha u / 2)^2)) (Fang et al. 2021)."""
    torch.addcmul(u.new_ones(()), u, u, value=(0.5 * math.pi * alpha) ** 2, out=u)
    torch.addcdiv(base, gradient, u, value=0.5 * alpha, out=out)


def sigmoid(base: Tensor, gradient: Tensor, u: Tensor, alpha: float, out: Tensor) -> None:
    """Derivative alpha sigma(alpha u) (1 - sigma(alpha u)) (Zenke and Ganguli 2018)."""
    u.mul_(alpha).sigmoid_()
    u.addcmul_(u, u, value=-1.0)
    torch.addcmul(base, gradient, u, value=alpha, out=out)


def triangle(base: Tensor, gradient: Tensor, u: Tensor, alpha: float, out: Tensor) -> None:
    """Derivative alpha max(0, 1 - |alpha u|) (Bellec et al. 2018)."""
    u.abs_().mul_(-alpha).add_(1.0).clamp_(min=0.0)
    torch.addcmul(base, gradient, u, value=alpha, out=out)


SURROGATES: dict[str, Surrogate] = {"atan": atan, "sigmoid": sigmoid, "triangle": triangle}
"""By the name in the neuron equation."""
