"""The counters: pure functions of a ledger. Each returns figures a sample, of all time steps together.

``ac`` are accumulates (layers fed by unit spikes), ``first`` the multiply-accumulates of analog layers on the network's
own input, ``mac`` those of every other layer, ``total`` the sum of the three. ``uncounted`` is how many operations of
one forward pass no layer accounts for: where it is not 0, the others are lower bounds. What the ledger lacks is None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
    totals: dict[str, Exact | None] = dict.fromkeys(COLUMNS[:4], 0)
    for layer in ledger.layers:
        told = count(layer)
        share = None if told is None else _counted(told, layer, first_layer)
        for column in ("first" if layer.first else columns[layer.kind], "total"):
            before = totals[column]
            totals[column] = None if share is None or before is None else before + share
    if not ledger.layers and ledger.uncounted:
        totals = dict.fromkeys(totals)  # nothing was counted: that is not nothing
    figures = {k: None if v is None else float(v / ledger.samples) for k, v in totals.items()}
    return {**figures, "uncounted": sum(u["calls"] for u in ledger.uncounted)}


def _counted(told: Exact | float, layer: Layer, first_layer: str) -> Exact:
    """Return a layer's total as it counts, where it was computed otherwise than `first_layer` says."""
    exact = Fraction(told) if isinstance(told, float) else told
    if not layer.repeated:
        return exact
    each_step = layer.calls % layer.steps == 0
    if first_layer == "once":
        return Fraction(exact, layer.steps) if each_step else exact
    return exact if each_step else exact * layer.steps


def _known(name: str, value: str, choices: Iterable[str]) -> str:
    known = list(choices)
    if value not in known:
        raise BenchError(f"{name}={value} is not one of {', '.join(known)}{nearest(value, known)}")
    return value
