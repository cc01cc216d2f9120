"""What can go wrong, and how it is told: one line that names what was wrong and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """A mistake that the user can mend. The command line prints it as one line and exits with 2."""


class SealedError(BenchError):
    """The test split was touched before judging."""


class ContractError(BenchError):
    """A plugin broke its contract: a wrong mask, an unknown tensor, a non-finite score."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest known name, else the list of what is known."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (known: {', '.join(names)})" if names else " (none is known)"
