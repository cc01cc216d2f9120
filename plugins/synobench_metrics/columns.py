"""Pure functions of a record; each returns None where the record lacks what it needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from synobench.measurements import rows

Record = Mapping[str, Any]


def top1(record: Record) -> float | None:
    """Return hits over images of the test split."""
    return _share(record, "outcome.test.top1")


def top5(record: Record) -> float | None:
    """Return hits among the five highest outputs, over images of the test split."""
    return _share(record, "outcome.test.top5")


def validation(record: Record) -> float | None:
    """Return hits over images of the held-out training images."""
    return _share(record, "outcome.validation")


def sparsity(record: Record) -> float | None:
    """Return removed over prunable weights."""
    prunable, kept = (_number(record, f"outcome.sparsity.{name}") for name in ("prunable", "kept"))
    return None if not prunable or kept is None else (prunable - kept) / prunable


def compression(record: Record) -> float | None:
    """Return prunable over kept weights, 1 / (1 - sparsity); None where nothing is kept (Blalock et al. 2020)."""
    prunable, kept = (_number(record, f"outcome.sparsity.{name}") for name in ("prunable", "kept"))
    return None if prunable is None or not kept else prunable / kept


def parameters_kept(record: Record) -> float | None:
    """Return the parameters that are kept."""
    return _number(record, "outcome.sparsity.parameters_kept")


def train_seconds(record: Record) -> float | None:
    """Return the seconds of training."""
    return _number(record, "cost.train.seconds")


def train_cpu_seconds(record: Record) -> float | None:
    """Return the seconds of the processor in training."""
    return _number(record, "cost.train.cpu_seconds")


def prune_seconds(record: Record) -> float | None:
    """Return the seconds of pruning."""
    return _number(record, "cost.prune.seconds")


def prune_cpu_seconds(record: Record) -> float | None:
    """Return the seconds of the processor in pruning."""
    return _number(record, "cost.prune.cpu_seconds")


def tune_seconds(record: Record) -> float | None:
    """Return the seconds of fine-tuning."""
    return _number(record, "cost.tune.seconds")


def train_samples(record: Record) -> float | None:
    """Return the samples seen in training."""
    return _number(record, "cost.train.samples")


def prune_samples(record: Record) -> float | None:
    """Return the samples seen in pruning."""
    return _number(record, "cost.prune.samples")


def tune_samples(record: Record) -> float | None:
    """Return the samples seen in fine-tuning."""
    return _number(record, "cost.tune.samples")


def train_passes(record: Record) -> float | None:
    """Return the forward and backward passes of training."""
    return _passes(record, "train")


def prune_passes(record: Record) -> float | None:
    """Return the forward and backward passes of pruning."""
    return _passes(record, "prune")


def samples_to_90(record: Record) -> float | None:
    """Return the training samples seen when the validation accuracy first reached 90 % of what training ended with.

    It was looked at after 1/16, 1/8, 1/4 and 1/2 of the first epoch and after each epoch; nothing is made up between.
    """
    curve, first = _at(record, "outcome.curves.train"), _table(record, "train/validation")
    if not curve or not first:
        return None
    goal, whole = 0.9 * curve[-1]["validation"], first[-1][0]
    looks = [*first, *([entry["epoch"] * whole, entry["validation"]] for entry in curve[1:])]
    return next((float(samples) for samples, accuracy in looks if accuracy >= goal), None)


def largest_update(record: Record) -> float | None:
    """Return the greatest |dW| / |W| that a tensor had in a measured update."""
    return _number(record, "outcome.measurements.train/largest-update")


def update_spread(record: Record) -> float | None:
    """Return the greatest over the least |dW| / |W| of an update by depth, in the measured update with the most.

    None where a norm is zero or was not finite.
    """
    updates = _table(record, "train/update-norm")
    if not updates or min(map(min, updates)) <= 0:
        return None
    return max(max(row) / min(row) for row in updates)


def backprop_cosine(record: Record) -> float | None:
    """Return the mean over depth of the cosine between a rule's update and backprop's gradient, when last measured."""
    updates = _table(record, "train/cosine-to-backprop")
    return sum(updates[-1]) / len(updates[-1]) if updates else None


def _table(record: Record, name: str) -> list[list[float]]:
    """Return the rows of a measurement; none where it is absent, or where a figure was not finite."""
    held = [row for _, row in rows(_at(record, f"outcome.measurements.{name}"))]
    found = [[one for one in row if one is not None] for row in held]
    return found if list(map(len, found)) == list(map(len, held)) else []


def _passes(record: Record, phase: str) -> float | None:
    forward, backward = (_number(record, f"cost.{phase}.{name}") for name in ("forward", "backward"))
    return None if forward is None or backward is None else forward + backward


def peak_memory(record: Record) -> float | None:
    """Return the greatest peak over the phases, in bytes; None unless a phase was measured."""
    held = [_number(record, f"cost.{phase}.peak_bytes") for phase in ("train", "prune", "tune", "judge")]
    return max((value for value in held if value is not None), default=None)


def _share(record: Record, path: str) -> float | None:
    hits, total = _number(record, f"{path}.hits"), _number(record, f"{path}.total")
    return None if hits is None or not total else hits / total


def _number(record: Record, path: str) -> float | None:
    """Return the finite number at the dotted `path`, or None."""
    value = _at(record, path)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _at(record: Record, path: str) -> Any:
    value: Any = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
