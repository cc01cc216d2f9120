"""Measurements: a number, or a table of numbers over updates, as plain data that a record can hold.

What is not finite is null, figures have a fixed number of digits, and there is room for so much and no more.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synobench.errors import ContractError
from synobench.store import canonical

Measurement = float | Mapping[str, Any] | None
"""A number, or ``by`` (names), ``at`` (numbers of updates, rising) and ``values``: a row for each of `at`, in it a
number for each of `by`. None stands for what was not finite."""

TRAINING = "train/"
"""What the names of training's measurements begin with."""

ROOM = {"training": 7168, "pruner": 1024}
"""The most bytes of canonical JSON for the measurements of training, and for a pruner's own."""

DIGITS = 5
"""Significant digits of a figure."""

_KEYS = {"by", "at", "values"}


def tidy(told: Mapping[str, Any], room: int) -> dict[str, Measurement]:
    """Return measurements as a record holds them: figures rounded to `DIGITS`, None for those that are not finite.

    Raises:
        ContractError: one is neither a number nor a table, or together they take more than `room` bytes.
    """
    found = {str(name): _measurement(str(name), value) for name, value in told.items()}
    if (size := len(canonical(found).encode())) > room:
        raise ContractError(f"its measurements take {size:,} bytes; there is room for {room:,}: measure more seldom")
    return found


def figure(value: Any) -> float | None:
    """Return a number with `DIGITS` significant digits, a count in full; None where it is not finite."""
    if isinstance(value, int):
        return value
    number = float(value)
    if not math.isfinite(number):
        return None
    told = float(f"{number:.{DIGITS}g}")
    # The greatest numbers would be rounded up to infinity.
    return told if math.isfinite(told) else number


def misfit(value: Any) -> str:
    """Say why something is no measurement; nothing where it is one."""
    if value is None or _number(value):
        return ""
    if not isinstance(value, Mapping) or set(value) != _KEYS or not all(_listed(value[key]) for key in _KEYS):
        return "is neither a number nor a table of 'by', 'at' and 'values'"
    return _table(value["by"], value["at"], value["values"])


def rows(value: Any) -> Iterator[tuple[int, Sequence[float | None]]]:
    """Yield the rows of a table with their updates; nothing where it is no table."""
    if isinstance(value, Mapping) and not misfit(value):
        yield from zip(value["at"], value["values"], strict=True)


def largest(table: Mapping[str, Any]) -> float | None:
    """Return the greatest figure of a table; None where one of them was not finite, or where there is none."""
    values = [value for _, row in rows(table) for value in row]
    held = [value for value in values if value is not None]
    return max(held) if held and len(held) == len(values) else None


def _measurement(name: str, value: Any) -> Measurement:
    if told := misfit(value):
        raise ContractError(f"its measurement {name[:80]!r} {told}")
    if not isinstance(value, Mapping):
        return None if value is None else figure(value)
    table = [[None if one is None else figure(one) for one in row] for row in value["values"]]
    return {"by": list(value["by"]), "at": list(value["at"]), "values": table}


def _table(by: Sequence[Any], at: Sequence[Any], values: Sequence[Any]) -> str:
    if not by or not all(isinstance(name, str) and name for name in by) or len(set(by)) < len(by):
        return "has a 'by' that is no list of different names"
    whole = all(isinstance(update, int) and not isinstance(update, bool) and update >= 0 for update in at)
    if not whole or any(a >= b for a, b in itertools.pairwise(at)):
        return "has an 'at' that is no list of rising numbers of updates"
    if len(values) != len(at) or not all(_listed(row) and len(row) == len(by) for row in values):
        return f"has 'values' that are not {len(at)} rows of {len(by)} numbers"
    broken = [one for row in values for one in row if one is not None and not _number(one)]
    return f"holds {str(broken[0])[:40]!r} among its 'values'" if broken else ""


def _listed(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
