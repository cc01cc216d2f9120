"""A board's files: render them, write them whole, and say where the committed ones are stale."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from synobench.board.build import Board
from synobench.board.rendering import Rendered, files, in_two, slug
from synobench.entries import RendererEntry
from synobench.errors import BenchError
from synobench.store import write_atomically

__all__ = ["Drift", "Rendered", "check", "publish", "render", "slug"]

_SAFE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


@dataclass(frozen=True)
class Drift:
    """What `check` found.

    Args:
        compared: number of files that were held against committed ones.
        stale: file name and unified diff of each that differs or is missing, sorted by name.
    """

    compared: int
    stale: tuple[tuple[str, str], ...]

    @property
    def code(self) -> int:
        """The exit code: 3 nothing was compared, 1 something is stale, 0 all is as committed."""
        if not self.compared:
            return 3
        return 1 if self.stale else 0


def render(board: Board, renderers: Iterable[RendererEntry]) -> list[Rendered]:
    """Render a board, sorted by file name.

    Raises:
        BenchError: two renderers write one file, a file name is not a plain one, or a renderer fails.
    """
    made: dict[str, tuple[str, Rendered]] = {}
    ordered = sorted(renderers, key=lambda entry: entry.name)
    ahead = in_two(board, ordered)
    for entry in ordered:
        for file in ahead.get(entry.name) or files(board, entry):
            if not _SAFE.match(file.name):
                raise BenchError(f"renderer {entry.name!r} writes {file.name!r}, which is not a plain file name")
            if file.name in made:
                raise BenchError(f"renderers {made[file.name][0]!r} and {entry.name!r} both write {file.name}")
            made[file.name] = entry.name, file
    return [made[name][1] for name in sorted(made)]


def publish(
    board: Board, renderers: Iterable[RendererEntry], boards_dir: Path, site_dir: Path | None = None
) -> list[Path]:
    """Write a board's files into a folder of the suite's name; return those whose bytes changed.

    A file that its renderer does not want any more is taken away.

    Args:
        board: the board.
        renderers: of its files.
        boards_dir: where committed files go, as ``<boards_dir>/<suite>/<file>``.
        site_dir: where built ones go, likewise; None leaves them out.

    Raises:
        BenchError: as for `render`.
    """
    written = []
    for file in render(board, renderers):
        root = boards_dir if file.committed else site_dir
        if root is None:
            continue
        path = _folder(root, board) / file.name
        if file.data is None:
            path.unlink(missing_ok=True)
        elif not path.is_file() or path.read_bytes() != file.data:
            write_atomically(path, file.data)
            written.append(path)
    return written


def check(board: Board, renderers: Iterable[RendererEntry], boards_dir: Path) -> Drift:
    """Hold the committed files of a board against what its records give now.

    Nothing counts as compared where the board has no run, or where none of its files was ever committed.

    Raises:
        BenchError: as for `render`, or a committed file cannot be read.
    """
    folder = _folder(boards_dir, board)
    files = render(board, [entry for entry in renderers if entry.committed]) if board.runs else []
    here = {file.name for file in files if (folder / file.name).is_file()}
    if not here:
        return Drift(0, ())
    held = [file for file in files if file.data is not None or file.name in here]
    diffs = ((file.name, _diff(folder / file.name, file.data)) for file in held)
    return Drift(len(held), tuple((name, diff) for name, diff in diffs if diff))


def _folder(root: Path, board: Board) -> Path:
    if not _SAFE.match(board.suite.name):
        raise BenchError(f"suite {board.suite.name!r} is no name for a folder")
    return root / board.suite.name


def _diff(path: Path, new: bytes | None) -> str:
    """Return the unified diff from a committed file to `new`, empty where their bytes are the same."""
    old = path.read_bytes() if path.is_file() else None
    if old == new:
        return ""
    (was, before), (will, after) = (
        _side(side, path.name, data) for side, data in (("committed", old), ("rebuilt", new))
    )
    lines = difflib.unified_diff(before, after, was, will, lineterm="")
    return "\n".join(lines) or f"{path.name} differs in its line ends alone"


def _side(side: str, name: str, data: bytes | None) -> tuple[str, list[str]]:
    text = (data or b"").decode(errors="replace")
    return f"{side}/{name}" if data is not None else "/dev/null", text.splitlines()
