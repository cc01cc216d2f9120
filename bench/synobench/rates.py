"""Learning rates over a phase's budget, the same for every rule that uses them."""

from __future__ import annotations

import math

SCHEDULES = ("cosine", "constant")
"""What becomes of the rate after the warm-up: a half cosine to zero, or nothing."""


def rate_at(update: int, total: int, warmup: int, rate: float, schedule: str = "cosine") -> float:
    """Return the learning rate of one update, counted from 0: linear warm-up to `rate`, then the schedule."""
    if update < warmup:
        return rate * (update + 1) / warmup
    if schedule == "constant":
        return rate
    done = (update - warmup) / max(1, total - warmup)
    return rate * 0.5 * (1.0 + math.cos(math.pi * done))
