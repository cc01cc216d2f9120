r"""The Combinatorial Brain Surgeon: weights that cancel one another go together (Yu et al., ICML 2022).

Which weights go (CBS-S) is a quadratic binary programme over pairs: with H the Fisher matrix, in blocks, the removed
set Z of the size asked for minimises

.. math:: f(Z) = \tfrac12 \sum_{i, j \in Z} w_i H_{ij} w_j .

It starts from the best of some randomised magnitude prunings and exchanges weights by local search. Those kept then
take the optimal brain surgeon's step for the whole set at once (CBS-U). With A the gradients, f is
:math:`\|A_Z w_Z\|^2 / 2n`, so that one vector a block, A_Z w_Z, tells what any exchange is worth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from synobench import PrunerEntry, hookimpl, param


@dataclass(frozen=True)
class CBS:
    """Selection by local search, and the joint update."""

    update: bool = param(True, doc="move the kept weights too (CBS-U); without it they stay as they are (CBS-S)")
    samples: int = param(1000, low=1, doc="images whose gradients make up the Fisher matrix")
    size: int = param(1, low=1, doc="images a row of gradients")
    damp: float = param(1e-5, low=1e-12, doc="lambda, added to the diagonal of the Fisher matrix")
    block: int = param(0, low=-1, doc="weights in a block of the Fisher matrix; 0: one block a tensor, -1: one in all")
    draws: int = param(10, low=0, doc="randomised magnitude prunings to start from, beside the plain one")
    judge: str = param(
        "loss", choices=("loss", "objective"), doc="what chooses among draws and sweeps: see `look`, or f"
    )
    look: int = param(1000, low=1, doc="training images whose loss judges a draw or a sweep")
    threshold: float = param(1e-4, low=0.0, doc="epsilon: an exchange lowers 2 f by at least this much")
    reach: int = param(10, low=1, doc="range: how far from its own rank a partner is looked for")
    failures: int = param(20, low=0, doc="tau: weights without a partner after which a sweep ends")
    sweeps: int = param(100, low=0, doc="sweeps of the local search, at most")
    drop: float = param(0.01, low=0.0, doc="rows go while this share of the damping outweighs them; 0 keeps all")


@hookimpl
def synobench_pruners() -> Iterator[PrunerEntry]:
    """Register ``cbs``."""
    yield PrunerEntry(
        "cbs",
        params=CBS,
        run="synobench_cbs.pruner:Surgeon",
        summary="the set whose joint removal costs least by the Fisher matrix, and the joint step of the rest",
        citation="Yu2022",
        targets={"sparsity", "parameters"},
        needs={"per-sample-gradients"},
        changes_survivors=True,
        stochastic=True,
    )
