"""What the bench measures of a training, whatever its rule: update norms by depth, and accuracy in the first epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from synobench.errors import ContractError
from synobench.measurements import ROOM, TRAINING, Measurement, figure, largest, tidy
from synobench.networks import prunable
from synobench.rules import Rule, Session

EPOCHS, TENSORS = 8, 48
"""The most epochs whose first update is measured, and the most tensors, spread evenly, first and last among them."""

LOOKS = tuple(Fraction(1, n) for n in (16, 8, 4, 2, 1))
"""The parts of the first epoch's updates after which validation data are looked at."""


class Gauge:
    """Measures one training as it goes; its state is complete after each epoch.

    Args:
        patterns: of the weight tensors that are measured: the prunable ones.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = list(patterns)
        self._held: dict[str, Tensor] = {}
        self._norms: list[tuple[int, list[float]]] = []
        self._looks: list[tuple[int, int, float]] = []

    def hold(self, session: Session, epoch: int) -> None:
        """Keep the weights as they are before an epoch whose first update is measured."""
        if epoch in spread(session.epochs, EPOCHS):
            self._held = {name: weight.detach().clone() for name, weight in self._weights(session.model).items()}

    @property
    def holding(self) -> bool:
        """Whether weights are held, which the next update is measured against."""
        return bool(self._held)

    def weigh(self, session: Session, update: int) -> None:
        """Measure |dW| / |W| of each tensor over one update, counted from 0, against the weights held before it."""
        now = self._weights(session.model)
        self._norms.append((update, [_relative(now[name].detach(), before) for name, before in self._held.items()]))
        self._held = {}

    def due(self, session: Session, epoch: int, update: int) -> bool:
        """Say whether validation data are to be looked at after an update, counted from 1 within its epoch."""
        return epoch == 0 and update in {max(1, round(part * session.updates)) for part in LOOKS}

    def look(self, update: int, samples: int, accuracy: float) -> None:
        """Take down the validation accuracy after so many updates and samples."""
        self._looks.append((update, samples, accuracy))

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs."""
        return {"norms": list(self._norms), "looks": list(self._looks)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a stored state."""
        self._norms = [(update, list(row)) for update, row in state["norms"]]
        self._looks = [(update, samples, accuracy) for update, samples, accuracy in state["looks"]]

    def told(self, model: nn.Module, rule: Rule) -> dict[str, Measurement]:
        """Return all measurements up to now, those of the rule's own beside the bench's.

        Raises:
            ContractError: the rule's are no measurements, take too much room, or are called like the bench's.
        """
        own = self._own(model)
        call: Callable[[], Mapping[str, Any]] = getattr(rule, "measurements", dict)
        told = {f"{TRAINING}{name}": value for name, value in call().items()}
        if both := sorted(own.keys() & told.keys()):
            raise ContractError(f"its measurement {both[0].removeprefix(TRAINING)!r} is one that the bench makes")
        return tidy({**told, **own}, ROOM["training"])

    def _own(self, model: nn.Module) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._norms:
            rows = [list(map(figure, norms)) for _, norms in self._norms]
            norms = {"by": list(self._weights(model)), "at": [update for update, _ in self._norms], "values": rows}
            found |= {f"{TRAINING}update-norm": norms, f"{TRAINING}largest-update": largest(norms)}
        if self._looks:
            at = [update for update, _, _ in self._looks]
            looks = [[samples, accuracy] for _, samples, accuracy in self._looks]
            found[f"{TRAINING}validation"] = {"by": ["samples", "accuracy"], "at": at, "values": looks}
        return found

    def _weights(self, model: nn.Module) -> dict[str, nn.Parameter]:
        weights = list(prunable(model, self._patterns).items())
        return dict(weights[i] for i in spread(len(weights), TENSORS))


def spread(count: int, most: int) -> list[int]:
    """Return at most `most` of the numbers below `count`, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(Fraction(i * (count - 1), most - 1)) for i in range(most)]


def _relative(now: Tensor, before: Tensor) -> float:
    # Norms are sums over millions: in single precision their last digits depend on the order of adding.
    norms = [torch.linalg.vector_norm(x, dtype=torch.float64) for x in (now.double() - before.double(), before)]
    return float(norms[0] / norms[1])
