"""WoodFisher, M-FAC and the Combinatorial Brain Surgeon, each against its own definition on small dense problems."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from synobench.cost import Meter
from synobench.feed import Feed
from synobench.fisher import blocks
from synobench.gradients import SampleGradients
from synobench.params import parse_spec, resolve
from synobench.registry import Registry
from synobench.store import read_json
from synobench.suite import Cell
from synobench.workbench import Target, Tools, Workbench
from synobench_cbs.search import Programme, randomised, search

RIVALS = ("woodfisher", "m-fac", "cbs")
EXACT = "drop=0,samples=30"
KEPT = 31
"""Of 27 + 36 weights, at half of them removed."""


def bench(sparsity: float = 0.5, seed: int = 0) -> Workbench:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.ReLU(), nn.Linear(12, 3))
    draws = np.random.RandomState(0)
    feed = Feed(draws.randint(0, 256, (30, 1, 4, 4)).astype(np.uint8), draws.randint(0, 3, 30), [0.5], [0.25])
    lent: Any = None
    tools = Tools(feed, feed, seed, 8, ["*"], Meter(), lent, lent, lambda _, make: make(), lambda _: None)
    return Workbench(model, tools, Target("sparsity", sparsity))


def proposed(spec: str, found: Workbench, registry: Registry) -> Any:
    name, overrides = parse_spec(spec)
    entry = registry.get("pruner", name)
    params = resolve(entry.params, overrides, name)
    return (params if entry.run is None else entry.load()(params)).prune(found)


def flat(tensors: Any) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors.values()])


def fisher(gradients: SampleGradients, block: int, damp: float) -> Tensor:
    """Return the dense damped Fisher matrix, block by block."""
    whole = torch.zeros(len(gradients.weights), len(gradients.weights), dtype=torch.float64)
    for part in blocks(gradients.spans, block):
        matrix = gradients.matrix[part].double()
        whole[part, part] = matrix @ matrix.T / gradients.drawn
    return whole + damp * torch.eye(len(whole), dtype=torch.float64)


def surgeon(whole: Tensor, weights: Tensor, kept: int) -> tuple[Tensor, Tensor]:
    """Return what stays by the saliencies of OBS, and the weights after the sum of the single steps."""
    inverse = torch.linalg.inv(whole)
    saliency = weights.square() / (2 * inverse.diagonal())
    keep = torch.zeros(len(weights), dtype=torch.bool)
    keep[saliency.argsort(descending=True, stable=True)[:kept]] = True
    step = sum(-weights[q] / inverse[q, q] * inverse[:, q] for q in (~keep).nonzero().flatten())
    return keep, torch.where(keep, weights + step, 0.0)


@pytest.mark.parametrize("block", [0, -1, 5])
@pytest.mark.parametrize("inverse", ["auto", "recursion"])
def test_woodfisher_is_its_definition(block: int, inverse: str, registry: Registry) -> None:
    found = bench()
    gradients = found.sample_gradients(30)
    keep, weights = surgeon(fisher(gradients, block, 1e-2), gradients.weights.double(), KEPT)
    proposal = proposed(f"woodfisher[{EXACT},damp=1e-2,block={block},inverse={inverse}]", found, registry)
    assert torch.equal(flat(proposal.masks), keep)
    assert torch.allclose(flat(proposal.tensors).double(), weights, atol=1e-6)


def test_woodfisher_may_move_jointly_or_not_at_all(registry: Registry) -> None:
    found = bench()
    gradients = found.sample_gradients(30)
    whole, dense = fisher(gradients, 0, 1e-2), gradients.weights.double()
    still = proposed(f"woodfisher[{EXACT},damp=1e-2,update=none]", found, registry)
    keep = flat(still.masks)
    assert torch.equal(flat(still.tensors), torch.where(keep, gradients.weights, 0.0))
    joint = flat(proposed(f"woodfisher[{EXACT},damp=1e-2,update=joint]", found, registry).tensors).double()
    step = joint - dense
    # At the constrained minimum the model's gradient is zero along every weight that stays.
    assert float((whole @ step)[keep].abs().max()) < 1e-6
    single = flat(proposed(f"woodfisher[{EXACT},damp=1e-2]", found, registry).tensors).double() - dense
    assert float(step @ whole @ step) <= float(single @ whole @ single) + 1e-9


def test_layer_scope_keeps_the_same_share_of_each(registry: Registry) -> None:
    masks = proposed(f"woodfisher[{EXACT},scope=layer]", bench(), registry).masks
    assert [int(mask.sum()) for mask in masks.values()] == [13, 18]


@pytest.mark.parametrize("block", [0, -1, 5])
def test_m_fac_in_one_stage_is_the_surgeon(block: int, registry: Registry) -> None:
    found = bench()
    gradients = found.sample_gradients(30)
    keep, weights = surgeon(fisher(gradients, block, 1e-2), gradients.weights.double(), KEPT)
    proposal = proposed(f"m-fac[{EXACT},damp=1e-2,block={block}]", found, registry)
    assert torch.equal(flat(proposal.masks), keep)
    assert torch.allclose(flat(proposal.tensors).double(), weights, atol=1e-6)


def test_m_fac_in_stages_keeps_a_share_that_falls_by_one_factor_and_lets_nothing_return(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, Tensor, Tensor]] = []
    honest = Workbench.sample_gradients

    def spied(self: Workbench, *args: Any, salt: int = 0, **more: Any) -> SampleGradients:
        found = honest(self, *args, salt=salt, **more)
        seen.append((salt, found.weights.clone(), found.index))
        return found

    monkeypatch.setattr(Workbench, "sample_gradients", spied)
    proposal = proposed("m-fac[drop=0,samples=20,stages=4,damp=1e-2]", bench(0.8), registry)
    left = [int((weights != 0).sum()) for _, weights, _ in seen]
    total = len(seen[0][1])
    final = int(flat(proposal.masks).sum())
    assert [salt for salt, _, _ in seen] == [0, 1, 2, 3]
    assert left == [total] + [round(total * (final / total) ** (stage / 4)) for stage in (1, 2, 3)]
    for (_, before, _), (_, after, _) in itertools.pairwise(seen):
        assert not bool(((before == 0) & (after != 0)).any())
    assert proposal.measurements["stages"] == 4


def programme(seed: int, p: int = 12, m: int = 6, block: int = 0, damp: float = 1e-3) -> Programme:
    draw = torch.Generator().manual_seed(seed)
    matrix = torch.randn(p, m, generator=draw, dtype=torch.float64)
    weights = torch.randn(p, generator=draw, dtype=torch.float64)
    gone = torch.zeros(p, dtype=torch.bool)
    gone[weights.abs().argsort()[: p // 2]] = True
    parts = [slice(0, p)] if block == 0 else [slice(at, min(at + block, p)) for at in range(0, p, block)]
    return Programme(matrix, weights, parts, m, damp, gone)


def value(found: Programme, gone: Tensor) -> float:
    """Return w' H w over the removed weights, H dense."""
    moved = torch.where(gone, found.weights, 0.0)
    whole = torch.zeros(len(moved), len(moved), dtype=torch.float64)
    for part in found.parts:
        whole[part, part] = found.matrix[part] @ found.matrix[part].T / found.drawn
    return float(moved @ whole @ moved + found.damp * moved @ moved)


