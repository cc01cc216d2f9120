"""One worker process, seen from its parent."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from synobench.worker import worker_environment

TAIL = 4000
"""Characters of a dead worker's stderr that its failure quotes."""


class WorkerDiedError(Exception):
    """The worker ended without a result. `trace` holds the end of what it wrote to stderr."""

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace


class Worker:
    """A worker process: jobs go in by `do`, one at a time; `kill` may be called from any thread.

    On Linux it is killed when the thread that built it ends.

    Raises:
        WorkerDiedError: it could not be started.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._errors = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed by stop
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                env={**os.environ, **worker_environment()},
                process_group=0,  # what a job started dies with it, and Ctrl-C reaches the parent alone
            )
        except OSError as error:
            self._errors.close()
            raise WorkerDiedError(f"the worker process could not be started: {error}") from None
        self._lock, self._pending, self._ready = threading.Lock(), b"", False

    def do(self, job: str, notify: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Carry out one job, given as a JSON line.

        Raises:
            WorkerDiedError: the worker ended first.
        """
        self._errors.truncate(0)
        if not self._ready:
            # A worker is tied to its parent by the time it is ready: no job can outlive us.
            self._ready = any("ready" in message for message in self._messages())
        if self._ready and self._write(job.encode() + b"\n"):
            for message in self._messages():
                if "result" in message:
                    result: dict[str, Any] = message["result"]
                    return result
                notify(message["event"])
        raise self._died()

    def kill(self) -> None:
        """End the worker and all that it started, at once."""
        with self._lock:
            if self._process.returncode is None:
                self._kill_group()

    def stop(self, patience: float = 5.0) -> None:
        """Let an idle worker end by itself, and kill it where it does not; frees what it held."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._reap(patience)
        self._errors.close()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _ended(self) -> bool:
        """Tell whether the process ended, without reaping it: until then its group's number cannot be another's."""
        if self._process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _reap(self, patience: float) -> int:
        """Wait for the end, then kill what the worker left behind, itself too if need be; return its exit code."""
        end = time.monotonic() + patience
        while not self._ended() and time.monotonic() < end:
            time.sleep(0.005)
        with self._lock:
            if self._process.returncode is None:
                self._kill_group()
                self._process.wait()
        return self._process.returncode

    def _write(self, line: bytes) -> bool:
        assert self._process.stdin is not None
        view = memoryview(line)
        try:
            while view:
                view = view[self._process.stdin.write(view) or 0 :]
        except BrokenPipeError:
            return False
        return True

    def _messages(self) -> Iterator[dict[str, Any]]:
        """Yield what the worker says until it ends."""
        while True:
            line, found, rest = self._pending.partition(b"\n")
            if found:
                self._pending = rest
                yield json.loads(line)
                continue
            more = self._read()
            if not more:
                return
            self._pending += more

    def _read(self) -> bytes:
        assert self._process.stdout is not None
        waiting = select.poll()
        waiting.register(self._process.stdout, select.POLLIN)
        # A child forked by a job can hold the pipe open after the worker's death: the end of the file may never come.
        while not waiting.poll(250):
            if self._ended():
                return b""
        return os.read(self._process.stdout.fileno(), 1 << 16)

    def _died(self) -> WorkerDiedError:
        code = self._reap(1.0)
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 10 * TAIL))
        lines = self._errors.read().decode(errors="replace").splitlines(keepends=True)
        # After a crash Python lists hundreds of modules, which would push the stack itself out of what is quoted.
        trace = "".join(line for line in lines if not line.startswith("Extension modules: "))[-TAIL:]
        return WorkerDiedError(f"the worker process died: exit {code}{_meaning(code)}", trace)


def _meaning(code: int) -> str:
    if code >= 0:
        return ""
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f" ({name}, perhaps out of memory)" if name == "SIGKILL" else f" ({name})"
