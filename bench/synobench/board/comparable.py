"""Which records may stand on one board: those of one suite version, in which every part has its newest revision."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from synobench.board.runs import Run
from synobench.errors import BenchError

Record = Mapping[str, Any]


class OfSuite:
    """Tells the records of a suite at one version from all others.

    Attributes:
        failed: those that are no ``ok`` records, sorted by key.
        others: how many records are of another suite or version.
    """

    def __init__(self, name: str, version: str) -> None:
        self._suite = name, version
        self.forget()

    def forget(self) -> None:
        """Begin anew, as if none had been seen."""
        self._failed: dict[str, Record] = {}
        self._seen: set[str] = set()
        self.others = 0

    @property
    def failed(self) -> list[Record]:
        """The failures seen."""
        return [self._failed[key] for key in sorted(self._failed)]

    def done(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the ``ok`` records of the suite, in the order in which they come.

        Raises:
            BenchError: two records have one key.
        """
        return filter(self.admits, records)

    def join(self, other: OfSuite) -> bool:
        """Take note of what another of the same suite has seen, unless both have seen one key; say whether it did."""
        if self._seen & other._seen or self._failed.keys() & other._failed.keys():
            return False
        self._seen |= other._seen
        self._failed |= other._failed
        self.others += other.others
        return True

    def admits(self, record: Record) -> bool:
        """Say whether a record is an ``ok`` one of the suite, and take note of it.

        Raises:
            BenchError: a record of its key was seen before.
        """
        inputs, key = record.get("inputs"), str(record.get("key"))
        told = inputs.get("suite") if isinstance(inputs, dict | Mapping) else None
        told = told if isinstance(told, dict | Mapping) else {}
        ok = record.get("status") == "ok"
        if (told.get("name"), told.get("version")) != self._suite:
            self.others += 1
            return False
        if key in (self._seen if ok else self._failed):
            raise BenchError(f"two records have the key {key}")
        if ok:
            self._seen.add(key)
        else:
            self._failed[key] = record
        return ok


def newest(runs: Sequence[Run], plan: Sequence[Mapping[str, Any]]) -> list[Run]:
    """Keep the runs in which every part has the newest revision that any run or planned cell knows."""
    latest: dict[str, int] = {}
    known: dict[tuple[int, ...], tuple[tuple[str, int], ...]] = {}
    told = []
    for run in runs:
        revisions = run.inputs.get("revisions") or {}
        place = (id(revisions), *(id(run.inputs.get(role)) for role in revisions))  # runs hold equal parts once
        if place not in known:
            known[place] = tuple(_parts(run.inputs))
        told.append(known[place])
    for parts in itertools.chain(map(_parts, plan), set(told)):
        for part, revision in parts:
            latest[part] = max(revision, latest.get(part, revision))
    held = {parts: all(latest[part] == revision for part, revision in parts) for parts in set(told)}
    return [run for run, parts in zip(runs, told, strict=True) if held[parts]]


def _parts(inputs: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
    """Return each part of a run with its revision; a rule counts as one part wherever it is used."""
    for role, revision in (inputs.get("revisions") or {}).items():
        part = inputs.get(role)
        kind = "rule" if role == "tune" else role
        name = part.get("checkpoint", part["name"]) if isinstance(part, Mapping) else None
        yield kind if name is None else f"{kind} {name}", int(revision)
