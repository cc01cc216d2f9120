"""The ledger: per-layer facts of one judged network, from which every SynOps counter is computed without torch.

All totals are exact integers over every sample and time step that was counted; a figure a sample is total / samples.
With x the input of a layer at one step, w its weights and M(.) = 1 where non-zero, else 0:

    dense      sum conv(1, 1)           padding zeros do not count
    fanout     sum conv(M(x), 1)        each event times its exact fan-out
    effective  sum conv(M(x), M(w))     zero weights do not count either
    event      sum conv(a |x|, 1)       a = the factor of the average pooling before the layer, 1 without
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from synobench.errors import BenchError

INPUT = "@input"
"""The source of a layer that reads the network's own input."""

LARGEST = 64 * 2**20
"""The most bytes that a ledger's vectors unpack to: a few kilobytes may claim to hold terabytes."""

KINDS = ("binary", "graded", "analog")
"""Inputs of a layer: unit spikes (0, 1, -1), spikes of other values (pooled, summed), anything else."""

Vectors = dict[str, dict[str, Any]]
"""By layer: ``weights`` (non-zero, by ``output`` and ``input`` channel); ``events``, ``before`` (pooling), ``fanout``
and ``effective`` by input channel; ``steps`` (events by time step). A flattened map counts by its channels."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Facts of one layer with weights. Shapes are of one sample at one step; totals are over samples and steps.

    Args:
        name: of the module.
        op: ``conv1d``, ``conv2d``, ``conv3d`` or ``linear``.
        weight, input, output: shapes.
        source: the layers whose output feeds it through neurons, pooling or sums; ``@input`` is the network's input;
            None where it cannot be told.
        neuron: the module whose output it reads (through pooling); None where it cannot be told.
        kind: one of ``KINDS``. The network's own input is analog whatever its values.
        negative: whether negative values occurred in its input.
        pooling: between neuron and layer: ``avg``, ``max``, ``mixed`` or None.
        area: the factor of that average pooling (values pooled into one); None where it is no whole number.
        steps: time steps T of the network.
        stride, padding, dilation: by dimension; () is 1, 0 and 1 throughout.
        calls: how often the layer was computed for one sample; 1 where one computation serves all steps.
        repeated: whether its input is the same at every step.
        nonzero: weights that are not zero.
        events, events_before: non-zero inputs, after and before pooling.
        neurons, output_events: outputs at one step, and what they emitted; counted at the last layer that feeds them.
    """

    name: str
    op: str
    weight: tuple[int, ...]
    input: tuple[int, ...]
    output: tuple[int, ...]
    samples: int
    nonzero: int
    events: int
    neurons: int
    dense: int
    fanout: int
    effective: int
    event: float | None = None
    events_before: int | None = None
    output_events: int | None = None
    kind: str = "analog"
    negative: bool = False
    source: tuple[str, ...] | None = None
    neuron: str | None = None
    pooling: str | None = None
    area: int | None = 1
    steps: int = 1
    calls: int = 1
    repeated: bool = False
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] | str = ()
    padding_mode: str = "zeros"
    dilation: tuple[int, ...] = ()
    groups: int = 1
    bias: bool = False
    weight_bits: int = 32
    activation_bits: int = 32

    @property
    def once(self) -> bool:
        """Whether the layer was computed once for all time steps."""
        return self.steps > 1 and self.calls == 1

    @property
    def first(self) -> bool:
        """Whether it is an analog layer on the network's own input."""
        return self.kind == "analog" and self.source is not None and INPUT in self.source

    @property
    def inputs(self) -> int:
        """All inputs that were looked at, zero or not."""
        return self.samples * self.calls * math.prod(self.input)

    @property
    def density(self) -> float:
        """The share of inputs that were not zero: for spikes, the firing rate a step."""
        return self.events / self.inputs

    @property
    def nominal_dense(self) -> int:
        """Products of the dense layer with padding counted: outputs times the weights of one output."""
        return self.samples * self.calls * self.neurons * math.prod(self.weight[1:])


_WHOLE = ("samples", "nonzero", "events", "neurons", "dense", "fanout", "effective")
_FACTS = frozenset(fact.name for fact in dataclasses.fields(Layer))
_NEEDED = frozenset(fact.name for fact in dataclasses.fields(Layer) if fact.default is dataclasses.MISSING)
_LISTED = ("weight", "input", "output", "source", "stride", "padding", "dilation")
"""The facts that are tuples, for which a record holds lists."""


