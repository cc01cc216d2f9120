r"""M-FAC: matrix-free products with the inverse Fisher matrix (Frantar, Kurtic and Alistarh, NeurIPS 2021).

The static algorithm holds the inverse of :math:`\lambda I + A^T A / n` over all weights by products alone, and prunes
by the optimal brain surgeon's saliencies :math:`w_q^2 / 2[F^{-1}]_{qq}`, all steps added up. In several stages, the
share kept in geometric sequence and gradients taken anew, it stays closer to where the quadratic model holds; what was
removed stays removed. Their recursion over samples and the direct form used here give the same products.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synobench import PrunerEntry, hookimpl, param

if TYPE_CHECKING:
    from torch import Tensor

    from synobench.fisher import Inverse
    from synobench.gradients import SampleGradients
    from synobench.surgery import Proposal
    from synobench.workbench import Workbench


@dataclass(frozen=True)
class MFAC:
    """Stages of the optimal brain surgeon on a matrix-free inverse."""

    stages: int = param(1, low=1, doc="how often gradients are taken and weights removed; 16 in their one-shot runs")
    samples: int = param(1000, low=1, doc="images whose gradients make up the Fisher matrix")
    size: int = param(1, low=1, doc="images a row of gradients")
    damp: float = param(1e-5, low=1e-12, doc="lambda, added to the diagonal of the Fisher matrix")
    block: int = param(-1, low=-1, doc="weights in a block of the Fisher matrix; 0: one block a tensor, -1: one in all")
    drop: float = param(0.01, low=0.0, doc="rows go while this share of the damping outweighs them; 0 keeps all")

    def prune(self, bench: Workbench) -> Proposal:
        """Go down to the target in stages; the last one's weights are proposed."""
        import torch

        from synobench.fisher import fisher_loss
        from synobench.surgery import Proposal

        counts = self._counts(bench)
        keep, first = None, None
        for stage, kept in enumerate(counts):
            gradients = bench.sample_gradients(self.samples, self.size, salt=stage)
            first = first or gradients
            keep = torch.ones_like(gradients.weights, dtype=torch.bool) if keep is None else keep
            keep, weights = self._stage(gradients, keep, kept)
            for name, value in gradients.unflatten(weights).items():
                bench.prunable[name].copy_(value)
            bench.progress(stage + 1, self.stages, kept=kept)
        assert first is not None
        assert keep is not None
        told = {**first.told, "fisher_loss": fisher_loss(first, weights), "stages": float(self.stages)}
        return Proposal(first.unflatten(keep), first.unflatten(weights), told)

    def _counts(self, bench: Workbench) -> list[int]:
        """Return how many weights stay after each stage: the share kept falls by one factor from stage to stage."""
        weights = bench.prunable
        masks = bench.keep_highest({name: weight.abs() for name, weight in weights.items()}).masks
        total = sum(weight.numel() for weight in weights.values())
        last = sum(int(mask.sum()) for mask in masks.values())
        shares = [(last / total) ** ((stage + 1) / self.stages) for stage in range(self.stages - 1)]
        return [*(max(last, round(share * total)) for share in shares), last]

    def _stage(self, gradients: SampleGradients, keep: Tensor, kept: int) -> tuple[Tensor, Tensor]:
        """Remove the least salient of the weights that are left; return what stays, and all weights [p]."""
        import torch

        from synobench.gradients import drop_rows
        from synobench.selection import keep_globally

        live = list(self._live(drop_rows(gradients, self.damp, self.drop), keep))
        weights = gradients.weights.double()
        diagonal = torch.ones_like(weights)
        for places, inverse in live:
            diagonal[places] = inverse.diagonal
        # What was removed before has the least score of all, whatever stands in its diagonal.
        scores = torch.where(keep, weights.square() / (2 * diagonal), -1.0)
        still = keep_globally({"weights": scores}, kept)["weights"]
        pulls = torch.where(still, 0.0, weights / diagonal)
        for places, inverse in live:
            weights[places] -= inverse.times(pulls[places])
        return still, torch.where(still, weights, 0.0).to(gradients.weights.dtype)

    def _live(self, gradients: SampleGradients, keep: Tensor) -> Iterator[tuple[Tensor, Inverse]]:
        """Yield the places of each block's weights that are left, and the inverse over them."""
        from synobench.fisher import blocks, inverse

        for part in blocks(gradients.spans, self.block):
            places = part.start + keep[part].nonzero().squeeze(1)
            if len(places):
                whole = len(places) == part.stop - part.start
                matrix = gradients.matrix[part] if whole else gradients.matrix[places]
                yield places, inverse(matrix, gradients.drawn, self.damp)


@hookimpl
def synobench_pruners() -> Iterator[PrunerEntry]:
    """Register ``m-fac``."""
    yield PrunerEntry(
        "m-fac",
        params=MFAC,
        summary="highest w² / 2[F⁻¹] stay, F⁻¹ matrix-free over all weights, in one or several stages",
        citation="Frantar2021",
        targets={"sparsity", "parameters"},
        needs={"per-sample-gradients"},
        changes_survivors=True,
        stochastic=True,
    )
