"""Where a data set lies: the data folder, the layouts found in it, and a line of status. Standard library only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from synobench.entries import DatasetEntry, Layout
from synobench.errors import BenchError

ENVIRONMENT = "SYNOBENCH_DATA"
"""The environment variable that names the data folder."""


@dataclass(frozen=True)
class Status:
    """What of a data set lies in a folder.

    Args:
        state: ``present`` (one layout is complete), ``partial`` or ``absent``.
        layout: the layout that is complete or, where none is, the fullest; None where nothing was found.
        size: bytes on disk of that layout's files.
        missing: what that layout lacks.
    """

    state: str
    layout: str | None
    size: int
    missing: tuple[str, ...] = ()


def data_folder(argument: str | Path | None = None) -> Path:
    """Return the data folder: the argument, else ``$SYNOBENCH_DATA``, else ``~/.cache/synobench/data``.

    Raises:
        BenchError: it is a file.
    """
    named = argument or os.environ.get(ENVIRONMENT)
    folder = Path(named).expanduser() if named else Path.home() / ".cache" / "synobench" / "data"
    if folder.exists() and not folder.is_dir():
        raise BenchError(f"the data folder {folder} is a file; give a folder by --data or {ENVIRONMENT}")
    return folder


def layouts_of(entry: DatasetEntry) -> tuple[Layout, ...]:
    """Return the entry's layouts; where it names none, its downloads are the only one."""
    if entry.layouts or not entry.files:
        return entry.layouts
    return (Layout("downloads", tuple(f.path for f in entry.files)),)


def missing_from(layout: Layout, folder: Path) -> list[str]:
    """Return what the layout lacks in the folder: paths, and ``pattern (found of wanted)``."""
    lacking = [name for name in layout.files if not (folder / name).is_file()]
    for pattern, wanted in layout.many if not lacking else ():
        found = sum(1 for _ in folder.glob(pattern))
        if found < wanted:
            lacking.append(f"{pattern} ({found} of {wanted})")
    return lacking


def find_layout(layouts: tuple[Layout, ...], folder: Path) -> Layout | None:
    """Return the first layout that is complete in the folder."""
    return next((layout for layout in layouts if not missing_from(layout, folder)), None)


def need_layout(name: str, layouts: tuple[Layout, ...], folder: Path) -> Layout:
    """Return the first layout that is complete in the folder.

    Raises:
        BenchError: none is.
    """
    layout = find_layout(layouts, folder)
    if layout is None:
        lacking = ", ".join(missing_from(layouts[0], folder))
        raise BenchError(f"{name} is not in {folder}: it lacks {lacking}; fetch it with: {fetch_command(name, folder)}")
    return layout


def fetch_command(name: str, folder: Path) -> str:
    """Return the command line that downloads the data set `name` into `folder`."""
    return f"synobench data fetch {name}" + ("" if folder == data_folder() else f" --data {folder}")


def status(entry: DatasetEntry, folder: Path) -> Status:
    """Return what of the data set lies in the folder; files are looked for, not read."""
    layouts = layouts_of(entry)
    if not layouts:
        return Status("present", "built in", 0)
    found = find_layout(layouts, folder)
    if found is not None:
        return Status("present", found.name, _size(found, folder))
    fullest = max(layouts, key=lambda layout: _share(layout, folder))
    if _share(fullest, folder):
        return Status("partial", fullest.name, _size(fullest, folder), tuple(missing_from(fullest, folder)))
    return Status("absent", None, 0)


def describe(entry: DatasetEntry, folder: Path) -> str:
    """Return one line for a list: present, partial or absent, with sizes and the licence."""
    found = status(entry, folder)
    download = sum(f.size or 0 for f in entry.files)
    if found.state == "absent":
        what = f"absent (download: {megabytes(download)})" if download else "absent"
    elif found.state == "partial":
        more = ", ..." if len(found.missing) > 1 else ""
        what = f"partial ({found.layout}, {megabytes(found.size)}; lacks {found.missing[0]}{more})"
    else:
        what = f"present ({found.layout}{', ' + megabytes(found.size) if found.size else ''})"
    return f"{what}; licence: {entry.license or 'not stated'}"


def megabytes(size: int) -> str:
    """Return a number of bytes as text, in kB or MB."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def _paths(layout: Layout, folder: Path) -> list[Path]:
    """Return the layout's files that exist; a broken download counts by its ``.part``."""
    named = [folder / name for name in layout.files]
    parts = [path.with_name(path.name + ".part") for path in named]
    matched = [path for pattern, _ in layout.many for path in folder.glob(pattern)]
    return [path for path in named + parts + matched if path.is_file()]


def _size(layout: Layout, folder: Path) -> int:
    return sum(path.stat().st_size for path in _paths(layout, folder))


def _share(layout: Layout, folder: Path) -> float:
    wanted = len(layout.files) + sum(count for _, count in layout.many)
    return len(_paths(layout, folder)) / wanted
