"""Every hook of the bench. *Register* hooks take nothing and return entries; *event* hooks watch and return nothing.

The work itself is in what is registered, so that no hook can move another method's score.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pluggy

from synobench.entries import (
    CheckpointEntry,
    CounterEntry,
    DatasetEntry,
    ExecutorEntry,
    ExporterEntry,
    MetricEntry,
    ModelEntry,
    NeuronEntry,
    PrunerEntry,
    RendererEntry,
    RuleEntry,
    SuiteEntry,
)

PROJECT = "synobench"
"""The name of the entry-point group, and the prefix of every hook."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def synobench_datasets() -> Iterable[DatasetEntry]:
    """Register labelled image sets."""
    return ()


@hookspec
def synobench_checkpoints() -> Iterable[CheckpointEntry]:
    """Register trained networks in public files, which suites name as parents."""
    return ()


@hookspec
def synobench_models() -> Iterable[ModelEntry]:
    """Register networks, ordinary or spiking."""
    return ()


@hookspec
def synobench_neurons() -> Iterable[NeuronEntry]:
    """Register neuron backends: modules that compute the neuron equation over all time steps."""
    return ()


@hookspec
def synobench_rules() -> Iterable[RuleEntry]:
    """Register training rules, which train the parent and fine-tune what was pruned."""
    return ()


@hookspec
def synobench_pruners() -> Iterable[PrunerEntry]:
    """Register pruning methods."""
    return ()


@hookspec
def synobench_counters() -> Iterable[CounterEntry]:
    """Register SynOps counters: pure functions of a ledger."""
    return ()


@hookspec
def synobench_metrics() -> Iterable[MetricEntry]:
    """Register columns that are computed from one record."""
    return ()


@hookspec
def synobench_suites() -> Iterable[SuiteEntry]:
    """Register protocols."""
    return ()


@hookspec
def synobench_renderers() -> Iterable[RendererEntry]:
    """Register the files that a board is written as."""
    return ()


@hookspec
def synobench_executors() -> Iterable[ExecutorEntry]:
    """Register places where runs are carried out."""
    return ()


@hookspec
def synobench_exporters() -> Iterable[ExporterEntry]:
    """Register formats that a judged network can be written in."""
    return ()


@hookspec
def synobench_provenance() -> Mapping[str, Any] | None:
    """Return plain data to store in each record's provenance under this plugin's name; it is never part of the key."""
    return None


@hookspec
def synobench_run_started(job: Mapping[str, Any]) -> None:
    """Watch a run begin. `job` holds its key, suite and label."""


@hookspec
def synobench_run_progress(job: Mapping[str, Any], event: Mapping[str, Any]) -> None:
    """Watch a run go on. `event` holds ``phase``, ``done`` and ``total`` (updates), and figures by name."""


@hookspec
def synobench_run_finished(job: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Watch a run end. `record` is the record or failure as it was stored; changing it changes nothing."""


@hookspec
def synobench_board_built(board: Any) -> None:
    """Watch a board after it was computed and before it is rendered."""


@hookspec
def synobench_pages_built(site: Path) -> None:
    """Watch the site folder after the pages of a board were written: ``<site>/<suite>/<file>``."""
