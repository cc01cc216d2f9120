"""One cell, from parent to record."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from synobench import engine
from synobench.data import Splits
from synobench.engine import perform
from synobench.ledger import Ledger, unpack_vectors
from synobench.registry import Registry
from synobench.store import Store, read_json
from synobench.suite import Cell
from synobench.training import Phase
from synobench.verify import verify_suite

Cells = Callable[..., list[Cell]]
Jobs = Callable[..., dict[str, Any]]


def record_of(cell: Cell, job: dict[str, Any]) -> dict[str, Any]:
    result = perform(job)
    assert result["status"] == "ok", result["error"]["traceback"]
    assert result["key"] == cell.key
    return read_json(Path(result["path"]))


def evidence(record: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in record.items() if k not in ("provenance", "cost")}


def test_a_job_computes_float32_in_full() -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    assert perform({"job": "parent", "key": "0", "inputs": {"budget": {"threads": 1}}})["status"] == "failed"
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("model", ["mlp-300-150-10[widths=12]", "snn-mlp[widths=12]"])
def test_a_record_holds_what_it_must_and_verifies(
    model: str, suite_cells: Cells, job_of: Jobs, tmp_path: Path, registry: Registry
) -> None:
    (cell,) = suite_cells(model=model)
    record = record_of(cell, job_of(cell))
    assert (record["schema"], record["key"], record["status"], record["inputs"]) == (1, cell.key, "ok", cell.inputs)
    outcome = record["outcome"]
    assert set(outcome) == {
        *("test", "validation", "sparsity", "ledger", "curves", "measurements", "deployed"),
    }
    for score in outcome["test"].values():
        bits = int.from_bytes(base64.b64decode(score["mask"]), "big").bit_count()
        assert (bits, score["total"]) == (score["hits"], 360)
    assert outcome["test"]["top1"]["hits"] > 36
    assert outcome["validation"]["total"] == 180
    assert outcome["validation"]["hits"] / 180 == pytest.approx(outcome["curves"]["tune"][-1]["validation"])
    assert [len(outcome["curves"][phase]) for phase in ("train", "tune")] == [2, 1]
    assert (outcome["sparsity"]["asked"], outcome["sparsity"]["reached"]) == (0.5, 0.5)
    path = Path(tmp_path / "leaderboards" / "records" / "tiny" / cell.key[:2] / f"{cell.key}.ledger")
    ledger = Ledger.from_record(outcome["ledger"], unpack_vectors(path.read_bytes()))
    assert (ledger.samples, ledger.steps) == (360, 4 if model.startswith("snn") else 1)
    assert verify_suite(Store(tmp_path / "leaderboards"), "tiny", registry) == (1, [])


def test_hits_are_told_image_by_image(suite_cells: Cells, job_of: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = engine.judged

    def told(*arguments: Any) -> Any:
        assert sum(len(ranks) for ranks in honest(*arguments)) == 360
        yield torch.tensor([0, 1, 4, 5, 9, 2**31, 0])
        yield torch.tensor([3, 0])

    monkeypatch.setattr(engine, "judged", told)
    (cell,) = suite_cells(train=1)
    test = record_of(cell, job_of(cell))["outcome"]["test"]
    masks = {name: "".join(f"{byte:08b}" for byte in base64.b64decode(score["mask"])) for name, score in test.items()}
    assert masks == {"top1": "1000001010000000", "top5": "1110001110000000"}
    assert {name: (score["hits"], score["total"]) for name, score in test.items()} == {"top1": (3, 9), "top5": (6, 9)}


def test_costs_go_to_their_phases_and_a_parents_to_each_record(suite_cells: Cells, job_of: Jobs) -> None:
    first, second = (record_of(c, job_of(c))["cost"] for c in suite_cells(values=[0.5, 0.9]))
    assert first["train"] == second["train"]
    counts = {p: (first[p]["forward"], first[p]["backward"], first[p]["samples"]) for p in first}
    assert counts == {"train": (20, 20, 2514), "prune": (0, 0, 0), "tune": (10, 10, 1257), "judge": (2, 0, 360)}
    assert all(first[p]["seconds"] > 0 for p in first)


def test_provenance_tells_where_it_came_from(suite_cells: Cells, job_of: Jobs) -> None:
    (cell,) = suite_cells(pruners=["early"])
    told = record_of(cell, job_of(cell))["provenance"]
    assert {"code", "plugins", "libraries", "device", "yardstick", "started", "resumed", "shared", "events"} <= set(
        told
    )
    assert set(told["plugins"]) == {"backprop", "datasets", "models", "tiny_pruners"}
    assert told["resumed"] is False
    assert told["shared"]["parent"]["weights"].startswith("sha256:")
    assert str(Path.home()) not in json.dumps(told)


def test_the_test_split_is_unsealed_once_after_the_last_update(
    suite_cells: Cells, job_of: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    unseal, run = Splits.unseal, Phase.run

    def told_run(self: Phase, resumed: Any = None) -> None:
        run(self, resumed)
        seen.append(self.session.phase)

    monkeypatch.setattr(Splits, "unseal", lambda self: seen.append("unseal") or unseal(self))
    monkeypatch.setattr(Phase, "run", told_run)
    (cell,) = suite_cells()
    record_of(cell, job_of(cell))
    assert seen == ["train", "tune", "unseal"]


def test_without_fine_tuning_a_network_is_judged_as_it_was_pruned(suite_cells: Cells, job_of: Jobs) -> None:
    (cell,) = suite_cells(tune=0)
    record = record_of(cell, job_of(cell))
    assert record["outcome"]["curves"]["tune"] == []
    assert record["cost"]["tune"]["backward"] == 0


def test_the_control_is_fine_tuned_for_the_same_budget(suite_cells: Cells, job_of: Jobs) -> None:
    (cell,) = suite_cells(pruners=["none"])
    record = record_of(cell, job_of(cell))
    assert record["cost"]["tune"]["backward"] == 10
    assert (record["outcome"]["sparsity"]["asked"], record["outcome"]["sparsity"]["reached"]) == (None, 0.0)


@pytest.mark.parametrize("target", ["parameters", "synops"])
def test_other_targets_are_aimed_at(target: str, suite_cells: Cells, job_of: Jobs) -> None:
    counter = 'counter = "effective"' if target == "synops" else ""
    (cell,) = suite_cells(target=target, values=[0.5], counter=counter)
    record = record_of(cell, job_of(cell))
    told = record["outcome"]["sparsity"]
    assert told["asked"] is None
    if target == "parameters":
        assert told["parameters_kept"] == told["parameters"] // 2
    else:
        assert 0.2 < told["reached"] < 0.8
        assert record["cost"]["prune"]["forward"] > 5


@pytest.mark.parametrize("pruner", ["magnitude", "adjusting", "sharing"])
@pytest.mark.parametrize("cut", [0, 1, 2])
def test_a_cell_cut_in_fine_tuning_and_resumed_is_the_uninterrupted_one(
    pruner: str, cut: int, suite_cells: Cells, job_of: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cell,) = suite_cells(pruners=[pruner], train=1, tune=3)
    whole = record_of(cell, job_of(cell, root=str(tmp_path / "whole")))
    honest = Phase._epoch

    def broken(self: Phase, epoch: int) -> None:
        if self.session.phase == "tune" and epoch == cut:
            raise KeyboardInterrupt
        honest(self, epoch)

    monkeypatch.setattr(Phase, "_epoch", broken)
    with pytest.raises(KeyboardInterrupt):
        perform(job_of(cell))
    monkeypatch.setattr(Phase, "_epoch", honest)
    again = record_of(cell, job_of(cell))
    assert evidence(again) == evidence(whole)
    assert (again["provenance"]["resumed"], whole["provenance"]["resumed"]) == (True, False)
    counted = [
        {p: {k: v for k, v in c.items() if "seconds" not in k and k != "peak_bytes"} for p, c in r["cost"].items()}
        for r in (again, whole)
    ]
    assert counted[0] == counted[1]
    assert not list((tmp_path / "cache" / "cells").rglob("*.safetensors"))


def test_a_failure_is_stored_overwritten_and_goes_with_success(
    suite_cells: Cells, job_of: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cell,) = suite_cells(train=1)
    store = Store(tmp_path / "leaderboards")
    for message in ("first\nline", "second"):

        def broken(*_: Any, told: str = message) -> Any:
            raise RuntimeError(told)

        monkeypatch.setattr(engine, "judged", broken)
        result = perform(job_of(cell))
        assert result["error"]["message"] == " ".join(message.split())
        assert (result["error"]["stage"], result["error"]["plugin"]) == ("judge", None)
    (failure,) = store.failures("tiny")
    assert (failure["error"]["message"], failure["status"], failure["inputs"]) == ("second", "failed", cell.inputs)
    monkeypatch.undo()
    assert perform(job_of(cell))["status"] == "ok"
    assert store.failures("tiny") == []


def test_an_error_without_words_is_told_by_its_kind(
    suite_cells: Cells, job_of: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(engine, "judged", broken)
    (cell,) = suite_cells(train=1)
    assert perform(job_of(cell))["error"]["message"] == "AssertionError"


def test_the_threads_of_the_budget_are_used(suite_cells: Cells, job_of: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    (cell,) = suite_cells(more="threads = 3", train=1)
    perform(job_of(cell))
    assert asked == [3]


def test_provenance_that_is_not_plain_data_costs_nobody_the_run(
    suite_cells: Cells, job_of: Jobs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "from synobench import hookimpl\n@hookimpl\ndef synobench_provenance():\n    return {!r}\n"
    files = []
    for name, told in (("tells_well", {"node": 3}), ("tells_badly", {1: 2})):
        path = tmp_path / f"{name}.py"
        path.write_text(text.format(told))
        files.append(str(path))
    (cell,) = suite_cells(train=1)
    record = record_of(cell, job_of(cell, plugins=files))
    assert record["provenance"]["events"] == {"tells_well": {"node": 3}}
    assert "'tells_badly' failed in synobench_provenance: not plain data" in capsys.readouterr().err


def test_a_second_result_is_a_replay(suite_cells: Cells, job_of: Jobs, tmp_path: Path) -> None:
    (cell,) = suite_cells(train=1)
    first, second = (perform(job_of(cell))["path"] for _ in range(2))
    assert (Path(first).parent.parent.parent.name, Path(second).parent.parent.name) == ("records", "replays")
    assert evidence(read_json(Path(first))) == evidence(read_json(Path(second)))
