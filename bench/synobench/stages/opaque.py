"""Products of a stage without a closed form, by autograd inside that stage alone: blocks and spiking layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synobench.stages.ops import Gradients, Op, Tape, statistics
from synobench.stages.stage import LAYERS, Stage

_NORMS = nn.modules.batchnorm._BatchNorm


class Opaque(Op):
    """A stage whose graph is recorded from its input to its output and goes no further.

    Batch norm inside it keeps the statistics of the last feed-forward pass, as constants.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage, self.macs = stage, 0
        self._inside = list(dict.fromkeys(m for module in stage.modules for m in module.modules()))
        self._parameters = [p for p in stage.parameters() if p.requires_grad]
        self._norms: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self._a_sample: float | None = None
        self.learns = bool(self._parameters)

    def renew(self) -> None:
        """Forget the statistics of batch norms."""
        self._norms.clear()

    def forward(self, x: Tensor) -> tuple[Tensor, Tape]:
        """Return y without its graph; input and output with it are the tape."""
        given = x.detach()
        # Images as they come need no gradient, and integers could have none.
        given.requires_grad_(given.is_floating_point())
        for module in self._inside:
            if getattr(module, "spiking", False):
                module.reset()  # type: ignore[operator]
        with torch.enable_grad(), ExitStack() as held:
            held.enter_context(self._frozen())
            counted = held.enter_context(self._counting()) if self._a_sample is None else None
            y = self._stage(given)
        if counted is not None:
            self._a_sample = sum(counted) / x.numel()
        self.macs = round((self._a_sample or 0.0) * x.numel())
        return y.detach(), (given, y)

    def pull(self, tape: Tape, e: Tensor) -> Tensor:
        """Return the transposed Jacobian applied to e."""
        given, y = tape
        found: Tensor = torch.autograd.grad(y, given, e, retain_graph=True)[0]
        return found

    def gradients(self, tape: Tape, e: Tensor, scale: float) -> Gradients:
        """Return those of every parameter that the output depends on."""
        found = torch.autograd.grad(tape[1], self._parameters, e, retain_graph=True, allow_unused=True)
        return [(p, g.mul_(scale)) for p, g in zip(self._parameters, found, strict=True) if g is not None]

    @contextmanager
    def _counting(self) -> Iterator[list[int]]:
        """Count the multiply-adds of the layers inside."""
        counts: list[int] = []

        def hook(module: Any, _args: tuple[Any, ...], y: Tensor) -> None:
            counts.append(y.numel() * module.weight[0].numel())

        handles = [m.register_forward_hook(hook) for m in self._inside if isinstance(m, LAYERS)]
        try:
            yield counts
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        """Let batch norms keep the statistics that they first take, as constants."""
        norms: list[Any] = [m for m in self._inside if isinstance(m, _NORMS)]
        for norm in norms:
            norm.forward = self._form(norm)
        try:
            yield
        finally:
            for norm in norms:
                del norm.forward

    def _form(self, norm: nn.Module) -> Any:
        def forward(x: Tensor) -> Tensor:
            if norm not in self._norms:
                self._norms[norm] = statistics(norm, x)
            mean, inverse = self._norms[norm]
            n: Any = norm
            # With eps 0 the variance 1 / inverse² gives the same scale.
            return F.batch_norm(x, mean, inverse.pow(-2), n.weight, n.bias, training=False, eps=0.0)

        return forward
