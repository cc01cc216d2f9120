"""Spiking networks under direct coding: the image is a constant input current for T steps.

Each maps an image [N, C, H, W] to currents [T, N, classes] of a linear head without neurons.  The first layer sees
the same image in every step, so it is computed once (its batch norm then counts N, not T * N, samples in the one factor
n / (n - 1) of the running variance).
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from synobench.errors import BenchError
from synobench.stages import Stage
from synobench_models.ordinary import VGG16, Shape
from synobench_models.params import SpikingConv, SpikingMLP, SpikingVGG
from synobench_models.temporal import NeuronFactory, channels_last, fire, fire_constant, over_time

VGG9 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0)
"""Channels of each convolution of the VGG-9 of Lee et al. 2020; 0 is a pooling layer."""


class SpikingPerceptron(nn.Module):
    """Linear layers ``fc1``, ``fc2``, ... with neurons ``lif1``, ... between them."""

    def __init__(self, sizes: tuple[int, ...], steps: int, neuron: NeuronFactory) -> None:
        super().__init__()
        self.steps, self.depth = steps, len(sizes) - 1
        for i, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
            self.add_module(f"fc{i}", nn.Linear(fan_in, fan_out))
            if i < self.depth:
                self.add_module(f"lif{i}", neuron())

    def forward(self, image: Tensor) -> Tensor:
        """Map [N, C, H, W] to [T, N, classes]."""
        current = self.get_submodule("fc1")(image.flatten(1))
        spikes = fire_constant(self.get_submodule("lif1"), current, self.steps)
        for i in range(2, self.depth):
            spikes = fire(self.get_submodule(f"lif{i}"), over_time(self.get_submodule(f"fc{i}"), spikes))
        return over_time(self.get_submodule(f"fc{self.depth}"), spikes)

    def stages(self) -> list[Stage]:
        """Return a linear layer with its neurons each, and the head."""
        pairs = [(f"fc{i}", self.get_submodule(f"fc{i}"), self.get_submodule(f"lif{i}")) for i in range(1, self.depth)]
        (name, layer, lif), *rest = pairs
        opening = Stage(name, (layer, lif), run=lambda x: fire_constant(lif, layer(x.flatten(1)), self.steps))
        head = self.get_submodule(f"fc{self.depth}")
        inner = [Stage(n, (fc, neuron), run=partial(_fired, fc, neuron)) for n, fc, neuron in rest]
        return [opening, *inner, Stage(f"fc{self.depth}", (head,))]


class SpikingConvNet(nn.Module):
    """conv 3x3 - LIF - average pool - conv 3x3 - LIF - average pool - linear."""

    def __init__(self, shape: Shape, classes: int, width: int, steps: int, neuron: NeuronFactory) -> None:
        super().__init__()
        channels, h, w = shape
        self.steps = steps
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.lif1 = neuron()
        self.pool1 = nn.AvgPool2d(2)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.lif2 = neuron()
        self.pool2 = nn.AvgPool2d(2)
        self.fc = nn.Linear(2 * width * (h // 4) * (w // 4), classes)

    def forward(self, image: Tensor) -> Tensor:
        """Map [N, C, H, W] to [T, N, classes]."""
        current = channels_last(self.conv1(channels_last(image)))
        spikes = fire_constant(self.lif1, current, self.steps, self.pool1)
        spikes = fire(self.lif2, over_time(self.conv2, spikes), self.pool2)
        return over_time(self.fc, spikes.flatten(2))

    def stages(self) -> list[Stage]:
        """Return a convolution with its neurons and pooling each, and the head."""

        def opening(image: Tensor) -> Tensor:
            return fire_constant(self.lif1, channels_last(self.conv1(channels_last(image))), self.steps, self.pool1)

        def second(spikes: Tensor) -> Tensor:
            return fire(self.lif2, over_time(self.conv2, spikes), self.pool2)

        def head(spikes: Tensor) -> Tensor:
            return over_time(self.fc, spikes.flatten(2))

        return [
            Stage("conv1", (self.conv1, self.lif1, self.pool1), run=opening),
            Stage("conv2", (self.conv2, self.lif2, self.pool2), run=second),
            Stage("fc", (self.fc,), run=head),
        ]


class Convolution(nn.Module):
    """conv 3x3 - batch norm over T * N - LIF, and a pooling layer where one follows."""

    def __init__(self, fan_in: int, width: int, neuron: NeuronFactory) -> None:
        super().__init__()
        self.conv = nn.Conv2d(fan_in, width, 3, padding=1)
        self.bn = nn.BatchNorm2d(width)
        self.lif = neuron()
        self.pool: nn.Module | None = None

    def forward(self, spikes: Tensor) -> Tensor:
        """Map spikes [T, N, fan_in, H, W] to spikes [T, N, width, ...]."""
        return fire(self.lif, over_time(self.bn, over_time(self.conv, spikes)), self.pool)

    def first(self, image: Tensor, steps: int) -> Tensor:
        """Map an image [N, fan_in, H, W] shown for `steps` steps to spikes [T, N, width, ...]."""
        return fire_constant(self.lif, self.bn(self.conv(channels_last(image))), steps, self.pool)


class SpikingVGGNet(nn.Module):
    """Stages of convolutions, then linear layers on the flattened or globally averaged maps."""

    def __init__(self, stages: list[Convolution], steps: int, tail: list[nn.Module]) -> None:
        super().__init__()
        self.steps = steps
        self.features = nn.ModuleList(stages)
        self.tail = nn.ModuleList(tail)

    def forward(self, image: Tensor) -> Tensor:
        """Map [N, C, H, W] to [T, N, classes]."""
        first, *rest = self.features.children()
        assert isinstance(first, Convolution)
        spikes = first.first(image, self.steps)
        for stage in rest:
            spikes = stage(spikes)
        return _through(tuple(self.tail), spikes)

    def stages(self) -> list[Stage]:
        """Return a convolution with its neurons and pooling each, then the linear layers."""
        first, *rest = self.features.named_children()
        opening: Convolution = first[1]  # type: ignore[assignment]
        shown = [Stage(f"features.{first[0]}.conv", (opening,), run=partial(opening.first, steps=self.steps))]
        shown += [Stage(f"features.{name}.conv", (module,), run=module) for name, module in rest]
        part: list[nn.Module] = []
        for name, layer in self.tail.named_children():
            part.append(layer)
            if getattr(layer, "spiking", False) or layer is self.tail[-1]:
                run = partial(_through, tuple(part))
                shown.append(Stage(f"tail.{name}", tuple(part), run=run))
                part = []
        return shown


def _fired(layer: nn.Module, neuron: nn.Module, spikes: Tensor) -> Tensor:
    return fire(neuron, over_time(layer, spikes))


def _through(layers: tuple[nn.Module, ...], spikes: Tensor) -> Tensor:
    for layer in layers:
        spikes = fire(layer, spikes) if getattr(layer, "spiking", False) else over_time(layer, spikes)
    return spikes


def _features(widths: tuple[int, ...], channels: int, pool: str, neuron: NeuronFactory) -> list[Convolution]:
    stages: list[Convolution] = []
    for width in widths:
        if width == 0:
            stages[-1].pool = nn.AvgPool2d(2) if pool == "average" else nn.MaxPool2d(2)
        else:
            stages.append(Convolution(channels, width, neuron))
            channels = width
    return stages


def _at_least(name: str, shape: Shape, side: int) -> None:
    if min(shape[1:]) < side:
        raise BenchError(f"{name} needs images of at least {side}x{side}, not {shape[1]}x{shape[2]}")


def mlp(params: SpikingMLP, shape: Shape, classes: int, neuron: NeuronFactory) -> nn.Module:
    """Build a spiking multilayer perceptron."""
    c, h, w = shape
    return SpikingPerceptron((c * h * w, *params.widths, classes), params.steps, neuron)


def conv(params: SpikingConv, shape: Shape, classes: int, neuron: NeuronFactory) -> nn.Module:
    """Build the small convolutional network.

    Raises:
        BenchError: the images are smaller than 4 x 4.
    """
    _at_least("snn-conv", shape, 4)
    return SpikingConvNet(shape, classes, params.width, params.steps, neuron)


def vgg9(params: SpikingVGG, shape: Shape, classes: int, neuron: NeuronFactory) -> nn.Module:
    """Build VGG-9 (Lee et al. 2020, with batch norm): three groups of convolutions, a spiking layer of 1024, the head.

    Raises:
        BenchError: the images are smaller than 8 x 8.
    """
    _at_least("snn-vgg9", shape, 8)
    stages = _features(VGG9, shape[0], params.pool, neuron)
    flat = 256 * (shape[1] // 8) * (shape[2] // 8)
    tail = [nn.Flatten(), nn.Linear(flat, 1024), neuron(), nn.Linear(1024, classes)]
    return SpikingVGGNet(stages, params.steps, tail)


def vgg16(params: SpikingVGG, shape: Shape, classes: int, neuron: NeuronFactory) -> nn.Module:
    """Build VGG-16 with batch norm and one linear layer on the globally averaged maps.

    Raises:
        BenchError: the images are smaller than 32 x 32.
    """
    _at_least("snn-vgg16", shape, 32)
    stages = _features(VGG16, shape[0], params.pool, neuron)
    return SpikingVGGNet(stages, params.steps, [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes)])
