"""Feed-forward networks without time: perceptrons, LeNet-5, VGG-5 and VGG-16."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import Tensor, nn

from synobench.errors import BenchError
from synobench.params import NoParams
from synobench.stages import Stage, cut
from synobench_models.params import MLP, VGG5, ResidualMLP

Shape = tuple[int, int, int]

VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Channels of each convolution of VGG-16 (Simonyan and Zisserman 2015, column D); 0 is a pooling layer."""


class Perceptron(nn.Module):
    """Linear layers ``fc1``, ``fc2``, ... with ReLU between them; maps [N, C, H, W] to [N, classes]."""

    def __init__(self, sizes: tuple[int, ...], bias: bool) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        for i, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
            layers[f"fc{i}"] = nn.Linear(fan_in, fan_out, bias=bias)
            layers[f"relu{i}"] = nn.ReLU()
        layers.popitem()
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        for layer in self.children():
            x = layer(x)
        return x

    def stages(self) -> list[Stage]:
        """Return a linear layer with its ReLU, one after the other."""
        return cut(self.named_children())


class Layered(nn.Sequential):
    """A chain of modules that shows its stages: each begins with a convolution or a linear layer."""

    def stages(self) -> list[Stage]:
        """Return the stages."""
        return cut(self.named_children())


class ResidualPerceptron(nn.Module):
    """Linear layers of one width with skip connections around all but the first and the last of them.

    A layer inside maps x to x + act(W x + b) / sqrt(depth), or to act(W x + b) without skips; the first maps the image
    to act(W x + b), the last is linear.
    """

    def __init__(self, fan_in: int, classes: int, params: ResidualMLP) -> None:
        super().__init__()
        self.depth, self.scale = params.depth, params.depth**-0.5 if params.skip else 0.0
        self.flatten = nn.Flatten()
        widths = (fan_in, *[params.width] * (params.depth - 1), classes)
        for i, (a, b) in enumerate(pairwise(widths), start=1):
            layer = nn.Linear(a, b)
            with torch.no_grad():
                layer.weight.mul_(params.gain)
            self.add_module(f"fc{i}", layer)
        self.act: nn.Module = ACTIVATIONS[params.activation]()

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the logits [N, classes]."""
        for stage in self.stages():
            x = stage(x)
        return x

    def stages(self) -> list[Stage]:
        """Return a linear layer each, with its activation and its skip connection."""
        layers = [(f"fc{i}", self.get_submodule(f"fc{i}")) for i in range(1, self.depth + 1)]
        (first, opening), *inner, (last, head) = layers
        return [
            Stage(first, (self.flatten, opening, self.act)),
            *(Stage(name, (layer, self.act), self.scale) for name, layer in inner),
            Stage(last, (head,)),
        ]


ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}
"""Activations by name."""


def residual_mlp(params: ResidualMLP, shape: Shape, classes: int, _neuron: None = None) -> nn.Module:
    """Build a deep multilayer perceptron of one width."""
    c, h, w = shape
    return ResidualPerceptron(c * h * w, classes, params)


def mlp(params: MLP, shape: Shape, classes: int, _neuron: None = None) -> nn.Module:
    """Build a multilayer perceptron."""
    c, h, w = shape
    return Perceptron((c * h * w, *params.widths, classes), params.bias)


def lenet5(_params: NoParams, shape: Shape, classes: int, _neuron: None = None) -> nn.Module:
    """Build LeNet-5 in the variant of the pruning literature (Han et al. 2015): 20 and 50 maps, 500 units, ReLU.

    Raises:
        BenchError: the images are smaller than 16 x 16.
    """
    c, h, w = shape
    if min(h, w) < 16:
        raise BenchError(f"lenet5 needs images of at least 16x16, not {h}x{w}")
    side = (((h - 4) // 2 - 4) // 2) * (((w - 4) // 2 - 4) // 2)
    return Layered(
        OrderedDict(
            conv1=nn.Conv2d(c, 20, 5),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(20, 50, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(50 * side, 500),
            relu3=nn.ReLU(),
            fc2=nn.Linear(500, classes),
        )
    )


def vgg16(_params: NoParams, shape: Shape, classes: int, _neuron: None = None) -> nn.Module:
    """Build VGG-16 with batch norm after each convolution and one linear layer on the globally averaged maps.

    Raises:
        BenchError: the images are smaller than 32 x 32.
    """
    channels, h, w = shape
    if min(h, w) < 32:
        raise BenchError(f"vgg16 needs images of at least 32x32, not {h}x{w}")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    convolutions = pools = 0
    for width in VGG16:
        if width == 0:
            pools += 1
            layers[f"pool{pools}"] = nn.MaxPool2d(2)
            continue
        convolutions += 1
        layers[f"conv{convolutions}"] = nn.Conv2d(channels, width, 3, padding=1)
        layers[f"bn{convolutions}"] = nn.BatchNorm2d(width)
        layers[f"relu{convolutions}"] = nn.ReLU(inplace=True)
        channels = width
    layers |= {"mean": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(channels, classes)}
    return Layered(layers)


def vgg5(params: VGG5, shape: Shape, classes: int, _neuron: None = None) -> nn.Module:
    """Build VGG-5: four 3x3 convolutions, each with an activation and 2x2 pooling, and one linear layer.

    Raises:
        BenchError: the images are smaller than 16 x 16.
    """
    channels, h, w = shape
    if min(h, w) < 16:
        raise BenchError(f"vgg5 needs images of at least 16x16, not {h}x{w}")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, width in enumerate(params.widths, start=1):
        layers[f"conv{i}"] = nn.Conv2d(channels, width, 3, padding=1)
        layers[f"act{i}"] = ACTIVATIONS[params.activation]()
        layers[f"pool{i}"] = nn.MaxPool2d(2) if params.pool == "max" else nn.AvgPool2d(2)
        channels = width
    layers |= {"flatten": nn.Flatten(), "fc": nn.Linear(channels * (h // 16) * (w // 16), classes)}
    return Layered(layers)