@pytest.mark.parametrize("block", [0, 5])
@pytest.mark.parametrize("seed", range(5))
def test_the_programme_tells_values_and_single_changes(seed: int, block: int) -> None:
    found = programme(seed, block=block)
    assert found.value() == pytest.approx(value(found, found.gone))
    worth, base = found.worth(), value(found, found.gone)
    for i in range(12):
        other = found.gone.clone()
        other[i] = ~other[i]
        change = value(found, other) - base
        assert float(worth[i]) == pytest.approx(-change if found.gone[i] else change)


@pytest.mark.parametrize("block", [0, 5])
def test_local_search_ends_below_its_start_and_never_below_the_optimum(block: int) -> None:
    gaps, starts = [], []
    for seed in range(12):
        found = programme(seed, block=block)
        start = found.value()
        sweeps = search(found, 1e-9, 10, 20, 100)
        end = found.value()
        assert int(found.gone.sum()) == 6
        assert end == pytest.approx(value(found, found.gone))
        assert (end < start) == (sweeps > 0)
        sets = itertools.combinations(range(12), 6)
        best = min(value(found, torch.zeros(12, dtype=torch.bool).index_fill_(0, torch.tensor(s), True)) for s in sets)
        assert end >= best - 1e-12
        gaps.append((end - best) / best)
        starts.append((start - best) / best)
    assert np.mean(gaps) < 0.35 * np.mean(starts)


def test_an_exchange_that_gains_less_than_the_threshold_is_left() -> None:
    found = programme(3)
    before = found.gone.clone()
    assert search(found, 1e9, 10, 20, 100) == 0
    assert torch.equal(found.gone, before)


