"""Feed-forward networks without time: the perceptron, LeNet-5 and VGG-16."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

from torch import Tensor, nn

from synobench.errors import BenchError
from synobench.params import NoParams
from synobench_models.params import MLP

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
    return nn.Sequential(
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
    return nn.Sequential(layers)
