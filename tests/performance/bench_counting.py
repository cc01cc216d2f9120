"""What counting costs: passes over `snn-conv` with nobody counting, with the recorder, and with two peers' counters.

Run as a script; see COUNTING.md beside it. All sides have the same network and batches, take turns in one process, and
count the same samples. Times are CPU seconds of the process, which other people's work on the machine disturbs least.
The recorder's figure holds its whole life: the first pass, which learns the network, all others, and the ledger.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296"}


def main() -> None:
    """Re-execute under the allocator settings, then measure each setting and print it as one JSON object a line."""
    options = _options()
    if any(os.environ.get(k) != v for k, v in ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    for width in options.widths:
        for backend in options.backends:
            print(json.dumps(measure(width, backend, options)), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--backends", nargs="+", default=["fused", "spikingjelly"], help="neurons of the network")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--batches", type=int, default=16, help="forward passes a turn")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each side")
    parser.add_argument("--no-peers", action="store_true", help="leave NeuroBench and SpikingJelly out")
    return parser.parse_args()


def measure(width: int, backend: str, options: argparse.Namespace) -> dict[str, Any]:
    """Time all sides in turns; return the medians of their CPU seconds and of their ratios to the plain side."""
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    net = build(width, backend, options.steps)
    batches = [torch.rand(options.batch, 1, 28, 28) for _ in range(options.batches)]
    sides: dict[str, Callable[[], Any]] = {"plain": lambda: _passes(net, batches)}
    sides["recorder"] = lambda: _recorded(net, options.steps, batches)
    if not options.no_peers:
        sides["neurobench"] = lambda: _neurobench(net, batches)
        sides["spikingjelly"] = lambda: _spikingjelly(net, batches)
    with torch.no_grad():
        for side in sides.values():
            side()
        times: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(options.rounds):
            for name, side in sides.items():
                start = time.process_time()
                side()
                times[name].append(time.process_time() - start)
    ratios = {n: statistics.median(t / p for t, p in zip(ts, times["plain"], strict=True)) for n, ts in times.items()}
    return {
        "width": width,
        "neurons": backend,
        "batch": options.batch,
        "steps": options.steps,
        "threads": options.threads,
        "CPU ms a pass": {n: round(1000 * statistics.median(ts) / len(batches), 2) for n, ts in times.items()},
        "ratio": {n: round(r, 3) for n, r in ratios.items()},
    }


def build(width: int, backend: str, steps: int) -> Any:
    """Return `snn-conv`, ready to judge, with enough current that both layers fire."""
    from synobench.neurons import LIF
    from synobench.params import resolve
    from synobench_models import synobench_models

    entry = next(e for e in synobench_models() if e.name == "snn-conv")
    family = importlib.import_module({"fused": "synobench_neurons"}.get(backend, f"synobench_{backend}"))
    neuron = next(iter(family.synobench_neurons())).load()
    params = resolve(entry.params, {"width": width, "steps": steps}, "snn-conv")
    net = entry.load()(params, (1, 28, 28), 10, lambda: neuron(LIF()))
    for name, weight in net.named_parameters():
        if name.endswith("weight"):
            weight.data.mul_(3)
    return net.eval()


def _passes(net: Any, batches: list[Any]) -> None:
    for batch in batches:
        _reset(net)
        net(batch)


def _reset(net: Any) -> None:
    for module in net.modules():
        if getattr(module, "spiking", False) and hasattr(module, "reset"):
            module.reset()


def _recorded(net: Any, steps: int, batches: list[Any]) -> Any:
    from synobench.ledger.recorder import Recorder

    recorder = Recorder(net, steps)
    with recorder:
        _passes(net, batches)
    return recorder.ledger()


def _neurobench(net: Any, batches: list[Any]) -> Any:
    from neurobench.metrics.workload import SynapticOperations
    from neurobench.models import TorchModel

    model, metric, found = TorchModel(net), SynapticOperations(), None
    model.register_hooks()
    for batch in batches:
        _reset(net)
        found = metric(model, model(batch), (batch, None))
        model.reset_hooks()
    model.cleanup_hooks()
    return found


def _spikingjelly(net: Any, batches: list[Any]) -> Any:
    from spikingjelly.activation_based.op_counter import DispatchCounterMode, SynOpCounter

    counter = SynOpCounter()
    with DispatchCounterMode([counter]):
        _passes(net, batches)
    return counter.get_total()


if __name__ == "__main__":
    main()
