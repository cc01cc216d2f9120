"""The counters: pure functions of a ledger. Each returns figures a sample, of all time steps together.

``ac`` are accumulates (layers fed by unit spikes), ``first`` the multiply-accumulates of analog layers on the network's
own input, ``mac`` those of every other layer, ``total`` the sum of the three. ``uncounted`` is how many operations of
one forward pass no layer accounts for: where it is not 0, the others are lower bounds. What the ledger lacks is None.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from fractions import Fraction

from synobench.errors import BenchError, nearest
from synobench.ledger import Layer, Ledger
from synobench.params import param

COLUMNS = ("ac", "mac", "first", "total", "uncounted")
PICOJOULES = {"fp32": (4.6, 0.9), "fp16": (1.5, 0.4), "int8": (0.23, 0.03)}
"""Energy of one MAC and of one AC at 45 nm (Horowitz, ISSCC 2014, pp. 10-14)."""

Figures = dict[str, float | None]
Exact = int | Fraction


@dataclass(frozen=True)
class Counting:
    """Parameters of every counter."""

    first_layer: str = param(
        "once",
        choices=("once", "per_step"),
        doc="whether a layer whose input repeats counts once, or at each time step",
    )


@dataclass(frozen=True)
class Arithmetic(Counting):
    """Parameters of the energy counter."""

    precision: str = param("fp32", choices=tuple(PICOJOULES), doc="of the arithmetic, at 45 nm")
    count: str = param("effective", choices=("dense", "nominal", "fanout", "effective"), doc="what is priced")


def dense(ledger: Ledger, *, first_layer: str = "once") -> Figures:
    """Count sum conv(1, 1): every weight at every position that is no padding."""
    return _figures(ledger, lambda layer: layer.dense, first_layer)


def fanout(ledger: Ledger, *, first_layer: str = "once") -> Figures:
    """Count sum conv(M(x), 1): each event times its exact fan-out."""
    return _figures(ledger, lambda layer: layer.fanout, first_layer)


def effective(ledger: Ledger, *, first_layer: str = "once") -> Figures:
    """Count sum conv(M(x), M(w)): neither zero inputs nor zero weights count."""
    return _figures(ledger, lambda layer: layer.effective, first_layer)


def nominal(ledger: Ledger, *, first_layer: str = "once") -> Figures:
    """Count dense operations, padding included, times the input's firing rate; without it where that is no spikes."""
    return _figures(ledger, _nominal, first_layer)


def event(ledger: Ledger, *, first_layer: str = "once") -> Figures:
    """Count sum conv(a |x|, 1): spikes before average pooling of factor a, by magnitude, times their fan-out.

    What comes from spikes, pooled or graded, is accumulates here. Max pooling is not undone.
    """
    return _figures(ledger, lambda layer: layer.event, first_layer, graded="ac")


def energy(ledger: Ledger, *, first_layer: str = "once", precision: str = "fp32", count: str = "effective") -> Figures:
    """Price, in picojoules, the arithmetic alone, memory traffic left out: E = e_MAC MAC + e_AC AC."""
    counters = {"dense": dense, "nominal": nominal, "fanout": fanout, "effective": effective}
    mac, ac = PICOJOULES[_known("precision", precision, PICOJOULES)]
    found = counters[_known("count", count, counters)](ledger, first_layer=first_layer)
    prices = {"ac": ac, "mac": mac, "first": mac}
    priced = {k: None if found[k] is None else p * (found[k] or 0) for k, p in prices.items()}
    total = None if None in priced.values() else sum(v or 0 for v in priced.values())
    return {**priced, "total": total, "uncounted": found["uncounted"]}


def _nominal(layer: Layer) -> Fraction:
    dense = Fraction(layer.nominal_dense)
    return dense * layer.events / layer.inputs if layer.kind == "binary" else dense


def _figures(
    ledger: Ledger, count: Callable[[Layer], Exact | float | None], first_layer: str, graded: str = "mac"
) -> Figures:
    _known("first_layer", first_layer, ("once", "per_step"))
    columns = {"binary": "ac", "graded": graded, "analog": "mac"}
    # whole numbers and fractions are exact: totals are divided once, by the samples
    parts: dict[str, Exact | None] = {"ac": 0, "mac": 0, "first": 0}
    for layer in ledger.layers:
        told = count(layer)
        column = "first" if layer.first else columns[layer.kind]
        before = parts[column]
        if told is None or before is None:
            parts[column] = None
        else:
            parts[column] = before + (_counted(told, layer, first_layer) if layer.repeated else _exact(told))
    if not ledger.layers and ledger.uncounted:
        parts = dict.fromkeys(parts)  # nothing was counted: that is not nothing
    samples, (ac, mac, first) = ledger.samples, parts.values()
    return {
        "ac": None if ac is None else float(ac / samples),
        "mac": None if mac is None else float(mac / samples),
        "first": None if first is None else float(first / samples),
        "total": None if ac is None or mac is None or first is None else float((ac + mac + first) / samples),
        "uncounted": sum(u["calls"] for u in ledger.uncounted) if ledger.uncounted else 0,
    }


def _exact(told: Exact | float) -> Exact:
    return Fraction(told) if isinstance(told, float) else told


def _counted(told: Exact | float, layer: Layer, first_layer: str) -> Exact:
    """Return a repeated layer's total as it counts, where it was computed otherwise than `first_layer` says."""
    each_step = layer.calls % layer.steps == 0
    if first_layer == "once":
        return Fraction(_exact(told), layer.steps) if each_step else _exact(told)
    return _exact(told) if each_step else _exact(told) * layer.steps


def _known(name: str, value: str, choices: Collection[str]) -> str:
    if value in choices:
        return value
    known = list(choices)
    raise BenchError(f"{name}={value} is not one of {', '.join(known)}{nearest(value, known)}")
