"""The training loop: one update a batch, its rate set before each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synobench.augment import augmented
from synobench.rates import rate_at
from synobench.rules import Progress, Session
from synobench_backprop import Backprop


def tet_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over time of each step's cross-entropy (Deng et al., ICLR 2022, equation 10, lambda = 0).

    Args:
        outputs: [T, N, classes].
        labels: [N].
    """
    steps = outputs.shape[0]
    return F.cross_entropy(outputs.flatten(0, 1), labels.repeat(steps))


class BackpropRule:
    """The rule `backprop`, as described by ``synobench.rules.Rule``."""

    def __init__(self, params: Backprop) -> None:
        self._params = params

    def begin(self, session: Session) -> None:
        """Build the optimiser over all parameters of the network."""
        self._session = session
        parameters = [p for p in session.model.parameters() if p.requires_grad]
        self._optimizer = self._build(parameters)
        self._scaler = torch.amp.GradScaler(torch.device(session.device).type, enabled=session.precision == "float16")
        self._forward: Any = torch.compile(session.model) if self._params.compile else session.model

    def _build(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        p = self._params
        if p.optimizer == "adamw":
            return torch.optim.AdamW(parameters, lr=p.rate, weight_decay=p.decay, fused=True)
        return torch.optim.SGD(parameters, lr=p.rate, momentum=p.momentum, weight_decay=p.decay, fused=True)

    def epoch(self, session: Session, epoch: int) -> Iterator[Progress]:
        """Go once through the training split, an update a batch."""
        session.model.train()
        draws = session.generator("augment", epoch)
        total, warmup = session.epochs * session.updates, round(self._params.warmup * session.updates)
        for i, (inputs, labels) in enumerate(session.batches(epoch)):
            rate = rate_at(epoch * session.updates + i, total, warmup, self._params.rate, self._params.schedule)
            loss = self._update(augmented(inputs, self._params.augment, draws), labels, rate)
            yield Progress(loss, labels.numel())

    def _update(self, inputs: Tensor, labels: Tensor, rate: float) -> Tensor:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with self._session.autocast():
            loss = self._loss(self._forward(inputs), labels)
        if self._session.penalty is not None:
            loss = loss + self._session.penalty()
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self._scaler.scale(loss))
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss.detach()

    def _loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        if outputs.dim() == 2:
            return F.cross_entropy(outputs.float(), labels)
        if self._params.loss == "tet":
            return tet_loss(outputs.float(), labels)
        return F.cross_entropy(outputs.float().mean(0), labels)

    def state(self) -> dict[str, Any]:
        """Return the optimiser's and the loss scaler's state."""
        return {"optimizer": self._optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
