"""Twins for real: what their hosts keep, run in one go, cut between host and twin, resumed, verified and shown."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from commandline import SPY, Bench, Spy, ended, lasting

SUITE = """
name = "tiny"
version = "1.0"
question = "Which weights, or how many where?"
counter = "effective"
seeds = [0]
pruners = ["none", "magnitude[scope=layer]", "random[scope=layer]"]
twins = true
[[targets]]
name = "sparsity"
values = [0.8]
[[networks]]
dataset = "digits"
model = "mlp-300-150-10[widths=16]"
rule = "spy[rate=0.1]"
train_epochs = 2
tune_epochs = 2
batch = 64
"""
RUN = ("run", "tiny.toml", "-p", str(SPY))
TUNE = [("tune", 0), ("tune", 1)]


def watched(folder: Path) -> tuple[Bench, Spy]:
    spy = Spy(folder)
    bench = Bench(folder, SYNOBENCH_CHECKPOINT_SECONDS="0", **spy.environment)
    (folder / "tiny.toml").write_text(SUITE)
    return bench, spy


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench, spy = watched(tmp_path_factory.mktemp("whole"))
    done = bench(*RUN, "--executor", "inline")
    (bench.folder / "stdout").write_text(done.stdout)
    (bench.folder / "stderr").write_text(done.stderr)
    assert spy.epochs() == [("train", 0), ("train", 1), *TUNE * 5]
    return bench


def by_allocation(bench: Bench) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return the hosts and the twins by the name of their pruner."""
    records = bench.records().values()
    twins = [bool(r["inputs"]["pruner"]["params"].get("allocation")) for r in records]
    parts: tuple[dict[str, dict[str, Any]], ...] = ({}, {})
    for record, twin in zip(records, twins, strict=True):
        assert parts[twin].setdefault(record["inputs"]["pruner"]["name"], record) is record
    return parts[0], parts[1]


def kept(record: dict[str, Any]) -> list[int]:
    return [layer["kept"] for layer in record["outcome"]["sparsity"]["layers"]]


def test_a_twin_keeps_what_its_host_keeps_and_is_shared(whole: Bench) -> None:
    hosts, twins = by_allocation(whole)
    assert (sorted(hosts), sorted(twins)) == (["magnitude", "none", "random"], ["magnitude", "random"])
    for name, twin in twins.items():
        assert kept(twin) == twin["inputs"]["pruner"]["params"]["allocation"] == kept(hosts[name])
        shared = [r["provenance"]["shared"]["parent"]["weights"] for r in (twin, hosts[name])]
        assert shared[0] == shared[1]
        # Magnitude and random in every layer are their own twins: the same hits and the same network.
        assert twin["outcome"] == hosts[name]["outcome"]
    assert kept(hosts["magnitude"]) == kept(hosts["random"])


def test_the_run_counts_them_and_the_board_shows_them(whole: Bench) -> None:
    lines = (whole.folder / "stderr").read_text().splitlines()
    assert any(line.startswith("[6/6] ok") and "/twin=" in line for line in lines)
    out = (whole.folder / "stdout").read_text()
    assert out.count("same network") == 2
    assert "allocation=" not in out.replace("allocation=,", "")
    rows = (whole.store / "boards" / "tiny" / "runs.csv").read_text().splitlines()
    assert len(rows) == 1 + 5
    assert sum("(twin)" in row for row in rows) == 2


def test_they_are_planned_done_and_verified(whole: Bench) -> None:
    told = json.loads(whole("plan", "tiny.toml", "-p", str(SPY), "--json").stdout)
    assert sorted(set(told["cells"].values())) == ["done"]
    assert sum("/twin=" in label for label in told["cells"]) == 2
    assert told["twins_to_come"] == 0
    assert "0 findings" in whole("verify").stdout


@pytest.mark.slow
def test_a_kill_between_host_and_twin_goes_on_to_the_same_records(tmp_path: Path, whole: Bench) -> None:
    bench, spy = watched(tmp_path)
    assert json.loads(bench("plan", "tiny.toml", "-p", str(SPY), "--json").stdout)["twins_to_come"] == 4
    spy.hold("tune", 1, times=4)
    process = bench.start(*RUN, "--executor", "slots[n=1]")
    try:
        spy.wait(process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=120)
    finally:
        process.kill()
    assert all(ended(pid) for pid in spy.pids())
    hosts, twins = by_allocation(bench)
    assert (len(hosts), twins) == (3, {})
    spy.log.write_text("")
    planned = bench("plan", "tiny.toml", "-p", str(SPY)).stdout
    assert "tiny 1.0: 3 done, 2 pending; " in planned
    bench(*RUN, "--executor", "slots[n=1]")
    assert spy.epochs() == [("tune", 1), *TUNE]
    assert lasting(bench.records()) == lasting(whole.records())
    assert bench.ledgers() == whole.ledgers()
