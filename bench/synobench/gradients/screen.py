r"""Screening: which images need a backward pass, told from one cheap forward pass over all.

For the softmax cross-entropy the gradient of an image is that of its logits, :math:`r_i = softmax_i - onehot_i`, sent
back through the network; so its norm follows :math:`||r_i||` as far as the network passes all directions on alike. That
is looked at, not assumed: images spread evenly over the order of the residual are computed first, and where the
ratios of norm and residual spread by more than `SPREAD`, everything is computed. Images of next to no residual say
nothing about the others, and do not count there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from synobench.networks import logits

if TYPE_CHECKING:
    from synobench.feed import Feed
    from synobench.gradients.collect import Collector
    from synobench.gradients.plan import Ask
    from synobench.gradients.ways import Problem

PROBE = 10
"""One image in so many is computed whatever its residual, to see how norms follow residuals."""

SPREAD = 10.0
"""Largest over smallest ratio of norm and residual among those, up to which residuals are trusted."""

FAINT = 1e-6
"""Images of the smallest residuals, which hold this share of the sum of their squares, do not count for the spread."""

REVISION = 2
"""Raised whenever screening takes other rows: part of the name under which screened gradients are kept."""

BATCH = 256
"""Images of a forward pass."""


def screened(collector: Collector, drawn: Tensor, ask: Ask) -> tuple[Tensor, float, Tensor | None]:
    """Compute rows, those of the largest residual first, until they hold the share asked for.

    With rho the largest ratio of norm and residual seen so far, the images left are taken to hold at most
    rho² sum ||r||²; it stops once what is held is at least `ask.screen` of that and itself. An estimate, not a
    proof: an image of a ratio not yet seen could hold more.

    Returns:
        which drawn images have rows, in the order computed; the share of the trace that they hold by that estimate; and
        the sum of the other images' gradients: NaN where it was not asked for.
    """
    sizes = residuals(collector.problem, collector.feed, drawn)
    order = sizes.argsort(descending=True, stable=True)
    probe, later = order[::PROBE], order[torch.arange(len(order)) % PROBE != 0]
    seen = _ratios(collector.add(drawn[probe]), sizes[probe])
    trusted = _alike(seen, sizes[probe])
    step, done = collector.planned.chunk, 0
    while done < len(later) and not (trusted and _share(collector, sizes, seen, later[done:]) >= ask.screen):
        some = later[done : done + step]
        seen = torch.cat([seen, _ratios(collector.add(drawn[some]), sizes[some])])
        done += len(some)
    left = later[done:]
    taken = torch.cat([probe, later[:done]])
    share = _share(collector, sizes, seen, left) if len(left) else 1.0
    return taken, share, _sum_of(collector, drawn[left], ask.total)


def _alike(ratios: Tensor, sizes: Tensor) -> bool:
    """Say whether the squared ratios of images whose residuals fall, and count, lie within `SPREAD` of one another."""
    squares = sizes[sizes > 0].square()
    faint = squares.flip(0).cumsum(0).flip(0) <= FAINT * squares.sum()
    counted = ratios[~faint]
    return len(counted) > 0 and bool(counted.max() <= SPREAD**2 * counted.min())


def _ratios(squares: Tensor, sizes: Tensor) -> Tensor:
    """Return the squared ratios of norm and residual, of images whose residual is not zero."""
    return (squares.cpu() / sizes.square())[sizes > 0]


def _share(collector: Collector, sizes: Tensor, seen: Tensor, left: Tensor) -> float:
    held = float(collector.squares.sum())
    rest = float(seen.max() * sizes[left].square().sum())
    return held / (held + rest) if held + rest > 0 else 1.0


def residuals(problem: Problem, feed: Feed, places: Tensor) -> Tensor:
    """Return ||softmax - onehot|| of each image, [n] float64, on the CPU."""
    found = []
    with torch.no_grad():
        for inputs, labels in feed.batches(BATCH, places):
            out = logits(problem.model, inputs).double()
            found.append((out.softmax(1) - F.one_hot(labels, out.shape[1])).norm(dim=1))
    return torch.cat(found).cpu()


def _sum_of(collector: Collector, places: Tensor, wanted: bool) -> Tensor | None:
    """Return the sum of images' gradients [p] by ordinary backward passes over batches, NaN where it is not wanted."""
    if not len(places):
        return None
    weights = list(collector.problem.weights.values())
    total = torch.zeros(collector.canvas.weights, device=collector.feed.device)
    if not wanted:
        return total.fill_(torch.nan)
    for inputs, labels in collector.feed.batches(BATCH, places):
        loss = F.cross_entropy(logits(collector.problem.model, inputs), labels, reduction="sum")
        found = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        total += torch.cat([gradient.flatten() for gradient in found])
    return total
