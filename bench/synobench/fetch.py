"""Downloads: each file from the first mirror that delivers it whole, resumed where a try broke off, then renamed."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from synobench.entries import DatasetEntry, RemoteFile
from synobench.errors import BenchError
from synobench.layouts import fetch_command, find_layout, layouts_of, megabytes, status

TIMEOUT = 30.0
"""Seconds without a byte after which a mirror is given up."""

_CHUNK = 1 << 18
_RANGE_NOT_SATISFIABLE = 416


class Report(Protocol):
    """Where a download's progress goes."""

    def start(self, name: str, total: int | None) -> None:
        """Begin a file."""

    def at(self, done: int) -> None:
        """Tell how many bytes of the file are there."""

    def note(self, line: str) -> None:
        """Tell one line."""


class _MirrorError(Exception):
    """One mirror did not deliver; the next is tried."""


class _RangeError(_MirrorError):
    """The mirror has nothing from that byte on."""


def fetch(
    entry: DatasetEntry, folder: Path, offline: bool = False, progress: Console | None = None
) -> tuple[Path, ...]:
    """Download what the data set lacks in the folder and return the paths of its downloads.

    Files that are there are verified; nothing is downloaded where another complete layout stands in for them.

    Args:
        entry: the data set.
        folder: the data folder; made where it does not exist.
        offline: fail at once instead of downloading.
        progress: where progress is shown, as a bar on a terminal and as lines elsewhere; standard error by default.

    Raises:
        BenchError: `offline` and files are missing, no mirror delivers, or the folder cannot be written.
    """
    layout = find_layout(layouts_of(entry), folder)
    downloads = {file.path for file in entry.files}
    if not layouts_of(entry) or (layout is not None and (offline or not set(layout.files) <= downloads)):
        return ()
    if not entry.files:
        raise BenchError(f"{entry.name} is not in {folder} and no download of it is known; see {entry.homepage}")
    if offline:
        raise BenchError(_offline(entry, folder))
    try:
        with _report(progress or Console(stderr=True)) as report:
            return tuple(_file(file, folder, report) for file in entry.files)
    except OSError as error:
        raise BenchError(f"{entry.name} cannot be stored in {folder}: {error.strerror or error}") from error


def fetch_file(file: RemoteFile, folder: Path, progress: Console | None = None) -> Path:
    """Download one file into a folder, or verify the one that is there, and return its path.

    Raises:
        BenchError: no mirror delivers it, or the folder cannot be written.
    """
    try:
        with _report(progress or Console(stderr=True)) as report:
            return _file(file, folder, report)
    except OSError as error:
        raise BenchError(f"{file.path} cannot be stored in {folder}: {error.strerror or error}") from error


def verified(path: Path, digest: str) -> bool:
    """Return whether the file has the digest, given as ``sha256:hex`` or ``md5:hex``."""
    algorithm, _, wanted = digest.partition(":")
    with path.open("rb") as stream:
        state = hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return state.hexdigest() == wanted


def _offline(entry: DatasetEntry, folder: Path) -> str:
    lacking = ", ".join(file.path for file in entry.files if not (folder / file.path).is_file())
    found = status(entry, folder)
    there = f" ({found.layout} is there in part: it lacks {found.missing[0]})" if found.state == "partial" else ""
    command = fetch_command(entry.name, folder)
    return f"offline, and {entry.name} is missing from {folder}: {lacking}{there}; fetch it with: {command}"


