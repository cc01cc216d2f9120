"""The files of one evaluation section: tables, figures, text, references, and a document that takes them in.

A list of digests lies beside them, as ``sha256sum`` writes it: a file that is not as it was written here is somebody
else's, and stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from synobench.board import Board
from synobench.board.latex import escape
from synobench.board.publish import render
from synobench.citations import Bibliography
from synobench.entries import RendererEntry
from synobench.errors import BenchError
from synobench.evaluation import Section
from synobench.registry import Registry
from synobench.store import write_atomically
from synobench.suite import Suite

SECTION, MAIN, REFERENCES, DIGESTS = "evaluation.tex", "main.tex", "references.bib", "synobench.sha256"

_MAIN = r"""% The smallest document around {section}, written by `synobench paper`.
\documentclass{{article}}
\IfFileExists{{lmodern.sty}}{{\usepackage[T1]{{fontenc}}\usepackage{{lmodern}}}}{{}}
\usepackage[a4paper,margin=2.5cm]{{geometry}}
\usepackage{{array,booktabs,graphicx}}
\title{{{title}}}
\author{{}}
\date{{}}
\begin{{document}}
\maketitle
\input{{{section}}}
\bibliographystyle{{plain}}
\bibliography{{references}}
\end{{document}}
"""


def files(board: Board, suite: Suite, registry: Registry, cited: Bibliography) -> dict[str, bytes]:
    """Return the files of a section by name: every renderer's ``.tex`` and ``.pdf``, the text and the references.

    Raises:
        BenchError: there is no run to write about, a renderer fails, or one writes a file of the section's own names.
    """
    if not board.runs:
        raise BenchError(f"no run of {suite.name} {suite.version} is recorded: 'synobench run {suite.name}' makes some")
    entries = [found.entry for found in registry.all("renderer") if isinstance(found.entry, RendererEntry)]
    made = {ending: [e for e in entries if e.file.endswith(ending)] for ending in (".tex", ".pdf")}
    tables, pictures = (_rendered(board, made[ending]) for ending in (".tex", ".pdf"))
    shown = {e.file: e.summary.removesuffix(", as PDF") for e in made[".pdf"]}
    section = Section(board, suite, registry, cited)
    own = {
        SECTION: section.text(list(tables), {name: shown.get(name, name) for name in pictures}),
        MAIN: _MAIN.format(section=SECTION, title=f"{escape(suite.name)} {escape(suite.version)}"),
        REFERENCES: cited.text,
    }
    if taken := own.keys() & (tables.keys() | pictures.keys()):
        raise BenchError(f"a renderer writes {', '.join(sorted(taken))}, which is a file of the section itself")
    return {**tables, **pictures, **{name: text.encode() for name, text in own.items()}}


def write(folder: Path, made: Mapping[str, bytes]) -> list[Path]:
    """Write files into a folder, and take away those of an earlier writing that are made no more.

    Returns:
        The files, sorted, the list of digests last.

    Raises:
        BenchError: a file there is not as it was written here; nothing is written then.
    """
    if folder.exists() and not folder.is_dir():
        raise BenchError(f"{folder} is not a folder; give --out one")
    before = _digests(folder / DIGESTS)
    for name, data in sorted(made.items()):
        path = folder / name
        if path.exists() and _digest(path) not in (before.get(name), hashlib.sha256(data).hexdigest()):
            raise BenchError(f"{path} is not as synobench wrote it; move it away, or give --out another folder")
    for name, digest in before.items():
        if name not in made and (folder / name).is_file() and _digest(folder / name) == digest:
            (folder / name).unlink()
    for name, data in sorted(made.items()):
        write_atomically(folder / name, data)
    lines = (f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(made.items()))
    write_atomically(folder / DIGESTS, "".join(lines).encode())
    return [folder / name for name in (*sorted(made), DIGESTS)]


def _rendered(board: Board, entries: Sequence[RendererEntry]) -> dict[str, bytes]:
    return {file.name: file.data for file in render(board, entries) if file.data is not None}


def _digests(path: Path) -> dict[str, str]:
    """Return name -> digest of an earlier writing; a list that is not one is somebody else's."""
    if not path.exists():
        return {}
    try:
        lines = [line.split("  ") for line in path.read_text(encoding="utf-8").splitlines()]
        return {name: digest for digest, name in lines if Path(name).name == name}
    except (OSError, ValueError):
        raise BenchError(f"{path} is not as synobench wrote it; move it away, or give --out another folder") from None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
