"""The parameters of the built-in networks."""

from __future__ import annotations

from dataclasses import dataclass

from synobench.params import param


@dataclass(frozen=True)
class MLP:
    """Parameters of a multilayer perceptron."""

    widths: tuple[int, ...] = param((300, 150), low=1, doc="hidden layers' widths, as 300/150")
    bias: bool = param(True, doc="whether the layers have biases")


@dataclass(frozen=True)
class ResidualMLP:
    """Parameters of a deep multilayer perceptron of one width."""

    depth: int = param(10, low=3, doc="linear layers")
    width: int = param(128, low=1, doc="units of each hidden layer")
    activation: str = param("gelu", choices=("relu", "gelu", "tanh"), doc="of every hidden layer")
    skip: bool = param(True, doc="whether hidden layers have skip connections, x + act(W x) / sqrt(depth)")
    gain: float = param(1.0, low=0.0, doc="what the initial weights are multiplied by")


@dataclass(frozen=True)
class VGG5:
    """Parameters of VGG-5."""

    widths: tuple[int, int, int, int] = param((32, 64, 128, 128), low=1, doc="channels of the convolutions")
    activation: str = param("relu", choices=("relu", "gelu", "tanh"), doc="of every convolution")
    pool: str = param("max", choices=("max", "average"), doc="how maps are pooled")


@dataclass(frozen=True)
class ResNet20:
    """Parameters of the CIFAR ResNet of 20 layers."""

    shortcut: str = param(
        "identity", choices=("identity", "conv"), doc="where the shape changes: subsample and pad, or a 1x1 convolution"
    )


@dataclass(frozen=True)
class SpikingMLP:
    """Parameters of a spiking multilayer perceptron."""

    widths: tuple[int, ...] = param((300, 150), low=1, doc="hidden layers' widths, as 300/150")
    steps: int = param(4, low=1, doc="time steps T that the image is shown for")


@dataclass(frozen=True)
class SpikingConv:
    """Parameters of the small spiking convolutional network."""

    width: int = param(16, low=1, doc="channels of the first convolution; the second has twice as many")
    steps: int = param(4, low=1, doc="time steps T that the image is shown for")


@dataclass(frozen=True)
class SpikingVGG:
    """Parameters of a spiking VGG."""

    steps: int = param(4, low=1, doc="time steps T that the image is shown for")
    pool: str = param("average", choices=("average", "max"), doc="how spikes are pooled")


@dataclass(frozen=True)
class SpikingResNet:
    """Parameters of a spiking ResNet."""

    steps: int = param(4, low=1, doc="time steps T that the image is shown for")
