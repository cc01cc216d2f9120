"""Statistics: intervals over seeds here; verdicts, ranks, evidence, curves and robust figures in their modules."""

from synobench.stats.intervals import (
    ALPHA,
    HALF_POINT,
    LEVEL,
    POWER,
    Estimate,
    finite,
    interval,
    mean,
    paired,
    paired_ratio,
    sampling_error,
    seeds_needed,
    smallest_difference,
    standard_deviation,
    t_quantile,
)

__all__ = [
    "ALPHA",
    "HALF_POINT",
    "LEVEL",
    "POWER",
    "Estimate",
    "finite",
    "interval",
    "mean",
    "paired",
    "paired_ratio",
    "sampling_error",
    "seeds_needed",
    "smallest_difference",
    "standard_deviation",
    "t_quantile",
]
