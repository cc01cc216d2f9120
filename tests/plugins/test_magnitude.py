"""Magnitude and the controls beside it, held against hand-made networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from synobench import registry as registries
from synobench.cost import Meter
from synobench.feed import Feed
from synobench.params import parse_spec, resolve
from synobench.registry import Registry
from synobench.surgery import Proposal
from synobench.workbench import Target, Tools, Workbench


def bench(target: Target | None = None, seed: int = 0) -> Workbench:
    model = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.1, -0.9, 0.0, 0.5], [-0.5, 0.7, -0.2, 0.3]]))
        model[1].weight.copy_(torch.tensor([[-2.0, 0.05]]))
    lent: Any = None
    feed = Feed.__new__(Feed)
    tools = Tools(feed, feed, seed, 1, ["*"], Meter(), lent, lent, lent, lambda _: None)
    return Workbench(model, tools, target or Target("sparsity", 0.5))


def proposed(spec: str, found: Workbench, registry: Registry) -> Proposal:
    name, overrides = parse_spec(spec)
    entry = registry.get("pruner", name)
    made: Proposal = resolve(entry.params, overrides, name).prune(found)
    return made


def rows(mask: Tensor) -> list[str]:
    return ["".join("1" if kept else "0" for kept in row) for row in mask.tolist()]


@pytest.mark.parametrize(
    ("spec", "first", "last"),
    [
        # Of 10 weights 5 stay: 2.0, 0.9, 0.7 and of the two 0.5 both.
        ("magnitude", ["0101", "1100"], ["10"]),
        # 4 of 8 and 1 of 2.
        ("magnitude[scope=layer]", ["0101", "1100"], ["10"]),
        ("magnitude[allocation=3/2]", ["0101", "0100"], ["11"]),
        ("magnitude-threshold[threshold=0.5]", ["0101", "1100"], ["10"]),
        ("magnitude-threshold[threshold=0.0]", ["1111", "1111"], ["11"]),
    ],
)
def test_the_largest_weights_stay(spec: str, first: list[str], last: list[str], registry: Registry) -> None:
    masks = proposed(spec, bench(), registry).masks
    assert rows(masks["0.weight"]) == first
    assert rows(masks["1.weight"]) == last


def test_global_and_layer_differ_where_layers_do(registry: Registry) -> None:
    for spec, counts in (("magnitude", [1, 1]), ("magnitude[scope=layer]", [2, 0])):
        masks = proposed(spec, bench(Target("sparsity", 0.8)), registry).masks
        assert [int(m.sum()) for m in masks.values()] == counts, spec


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_random_is_drawn_from_the_runs_seed_and_meets_the_target(scope: str, registry: Registry) -> None:
    spec = f"random[scope={scope}]"
    made = [proposed(spec, bench(seed=s), registry).masks for s in (0, 0, 1, 2)]
    assert all(sum(int(m.sum()) for m in masks.values()) == 5 for masks in made)
    told = [[rows(m) for m in masks.values()] for masks in made]
    assert told[0] == told[1]
    assert len({str(t) for t in told}) == 3
    wider = proposed(spec, bench(Target("sparsity", 0.2)), registry).masks
    assert all(bool((wider[n] | ~m).all()) for n, m in made[0].items())


def test_none_removes_nothing(registry: Registry) -> None:
    assert proposed("none", bench(Target("none")), registry) == Proposal({})


def test_what_each_aims_at_and_whether_it_varies(registry: Registry) -> None:
    shares = {"sparsity", "parameters", "synops"}
    told = {n: (set(e.targets), e.stochastic, set(e.when)) for n, e in pruners(registry).items()}
    assert told == {
        "magnitude": (shares, False, {"trained"}),
        "magnitude-threshold": ({"none"}, False, {"trained"}),
        "none": ({"none"}, False, {"trained"}),
        "random": (shares, True, {"trained"}),
    }


def pruners(registry: Registry) -> dict[str, Any]:
    return {f.entry.name: f.entry for f in registry.all("pruner") if f.origin.plugin == "magnitude"}


def test_the_plugin_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import synobench_magnitude

    found = registries.Registry(strict=True)
    found.add(registries.Origin("magnitude", "alone", "1", "synobench_magnitude"), lambda: synobench_magnitude)
    assert set(pruners(found)) == {"magnitude", "magnitude-threshold", "none", "random"}
