"""Jobs carried out in this process as they are submitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from synobench.worker import Notifier, Notify, perform


class Inline:
    """Carries each job out before `submit` returns; Ctrl-C raises ``KeyboardInterrupt`` out of it."""

    def __init__(self, params: Any = None, command: Sequence[str] = ()) -> None:
        del params, command
        self._closed = False

    def submit(self, job: Mapping[str, Any], notify: Notify | None = None) -> Future[dict[str, Any]]:
        """Carry `job` out and return its future, which is done.

        Raises:
            RuntimeError: the executor is closed.
        """
        if self._closed:
            raise RuntimeError("the executor is closed")
        future: Future[dict[str, Any]] = Future()
        future.set_running_or_notify_cancel()
        notifier = Notifier(notify)
        notifier({"phase": "start", "done": 0, "total": 0, "attempt": 1})
        future.set_result(perform(job, notifier))
        return future

    def close(self, cancel: bool = False) -> None:
        """Take no more jobs."""
        del cancel
        self._closed = True

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
