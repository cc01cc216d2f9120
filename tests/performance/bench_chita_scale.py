"""Block CHITA on networks of 4 to 26 million weights: seconds and memory, by groups of tensors.

Run as a script; see CHITA.md beside it. Weights, images and labels are random, and no row
is dropped: the solver takes all of them.
The support is the largest weights of the whole network. Then groups of whole tensors go through one after the other:
their gradients are computed, their blocks solved, the gradients let go. So no more than one group's are ever held.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from synobench.feed import Feed
from synobench.gradients.collect import collect
from synobench.gradients.plan import Ask
from synobench.gradients.ways import Problem
from synobench_chita.blocks import block_backsolve, partition
from synobench_chita.setting import quadratic
from synobench_chita.support import largest


def main() -> None:
    """Prune one network group by group and print one JSON object a group, and one for the whole."""
    options = _options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = NETWORKS[options.network]()
    weights = {name: p for name, p in model.named_parameters() if p.dim() > 1}
    flat = torch.cat([w.detach().flatten() for w in weights.values()]).double()
    support = largest(flat.abs(), int((1 - options.sparsity) * len(flat)))
    feed = images(options.samples, options.side, list(model.modules())[-1].out_features)
    normalised(model, feed)
    told: list[dict[str, Any]] = []
    for start, names in groups(weights, int(options.hold * 1e9 / 4 / options.samples)):
        told.append(pruned(Problem(model, {n: weights[n] for n in names}), feed, support[start:], options))
        print(json.dumps(told[-1]), flush=True)
    counted = ("weights", "gradients", "solver", "solver_wall")
    sums = {key: round(sum(group[key] for group in told), 2) for key in counted}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    asked = {"network": options.network, "samples": options.samples, "groups": len(told), "kept": int(support.sum())}
    print(json.dumps({**asked, **sums, "peak_gb": round(peak, 2), "gflops": gflops(options.threads)}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=tuple(NETWORKS))
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--sparsity", type=float, default=0.8)
    parser.add_argument("--ridge", type=float, default=1e-4)
    parser.add_argument("--block", type=int, default=500)
    parser.add_argument("--side", type=int, default=32, help="images are this many pixels high and wide")
    parser.add_argument("--hold", type=float, default=4.0, help="GB of gradients to hold at once (one tensor at least)")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def groups(weights: dict[str, nn.Parameter], most: int) -> Iterator[tuple[int, list[str]]]:
    """Split tensors, in order, into groups of at most so many weights; yield where each starts, and its names."""
    start, names, held = 0, list[str](), 0
    for name, weight in weights.items():
        if names and held + weight.numel() > most:
            yield start, names
            start, names, held = start + held, [], 0
        names.append(name)
        held += weight.numel()
    yield start, names


def pruned(problem: Problem, feed: Feed, support: Tensor, options: argparse.Namespace) -> dict[str, Any]:
    """Compute the gradients of a group and solve its blocks on the support, which may go on behind the group."""
    begun = time.process_time()
    gradients = collect(problem, feed, torch.arange(options.samples), Ask(options.samples), way="hooks", bound=1 << 40)
    solving, wall = time.process_time(), time.perf_counter()
    lengths = [weight.numel() for weight in problem.weights.values()]
    model = quadratic(gradients, options.ridge, 0.0)
    found = block_backsolve(model, support[: sum(lengths)], partition(lengths, options.block))
    done, late = time.process_time(), time.perf_counter()
    assert bool(found.isfinite().all())
    return {
        "weights": sum(lengths),
        "rows": model.rows,
        "gradient_gb": round(gradients.matrix.numel() * 4 / 1e9, 2),
        "gradients": round(solving - begun, 2),
        "solver": round(done - solving, 2),
        "solver_wall": round(late - wall, 2),
    }


def gflops(threads: int, size: int = 2048) -> float:
    """Return what a float32 matrix product reaches, counted in processor seconds, as everything here."""
    given, times = torch.randn(size, size), []
    for _ in range(4):
        begun = time.process_time()
        torch.mm(given, given)
        times.append((time.process_time() - begun) / threads)
    return round(2 * size**3 / min(times) / 1e9, 1)


def normalised(model: nn.Module, feed: Feed) -> None:
    """Let batch norm see images once, so that neither activations nor gradients fade from layer to layer."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        model.train()(feed.take(torch.arange(min(len(feed), 64)))[0])
    model.eval()


def images(count: int, side: int, classes: int) -> Feed:
    """Return random images in three channels, and random labels."""
    draws = np.random.RandomState(0)
    pixels = draws.randint(0, 256, (count, 3, side, side)).astype(np.uint8)
    return Feed(pixels, draws.randint(0, classes, count), [0.5] * 3, [0.25] * 3)


def conv(wide: int, out: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Return a convolution without bias, its batch norm and a ReLU."""
    layer = nn.Conv2d(wide, out, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(out), nn.ReLU())


def mobilenet() -> nn.Sequential:
    """Return the shape of MobileNetV1 at width 1, 1,000 classes: 4.2 million weights."""
    layers, wide = [conv(3, 32, stride=2)], 32
    for i, out in enumerate((64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)):
        stride = 2 if i in (1, 3, 5, 11) else 1
        layers += [conv(wide, wide, stride=stride, groups=wide), conv(wide, out, 1)]
        wide = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, 1000))


def vgg16() -> nn.Sequential:
    """Return VGG16 as it is used on CIFAR-10: 13 convolutions and one linear layer, 14.7 million weights."""
    layers, wide = list[nn.Module](), 3
    for out in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512):
        layers.append(conv(wide, out) if out else nn.MaxPool2d(2))
        wide = out or wide
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, 10))


class Bottleneck(nn.Module):
    """A block of ResNet-50."""

    def __init__(self, wide: int, inner: int, stride: int) -> None:
        super().__init__()
        out = 4 * inner
        self.inside = nn.Sequential(conv(wide, inner, 1), conv(inner, inner, 3, stride), conv(inner, out, 1)[:2])
        self.across = conv(wide, out, 1, stride)[:2] if stride > 1 or wide != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, wide, H, W] to [N, 4 inner, H / stride, W / stride]."""
        return torch.relu(self.inside(x) + self.across(x))


def resnet50() -> nn.Sequential:
    """Return the shape of ResNet-50, 1,000 classes: 25.5 million weights."""
    layers, wide = [conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], 64
    for inner, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(blocks):
            layers.append(Bottleneck(wide, inner, 1 if i else stride))
            wide = 4 * inner
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, 1000))


NETWORKS = {"mobilenet": mobilenet, "vgg16": vgg16, "resnet50": resnet50}
"""The networks by name."""


if __name__ == "__main__":
    main()
