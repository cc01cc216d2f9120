"""Real kills: at most the running cell is lost, nobody survives, and the same command goes on to the same records."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from commandline import SPY, Bench, Spy, ended, lasting

from synobench.ledger import unpack_vectors
from synobench.tensors import load_tree

SUITE = """
name = "tiny"
version = "1.0"
question = "Does it survive?"
counter = "effective"
seeds = [0]
pruners = ["none", "magnitude"]
[[targets]]
name = "sparsity"
values = [0.8]
[[networks]]
dataset = "digits"
model = "snn-conv[width=2,steps=2]"
rule = "spy[rate=0.2,warmup=0.5]"
train_epochs = 4
tune_epochs = 3
batch = 64
"""
RUN = ("run", "tiny.toml", "-p", str(SPY), "--executor", "slots[n=1]")
WHOLE = [("train", i) for i in range(4)] + [("tune", i) for i in range(3)] * 2

Watched = tuple[Bench, Spy]


def watched(folder: Path, **more: str) -> Watched:
    spy = Spy(folder)
    bench = Bench(folder, SYNOBENCH_CHECKPOINT_SECONDS="0", **spy.environment, **more)
    (folder / "tiny.toml").write_text(SUITE)
    return bench, spy


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    bench, spy = watched(tmp_path_factory.mktemp("uninterrupted"))
    bench("run", "tiny.toml", "-p", str(SPY), "--executor", "inline")
    assert spy.epochs() == WHOLE
    return bench, spy


@pytest.fixture
def begun(tmp_path: Path) -> Watched:
    return watched(tmp_path)


def cut(begun: Watched, phase: str, epoch: int, kill: Callable[[int, int], None], times: int = 1) -> tuple[int, str]:
    """Run until an epoch is under way, kill, and return the exit code and what was said; nobody may survive.

    `times` says in which of the runs of that phase.
    """
    bench, spy = begun
    spy.hold(phase, epoch, times)
    process = bench.start(*RUN)
    try:
        worker = spy.wait(process)
        assert worker != process.pid
        kill(process.pid, worker)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert "Traceback" not in out + err
    assert all(ended(pid) for pid in spy.pids())
    return process.returncode, err


def assert_whole(folder: Path) -> None:
    """Every file that is there can be read to its end, and no half of one lies about."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    readers = {".json": lambda p: json.loads(p.read_text()), ".safetensors": load_tree}
    readers[".ledger"] = lambda p: unpack_vectors(p.read_bytes())
    for path in files:
        assert not path.name.startswith("."), path
        readers.get(path.suffix, Path.read_bytes)(path)


def killed(parent: int, worker: int) -> None:
    os.kill(parent, signal.SIGKILL)


def interrupted(parent: int, worker: int) -> None:
    os.kill(parent, signal.SIGINT)


def resumed(bench: Bench) -> dict[str, bool]:
    return {r["inputs"]["pruner"]["name"]: r["provenance"]["resumed"] for r in bench.records().values()}


@pytest.mark.slow
def test_a_kill_in_the_training_of_a_parent(begun: Watched, uninterrupted: Watched) -> None:
    bench, spy = begun
    code, _ = cut(begun, "train", 2, killed)
    assert code == -signal.SIGKILL
    assert spy.epochs() == WHOLE[:3]
    assert bench.records() == bench.failures() == {}
    assert_whole(bench.folder / "cache")
    spy.log.write_text("")
    bench(*RUN)
    assert spy.epochs() == WHOLE[2:]  # epochs 0 and 1 came out of the checkpoint
    assert resumed(bench) == {"none": True, "magnitude": True}
    assert lasting(bench.records()) == lasting(uninterrupted[0].records())
    assert bench.ledgers() == uninterrupted[0].ledgers()
    assert_whole(bench.folder)


@pytest.mark.slow
def test_a_kill_in_the_fine_tuning_of_a_cell(begun: Watched, uninterrupted: Watched) -> None:
    bench, spy = begun
    code, _ = cut(begun, "tune", 1, killed)
    assert code == -signal.SIGKILL
    assert bench.records() == bench.failures() == {}
    assert_whole(bench.folder / "cache")
    spy.log.write_text("")
    bench(*RUN)
    assert sorted(spy.epochs()) == sorted(WHOLE[5:])  # no training again, and one epoch of fine-tuning less
    assert sorted(resumed(bench).values()) == [False, True]
    assert lasting(bench.records()) == lasting(uninterrupted[0].records())
    assert not list(bench.folder.glob("cache/cells/**/*.safetensors"))


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_run_goes_on(begun: Watched, uninterrupted: Watched) -> None:
    bench, spy = begun
    code, err = cut(begun, "tune", 1, lambda _, worker: os.kill(worker, signal.SIGKILL))
    assert code == 0, err
    assert len(set(spy.pids())) == 2
    assert sorted(spy.epochs()) == sorted([*WHOLE, ("tune", 1)])  # only the epoch that was cut is run twice
    assert sorted(resumed(bench).values()) == [False, True]
    assert lasting(bench.records()) == lasting(uninterrupted[0].records())
    assert bench.failures() == {}


@pytest.mark.slow
def test_ctrl_c_is_one_line_and_loses_the_running_cell_alone(begun: Watched, uninterrupted: Watched) -> None:
    bench, spy = begun
    code, err = cut(begun, "tune", 2, interrupted, times=2)
    assert code == 130
    told = [line for line in err.splitlines() if not line.startswith("[")]
    assert told == ["synobench: interrupted; what is stored stays, and the same command goes on"]
    assert spy.epochs() == WHOLE
    assert list(resumed(bench)) == ["none"]
    assert bench.failures() == {}
    assert_whole(bench.folder)
    spy.log.write_text("")
    bench(*RUN)
    assert spy.epochs() == [("tune", 2)]
    assert lasting(bench.records()) == lasting(uninterrupted[0].records())
