"""The special functions of scipy, which takes longer to load than most boards to compute: loaded for the first one."""

from __future__ import annotations

from typing import Any


def load() -> Any:
    """Return the module of them."""
    from scipy import special

    return special


def __getattr__(name: str) -> Any:
    found = globals()[name] = getattr(load(), name)
    return found
