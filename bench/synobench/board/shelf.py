"""Records as a board reads them: a run at a time, those that were read before out of a cache.

A run is kept by the digest of the bytes of its record and by the counters and metrics that were applied to it, so a
record that changed is another one. Parts that thousands of runs share are kept once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from synobench.board.comparable import OfSuite
from synobench.board.decoded import Reader
from synobench.board.runs import Run, Score
from synobench.errors import BenchError
from synobench.kept import Kept
from synobench.store import content_of, loads, plainly

_SCORES = ("top1", "top5")
_SHARED = ("machine", "code", "caveats", "libraries")
_OWN = tuple(f.name for f in dataclasses.fields(Run) if f.name not in (*_SCORES, *_SHARED, "inputs", "mark"))


class Shelf:
    """The records that were read before, each by the bytes of its file.

    Args:
        kept: what was read before.
        counted: what tells the counters and metrics of the board from all others.
    """

    def __init__(self, kept: Kept, counted: str) -> None:
        self.kept, self._counted = kept, counted
        self._parts: dict[str, Any] = {}
        self._places: dict[int, tuple[Any, str]] = {}

    def runs(self, here: OfSuite, reader: Reader, paths: Iterable[Path]) -> Iterator[Run]:
        """Yield the runs of a suite out of files; `reader` makes those of records that were not read before.

        Raises:
            BenchError: a record cannot be read, or contradicts itself.
        """
        for path in paths:
            content = content_of(path)
            mark = self.kept.key("run", self._counted, hashlib.sha256(content).digest())
            run = self._known(mark)
            if run is None:
                run = reader.read(content, str(path), here, mark)
                if run is not None:
                    self._keep(run)
                    yield run
            elif here.admits({"status": "ok", "key": run.key, "inputs": run.inputs}):
                yield run

    def _known(self, mark: bytes) -> Run | None:
        data = self.kept.find(mark)
        try:
            return None if data is None else self._run(mark, data)
        except (ValueError, TypeError, KeyError, LookupError, BenchError):
            return None  # another bench wrote it, or a part of it is gone

    def _run(self, mark: bytes, data: bytes) -> Run:
        text, _, masks = data.partition(b"\n")
        told = loads(text)
        scores: dict[str, Score | None] = dict.fromkeys(_SCORES)
        for name in _SCORES:
            if told[name] is not None:
                hits, total = told[name]
                size = (total + 7) // 8
                scores[name], masks = Score(hits, total, masks[:size]), masks[size:]
        run = object.__new__(Run)
        # A frozen class sets its fields one by one, which thousands of runs wait for.
        held = run.__dict__
        held.update(told["own"], mark=mark, **scores)
        held["kept_by_tensor"] = tuple(held["kept_by_tensor"])
        held.update({name: self._part(place) for name, place in told["shared"].items()})
        held["inputs"] = {
            role: self._part(part[0]) if isinstance(part, list) else part for role, part in told["inputs"].items()
        }
        return run

    def _part(self, place: str) -> Any:
        if place not in self._parts:
            data = self.kept.find(bytes.fromhex(place))
            if data is None:
                raise LookupError(place)
            part = json.loads(data)
            self._parts[place] = tuple(part["tuple"]) if "tuple" in part else part["plain"]
        return self._parts[place]

    def _keep(self, run: Run) -> None:
        """Keep a run, unless it holds what JSON cannot tell."""
        try:
            inputs = {role: [self._shared(p)] if isinstance(p, dict) else _scalar(p) for role, p in run.inputs.items()}
            told = {
                "own": {name: getattr(run, name) for name in _OWN},
                "shared": {name: self._shared(getattr(run, name)) for name in _SHARED},
                "inputs": inputs,
                **{name: score and (score.hits, score.total) for name, score in self._scores(run)},
            }
            text = plainly(told)
        except (ValueError, TypeError, OverflowError):
            return
        self.kept.put(run.mark, text + b"\n" + b"".join(score.mask for _, score in self._scores(run) if score))

    @staticmethod
    def _scores(run: Run) -> list[tuple[str, Score | None]]:
        return [("top1", run.top1), ("top5", run.top5)]

    def _shared(self, part: Any) -> str:
        """Keep a part that runs share, once, and return where."""
        known = self._places.get(id(part))
        if known is None:
            told = {"tuple": list(part)} if isinstance(part, tuple) else {"plain": part}
            data = json.dumps(told, allow_nan=False).encode()
            if repr(json.loads(data)) != repr(told):
                raise ValueError("it does not read as it was written")
            place = self.kept.key("part", data)
            self.kept.put(place, data)
            known = self._places[id(part)] = part, place.hex()  # the part is held too, lest its place be taken
        return known[1]


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    raise TypeError("not a plain input")
