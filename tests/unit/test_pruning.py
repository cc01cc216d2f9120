"""Pruners at their places on the timeline: what they propose counts, what they touch does not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from synobench.engine import perform
from synobench.errors import ContractError
from synobench.jobs import Job
from synobench.pruning import Pruning
from synobench.selection import kept_at_sparsity
from synobench.store import Store
from synobench.suite import Cell
from synobench.surgery import Proposal

Cells = Callable[..., list[Cell]]
Jobs = Callable[..., dict[str, Any]]

WEIGHTS = 64 * 12 + 12 * 10
UPDATES = 10
"""Updates of one epoch: 1257 images in batches of 128."""


@pytest.fixture
def run(job_of: Jobs, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return what carries a cell out and returns its record or failure."""

    def carry_out(cell: Cell, **more: Any) -> dict[str, Any]:
        result = perform(job_of(cell, **more))
        store = Store(tmp_path / "leaderboards")
        path = result.get("path") or store.failure_path("tiny", cell.key)
        record: dict[str, Any] = json.loads(Path(path).read_text())
        assert record["status"] == result["status"]
        return record

    return carry_out


def own(record: dict[str, Any]) -> dict[str, Any]:
    """Return the measurements that are the pruner's own."""
    return {n: v for n, v in record["outcome"]["measurements"].items() if not n.startswith("train/")}


def counts(record: dict[str, Any], phase: str) -> dict[str, int]:
    return {k: v for k, v in record["cost"][phase].items() if k not in ("seconds", "cpu_seconds", "peak_bytes")}


def test_at_initialisation_masks_hold_through_training_and_fine_tuning(run: Any, suite_cells: Cells) -> None:
    (cell,) = suite_cells(pruners=["early"], values=[0.9])
    record = run(cell)
    assert record["outcome"]["sparsity"]["kept"] == kept_at_sparsity(WEIGHTS, 0.9)
    assert record["outcome"]["sparsity"]["nonzero"] <= record["outcome"]["sparsity"]["kept"]
    assert record["outcome"]["measurements"]["seen"] > 0
    assert counts(record, "train")["backward"] == 2 * UPDATES


def test_in_training_masks_change_and_weights_grow_back(run: Any, suite_cells: Cells) -> None:
    (cell,) = suite_cells(pruners=["regrow[every=2]"])
    record = run(cell)
    told = record["outcome"]["measurements"]
    assert told["rounds"] == 2 * UPDATES
    assert told["grown"] > 0
    assert record["outcome"]["sparsity"]["reached"] == pytest.approx(0.5, abs=0.01)
    # Every second update looks at one batch more, and half of the looks ask for gradients.
    assert counts(record, "prune")["backward"] > 0
    assert counts(record, "train")["backward"] == 2 * UPDATES


def weights_of(cell: Cell, tmp_path: Path) -> dict[str, Tensor]:
    from synobench.tensors import load_tree

    folder = tmp_path / "cache" / "parents" / cell.parent_key[:2] / cell.parent_key
    found: dict[str, Tensor] = load_tree(folder / "weights.safetensors")["model"]
    return found


def test_a_penalty_joins_the_loss(run: Any, suite_cells: Cells, tmp_path: Path) -> None:
    sizes = []
    for strength in (0.0, 0.05):
        (cell,) = suite_cells(pruners=[f"penalised[strength={strength}]"])
        assert run(cell)["status"] == "ok"
        sizes.append(sum(float(w.abs().sum()) for w in weights_of(cell, tmp_path).values()))
    assert sizes[1] < 0.8 * sizes[0]


def test_a_penalty_that_the_rule_cannot_take_is_refused_not_dropped(run: Any, suite_cells: Cells) -> None:
    (cell,) = suite_cells(pruners=["penalised"], rule="still")
    error = run(cell)["error"]
    assert error["message"] == "it adds a penalty to the loss, and rule 'still' takes none"
    assert (error["stage"], error["plugin"]) == ("penalty", "'tiny_pruners' of local file")


