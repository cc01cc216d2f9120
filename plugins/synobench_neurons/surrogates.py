"""Surrogate derivatives of the spike, as updates in place: carry += gradient * ds/dh at u = h - threshold.

All three are even functions, so that the sign in which u is kept does not matter. `u` is overwritten.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Surrogate = Callable[[Tensor, Tensor, Tensor, float], None]
"""``(carry, gradient, u, alpha)``; gradient broadcasts to the shape of the others."""


def atan(carry: Tensor, gradient: Tensor, u: Tensor, alpha: float) -> None:
    """Add gradient * alpha / (2 (1 + (pi alpha u / 2)^2)) (Fang et al. 2021)."""
    torch.addcmul(u.new_ones(()), u, u, value=(0.5 * math.pi * alpha) ** 2, out=u)
    carry.addcdiv_(gradient, u, value=0.5 * alpha)


def sigmoid(carry: Tensor, gradient: Tensor, u: Tensor, alpha: float) -> None:
    """Add gradient * alpha sigma(alpha u) (1 - sigma(alpha u)) (Zenke and Ganguli 2018)."""
    u.mul_(alpha).sigmoid_()
    u.addcmul_(u, u, value=-1.0)
    carry.addcmul_(gradient, u, value=alpha)


def triangle(carry: Tensor, gradient: Tensor, u: Tensor, alpha: float) -> None:
    """Add gradient * alpha max(0, 1 - |alpha u|) (Bellec et al. 2018)."""
    u.abs_().mul_(-alpha).add_(1.0).clamp_(min=0.0)
    carry.addcmul_(gradient, u, value=alpha)


SURROGATES: dict[str, Surrogate] = {"atan": atan, "sigmoid": sigmoid, "triangle": triangle}
"""By the name in the neuron equation."""
