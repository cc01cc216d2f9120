"""A stored cell is run again by one command, and held against what was stored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commandline import Bench

from synobench.store import document


@pytest.fixture
def copied(ran: Bench, tmp_path: Path) -> Bench:
    """Return the small suite's records in a folder of their own, without its cache."""
    bench = Bench(tmp_path)
    shutil.copytree(ran.store, bench.store)
    shutil.copy(ran.folder / "tiny.toml", bench.folder)
    return bench


def stored(bench: Bench, pruner: str, seed: int) -> str:
    """Return the key of a record of the perceptron."""
    chosen = [
        key
        for key, record in bench.records().items()
        if (record["inputs"]["pruner"]["name"], record["inputs"]["seed"]) == (pruner, seed)
        and record["inputs"]["model"]["name"].startswith("mlp")
    ]
    return chosen[0]


def test_a_replay_is_identical_and_kept_beside_the_record(copied: Bench) -> None:
    before, key = copied.records(), stored(copied, "magnitude", 0)
    done = copied("replay", key[:12], "--suite", "tiny.toml", "--executor", "inline")
    assert done.stdout.splitlines()[-1].endswith("identical, image by image")
    (replay,) = (copied.store / "replays" / "tiny").glob("*.json")
    assert replay.stem == f"{key}-1"
    assert json.loads(replay.read_text())["outcome"] == before[key]["outcome"]
    assert copied.records() == before


def test_a_forged_record_is_refused_before_anything_runs(copied: Bench) -> None:
    key = stored(copied, "magnitude", 0)
    path = copied.store / "records" / "tiny" / key[:2] / f"{key}.json"
    path.write_text(path.read_text().replace('"hits": ', '"hits": 1', 1))
    done = copied("replay", key, "--suite", "tiny.toml", "--executor", "inline", code=2)
    assert "does not hold" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (copied.store / "replays").exists()


def test_a_record_that_no_run_gives_cannot_be_judged_by_one_other_seed(copied: Bench) -> None:
    key = stored(copied, "magnitude", 0)
    path = copied.store / "records" / "tiny" / key[:2] / f"{key}.json"
    record = json.loads(path.read_text())
    record["outcome"]["test"]["top1"] = {**record["outcome"]["test"]["top5"]}
    path.write_text(document(record))
    done = copied("replay", key, "--suite", "tiny.toml", "--executor", "inline", code=3)
    assert "unjudged: other seeds stored: 1, needed: 2" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["replay"], "replay takes either keys or --sample N"),
        (["replay", "abcdef", "--sample", "1"], "replay takes either keys or --sample N"),
        (["replay", "000000", "--suite", "tiny.toml"], "'000000' is the key of no record"),
        (["replay", "--sample", "1"], "tiny"),
        (["replay", "--sample", "-1"], "--sample draws one record or more, not -1"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], told: str, copied: Bench) -> None:
    done = copied(*arguments, code=2)
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
