"""The worker process: jobs come in as JSON lines on stdin, events and results go out as JSON lines on stdout.

One job is one line. The worker first says ``{"ready": pid}``, answers each job with any number of ``{"event": {...}}``
and one ``{"result": {...}}``, and ends when stdin is closed. It dies with its parent, even in the middle of a job.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

PERFORM = "synobench.engine:perform"
"""What carries a job out, unless the job names another callable under ``perform``: (job, notify) -> result."""

PR_SET_PDEATHSIG = 1
THREAD_POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

Notify = Callable[[dict[str, Any]], None]


def worker_command(plugins: Iterable[str] = (), strict: bool = False) -> list[str]:
    """Return the argument list of one worker; `plugins` are local plugin files for jobs that name none themselves."""
    # -P: a numpy.py in the folder where the user stands must not be imported in place of numpy.
    command = [sys.executable, "-P", "-m", "synobench.worker"]
    for path in plugins:
        command += ["-p", path]
    return [*command, "--strict"] if strict else command


def worker_environment() -> dict[str, str]:
    """Return what the environment of a worker sets: glibc keeps freed memory, which saves most page faults."""
    return {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296"}


def threads_of(job: Mapping[str, Any]) -> int:
    """Return how many threads a job may use: its ``threads``, or those of its inputs' budget, or one."""
    budget = (job.get("inputs") or {}).get("budget") or {}
    return max(1, int(job.get("threads") or budget.get("threads") or 1))


def failure(stage: str, kind: str, message: str, trace: str = "") -> dict[str, Any]:
    """Return the result of a job that could not be carried out."""
    error = {"stage": stage, "plugin": None, "kind": kind, "message": message, "traceback": trace}
    return {"status": "failed", "error": error}


class Notifier:
    """Passes events on while a job runs. A watcher that raises is told once and left out: it never harms the run."""

    def __init__(self, notify: Notify | None) -> None:
        self._notify = notify

    def __call__(self, event: dict[str, Any]) -> None:
        """Pass one event on."""
        notify = self._notify
        if notify is None:
            return
        try:
            notify(event)
        except Exception as error:  # noqa: BLE001 - a stranger's watcher may raise anything
            self.close()
            message = f"progress is no longer watched: {type(error).__name__}: {error}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    def close(self) -> None:
        """Drop all further events, so that a thread left over from one job cannot speak in the next."""
        self._notify = None


def perform(job: Mapping[str, Any], notify: Notify | None = None) -> dict[str, Any]:
    """Carry one job out in this process and return its result as plain data.

    Whatever the job raises, ``SystemExit`` too, becomes a failure; only ``KeyboardInterrupt`` comes through.

    Args:
        job: plain data; ``perform`` may name another callable than the engine's as ``module:attribute``.
        notify: told each event as it happens.
    """
    notifier = Notifier(notify)
    try:
        module, _, attribute = str(job.get("perform", PERFORM)).partition(":")
        code = getattr(importlib.import_module(module), attribute)
        result = code(json.loads(json.dumps(dict(job))), notifier)
        if not isinstance(result, dict):
            raise TypeError(f"a result must be a dict, not {type(result).__name__}")
        # The same plain data comes out wherever the job ran: tuples are lists, keys are text.
        plain: dict[str, Any] = json.loads(json.dumps(result))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's method may raise anything
        message = " ".join(str(error).split()) or type(error).__name__
        return failure("worker", type(error).__name__, message, traceback.format_exc())
    finally:
        notifier.close()
    return plain


def serve(jobs: Iterable[str], answers: TextIO, defaults: Mapping[str, Any]) -> None:
    """Carry out the jobs of an open stream one after the other, until it is closed."""
    send = _Channel(answers)
    send({"ready": os.getpid()})
    for line in filter(str.strip, jobs):
        try:
            job = {**defaults, **json.loads(line)}
            _pin_threads(threads_of(job))
        except (TypeError, ValueError, AttributeError) as error:
            send({"result": failure("worker", "BadJob", f"the line is not a job: {error}")})
            continue
        send({"result": perform(job, lambda event: send({"event": event}))})


class _Channel:
    """Writes one JSON line a message, whole ones only, from whichever thread."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def __call__(self, message: dict[str, Any]) -> None:
        line = json.dumps(message, default=_plain)
        try:
            with self._lock:
                self._stream.write(line + "\n")
                self._stream.flush()
        except BrokenPipeError:
            os._exit(1)  # nobody is left to answer


def _plain(value: Any) -> Any:
    """Turn a tensor's or an array's scalar in an event into a number, and anything else into text."""
    try:
        return value.item()
    except (AttributeError, RuntimeError, ValueError):
        return str(value)


def _pin_threads(threads: int) -> None:
    """Bound the pools that are read from the environment: it works until the first job imports numpy or torch."""
    os.environ.update(dict.fromkeys(THREAD_POOLS, str(threads)))


def _die_with_parent() -> None:
    """Ask Linux to kill this process when the thread that started it ends."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _watch_parent(parent: int, period: float = 0.5) -> None:
    """Kill this process once it has another parent: for systems where nobody else does it."""
    while os.getppid() == parent:
        time.sleep(period)
    os.kill(os.getpid(), signal.SIGKILL)


def _take_channel() -> tuple[TextIO, TextIO]:
    """Take stdin and stdout for the protocol; plugins that print go to stderr, those that read find nothing."""
    jobs = os.fdopen(os.dup(0), "r", encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return jobs, answers


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker until stdin is closed."""
    parser = argparse.ArgumentParser(prog="synobench.worker", description=__doc__)
    parser.add_argument(
        "-p", "--plugin", action="append", default=[], help="a local plugin file, for jobs that name none"
    )
    parser.add_argument("--strict", action="store_true", help="a broken plugin is an error")
    arguments = parser.parse_args(argv)
    parent = os.getppid()
    _die_with_parent()
    threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    faulthandler.enable()
    jobs, answers = _take_channel()
    serve(jobs, answers, {"plugins": arguments.plugin, "strict": arguments.strict})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
