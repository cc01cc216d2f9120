"""The store: one JSON a run, canonical, written atomically, append-only; its key is the digest of its inputs."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from synobench.errors import BenchError

SCHEMA = 1

HALF = re.compile(r"\..+\.(json|ledger|safetensors|md|csv|tex|svg|html)\.[a-z0-9_]{8}")
"""The name of a file that is being written, as ``write_atomically`` calls it."""

Record = dict[str, Any]

MIGRATIONS: dict[int, Callable[[Record], Record]] = {}
"""From a schema to the next: what turns an older record into one of the schema above it."""


def canonical(value: Any) -> str:
    """Return canonical JSON: sorted keys, no spaces, no NaN; equal values give equal text in any process.

    Raises:
        BenchError: `value` is not plain data.
    """
    return _dumps(value, separators=(",", ":"))


def _dumps(value: Any, **layout: Any) -> str:
    try:
        text = json.dumps(_tidy(value), sort_keys=True, ensure_ascii=False, allow_nan=False, **layout)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BenchError(f"not plain data: {' '.join(str(error).split())}") from None
    return text


def _tidy(value: Any) -> Any:
    if isinstance(value, Mapping):
        wrong = [k for k in value if not isinstance(k, str)]
        if wrong:
            raise BenchError(f"not plain data: the key {wrong[0]!r} is not a string")
        return {k: _tidy(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tidy(v) for v in value]
    return 0.0 if isinstance(value, float) and value == 0.0 else value


def key_of(inputs: Mapping[str, Any]) -> str:
    """Return the key of resolved inputs: the SHA-256 of their canonical JSON, in 64 hex digits."""
    return hashlib.sha256(canonical(inputs).encode()).hexdigest()


def document(record: Mapping[str, Any]) -> str:
    """Return the text of a record's file: sorted keys, one item a line, ending in a line feed."""
    return _dumps(record, indent=1) + "\n"


def pack_mask(hits: list[bool]) -> str:
    """Return base64 of a bit an image, the first image in the highest bit of the first byte."""
    data = bytearray((len(hits) + 7) // 8)
    for i, hit in enumerate(hits):
        data[i // 8] |= hit << (7 - i % 8)
    return base64.b64encode(bytes(data)).decode()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: a reader, or a kill at any moment, sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # noqa: PTH101
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Record:
    """Read a record, a failure or a replay, migrated to the present schema.

    Raises:
        BenchError: the file is no JSON object, or comes from a newer bench.
    """
    return read_bytes(content_of(path), str(path))


def content_of(path: Path) -> bytes:
    """Return the bytes of a record's file.

    Raises:
        BenchError: it cannot be read.
    """
    try:
        # A record is read in one piece, without a buffer: thousands are.
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return file.readall()
    except OSError as error:
        raise _unreadable(str(path), error) from None


def read_bytes(content: bytes, name: str) -> Record:
    """Read a record from the bytes of its file, as `read_json` does; `name` says where they come from."""
    try:
        value = _parsed(content)
    except (ValueError, RecursionError) as error:
        raise _unreadable(name, error) from None
    if not isinstance(value, dict):
        raise BenchError(f"{name} holds a {type(value).__name__}, not a JSON object")
    return migrate(value, name)


def loads(content: bytes) -> Any:
    """Return what `plainly` wrote."""
    return msgspec.json.decode(content)


def plainly(value: Any) -> bytes:
    """Return plain data as JSON on one line; its numbers are finite.

    Raises:
        TypeError: `value` is not plain data.
        OverflowError: it holds a whole number of more than 64 bits.
    """
    return msgspec.json.encode(value)


def _parsed(content: bytes) -> Any:
    """Return the JSON of some bytes as Python's own parser reads it, which alone decides what msgspec does not read."""
    with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
        return msgspec.json.decode(content)
    return _JSON.decode(content.decode(json.detect_encoding(content), "surrogatepass"))


def _unreadable(name: str, error: Exception) -> BenchError:
    cause = " ".join(str(error).split())
    return BenchError(f"{name} cannot be read as a record: {cause}; restore it, or delete it and run again")


def _refuse_constant(token: str) -> Any:
    raise ValueError(f"{token} is no JSON")


_JSON = json.JSONDecoder(parse_constant=_refuse_constant)


def migrate(record: Record, name: str) -> Record:
    """Bring a record of an older schema to the present one.

    Raises:
        BenchError: its schema is no number that this bench knows.
    """
    schema = record.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema > SCHEMA or schema < 1:
        raise BenchError(f"{name} has schema {schema!r}; this bench reads 1 to {SCHEMA}")
    while schema < SCHEMA:
        record = MIGRATIONS[schema](record)
        schema = record["schema"]
    return record


@dataclass(frozen=True)
class Store:
    """The records below one folder: ``records/<suite>/<ab>/<key>.json``, failures and replays apart."""

    root: Path

    def record_path(self, suite: str, key: str) -> Path:
        """Return where the record of a key lies, whether it is there or not."""
        return self.root / "records" / suite / key[:2] / f"{key}.json"

    def failure_path(self, suite: str, key: str) -> Path:
        """Return where the failure of a key lies, whether it is there or not."""
        return self.root / "failures" / suite / f"{key}.json"

    def has(self, suite: str, key: str) -> bool:
        """Say whether a run is done."""
        return self.record_path(suite, key).exists()

    def add(self, record: Record, vectors: bytes | None = None) -> Path:
        """Store a record and its ledger's vectors; a second result for a key is kept apart, as a replay.

        Returns:
            The file that was written.
        """
        suite, key = record["inputs"]["suite"]["name"], record["key"]
        path = self.record_path(suite, key)
        if path.exists():
            path = self._replay_path(suite, key)
        if vectors is not None:
            write_atomically(path.with_suffix(".ledger"), vectors)
        write_atomically(path, document(record).encode())
        self.failure_path(suite, key).unlink(missing_ok=True)
        return path

    def fail(self, failure: Record) -> Path:
        """Store a failure; the next try overwrites it."""
        path = self.failure_path(failure["inputs"]["suite"]["name"], failure["key"])
        write_atomically(path, document(failure).encode())
        return path

    def _replay_path(self, suite: str, key: str) -> Path:
        folder = self.root / "replays" / suite
        n = 1
        while (folder / f"{key}-{n}.json").exists():
            n += 1
        return folder / f"{key}-{n}.json"

    def replays(self, suite: str, key: str) -> list[Path]:
        """Return the files of a key's replays, the oldest first."""
        found = (self.root / "replays" / suite).glob(f"{key}-*.json")
        return sorted(found, key=lambda path: int(path.stem.rpartition("-")[2]))

    def suites(self) -> list[str]:
        """Return the suites that have records, sorted."""
        folder = self.root / "records"
        return sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []

    def paths(self, suite: str) -> list[Path]:
        """Return the files of a suite's records, sorted by key."""
        # All begin with one folder and two letters more, so that texts and paths sort alike; texts do it far sooner.
        return sorted((self.root / "records" / suite).glob("??/*.json"), key=str)

    def records(self, suite: str) -> Iterator[Record]:
        """Read a suite's records, sorted by key.

        Raises:
            BenchError: one cannot be read.
        """
        return (read_json(path) for path in self.paths(suite))

    def failures(self, suite: str) -> list[Record]:
        """Read a suite's failures, sorted by key."""
        return [read_json(path) for path in sorted((self.root / "failures" / suite).glob("*.json"))]
