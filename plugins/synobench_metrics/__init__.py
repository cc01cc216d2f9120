"""Columns that are computed from one record: accuracy, sparsity, compression, and what each phase cost."""

from __future__ import annotations

from collections.abc import Iterator

from synobench.entries import MetricEntry
from synobench.hookspecs import hookimpl

_OWN = "none: arithmetic on the record"
_TABLE = (
    ("top1", "top-1 accuracy on the test split", "higher", "fraction", _OWN),
    ("top5", "top-5 accuracy on the test split", "higher", "fraction", _OWN),
    ("validation", "top-1 accuracy on the held-out training images", "higher", "fraction", _OWN),
    ("sparsity", "fraction of the prunable weights that was removed", "higher", "fraction", _OWN),
    ("compression", "prunable weights over those that are kept", "higher", "ratio", "Blalock2020"),
    ("parameters-kept", "parameters that are kept, biases and normalisation included", "lower", "parameters", _OWN),
    ("train-seconds", "wall-clock seconds of training; compare within one machine", "lower", "s", _OWN),
    ("train-cpu-seconds", "seconds of the processor in training, over all threads", "lower", "s", _OWN),
    ("prune-seconds", "wall-clock seconds of pruning; compare within one machine", "lower", "s", _OWN),
    ("prune-cpu-seconds", "seconds of the processor in pruning, over all threads", "lower", "s", _OWN),
    ("tune-seconds", "wall-clock seconds of fine-tuning; compare within one machine", "lower", "s", _OWN),
    ("train-samples", "samples seen in training", "lower", "samples", _OWN),
    ("prune-samples", "samples seen in pruning", "lower", "samples", _OWN),
    ("tune-samples", "samples seen in fine-tuning", "lower", "samples", _OWN),
    ("train-passes", "forward and backward passes of training", "lower", "passes", _OWN),
    ("samples-to-90", "samples until 90 % of training's final validation accuracy", "lower", "samples", _OWN),
    ("largest-update", "greatest |dW| / |W| of a tensor in a measured update", "lower", "ratio", _OWN),
    ("update-spread", "greatest over least |dW| / |W| by depth, in the worst measured update", "lower", "ratio", _OWN),
    ("backprop-cosine", "mean over depth of the cosine to backprop, when last measured", "higher", "cosine", _OWN),
    ("prune-passes", "forward and backward passes of pruning", "lower", "passes", _OWN),
    ("peak-memory", "greatest peak memory of any phase", "lower", "bytes", _OWN),
)


@hookimpl
def synobench_metrics() -> Iterator[MetricEntry]:
    """Register the columns of this plugin."""
    for name, summary, better, unit, citation in _TABLE:
        code = f"synobench_metrics.columns:{name.replace('-', '_')}"
        yield MetricEntry(name, summary=summary, better=better, unit=unit, citation=citation, run=code)
