"""From scores to masks: how many weights a target keeps, and which; ties are settled the same way everywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import torch
from torch import Tensor

from synobench.errors import ContractError

Masks = dict[str, Tensor]
"""Weight name -> bool tensor shaped like the weight; True where it stays."""


def kept_at_sparsity(total: int, sparsity: float) -> int:
    """Return how many of `total` weights stay: the most for which at least `sparsity` of them is removed.

    The decimal as written counts, not its binary neighbour: 0.9 of 10 weights removes 9.
    """
    return total - math.ceil(Fraction(str(sparsity)) * total)


def keep_globally(scores: Mapping[str, Tensor], kept: int) -> Masks:
    """Keep the `kept` highest scores over all tensors; among equal ones, the first in order of tensor and index.

    Raises:
        ContractError: a score is not finite.
    """
    names = list(scores)
    flat = torch.cat([_checked(n, scores[n]).reshape(-1) for n in names])
    parts = torch.split(_highest(flat, kept), [scores[n].numel() for n in names])
    return {n: part.view(scores[n].shape) for n, part in zip(names, parts, strict=True)}


def keep_by_layer(scores: Mapping[str, Tensor], kept: int) -> Masks:
    """Keep the same share of each tensor, `kept` in all; the remainder goes to the largest fractions first."""
    total = sum(s.numel() for s in scores.values())
    exact = {n: Fraction(kept * s.numel(), total) for n, s in scores.items()}
    counts = {n: int(share) for n, share in exact.items()}
    order = sorted(scores, key=lambda n: counts[n] - exact[n])
    for name in order[: kept - sum(counts.values())]:
        counts[name] += 1
    return {n: _highest(_checked(n, s).reshape(-1), counts[n]).view(s.shape) for n, s in scores.items()}


def keep_allocated(scores: Mapping[str, Tensor], counts: Sequence[int]) -> Masks:
    """Keep in each tensor, in order, the given number of its highest scores.

    Raises:
        ContractError: the counts do not fit the tensors.
    """
    fitting = len(counts) == len(scores) and all(
        0 <= k <= s.numel() for k, s in zip(counts, scores.values(), strict=False)
    )
    if not fitting:
        sizes = [s.numel() for s in scores.values()]
        raise ContractError(f"the allocation {list(counts)} does not fit the prunable tensors of sizes {sizes}")
    pairs = zip(scores.items(), counts, strict=True)
    return {name: _highest(_checked(name, s).reshape(-1), k).view(s.shape) for (name, s), k in pairs}


def _checked(name: str, scores: Tensor) -> Tensor:
    if not bool(torch.isfinite(scores).all()):
        raise ContractError(f"the scores of {name} are not all finite")
    exact = scores.dtype == torch.float64 or not scores.dtype.is_floating_point
    return scores.detach().to(torch.float64 if exact else torch.float32)


def _highest(flat: Tensor, kept: int) -> Tensor:
    if kept <= 0:
        return torch.zeros_like(flat, dtype=torch.bool)
    if kept >= flat.numel():
        return torch.ones_like(flat, dtype=torch.bool)
    threshold = flat.kthvalue(flat.numel() - kept + 1).values
    mask = flat > threshold
    tied = (flat == threshold).nonzero().view(-1)
    mask[tied[: kept - int(mask.sum())]] = True
    return mask
