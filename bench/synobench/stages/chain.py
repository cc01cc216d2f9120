"""A network's stages with their products, and the passes that they are worth."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from synobench.stages.captured import Captured
from synobench.stages.opaque import Opaque
from synobench.stages.ops import Gradients, LeakyReLU, MaxPool, Op, ReLU, Tanh, Tape, op_of
from synobench.stages.stage import Stage

if TYPE_CHECKING:
    from synobench.cost import Meter


ALIKE = 0.01
"""The most that a compiled step may be off: winners of pooling and kinks of relu flip with the order of a sum."""


@dataclass(frozen=True)
class Trace:
    """One evaluation of a stage: y = f(x), and what the products at x need."""

    x: Tensor
    y: Tensor
    tapes: tuple[Tape, ...]


class Link:
    """One stage with its products; none of them records a graph beyond the stage.

    Linear layers, convolutions, batch norm, the usual activations and pooling have closed forms; a stage with anything
    else, or with a map of its own, goes through autograd inside it.
    """

    def __init__(self, stage: Stage, chain: Chain) -> None:
        ops = [op_of(module) for module in stage.modules] if stage.run is None else [None]
        self.stage, self._chain, self.macs = stage, chain, 0
        self.closed = None not in ops
        self.ops: list[Op] = [op for op in ops if op is not None] if self.closed else [Opaque(stage)]
        self.ops = _pooled_first(self.ops)
        self._skip = stage.skip if self.closed else 0.0
        self._first = next((i for i, op in enumerate(self.ops) if op.learns), len(self.ops))

    def forward(self, x: Tensor, *, fresh: bool = False) -> Trace:
        """Return f(x); `fresh` marks the feed-forward pass of a batch, in which batch norm takes its statistics."""
        # Plain lists: torch.compile cannot trace a call of `list[Tape]`.
        tapes: list[Tape] = []
        y = x
        for op in self.ops:
            if fresh:
                op.renew()
            y, tape = op.forward(y)
            tapes.append(tape)
        if self._skip:
            y = x.add(y, alpha=self._skip)
        self.macs = self.ops[0].macs if len(self.ops) == 1 else sum([op.macs for op in self.ops])
        self._chain.count("forward", self.macs)
        return Trace(x, y, tuple(tapes))

    def pull(self, trace: Trace, e: Tensor) -> Tensor:
        """Return the transposed Jacobian of f at the trace's input, applied to e, shaped like f(x)."""
        back = e * self._skip if self._skip else e
        for op, tape in zip(reversed(self.ops), reversed(trace.tapes), strict=True):
            back = op.pull(tape, back)
        self._chain.count("backward", self.macs / 2)
        return back.add(e) if self._skip else back

    def pulled(self, base: Tensor, trace: Trace, e: Tensor, share: float = 1.0, scale: float = 1.0) -> Tensor:
        """Return `share` times a tensor of the input's shape plus `scale` times the pull of e, in fewer passes."""
        back = e * self._skip if self._skip else e
        for op, tape in zip(self.ops[:0:-1], trace.tapes[:0:-1], strict=True):
            back = op.pull(tape, back)
        found = self.ops[0].pulled(base, trace.tapes[0], back, share, scale)
        self._chain.count("backward", self.macs / 2)
        return found.add_(e, alpha=scale) if self._skip else found

    def gradients(self, trace: Trace, e: Tensor, scale: float = 1.0) -> Gradients:
        """Return each parameter, the layer's own weight first, with `scale` times the gradient of the sum of e f(x)."""
        found: Gradients = []
        back = e * self._skip if self._skip else e
        for i in range(len(self.ops) - 1, self._first - 1, -1):
            found = self.ops[i].gradients(trace.tapes[i], back, scale) + found
            if i > self._first:
                back = self.ops[i].pull(trace.tapes[i], back)
        self._chain.count("backward", self.macs / 2)
        return found

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters of its stage."""
        return self.stage.parameters()


def _pooled_first(ops: list[Op]) -> list[Op]:
    """Let max pooling come before an activation that rises throughout: the same numbers from a quarter of the work."""
    out = list(ops)
    for i in range(len(out) - 1):
        if isinstance(out[i], (ReLU, LeakyReLU, Tanh)) and isinstance(out[i + 1], MaxPool):
            out[i], out[i + 1] = out[i + 1], out[i]
    return out


def traced(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function compiled for tensors of one shape, and for everything else as it is now.

    As one graph, for in pieces it is slower than it was.  Without guards: to look at every link, operation and
    parameter before each call takes as long as four sweeps, and nothing of them changes while a network is trained.
    And with the calls between kernels in C++ too, of which a batch makes more than a hundred.
    """

    def alone(*tensors: Tensor) -> Any:
        return step(*tensors)

    # torch keeps what it compiled by the code object: without guards no two functions may share one.
    alone.__code__ = alone.__code__.replace(co_name="alone")
    skip = getattr(torch.compiler, "skip_all_guards_unsafe", None)
    options: dict[str, Any] = {"cpp_wrapper": True, **({"guard_filter_fn": skip} if skip else {})}
    return torch.compile(alone, fullgraph=True, options=options)


