"""Where the public files of checkpoints lie: looked for, fetched and told of in a line. Standard library only."""

from __future__ import annotations

import os
from pathlib import Path

from synobench.entries import CheckpointEntry
from synobench.errors import BenchError
from synobench.layouts import megabytes

ENVIRONMENT = "SYNOBENCH_CHECKPOINTS"
"""The environment variable that names the folder of checkpoints."""


def folder() -> Path:
    """Return the folder that checkpoints are fetched into: ``$SYNOBENCH_CHECKPOINTS``, else the cache's.

    Raises:
        BenchError: it is a file.
    """
    named = os.environ.get(ENVIRONMENT)
    found = Path(named).expanduser() if named else _kept()
    if found.exists() and not found.is_dir():
        raise BenchError(f"the folder of checkpoints {found} is a file; let {ENVIRONMENT} name a folder")
    return found


def _kept() -> Path:
    return Path.home() / ".cache" / "synobench" / "checkpoints"


def find(entry: CheckpointEntry) -> Path | None:
    """Return a file that should hold the checkpoint, from its folder or else from the cache; None where none does."""
    names = [entry.file.path, *entry.also]
    return next((path for place in (folder(), _kept()) for name in names if (path := place / name).is_file()), None)


def bring(entry: CheckpointEntry, offline: bool = False) -> Path:
    """Return the checkpoint's file, downloaded where it is not here.

    Raises:
        BenchError: it is absent and `offline`, or no address delivers it.
    """
    found = find(entry)
    if found is not None:
        return found
    if offline:
        told = f"offline, and checkpoint {entry.name} is not in {folder()}: it lacks {entry.file.path}"
        raise BenchError(f"{told}; let {ENVIRONMENT} name the folder that holds it, or get it at {_addresses(entry)}")
    from synobench.fetch import fetch_file

    try:
        return fetch_file(entry.file, folder())
    except BenchError as error:
        raise BenchError(
            f"{error}; its addresses: {_addresses(entry)}; {ENVIRONMENT} may name another folder"
        ) from None


def describe(entry: CheckpointEntry) -> str:
    """Return one line for a list: present or absent, with size and licence."""
    found, size = find(entry), entry.file.size
    where = f"present ({found.name}, {megabytes(found.stat().st_size)})" if found else "absent"
    download = f" (download: {megabytes(size)})" if size and not found else ""
    return f"{where}{download}; licence: {entry.license or 'not stated'}"


def _addresses(entry: CheckpointEntry) -> str:
    return ", ".join(entry.file.urls)
