r"""WoodFisher: the optimal brain surgeon on the empirical Fisher matrix (Singh and Alistarh, NeurIPS 2020).

With F the damped empirical Fisher matrix, in blocks, removing weight q alone costs and moves the others by

.. math:: \rho_q = \frac{w_q^2}{2 [F^{-1}]_{qq}}, \qquad \delta = -\frac{w_q}{[F^{-1}]_{qq}} F^{-1} e_q

(their equations 11 and 12). The weights of least :math:`\rho` go, compared over all layers ("joint" sparsification) or
within each, and the steps of all that go are added up, as if each went alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synobench import PrunerEntry, hookimpl, param

if TYPE_CHECKING:
    from synobench.fisher import Inverse
    from synobench.gradients import SampleGradients
    from synobench.surgery import Proposal
    from synobench.workbench import Workbench


@dataclass(frozen=True)
class WoodFisher:
    """The weights of highest cost of removal stay, and make up for the others."""

    samples: int = param(1000, low=1, doc="images whose gradients make up the Fisher matrix")
    size: int = param(1, low=1, doc="images a row of gradients")
    damp: float = param(1e-5, low=1e-12, doc="lambda, added to the diagonal of the Fisher matrix")
    block: int = param(0, low=-1, doc="weights in a block of the Fisher matrix; 0: one block a tensor, -1: one in all")
    scope: str = param("global", choices=("global", "layer"), doc="compare over all layers, or the same share of each")
    update: str = param("single", choices=("single", "joint", "none"), doc="the published sum of single steps, or OBS")
    inverse: str = param("auto", choices=("auto", "recursion"), doc="direct, or by the published recursion: the same")
    drop: float = param(0.01, low=0.0, doc="rows go while this share of the damping outweighs them; 0 keeps all")

    def prune(self, bench: Workbench) -> Proposal:
        """Remove the weights of least cost, and move those kept."""
        import torch

        from synobench.fisher import fisher_loss, joint_step
        from synobench.gradients import drop_rows
        from synobench.surgery import Proposal

        gradients = drop_rows(bench.sample_gradients(self.samples, self.size), self.damp, self.drop)
        inverses = list(self._inverses(gradients))
        diagonal = torch.cat([inverse.diagonal for _, inverse in inverses])
        costs = gradients.weights.double().square() / (2 * diagonal)
        masks = bench.keep_highest(gradients.unflatten(costs), self.scope).masks
        keep = torch.cat([masks[span.name].reshape(-1) for span in gradients.spans])
        weights = gradients.weights.double()
        pulls = torch.where(keep, 0.0, weights / diagonal)
        for part, inverse in inverses:
            if self.update == "joint":
                matrix = gradients.matrix[part]
                weights[part] += joint_step(matrix, weights[part], keep[part], gradients.drawn, self.damp)
            elif self.update == "single" and bool(pulls[part].any()):
                weights[part] -= inverse.times(pulls[part])
        weights = torch.where(keep, weights, 0.0).to(gradients.weights.dtype)
        told = {**gradients.told, "fisher_loss": fisher_loss(gradients, weights)}
        return Proposal(masks, gradients.unflatten(weights), told)

    def _inverses(self, gradients: SampleGradients) -> Iterator[tuple[slice, Inverse]]:
        from synobench.fisher import blocks, inverse

        for part in blocks(gradients.spans, self.block):
            yield part, inverse(gradients.matrix[part], gradients.drawn, self.damp, self.inverse)


@hookimpl
def synobench_pruners() -> Iterator[PrunerEntry]:
    """Register ``woodfisher``."""
    yield PrunerEntry(
        "woodfisher",
        params=WoodFisher,
        summary="highest w² / 2[F⁻¹] stay, moved by the sum of single steps of the optimal brain surgeon",
        citation="Singh2020",
        targets={"sparsity", "parameters"},
        needs={"per-sample-gradients"},
        changes_survivors=True,
        stochastic=True,
    )
