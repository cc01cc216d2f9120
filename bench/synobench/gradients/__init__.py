"""Per-sample gradients of any network of the bench: computed, bounded in memory, screened, certified and shared."""

from synobench.gradients.matrix import SampleGradients, Span, drop_rows

__all__ = ["SampleGradients", "Span", "drop_rows"]
