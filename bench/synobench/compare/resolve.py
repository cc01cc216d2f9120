"""What the two arguments of `compare` mean: entries of a board, folders, or git revisions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from synobench.board import Board, SuiteFacts, build_board
from synobench.boards import counter_of, naming_of, plan_of, reference_of
from synobench.compare.entries import compare_entries, find, unknown
from synobench.compare.report import Report
from synobench.compare.sides import Reader, Side, at_revision, in_folder, is_revision, suite_in
from synobench.compare.stored import compare_sides
from synobench.entries import CounterEntry
from synobench.errors import BenchError
from synobench.params import parse_spec
from synobench.registry import Registry
from synobench.store import Record, Store
from synobench.suite import Suite, find_suite

KINDS = ("entries", "folders", "revisions")
"""What two arguments can be."""


def compare(
    a: str, b: str, root: Path, registry: Registry, suite: str | None = None, kind: str | None = None
) -> Report:
    """Compare two entries, folders of records, or git revisions.

    Args:
        a: the one that entries are judged as; of folders and revisions, the one before.
        b: what an entry is held against; of folders and revisions, the one after.
        root: the folder of records and boards, in which entries and revisions are looked for.
        registry: without strangers.
        suite: a suite's name or TOML file; entries need it where there are records of several.
        kind: one of `KINDS`, where the arguments could be several.

    Raises:
        BenchError: an argument means nothing, or several things, or what it means holds no record.
    """
    asked = _Asked((a, b), root, registry, find_suite(suite, registry) if suite else None)
    found = [kind] if kind else asked.kinds()
    if len(found) > 1:
        told = " and ".join(found)
        raise BenchError(f"{a!r} and {b!r} could be {told}: say which by --as {' or --as '.join(found)}")
    if not found:
        raise asked.meaningless()
    return asked.entries() if found == ["entries"] else asked.stored(found[0])


def board_of(name: str, records: Iterable[Record], registry: Registry, suite: Suite | None = None) -> Board:
    """Build a board of some records of a suite, without its plan, counted as far as the bench's own plugins can."""
    held = list(records)
    if suite is None:
        with contextlib.suppress(BenchError):
            suite = find_suite(name, registry)
    versions = {str(record["inputs"]["suite"]["version"]) for record in held}
    counter, headline, count = _counter(suite, registry)
    facts = SuiteFacts(
        name=name,
        version=suite.version if suite and suite.version in versions else max(versions, default=""),
        question=suite.question if suite else "",
        counter=counter,
        headlines={counter: headline},
        reference=reference_of(suite, registry) if suite else None,
        **(naming_of(suite, plan_of(suite, registry)) if suite else {}),
    )
    return build_board(facts, held, {counter: count})


def _counter(suite: Suite | None, registry: Registry) -> tuple[str, str, Any]:
    """Return name, headline and function of a suite's counter; one that is no plugin of the bench counts nothing."""
    name = suite.counter if suite else ""
    with contextlib.suppress(BenchError):
        entry: CounterEntry = registry.get("counter", parse_spec(name)[0])
        return name, entry.headline, counter_of(registry, name)
    return name, "", lambda _: {}


class _Asked:
    """Two arguments, and what they could mean."""

    def __init__(self, texts: tuple[str, str], root: Path, registry: Registry, suite: Suite | None) -> None:
        self.texts, self.root, self.registry, self.suite = texts, root, registry, suite

    def kinds(self) -> list[str]:
        """Return what both could be; entries only where a suite is named, or nothing else fits."""
        found = [kind for kind in ("folders", "revisions") if all(self._is(kind, text) for text in self.texts)]
        if self.suite or not found:
            with contextlib.suppress(BenchError):  # it is told where nothing else fits
                found += ["entries"] if all(self._entry(text) for text in self.texts) else []
        return found

    def entries(self) -> Report:
        """Compare them as entries."""
        if self.board is None:
            raise self._no_suite()
        for text in self.texts:
            if not self._entry(text):
                raise unknown(text, self.board)
        one, two = (str(self._entry(text)) for text in self.texts)
        return compare_entries(one, two, self.board)

    def stored(self, kind: str) -> Report:
        """Compare them as folders or as revisions."""
        reader = Reader()
        before, after = (self._side(kind, text, reader) for text in self.texts)
        return compare_sides(before, after, self._make)

    def meaningless(self) -> BenchError:
        """Say which argument means nothing, and what it could have been."""
        stray = [text for text in self.texts if not any(self._is(kind, text) for kind in ("folders", "revisions"))]
        if self.board is not None and (wrong := [t for t in stray or self.texts if not self._entry(t)]):
            return unknown(wrong[0], self.board)
        if stray and self.board is None:
            told = "" if self.suite else f"{stray[0]!r} is no folder and no git revision; "
            return BenchError(f"{told}{self._no_suite()}")
        told = f"{self.texts[0]!r} and {self.texts[1]!r} are not of one kind"
        return BenchError(f"{told}: give two entries, two folders or two git revisions")

    @cached_property
    def board(self) -> Board | None:
        """The board that entries are looked for on: of the suite that is named, or of the only one with records."""
        held = Store(self.root).suites()
        names = [name for name in held if self.suite is None or name == self.suite.name]
        if len(names) != 1:
            return None
        return board_of(names[0], Store(self.root).records(names[0]), self.registry, self.suite)

    def _is(self, kind: str, text: str) -> bool:
        return Path(text).is_dir() if kind == "folders" else self.root.is_dir() and is_revision(self.root, text)

    def _entry(self, text: str) -> str | None:
        return find(text, self.board, self.registry) if self.board else None

    def _side(self, kind: str, text: str, reader: Reader) -> Side:
        if not self._is(kind, text):
            raise BenchError(f"{text!r} is no {'folder' if kind == 'folders' else 'git revision'}")
        folder, own = suite_in(Path(text)) if kind == "folders" else (self.root, None)
        files = in_folder(folder) if kind == "folders" else at_revision(folder, text)
        return reader.side(text, files, self.suite.name if self.suite else own)

    def _make(self, name: str, records: Iterable[Record]) -> Board:
        return board_of(name, records, self.registry, self.suite if self.suite and self.suite.name == name else None)

    def _no_suite(self) -> BenchError:
        held = Store(self.root).suites()
        if self.suite:
            return BenchError(f"there are no records of suite {self.suite.name} below {self.root}")
        told = f"records of {', '.join(held)} lie" if held else "no records lie"
        return BenchError(f"{told} below {self.root}; --suite names the one whose entries are compared")
