"""What a gradient costs sample by sample: milliseconds by network, way and number of threads.

Run as a script; see GRADIENTS.md beside it. The ways take turns in one process on the same images, and a run stops
unless their sums agree. With one thread times are CPU seconds of the process, else seconds on the wall. Each turn is
the whole of it: passes, products, and the weight-major matrix sorted by norm. `forward` is a pass without gradients.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296"}

NETWORKS = {
    "resnet20": ("resnet20", "cifar-10", None),
    "mlp": ("mlp-300-150-10", "mnist", None),
    "lenet5": ("lenet5", "mnist", None),
    "snn-conv": ("snn-conv", "mnist", "fused"),
    "snn-mlp": ("snn-mlp", "mnist", "fused"),
}


def main() -> None:
    """Re-execute under the allocator settings, then measure each network and print it as one JSON object a line."""
    options = _options()
    if not options.plain and any(os.environ.get(k) != v for k, v in ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    for name in options.networks:
        print(json.dumps(measure(name, options)), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--ways", nargs="+", default=["hooks", "vmap", "loop"])
    parser.add_argument("--chunks", type=int, nargs="+", default=[0], help="rows a pass; 0: as the bench chooses")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="leave the allocator as it is")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    return parser.parse_args()


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Time all sides in turns; return the median milliseconds a sample."""
    import torch

    torch.set_num_threads(options.threads)
    problem, feed = lent(name, options.samples)
    sides: dict[str, Callable[[], Any]] = {"forward": lambda: _forward(problem, feed)}
    for way in options.ways:
        for chunk in options.chunks:
            sides[f"{way}/{chunk}" if chunk else way] = _collecting(problem, feed, way, chunk)
    _agree({side: run() for side, run in sides.items() if side != "forward"})
    clock = time.process_time if options.threads == 1 else time.perf_counter
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(options.rounds):
        for side, run in sides.items():
            start = clock()
            run()
            times[side].append(clock() - start)
    return {
        "network": name,
        "weights": sum(w.numel() for w in problem.weights.values()),
        "samples": options.samples,
        "threads": options.threads,
        "load": round(os.getloadavg()[0], 1),
        "ms a sample": {s: round(1000 * statistics.median(t) / options.samples, 3) for s, t in times.items()},
        "least": {s: round(1000 * min(t) / options.samples, 3) for s, t in times.items()},
    }


def lent(name: str, samples: int) -> tuple[Any, Any]:
    """Return a network of the bench at its initial weights, and random images."""
    import numpy as np

    from synobench import registry as registries
    from synobench.feed import Feed
    from synobench.gradients.ways import Problem
    from synobench.networks import build, prunable

    model, dataset, neuron = NETWORKS[name]
    registry = registries.load(strict=True, strangers=False)
    inputs = {
        "dataset": {"name": dataset},
        "model": {"name": model, "params": {}},
        "neuron": neuron and {"name": neuron, "params": {}},
        "seed": 0,
    }
    net, entry = build(inputs, registry).eval(), registry.get("dataset", dataset)
    draws = np.random.RandomState(0)
    images = draws.randint(0, 256, (samples, *entry.shape)).astype(np.uint8)
    feed = Feed(images, draws.randint(0, entry.classes, samples), entry.mean, entry.std)
    return Problem(net, prunable(net, ["*"])), feed


def _collecting(problem: Any, feed: Any, way: str, chunk: int) -> Callable[[], Any]:
    import torch

    from synobench.gradients.collect import Collector
    from synobench.gradients.plan import Ask, plan

    def run() -> Any:
        chosen = plan(problem, len(feed), way)
        collector = Collector(problem, feed, dataclasses.replace(chosen, chunk=chunk or chosen.chunk))
        collector.add(torch.arange(len(feed)))
        return collector.result(Ask(len(feed)), torch.arange(len(feed)), 1.0, None)

    return run


def _agree(found: dict[str, Any]) -> None:
    first, *others = found.items()
    for side, other in others:
        if not (other.total - first[1].total).norm() <= 1e-4 * first[1].total.norm():
            raise SystemExit(f"{side} and {first[0]} disagree")


def _forward(problem: Any, feed: Any) -> None:
    import torch

    with torch.no_grad():
        for inputs, _ in feed.batches(50):
            problem.model(inputs)


if __name__ == "__main__":
    main()
