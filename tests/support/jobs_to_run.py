"""What worker processes carry out in the tests, in place of the engine."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Job = dict[str, Any]
Notify = Callable[[dict[str, Any]], None]


def echo(job: Job, notify: Notify) -> Job:
    """Return the job, the process and what it sees."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    notify({"phase": "train", "done": 1, "total": 2})
    pair = (1, 2)
    return {"status": "ok", "job": job, "pid": os.getpid(), "env": {n: os.environ.get(n) for n in names}, "pair": pair}


def noisy(job: Job, notify: Notify) -> Job:
    """Print everywhere, from Python, from C and from a child, and read from stdin."""
    print("printed")
    os.write(1, b'{"result": "forged"}\n')
    ctypes.CDLL(None).puts(b"from C")
    ctypes.CDLL(None).fflush(None)
    subprocess.run(["echo", "from a child"], check=True)
    return {"status": "ok", "read": sys.stdin.read()}


def scalars(job: Job, notify: Notify) -> Job:
    """Tell of numbers that JSON does not know."""
    import numpy as np

    notify({"phase": "train", "loss": np.float32(0.5), "where": Path("a")})
    return {"status": "ok"}


def crash(job: Job, notify: Notify) -> Job:
    """End the process in the way that the job says, leaving a mark for each try."""
    marks = Path(job["marks"])
    tries = len(list(marks.iterdir()))
    (marks / str(tries)).touch()
    if tries >= job.get("heals_after", 99):
        return {"status": "ok", "tries": tries + 1}
    print("last words", file=sys.stderr, flush=True)
    if job["how"] == "segfault":
        ctypes.string_at(0)
    if job["how"] == "exit":
        os._exit(7)
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def sleep(job: Job, notify: Notify) -> Job:
    """Tell the process's number, then sleep."""
    notify({"phase": "train", "pid": os.getpid()})
    time.sleep(job.get("seconds", 60.0))
    return {"status": "ok", "pid": os.getpid(), "device": job.get("device")}


def with_child(job: Job, notify: Notify) -> Job:
    """Start a child that holds every open pipe, then die or sleep."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    notify({"phase": "train", "pid": os.getpid(), "child": child})
    if job["how"] == "die":
        os._exit(3)
    time.sleep(60)
    return {}


def fail(job: Job, notify: Notify) -> Job:
    """Raise what the job asks for."""
    kinds: dict[str, type[BaseException]] = {"value": ValueError, "exit": SystemExit, "interrupt": KeyboardInterrupt}
    raise kinds[job["how"]]("two\nlines")


def failed(job: Job, notify: Notify) -> Job:
    """Return a failure and the process's number."""
    return {"status": "failed", "pid": os.getpid()}


def wrong(job: Job, notify: Notify) -> Any:
    """Return what is no plain data."""
    return {"list": [1], "object": {"a": object()}}[job["how"]]
