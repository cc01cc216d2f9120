"""The bench's own neuron backend: a leaky integrate-and-fire layer fused over all time steps."""

from __future__ import annotations

from collections.abc import Iterable

from synobench.entries import NeuronEntry
from synobench.hookspecs import hookimpl


@hookimpl
def synobench_neurons() -> Iterable[NeuronEntry]:
    """Register the backend ``fused``."""
    return (
        NeuronEntry(
            "fused",
            summary="multi-step LIF with a hand-written backward pass, computed in chunks that stay in cache",
            citation="Neftci2019",
            run="synobench_neurons.module:FusedLIF",
            resets=frozenset({"hard", "soft"}),
            surrogates=frozenset({"atan", "sigmoid", "triangle"}),
        ),
    )
