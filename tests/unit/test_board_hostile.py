"""Records that mean harm: a board is built of them, or one line says what is wrong; nothing else comes out."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest

from synobench.board import SuiteFacts, build_board
from synobench.board.publish import render
from synobench.board.text import board_text
from synobench.errors import BenchError
from synobench.registry import Registry
from synobench.store import Record
from synobench.testing.records import make_record

FACTS = SuiteFacts("demo", "1.0", "Which?", "effective", {"effective": "total"})
HARM: list[Any] = [
    *(None, True, 0, -1, 2**70, -(2**70), 10**400, 1e308, 1e999, -1e999, float("nan"), -0.0),
    *("", "x", "a" * 5000, "<script>alert(1)</script>", "\x00\x1b[31m\n", "../../etc/passwd", "\ud800"),
    *([], [1], ["a"], [[[[]]]], {}, {"name": "x"}, {"name": 1}, {"a": {"b": [1]}}),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where anything stands in a record."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield (*path, name)
        yield from places(part, (*path, name))


def harmed(record: Record, draw: random.Random) -> Record:
    """Return a record of which something was replaced, or is gone."""
    made = copy.deepcopy(record)
    *path, last = draw.choice(list(places(record)))
    part: Any = made
    for name in path:
        part = part[name]
    if draw.random() < 0.1 and isinstance(part, dict):
        del part[last]
    else:
        part[last] = copy.deepcopy(draw.choice(HARM))
    return made


@pytest.mark.parametrize("seed", range(6))
def test_a_board_of_a_hostile_record_is_built_or_refused_in_one_line(seed: int, registry: Registry) -> None:
    draw, refusals = random.Random(seed), []
    counters = {name: registry.get("counter", name).load() for name in ("effective", "energy")}
    metrics = {found.entry.name: found.entry.load() for found in registry.all("metric")}
    renderers = [registry.get("renderer", name) for name in ("markdown", "csv", "runs", "latex", "html")]
    sound = [make_record("none", None, s, 180) for s in range(3)] + [make_record("magnitude", 0.9, s) for s in range(3)]
    for _ in range(60):
        records = sound.copy()
        place = draw.randrange(len(records))
        records[place] = harmed(records[place], draw)
        try:
            board = build_board(FACTS, records, counters, metrics)
            board_text(board)
            for file in render(board, renderers):
                assert file.name.endswith(".csv") or b"<script>alert" not in (file.data or b"")
        except BenchError as error:
            refusals.append(str(error))
    assert 0 < len(refusals) < 60
    assert not any("\n" in told or "fails on the board" in told for told in refusals)
