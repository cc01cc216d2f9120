"""Which records may stand on one board: those of one suite version, in which every part has its newest revision."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synobench.board.runs import Run
from synobench.errors import BenchError

Record = Mapping[str, Any]


def of_suite(records: Iterable[Record], name: str, version: str) -> tuple[list[Record], int]:
    """Return the records of a suite at one version, sorted by key, and how many others there were.

    Raises:
        BenchError: two records have one key.
    """
    here: dict[tuple[str, bool], Record] = {}
    others = 0
    for record in sorted(records, key=lambda r: str(r.get("key"))):
        told = (record.get("inputs") or {}).get("suite") or {}
        if (told.get("name"), told.get("version")) != (name, version):
            others += 1
            continue
        place = str(record.get("key")), record.get("status") == "ok"
        if place in here:
            raise BenchError(f"two records have the key {place[0]}")
        here[place] = record
    return list(here.values()), others


def newest(runs: Sequence[Run], plan: Sequence[Mapping[str, Any]]) -> list[Run]:
    """Keep the runs in which every part has the newest revision that any run or planned cell knows."""
    latest: dict[str, int] = {}
    for inputs in itertools.chain(plan, (run.inputs for run in runs)):
        for part, revision in _parts(inputs):
            latest[part] = max(revision, latest.get(part, revision))
    return [run for run in runs if all(latest[part] == revision for part, revision in _parts(run.inputs))]


def _parts(inputs: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
    """Return each part of a run with its revision; a rule counts as one part wherever it is used."""
    for role, revision in (inputs.get("revisions") or {}).items():
        part = inputs.get(role)
        kind = "rule" if role == "tune" else role
        name = part.get("checkpoint", part["name"]) if isinstance(part, Mapping) else None
        yield kind if name is None else f"{kind} {name}", int(revision)
