"""The built-in suites: TOML files of this package, so that an installed bench has them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.resources import files

from synobench import SuiteEntry, hookimpl


def read(name: str) -> str:
    """Return the TOML text of a suite of this package."""
    return files(__package__).joinpath(f"{name.replace('-', '_')}.toml").read_text(encoding="utf-8")


SUMMARIES = {
    "one-shot": "accuracy after pruning a trained network with no retraining, and what the pruning took",
    "quickstart": "everything, small, on the digits data that ships with the install",
    "rules": "training rules side by side: accuracy, samples, time, and update norms by depth",
    "sparsity": "accuracy against sparsity and SynOps: train, prune, fine-tune within the same budget",
}


@hookimpl
def synobench_suites() -> Iterator[SuiteEntry]:
    """Register the suites."""
    for name, summary in SUMMARIES.items():
        yield SuiteEntry(name, summary=summary, citation="none: protocol", run=partial(read, name))
