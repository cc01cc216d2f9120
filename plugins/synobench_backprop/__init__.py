"""Backpropagation: cross-entropy or TET loss, SGD or AdamW, warm-up and cosine, crop and flip on the device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from synobench import RuleEntry, hookimpl, param


@dataclass(frozen=True)
class Backprop:
    """Parameters of the rule; the schedule spans the phase's whole budget."""

    optimizer: str = param("sgd", choices=("sgd", "adamw"), doc="the optimiser")
    rate: float = param(0.1, low=0.0, doc="learning rate at the end of the warm-up")
    momentum: float = param(0.9, low=0.0, high=1.0, doc="of SGD")
    decay: float = param(0.0, low=0.0, doc="weight decay (decoupled in AdamW)")
    warmup: float = param(0.0, low=0.0, doc="epochs of linear warm-up")
    schedule: str = param("cosine", choices=("cosine", "constant"), doc="of the rate after the warm-up, to zero")
    loss: str = param("cross-entropy", choices=("cross-entropy", "tet"), doc="of the mean output, or of each step's")
    augment: str = param("none", choices=("none", "crop", "crop-flip"), doc="random shifts by 4 pixels, and mirrors")
    compile: bool = param(False, doc="whether the network goes through torch.compile")


@hookimpl
def synobench_rules() -> Iterator[RuleEntry]:
    """Register the rule."""
    yield RuleEntry(
        "backprop",
        summary="gradient descent through the whole network, surrogate gradients through time for spiking ones",
        citation="Rumelhart1986",
        params=Backprop,
        run="synobench_backprop.rule:BackpropRule",
        penalty=True,
    )
