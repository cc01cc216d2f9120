"""Gradients at the parent's weights are made once for all its targets and pruners; at any others, each time."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from synobench import workbench
from synobench.engine import perform
from synobench.errors import BenchError, ContractError
from synobench.gradients import SampleGradients, Span, shared
from synobench.jobs import Job
from synobench.pruning import Pruning
from synobench.suite import Cell
from synobench.tensors import digest
from synobench.workbench import Workbench

Cells = Callable[..., list[Cell]]
Jobs = Callable[..., dict[str, Any]]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the samples of each matrix that is computed."""
    found: list[int] = []
    compute = workbench.collect

    def collect(problem: Any, feed: Any, drawn: Any, ask: Any, **more: Any) -> SampleGradients:
        found.append(ask.samples)
        return compute(problem, feed, drawn, ask, **more)

    monkeypatch.setattr(workbench, "collect", collect)
    return found


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 10))


@pytest.fixture
def pruning(suite_cells: Cells, job_of: Jobs) -> Callable[..., Pruning]:
    """Return what makes a pruner's place on a network that is its own parent."""

    def make(pruner: str = "obd[samples=20]", seed: int = 0, model: nn.Module | None = None, **facts: Any) -> Pruning:
        (cell,) = suite_cells(pruners=[pruner], seeds=[seed])
        net = model or small()
        return Pruning(Job(job_of(cell, **facts), lambda _: None), net, parent=digest(net.state_dict()))

    return make


def lent(made_by: Pruning) -> Workbench:
    return made_by._bench(copy.deepcopy(made_by.model).eval())


def counts(cost: dict[str, Any]) -> tuple[int, ...]:
    return tuple(cost[name] for name in ("samples", "forward", "backward", "trials"))


def test_targets_and_pruners_share_and_each_is_charged_in_full(
    suite_cells: Cells, job_of: Jobs, made: list[int], tmp_path: Path
) -> None:
    found = suite_cells(pruners=["obd[samples=64]", "obd[samples=64,scope=layer]"], values=[0.5, 0.8])
    records = []
    for cell in found:
        result = perform(job_of(cell))
        assert result["status"] == "ok", result
        records.append(json.loads(Path(result["path"]).read_text()))
    assert made == [64]
    assert len(list((tmp_path / "cache" / "gradients").rglob("*.safetensors"))) == 1
    costs = [record["cost"]["prune"] for record in records]
    assert len({counts(cost) for cost in costs}) == 1
    assert costs[0]["samples"] >= 64
    assert costs[0]["backward"] > 0
    told = [next(iter(record["provenance"]["shared"]["once"].values())) for record in records]
    assert all(cost["seconds"] >= t["seconds"] > 0 for cost, t in zip(costs, told, strict=True))
    assert {counts(t) for t in told} == {counts(costs[0])}


def test_other_seeds_samples_stages_and_tensors_have_their_own(pruning: Any, made: list[int]) -> None:
    lent(pruning()).sample_gradients(20)
    lent(pruning(seed=1)).sample_gradients(20)
    for more in ({"samples": 21}, {"salt": 1}, {"size": 2}, {"names": ["3.weight"]}, {"screen": 0.5}):
        lent(pruning()).sample_gradients(**{"samples": 20, **more})
    assert len(made) == 7
    lent(pruning("obd[samples=30]")).sample_gradients(20)
    lent(pruning()).sample_gradients(20, names=["1.weight", "3.weight"])
    # The bound decides whether it is made, not what it is.
    lent(pruning()).sample_gradients(20, memory=10**9)
    assert len(made) == 8


def test_seeds_that_share_a_parent_draw_images_of_their_own(pruning: Any, made: list[int]) -> None:
    found = [lent(pruning(seed=seed, parent_key="checkpoint")).sample_gradients(20) for seed in (0, 1)]
    assert made == [20, 20]
    assert not torch.equal(found[0].squares, found[1].squares)


def test_what_is_read_back_is_what_was_made_and_stages_draw_other_images(pruning: Any, made: list[int]) -> None:
    first, again = (lent(pruning()).sample_gradients(20) for _ in range(2))
    assert made == [20]
    for field in dataclasses.fields(SampleGradients):
        a, b = getattr(first, field.name), getattr(again, field.name)
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, field.name
    fresh = lent(pruning()).sample_gradients(20, salt=1)
    assert not torch.equal(fresh.squares, first.squares)


def test_the_same_seed_gives_the_same_bits_on_a_fresh_cache(pruning: Any, tmp_path: Path) -> None:
    first = lent(pruning()).sample_gradients(20)
    for path in (tmp_path / "cache" / "gradients").rglob("*.safetensors"):
        path.unlink()
    again = lent(pruning()).sample_gradients(20)
    assert torch.equal(first.matrix, again.matrix)
    assert torch.equal(first.total, again.total)


