"""What the user sees while runs go on: live lines on a terminal, one plain line a finished run elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

Job = Mapping[str, Any]


class Progress:
    """Shows the events of many jobs at once; a context. Every method may be called from any thread.

    A job is known by its ``key`` and shown by its ``label``.

    Args:
        total: how many jobs there are to do.
        console: where to show them; None: on stderr.
    """

    def __init__(self, total: int, console: Console | None = None) -> None:
        self.total, self.finished_jobs, self.failed_jobs = total, 0, 0
        self._console, self._lock = console, threading.Lock()
        self._began = time.monotonic()
        self._view: View = Plain(sys.stderr)

    def started(self, job: Job) -> None:
        """Show that a job runs."""
        with self._lock:
            self._view.begin(_key(job), _label(job))

    def event(self, job: Job, event: Mapping[str, Any]) -> None:
        """Show how far a job is: ``phase``, ``done`` and ``total``, and figures by name. It counts as started."""
        with self._lock:
            self._view.begin(_key(job), _label(job))
            self._view.move(_key(job), _number(event.get("done")), _number(event.get("total")), _told(event))

    def finished(self, job: Job, result: Mapping[str, Any]) -> None:
        """Show that a job ended, how, and about how long the others will take."""
        with self._lock:
            self.finished_jobs += 1
            failed = result.get("status") == "failed"
            self.failed_jobs += failed
            width = len(str(self.total))
            place = f"[{self.finished_jobs:>{width}}/{self.total}]"
            line = f"{place} {'failed' if failed else 'ok':<6} {_label(job)}  {_outcome(result)}".rstrip()
            self._view.end(_key(job), line, failed, self._summary())

    def fewer(self, jobs: int) -> None:
        """Count so many jobs less: they were expected and will not come."""
        with self._lock:
            self.total -= jobs
            self._view.resize(self.total)

    def remaining(self) -> float | None:
        """Return about how many seconds the unfinished jobs will take at the pace so far; None before the first end."""
        left = self.total - self.finished_jobs
        pace = (time.monotonic() - self._began) / self.finished_jobs if self.finished_jobs else None
        return None if pace is None else pace * max(0, left)

    def _summary(self) -> str:
        parts = [f"{self.failed_jobs} failed"] if self.failed_jobs else []
        seconds = self.remaining()
        if seconds:
            parts.append(f"about {duration(seconds)} left")
        return ", ".join(parts)

    def __enter__(self) -> Progress:
        self._began = time.monotonic()
        self._view = _view(self._console, self.total)
        self._view.open()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._view.close()


class View(Protocol):
    """One way of showing; `key` tells jobs apart."""

    def open(self) -> None:
        """Begin to show."""

    def begin(self, key: str, label: str) -> None:
        """Show a job, unless it is shown already."""

    def move(self, key: str, done: float | None, total: float | None, told: str) -> None:
        """Show how far it is."""

    def end(self, key: str, line: str, failed: bool, summary: str) -> None:
        """Show that it ended."""

    def resize(self, total: int) -> None:
        """Show another number of jobs."""

    def close(self) -> None:
        """Show nothing more."""


class Plain:
    """One line a finished job, without control codes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def open(self) -> None:
        """Show nothing yet."""

    def begin(self, key: str, label: str) -> None:
        """Show nothing: a log wants results."""

    def move(self, key: str, done: float | None, total: float | None, told: str) -> None:
        """Show nothing: a log wants results."""

    def end(self, key: str, line: str, failed: bool, summary: str) -> None:
        """Write one line."""
        del key, failed
        self._stream.write(f"{line}  {summary}".rstrip() + "\n")
        self._stream.flush()

    def resize(self, total: int) -> None:
        """Show nothing: each line tells the total."""

    def close(self) -> None:
        """Leave the stream to its owner."""


class Live:
    """A line with a bar for each running job, and one for all."""

    def __init__(self, console: Console, total: int) -> None:
        from rich import progress, text

        self._text = text.Text
        self._bars = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(bar_width=20),
            progress.TextColumn("{task.fields[told]}", markup=False),
            progress.TextColumn("{task.elapsed:.0f} s"),
            console=console,
            refresh_per_second=4,
        )
        self._all = self._bars.add_task("runs", total=total, told=f"0/{total}")
        self._total, self._done = total, 0
        self._lines: dict[str, TaskID] = {}

    def open(self) -> None:
        """Begin to draw."""
        self._bars.start()

    def begin(self, key: str, label: str) -> None:
        """Add a line."""
        if key not in self._lines:
            self._lines[key] = self._bars.add_task(label, total=1, told="")

    def move(self, key: str, done: float | None, total: float | None, told: str) -> None:
        """Move the line's bar, which stays empty while the total is unknown."""
        place = {"completed": done or 0, "total": total} if total else {"completed": 0, "total": 1}
        self._bars.update(self._lines[key], told=told, **place)

    def end(self, key: str, line: str, failed: bool, summary: str) -> None:
        """Take the line away; a failure stays readable above the bars."""
        if key in self._lines:
            self._bars.remove_task(self._lines.pop(key))
        if failed:
            self._bars.console.print(self._text(line, style="red"))
        self._done += 1
        told = ", ".join(filter(None, [f"{self._done}/{self._total}", summary]))
        self._bars.update(self._all, completed=self._done, told=told)

    def resize(self, total: int) -> None:
        """Draw the bar of all over another total."""
        self._total = total
        self._bars.update(self._all, total=total)

    def close(self) -> None:
        """Leave the last state of the bars on the screen."""
        for line in self._lines.values():
            self._bars.remove_task(line)
        self._lines.clear()
        self._bars.stop()


def duration(seconds: float) -> str:
    """Write a time as one rounded figure: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _view(console: Console | None, total: int) -> View:
    if console is None and not sys.stderr.isatty():
        return Plain(sys.stderr)
    if console is None:
        from rich.console import Console as Terminal

        console = Terminal(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        return Live(console, total)
    return Plain(console.file)  # type: ignore[arg-type]  # rich asks for less of a stream than it declares


def _key(job: Job) -> str:
    return str(job.get("key") or job.get("label") or id(job))


def _label(job: Job) -> str:
    return _clean(str(job.get("label") or _key(job)[:12]))


def _told(event: Mapping[str, Any]) -> str:
    """Write an event as its phase, its place in it and at most two figures."""
    words = [_clean(str(event.get("phase", "")))]
    if event.get("total"):
        words.append(f"{event.get('done', 0)}/{event['total']}")
    known = ("done", "total", "attempt")
    figures = [(k, v) for k, v in event.items() if k not in known and _number(v) is not None]
    words += [f"{_clean(name)} {value:.4g}" for name, value in figures[:2]]
    if event.get("attempt", 1) != 1:
        words.append(f"(try {event['attempt']})")
    return " ".join(words)


def _outcome(result: Mapping[str, Any]) -> str:
    """Write what came of a run: its accuracy and seconds, or why it failed."""
    if result.get("status") == "failed":
        error = result.get("error") or {}
        told = f"in {error.get('stage')}: {error.get('kind')}: {error.get('message')}"
        return _clean(told)[:300]
    top1 = ((result.get("outcome") or {}).get("test") or {}).get("top1") or {}
    words = [f"{100 * top1['hits'] / top1['total']:.2f} %"] if top1.get("total") else []
    seconds = sum(phase.get("seconds") or 0.0 for phase in (result.get("cost") or {}).values())
    return ", ".join([*words, *([f"{duration(seconds)} of work"] if seconds else [])])


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _clean(text: str) -> str:
    """Make text one line without control codes, whatever a plugin put into it."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())
