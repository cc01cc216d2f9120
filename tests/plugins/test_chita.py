"""CHITA and CHITA++ at the workbench: what is proposed, measured and refused, on ordinary and on spiking networks."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import synobench_chita
from synobench import registry as registries
from synobench.cost import Meter
from synobench.errors import BenchError
from synobench.feed import Feed
from synobench.networks import logits
from synobench.params import as_dict, parse_spec, resolve
from synobench.registry import Registry
from synobench.surgery import Proposal, Referee
from synobench.workbench import Target, Tools, Workbench
from synobench_chita.schedules import SCHEDULES, sparsities
from synobench_chita.setting import quadratic
from synobench_chita.support import largest

SPECS = [
    "chita",
    "chita[variant=iht,ridge=0.01]",
    "chita[variant=active-set,ridge=0.01]",
    "chita[variant=cd,ridge=0.01]",
    "chita[variant=bso,ridge=0.01,alpha=1,support=step]",
    "chita[variant=bso-swaps,ridge=0.01,support=newton]",
    "chita[variant=bso-block,ridge=0.01,block=7]",
    "chita[variant=bso,ridge=0.01,size=2]",
    "chita++[stages=4]",
    "chita++[stages=3,variant=bso-block,block=7,schedule=poly]",
    "chita++[stages=3,variant=iht,schedule=mfac,settle=1]",
]


def feed(shape: tuple[int, int, int]) -> Feed:
    draws = np.random.RandomState(0)
    labels = draws.randint(0, 3, 60)
    images = draws.randint(0, 160, (60, *shape)) + 40 * labels[:, None, None, None]
    return Feed(images.astype(np.uint8), labels, [0.5], [0.25])


def bench(model: nn.Module | None = None, sparsity: float = 0.6, seed: int = 0) -> Workbench:
    torch.manual_seed(0)
    if model is None:
        model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.ReLU(), nn.Linear(12, 3))
    lent: Any = None
    data = feed((1, 4, 4))
    tools = Tools(data, data, seed, 8, ["*"], Meter(), lent, lent, lambda _, make: make(), lambda _: None)
    return Workbench(model.eval(), tools, Target("sparsity", sparsity))


def proposed(spec: str, found: Workbench, registry: Registry) -> Proposal:
    """Let a pruner propose on 40 images, unless the spec says otherwise."""
    name, overrides = parse_spec(spec)
    entry = registry.get("pruner", name)
    made: Proposal = entry.load()(resolve(entry.params, {"samples": "40", **overrides}, name)).prune(found)
    return made


@pytest.mark.parametrize("spec", SPECS)
def test_masks_meet_the_target_and_what_is_removed_is_zero(spec: str, registry: Registry) -> None:
    found = bench()
    total = sum(w.numel() for w in found.prunable.values())
    before = {name: w.clone() for name, w in found.prunable.items()}
    proposal = proposed(spec, found, registry)
    assert sum(int(m.sum()) for m in proposal.masks.values()) == total - round(0.6 * total + 0.49)
    assert all(not t[~proposal.masks[n]].any() for n, t in proposal.tensors.items())
    assert any(bool((t != before[n])[proposal.masks[n]].any()) for n, t in proposal.tensors.items())
    Referee(found.model, ["*"]).apply(proposal, registry.get("pruner", parse_spec(spec)[0]))


@pytest.mark.parametrize("spec", SPECS)
def test_the_same_seed_proposes_the_same_and_another_seed_something_else(spec: str, registry: Registry) -> None:
    told = [proposed(spec, bench(seed=seed), registry).tensors for seed in (0, 0, 1)]
    assert all(torch.equal(told[0][n], told[1][n]) for n in told[0])
    assert any(not torch.equal(told[0][n], told[2][n]) for n in told[0])


@pytest.mark.parametrize("variant", ["iht", "active-set", "cd", "bso", "bso-swaps"])
def test_the_objective_is_measured_and_no_higher_than_magnitudes(variant: str, registry: Registry) -> None:
    found = bench()
    told = proposed(f"chita[variant={variant},ridge=0.01]", found, registry).measurements
    gradients = found.sample_gradients(40)
    problem = quadratic(gradients, 0.01, 0.0)
    kept = int(told["k"])
    magnitude = torch.where(largest(problem.dense.abs(), kept), problem.dense, 0.0)
    assert told["objective_magnitude"] == pytest.approx(problem.value(magnitude), rel=1e-9)
    assert told["objective"] < told["objective_magnitude"]
    assert told["n"] == 40
    assert 0 < told["rows"] <= 40
    assert told["ridge"] == 0.01


def test_the_proposed_weights_have_the_objective_that_is_told(registry: Registry) -> None:
    found = bench()
    proposal = proposed("chita[variant=bso,ridge=0.01]", found, registry)
    problem = quadratic(found.sample_gradients(40), 0.01, 0.0)
    flat = torch.cat([proposal.tensors[name].flatten() for name in found.prunable]).double()
    assert problem.value(flat) == pytest.approx(proposal.measurements["objective"], rel=1e-4)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_model_has_the_loss_gradient_and_the_fisher_matrix(size: int) -> None:
    found = bench()
    gradients = found.sample_gradients(40, size)
    problem = quadratic(gradients, 0.01, 1.0)
    # Over n rows of `size` images Q is n / size times the model of the mean loss.
    share = gradients.drawn / size
    torch.testing.assert_close(problem.linear / share, gradients.total.double() / 40)
    assert problem.ridge == pytest.approx(gradients.drawn * 0.01)
    torch.testing.assert_close(problem.alpha * problem.matrix.double().sum(1), problem.linear, rtol=1e-4, atol=1e-6)


def test_auto_takes_the_ridge_that_validation_data_likes_best(registry: Registry) -> None:
    grid = (1e-4, 1e-2, 1.0, 100.0)
    found = bench()
    losses = {}
    for ridge in grid:
        proposal = proposed(f"chita[variant=bso,ridge={ridge}]", bench(), registry)
        with found.trial():
            found.model.load_state_dict({**found.model.state_dict(), **proposal.tensors})
            with torch.no_grad():
                losses[ridge] = sum(float(found.loss(b)) * len(b[1]) for b in found.validation(half=0, limit=20))
    told = proposed(f"chita[variant=bso,look=20,grid={'/'.join(map(str, grid))}]", bench(), registry).measurements
    assert told["ridge"] == min(losses, key=lambda r: losses[r])
    assert told["ridges"] == 4


def test_auto_blocks_where_there_are_convolutions_and_swaps_elsewhere(registry: Registry) -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 3))
    for model, variant in ((None, "bso-block"), (plain, "bso-swaps")):
        auto, named = (
            proposed(f"chita[ridge=0.01,block=10,variant={v}]", bench(model), registry).tensors
            for v in ("auto", variant)
        )
        assert all(torch.equal(auto[n], named[n]) for n in auto)


@pytest.mark.parametrize(("alpha", "screen"), [(0, 1), (1, 1), (0, 0.9)])
def test_group_by_group_is_the_whole(alpha: int, screen: float, registry: Registry) -> None:
    spec = f"chita[variant=bso-block,block=10,alpha={alpha},screen={screen},drop=0,grid=0.01/0.1,memory="
    told = {memory: proposed(f"{spec}{memory}]", bench(), registry) for memory in (1, 0.0001)}
    assert [found.measurements["groups"] for found in told.values()] == [1, 2]
    whole, apart = told.values()
    assert all(torch.equal(apart.masks[name], mask) for name, mask in whole.masks.items())
    if screen == 1:
        for name, value in whole.tensors.items():
            torch.testing.assert_close(apart.tensors[name], value)
        for name in ("objective", "objective_magnitude", "ridge", "k", "n", "rows"):
            assert apart.measurements[name] == pytest.approx(whole.measurements[name], rel=1e-5)


def test_no_more_than_one_groups_gradients_are_asked_for(registry: Registry) -> None:
    found, asked = bench(), []
    take = found.sample_gradients
    found.sample_gradients = lambda *a, **m: asked.append((m["names"], m["kept"])) or take(*a, **m)  # type: ignore[method-assign,func-returns-value]
    proposed("chita[variant=bso-block,ridge=0.01,memory=0.0001]", found, registry)
    assert asked == [(("0.weight",), False), (("3.weight",), False)]
    with pytest.raises(BenchError, match=r"need .* GB, and the bound is 0\.0 GB"):
        proposed("chita[variant=bso,ridge=0.01,memory=0.000001]", bench(), registry)


def test_one_stage_of_the_published_form_is_a_backsolve_with_the_first_order_term(registry: Registry) -> None:
    stages = proposed("chita++[stages=1,strides=1,ridge=0.5]", bench(), registry)
    single = proposed("chita[variant=bso,alpha=1,ridge=0.5]", bench(), registry)
    assert all(torch.equal(stages.masks[n], single.masks[n]) for n in single.masks)
    assert all(torch.equal(stages.tensors[n], single.tensors[n]) for n in single.tensors)


def test_stages_follow_the_schedule_with_gradients_of_their_own(registry: Registry) -> None:
    found, told, asked = bench(), [], []
    take = found.sample_gradients
    found.tools.notify = told.append

    def spy(*args: Any, **more: Any) -> Any:
        asked.append((more["salt"], int(sum(torch.count_nonzero(w) for w in found.prunable.values()))))
        return take(*args, **more)

    found.sample_gradients = spy  # type: ignore[method-assign]
    proposed("chita++[stages=4,start=0.2,schedule=linear]", found, registry)
    total = sum(w.numel() for w in found.prunable.values())
    # 25 of 63 stay: the target is 0.6032, and the stages before lie at 0.2, 0.3344 and 0.4688.
    kept = [50, 42, 33]
    assert (total, [event["kept"] for event in told]) == (63, [*kept, 25])
    assert asked == [(0, total), *((stage + 1, k) for stage, k in enumerate(kept))]


def test_removed_weights_may_return(registry: Registry) -> None:
    found = bench(sparsity=0.8)
    gone: list[torch.Tensor] = []
    flat = lambda: torch.cat([w.flatten() for w in found.prunable.values()])  # noqa: E731
    found.tools.notify = lambda _: gone.append(flat() == 0)
    proposed("chita++[stages=6,schedule=const,support=newton,ridge=0.01]", found, registry)
    assert any(bool((before & ~after).any()) for before, after in itertools.pairwise(gone))


def test_strides_take_the_least_loss_on_the_images_they_look_at(registry: Registry) -> None:
    losses = {}
    for strides in ("0.5", "1", "2", "0.5/1/2"):
        found = bench()
        proposal = proposed(f"chita++[stages=1,strides={strides},look=60]", found, registry)
        found.model.load_state_dict({**found.model.state_dict(), **proposal.tensors})
        with torch.no_grad():
            losses[strides] = sum(float(found.loss(batch)) for batch in found.calibration(1, 60))
    assert losses["0.5/1/2"] == pytest.approx(min(losses["0.5"], losses["1"], losses["2"]), rel=1e-6)
    assert len(set(losses.values())) == 3


def test_nothing_but_the_proposal_is_left_of_a_single_stage(registry: Registry) -> None:
    found = bench()
    before = {name: value.clone() for name, value in found.model.state_dict().items()}
    proposed("chita", found, registry)
    assert all(torch.equal(value, before[name]) for name, value in found.model.state_dict().items())


@pytest.mark.parametrize("spec", ["chita[ridge=0.01,block=50]", "chita++[stages=2]"])
def test_a_spiking_network_goes_through(spec: str, registry: Registry) -> None:
    from synobench.neurons import LIF

    entry = registry.get("model", "snn-conv")
    neuron = registry.get("neuron", "fused").load()
    params = resolve(entry.params, {"width": "2", "steps": "2"}, "snn-conv")
    model = entry.load()(params, (1, 4, 4), 3, lambda: neuron(LIF()))
    found = bench(model)
    proposal = proposed(spec, found, registry)
    Referee(found.model, ["*"]).apply(proposal, registry.get("pruner", parse_spec(spec)[0]))
    assert logits(found.model, torch.zeros(2, 1, 4, 4)).shape == (2, 3)


def test_one_ridge_is_one_run_however_it_is_written(registry: Registry) -> None:
    kind = registry.get("pruner", "chita").params
    told = [as_dict(resolve(kind, {"ridge": text}, "chita"))["ridge"] for text in ("1e-4", "0.0001", "auto")]
    assert told == ["0.0001", "0.0001", "auto"]


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("chita", {"ridge": "0"}, "ridge must be a number above 0 or auto, not '0'"),
        ("chita", {"ridge": "much"}, "ridge must be a number above 0 or auto, not 'much'"),
        ("chita", {"grid": ""}, "grid needs one ridge or more, each above 0"),
        ("chita", {"variant": "obs"}, "is not one of auto, iht"),
        ("chita++", {"strides": ""}, "strides needs one multiple or more"),
        ("chita++", {"schedule": "cubic"}, "is not one of exp, poly, linear, const, mfac"),
        ("chita++", {"start": "1.5"}, "above its greatest value"),
    ],
)
def test_bad_parameters_are_refused_in_one_line(
    name: str, given: dict[str, str], says: str, registry: Registry
) -> None:
    with pytest.raises(BenchError) as refusal:
        resolve(registry.get("pruner", name).params, given, name)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("exp", [0.1, 0.5571428571, 0.7857142857, 0.9]),
        ("poly", [0.1, 0.6629629630, 0.8703703704, 0.9]),
        ("linear", [0.1, 0.3666666667, 0.6333333333, 0.9]),
        ("const", [0.9, 0.9, 0.9, 0.9]),
        ("mfac", [0.4803849729, 0.7, 0.8267949243, 0.9]),
    ],
)
def test_schedules_by_hand(name: str, wanted: list[float]) -> None:
    assert sparsities(name, 4, 0.1, 0.9) == pytest.approx(wanted)
    assert sparsities(name, 6, 0.1, 0.9, settle=2) == pytest.approx([*wanted, 0.9, 0.9])


@given(st.sampled_from(SCHEDULES), st.integers(1, 40), st.floats(0, 1), st.floats(0, 1), st.integers(0, 50))
def test_schedules_rise_and_end_at_the_target(name: str, stages: int, first: float, last: float, settle: int) -> None:
    told = sparsities(name, stages, first, last, settle)
    assert len(told) == stages
    assert told[-1] == last
    assert all(before <= after + 1e-12 for before, after in itertools.pairwise(told))
    assert all(-1e-12 <= s <= 1 for s in told)


def test_the_plugin_stands_alone_and_cites_its_source() -> None:
    from pathlib import Path

    found = registries.Registry(strict=True)
    found.add(registries.Origin("chita", "alone", "1", "synobench_chita"), lambda: synobench_chita)
    assert {f.entry.name for f in found.all("pruner")} == {"chita", "chita++"}
    references = (Path(synobench_chita.__file__).parent / "references.bib").read_text(encoding="utf-8")
    assert all(f"{{{f.entry.citation}," in references for f in found.all("pruner"))
