"""Block CHITA on networks of 4 to 26 million weights: seconds and memory of the pruner itself, by groups of tensors.

Run as a script; see CHITA.md beside it. Weights, images and labels are random, and no row is dropped (`--drop`):
the solver takes all of them. The pruner is lent no more memory for gradients than `--hold`, and goes through groups of
whole tensors: their gradients are computed, their blocks solved, the gradients let go.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from synobench.cost import Meter
from synobench.feed import Feed
from synobench.gradients import SampleGradients
from synobench.workbench import Target, Tools, Workbench
from synobench_chita.params import Chita
from synobench_chita.pruner import SingleStage


def main() -> None:
    """Prune one network by the pruner and print one JSON object a group, and one for the whole."""
    options = _options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = NETWORKS[options.network]()
    feed = images(options.samples, options.side, list(model.modules())[-1].out_features)
    normalised(model, feed)
    patterns = [name for name, p in model.named_parameters() if p.dim() > 1]
    lent: Any = None
    tools = Tools(feed, feed, 0, 128, patterns, Meter(), lent, lent, lent, lambda _: None)
    bench = Timed(model, tools, Target("sparsity", options.sparsity))
    asked = Chita(
        variant="bso-block",
        block=options.block,
        samples=options.samples,
        screen=1.0,
        ridge=str(options.ridge),
        drop=options.drop,
        memory=options.hold,
    )
    begun, wall = time.process_time(), time.perf_counter()
    proposal = SingleStage(asked).prune(bench)
    whole = time.process_time() - begun
    assert all(bool(value.isfinite().all()) for value in proposal.tensors.values())
    told = proposal.measurements
    print(
        json.dumps(
            {
                "network": options.network,
                "weights": sum(mask.numel() for mask in proposal.masks.values()),
                "kept": int(told["k"]),
                "samples": options.samples,
                "groups": int(told["groups"]),
                "gradients": round(bench.seconds, 2),
                "solver": round(whole - bench.seconds, 2),
                "wall": round(time.perf_counter() - wall, 2),
                "objective_over_magnitudes": round(told["objective"] / told["objective_magnitude"], 4),
                "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
                "gflops": gflops(options.threads),
            }
        )
    )


class Timed(Workbench):
    """A workbench that tells what its gradients take."""

    seconds = 0.0

    def sample_gradients(self, *args: Any, **more: Any) -> SampleGradients:
        """Compute gradients, add up the processor's seconds, and print one JSON object."""
        begun = time.process_time()
        found = super().sample_gradients(*args, **{**more, "kept": False})
        self.seconds += time.process_time() - begun
        weights, rows = found.matrix.shape
        told = {"tensors": len(found.spans), "weights": weights, "rows": rows, "gb": round(weights * rows * 4e-9, 2)}
        print(json.dumps({**told, "gradients_so_far": round(self.seconds, 2)}), flush=True)
        return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=tuple(NETWORKS))
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--sparsity", type=float, default=0.8)
    parser.add_argument("--ridge", type=float, default=1e-4)
    parser.add_argument("--drop", type=float, default=0.0, help="as the pruner's; 0 keeps every row")
    parser.add_argument("--block", type=int, default=500)
    parser.add_argument("--side", type=int, default=32, help="images are this many pixels high and wide")
    parser.add_argument("--hold", type=float, default=4.0, help="GB of gradients at once")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


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
