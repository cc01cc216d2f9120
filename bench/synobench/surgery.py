"""The referee: it alone applies a proposal, keeps removed weights at zero, and measures what was reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from synobench.entries import PrunerEntry
from synobench.errors import ContractError
from synobench.networks import prunable


@dataclass(frozen=True)
class Proposal:
    """What a pruner returns.

    Args:
        masks: for each prunable weight, a bool tensor of its shape, True where it stays; one left out stays as it is.
        tensors: new values for parameters and buffers by name; only for entries with `changes_survivors`.
        measurements: figures of the method's own, kept in the record by name, never ranked.
    """

    masks: Mapping[str, Tensor]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    measurements: Mapping[str, float] = field(default_factory=dict)


class Referee:
    """Masks over one network's prunable weights."""

    def __init__(self, model: nn.Module, patterns: list[str] | tuple[str, ...]) -> None:
        self.model = model
        self.weights = prunable(model, patterns)
        self.masks: dict[str, Tensor] = {}

    @torch.no_grad()
    def apply(self, proposal: Proposal, entry: PrunerEntry) -> None:
        """Check a proposal whole, then write it into the network.

        Raises:
            ContractError: a name is unknown, a shape, type or value is wrong, or survivors change undeclared.
        """
        masks = {name: checked_mask(name, mask, self.weights).clone() for name, mask in proposal.masks.items()}
        if proposal.tensors and not entry.changes_survivors:
            raise ContractError("it proposes new values but its entry does not declare changes_survivors")
        state = self.model.state_dict(keep_vars=True)
        values = {name: _value(name, value, state) for name, value in proposal.tensors.items()}
        for name, value in values.items():
            state[name].copy_(value)
        self.masks = {**self.masks, **masks}
        self.enforce()

    @torch.no_grad()
    def enforce(self) -> None:
        """Set every removed weight to zero."""
        for name, mask in self.masks.items():
            self.weights[name].mul_(mask)

    def verify(self) -> None:
        """Check that every removed weight is zero.

        Raises:
            ContractError: one is not.
        """
        for name, mask in self.masks.items():
            risen = int(torch.count_nonzero(self.weights[name].detach()[~mask]))
            if risen:
                raise ContractError(f"{risen} removed weights of {name} are not zero")

    def report(self, asked: float | None) -> dict[str, Any]:
        """Measure what was reached, weight by weight; `asked` is the sparsity that was the target, if one was."""
        layers = [self._layer(name) for name in self.weights]
        total, kept = (sum(layer[k] for layer in layers) for k in ("total", "kept"))
        parameters = sum(p.numel() for p in self.model.parameters())
        return {
            "asked": asked,
            "reached": (total - kept) / total,
            "prunable": total,
            "kept": kept,
            "nonzero": sum(layer["nonzero"] for layer in layers),
            "parameters": parameters,
            "parameters_kept": parameters - (total - kept),
            "layers": layers,
        }

    def _layer(self, name: str) -> dict[str, Any]:
        weight, mask = self.weights[name], self.masks.get(name)
        kept = weight.numel() if mask is None else int(mask.sum())
        return {
            "name": name,
            "total": weight.numel(),
            "kept": kept,
            "nonzero": int(torch.count_nonzero(weight.detach())),
        }


def checked_mask(name: str, mask: Any, weights: Mapping[str, Tensor]) -> Tensor:
    """Return a mask on the device of its weight.

    Raises:
        ContractError: the name is not prunable, or the mask has the wrong type or shape.
    """
    if name not in weights:
        raise ContractError(f"it masks {name!r}, which is not prunable (prunable: {', '.join(weights)})")
    right = list(weights[name].shape)
    if not isinstance(mask, Tensor):
        raise ContractError(f"its mask of {name} must be a bool tensor of shape {right}, not {type(mask).__name__}")
    if mask.dtype != torch.bool or list(mask.shape) != right:
        got = f"{str(mask.dtype).removeprefix('torch.')} of shape {list(mask.shape)}"
        raise ContractError(f"its mask of {name} must be bool of shape {right}, not {got}")
    return mask.detach().to(weights[name].device)


def _value(name: str, value: Any, state: Mapping[str, Tensor]) -> Tensor:
    if name not in state:
        raise ContractError(f"it gives new values for {name!r}, which the network does not have")
    told = isinstance(value, Tensor) and value.shape == state[name].shape
    # After the cast: what float64 holds may be infinite in float32.
    new: Tensor | None = value.detach().to(state[name].device, state[name].dtype) if told else None
    if new is None or not bool(torch.isfinite(new).all()):
        raise ContractError(f"its new values of {name} must be a finite tensor of shape {list(state[name].shape)}")
    return new
