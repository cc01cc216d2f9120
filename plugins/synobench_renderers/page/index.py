"""The index of a site: one line a suite whose page lies in the folder, read from the pages themselves."""

from __future__ import annotations

import html.parser
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from synobench.board.figures import plain
from synobench.store import write_atomically
from synobench_renderers.page import file, policy, template

FILE = "index.html"

_TELLING = {"suite": str, "version": str, "question": str, "runs": int, "entries": int, "networks": list}
_HEAD = 16384
"""The characters of a page in which its facts must stand."""


def write_index(site: Path) -> None:
    """Write the index of the pages below a folder; without one there is no index."""
    suites = list(found(site))
    if not suites:
        return
    css = file("page.css")
    told = template("index.html.jinja").render(suites=suites, css=Markup(css), policy=policy(css, ""))
    data, path = (told.rstrip("\n") + "\n").encode(), site / FILE
    if not path.is_file() or path.read_bytes() != data:
        write_atomically(path, data)


def found(site: Path) -> Iterator[dict[str, Any]]:
    """Yield what each page below a folder tells of its suite, by the names of their folders; other files are let be."""
    for path in sorted(site.glob(f"*/{FILE}")):
        with path.open(encoding="utf-8", errors="replace") as page:
            told = _Facts(page.read(_HEAD)).told
        if told is not None:
            yield {**told, "networks": [plain(str(n)) for n in told["networks"]], "folder": quote(path.parent.name)}


class _Facts(html.parser.HTMLParser):
    """The facts that a page of ours holds in its head; None where it is none of ours."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.told: Mapping[str, Any] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = dict(attrs)
        if tag == "meta" and held.get("name") == "synobench" and self.told is None:
            self.told = _read(held.get("content") or "")


def _read(text: str) -> Mapping[str, Any] | None:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    right = isinstance(told, dict) and all(type(told.get(name)) is kind for name, kind in _TELLING.items())
    return told if right else None
