r"""CHITA and CHITA++: pruning as sparse regression on per-sample gradients (Benbaki et al., ICML 2023).

Around the trained weights :math:`\bar w` the loss is taken as a quadratic, its Hessian as the empirical Fisher matrix
:math:`A^T A / n` plus a ridge. For at most k non-zero weights

.. math:: \min_{\|w\|_0 \le k} \tfrac12 \|A(w-\bar w)\|^2 + \tfrac{n\lambda}{2}\|w-\bar w\|^2 + \alpha 1^T A (w-\bar w)

is a sparse regression: weights are chosen and new values given to those that stay, with A alone in memory. CHITA solves
it once; CHITA++ in stages of rising sparsity, each with gradients of its own. docs/chita.md has every parameter.
"""

from __future__ import annotations

from collections.abc import Iterator

from synobench import PrunerEntry, hookimpl
from synobench_chita.params import Chita, ChitaStages

TARGETS = {"sparsity", "parameters"}


@hookimpl
def synobench_pruners() -> Iterator[PrunerEntry]:
    """Register the single-stage and the multi-stage form."""
    yield PrunerEntry(
        "chita",
        params=Chita,
        run="synobench_chita.pruner:SingleStage",
        summary="sparse regression on per-sample gradients, one stage",
        citation="Benbaki2023",
        revision=2,
        targets=TARGETS,
        needs={"per-sample-gradients", "validation"},
        changes_survivors=True,
        stochastic=True,
    )
    yield PrunerEntry(
        "chita++",
        params=ChitaStages,
        run="synobench_chita.pruner:MultiStage",
        summary="sparse regression on per-sample gradients, renewed in stages of rising sparsity",
        citation="Benbaki2023",
        targets=TARGETS,
        needs={"per-sample-gradients", "calibration"},
        changes_survivors=True,
        stochastic=True,
    )
