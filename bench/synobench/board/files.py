"""Records as files: where there are many, two processes read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from synobench.beside import MANY, Shares, streaming
from synobench.board.comparable import OfSuite
from synobench.board.decoded import Reader
from synobench.board.runs import Run
from synobench.board.shelf import Shelf
from synobench.errors import BenchError
from synobench.kept import Kept, News
from synobench.stats import special
from synobench.store import content_of

PIECE = 100
"""So many records a process takes at a time: in some hundredths of a second it looks at what the other read."""

Piece = tuple[int, list[Run]]
Seen = tuple[OfSuite, News | None]


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

    def runs(self, here: OfSuite, reader: Reader) -> list[Run]:
        """Return the runs of a suite, their common parts held once.

        Raises:
            BenchError: a record cannot be read, or contradicts itself; the first such in the order of keys is told.
        """
        # To look up what is kept takes hardly longer than to pass it from one process to another.
        if len(self._paths) >= MANY and (self.kept is None or self.kept.empty):
            found = self._in_two(here, reader)
            if found is not None:
                return found
            here.forget()
        return self._read(here, reader, self._paths)

    def _in_two(self, here: OfSuite, reader: Reader) -> list[Run] | None:
        """Return the runs that two processes read; None where one is left to do it all, or to tell what is wrong."""
        size = max(PIECE, len(self._paths) // Shares.MOST + 1)
        pieces = [self._paths[i : i + size] for i in range(0, len(self._paths), size)]
        found: dict[int, list[Run]] = {}
        own = 0
        seen: list[Seen] = []

        def take(told: Iterator[Piece | Seen]) -> None:
            for part in told:
                if isinstance(part[0], int):
                    found[part[0]] = list(reader.parts.joined(part[1]))
                else:
                    seen.append(part)

        with Shares(len(pieces)) as shares, streaming(partial(self._copied, here, reader, pieces, shares)) as other:
            special.load()  # it takes a while, and the copy does without
            try:
                for i in shares:
                    found[i] = self._read(here, reader, pieces[i])
                    own += 1
                    take(other.ready())
                take(other.rest())
            except BenchError:
                return None
        whole = len(found) == len(pieces) and (seen or own == len(pieces))
        if not whole or not all(here.join(theirs) for theirs, _ in seen):
            return None
        for _, news in seen:
            if self.kept and news:
                self.kept.add(news)
        return [run for i in sorted(found) for run in found[i]]

    def _copied(
        self, here: OfSuite, reader: Reader, pieces: Sequence[Sequence[Path]], shares: Shares
    ) -> Iterator[Piece | Seen]:
        if self.kept:
            self.kept.apart()
        for i in shares:
            yield i, self._read(here, reader, pieces[i])
        yield here, self.kept.news() if self.kept else None

    def _read(self, here: OfSuite, reader: Reader, paths: Sequence[Path]) -> list[Run]:
        if self._shelf:
            return list(self._shelf.runs(here, reader, paths))
        found = (reader.read(content_of(path), str(path), here) for path in paths)
        return [run for run in found if run is not None]
