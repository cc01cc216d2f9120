"""A queue of jobs with a fixed number of slots: a thread and a worker process each."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any

from synobench.machine import cores
from synobench.worker import Notifier, Notify, failure, threads_of
from synobench_executors import SlotsParams
from synobench_executors.process import Worker, WorkerDiedError


@dataclass(frozen=True)
class Task:
    """One submitted job, with its future and who watches it."""

    job: dict[str, Any]
    notify: Notifier
    future: Future[dict[str, Any]]


class Slots:
    """Carries jobs out in the order of their submission, as many at a time as there are slots.

    A worker that dies is replaced and its job tried again; the others never notice.
    """

    def __init__(self, params: SlotsParams, command: Sequence[str]) -> None:
        self._params, self._command = params, list(command)
        self._queue: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._slots: list[Slot] = []
        self._closed = False

    def submit(self, job: Mapping[str, Any], notify: Notify | None = None) -> Future[dict[str, Any]]:
        """Queue `job`, which must be plain data, and return the future of its result.

        `notify` is called from another thread. The future is cancelled when the executor is closed with ``cancel``.

        Raises:
            RuntimeError: the executor is closed.
            TypeError: the job is not plain data.
        """
        if self._closed:
            raise RuntimeError("the executor is closed")
        task = Task(json.loads(json.dumps(dict(job))), Notifier(notify), Future())
        if not self._slots:
            self._open(threads_of(task.job))
        self._queue.put(task)
        return task.future

    def _open(self, threads: int) -> None:
        devices = self._params.devices
        count = self._params.n or len(devices) or max(1, cores() // threads)
        for i in range(count):
            device = devices[i % len(devices)] if devices else None
            self._slots.append(Slot(self._queue, self._command, self._params.retries, device))
        for slot in self._slots:
            slot.start()

    def close(self, cancel: bool = False) -> None:
        """Take no more jobs, and wait for those submitted; with `cancel`, drop them and kill what runs at once."""
        self._closed = True
        if cancel:
            self._drop_waiting()
            for slot in self._slots:
                slot.abort()
        for _ in self._slots:
            self._queue.put(None)
        for slot in self._slots:
            slot.join()

    def _drop_waiting(self) -> None:
        while True:
            try:
                task = self._queue.get_nowait()
            except queue.Empty:
                return
            if task is not None and task.future.cancel():
                task.future.set_running_or_notify_cancel()  # wakes who waits for it

    def __enter__(self) -> Slots:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(cancel=kind is not None)


class Slot(threading.Thread):
    """One thread that owns one worker process at a time."""

    def __init__(
        self, tasks: queue.SimpleQueue[Task | None], command: list[str], retries: int, device: str | None
    ) -> None:
        super().__init__(daemon=True)
        self._tasks, self._command, self._retries, self._device = tasks, command, retries, device
        self._worker: Worker | None = None
        self._aborted, self._lock = False, threading.Lock()

    def run(self) -> None:
        """Take tasks from the queue until it says that there are no more."""
        try:
            while (task := self._tasks.get()) is not None:
                if task.future.set_running_or_notify_cancel():
                    self._finish(task)
        finally:
            self._retire()

    def abort(self) -> None:
        """Kill the worker, whatever it does, and start none again."""
        with self._lock:
            self._aborted = True
            if self._worker is not None:
                self._worker.kill()

    def _finish(self, task: Task) -> None:
        try:
            result = self._carry_out(task)
        except CancelledError as error:
            task.future.set_exception(error)
        except Exception as error:  # noqa: BLE001 - a slot must outlive whatever comes
            self._retire(kill=True)
            task.future.set_exception(error)
        else:
            task.future.set_result(result)

    def _carry_out(self, task: Task) -> dict[str, Any]:
        job = task.job if self._device is None else {**task.job, "device": self._device}
        for attempt in range(1, self._retries + 2):
            try:
                result = self._try(job, attempt, task.notify)
            except WorkerDiedError as error:
                died = error
                self._retire()
                continue
            # An error on an accelerator leaves its process unusable for the next job.
            if result.get("status") == "failed" and not str(job.get("device") or "cpu").startswith("cpu"):
                self._retire()
            return result
        tries = "1 try" if self._retries == 0 else f"{self._retries + 1} tries"
        return failure("worker", "WorkerDied", f"{died} after {tries}", died.trace)

    def _try(self, job: dict[str, Any], attempt: int, notify: Notifier) -> dict[str, Any]:
        worker = self._at_work()
        notify({"phase": "start", "done": 0, "total": 0, "attempt": attempt})
        try:
            return worker.do(json.dumps(job), notify)
        except WorkerDiedError:
            if self._aborted:
                raise CancelledError from None
            raise

    def _at_work(self) -> Worker:
        with self._lock:
            if self._aborted:
                raise CancelledError
            if self._worker is None:
                self._worker = Worker(self._command)
            return self._worker

    def _retire(self, kill: bool = False) -> None:
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            if kill:
                worker.kill()
            worker.stop()
