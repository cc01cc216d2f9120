"""ResNet-20 for CIFAR (He et al. 2016, section 4.2), its layers named as in the checkpoints in circulation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from synobench.stages import Stage
from synobench_models.params import ResNet20


class Subsample(nn.Module):
    """Shortcut A: every second pixel, and as many zero channels on either side as are missing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, channels, H/2, W/2]."""
        missing = self.channels - x.shape[1]
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, missing // 2, missing - missing // 2))


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, and a shortcut around them."""

    def __init__(self, fan_in: int, width: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(fan_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 and shortcut == "conv":
            self.downsample = nn.Sequential(nn.Conv2d(fan_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        elif stride > 1:
            self.downsample = Subsample(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, fan_in, H, W] to [N, width, H/stride, W/stride]."""
        inner = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.relu(self.bn2(self.conv2(inner)) + self.downsample(x))
        return out


class ResNet(nn.Module):
    """A 3x3 convolution, three layers of three blocks (16, 32, 64 channels), global average, one linear layer.

    The last layer is called ``linear`` with identity shortcuts and ``fc`` with convolutional ones.
    """

    def __init__(self, channels: int, classes: int, shortcut: str) -> None:
        super().__init__()
        self.head = "fc" if shortcut == "conv" else "linear"
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _layer(16, 16, 1, shortcut)
        self.layer2 = _layer(16, 32, 2, shortcut)
        self.layer3 = _layer(32, 64, 2, shortcut)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.add_module(self.head, nn.Linear(64, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, classes]."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.mean(self.layer3(self.layer2(self.layer1(x)))).flatten(1)
        logits: Tensor = self.get_submodule(self.head)(x)
        return logits

    def stages(self) -> list[Stage]:
        """Return the stem, a block each, and the head with the average before it."""
        blocks = [
            Stage(f"layer{i}.{name}", (block,), run=block)
            for i in (1, 2, 3)
            for name, block in self.get_submodule(f"layer{i}").named_children()
        ]
        head = (self.mean, nn.Flatten(), self.get_submodule(self.head))
        return [Stage("conv1", (self.conv1, self.bn1, self.relu)), *blocks, Stage(self.head, head)]


def _layer(fan_in: int, width: int, stride: int, shortcut: str) -> nn.Sequential:
    rest = (Block(width, width, 1, shortcut) for _ in range(2))
    return nn.Sequential(Block(fan_in, width, stride, shortcut), *rest)


def resnet20(params: ResNet20, shape: tuple[int, int, int], classes: int, _neuron: None = None) -> nn.Module:
    """Build ResNet-20 (269,722 parameters with identity shortcuts and 10 classes), weights after He et al. 2015."""
    model = ResNet(shape[0], classes, params.shortcut)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)
    return model
