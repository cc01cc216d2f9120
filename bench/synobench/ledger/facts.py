"""From what the recorder counted to the facts of the ledger: every total is linear in the counts by position."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from synobench.ledger.fanout import fanout_map, operation
from synobench.ledger.ledger import INPUT, Layer
from synobench.ledger.sites import Emitter, Site


def channels_of(site: Site, sites: dict[str, Site], image: int) -> int:
    """Return the input channels of a layer: those of its source where a map was flattened in front of it.

    Args:
        site: the layer.
        sites: all layers by name.
        image: channels of the network's input.
    """
    if not isinstance(site.layer, nn.Linear):
        return site.input[0]
    origins = site.tag.origins if site.tag is not None else frozenset()
    told = {image if o == INPUT else sites[o].output[0] for o in origins if o == INPUT or sites[o].output}
    features = site.input[-1]
    count = told.pop() if len(told) == 1 and len(site.input) == 1 else features
    return count if count and features % count == 0 else features


def facts(site: Site, channels: int, before: Tensor | None, sent: Tensor | None) -> tuple[Layer, dict[str, Any]]:
    """Return the facts and the vectors of one layer.

    Args:
        site: its counts.
        channels: of its input.
        before: events before pooling by channel, None where they are not known.
        sent: events that its neurons sent out, likewise.
    """
    assert site.weights is not None
    counts, weights = site.counts.cpu(), site.weights.cpu()
    dense, alive = (fanout_map(site.layer, site.input, w).flatten() for w in (None, weights))
    area = site.tag.area if site.tag is not None else 1
    layer = Layer(
        name=site.name,
        op=operation(site.layer),
        weight=tuple(weights.shape),
        input=site.input,
        output=site.output,
        samples=site.samples,
        nonzero=int(weights.sum()),
        events=int(counts.sum()),
        events_before=None if before is None else int(before.sum()),
        neurons=math.prod(site.output),
        output_events=None if sent is None else int(sent.sum()),
        dense=site.samples * site.calls * int(dense.sum()),
        fanout=int((counts * dense).sum()),
        effective=int((counts * alive).sum()),
        event=None if area is None else area * float((site.magnitude.cpu() * dense).sum()),
        area=area,
        **_provenance(site),
        **_geometry(site),
    )
    by_channel = {"events": counts, "fanout": counts * dense, "effective": counts * alive}
    vectors: dict[str, Any] = {k: v.view(channels, -1).sum(1).tolist() for k, v in by_channel.items()}
    vectors["before"] = None if before is None else before.tolist()
    vectors["steps"] = site.by_step.tolist()
    vectors["weights"] = _weights(weights, getattr(site.layer, "groups", 1), channels)
    return layer, vectors


def events_before(site: Site, channels: dict[str, int], emitters: list[Emitter]) -> Tensor | None:
    """Return a layer's input events before pooling, by channel; None where what was pooled is not known.

    Args:
        site: the layer.
        channels: input channels of all layers by name.
        emitters: the neuron layers and activations.
    """
    if site.tag is None:
        return None
    if site.tag.pooling is None:
        return site.counts.cpu().view(channels[site.name], -1).sum(1)
    name = site.tag.fired[0] if site.tag.fired is not None else ""
    mine = [e for e in emitters if e.name == name and e.origins == site.tag.origins]
    return mine[0].counts(channels) if mine else None


def _provenance(site: Site) -> dict[str, Any]:
    tag = site.tag
    return {
        "source": tuple(sorted(tag.origins)) or None if tag is not None else None,
        "neuron": tag.fired[0] if tag is not None and tag.fired is not None else None,
        "pooling": tag.pooling if tag is not None else None,
        "kind": site.kind,
        "negative": site.negative,
        "steps": site.steps,
        "calls": site.calls,
        "repeated": site.repeated and not site.spiking,
        "weight_bits": site.bits[0],
        "activation_bits": site.bits[1],
    }


def _geometry(site: Site) -> dict[str, Any]:
    layer = site.layer
    out: dict[str, Any] = {"bias": layer.bias is not None}
    if isinstance(layer, nn.Linear):
        return out
    for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1)):
        value = getattr(layer, name)
        out[name] = () if value == (usual,) * len(value) else value
    return {**out, "groups": layer.groups, "padding_mode": layer.padding_mode}


def _weights(alive: Tensor, groups: int, channels: int) -> dict[str, list[int]]:
    """Return the non-zero weights by output and by input channel."""
    by_output = alive.flatten(1).sum(1)
    if alive.dim() == 2:
        by_input = alive.sum(0).view(channels, -1).sum(1)
    else:
        by_input = alive.flatten(2).sum(2).view(groups, -1, alive.shape[1]).sum(1).flatten()
    return {"output": by_output.tolist(), "input": by_input.to(torch.int64).tolist()}
