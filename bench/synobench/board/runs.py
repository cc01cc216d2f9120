"""What a board reads from one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

Json = Any

PHASES = ("train", "prune", "tune", "judge")
"""The phases of the schedule that cost is told by."""

COST = ("seconds", "samples", "forward", "backward", "peak_bytes", "trials")
"""What is told of each phase: seconds, training samples seen, passes, peak memory and tuning trials."""


@dataclass(frozen=True)
class Score:
    """Hits of one run on the test split.

    Args:
        hits: number of ones in `mask`.
        total: number of test images.
        mask: a bit a test image, the first image in the highest bit.
    """

    hits: int
    total: int
    mask: bytes = field(repr=False)

    @property
    def accuracy(self) -> float:
        """Hits divided by images."""
        return self.hits / self.total


@dataclass(frozen=True)
class Run:
    """What a board reads from one record.

    Args:
        key: the record's key.
        inputs: its resolved inputs, as stored.
        top1, top5: scores counted from the masks; top5 is None where the record has none.
        validation: accuracy on the held-out training images, or None.
        prunable, kept: number of prunable weights, and of those that the masks keep.
        parameters, parameters_kept: the same over all parameters.
        counts: counter name -> column -> figure a sample; None where the ledger lacks it.
        metrics: metric name -> figure, or None.
        cost: phase -> seconds, samples, forward, backward, peak_bytes, trials; None where nobody measured.
        machine: the device as text; times are compared within one only.
        yardstick: gflops and gbps that the machine gave as the run began.
        code: version, commit and dirty of the bench that made the record.
        caveats: what its ledger says of its own figures.
        weights: digest of the parent's weights, or None.
        kept_by_tensor: the weights kept in each prunable tensor, in the model's order.
        digest: of its ledger's vectors, or None.
        libraries: name -> version of what it ran on.
        outputs: neurons of the last layer of the ledger, or None.
        joined: whether a layer of the ledger is fed by several others, as behind a skip connection; None where it is
            not told.
        training: tables that were measured in training, by name without ``train/``.
        mark: tells it from every other run, where it was read from a file: of the bytes of its record.
    """

    key: str
    inputs: Mapping[str, Json]
    top1: Score
    top5: Score | None
    validation: float | None
    prunable: int
    kept: int
    parameters: int
    parameters_kept: int
    counts: Mapping[str, Mapping[str, float | None]]
    metrics: Mapping[str, float | None]
    cost: Mapping[str, Mapping[str, float | None]]
    machine: str
    yardstick: Mapping[str, float]
    code: Mapping[str, Json]
    caveats: tuple[str, ...] = ()
    weights: str | None = None
    kept_by_tensor: tuple[int, ...] = ()
    digest: str | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)
    outputs: int | None = None
    joined: bool | None = None
    training: Mapping[str, Mapping[str, Json]] = field(default_factory=dict, repr=False)
    mark: bytes = field(default=b"", repr=False, compare=False)

    @cached_property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.inputs["seed"])

    @property
    def sparsity(self) -> float:
        """The fraction of the prunable weights that was removed."""
        return (self.prunable - self.kept) / self.prunable
