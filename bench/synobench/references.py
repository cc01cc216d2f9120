"""The references that plugins keep beside their code, as BibTeX: found without an import, each read once.

A package keeps them in ``references.bib``, a plugin of one file in a file of its own name, as ``first_order.bib``.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from synobench.errors import BenchError
from synobench.registry import Origin

FILE = "references.bib"

_HEAD = re.compile(r"@([A-Za-z]+)\s*\{\s*([^\s,{}\"]+)\s*,")
_TITLE = re.compile(r"\btitle\s*=\s*([^\n]*)", re.IGNORECASE)
_NO_ENTRIES = frozenset({"comment", "preamble", "string"})


def location(origin: Origin) -> Path | None:
    """Return where a plugin keeps its references, whether or not the file is there; None where its code has no file."""
    if origin.distribution == "local file":
        return Path(origin.module).with_suffix(".bib")
    try:
        spec = importlib.util.find_spec(origin.module.partition(".")[0])
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin)
    return path.parent / FILE if spec.submodule_search_locations else path.with_suffix(".bib")


def parse(text: str, where: str = FILE) -> dict[str, str]:
    """Return key -> entry, as it is written.

    Raises:
        BenchError: an entry is not closed, or a key stands there twice.
    """
    found: dict[str, str] = {}
    end = 0
    while (head := _HEAD.search(text, end)) is not None:
        end = _closed(text, head.start(), f"{head[2]} of {where}")
        if head[1].lower() in _NO_ENTRIES:
            continue
        if head[2] in found:
            raise BenchError(f"{where} has {head[2]} twice; keep one of them")
        found[head[2]] = text[head.start() : end]
    return found


class Library:
    """The references of some plugins."""

    def __init__(self, origins: Iterable[Origin]) -> None:
        self._origins = {origin.plugin: origin for origin in sorted(origins, key=lambda origin: origin.plugin)}
        self._read: dict[str, Mapping[str, str]] = {}

    def of(self, plugin: str) -> Mapping[str, str]:
        """Return key -> entry of a plugin's own references; empty where it keeps none.

        Raises:
            BenchError: they are not BibTeX.
        """
        if plugin not in self._read:
            path = location(self._origins[plugin])
            self._read[plugin] = _read(path) if path is not None and path.is_file() else {}
        return self._read[plugin]

    def place(self, plugin: str) -> str:
        """Say where a plugin keeps its references."""
        path = location(self._origins[plugin])
        return f"the {path.name if path else FILE} of plugin {plugin!r}"

    def find(self, key: str, first: str = "") -> str | None:
        """Return the entry of a key: that of the plugin `first`, else of the first one by name that has it."""
        plugins = [first] if first in self._origins else []
        found = (self.of(plugin).get(key) for plugin in (*plugins, *self._origins))
        return next((entry for entry in found if entry is not None), None)

    def clashes(self, key: str) -> list[str]:
        """Return the plugins that keep another work under a key than the first one does, by its title."""
        titles = {plugin: _title(self.of(plugin)[key]) for plugin in self._origins if key in self.of(plugin)}
        first = next(iter(titles.values()), "")
        return [plugin for plugin, title in titles.items() if title != first]


def _read(path: Path) -> dict[str, str]:
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise BenchError(f"{path} is not UTF-8 text") from None


def _closed(text: str, start: int, what: str) -> int:
    depth = 0
    for place in range(text.index("{", start), len(text)):
        if text[place] in "{}" and text[place - 1] != "\\":
            depth += 1 if text[place] == "{" else -1
            if not depth:
                return place + 1
    raise BenchError(f"the entry {what} is not closed: a brace is missing")


def _title(entry: str) -> str:
    told = _TITLE.search(entry)
    return "".join(c for c in told[1].lower() if c.isalnum()) if told else ""
