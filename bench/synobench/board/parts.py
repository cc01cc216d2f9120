"""What thousands of runs have in common, held once."""

from __future__ import annotations

import marshal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from synobench.board.runs import Run

Json = Any

_SHARED = ("machine", "code", "caveats", "libraries")
"""What thousands of runs have in common, beside parts of their inputs."""


class Parts:
    """Holds equal parts of records once, as pruners, versions of libraries and machines, for thousands repeat few.

    What it gives is shared between runs and must not be changed.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[object, str | bytes], Any] = {}
        self._sound: dict[tuple[str, str | bytes], Any] = {}

    def one(self, part: Any) -> Any:
        """Return the first part that reads the same."""
        return self._held.setdefault((None, _spelled(part)), part)

    def made(self, make: Callable[[Any], Any], part: Any) -> Any:
        """Return what is made of a part, once for all that read the same."""
        place = make, _spelled(part)
        if place not in self._held:
            self._held[place] = make(part)
        return self._held[place]

    def joined(self, runs: Iterable[Run]) -> Iterator[Run]:
        """Yield runs that another process read, the parts that they share held once with those of all others."""
        known: dict[int, Any] = {}  # what they share is one thing in their pickle, so each is spelled once

        def one(part: Any) -> Any:
            if id(part) not in known:
                known[id(part)] = part, self.one(part)  # the part is held too, lest its place be taken
            return known[id(part)][1]

        for run in runs:
            held = run.__dict__
            held.update({name: one(held[name]) for name in _SHARED})
            held["inputs"] = {sys.intern(k): one(v) if isinstance(v, dict) else v for k, v in run.inputs.items()}
            yield run

    def inputs(self, inputs: Mapping[str, Json]) -> tuple[dict[str, Json], list[str]]:
        """Return inputs with their parts held once, and the roles in which a part was not seen before.

        Whoever asks looks at these, and goes no further with a part that is not sound.
        """
        held: dict[str, Json] = {}
        fresh = []
        for role, part in inputs.items():
            found = part
            if type(part) is dict:
                place = role, _spelled(part)
                found = self._sound.get(place)
                if found is None:
                    found = self._sound[place] = self._held.setdefault((None, place[1]), part)
                    fresh.append(role)
            elif part is not None:
                found = self.one(part) if isinstance(part, dict) else part
                fresh.append(role)
            held[sys.intern(role)] = found
        return held, fresh


def _spelled(part: Any) -> str | bytes:
    """Return what tells plain data from any other, the kinds of its numbers and the order of its names too."""
    try:
        return marshal.dumps(part, 2)  # quicker than a text; the later versions spell by identity
    except ValueError:
        return repr(part)