def test_state_goes_from_training_to_fine_tuning_and_adjust_acts_after_each_update(
    run: Any, suite_cells: Cells
) -> None:
    (cell,) = suite_cells(pruners=["adjusting"], values=[0.5])
    record = run(cell)
    assert own(record) == {"trained": 2.0 * UPDATES, "adjusted": UPDATES}
    assert record["outcome"]["measurements"]["train/update-norm"]["by"] == ["fc1.weight", "fc2.weight"]
    assert record["outcome"]["sparsity"]["kept"] == kept_at_sparsity(WEIGHTS, 0.5) - UPDATES


def test_what_is_made_once_is_kept_and_charged_to_each(
    run: Any, suite_cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synobench.workbench import Workbench

    calls: list[Any] = []
    honest = Workbench.mean_gradients

    def counted(self: Workbench, batches: int | None = None) -> dict[str, Tensor]:
        calls.append(self.goal if hasattr(self, "goal") else batches)
        return honest(self, batches)

    monkeypatch.setattr(Workbench, "mean_gradients", counted)
    first, second, other = (run(c) for c in suite_cells(pruners=["sharing"], values=[0.5, 0.6, 0.9]))
    assert calls == [2]
    assert counts(first, "prune") == counts(second, "prune") == counts(other, "prune")
    assert counts(first, "prune")["backward"] == 2
    assert [set(r["provenance"]["shared"]["once"]) for r in (first, second)] == [{"scores"}] * 2
    assert second["cost"]["prune"]["seconds"] >= first["provenance"]["shared"]["once"]["scores"]["seconds"] > 0
    assert len(list((tmp_path / "cache" / "once").rglob("*.safetensors"))) == 1
    run(suite_cells(pruners=["sharing"], values=[0.5], seeds=[1])[0])
    assert calls == [2, 2]


def test_trial_fine_tunes_keep_masks_are_rolled_back_and_charged_to_pruning(run: Any, suite_cells: Cells) -> None:
    (cell,) = suite_cells(pruners=["tuning"])
    record = run(cell)
    assert own(record) == {"zero": 1.0, "back": 1.0}
    assert counts(record, "prune") == {"samples": 1257, "forward": UPDATES, "backward": UPDATES, "trials": 1}
    assert counts(record, "tune")["backward"] == UPDATES


BROKEN = {
    "type": ("ContractError", "it returned dict, not a Proposal"),
    "missing": ("ContractError", "it gave no scores for fc2.weight"),
    "nan": ("ContractError", "the scores of fc1.weight are not all finite"),
    "survivors": ("ContractError", "it proposes new values but its entry does not declare changes_survivors"),
    "raise": ("ZeroDivisionError", "divided by nothing"),
    "exit": ("SystemExit", "gone"),
    "sealed": ("SealedError", "the test split of digits is sealed until judging: .images was touched"),
    "target": ("ContractError", "the target was read inside once(), whose result is shared by all targets"),
    "measurement": ("ContractError", "its measurements speed are not finite"),
    "taken": (
        "ContractError",
        "its measurement 'train/largest-update' is called as one of training's: train/... is taken",
    ),
    "many": ("ContractError", "its measurements take 1,591 bytes; there is room for 1,024: measure more seldom"),
    "mask": ("ContractError", "its mask of fc1.weight must be bool of shape [12, 64], not float32 of shape [12, 64]"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_pruner_is_named_in_the_failure(how: str, run: Any, suite_cells: Cells) -> None:
    (cell,) = suite_cells(pruners=[f"bad[how={how}]"], train=1)
    failure = run(cell)
    error = failure["error"]
    assert (error["kind"], error["message"]) == BROKEN[how]
    assert (error["stage"], error["plugin"]) == ("prune", "'tiny_pruners' of local file")
    assert "tiny_pruners.py" in error["traceback"] or "synobench" in error["traceback"]
    assert (failure["key"], failure["inputs"]) == (cell.key, cell.inputs)
    assert "outcome" not in failure


class Small(nn.Module):
    """Two layers and batch norm on the digits data."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(64, 4)
        self.bn = nn.BatchNorm1d(4)
        self.fc2 = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(torch.relu(self.bn(self.fc1(x.flatten(1)))))
        return out


@pytest.fixture
def meddling(suite_cells: Cells, job_of: Jobs) -> Callable[[str], Pruning]:
    def make(how: str) -> Pruning:
        (cell,) = suite_cells(pruners=[f"meddling[how={how}]"])
        return Pruning(Job(job_of(cell), lambda _: None), Small())

    return make


@pytest.mark.parametrize("how", ["inplace", "data", "buffer"])
def test_a_step_that_changes_the_network_is_refused(how: str, meddling: Callable[[str], Pruning]) -> None:
    with pytest.raises(ContractError, match="step changed the network; only a Proposal counts"):
        meddling(how).stepper("step")(1)


@pytest.mark.parametrize("how", ["mode", "loss", "evaluate", "trial"])
def test_a_step_that_looks_and_tries_leaves_no_trace(how: str, meddling: Callable[[str], Pruning]) -> None:
    pruning = meddling(how)
    pruning.model.bn.eval()
    before, modes = copy.deepcopy(pruning.model.state_dict()), [m.training for m in pruning.model.modules()]
    pruning.stepper("step")(1)
    assert all(torch.equal(v, before[n]) for n, v in pruning.model.state_dict().items())
    assert [m.training for m in pruning.model.modules()] == modes


def test_a_step_is_not_blamed_for_weights_that_diverged(meddling: Callable[[str], Pruning]) -> None:
    pruning = meddling("mode")
    with torch.no_grad():
        pruning.model.fc1.weight.fill_(float("nan"))
    pruning.stepper("step")(1)


def test_the_pruner_works_on_a_copy_in_evaluation_mode(
    suite_cells: Cells, job_of: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cell,) = suite_cells(pruners=["magnitude"])
    pruning = Pruning(Job(job_of(cell), lambda _: None), Small().train())
    before = copy.deepcopy(pruning.model.state_dict())
    seen: list[Any] = []

    def ruin(bench: Any) -> Proposal:
        seen.append((bench.model is pruning.model, bench.model.training))
        with torch.no_grad():
            for value in bench.model.state_dict().values():
                value.zero_()
        return Proposal({"fc2.weight": torch.zeros(10, 4, dtype=torch.bool)})

    monkeypatch.setattr(type(pruning.pruner), "prune", lambda _, bench: ruin(bench))
    pruning.prune()
    assert seen == [(False, False)]
    assert pruning.model.training
    after = pruning.model.state_dict()
    assert not after["fc2.weight"].any()
    assert all(torch.equal(v, before[n]) for n, v in after.items() if n != "fc2.weight")


def test_what_is_left_is_taken_back(meddling: Callable[[str], Pruning]) -> None:
    one, other = meddling("mode"), meddling("mode")
    one.state["x"], one.measurements["m"], one.shared["s"] = torch.ones(2), 1.0, {"seconds": 2.0}
    one.referee.masks = {"fc2.weight": torch.zeros(10, 4, dtype=torch.bool)}
    other.resume(one.left())
    assert other.left() == one.left()
    assert other.referee.masks is not one.referee.masks


def evidence(record: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in record.items() if k not in ("provenance", "cost")}


@pytest.mark.parametrize("pruners", [["random", "sharing", "tuning"], ["magnitude", "regrow"]])
def test_neither_order_nor_cache_changes_a_record(
    pruners: list[str], suite_cells: Cells, job_of: Jobs, tmp_path: Path
) -> None:
    found = suite_cells(pruners=pruners, values=[0.5, 0.8])
    made: list[dict[str, Any]] = []
    for place, order in (("there", found), ("back", found[::-1])):
        root = tmp_path / place
        for cell in order:
            assert perform(job_of(cell, root=str(root / "boards"), cache=str(root / "cache")))["status"] == "ok"
        made.append({r["key"]: evidence(r) for r in Store(root / "boards").records("tiny")})
    assert len(made[0]) == len(found)
    assert made[0] == made[1]
