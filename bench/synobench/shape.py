"""The shape of a record's file: its size, how it is written, and the public JSON Schema."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from synobench.store import SCHEMA, Record, document

LARGEST = 4 * 2**20
"""The most bytes of a record's file: one of 10,000 test images and a hundred layers takes fifty thousand."""


def unwritten(path: Path, record: Record) -> Iterator[str]:
    """Say where a file is not, byte by byte, what the bench writes for the record that it holds.

    A name that stands twice in one object is read once: only the bytes show that the other was there.
    """
    if path.is_symlink():
        yield "it is a link; a record is a file of its own"
    if path.read_bytes() != document(record).encode():
        yield "it is not written as the bench writes it: a name stands twice, or somebody edited it"


def misshapen(record: Record) -> Iterator[str]:
    """Name the first place where a record is not what the public schema says."""
    import fastjsonschema

    try:
        _validator()(record)
    except fastjsonschema.JsonSchemaException as error:
        yield f"schema {SCHEMA}: {str(error).removeprefix('data.').replace('data must', 'a record must')}"
        return
    if place := next(_beyond(record, ""), None):
        yield f"{place.strip('.')} is no figure that anything could measure"


@functools.cache
def _validator() -> Callable[[Any], Any]:
    import fastjsonschema

    text = resources.files("synobench").joinpath("schema", f"record-{SCHEMA}.json").read_text(encoding="utf-8")
    # The part used of the 2020-12 dialect reads the same in draft 7, which has a compiler.
    facts = {"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/$defs/ok"}
    compiled: Callable[[Any], Any] = fastjsonschema.compile({**facts, "$defs": json.loads(text)["$defs"]})
    return compiled


def _beyond(value: Any, place: str) -> Iterator[str]:
    """Name each number that JSON can write and no float can hold, as 1e999."""
    if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
        yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from _beyond(inner, f"{place}.{name}")
