"""snnTorch as a neuron backend of the bench's models."""

from __future__ import annotations

from collections.abc import Iterable

from synobench.entries import NeuronEntry
from synobench.hookspecs import hookimpl


@hookimpl
def synobench_neurons() -> Iterable[NeuronEntry]:
    """Register the backend ``snntorch``."""
    return (
        NeuronEntry(
            "snntorch",
            summary="snnTorch's Leaky neuron, step by step",
            citation="Eshraghian2023",
            run="synobench_snntorch.module:SnnTorchLIF",
            resets=frozenset({"hard", "soft"}),
            surrogates=frozenset({"atan", "sigmoid", "triangle"}),
        ),
    )
