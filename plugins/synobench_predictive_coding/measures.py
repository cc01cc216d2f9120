"""What the paper looks at: the energy over inference, and how near the local gradients are to backprop's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from synobench.stages import Chain
from synobench_predictive_coding.inference import Inferred

MOMENTS = 8
"""Updates that are looked at in one phase, at most: the first of as many epochs, spread over the phase."""


class Measures:
    """Figures of a few updates, by sweep and by stage."""

    def __init__(self, epochs: int, updates: int, stages: Sequence[str]) -> None:
        count = min(MOMENTS, epochs)
        chosen = {round(i * (epochs - 1) / max(1, count - 1)) for i in range(count)}
        self._moments = {epoch * updates for epoch in chosen}
        self._stages = list(stages)
        self._energies: dict[int, list[float]] = {}
        self._cosines: dict[int, list[float]] = {}
        self._backprop: list[torch.Tensor] = []

    def due(self, update: int) -> bool:
        """Say whether an update is looked at."""
        return update in self._moments

    def cosine(self, chain: Chain, exact: Inferred, _update: int) -> None:
        """Take note of backprop's gradients, as Z-IL finds them."""
        self._backprop = _weights(chain, exact)

    def took(self, chain: Chain, found: Inferred, update: int) -> None:
        """Take note of what inference found at an update."""
        own = _weights(chain, found)
        self._cosines[update] = [_cosine(a, b) for a, b in zip(own, self._backprop, strict=True)]
        self._energies[update] = found.energies
        self._backprop = []

    def told(self) -> dict[str, Any]:
        """Return both as measurements, by the updates looked at."""
        out: dict[str, Any] = {}
        if self._cosines:
            at = sorted(self._cosines)
            out["cosine-to-backprop"] = {"by": self._stages, "at": at, "values": [self._cosines[u] for u in at]}
        if any(self._energies.values()):
            at = sorted(self._energies)
            most = max(map(len, self._energies.values()))
            rows = [[*self._energies[u], *[None] * (most - len(self._energies[u]))] for u in at]
            out["energy"] = {"by": [str(i) for i in range(most)], "at": at, "values": rows}
        return out

    def state(self) -> dict[str, Any]:
        """Return what was measured."""
        return {"energies": dict(self._energies), "cosines": dict(self._cosines)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self._energies, self._cosines = dict(state["energies"]), dict(state["cosines"])


def _weights(chain: Chain, found: Inferred) -> list[torch.Tensor]:
    """Return the gradient of each stage's weight."""
    every = (
        link.gradients(trace, error) for link, trace, error in zip(chain.links, found.traces, found.errors, strict=True)
    )
    return [gradients[0][1] for gradients in every]


def _cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the cosine between two gradients; 0 where either is nothing."""
    a, b = a.double().flatten(), b.double().flatten()
    whole = float(a.norm() * b.norm())
    return float(a @ b) / whole if whole else 0.0