@dataclass(frozen=True)
class Ledger:
    """The layers of one network, in the order of their first call, and what stands beside their synapses.

    Args:
        steps: time steps T.
        samples: samples counted.
        layers: the facts.
        uncounted: operations that no layer accounts for: ``module``, ``op``, ``calls`` in one forward pass.
        beside: totals of other operations: ``bias`` additions, ``normalisation`` outputs, ``neuron`` updates.
        vectors: counts by channel and by step; None where they were not read.
        digest: of the vectors.
    """

    steps: int
    samples: int
    layers: tuple[Layer, ...]
    uncounted: tuple[dict[str, Any], ...] = ()
    beside: dict[str, int] = field(default_factory=dict)
    vectors: Vectors | None = None
    digest: str = ""

    def __post_init__(self) -> None:
        if self.vectors is not None and not self.digest:
            object.__setattr__(self, "digest", digest(self.vectors))

    def as_record(self) -> dict[str, Any]:
        """Return the totals as plain data, without what equals its default."""
        return {
            "steps": self.steps,
            "samples": self.samples,
            "digest": self.digest,
            "beside": dict(self.beside),
            "uncounted": [dict(u) for u in self.uncounted],
            "layers": [_layer_record(x, self) for x in self.layers],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], vectors: Vectors | None = None) -> Ledger:
        """Rebuild a ledger from the record's ``ledger``, and check `vectors` against its digest.

        Raises:
            BenchError: a fact is missing or of the wrong kind, or the vectors are not those of the record.
        """
        try:
            steps, samples, mark = int(record["steps"]), int(record["samples"]), str(record["digest"])
            usual = {"steps": steps, "samples": samples}
            layers = tuple([_layer(usual, x) for x in record["layers"]])
            told = tuple(dict(u) for u in record.get("uncounted", ()))
            beside = {str(k): int(v) for k, v in record.get("beside", {}).items()}
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise BenchError(f"the ledger of the record is not readable: {error!r}") from error
        if vectors is not None and digest(vectors) != mark:
            raise BenchError(f"the vectors are not those of the record: its digest is {mark}")
        return cls(steps, samples, layers, told, beside, vectors, mark)

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures must know, one line each."""
        lines = [f"uncounted: {u['op']} in {u['module']}, {u['calls']} a pass" for u in self.uncounted]
        for layer in self.layers:
            if layer.pooling in ("avg", "mixed") and layer.kind == "graded":
                lines.append(
                    f"{layer.name}: average-pooled spikes are fractional: MACs; `event` counts them before pooling"
                )
            elif layer.kind == "graded":
                lines.append(f"{layer.name}: graded spikes are MACs; `event` weighs them by their magnitude")
            if layer.negative and layer.kind != "analog":
                lines.append(f"{layer.name}: negative spikes count by their magnitude")
        return lines


def pack_vectors(ledger: Ledger) -> bytes:
    """Return the ledger's vectors as compressed canonical JSON.

    Raises:
        BenchError: the ledger has none.
    """
    if ledger.vectors is None:
        raise BenchError("this ledger was read without its vectors: there is nothing to pack")
    return zlib.compress(_canonical(ledger.vectors), 9)


def unpack_vectors(packed: bytes) -> Vectors:
    """Return the vectors that `pack_vectors` wrote.

    Raises:
        BenchError: the bytes are damaged.
    """
    try:
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(packed, LARGEST)
        if unpacking.unconsumed_tail or not unpacking.eof:
            raise ValueError("they end too early" if not unpacking.unconsumed_tail else f"over {LARGEST:,} bytes")
        vectors: Vectors = json.loads(text)
    except (zlib.error, ValueError) as error:
        raise BenchError(f"the ledger's vectors are damaged: {error}") from error
    return vectors


def digest(vectors: Vectors) -> str:
    """Return ``sha256:hex`` of the vectors' canonical JSON."""
    return "sha256:" + hashlib.sha256(_canonical(vectors)).hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _layer_record(layer: Layer, ledger: Ledger) -> dict[str, Any]:
    out: dict[str, Any] = {}
    usual = {f.name: f.default for f in dataclasses.fields(Layer)}
    usual |= {"steps": ledger.steps, "samples": ledger.samples}
    for fact in dataclasses.fields(Layer):
        value = getattr(layer, fact.name)
        if value != usual[fact.name]:
            out[fact.name] = list(value) if isinstance(value, tuple) else value
    return out


def _layer(usual: dict[str, int], record: dict[str, Any]) -> Layer:
    layer = object.__new__(Layer)
    # A frozen class sets its thirty fields one by one, which thousands of records wait for. What a record leaves out is
    # found in the class, which holds the defaults.
    values: dict[str, Any] = usual | record
    object.__setattr__(layer, "__dict__", values)
    foreign, lacking = _beyond(tuple(values))
    for name in foreign:
        del values[name]
    if lacking:
        raise TypeError(f"{values.get('name')} lacks {', '.join(lacking)}")
    for whole in _WHOLE:
        if type(values[whole]) is not int:
            raise TypeError(f"{whole} of {values.get('name')} is no whole number")
    for name in _LISTED:
        value = values.get(name)
        if type(value) is list:
            values[name] = tuple(value)
    return layer


@functools.lru_cache(maxsize=2**10)
def _beyond(names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return those of some names that are no facts, and the facts without default that are missing."""
    return [name for name in names if name not in _FACTS], sorted(_NEEDED.difference(names))
