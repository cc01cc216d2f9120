"""Same seed, same CPU: same record, wherever, however often and in whatever order it is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from commandline import Bench, counts, lasting


def assert_same(bench: Bench, ran: Bench) -> None:
    found, wanted = bench.records(), ran.records()
    assert len(wanted) == 12
    assert lasting(found) == lasting(wanted)
    assert counts(found) == counts(wanted)
    assert bench.ledgers() == ran.ledgers()
    # The board's prose tells of machines; its table tells of outcomes alone.
    tables = [(b.store / "boards" / "tiny" / "board.csv").read_text().splitlines() for b in (bench, ran)]
    assert [row.split(",")[:9] for row in tables[0]] == [row.split(",")[:9] for row in tables[1]]


@pytest.mark.slow
def test_two_worker_processes_make_the_records_of_one_process(tmp_path: Path, tiny: str, ran: Bench) -> None:
    bench = Bench(tmp_path)
    (tmp_path / "tiny.toml").write_text(tiny)
    bench("run", "tiny.toml", "--executor", "slots[n=2]")
    assert_same(bench, ran)


@pytest.mark.slow
def test_a_part_first_and_the_rest_later_make_the_records_of_one_run(tmp_path: Path, tiny: str, ran: Bench) -> None:
    bench = Bench(tmp_path)
    (tmp_path / "tiny.toml").write_text(tiny)
    first = bench("run", "tiny.toml", "--executor", "inline", "--only", "*random*seed=1")
    assert first.stderr.count(" ok ") == 4  # two parents, and a cell on each
    assert len(bench.records()) == 2
    rest = bench("run", "tiny.toml", "--executor", "inline")
    assert rest.stderr.count(" ok ") == 12
    assert_same(bench, ran)


def test_what_is_done_is_not_run_again(ran: Bench) -> None:
    before = {path: path.stat().st_mtime_ns for path in ran.store.rglob("*.json")}
    again = ran("run", "tiny.toml")
    assert again.stderr == ""
    assert {path: path.stat().st_mtime_ns for path in ran.store.rglob("*.json")} == before
