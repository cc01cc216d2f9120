"""What was computed before, by the digest of all that it was computed from: a cache that can only save time.

One SQLite file, which may be deleted at any time. What it holds is looked at by its digest; a damaged file is made
anew, one that cannot be opened, or that another process is writing, is done without.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_MANY = 2_000
"""So many results are held until they are written."""

_SLACK = 1_000
"""So many results that nothing asked for may stay, beside as many as were asked for."""

T = TypeVar("T")

News = tuple[set[bytes], dict[bytes, bytes]]
"""What a copy asked for, and the results that it made."""

_FIND = "SELECT digest, data FROM kept WHERE key = ?"
_PUT = "INSERT OR REPLACE INTO kept VALUES (?, ?, ?)"
_TABLE = "CREATE TABLE IF NOT EXISTS kept (key BLOB PRIMARY KEY, digest BLOB NOT NULL, data BLOB NOT NULL)"


class Kept:
    """Results by what they were computed from.

    Args:
        path: of the file; its folder is made where it is missing.
        salt: what every result depends on: the sources and versions of the code that computes them.
    """

    def __init__(self, path: Path, salt: str) -> None:
        self._path, self._salt = path, salt.encode()
        self._fresh: dict[bytes, bytes] = {}
        self._asked: set[bytes] = set()
        self._file = self._opened()
        self._writes, self._apart = True, False
        self._inherited: tuple[sqlite3.Connection | None, frozenset[bytes]] = None, frozenset()

    def key(self, *parts: str | bytes) -> bytes:
        """Return the key of a result, from what tells it from every other."""
        told = hashlib.sha256(self._salt)
        for part in parts:
            data = part.encode(errors="surrogatepass") if isinstance(part, str) else part
            told.update(b"%d:" % len(data) + data)
        return told.digest()

    def find(self, key: bytes) -> bytes | None:
        """Return a result; None where it is not there or is not as it was written."""
        self._asked.add(key)
        if key in self._fresh:
            return self._fresh[key]
        row = self._do(lambda file: file.execute(_FIND, (key,)).fetchone())
        if row is None or not all(isinstance(part, bytes) for part in row) or _digest(row[1]) != row[0]:
            return None
        data: bytes = row[1]
        return data

    def put(self, key: bytes, data: bytes) -> None:
        """Keep a result."""
        self._asked.add(key)
        self._fresh[key] = data
        if len(self._fresh) >= _MANY:
            self._write()

    def text(self, key: bytes, make: Callable[[], str]) -> str:
        """Return a text, made where it is not kept."""
        found = self.find(key)
        if found is None:
            found = make().encode(errors="surrogatepass")
            self.put(key, found)
        return found.decode(errors="surrogatepass")

    @property
    def empty(self) -> bool:
        """Whether nothing was kept before."""
        return not self._do(lambda file: file.execute("SELECT 1 FROM kept LIMIT 1").fetchone())

    @property
    def grown(self) -> bool:
        """Whether a result was kept that is not yet saved."""
        return bool(self._fresh) or (self._file is not None and self._file.in_transaction)

    def apart(self) -> None:
        """Go on in a copy of the process that opened the file: nothing is written there any more.

        A file is not to be read through a connection that another process opened; it is read through a new one, which
        is all that is sure: a result that is written meanwhile is told by its digest.
        """
        held, self._apart = self._file, True
        self._inherited = held, frozenset(self._fresh)
        writing = held is None or held.in_transaction
        self._file = None if writing else self._reading()

    def news(self) -> News:
        """Return what was asked for, and the results that are new since `apart`."""
        return self._asked, {key: data for key, data in self._fresh.items() if key not in self._inherited[1]}

    def add(self, news: News) -> None:
        """Keep the `news` of a copy."""
        self._asked |= news[0]
        for key, data in news[1].items():
            self.put(key, data)

    def save(self) -> None:
        """Write what is new, and drop what nothing asks for any more."""
        self._write()
        if self._writes:
            self._do(self._tidied)

    def close(self) -> None:
        """Let go of the file; what was not saved is lost."""
        if self._file is not None:
            with contextlib.suppress(sqlite3.Error):
                self._file.close()
        self._file = None

    def _write(self) -> None:
        if self._apart:
            return
        fresh, self._fresh = self._fresh, {}
        if fresh and self._writes and self._file is not None:
            try:
                self._file.executemany(_PUT, ((key, _digest(data), data) for key, data in fresh.items()))
            except sqlite3.OperationalError:
                self._writes = False  # what is there can still be read
            except sqlite3.Error:
                self._anew()

    def _tidied(self, file: sqlite3.Connection) -> None:
        held = file.execute("SELECT count(*) FROM kept").fetchone()[0]
        if held > 2 * len(self._asked) + _SLACK:
            file.execute("CREATE TEMP TABLE asked (key BLOB PRIMARY KEY)")
            file.executemany("INSERT INTO asked VALUES (?)", ((key,) for key in self._asked))
            file.execute("DELETE FROM kept WHERE key NOT IN (SELECT key FROM asked)")
            file.execute("DROP TABLE asked")
        file.commit()

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Return what a step on the file gives; go on without a file that fails, and drop a damaged one."""
        if self._file is None:
            return None
        try:
            return work(self._file)
        except sqlite3.OperationalError:
            self.close()  # it is locked, or the disk is full: it may be sound
        except sqlite3.Error:
            self._anew()
        return None

    def _anew(self) -> None:
        """Go on with an empty file in place of a damaged one."""
        self.close()
        if not self._apart:
            self._drop()
            self._file = self._opened()

    def _reading(self) -> sqlite3.Connection | None:
        try:
            return sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", timeout=0, uri=True)
        except sqlite3.Error:
            return None

    def _opened(self) -> sqlite3.Connection | None:
        for _ in range(2):
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                return _connected(self._path)
            except (OSError, sqlite3.OperationalError):
                return None
            except sqlite3.Error:
                self._drop()
        return None

    def _drop(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()


def _connected(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(path, timeout=1)
    try:
        # A result that a crash cuts off is told by its digest, and the file by its form.
        file.execute("PRAGMA synchronous = OFF")
        file.execute("PRAGMA journal_mode = MEMORY")
        file.execute(_TABLE)
        file.commit()
        file.execute("SELECT key, digest, data FROM kept LIMIT 1").fetchone()
    except sqlite3.Error:
        file.close()
        raise
    return file


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
