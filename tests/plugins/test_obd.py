"""Optimal Brain Damage against its own equation, and what it does to a trained network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synobench import registry as registries
from synobench.cost import Meter
from synobench.feed import Feed
from synobench.params import parse_spec, resolve
from synobench.registry import Registry
from synobench.workbench import Target, Tools, Workbench


def bench(target: Target | None = None, seed: int = 0) -> Workbench:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.ReLU(), nn.Linear(12, 3))
    draws = np.random.RandomState(0)
    feed = Feed(draws.randint(0, 256, (30, 1, 4, 4)).astype(np.uint8), draws.randint(0, 3, 30), [0.5], [0.25])
    lent: Any = None
    tools = Tools(feed, feed, seed, 8, ["*"], Meter(), lent, lent, lambda _, make: make(), lambda _: None)
    return Workbench(model, tools, target or Target("sparsity", 0.5))


def proposed(spec: str, found: Workbench, registry: Registry) -> Any:
    name, overrides = parse_spec(spec)
    return resolve(registry.get("pruner", name).params, overrides, name).prune(found)


def saliencies(found: Workbench, places: Tensor) -> dict[str, Tensor]:
    """Return w² h / 2, h the mean of squared gradients, by plain loops."""
    weights = dict(found.model.named_parameters())
    squares = {name: torch.zeros_like(found.prunable[name]) for name in found.prunable}
    for place in places:
        inputs, labels = found.tools.feed.take(place[None])
        gradients = torch.autograd.grad(F.cross_entropy(found.model(inputs), labels), [weights[n] for n in squares])
        for name, gradient in zip(squares, gradients, strict=True):
            squares[name] += gradient.square() / len(places)
    return {name: found.prunable[name].square() * h / 2 for name, h in squares.items()}


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_the_most_salient_weights_stay(scope: str, registry: Registry) -> None:
    found = bench()
    wanted = found.keep_highest(saliencies(found, torch.arange(30)), scope)
    proposal = proposed(f"obd[samples=30,scope={scope}]", found, registry)
    assert all(torch.equal(mask, wanted.masks[name]) for name, mask in proposal.masks.items())
    assert proposal.measurements["gradient_samples"] == proposal.measurements["gradient_rows"] == 30
    assert not proposal.tensors


def test_the_saliencies_are_those_of_its_equation(registry: Registry) -> None:
    found = bench()
    kept: list[Any] = []
    found.tools.once = lambda _, make: kept.append(make()) or kept[0]
    proposed("obd[samples=30]", found, registry)
    for name, wanted in saliencies(found, torch.arange(30)).items():
        assert torch.allclose(kept[0]["saliency"][name], wanted, rtol=1e-4, atol=1e-12)


def test_samples_are_drawn_from_the_runs_seed_and_the_target_is_met(registry: Registry) -> None:
    told = []
    for seed in (0, 0, 1):
        masks = proposed("obd[samples=5]", bench(Target("sparsity", 0.8), seed), registry).masks
        assert sum(int(m.sum()) for m in masks.values()) == 12
        told.append(str([m.tolist() for m in masks.values()]))
    assert told[0] == told[1] != told[2]


def test_the_plugin_stands_alone_and_cites_its_source() -> None:
    from pathlib import Path

    import synobench_obd

    found = registries.Registry(strict=True)
    found.add(registries.Origin("obd", "alone", "1", "synobench_obd"), lambda: synobench_obd)
    (entry,) = (f.entry for f in found.all("pruner"))
    assert (entry.name, set(entry.needs), entry.stochastic) == ("obd", {"per-sample-gradients"}, True)
    references = (Path(synobench_obd.__file__).parent / "references.bib").read_text(encoding="utf-8")
    assert f"{{{entry.citation}," in references