def _file(file: RemoteFile, folder: Path, report: Report) -> Path:
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        if path.is_file() and verified(path, file.digest):
            return path
        part = path.with_name(path.name + ".part")
        failures = []
        for url in file.urls:
            try:
                _from_mirror(url, file, part, report)
            except _MirrorError as failure:
                failures.append(f"{urlsplit(url).netloc or url}: {failure}")
                report.note(f"{file.path}: {failures[-1]}")
                continue
            part.replace(path)
            report.note(f"{file.path}: {megabytes(path.stat().st_size)} from {urlsplit(url).netloc}, digest verified")
            return path
    raise BenchError(f"no mirror delivered {file.path} ({'; '.join(failures)}); try again later, or put it in {folder}")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # Two workers that lack the same file must not write the same part; the second finds it done.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _from_mirror(url: str, file: RemoteFile, part: Path, report: Report) -> None:
    """Bring `part` to the whole, verified file. A part that broke off is kept; one proved wrong is deleted."""
    offset = _kept(part, file)
    if offset and offset == file.size:
        return
    report.start(file.path, file.size)
    try:
        start = _transfer(url, file, part, offset, report)
    except _RangeError:
        start = _transfer(url, file, part, 0, report)
    if verified(part, file.digest):
        return
    if start:
        report.note(f"{file.path}: the resumed file is wrong, fetching it whole")
        _transfer(url, file, part, 0, report)
        if verified(part, file.digest):
            return
    part.unlink()
    raise _MirrorError("the file has another digest")


def _kept(part: Path, file: RemoteFile) -> int:
    """Return how many bytes an earlier try left that may be the file's beginning."""
    size = part.stat().st_size if part.is_file() else 0
    if file.size is not None and (size > file.size or (size == file.size and not verified(part, file.digest))):
        part.unlink()
        return 0
    return size


def _transfer(url: str, file: RemoteFile, part: Path, offset: int, report: Report) -> int:
    """Append to `part` from byte `offset` on, or write it anew where the mirror sends all; return where it began."""
    with _open(url, offset) as response:
        start = _start(response, offset)
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None and length.isdigit() else file.size
        if file.size is not None and total != file.size:
            raise _MirrorError(f"offers {total} bytes, not {file.size}")
        chunk = _read(response)
        if start == 0 and _is_page(response, chunk):
            raise _MirrorError("sent an HTML page")
        done = start
        with part.open("ab" if start else "wb") as stream:
            while chunk and (total is None or done < total):
                stream.write(chunk)
                done += len(chunk)
                report.at(done)
                chunk = _read(response)
    if total is not None and done < total:
        raise _MirrorError(f"broke off at {done} of {total} bytes")
    return start


def _open(url: str, offset: int) -> HTTPResponse:
    headers = {"User-Agent": "synobench"} | ({"Range": f"bytes={offset}-"} if offset else {})
    try:
        response: HTTPResponse = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        kind = _RangeError if error.code == _RANGE_NOT_SATISFIABLE and offset else _MirrorError
        raise kind(f"HTTP {error.code}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise _MirrorError(str(getattr(error, "reason", error)) or type(error).__name__) from error
    return response


def _start(response: HTTPResponse, offset: int) -> int:
    if response.status != 206:
        return 0
    if not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
        raise _MirrorError("sent another range than was asked for")
    return offset


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, HTTPException) as error:
        raise _MirrorError(f"broke off: {error or type(error).__name__}") from error


def _is_page(response: HTTPResponse, head: bytes) -> bool:
    start = head[:64].lstrip().lower()
    return response.headers.get_content_type() == "text/html" or start.startswith((b"<!doctype html", b"<html"))


class _Lines:
    """Progress for a log: one line a file, and what went wrong."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def start(self, name: str, total: int | None) -> None:
        self.note(f"{name}: fetching" + (f" {megabytes(total)}" if total else ""))

    def at(self, done: int) -> None:
        """Say nothing between the start and the end."""

    def note(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Bar(_Lines):
    """Progress for a terminal: a bar a file."""

    def __init__(self, bars: Progress) -> None:
        super().__init__(bars.console)
        self.bars = bars

    def start(self, name: str, total: int | None) -> None:
        for task in self.bars.task_ids:
            self.bars.remove_task(task)
        self.task = self.bars.add_task(name, total=total)

    def at(self, done: int) -> None:
        self.bars.update(self.task, completed=done)


@contextlib.contextmanager
def _report(console: Console) -> Iterator[Report]:
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        yield _Bar(bars)
