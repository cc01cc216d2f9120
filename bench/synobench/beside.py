"""A part of some work done beside the rest, in a copy of this process.

It saves time, and nothing else can depend on it: where no copy can be made, or one fails in whatever way, whoever asked
does that part too, and tells an error as if there had never been another process.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import BinaryIO, Generic, TypeVar

T = TypeVar("T")

MANY = 1_000
"""From so many records on, a board is made sooner by two processes than by one."""

_LENGTH = 8
"""The bytes that tell the length of what follows."""

_END = 2 ** (8 * _LENGTH) - 1
"""Told in place of a length when nothing follows."""

_ROOM = 2**20
"""The bytes that may wait in a pipe, where the system lends so many, lest a copy wait for its reader."""

_ALONE = {"torch"}
"""Libraries whose threads do not outlive a copy."""


class Told(Generic[T]):
    """What a copy of the process tells of its work, a part at a time, in its order.

    Attributes:
        whole: whether it told all that it had to tell.
    """

    def __init__(self, pipe: BinaryIO | None) -> None:
        self._pipe = pipe
        self.whole = False

    def ready(self) -> Iterator[T]:
        """Yield the parts that have been told so far."""
        while self._pipe is not None and select.select([self._pipe], [], [], 0)[0]:
            yield from self._next(self._pipe)

    def rest(self) -> Iterator[T]:
        """Yield all further parts, as they are told."""
        while self._pipe is not None:
            yield from self._next(self._pipe)

    def _next(self, pipe: BinaryIO) -> Iterator[T]:
        """Yield one part; nothing at the end, or where the copy failed or was ended from without."""
        size = int.from_bytes(_read(pipe, _LENGTH) or b"", "big")
        told = _read(pipe, size) if 0 < size < _END else None
        if told is None:
            self._pipe, self.whole = None, size == _END
        else:
            yield pickle.loads(told)


def _read(pipe: BinaryIO, size: int) -> bytearray | None:
    """Return so many bytes, or None where there are not so many."""
    held = bytearray(size)
    view = memoryview(held)
    while view:
        count = pipe.readinto(view)  # type: ignore[attr-defined]
        if not count:
            return None
        view = view[count:]
    return held


@contextlib.contextmanager
def streaming(work: Callable[[], Iterable[T]]) -> Iterator[Told[T]]:
    """Begin some work in a copy of this process, and lend what it tells; nothing where no copy could be made.

    Each part of it travels as a pickle. What the work changes besides is lost. The copy is gone when the block ends.
    """
    made = _copied(work) if able() else None
    if made is None:
        yield Told(None)
        return
    process, pipe = made
    try:
        with pipe:
            yield Told(pipe)
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


class Shares:
    """The numbers from 0 on of parts of some work that several processes take in turn, each part once.

    Those that are left stand in a pipe, from which a process reads one at a time.

    Args:
        count: of the parts, `MOST` at most.
    """

    MOST = 2**12
    """A pipe holds so many numbers, even where the system lends it 16 KiB."""

    def __init__(self, count: int) -> None:
        self._source, sink = os.pipe()
        os.write(sink, b"".join(i.to_bytes(4, "big") for i in range(count)))
        os.close(sink)

    def __enter__(self) -> Shares:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._source)

    def __iter__(self) -> Iterator[int]:
        while place := os.read(self._source, 4):
            yield int.from_bytes(place, "big")


def able() -> bool:
    """Say whether a copy of this process could work beside it, and on a processor of its own.

    Only the thread that asks lives on in a copy: a lock that another one holds would stay locked there for ever.
    """
    if sys.platform != "linux" or threading.active_count() > 1 or not _ALONE.isdisjoint(sys.modules):
        return False
    return len(os.sched_getaffinity(0)) > 1


def _copied(work: Callable[[], Iterable[object]]) -> tuple[int, BinaryIO] | None:
    """Return the number of a process that does the work, and the pipe on which it tells what it has."""
    source, sink = os.pipe()
    _widen(sink)
    try:
        with warnings.catch_warnings():
            # The threads of numerical libraries, of which Python warns, see to themselves when a process is copied.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = os.fork()
    except OSError:
        os.close(source)
        os.close(sink)
        return None
    if not process:
        _work(work, source, sink)
    os.close(sink)
    return process, os.fdopen(source, "rb", buffering=0)


def _widen(sink: int) -> None:
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, _ROOM)


def _work(work: Callable[[], Iterable[object]], source: int, sink: int) -> None:
    """Do the work in the copy, tell it, and end there: nothing that this process was about to do goes on."""
    code = 1
    try:
        os.close(source)
        with os.fdopen(sink, "wb") as pipe:
            for part in work():
                told = pickle.dumps(part, pickle.HIGHEST_PROTOCOL)
                pipe.write(len(told).to_bytes(_LENGTH, "big") + told)
                pipe.flush()
            pipe.write(_END.to_bytes(_LENGTH, "big"))
        code = 0
    finally:
        # No buffer is written and no exit handler run, for they are those of the process that goes on.
        os._exit(code)
