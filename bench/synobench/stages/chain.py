"""A network's stages with their products, and the passes that they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from synobench.stages.opaque import Opaque
from synobench.stages.ops import Gradients, Op, Tape, op_of
from synobench.stages.stage import Stage

if TYPE_CHECKING:
    from synobench.cost import Meter


@dataclass(frozen=True)
class Trace:
    """One evaluation of a stage: y = f(x), and what the products at x need."""

    y: Tensor
    tapes: tuple[Tape, ...]


class Link:
    """One stage with its products; none of them records a graph beyond the stage.

    Linear layers, convolutions, batch norm, the usual activations and pooling have closed forms; a stage with anything
    else, or with a map of its own, goes through autograd inside it.
    """

    def __init__(self, stage: Stage, chain: Chain) -> None:
        ops = [op_of(module) for module in stage.modules] if stage.run is None else [None]
        self.stage, self._chain = stage, chain
        self.closed = None not in ops
        self.ops: list[Op] = [op for op in ops if op is not None] if self.closed else [Opaque(stage)]
        self._skip = stage.skip if self.closed else 0.0
        self._first = next((i for i, op in enumerate(self.ops) if op.learns), len(self.ops))

    @property
    def macs(self) -> int:
        """Multiply-adds of the last evaluation."""
        return sum(op.macs for op in self.ops)

    def forward(self, x: Tensor, *, fresh: bool = False) -> Trace:
        """Return f(x); `fresh` marks the feed-forward pass of a batch, in which batch norm takes its statistics."""
        y, tapes = x, []
        for op in self.ops:
            y, tape = op.forward(y, fresh)
            tapes.append(tape)
        if self._skip:
            y = x.add(y, alpha=self._skip)
        self._chain.count(forward=self.macs)
        return Trace(y, tuple(tapes))

    def pull(self, trace: Trace, e: Tensor) -> Tensor:
        """Return the transposed Jacobian of f at the trace's input, applied to e, shaped like f(x)."""
        back = e * self._skip if self._skip else e
        for op, tape in zip(reversed(self.ops), reversed(trace.tapes), strict=True):
            back = op.pull(tape, back)
        self._chain.count(backward=self.macs)
        return back.add(e) if self._skip else back

    def gradients(self, trace: Trace, e: Tensor, scale: float = 1.0) -> Gradients:
        """Return each parameter with `scale` times the gradient of the sum over e times f(x)."""
        back, found = e * self._skip if self._skip else e, Gradients()
        for i in range(len(self.ops) - 1, self._first - 1, -1):
            found += self.ops[i].gradients(trace.tapes[i], back, scale)
            if i > self._first:
                back = self.ops[i].pull(trace.tapes[i], back)
        self._chain.count(backward=self.macs)
        return found

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters of its stage."""
        return self.stage.parameters()


class Chain:
    """The links of a network, first to last.

    Passes are counted here, not by who asks for products: a forward pass is the work of one evaluation of every stage,
    a backward pass that of one pull and one gradient of every stage, each in multiply-adds.
    """

    def __init__(self, stages: Sequence[Stage], meter: Meter | None = None) -> None:
        self._meter, self._whole = meter, 0
        self._done = {"forward": 0.0, "backward": 0.0}
        self.links = [Link(stage, self) for stage in stages]

    def __len__(self) -> int:
        return len(self.links)

    def forward(self, x: Tensor, *, fresh: bool = True) -> list[Trace]:
        """Evaluate every stage on the output of the one before, from images [N, C, H, W] to logits."""
        traces: list[Trace] = []
        for link in self.links:
            traces.append(link.forward(traces[-1].y if traces else x, fresh=fresh))
        self._whole = sum(link.macs for link in self.links)
        return traces

    def count(self, *, forward: int = 0, backward: int = 0) -> None:
        """Take note of multiply-adds; pulls and gradients are half a backward pass each."""
        self._done["forward"] += forward
        self._done["backward"] += backward / 2

    def settle(self) -> None:
        """Tell the meter of what a batch took, rounded to whole passes; to be called once a batch."""
        if self._meter is not None and self._whole:
            self._meter.count(**{name: round(macs / self._whole) for name, macs in self._done.items()})
            self._done = dict.fromkeys(self._done, 0.0)
