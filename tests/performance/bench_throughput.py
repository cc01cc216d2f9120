"""Training throughput of `snn-conv`: the bench's model against the same network written by hand for two libraries.

Run as a script; see README.md beside it.  Every side has the same weights, the same batches and the same allocator
settings, and the sides take turns in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296"}
SIDES = ("fused", "snntorch", "snntorch-hoisted", "spikingjelly", "spikingjelly-hoisted")
PEERS = SIDES[1:]


def main() -> None:
    """Re-execute under the allocator settings, then measure one setting and print it as one JSON object a line."""
    options = _options()
    if any(os.environ.get(k) != v for k, v in ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    if options.memory_of:
        print(json.dumps(peak_of(options.memory_of, options)))
        return
    for width in options.widths:
        options.width = width
        print(json.dumps(measure(options)), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each side")
    parser.add_argument("--repeats", type=int, default=5, help="training steps a turn")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile of every side beside it")
    parser.add_argument("--memory-of", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--width", type=int, default=16, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Time all sides in turns and return medians, ratios to each peer, and peak memory in MB."""
    import torch

    torch.set_num_threads(options.threads)
    nets = {side: build(side, options) for side in SIDES}
    check(nets, options)
    steps = {side: train_step(net, options) for side, net in nets.items()}
    if options.compile:
        steps |= {f"{s}+compile": train_step(torch.compile(build(s, options)), options) for s in ("fused", *PEERS)}
    seconds = take_turns(steps, options.rounds, options.repeats)
    median = {side: statistics.median(times) for side, times in seconds.items()}
    ratios = {
        side: statistics.median(theirs / ours for theirs, ours in zip(seconds[side], seconds["fused"], strict=True))
        for side in seconds
    }
    return {
        "width": options.width,
        "threads": options.threads,
        "ms_a_step": {side: round(1000 * s, 2) for side, s in median.items()},
        "speed_up_over": {side: round(r, 3) for side, r in ratios.items() if side != "fused"},
        "seconds_an_epoch_of_55000": round(median["fused"] * 55000 / options.batch, 1),
        "peak_mb": {side: peak_in_child(side, options) for side in SIDES},
    }


def take_turns(steps: dict[str, Callable[[], None]], rounds: int, repeats: int) -> dict[str, list[float]]:
    """Return seconds a training step by side, one figure a round; two rounds of warming up are thrown away."""
    seconds: dict[str, list[float]] = {side: [] for side in steps}
    for i in range(rounds + 2):
        for side, step in steps.items():
            start = time.perf_counter()
            for _ in range(repeats):
                step()
            if i >= 2:
                seconds[side].append((time.perf_counter() - start) / repeats)
    return seconds


def build(side: str, options: argparse.Namespace) -> Any:
    """Build one side with the same seed; its outputs are [T, N, 10]."""
    import torch

    torch.manual_seed(0)
    library, _, hoisted = side.partition("-")
    if library == "fused":
        from synobench.neurons import LIF
        from synobench_models.params import SpikingConv
        from synobench_models.spiking import conv
        from synobench_neurons.module import FusedLIF

        return conv(SpikingConv(options.width, options.steps), (1, 28, 28), 10, lambda: FusedLIF(LIF()))
    import peers

    return peers.NETS[library](options.width, options.steps, bool(hoisted))


def train_step(net: Any, options: argparse.Namespace) -> Callable[[], None]:
    """Return forward, cross-entropy of the mean output and backward on one fixed batch."""
    import torch

    torch.manual_seed(1)
    image = torch.rand(options.batch, 1, 28, 28) * 2
    label = torch.randint(0, 10, (options.batch,))

    def step() -> None:
        for p in net.parameters():
            p.grad = None
        torch.nn.functional.cross_entropy(net(image).mean(0), label).backward()

    return step


def check(nets: dict[str, Any], options: argparse.Namespace) -> None:
    """Stop unless all sides compute the same network: outputs and gradients agree."""
    import torch

    torch.manual_seed(2)
    image = torch.rand(8, 1, 28, 28) * 2
    found = {}
    for side, net in nets.items():
        out = net(image)
        out.square().sum().backward()
        found[side] = [out.detach(), *(p.grad for p in net.parameters())]
    for side, tensors in found.items():
        for ours, theirs in zip(found["fused"], tensors, strict=True):
            torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4, msg=lambda m, s=side: f"{s}: {m}")


def peak_in_child(side: str, options: argparse.Namespace) -> float:
    """Return the growth of the resident set over ten training steps, in MB, measured in a process of its own."""
    told = ["--threads", options.threads, "--steps", options.steps, "--batch", options.batch, "--width", options.width]
    command = [sys.executable, __file__, "--memory-of", side, *map(str, told)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def peak_of(side: str, options: argparse.Namespace) -> float:
    """Run ten training steps and return the peak of the resident set above what it was before, in MB."""
    import torch

    torch.set_num_threads(options.threads)
    small = argparse.Namespace(**{**vars(options), "batch": 1})
    net = build(side, options)
    train_step(net, small)()  # what a first call costs once (thread pools, code) is not the network's
    step, before = train_step(net, options), _status("VmRSS")
    for _ in range(10):
        step()
    return round((_status("VmHWM") - before) / 1024, 1)


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
