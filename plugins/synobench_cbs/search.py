"""CBS-S: randomised magnitude pruning, and local search by exchanges (Yu et al. 2022, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synobench.fisher import chunks, through

Judge = Callable[[Tensor], float]
"""Tells how bad it is that a set of weights [p] goes."""

MOST_PARTS = 1000
"""Randomised magnitude pruning shuffles the weights into at most so many parts, and prunes each by magnitude."""


@dataclass
class Programme:
    """The quadratic binary programme, and the set of weights that go.

    2 n f(Z) = sum over blocks ||A_Z w_Z||² + n lambda ||w_Z||².

    Args:
        matrix: A', [p, m].
        weights: [p], float64.
        parts: the blocks of the Fisher matrix.
        drawn: n.
        damp: lambda.
        gone: [p], bool: Z.
    """

    matrix: Tensor
    weights: Tensor
    parts: Sequence[slice]
    drawn: int
    damp: float
    gone: Tensor

    def __post_init__(self) -> None:
        squares = torch.cat([part.square().sum(1) for part in chunks(self.matrix)])
        # The damping couples a weight with itself alone: it is in no image.
        self.ridge = self.drawn * self.damp * self.weights.square()
        self.own = self.weights.square() * squares + self.ridge
        bounds = torch.tensor([part.stop for part in self.parts], device=self.weights.device)
        self.block = torch.bucketize(torch.arange(len(self.weights), device=self.weights.device), bounds, right=True)
        self.image()

    def image(self) -> None:
        """Compute A_Z w_Z of each block anew."""
        moved = torch.where(self.gone, self.weights, 0.0)
        self.images = torch.stack([through(self.matrix[part], moved[part]) for part in self.parts])

    def value(self) -> float:
        """Return 2 f(Z)."""
        return (float(self.images.square().sum()) + float(self.ridge[self.gone].sum())) / self.drawn

    def worth(self) -> Tensor:
        """Return for each weight [p] what 2 f gains as it goes; for one that is gone, what it holds of 2 f.

        In the precision of the gradients: it ranks, and no exchange rests on it.
        """
        kind = self.matrix.dtype
        pulls = [self.matrix[part] @ self.images[i].to(kind) for i, part in enumerate(self.parts)]
        pull = 2 * self.weights * torch.cat(pulls).double()
        return (pull + torch.where(self.gone, 2 * self.ridge - self.own, self.own)) / self.drawn

    def scaled(self, places: Tensor) -> Tensor:
        """Return w_i a_i for some weights, [len(places), m]."""
        return self.matrix[places].double() * self.weights[places, None]

    def exchange(self, out: int, back: int, vectors: tuple[Tensor, Tensor]) -> None:
        """Let `out` go and `back` return."""
        self.gone[out], self.gone[back] = True, False
        self.images[self.block[out]] += vectors[0]
        self.images[self.block[back]] -= vectors[1]


def randomised(weights: Tensor, kept: int, generator: torch.Generator) -> Tensor:
    """Return the weights that go [p] where a random partition of them is pruned part by part, by magnitude."""
    size = len(weights)
    parts = max(1, min(int(size**0.5), MOST_PARTS))
    order = torch.randperm(size, generator=generator).to(weights.device)
    part = torch.arange(size, device=weights.device) * parts // size
    ranked = torch.argsort(weights[order].abs(), descending=True, stable=True)
    ranked = ranked[torch.argsort(part[ranked], stable=True)]
    starts = torch.searchsorted(part, torch.arange(parts, device=weights.device))
    place = torch.arange(size, device=weights.device) - starts[part]
    sizes = torch.bincount(part, minlength=parts)
    # The share of each part that stays; what rounding leaves over goes to the parts in order.
    exact = torch.div(sizes * kept, size, rounding_mode="floor")
    exact[: kept - int(exact.sum())] += 1
    gone = torch.ones(size, dtype=torch.bool, device=weights.device)
    gone[order[ranked[place < exact[part]]]] = False
    return gone


def search(
    programme: Programme, threshold: float, reach: int, failures: int, sweeps: int, judge: Judge | None = None
) -> int:
    """Exchange weights until the most promising pair gains less than the threshold; return the sweeps that were made.

    A sweep ranks the removed weights by what they hold of 2 f, the kept ones by what they would add, and tries each
    removed weight with the partners around its own rank, on the state that earlier exchanges of the sweep left.

    Args:
        programme: its set is left at the end of the search, or at the sweep that the judge likes best.
        threshold: the least gain in 2 f that an exchange must bring.
        reach: how far from its own rank a partner is looked for.
        failures: weights without a partner after which a sweep ends.
        sweeps: at most.
        judge: tells how bad a set is; without one the search alone decides.
    """
    best, least = programme.gone.clone(), judge(programme.gone) if judge else 0.0
    done = 0
    while done < sweeps and _sweep(programme, threshold, reach, failures):
        done += 1
        if judge and (found := judge(programme.gone)) < least:
            best, least = programme.gone.clone(), found
    if judge:
        programme.gone = best
    programme.image()
    return done


def _sweep(programme: Programme, threshold: float, reach: int, failures: int) -> int:
    gone, worth = programme.gone.clone(), programme.worth()
    removed, kept = gone.nonzero().squeeze(1), (~gone).nonzero().squeeze(1)
    if not len(removed) or not len(kept):
        return 0
    removed = removed[torch.argsort(worth[removed], descending=True, stable=True)]
    kept = kept[torch.argsort(worth[kept], stable=True)]
    used, done, failed = torch.zeros(len(kept), dtype=torch.bool, device=kept.device), 0, 0
    for i in range(len(removed)):
        window = torch.arange(max(0, i - reach), min(len(kept), i + reach), device=kept.device)
        window = window[~used[window]]
        chosen = _partner(programme, int(removed[i]), kept[window], threshold)
        if chosen is None:
            failed += 1
        else:
            used[window[chosen]] = True
            done += 1
        if failed > failures or (i == 0 and chosen is None) or i >= len(kept) + reach:
            break
    return done


def _partner(programme: Programme, back: int, candidates: Tensor, threshold: float) -> int | None:
    """Exchange one removed weight for the first of its candidates that lowers 2 f enough; return its place."""
    if not len(candidates):
        return None
    own, others = programme.scaled(torch.tensor([back], device=candidates.device))[0], programme.scaled(candidates)
    mine, theirs = programme.images[programme.block[back]], programme.images[programme.block[candidates]]
    held = 2 * float(own @ mine) + float(2 * programme.ridge[back] - programme.own[back])
    added = 2 * (others * theirs).sum(1) + programme.own[candidates]
    shared = torch.where(programme.block[candidates] == programme.block[back], 2 * (others @ own), 0.0)
    gains = (held - added + shared) / programme.drawn
    enough = (gains >= threshold).nonzero()
    if not len(enough):
        return None
    first = int(enough[0])
    programme.exchange(int(candidates[first]), back, (others[first], own))
    return first
