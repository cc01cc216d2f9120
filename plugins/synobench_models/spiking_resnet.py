"""Spiking ResNet-18 for CIFAR: the residual network of He et al. 2016 with neurons for ReLU.

As in Zheng et al. 2021 the shortcut joins the currents *before* the neuron, so that every layer's output is binary; the
batch norm is the ordinary one over T * N (their threshold-dependent scale is 1 at threshold 1).  The stem is a 3x3
convolution without pooling, as is usual for images of 32x32.
"""

from __future__ import annotations

from torch import Tensor, nn

from synobench.errors import BenchError
from synobench.stages import Stage
from synobench_models.params import SpikingResNet
from synobench_models.temporal import NeuronFactory, channels_last, fire, fire_constant, over_time

WIDTHS = (64, 128, 256, 512)
"""Channels of the four layers, two blocks each."""


class SpikingBlock(nn.Module):
    """conv - bn - LIF - conv - bn, the shortcut's current added, LIF."""

    def __init__(self, fan_in: int, width: int, stride: int, neuron: NeuronFactory) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(fan_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.lif1 = neuron()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or fan_in != width:
            self.downsample = nn.Sequential(nn.Conv2d(fan_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.lif2 = neuron()

    def forward(self, spikes: Tensor) -> Tensor:
        """Map spikes [T, N, fan_in, H, W] to spikes [T, N, width, H/stride, W/stride]."""
        inner = fire(self.lif1, over_time(self.bn1, over_time(self.conv1, spikes)))
        current = over_time(self.bn2, over_time(self.conv2, inner))
        return fire(self.lif2, current + over_time(self.downsample, spikes))


class SpikingResNet18(nn.Module):
    """Stem, four layers of two blocks, global average, a linear head."""

    def __init__(self, channels: int, classes: int, steps: int, neuron: NeuronFactory) -> None:
        super().__init__()
        self.steps = steps
        self.conv1 = nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.lif1 = neuron()
        blocks, fan_in = [], WIDTHS[0]
        for width in WIDTHS:
            blocks += [SpikingBlock(fan_in, width, 1 if width == fan_in else 2, neuron)]
            blocks += [SpikingBlock(width, width, 1, neuron)]
            fan_in = width
        self.blocks = nn.ModuleList(blocks)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(WIDTHS[-1], classes)

    def forward(self, image: Tensor) -> Tensor:
        """Map [N, C, H, W] to [T, N, classes]."""
        spikes = fire_constant(self.lif1, self.bn1(self.conv1(channels_last(image))), self.steps)
        for block in self.blocks:
            spikes = block(spikes)
        return over_time(self.fc, over_time(self.mean, spikes).flatten(2))

    def stages(self) -> list[Stage]:
        """Return the stem, a block each, and the head with the average before it."""

        def stem(image: Tensor) -> Tensor:
            return fire_constant(self.lif1, self.bn1(self.conv1(channels_last(image))), self.steps)

        def head(spikes: Tensor) -> Tensor:
            return over_time(self.fc, over_time(self.mean, spikes).flatten(2))

        blocks = [Stage(f"blocks.{name}", (block,), run=block) for name, block in self.blocks.named_children()]
        opening = Stage("conv1", (self.conv1, self.bn1, self.lif1), run=stem)
        return [opening, *blocks, Stage("fc", (self.mean, self.fc), run=head)]


def resnet18(params: SpikingResNet, shape: tuple[int, int, int], classes: int, neuron: NeuronFactory) -> nn.Module:
    """Build the spiking ResNet-18.

    Raises:
        BenchError: the images are smaller than 8 x 8.
    """
    if min(shape[1:]) < 8:
        raise BenchError(f"snn-resnet18 needs images of at least 8x8, not {shape[1]}x{shape[2]}")
    return SpikingResNet18(shape[0], classes, params.steps, neuron)
