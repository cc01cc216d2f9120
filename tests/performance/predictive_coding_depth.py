"""Deep networks under predictive coding: how far update norms spread with depth, and what LALR is worth.

Told and measured in PREDICTIVE_CODING_DEPTH.md. Needs MNIST in the folder that SYNOBENCH_DATA names.
"""

from __future__ import annotations

import argparse
import os
import statistics
from typing import Any

import torch
from torch import nn

from synobench import networks, registry, seeds
from synobench.data import open_dataset
from synobench.feed import Feed
from synobench.params import as_dict, parse_spec, resolve
from synobench.rules import Session
from synobench.training import accuracy_on

SPREAD = "mlp-residual[width=64,gain=1.5]"
DEEP = "mlp-residual"
PLAIN_SGD = "lalr=false,rate=0.02,steps=20,loss=mse"
ENERGIES = {
    "off": f"predictive-coding[energy=off,{PLAIN_SGD}]",
    "plain": f"predictive-coding[energy=plain,alpha=1,fit=300,{PLAIN_SGD}]",
    "centred": f"predictive-coding[energy=centred,alpha=1,fit=300,{PLAIN_SGD}]",
}
RATES = {
    "SGD 0.01": "predictive-coding[energy=off,steps=10,lalr=false,rate=0.01]",
    "SGD 0.01 with LALR": "predictive-coding[energy=off,steps=10,lalr=true,rate=0.01]",
    "SGD 0.2, the best of 0.01, 0.02, 0.05 and 0.2": "predictive-coding[energy=off,steps=10,lalr=false,rate=0.2]",
}


class Bench:
    """MNIST as the bench splits it, and its registered models and rules."""

    def __init__(self) -> None:
        self.registry = registry.load(())
        entry: Any = self.registry.get("dataset", "mnist")
        self._entry, self._splits = entry, open_dataset(entry, os.environ.get("SYNOBENCH_DATA"), True)

    def feed(self, part: str, images: int | None = None) -> Feed:
        """Return a split, or its first images."""
        view = getattr(self._splits, part)
        return Feed(view.images[:images], view.labels[:images], self._entry.mean, self._entry.std)

    def model(self, spec: str, seed: int) -> nn.Module:
        """Build a network."""
        name, told = parse_spec(spec)
        params = as_dict(resolve(self.registry.get("model", name).params, told, name))
        inputs = {"dataset": {"name": "mnist"}, "model": {"name": name, "params": params}, "neuron": None, "seed": seed}
        return networks.build(inputs, self.registry)

    def rule(self, spec: str) -> Any:
        """Make a rule."""
        name, told = parse_spec(spec)
        entry: Any = self.registry.get("rule", name)
        return entry.load()(resolve(entry.params, told, name))


def norms(bench: Bench, spec: str, seed: int) -> list[float]:
    """Return |dW| / |W| of each layer over the first update."""
    model, rule = bench.model(SPREAD, seed), bench.rule(spec)
    session = Session(model=model, feed=bench.feed("train"), phase="train", epochs=1, batch=128, seed=seed)
    rule.begin(session)
    before = {n: p.detach().clone() for n, p in model.named_parameters() if n.endswith("weight")}
    next(rule.epoch(session, 0))
    held = dict(model.named_parameters())
    return [float((held[n].detach() - w).norm() / w.norm()) for n, w in before.items()]


def accuracy(bench: Bench, spec: str, seed: int) -> float:
    """Return the validation accuracy after two epochs of 10,000 images."""
    model, rule = bench.model(DEEP, seed), bench.rule(spec)
    feed = bench.feed("train", 10_000)
    session = Session(model=model, feed=feed, phase="train", epochs=2, batch=128, seed=seed)
    rule.begin(session)
    for epoch in range(2):
        seeds.reseed(seed, "train", epoch)
        for _ in rule.epoch(session, epoch):
            pass
    return accuracy_on(model, bench.feed("validation"))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench()
    print("| energy | max r / min r, by seed | median | max r, median | median over that of `off` |")
    print("| --- | --- | --- | --- | --- |")
    base = 0.0
    for name, spec in ENERGIES.items():
        found = [norms(bench, spec, seed) for seed in range(asked.seeds)]
        spreads = [max(r) / min(r) for r in found]
        middle = statistics.median(spreads)
        base = base or middle
        told = ", ".join(f"{s:.2g}" for s in spreads)
        print(f"| {name} | {told} | {middle:.2g} | {statistics.median(map(max, found)):.3g} | 1/{base / middle:.3g} |")
    print("\n| rule | validation %, by seed | mean | above the same SGD |\n| --- | --- | --- | --- |")
    first: float | None = None
    for name, spec in RATES.items():
        scores = [100 * accuracy(bench, spec, seed) for seed in range(asked.seeds)]
        mean = statistics.mean(scores)
        first = mean if first is None else first
        print(f"| {name} | {', '.join(f'{s:.1f}' for s in scores)} | {mean:.1f} | {mean - first:+.1f} |", flush=True)


if __name__ == "__main__":
    main()
