"""What settings of a pruner are worth on validation data: for choosing them without a look at the test images.

Run as a script; see CHITA.md beside it. It takes a parent out of the bench's cache (any run of a suite leaves one),
prunes it, and prints the accuracy on the second half of the validation split, which no pruner chooses by.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from synobench import networks
from synobench import registry as registries
from synobench.cost import Meter
from synobench.data import open_dataset
from synobench.feed import Feed
from synobench.params import parse_spec, resolve
from synobench.tensors import load_tree
from synobench.workbench import Target, Tools, Workbench


def main() -> None:
    """Prune with each spec and seed, and print one JSON object a run."""
    options = _options()
    torch.set_num_threads(options.threads)
    registry = registries.load(strict=True, strangers=False)
    model, training, validation, patterns = parent(options.parent, registry)
    for spec in options.specs:
        for seed in options.seeds:
            stages: list[dict[str, Tensor]] = []
            lent: Any = None
            tools = Tools(training, validation, seed, 128, patterns, Meter(), lent, lent, lent, lent)
            bench = Workbench(copy.deepcopy(model), tools, Target("sparsity", options.sparsity))
            tools.notify = lambda _, b=bench, s=stages: s.append({n: w.clone() for n, w in b.prunable.items()})
            name, given = parse_spec(spec)
            entry = registry.get("pruner", name)
            begun = time.process_time()
            proposal = entry.load()(resolve(entry.params, given, name)).prune(bench)
            seconds = time.process_time() - begun
            told = {"spec": spec, "sparsity": options.sparsity, "seed": seed, "cpu_seconds": round(seconds, 1)}
            found = {"accuracy": accuracy(bench, proposal.tensors or bench.prunable)}
            if len(stages) > 1:
                found |= means(bench, stages, proposal.masks)
            print(json.dumps({**told, **{key: round(100 * value, 2) for key, value in found.items()}}), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parent", type=Path, help="a folder under parents/ of the bench's cache")
    parser.add_argument("specs", nargs="+", help="pruners, as name[k=v]")
    parser.add_argument("--sparsity", type=float, default=0.7)
    parser.add_argument("--seeds", type=int, nargs="+", default=[10], help="others than those of the suite")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def parent(folder: Path, registry: registries.Registry) -> tuple[nn.Module, Feed, Feed, list[str]]:
    """Return a parent in evaluation mode, its training and validation split, and its prunable patterns."""
    inputs = json.loads((folder / "parent.json").read_text())["inputs"]
    entry = registry.get("dataset", inputs["dataset"]["name"])
    scales = inputs.get("checkpoint") or {"mean": entry.mean, "std": entry.std}
    splits = open_dataset(entry)
    training, validation = (
        Feed(view.images, view.labels, scales["mean"], scales["std"]) for view in (splits.train, splits.validation)
    )
    model = networks.build({"seed": 0, "neuron": None, **inputs}, registry)
    model.load_state_dict(load_tree(folder / "weights.safetensors")["model"])
    return model.eval(), training, validation, list(inputs["model"]["prunable"])


def means(bench: Workbench, stages: list[dict[str, Tensor]], masks: Any) -> dict[str, float]:
    """Return the accuracy half way and after three quarters of the stages, and of the mean of the last eight."""
    found = {}
    for done in (len(stages) // 2, 3 * len(stages) // 4):
        found[f"after_{done}"] = accuracy(bench, stages[done - 1])
    last = stages[-8:]
    mean = {name: sum(stage[name] for stage in last) / len(last) * masks[name] for name in masks}
    return {**found, f"mean_of_{len(last)}": accuracy(bench, mean)}


def accuracy(bench: Workbench, tensors: Any) -> float:
    """Return the accuracy of the network with these weights on the second half of the validation split."""
    with bench.trial():
        for name, weight in bench.prunable.items():
            weight.copy_(tensors[name])
        return bench.evaluate(half=1).accuracy


if __name__ == "__main__":
    main()
