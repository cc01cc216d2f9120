"""The rule `spy`: backprop that writes down each epoch and, once, stays in the one that a file names.

``SPY_LOG`` is the file that it writes to, a line an epoch; ``SPY_HOLD`` holds a phase, an epoch and how often it must
have begun, and is removed as that comes true. Both stand in the environment, so that no key depends on them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from synobench import RuleEntry, hookimpl
from synobench_backprop import Backprop


def spy(params: Backprop) -> Any:
    """Return a rule that is watched."""
    from synobench.rules import Progress, Session
    from synobench_backprop.rule import BackpropRule

    class Spy(BackpropRule):
        def epoch(self, session: Session, epoch: int) -> Iterator[Progress]:
            with Path(os.environ["SPY_LOG"]).open("a") as log:
                log.write(f"{session.phase} {epoch} {os.getpid()}\n")
            for i, progress in enumerate(super().epoch(session, epoch)):
                yield progress
                if i == 2 and _held(f"{session.phase} {epoch}"):
                    time.sleep(600)

    return Spy(params)


def _held(place: str) -> bool:
    file, log = Path(os.environ["SPY_HOLD"]), Path(os.environ["SPY_LOG"])
    begun = sum(line.startswith(f"{place} ") for line in log.read_text().splitlines())
    if not file.exists() or file.read_text() != f"{place} {begun}":
        return False
    file.unlink()
    return True


@hookimpl
def synobench_rules() -> Iterator[RuleEntry]:
    """Register the rule."""
    yield RuleEntry("spy", summary="backprop that is watched", params=Backprop, run=spy, penalty=True)
