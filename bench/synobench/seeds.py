"""One derivation of seeds: from (seed, purpose, epoch) alone, never from a method, a target or a generator's position.

That is what pairs methods: two of them at one seed see the same initial weights, the same order and the same crops.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, purpose: str, epoch: int = 0) -> int:
    """Return a 63-bit seed for one purpose at one epoch of the run that carries `seed`."""
    digest = hashlib.sha256(f"synobench/{seed}/{purpose}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, purpose: str, epoch: int = 0, device: str = "cpu") -> torch.Generator:
    """Return a torch generator seeded for one purpose at one epoch."""
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, purpose, epoch))


def reseed(seed: int, purpose: str, epoch: int = 0) -> None:
    """Seed the global generators of Python, NumPy and torch, for code that draws from them unasked."""
    import random

    import numpy as np
    import torch

    value = derive(seed, f"global/{purpose}", epoch)
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.manual_seed(value)
