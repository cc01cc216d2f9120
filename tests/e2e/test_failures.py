"""Plugins that raise, propose nonsense or take the process down are named, the rest goes on, and mending heals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commandline import Bench

SUITE = """
name = "tiny"
version = "1.0"
question = "Who fails?"
counter = "effective"
seeds = [0]
pruners = ["raises", "exits", "ends", "crashes", "short", "dict", "magnitude"]
[[targets]]
name = "sparsity"
values = [0.8]
[[networks]]
dataset = "digits"
model = "mlp-300-150-10[widths=12]"
rule = "backprop[rate=0.1]"
train_epochs = 2
tune_epochs = 1
batch = 64
"""

PLUGIN = '''
"""Pruners that fail in every way, until WELL."""
import ctypes, os
from dataclasses import dataclass
from synobench import PrunerEntry, hookimpl

WELL = {well}

class Fails:
    def prune(self, bench):
        highest = {{n: w.abs() for n, w in bench.prunable.items()}}
        return bench.keep_highest(highest) if WELL else self.fail(highest)

@dataclass(frozen=True)
class Raises(Fails):
    def fail(self, highest): raise ValueError("no such\\nluck")

@dataclass(frozen=True)
class Ends(Fails):
    def fail(self, highest): os._exit(1)

@dataclass(frozen=True)
class Exits(Fails):
    def fail(self, highest): raise SystemExit(3)

@dataclass(frozen=True)
class Crashes(Fails):
    def fail(self, highest): ctypes.string_at(0)

@dataclass(frozen=True)
class Short(Fails):
    def fail(self, highest):
        from synobench.surgery import Proposal
        return Proposal({{n: w[:1] > 0 for n, w in highest.items()}})

@dataclass(frozen=True)
class Dict(Fails):
    def fail(self, highest): return {{n: w > 0 for n, w in highest.items()}}

@hookimpl
def synobench_pruners():
    for kind in (Raises, Ends, Exits, Crashes, Short, Dict):
        yield PrunerEntry(kind.__name__.lower(), params=kind, summary="it fails")
'''

CAUSES = {
    "raises": ("ValueError", "no such luck"),
    "exits": ("SystemExit", "3"),
    "ends": ("WorkerDied", "the worker process died: exit 1 after 1 try"),
    "crashes": ("WorkerDied", "the worker process died: exit -11 (SIGSEGV) after 1 try"),
    "short": ("ContractError", "its mask of fc1.weight must be bool of shape [12, 64], not bool of shape [1, 64]"),
    "dict": ("ContractError", "it returned dict, not a Proposal"),
}
RUN = ("run", "tiny.toml", "-p", "failing.py")


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Return a folder in which a suite of one good and six bad pruners ran."""
    bench = Bench(tmp_path_factory.mktemp("failing"))
    (bench.folder / "tiny.toml").write_text(SUITE)
    (bench.folder / "failing.py").write_text(PLUGIN.format(well=False))
    done = bench(*RUN, "--executor", "slots[n=1,retries=0]", code=1)
    (bench.folder / "stderr").write_text(done.stderr)
    return bench


@pytest.mark.slow
def test_the_others_go_on_and_each_failure_names_stage_and_plugin(failing: Bench) -> None:
    (record,) = failing.records().values()
    assert record["inputs"]["pruner"]["name"] == "magnitude"
    assert failing.failures().keys() == CAUSES.keys()
    for name, failure in failing.failures().items():
        assert failure["status"] == "failed"
        assert "outcome" not in failure
        error = failure["error"]
        assert (error["stage"], error["plugin"]) == ("prune", "'failing' of local file")
        assert (error["kind"], error["message"]) == CAUSES[name]
    assert "ValueError: no such\nluck" in failing.failures()["raises"]["error"]["traceback"]
    assert "Segmentation fault" in failing.failures()["crashes"]["error"]["traceback"]


def test_the_summary_tells_each_cause_once_with_its_run(failing: Bench) -> None:
    told = [line for line in (failing.folder / "stderr").read_text().splitlines() if line.startswith("synobench: ")]
    for name, (kind, message) in CAUSES.items():
        label = f"digits/mlp-300-150-10[widths=12]/{name}/sparsity=0.8/seed=0"
        assert f"synobench: failed: {label}: prune in plugin 'failing' of local file: {kind}: {message}" in told
    assert len(told) == 7
    assert told[-1].startswith("synobench: 6 runs failed; tracebacks lie in ")


def test_plan_shows_what_failed_and_the_board_does_not(failing: Bench) -> None:
    lines = failing("plan", "tiny.toml", "-p", "failing.py").stdout.splitlines()
    assert sum(line.startswith("failed ") for line in lines) == 6
    assert next(line for line in lines if "/raises/" in line).endswith(": prune: ValueError: no such luck")
    assert lines[-1].startswith("tiny 1.0: 1 done, 6 failed; about ")
    states = json.loads(failing("plan", "tiny.toml", "-p", "failing.py", "--json").stdout)["cells"]
    assert sorted(states.values()) == ["done"] + ["failed"] * 6
    # Failures are not committed, so that a board which tells of them would be stale in every clone.
    assert "no such luck" not in (failing.store / "boards" / "tiny" / "README.md").read_text()


@pytest.mark.slow
def test_mended_the_failed_runs_alone_are_run_and_their_failures_go(failing: Bench) -> None:
    assert len(failing.records()) == 1
    (failing.folder / "failing.py").write_text(PLUGIN.format(well=True))
    done = failing(*RUN, "--executor", "slots[n=1]")
    assert done.stderr.count(" ok ") == 6
    assert len(failing.records()) == 7
    assert failing.failures() == {}
    # All keep the highest |w|, on one parent: what is left of an earlier try would show.
    outcomes = [record["outcome"]["test"]["top1"]["mask"] for record in failing.records().values()]
    assert len(set(outcomes)) == 1


@pytest.mark.slow
def test_a_parent_that_fails_fails_its_cells(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    suite = SUITE.replace('"raises", "exits", "ends", "crashes", "short", "dict", ', '"none", ')
    (tmp_path / "tiny.toml").write_text(suite.replace("rate=0.1", "rate=1e30"))
    done = bench("run", "tiny.toml", "--executor", "inline", code=1)
    assert "/none/none/seed=0 and 1 more: train in plugin 'backprop' of synobench" in done.stderr
    assert {f["error"]["stage"] for f in bench.failures().values()} == {"train"}
    assert bench.failures().keys() == {"none", "magnitude"}
    assert all("is not finite" in failure["error"]["message"] for failure in bench.failures().values())
    assert [line.split()[1] for line in done.stderr.splitlines()[:3]] == ["failed"] * 3


def test_a_stale_temporary_file_is_no_record(ran: Bench) -> None:
    """What a kill in the middle of a write leaves behind counts for nothing."""
    path = next(iter((ran.store / "records" / "tiny").glob("??/*.json")))
    half = path.with_name(f".{path.name}.abcdefgh")
    half.write_text(path.read_text()[:100])
    try:
        assert ran("plan", "tiny.toml").stdout.splitlines()[-1].startswith("tiny 1.0: 12 done")
        assert ran("verify").stdout == "12 records checked, 0 findings\n"
    finally:
        half.unlink()
