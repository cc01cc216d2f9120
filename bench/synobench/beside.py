"""A part of some work done beside the rest, in a copy of this process.

It saves time, and nothing else can depend on it: where no copy can be made, or one fails in whatever way, whoever asked
does that part too, and tells an error as if there had never been another process.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar

T = TypeVar("T")

MANY = 1_000
"""From so many records on, a board is made sooner by two processes than by one."""

_LENGTH = 8
"""The bytes that tell the length of a result."""

_ALONE = {"torch"}
"""Libraries whose threads do not outlive a copy."""


@contextlib.contextmanager
def beside(work: Callable[[], T]) -> Iterator[Callable[[], T | None]]:
    """Begin some work in a copy of this process, and lend what waits for its result: None where it was not done.

    The result travels as a pickle. What the work changes besides is lost. The copy is gone when the block ends.
    """
    made = _copied(work) if able() else None
    if made is None:
        yield lambda: None
        return
    process, pipe = made
    try:
        with pipe:
            yield lambda: _received(pipe)
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def able() -> bool:
    """Say whether a copy of this process could work beside it, and on a processor of its own.

    Only the thread that asks lives on in a copy: a lock that another one holds would stay locked there for ever.
    """
    if sys.platform != "linux" or threading.active_count() > 1 or not _ALONE.isdisjoint(sys.modules):
        return False
    return len(os.sched_getaffinity(0)) > 1


def _copied(work: Callable[[], object]) -> tuple[int, BinaryIO] | None:
    """Return the number of a process that does the work, and the pipe on which it tells the result."""
    source, sink = os.pipe()
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
    return process, os.fdopen(source, "rb")


def _work(work: Callable[[], object], source: int, sink: int) -> None:
    """Do the work in the copy, tell the result, and end there: nothing that this process was about to do goes on."""
    code = 1
    try:
        os.close(source)
        with os.fdopen(sink, "wb") as pipe:
            told = pickle.dumps(work(), pickle.HIGHEST_PROTOCOL)
            pipe.write(len(told).to_bytes(_LENGTH, "big") + told)
        code = 0
    finally:
        # No buffer is written and no exit handler run, for they are those of the process that goes on.
        os._exit(code)


def _received(pipe: BinaryIO) -> Any:
    size, told = pipe.read(_LENGTH), pipe.read()
    if len(size) < _LENGTH or len(told) != int.from_bytes(size, "big"):
        return None  # it failed, or was ended from without
    return pickle.loads(told)
