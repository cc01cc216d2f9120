"""What a comparison says, before any format: sentences, tables of plain text, and the same as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synobench.stats.curves import AtLoss
from synobench.stats.intervals import Estimate
from synobench.stats.multiple import Comparison
from synobench.stats.robust import Superiority

Facts = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """A titled table of plain text.

    Args:
        title, heads, rows: the table.
        words: heads of columns that stand left.
        aside: heads of columns that a terminal has no room for.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: frozenset[str] = frozenset()
    aside: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Report:
    """A comparison.

    Args:
        title: what is compared with what.
        sentences: what holds of all of it, above the tables.
        sections: the tables that have rows.
        notes: how to read them.
        facts: the same as plain data, every figure in full.
        shared: how many cells both sides have; 0 where there is nothing to compare.
    """

    title: str
    sentences: tuple[str, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...]
    facts: Mapping[str, Any]
    shared: int


def comparison_facts(found: Comparison | None) -> Facts | None:
    """Return a comparison as plain data; its interval stands at `level`."""
    if found is None:
        return None
    return {
        "difference": estimate_facts(found.difference),
        "level": found.level,
        "p": found.p,
        "p_holm": found.adjusted,
        "p_equivalence": found.equivalence,
        "sign_flip": {"p": found.flip.p, "floor": found.flip.floor} if found.flip else None,
        "margin": found.margin,
        "verdict": found.verdict,
        "says": found.says(),
        "seeds_needed": found.needed,
    }


def estimate_facts(found: Estimate | None) -> Facts | None:
    """Return an estimate as plain data."""
    if found is None:
        return None
    return {"n": found.n, "mean": found.mean, "sd": found.sd, "low": found.low, "high": found.high}


def superiority_facts(found: Superiority | None) -> Facts | None:
    """Return P(a > b) as plain data."""
    return None if found is None else {"probability": found.probability, "low": found.low, "high": found.high}


def loss_facts(found: AtLoss | None) -> Facts | None:
    """Return a crossing as plain data."""
    if found is None:
        return None
    return {"n": found.n, "value": found.value, "low": found.low, "high": found.high, "bounded": list(found.bounded)}
