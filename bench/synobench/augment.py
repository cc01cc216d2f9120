"""Crop and flip of a whole batch on its device, drawn from a CPU generator so that every device sees the same."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

KINDS = ("none", "crop", "crop-flip")
"""What `augmented` can do."""


def augmented(inputs: Tensor, kind: str, draws: torch.Generator) -> Tensor:
    """Shift each image of [N, C, H, W] by up to 4 pixels for ``crop``, and mirror half of them for ``crop-flip``."""
    if kind == "none":
        return inputs
    inputs = crop(inputs, 4, draws)
    return flip(inputs, draws) if kind == "crop-flip" else inputs


def crop(inputs: Tensor, margin: int, draws: torch.Generator) -> Tensor:
    """Pad [N, C, H, W] by `margin` with zeros (in input units) and cut a window of H x W at a place drawn an image."""
    n, _, height, width = inputs.shape
    places = torch.randint(0, 2 * margin + 1, (2, n), generator=draws).to(inputs.device)
    padded = F.pad(inputs, (margin,) * 4)
    rows = places[0].view(-1, 1) + torch.arange(height, device=inputs.device)
    columns = places[1].view(-1, 1) + torch.arange(width, device=inputs.device)
    images = torch.arange(n, device=inputs.device)
    return padded[images.view(-1, 1, 1), :, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2).contiguous()


def flip(inputs: Tensor, draws: torch.Generator) -> Tensor:
    """Mirror each image of [N, C, H, W] left to right with probability one half."""
    chosen = torch.rand(inputs.shape[0], generator=draws).to(inputs.device) < 0.5
    return torch.where(chosen.view(-1, 1, 1, 1), inputs.flip(3), inputs)