@pytest.mark.parametrize("kept", [0, 1, 37, 100])
def test_randomised_magnitude_keeps_as_many_and_mostly_the_large(kept: int) -> None:
    weights = torch.randn(100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gone = randomised(weights, kept, torch.Generator().manual_seed(1))
    assert int((~gone).sum()) == kept
    if kept == 37:
        assert float(weights[~gone].abs().mean()) > 1.5 * float(weights[gone].abs().mean())
        assert not torch.equal(gone, randomised(weights, kept, torch.Generator().manual_seed(2)))


def test_cbs_moves_what_stays_to_the_constrained_minimum(registry: Registry) -> None:
    found = bench()
    gradients = found.sample_gradients(30)
    whole, dense = fisher(gradients, 0, 1e-3), gradients.weights.double()
    proposal = proposed(f"cbs[{EXACT},damp=1e-3]", found, registry)
    keep, weights = flat(proposal.masks), flat(proposal.tensors).double()
    assert int(keep.sum()) == KEPT
    assert float((whole @ (weights - dense))[keep].abs().max()) < 1e-6
    still = proposed(f"cbs[{EXACT},damp=1e-3,update=false]", found, registry)
    assert torch.equal(flat(still.masks), keep)
    assert torch.equal(flat(still.tensors), torch.where(keep, gradients.weights, 0.0))
    assert proposal.measurements["fisher_loss"] < still.measurements["fisher_loss"]


def test_cbs_lets_the_loss_of_training_images_choose_among_draws_and_sweeps() -> None:
    found = programme(1, p=80, m=10)
    seen: list[Tensor] = []

    def judge(gone: Tensor) -> float:
        seen.append(gone.clone())
        return -1.0 if len(seen) == 2 else float(len(seen))

    sweeps = search(found, 1e-9, 10, 20, 100, judge)
    assert len(seen) == sweeps + 1 > 2
    assert torch.equal(found.gone, seen[1])
    assert not torch.equal(seen[-1], seen[1])
    assert found.value() == pytest.approx(value(found, seen[1]))


def test_cbs_by_its_objective_ends_below_its_start(registry: Registry) -> None:
    told = proposed(f"cbs[{EXACT},judge=objective]", bench(), registry).measurements
    assert told["selection_end"] <= told["selection_start"]


EDGES = (
    "woodfisher",
    "m-fac",
    "cbs",
    "m-fac[stages=3]",
    "woodfisher[update=joint]",
    "woodfisher[block=5]",
    "cbs[draws=0]",
)


@pytest.mark.parametrize("spec", EDGES)
@pytest.mark.parametrize("sparsity", [0.0, 1.0])
def test_nothing_and_everything_may_go(spec: str, sparsity: float, registry: Registry) -> None:
    name, more = parse_spec(spec)
    asked = ",".join(f"{key}={value}" for key, value in {**more, "samples": 30}.items())
    found, spec = bench(sparsity), f"{name}[{asked}]"
    dense = {name: weight.clone() for name, weight in found.prunable.items()}
    proposal = proposed(spec, found, registry)
    for tensor, weight in dense.items():
        assert torch.allclose(proposal.tensors[tensor], (1 - sparsity) * weight, atol=1e-6)
        assert bool(proposal.masks[tensor].all()) == (sparsity == 0)


@pytest.mark.parametrize(
    "spec",
    ["woodfisher[samples=30]", "m-fac[samples=30]", "m-fac[samples=30,stages=2]", "cbs[samples=30,judge=objective]"],
)
def test_without_gradients_it_is_magnitude_pruning(
    spec: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Workbench.sample_gradients

    def none(self: Workbench, *args: Any, **more: Any) -> SampleGradients:
        found = honest(self, *args, **more)
        nothing = {"matrix": torch.zeros_like(found.matrix), "squares": torch.zeros_like(found.squares)}
        return dataclasses.replace(found, **nothing)

    monkeypatch.setattr(Workbench, "sample_gradients", none)
    found = bench()
    dense, wanted = flat(found.prunable).clone(), flat(proposed("magnitude", bench(), registry).masks)
    proposal = proposed(spec, found, registry)
    assert torch.equal(flat(proposal.masks), wanted)
    assert torch.equal(flat(proposal.tensors), torch.where(wanted, dense, 0.0))


@pytest.mark.parametrize("spec", RIVALS)
def test_a_run_repeats_and_another_seed_draws_other_images(spec: str, registry: Registry) -> None:
    one, same, other = (proposed(f"{spec}[samples=10]", bench(seed=seed), registry).tensors for seed in (0, 0, 1))
    assert torch.equal(flat(one), flat(same))
    assert not torch.equal(flat(one), flat(other))


@pytest.mark.parametrize("spec", [*(f"{name}[samples=24]" for name in RIVALS), "m-fac[stages=2,samples=24]"])
def test_a_spiking_network_goes_through_the_referee(
    spec: str, suite_cells: Callable[..., list[Cell]], job_in: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    from synobench.engine import perform

    (cell,) = suite_cells(pruners=[spec], model="snn-conv[width=2,steps=2]", train=1, tune=0)
    done = perform(job_in(cell, tmp_path))
    assert done["status"] == "ok", done
    record = read_json(Path(done["path"]))
    assert abs(record["outcome"]["sparsity"]["reached"] - 0.5) < 0.01
    assert record["outcome"]["measurements"]["fisher_loss"] > 0
    assert record["cost"]["prune"]["backward"] > 0


@pytest.mark.parametrize("name", RIVALS)
def test_it_says_what_it_needs_and_cites_its_source(name: str, registry: Registry) -> None:
    entry = registry.get("pruner", name)
    assert entry.needs == {"per-sample-gradients"}
    assert entry.changes_survivors
    assert entry.stochastic
    folder = Path(str(import_module(registry.find("pruner", name).origin.module).__file__)).parent
    assert f"{{{entry.citation}," in (folder / "references.bib").read_text()
