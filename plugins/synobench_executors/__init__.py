"""Where runs are carried out: in this process, or by worker processes whose crashes harm nobody else.

Both answer ``submit(job, notify)`` with a ``concurrent.futures.Future`` of the result, and ``close(cancel)``. Each
begins a job with the event ``{"phase": "start", "done": 0, "total": 0, "attempt": 1}``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from synobench.entries import ExecutorEntry
from synobench.hookspecs import hookimpl
from synobench.params import param


@dataclass(frozen=True)
class SlotsParams:
    """The parameters of `slots`."""

    n: int = param(0, low=0, doc="worker processes; 0: one a named device, or as many as the cores hold")
    retries: int = param(2, low=0, doc="how often a job is tried again after its worker died")
    devices: tuple[str, ...] = param((), doc="devices handed out to the slots in turn, as in cuda:0/cuda:1")


@hookimpl
def synobench_executors() -> Iterable[ExecutorEntry]:
    """Register the two executors that need nothing but this machine."""
    yield ExecutorEntry(
        "inline",
        summary="in this process, one after the other; prints and debuggers work, a crash ends everything",
        citation="none: a loop",
        run="synobench_executors.inline:Inline",
    )
    yield ExecutorEntry(
        "slots",
        params=SlotsParams,
        summary="a queue with one worker process a slot, reused, replaced when it dies, its run tried again",
        citation="none: a queue",
        run="synobench_executors.slots:Slots",
    )
