"""Figures for people: fixed formats, the same everywhere, for tables in any medium. Units: accuracy in per cent."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence

from synobench.board.rows import Row
from synobench.board.twins import Twin
from synobench.stats import Estimate
from synobench.stats.multiple import OPEN
from synobench.twins import KINDS

GAP = "\N{EN DASH}"
"""What stands where nobody measured."""

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def plain(text: str) -> str:
    """Return text on one line without control characters: safe on a terminal, still to be escaped elsewhere."""
    if text.isprintable() and "  " not in text:  # then blanks are its only white space, and it has no control character
        return text.strip()
    spaced = re.sub(r"\s+", " ", text)
    return "".join(c if unicodedata.category(c)[0] != "C" else f"\\x{ord(c):02x}" for c in spaced).strip()


def fixed(value: float | None, digits: int = 2, *, sign: bool = False) -> str:
    """Write a number with fixed digits, a true minus and no negative zero."""
    if value is None:
        return GAP
    text = f"{abs(value):.{digits}f}"
    if value >= 0 and not sign:
        return text
    zero = not text.strip("0.")
    mark = "\N{MINUS SIGN}" if value < 0 and not zero else "+" if sign and not zero else ""
    return mark + text


def percent(estimate: Estimate | None, digits: int = 2, *, sign: bool = False) -> str:
    """Write a mean in per cent with the half-width of its interval."""
    if estimate is None:
        return GAP
    half = "" if estimate.half is None else f" ± {fixed(100 * estimate.half, digits)}"
    return fixed(100 * estimate.mean, digits, sign=sign) + half


def accuracy(row: Row) -> str:
    """Write a row's accuracy; an entry that cannot vary says so in place of an interval."""
    if row.accuracy is not None and row.deterministic:
        return f"{fixed(100 * row.accuracy.mean)} deterministic"
    return percent(row.accuracy)


def gain(twin: Twin | None) -> str:
    """Write what a row gains over a twin, in points, and the verdict where there is one: ``+1.20 ± 0.40, better``."""
    if twin is None:
        return GAP
    if twin.same:
        return "same network"
    verdict = twin.verdict.says() if twin.verdict and twin.verdict.verdict != OPEN else ""
    return ", ".join(filter(None, [percent(twin.difference, sign=True), verdict, _lacking(twin)]))


def _lacking(twin: Twin) -> str:
    return f"{seeds(twin.missing)} missing" if twin.missing else ""


def gains(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the table of gains over twins, its head first; empty where no row has twins, else all that ran."""
    kinds = [kind for kind in KINDS if any(kind in row.twins for row in rows)]
    held = [row for row in rows if row.runs and not row.control]
    table = [(row.target_label, row.label, *(gain(row.twins.get(kind)) for kind in kinds)) for row in held]
    return [("target", "entry", *(f"over {kind} twin" for kind in kinds)), *table] if kinds else []


def sparsity(estimate: Estimate | None) -> str:
    """Write a fraction in per cent without an interval."""
    return GAP if estimate is None else fixed(100 * estimate.mean)


@functools.lru_cache(maxsize=2**16)
def quantity(value: float | None) -> str:
    """Write a large number with three significant digits and a prefix: ``1.25 M``."""
    if value is None:
        return GAP
    for scale, prefix in _PREFIXES:
        if abs(value) >= 0.9995 * scale:
            return f"{_three(value / scale)} {prefix}"
    return _three(value)


def _three(value: float) -> str:
    if value == int(value) and abs(value) < 1000:
        return fixed(value, 0)
    size = abs(value)
    return fixed(value, 2 if size < 9.995 else 1 if size < 99.95 else 0)


def ratio(estimate: Estimate | None) -> str:
    """Write a ratio to the dense control's: ``0.104``."""
    return GAP if estimate is None else fixed(estimate.mean, 3)


def amount(estimate: Estimate | None) -> str:
    """Write a mean as a quantity."""
    return quantity(None if estimate is None else estimate.mean)


def exact(value: float | None) -> str:
    """Write a figure for machines: nine significant digits, empty where it is a gap."""
    if value is None:
        return ""
    return f"{0.0 if value == 0 else value:.9g}"


def seeds(values: Sequence[int]) -> str:
    """Write seeds as ``seed 3`` or ``seeds 0, 3, 4``."""
    return ("seed " if len(values) == 1 else "seeds ") + ", ".join(map(str, values))


def count(row: Row) -> str:
    """Write how many seeds stand behind a row: ``5``, or ``4 of 5`` where some are missing."""
    n = len(row.runs)
    return f"{n} of {n + len(row.missing)}" if row.missing else str(n)


def remarks(row: Row) -> list[str]:
    """Return what is to be said of a row beside its figures, one short text each."""
    told = []
    if row.best:
        told.append("best group")
    if row.few:
        told.append("few seeds")
    if row.unpaired:
        told.append(f"{seeds(row.unpaired)} unpaired: the parents differ")
    if row.missed:
        told.append(f"target missed ({len(row.missed)} of {len(row.runs)})")
    return told
