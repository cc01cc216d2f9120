"""What the recorder keeps of one layer (Site) and of one neuron layer or activation (Emitter) between passes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from synobench.errors import BenchError
from synobench.ledger.ledger import INPUT
from synobench.ledger.tally import Tallier, Tally
from synobench.ledger.tracing import Tag


class Site:
    """The counts of one layer.

    Args:
        name, layer: a module of ``fanout.COUNTED``.
        steps: time steps T of the network.
    """

    def __init__(self, name: str, layer: nn.Module, steps: int) -> None:
        self.name, self.layer, self.steps = name, layer, steps
        self.tag: Tag | None = None
        self.samples = self.calls = self.numel = 0
        self.input: tuple[int, ...] = ()
        self.output: tuple[int, ...] = ()
        self.bits = (32, 32)
        self.unit, self.negative, self.repeated = True, False, steps > 1
        self.weights: Tensor | None = None
        self.counts = self.magnitude = self.by_step = torch.zeros(())
        self._pending: list[Tally] = []
        self._earlier: Tensor | None = None

    def add(self, x: Tensor, out: Tensor, batch: int, tally: Tallier) -> None:
        """Count one call: input `x`, output `out`, in a pass over `batch` samples."""
        lead = _lead(self.layer, x, batch, self.steps)
        rows = math.prod(x.shape[:lead])
        if not batch or rows % batch:
            raise BenchError(f"layer {self.name} saw {rows} inputs for {batch} samples: call the whole network")
        if self.weights is None:
            self._begin(x, out, lead)
        if tuple(x.shape[lead:]) != self.input:
            raise BenchError(f"layer {self.name} saw {tuple(x.shape[lead:])} after {self.input}: one ledger, one shape")
        flat = _Flat(x, lead, rows // batch)
        self._compare(flat.values)
        self._pending.append(flat.in_order(tally(flat.values, self.unit)))

    def finish(self, batch: int) -> None:
        """Add what the calls of one pass counted."""
        if not self._pending:
            return
        counts = torch.cat([t.counts for t in self._pending])
        magnitude = torch.cat([t.magnitude.double() for t in self._pending])
        if not bool(torch.isfinite(magnitude).all()):
            raise BenchError(f"the input of layer {self.name} is not finite")
        if self.samples and self.calls != len(counts):
            raise BenchError(f"layer {self.name} was computed {len(counts)} times, and {self.calls} times before")
        self.calls, self.numel = len(counts), len(counts) * batch * math.prod(self.input)
        self.unit &= all(t.unit for t in self._pending)
        self.negative |= any(t.negative for t in self._pending)
        # the first pass adds to a zero without dimensions
        self.counts = counts.sum(0) + self.counts.to(counts)
        self.magnitude = magnitude.sum(0) + self.magnitude.to(magnitude)
        self.by_step = self._split_steps(counts) + self.by_step.to(counts)
        self.samples += batch
        self.forget()

    def forget(self) -> None:
        """Drop what an unfinished pass counted."""
        self._pending, self._earlier = [], None

    def _begin(self, x: Tensor, out: Tensor, lead: int) -> None:
        weight = self.layer.weight
        assert isinstance(weight, Tensor)
        self.weights = weight.detach() != 0
        self.input, self.output = tuple(x.shape[lead:]), tuple(out.shape[lead:])
        self.bits = (8 * weight.element_size(), 8 * x.element_size())

    def _compare(self, rows: Tensor) -> None:
        """Note whether the input is the same at every step; not looked at again once it was not."""
        if not self.repeated:
            return
        first = rows[0] if self._earlier is None else self._earlier
        self.repeated = all(row.data_ptr() == first.data_ptr() or torch.equal(row, first) for row in rows)
        self._earlier = first

    def _split_steps(self, counts: Tensor) -> Tensor:
        """Return events by step: a call holds all steps or one, and the layer may be called several times a step."""
        totals = counts.sum(1)
        if len(totals) % self.steps:
            return totals.sum(0, keepdim=True)
        if len(self._pending[0].counts) == self.steps:
            return totals.view(-1, self.steps).sum(0)
        return totals.view(self.steps, -1).sum(1)

    @property
    def spiking(self) -> bool:
        """Whether spikes are in its input."""
        return self.tag is not None and self.tag.spiking

    @property
    def kind(self) -> str:
        """What its input is made of."""
        if self.tag is not None and INPUT in self.tag.origins and not self.spiking:
            return "analog"
        if self.unit:
            return "binary"
        return "graded" if self.spiking else "analog"


class Emitter:
    """What one neuron layer or activation sent out, by channel.

    Args:
        name: of the module.
        origins: the layers that feed it.
        area: the factor of the average pooling inside the module, 1 without.
        spiking: whether it is a neuron layer, whose output may have time and samples apart.
    """

    def __init__(self, name: str, origins: frozenset[str], area: int, spiking: bool) -> None:
        self.name, self.origins, self.area, self.spiking = name, origins, area, spiking
        self.linked: Site | None = None
        self.numel = 0
        self._counts = torch.zeros((), dtype=torch.int64)
        self._pending: list[Tensor] = []

    def add(self, out: Tensor, batch: int, steps: int, tally: Tallier) -> None:
        """Count one output, [T, N, C, ...] (or one step of it) or [rows, C, ...], of a pass over `batch` samples."""
        timed = self.spiking and out.dim() > 2 and tuple(out.shape[:2]) in ((steps, batch), (1, batch))
        lead = min(2 if timed else 1, out.dim())
        rows = math.prod(out.shape[:lead])
        flat = _Flat(out, lead, rows // batch if batch and rows % batch == 0 else 1)
        found = flat.in_order(tally(flat.values, self.area == 1))
        channels = out.shape[lead] if out.dim() > lead else 1
        self._pending.append(self._whole(found.counts, found.magnitude).sum(0).view(channels, -1).sum(1))
        self.numel += out.numel()

    def finish(self) -> None:
        """Add what the calls of one pass counted."""
        self._counts = sum(self._pending, self._counts)
        self.forget()

    def forget(self) -> None:
        """Drop what an unfinished pass counted."""
        self._pending = []

    def counts(self, channels: dict[str, int]) -> Tensor:
        """Return its events by channel; `channels` are the input channels of all layers by name."""
        if self.linked is None:
            return self._counts.cpu()
        site = self.linked
        return self._whole(site.counts, site.magnitude).cpu().view(channels[site.name], -1).sum(1)

    def _whole(self, counts: Tensor, magnitude: Tensor) -> Tensor:
        return counts if self.area == 1 else (magnitude * self.area).round().to(torch.int64)


class _Flat:
    """A tensor as [R, N, P], its positions in the order of memory, so that nothing is copied."""

    def __init__(self, x: Tensor, lead: int, rows: int) -> None:
        self._rows = rows
        self._moved: tuple[int, ...] | None = None
        if x.dim() > lead + 1 and not x.is_contiguous() and x.movedim(lead, -1).is_contiguous():
            x = x.movedim(lead, -1)
            self._moved = tuple(x.shape[lead:])
        self.values = x.detach().reshape(rows, math.prod(x.shape[:lead]) // rows, -1)

    def in_order(self, tally: Tally) -> Tally:
        """Return `tally` with its positions channels first."""
        if self._moved is None:
            return tally
        counts, magnitude = (
            t.view(self._rows, *self._moved).movedim(-1, 1).reshape(self._rows, -1)
            for t in (tally.counts, tally.magnitude)
        )
        return Tally(counts, magnitude, tally.unit, tally.negative)


def _lead(layer: nn.Module, x: Tensor, batch: int, steps: int) -> int:
    """Return how many leading dimensions count samples and steps."""
    if not isinstance(layer, nn.Linear):
        return x.dim() - 1 - len(layer.kernel_size)  # type: ignore[arg-type]
    return 2 if x.dim() > 2 and tuple(x.shape[:2]) == (steps, batch) else min(1, x.dim() - 1)
