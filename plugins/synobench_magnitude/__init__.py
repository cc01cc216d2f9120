r"""Magnitude pruning, the floor of every board, and the two controls beside it.

Magnitude keeps the weights of largest absolute value, :math:`s_i = |w_i|`, over all tensors or the same share of each
(Han et al., NeurIPS 2015). ``random`` draws its scores, ``none`` keeps everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synobench import PrunerEntry, hookimpl, param

if TYPE_CHECKING:
    from synobench.surgery import Proposal
    from synobench.workbench import Workbench

SCOPE = "compare over all tensors, or keep the same share of each"
ALLOCATION = "weights kept in each tensor, in the model's order, in place of scope and target: another method's own"


@dataclass(frozen=True)
class Magnitude:
    """The highest |w| stay."""

    scope: str = param("global", choices=("global", "layer"), doc=SCOPE)
    allocation: tuple[int, ...] = param((), low=0, doc=ALLOCATION)

    def prune(self, bench: Workbench) -> Proposal:
        """Score each weight by its magnitude."""
        scores = {name: weight.abs() for name, weight in bench.prunable.items()}
        return bench.keep_highest(scores, self.scope, self.allocation)


@dataclass(frozen=True)
class Threshold:
    """What lies at or above a fixed magnitude stays, however much that is."""

    threshold: float = param(0.001, low=0.0, doc="weights with |w| below it are removed")

    def prune(self, bench: Workbench) -> Proposal:
        """Mask each weight by the threshold."""
        from synobench.surgery import Proposal

        return Proposal({name: weight.abs() >= self.threshold for name, weight in bench.prunable.items()})


@dataclass(frozen=True)
class Random:
    """A uniform draw stays: what any method must beat."""

    scope: str = param("global", choices=("global", "layer"), doc=SCOPE)
    allocation: tuple[int, ...] = param((), low=0, doc=ALLOCATION)

    def prune(self, bench: Workbench) -> Proposal:
        """Score each weight by a draw of the run's seed."""
        import torch

        draws = bench.generator()
        scores = {name: torch.rand(weight.shape, generator=draws) for name, weight in bench.prunable.items()}
        return bench.keep_highest(scores, self.scope, self.allocation)


@dataclass(frozen=True)
class Unpruned:
    """The control: everything stays, and the same fine-tuning budget is spent."""

    def prune(self, bench: Workbench) -> Proposal:  # noqa: ARG002
        """Mask nothing."""
        from synobench.surgery import Proposal

        return Proposal({})


SHARES = {"sparsity", "parameters", "synops"}


@hookimpl
def synobench_pruners() -> Iterator[PrunerEntry]:
    """Register magnitude, its fixed-threshold form, random and none."""
    yield PrunerEntry("magnitude", params=Magnitude, summary="largest |w| stay", citation="Han2015", targets=SHARES)
    yield PrunerEntry(
        "magnitude-threshold",
        params=Threshold,
        summary="|w| at or above a fixed threshold stays",
        citation="Han2015",
        targets={"none"},
    )
    yield PrunerEntry(
        "random",
        params=Random,
        summary="a uniform draw stays",
        citation="none: control",
        targets=SHARES,
        stochastic=True,
    )
    yield PrunerEntry("none", params=Unpruned, summary="nothing is removed", citation="none: control", targets={"none"})
