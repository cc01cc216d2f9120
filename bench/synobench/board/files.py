"""Records as files: where there are many, half of them are read in a second process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from synobench.beside import MANY, beside
from synobench.board.comparable import OfSuite
from synobench.board.runs import Parts, Run
from synobench.board.shelf import Read, Shelf
from synobench.kept import Kept, News
from synobench.stats import special
from synobench.store import read_json


class Files:
    """The records of a suite, as files.

    Args:
        paths: of the files, in the order of keys.
        shelf: those that were read before, if that is kept.
    """

    def __init__(self, paths: Sequence[Path], shelf: Shelf | None = None) -> None:
        self._paths, self._shelf = paths, shelf

    @property
    def kept(self) -> Kept | None:
        """What was computed before, if that is kept."""
        return self._shelf.kept if self._shelf else None

    def runs(self, here: OfSuite, read: Read, parts: Parts) -> list[Run]:
        """Return the runs of a suite, their common parts held once.

        Raises:
            BenchError: a record cannot be read, or contradicts itself; the first such in the order of keys is told.
        """
        # To look up what is kept takes hardly longer than to pass it from one process to another.
        split = len(self._paths) >= MANY and (self.kept is None or self.kept.empty)
        middle = len(self._paths) // 2 if split else len(self._paths)
        first, second = self._paths[:middle], self._paths[middle:]
        if not second:
            return self._read(here, read, first)
        with beside(partial(self._copied, here, read, second)) as other:
            special.load()  # it takes as long as the copy takes to tell what it read, and the copy does without
            found = self._read(here, read, first)
            told = other()
        if told is None or not here.join(told[1]):
            return found + self._read(here, read, second)
        if self.kept and told[2]:
            self.kept.add(told[2])
        return [*found, *parts.joined(told[0])]

    def _copied(self, here: OfSuite, read: Read, paths: Sequence[Path]) -> tuple[list[Run], OfSuite, News | None]:
        if self.kept:
            self.kept.apart()
        return self._read(here, read, paths), here, self.kept.news() if self.kept else None

    def _read(self, here: OfSuite, read: Read, paths: Sequence[Path]) -> list[Run]:
        if self._shelf:
            return list(self._shelf.runs(here, read, paths))
        return [read(record, b"") for record in here.done(map(read_json, paths))]
