"""Axes: how figures are placed, where ticks may stand and what they say.

A range of more than a factor of `WIDE` is laid out by its logarithm. Accuracy then goes by the logarithm of the error,
so that 99.0 and 99.5 % stand as far apart as 98 and 99 %, and sparsity always by that of the compression.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from synobench.board.figures import fixed

WIDE = 6.0
"""The factor from which a logarithmic axis reads better."""

_ERRORS = (
    (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 50, 70, 90),
    (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 90),
    (0.1, 0.5, 1, 5, 10, 50),
)
_SPARSITIES = (0, 30, 50, 70, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9)
_DENSEST = 1e-4
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))

Ticks = tuple[float, ...]


@dataclass(frozen=True)
class Scale:
    """One axis.

    Args:
        place: figure -> place along the axis, rising.
        ticks: sets of figures where ticks may stand, the fullest first.
        text: what a tick says.
        log: the words that tell a logarithm in the axis' label; empty where there is none.
        least: the least part of the axis that is shown, in its places.
    """

    place: Callable[[float], float]
    ticks: tuple[Ticks, ...]
    text: Callable[[float], str]
    log: str = ""
    least: float = 0.0

    def fitted(self, within: Callable[[float], bool], apart: Callable[[Ticks], bool]) -> Ticks:
        """Return the fullest set of the ticks `within` the axis whose texts stand `apart`."""
        sets = [tuple(tick for tick in ticks if within(self.place(tick))) for ticks in self.ticks]
        fullest = max(sets, key=len)
        sets += [fullest[::n] for n in range(2, len(fullest) + 1)]
        return next((ticks for ticks in sorted(sets, key=lambda s: -len(s)) if apart(ticks)), fullest[:1])


def amounts(values: Sequence[float]) -> Scale:
    """Return the axis of amounts of at least 0, as SynOps."""
    above = [value for value in values if value > 0]
    if not above or max(values) / min(above) <= WIDE:
        return _linear(values, 0.2 * max(values) or 1.0, prefixed)
    return _logarithmic(values, min(above), prefixed)


def passes(values: Sequence[float]) -> Scale:
    """Return the axis of passes through the network."""
    return _costs(values, prefixed)


def _costs(values: Sequence[float], text: Callable[[float], str]) -> Scale:
    """Of costs it is factors that matter: their axis is logarithmic and shows a factor of ten at least."""
    above = [value for value in values if value > 0]
    return dataclasses.replace(_logarithmic(values, min(above, default=1.0), text), least=1.0)


def factors(values: Sequence[float]) -> Scale:
    """Return the logarithmic axis of figures above 0 of which factors matter, as update norms."""
    return _costs(values, short)


def short(value: float) -> str:
    """Write a figure in few letters: ``0.05``, ``200``, ``2e-5``."""
    if value == 0 or 0.01 <= value < 1e4:
        return f"{value:g}"
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def plain_figures(values: Sequence[float]) -> Scale:
    """Return the linear axis of figures of any sign, as cosines."""
    return _linear(values, 0.1, "{:g}".format)


def places(first: int, last: int) -> Scale:
    """Return the axis of places from the first to the last, counted by one."""
    return Scale(float, (tuple(map(float, range(first, last + 1))),), "{:g}".format)


def seconds(values: Sequence[float]) -> Scale:
    """Return the axis of seconds."""
    return _costs(values, "{:g}".format)


def _logarithmic(values: Sequence[float], least: float, text: Callable[[float], str]) -> Scale:
    # There is no logarithm of nothing: it stands a step before the least.
    none = min(values) == 0
    nothing = least / 10 if none else least / 100
    exponents = range(math.floor(math.log10(least)) - 1, math.ceil(math.log10(max(*values, least))) + 2)
    zero = (0.0,) if none else ()
    sets = [(*zero, *(_exact(m * 10.0**e) for e in exponents for m in steps)) for steps in ((1, 2, 5), (1, 3), (1,))]
    if none:
        sets = [tuple(tick for tick in ticks if not 0 < tick < least / 3) for ticks in sets]
    return Scale(lambda v: math.log10(max(v, nothing)), tuple(sets), text, "log scale")


def accuracies(values: Sequence[float], images: int | None) -> Scale:
    """Return the axis of accuracies: half an image is the least error that it shows."""
    floor = 0.5 / (images or 1)
    errors = [max(1 - value, floor) for value in values]
    low, high = min(errors), max(errors)
    if high / low > WIDE:
        ticks = tuple(tuple(1 - level / 100 for level in levels) for levels in _ERRORS)
        return Scale(lambda v: -math.log10(max(1 - v, floor)), ticks, per_cent, "by log of the error")
    return _linear(values, 0.01, per_cent)


def sparsities() -> Scale:
    """Return the axis of sparsities, on which each halving of the kept weights is one step."""
    ticks = tuple(share / 100 for share in _SPARSITIES)
    return Scale(lambda v: -math.log2(max(1 - v, _DENSEST)), (ticks,), per_cent, "by log of the compression", least=1.0)


def prefixed(value: float) -> str:
    """Write an amount with the digits that it has and a prefix: ``1.05 M``."""
    size, prefix = next(((s, p) for s, p in _PREFIXES if abs(value) >= s), (1.0, ""))
    return f"{_exact(value / size):g} {prefix}".rstrip()


def per_cent(value: float) -> str:
    """Write a fraction in per cent with the digits that it has."""
    text = fixed(100 * value, 3)
    return text.rstrip("0").rstrip(".")


def _linear(values: Sequence[float], least: float, text: Callable[[float], str]) -> Scale:
    """Return a linear axis with ticks at round figures, from below the least value to above the greatest."""
    low, high = min(values), max(values)
    step = _step(max(high - low, least))
    places = range(math.floor((low - least) / step), math.ceil((high + least) / step) + 1)
    return Scale(float, (tuple(_exact(step * i) for i in places),), text, least=least)


def _step(span: float) -> float:
    """Return the round step that cuts a span into three to seven parts."""
    size = 10.0 ** math.floor(math.log10(span / 3))
    return next(m * size for m in (10, 5, 2, 1) if span / (m * size) >= 3 or m == 1)


def _exact(value: float) -> float:
    return float(f"{value:.9g}")
