"""synobench: a bench for pruning and training energy-frugal networks.

Everything a plugin needs to register itself is importable from here, without torch.
"""

from synobench.entries import (
    API,
    CheckpointEntry,
    CounterEntry,
    DatasetEntry,
    ExecutorEntry,
    ExporterEntry,
    Layout,
    MetricEntry,
    ModelEntry,
    NeuronEntry,
    PrunerEntry,
    Rebuild,
    RemoteFile,
    RendererEntry,
    RuleEntry,
    SuiteEntry,
)
from synobench.errors import BenchError, ContractError, SealedError
from synobench.hookspecs import hookimpl
from synobench.neurons import LIF
from synobench.params import NoParams, param

__all__ = [
    "API",
    "LIF",
    "BenchError",
    "CheckpointEntry",
    "ContractError",
    "CounterEntry",
    "DatasetEntry",
    "ExecutorEntry",
    "ExporterEntry",
    "Layout",
    "MetricEntry",
    "ModelEntry",
    "NeuronEntry",
    "NoParams",
    "PrunerEntry",
    "Rebuild",
    "RemoteFile",
    "RendererEntry",
    "RuleEntry",
    "SealedError",
    "SuiteEntry",
    "hookimpl",
    "param",
]
