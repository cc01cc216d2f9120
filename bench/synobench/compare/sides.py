"""Where the records of one side come from: a folder, or a git revision, read without checking anything out."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from synobench.errors import BenchError
from synobench.store import Record, read_bytes


@dataclass(frozen=True)
class Side:
    """The ``ok`` records of one side, by suite and key; `name` is how the user called it."""

    name: str
    records: dict[str, dict[str, Record]] = field(repr=False)

    @property
    def count(self) -> int:
        """The number of its records."""
        return sum(map(len, self.records.values()))


class Reader:
    """Reads records, those of equal bytes once."""

    def __init__(self) -> None:
        """Begin without any."""
        self._held: dict[bytes, Record] = {}

    def side(self, name: str, files: Iterator[tuple[str, bytes]], suite: str | None) -> Side:
        """Return the records among files, of one suite or of all.

        Raises:
            BenchError: a file cannot be read as a record, or there is no record.
        """
        found: dict[str, dict[str, Record]] = {}
        for path, content in files:
            folder, key = Path(path).parts[-3], Path(path).stem
            if suite in (None, folder):
                record = self._held.get(content) or read_bytes(content, path)
                self._held[content] = record
                if record.get("status") == "ok":
                    found.setdefault(folder, {})[str(record.get("key", key))] = record
        if not found:
            raise BenchError(f"{name or repr(name)} holds no records{f' of suite {suite}' if suite else ''}")
        return Side(name, found)


def suite_in(folder: Path) -> tuple[Path, str | None]:
    """Return the folder of records and boards that a folder stands for, and its suite where it is one suite's.

    A folder of one board or of one suite's records stands for that suite; any other is itself.
    """
    whole = folder.resolve()
    if whole.parent.name in ("boards", "records") and (whole.parent.parent / "records").is_dir():
        return whole.parent.parent, whole.name
    return folder, None


def in_folder(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the path and content of each record file below a folder of records and boards."""
    for path in sorted((root / "records").glob("*/??/*.json")):
        yield str(path), path.read_bytes()


def is_revision(root: Path, text: str) -> bool:
    """Say whether a text names a commit of the repository that holds a folder."""
    return not text.startswith("-") and _commit(root, text) is not None


def at_revision(root: Path, text: str) -> Iterator[tuple[str, bytes]]:
    """Yield the path and content of each record file below a folder as it was at a revision.

    Raises:
        BenchError: git cannot read it.
    """
    listed = _git(root, "ls-tree", "-r", "-z", str(_commit(root, text)), "--", "./records").split(b"\0")
    files = [line.split(b"\t", 1) for line in listed if line.endswith(b".json")]
    wanted = {path.decode(errors="replace"): facts.split()[2] for facts, path in files if path.count(b"/") >= 2}
    yield from zip((f"{text}:{path}" for path in wanted), _blobs(root, list(wanted.values())), strict=True)


def _blobs(root: Path, names: list[bytes]) -> Iterator[bytes]:
    """Yield the content of each blob, in order."""
    told = _git(root, "cat-file", "--batch", given=b"\n".join(names) + b"\n") if names else b""
    start = 0
    for _ in names:
        end = told.index(b"\n", start)
        size = int(told[start:end].split()[2])
        yield told[end + 1 : end + 1 + size]
        start = end + 2 + size


def _commit(root: Path, text: str) -> str | None:
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", f"{text}^{{commit}}").decode().strip()
    except BenchError:
        return None


def _git(root: Path, *arguments: str, given: bytes | None = None) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], input=given, capture_output=True, check=True)
    except FileNotFoundError:
        raise BenchError("git is not installed, so no revision can be read") from None
    except subprocess.CalledProcessError as error:
        told = " ".join(error.stderr.decode(errors="replace").split())
        raise BenchError(f"git cannot read {root} at a revision: {told}") from None
    return done.stdout
