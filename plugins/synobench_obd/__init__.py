r"""Optimal Brain Damage: the weights whose removal raises the loss least, by its curvature along each weight alone.

With the gradient zero at the trained weights and the Hessian taken as diagonal, removing weight :math:`w_i` costs

.. math:: s_i = \tfrac{1}{2} h_{ii} w_i^2

(LeCun, Denker and Solla, NIPS 1989, equations 4 and 5). Here :math:`h_{ii}` is the diagonal of the empirical Fisher
information, the mean over samples of the squared gradient, in place of their back-propagated second derivatives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synobench import PrunerEntry, hookimpl, param

if TYPE_CHECKING:
    from synobench.surgery import Proposal
    from synobench.workbench import Workbench


@dataclass(frozen=True)
class OptimalBrainDamage:
    """The weights of highest saliency stay."""

    samples: int = param(1000, low=1, doc="images of the training split whose squared gradients are averaged")
    scope: str = param("global", choices=("global", "layer"), doc="compare over all tensors, or the same share of each")

    def prune(self, bench: Workbench) -> Proposal:
        """Score each weight by its saliency, made once for all targets."""
        made = bench.once("obd saliency", lambda: self._saliency(bench))
        return bench.keep_highest(made["saliency"], self.scope, **made["told"])

    def _saliency(self, bench: Workbench) -> dict[str, Any]:
        gradients = bench.sample_gradients(self.samples)
        curvature = gradients.matrix.norm(dim=1).square() / gradients.drawn
        saliency = gradients.weights.square() * curvature / 2
        return {"saliency": gradients.unflatten(saliency), "told": dict(gradients.told)}


@hookimpl
def synobench_pruners() -> Iterator[PrunerEntry]:
    """Register ``obd``."""
    yield PrunerEntry(
        "obd",
        params=OptimalBrainDamage,
        summary="highest w² h/2 stay, h the diagonal of the empirical Fisher",
        citation="LeCun1989",
        targets={"sparsity", "parameters", "synops"},
        needs={"per-sample-gradients"},
        stochastic=True,
    )