@pytest.mark.parametrize("what", ["weight", "buffer"])
def test_at_other_weights_nothing_is_kept(what: str, pruning: Any, made: list[int], tmp_path: Path) -> None:
    net = nn.Sequential(small(), nn.BatchNorm1d(10))
    bench = lent(pruning(model=net))
    before = bench.sample_gradients(20)
    with torch.no_grad():
        (bench.model[0][1].weight if what == "weight" else bench.model[1].running_mean)[-1] += 1e-3
    after = bench.sample_gradients(20)
    assert made == [20, 20]
    assert not torch.equal(before.squares, after.squares)
    assert len(list((tmp_path / "cache" / "gradients").rglob("*.safetensors"))) == 1


def test_a_network_that_is_not_the_parents_shares_nothing(pruning: Any, made: list[int], tmp_path: Path) -> None:
    alone = pruning()
    alone.parent = None
    for _ in range(2):
        lent(alone).sample_gradients(20)
    assert made == [20, 20]
    assert not (tmp_path / "cache" / "gradients").exists()


def test_it_is_charged_once_a_run_and_always_inside_once(pruning: Any) -> None:
    def spent(*calls: Callable[[Workbench], Any]) -> int:
        one = pruning()
        bench = lent(one)
        with one.job.meter.watch(bench.model), one.job.meter.phase("prune"):
            for call in calls:
                call(bench)
        return int(one.job.meter.as_dict()["prune"]["samples"])

    def ask(bench: Workbench) -> SampleGradients:
        return bench.sample_gradients(20)

    whole = spent(ask)
    assert spent(ask) == spent(ask, ask) == whole >= 20
    assert spent(lambda bench: bench.once("a", lambda: float(ask(bench).total.sum()))) == whole
    one = pruning()
    bench = lent(one)
    with one.job.meter.watch(bench.model), one.job.meter.phase("prune"):
        ask(bench)
        bench.once("b", lambda: float(ask(bench).total.sum()))
    # Whoever finds it later has not asked himself, and pays for what it stands on.
    assert one.shared["b"]["samples"] == whole


def test_the_entry_must_say_that_it_needs_them(pruning: Any, made: list[int]) -> None:
    with pytest.raises(ContractError, match=r"needs=\{'per-sample-gradients'\}"):
        lent(pruning("magnitude")).sample_gradients(20)
    assert not made


def test_the_network_is_asked_in_evaluation_mode_whatever_its_mode(pruning: Any) -> None:
    one = pruning(model=nn.Sequential(small(), nn.BatchNorm1d(10), nn.Dropout(0.5)))
    one.parent = None
    bench = lent(one)
    wanted = bench.sample_gradients(20)
    bench.model.train()
    found = bench.sample_gradients(20)
    assert torch.equal(found.matrix, wanted.matrix)
    assert float(bench.model[1].running_mean.abs().sum()) == 0


def test_nothing_is_left_behind(pruning: Any) -> None:
    one = pruning()
    bench = lent(one)
    bench.model.train()
    state, random = copy.deepcopy(bench.model.state_dict()), torch.get_rng_state()
    bench.sample_gradients(20)
    assert all(torch.equal(value, state[name]) for name, value in bench.model.state_dict().items())
    assert all(p.grad is None for p in bench.model.parameters())
    assert all(module.training for module in bench.model.modules())
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(module._forward_hooks for module in bench.model.modules())


def test_wrong_questions_are_answered_in_one_line(pruning: Any) -> None:
    bench = lent(pruning())
    with pytest.raises(BenchError, match="2000 samples were asked for and the training split has 1257"):
        bench.sample_gradients(2000)
    with pytest.raises(ContractError, match=r"'1.wieght', no prunable weight \(did you mean '1.weight'"):
        bench.sample_gradients(20, names=["1.wieght"])
    with pytest.raises(BenchError, match="raise memory"):
        bench.sample_gradients(20, memory=1000)


def some() -> SampleGradients:
    return SampleGradients(torch.rand(6, 4), torch.rand(6), 4, torch.rand(6), (Span("w", 0, 6, (2, 3)),),
        torch.rand(4).double(), torch.arange(4), 1, {"gradient_rows": 4.0})  # fmt: skip


def test_a_file_is_mapped_and_its_copy_in_memory_is_private(tmp_path: Path) -> None:
    path = tmp_path / "g" / "gradients.safetensors"
    shared.save(path, some(), {"seconds": 1.0})
    before = path.read_bytes()
    found, cost = shared.load(path)
    assert cost == {"seconds": 1.0}
    found.matrix.zero_()
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("harm", ["cut", "other", "empty"])
def test_a_damaged_file_is_named(harm: str, tmp_path: Path) -> None:
    path = tmp_path / "gradients.safetensors"
    shared.save(path, some(), {})
    data = path.read_bytes()
    path.write_bytes({"cut": data[:-1], "other": b"no tensors at all", "empty": b""}[harm])
    with pytest.raises(BenchError, match=r"gradients.safetensors cannot be read: .*; delete it and run again"):
        shared.load(path)
