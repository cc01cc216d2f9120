"""The output's part of the energy: a target, clamped or nudged, under squared error or cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Output:
    """What the last stage is held against.

    Args:
        labels: [N].
        target: [N, classes]: one-hot labels, or those mixed with the feed-forward output where it is only nudged.
        kind: ``mse`` or ``cross-entropy``.
        precision: the weight of this part.
        clamped: whether the target is the labels' ones, not on the way there.
    """

    labels: Tensor
    target: Tensor
    kind: str
    precision: float
    clamped: bool = False

    def error(self, out: Tensor) -> Tensor:
        """Return the error of the last stage's output [N, classes] or [T, N, classes], shaped like it.

        It is less the derivative of `energy`; a network in time is read by its mean.
        """
        read = told(out)
        off = self.target - (read if self.kind == "mse" else torch.softmax(read, 1))
        if self.precision != 1.0:
            off = off * self.precision
        return off if out.dim() == 2 else (off / out.shape[0]).expand_as(out)

    def energy(self, out: Tensor) -> float:
        """Return this part of the energy, summed over the batch."""
        read = told(out)
        if self.kind == "mse":
            off = (self.target - read).view(-1)
            return 0.5 * self.precision * float(torch.dot(off, off))
        return -self.precision * float(torch.dot(self.target.view(-1), torch.log_softmax(read, 1).view(-1)))

    def loss(self, out: Tensor) -> Tensor:
        """Return the mean loss of a batch against its labels."""
        read = told(out).float()
        if self.kind == "mse":
            off = ((self.target if self.clamped else one_hot(self.labels, read)) - read).view(-1)
            return torch.dot(off, off).mul_(0.5 / len(read))
        return F.cross_entropy(read, self.labels)


def told(out: Tensor) -> Tensor:
    """Return [N, classes]: an ordinary network's output, the mean over time of a spiking one's."""
    return out if out.dim() == 2 else out.mean(0)


def one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """Return labels [N] as ones in zeros shaped like [N, classes]."""
    return torch.zeros_like(like).scatter_(1, labels.unsqueeze(1), 1.0)


def output_of(out: Tensor, labels: Tensor, kind: str, precision: float, nudge: float) -> Output:
    """Return the output's part, its target `nudge` of the way from the feed-forward output to the labels."""
    read = told(out)
    target = one_hot(labels, read)
    if nudge != 1.0:
        given = read if kind == "mse" else torch.softmax(read, 1)
        target = given + nudge * (target - given)
    return Output(labels, target, kind, precision, clamped=nudge == 1.0)
