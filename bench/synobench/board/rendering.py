"""What each renderer writes, made by two processes where a board has many runs.

A copy of the process takes the files that stand `apart` from the others, one after another; the process itself makes
all others, for which the figures of all rows are computed once, and then takes of those that are left.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from synobench.beside import MANY, Shares, able, streaming
from synobench.board.build import Board
from synobench.entries import RendererEntry
from synobench.errors import BenchError


@dataclass(frozen=True)
class Rendered:
    """One file of a board: its name in the board's folder, its bytes (None: not to be), and whether it is committed."""

    name: str
    data: bytes | None
    committed: bool


Made = dict[str, list[Rendered]]

_PICTURES = (".svg", ".pdf")
"""How the names of files end that are drawn: to load what draws them takes as long as to draw four."""


def files(board: Board, entry: RendererEntry) -> Iterator[Rendered]:
    """Render the files of one renderer: one, or one a network."""
    if "{network}" not in entry.file:
        yield Rendered(entry.file, _bytes(board, entry), entry.committed)
        return
    for network in board.networks:
        narrowed = board.of(network)
        yield Rendered(entry.file.replace("{network}", slug(network.label)), _bytes(narrowed, entry), entry.committed)


def _bytes(board: Board, entry: RendererEntry) -> bytes | None:
    try:
        made = entry.load()(board)
    except BenchError:
        raise
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise BenchError(f"renderer {entry.name!r} fails on the board of {board.suite.name}: {cause}") from error
    if isinstance(made, bytes) and entry.committed:
        raise BenchError(f"renderer {entry.name!r} returns bytes; what is committed is text")
    if not isinstance(made, str | bytes | None):
        raise BenchError(f"renderer {entry.name!r} returns a {type(made).__name__}, not text, bytes or None")
    return made.encode() if isinstance(made, str) else made


def slug(text: str) -> str:
    """Return text fit for a file name: lower case, with every run of other characters as one dash."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.") or "unnamed"


def in_two(board: Board, renderers: Sequence[RendererEntry]) -> Made:
    """Return the files that two processes could make, by renderer; none where one process is enough, or all there is.

    What fails is left out, and what would have come behind it: whoever asks then renders it, and tells the error.
    """
    # The process comes late to what is left: not to pictures, if it can be helped, whose library it would load too.
    apart = sorted((entry for entry in renderers if entry.apart), key=lambda entry: not entry.file.endswith(_PICTURES))
    known = board.kept is not None and not board.kept.grown  # then the files are looked up, sooner than a copy is made
    if len(board.runs) < MANY or not apart or known or not able():
        return {}
    with Shares(len(apart)) as shares:
        left = map(apart.__getitem__, shares)

        def copied() -> Iterator[Any]:
            if board.kept:
                board.kept.apart()
            yield board.across, [network.curves for network in board.networks]
            yield _made(board, left), board.kept.news() if board.kept else None

        with streaming(copied) as other:
            _judge(board)
            for board.__dict__["across"], curves in itertools.islice(other.rest(), 1):
                for network, held in zip(board.networks, curves, strict=True):
                    network.__dict__["curves"] = held
            made = _made(board, (entry for entry in renderers if not entry.apart))
            made |= _made(board, left)
            for theirs, news in other.rest():
                made |= theirs
                if board.kept and news:
                    board.kept.add(news)
    return made


def _judge(board: Board) -> None:
    """Grade every entry and judge every row, for files that tell it: a copy makes the curves meanwhile."""
    _ = board.checklists
    for network in board.networks:
        for row in network.rows:
            _ = row.best, row.verdict, row.to_control


def _made(board: Board, renderers: Iterable[RendererEntry]) -> Made:
    made: Made = {}
    with contextlib.suppress(BenchError):
        for entry in renderers:
            made[entry.name] = list(files(board, entry))
    return made
