"""Records as files: where there are many, half of them are read in a second process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from synobench.beside import beside
from synobench.board.comparable import OfSuite
from synobench.board.runs import Parts, Run
from synobench.store import read_json

Read = Callable[[Mapping[str, Any]], Run]

MANY = 1_000
"""From so many records on, two processes read sooner than one."""


class Files:
    """The records of a suite, as files.

    Args:
        paths: of the files, in the order of keys.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def runs(self, here: OfSuite, read: Read, parts: Parts) -> list[Run]:
        """Return the runs of a suite, their common parts held once.

        Raises:
            BenchError: a record cannot be read, or contradicts itself; the first such in the order of keys is told.
        """
        middle = len(self._paths) // 2 if len(self._paths) >= MANY else len(self._paths)
        first, second = self._paths[:middle], self._paths[middle:]
        if not second:
            return _runs(here, read, first)
        with beside(partial(_half, here, read, second)) as other:
            found = _runs(here, read, first)
            told = other()
        if told is not None and here.join(told[1]):
            return [*found, *parts.joined(told[0])]
        return found + _runs(here, read, second)


def _half(here: OfSuite, read: Read, paths: Sequence[Path]) -> tuple[list[Run], OfSuite]:
    return _runs(here, read, paths), here


def _runs(here: OfSuite, read: Read, paths: Sequence[Path]) -> list[Run]:
    return [read(record) for record in here.done(map(read_json, paths))]
