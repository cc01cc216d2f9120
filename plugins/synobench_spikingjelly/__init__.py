"""SpikingJelly as a neuron backend of the bench's models."""

from __future__ import annotations

from collections.abc import Iterable

from synobench.entries import NeuronEntry
from synobench.hookspecs import hookimpl


@hookimpl
def synobench_neurons() -> Iterable[NeuronEntry]:
    """Register the backend ``spikingjelly``."""
    return (
        NeuronEntry(
            "spikingjelly",
            summary="SpikingJelly's multi-step LIFNode (Triton kernels on CUDA)",
            citation="Fang2023",
            run="synobench_spikingjelly.module:JellyLIF",
            resets=frozenset({"hard", "soft"}),
            surrogates=frozenset({"atan", "sigmoid", "triangle"}),
        ),
    )