def _tensors(found: Any) -> list[Tensor]:
    """Return the tensors of a tensor, or of lists and tuples of them."""
    return [found] if isinstance(found, Tensor) else [tensor for each in found for tensor in _tensors(each)]


def _alike(found: Tensor, right: Tensor) -> bool:
    norm = torch.linalg.vector_norm
    return float(norm(found - right)) <= ALIKE * float(norm(right))


class Chain:
    """The links of a network, first to last.

    Passes are counted here, not by who asks for products: a forward pass is the work of one evaluation of every stage,
    a backward pass that of one pull and one gradient of every stage, each in multiply-adds.
    """

    def __init__(self, stages: Sequence[Stage], meter: Meter | None = None) -> None:
        self._meter, self._whole = meter, 0
        self._done, self._counts = {"forward": 0.0, "backward": 0.0}, True
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

    def count(self, kind: str, macs: float) -> None:
        """Take note of multiply-adds, in those of a pass: a pull and a gradient are half a backward pass each."""
        if self._counts:
            self._done[kind] += macs

    def compiled(self, step: Callable[..., Any], moved: Callable[[], Sequence[Tensor]] = tuple) -> Callable[..., Any]:
        """Return a function of tensors compiled by torch; on a CUDA device, recorded as a graph and replayed.

        What it costs is counted on the first call with each shape, which runs as it is, and taken as the same after it.

        Args:
            step: the function.
            moved: tells the tensors that it moves, besides the buffers of the network.
        """
        made: dict[tuple[torch.Size, ...], Callable[..., Any]] = {}
        costs: dict[tuple[torch.Size, ...], dict[str, float]] = {}

        def quick(*tensors: Tensor) -> Any:
            shapes = tuple(tensor.shape for tensor in tensors)
            if shapes not in made:
                on_device = tensors[0].is_cuda
                made[shapes] = (
                    Captured(step, lambda: [*self._buffers(), *moved()]) if on_device else self._held(step, tensors)
                )
            return made[shapes](*tensors)

        def run(*tensors: Tensor) -> Any:
            shapes = tuple(tensor.shape for tensor in tensors)
            if shapes in costs:
                self._counts = False
                found = quick(*tensors)
                self._counts = True
                for name, macs in costs[shapes].items():
                    self.count(name, macs)
                return found
            before = dict(self._done)
            found = step(*tensors)
            costs[shapes] = {name: self._done[name] - before[name] for name in before}
            return found

        return run

    def _held(self, step: Callable[..., Any], tensors: Sequence[Tensor]) -> Callable[..., Any]:
        """Compile a function and hold it to what it gives uncompiled, for which it is taken where they differ."""
        before = [(buffer, buffer.clone()) for buffer in self._buffers()]
        quick, found = traced(step), list[list[Tensor]]()
        for way in (step, quick):
            found.append(_tensors(way(*tensors)))
            for buffer, value in before:
                buffer.copy_(value)
        if all(_alike(compiled, right) for right, compiled in zip(*found, strict=True)):
            return quick
        warnings.warn("torch compiled this step to another one, so that it runs uncompiled", stacklevel=2)
        return step

    def _buffers(self) -> list[Tensor]:
        return [b for link in self.links for module in link.stage.modules for b in module.buffers()]

    def settle(self) -> None:
        """Tell the meter of what a batch took, rounded to whole passes; to be called once a batch."""
        if self._meter is not None and self._whole:
            self._meter.count(**{name: round(macs / self._whole) for name, macs in self._done.items()})
            self._done = dict.fromkeys(self._done, 0.0)
