"""Parents are trained once, and what is damaged is neither trusted nor in the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from synobench import parents
from synobench.engine import perform
from synobench.errors import BenchError
from synobench.jobs import Job
from synobench.parents import Checkpoint, obtain
from synobench.suite import Cell
from synobench.tensors import digest, load_tree, save_tree
from synobench.training import Phase

Cells = Callable[..., list[Cell]]
Jobs = Callable[..., dict[str, Any]]


@pytest.fixture
def job(suite_cells: Cells, job_of: Jobs) -> Callable[..., Job]:
    def make(told: dict[str, Any] | None = None, **fields: Any) -> Job:
        return Job(job_of(suite_cells(**{"train": 1, **fields})[0], **(told or {})), lambda _: None)

    return make


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with each phase that is run."""
    seen: list[str] = []
    honest = Phase.run

    def counted(self: Phase, resumed: Any = None) -> None:
        seen.append(self.session.phase)
        honest(self, resumed)

    monkeypatch.setattr(Phase, "run", counted)
    return seen


def folder_of(job: Job) -> Path:
    return job.kept("parents", job.facts["parent_key"])


def test_a_parent_is_trained_once_and_kept_whole(job: Callable[..., Job], trainings: list[str]) -> None:
    first = obtain(job())
    second = obtain(job(pruners=["random"], values=[0.9]))
    assert trainings == ["train"]
    assert digest(first.state) == digest(second.state) == first.facts["weights"]
    assert first.facts["cost"]["train"]["backward"] == 10
    assert len(first.facts["curve"]) == 1
    assert (first.masks, first.pruner_state) == ({}, {})
    files = {p.name for p in folder_of(job()).iterdir()}
    assert files == {"parent.json", "weights.safetensors", "initial.safetensors", "rule.safetensors"}
    kept = load_tree(folder_of(job()) / "initial.safetensors")["model"]
    assert digest(kept) != digest(first.state)


def test_masks_state_and_measurements_of_an_early_pruner_are_kept(job: Callable[..., Job]) -> None:
    found = obtain(job(pruners=["regrow[every=2]"]))
    assert set(found.masks) == {"fc1.weight", "fc2.weight"}
    assert all(not bool(found.state[n][~m].any()) for n, m in found.masks.items())
    assert found.pruner_state["rounds"] == list(range(1, 11))
    assert found.facts["measurements"]["rounds"] == 10.0


def spoil_weights(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-7])


def change_weights(folder: Path) -> None:
    kept = load_tree(folder / "weights.safetensors")
    kept["model"]["fc1.weight"][0, 0] += 1.0
    save_tree(folder / "weights.safetensors", kept)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": spoil_weights,
    "changed": change_weights,
    "missing": lambda folder: (folder / "weights.safetensors").unlink(),
    "facts": lambda folder: (folder / "parent.json").write_text("{"),
    "other facts": lambda folder: (folder / "parent.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_parent_is_told_and_its_remedy_works(
    damage: Callable[[Path], object], job: Callable[..., Job], trainings: list[str]
) -> None:
    import shutil

    obtain(job())
    folder = folder_of(job())
    damage(folder)
    with pytest.raises(BenchError) as caught:
        obtain(job())
    assert str(caught.value) == f"the parent in {folder} is damaged; delete that folder and run again"
    shutil.rmtree(folder)
    obtain(job())
    assert trainings == ["train", "train"]


def test_a_parent_without_its_facts_is_trained_again(job: Callable[..., Job], trainings: list[str]) -> None:
    first = obtain(job())
    (folder_of(job()) / "parent.json").unlink()
    assert digest(obtain(job()).state) == digest(first.state)
    assert len(trainings) == 2


@pytest.mark.parametrize("pruner", ["magnitude", "early", "regrow[every=3]", "penalised"])
def test_a_parent_cut_and_resumed_is_the_uninterrupted_one(
    pruner: str, job: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = obtain(job({"cache": str(tmp_path / "whole")}, pruners=[pruner], train=3))
    honest = Phase._epoch

    def cut(self: Phase, epoch: int) -> None:
        if epoch == 2:
            raise KeyboardInterrupt
        honest(self, epoch)

    monkeypatch.setattr(Phase, "_epoch", cut)
    with pytest.raises(KeyboardInterrupt):
        obtain(job(pruners=[pruner], train=3))
    monkeypatch.setattr(Phase, "_epoch", honest)
    torch.rand(3)
    again = obtain(job(pruners=[pruner], train=3))
    assert again.facts["weights"] == whole.facts["weights"]
    assert again.facts["curve"] == whole.facts["curve"]
    assert (again.facts["resumed"], whole.facts["resumed"]) == (True, False)
    assert again.pruner_state == whole.pruner_state
    assert again.facts["measurements"] == whole.facts["measurements"]
    assert again.facts["training"] == whole.facts["training"]
    assert len(again.facts["training"]["train/update-norm"]["at"]) == 3
    for phase in ("train", "prune"):
        costs = [{k: p.facts["cost"][phase][k] for k in ("forward", "backward", "samples")} for p in (again, whole)]
        assert costs[0] == costs[1]
    assert not (folder_of(job(pruners=[pruner], train=3)) / "resume.safetensors").exists()


def test_a_checkpoint_that_is_absent_damaged_or_of_other_code_is_none(job: Callable[..., Job], tmp_path: Path) -> None:
    path = tmp_path / "own" / "resume.safetensors"
    made = job()
    kept = Checkpoint(path, made)
    assert kept.load() is None
    kept.save({"epoch": 3, "x": torch.ones(2)})
    assert kept.load()["epoch"] == 3
    other = Checkpoint(path, made)
    other._made_by = {**other._made_by, "backprop": "sha256:else"}
    assert other.load() is None
    assert not path.exists()
    kept.save({"epoch": 4})
    path.write_bytes(path.read_bytes()[:20])
    assert kept.load() is None
    assert not path.exists()


def test_a_checkpoint_is_written_now_and_then_and_cleared(job: Callable[..., Job], tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "own" / "resume", job({"checkpoint_seconds": 1000}))
    kept.save({"epoch": 1})
    assert not kept.path.exists()
    often = Checkpoint(tmp_path / "own" / "resume", job())
    often.save({"epoch": 1})
    often.save({"epoch": 2})
    assert often.load()["epoch"] == 2
    often.clear()
    often.clear()
    assert not often.path.exists()


def test_a_parent_job_makes_the_parent_alone(
    suite_cells: Cells, job_of: Jobs, trainings: list[str], tmp_path: Path
) -> None:
    (cell,) = suite_cells(train=1)
    assert perform(job_of(cell, "parent")) == {"status": "ok", "key": cell.parent_key}
    assert not (tmp_path / "leaderboards").exists()
    assert perform(job_of(cell))["status"] == "ok"
    assert trainings == ["train", "tune"]
    facts = json.loads((tmp_path / "cache/parents" / cell.parent_key[:2] / cell.parent_key / "parent.json").read_text())
    assert facts["inputs"] == cell.parent


def test_a_parent_that_fails_is_told_and_stores_nothing(suite_cells: Cells, job_of: Jobs, tmp_path: Path) -> None:
    (cell,) = suite_cells(rule="still[loss=9]")
    result = perform(job_of(cell, "parent"))
    assert (result["status"], result["key"], result["error"]["stage"]) == ("failed", cell.parent_key, "train")
    assert "'tiny_pruners'" in result["error"]["plugin"]
    assert "the loss of epoch 1 is not finite" in result["error"]["message"]
    assert not (tmp_path / "leaderboards").exists()
    assert parents.Parent.__doc__
