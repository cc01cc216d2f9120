"""The bench's networks, ordinary and spiking."""

from __future__ import annotations

from collections.abc import Iterable

from synobench.entries import ModelEntry
from synobench.hookspecs import hookimpl
from synobench_models.params import (
    MLP,
    VGG5,
    ResidualMLP,
    ResNet20,
    SpikingConv,
    SpikingMLP,
    SpikingResNet,
    SpikingVGG,
)

_RESNET20 = ("conv1.weight", "layer*.conv?.weight", "linear.weight", "fc.weight")


@hookimpl
def synobench_models() -> Iterable[ModelEntry]:
    """Register the ordinary and the spiking networks."""
    return (*_ordinary(), *_spiking())


def _ordinary() -> tuple[ModelEntry, ...]:
    return (
        ModelEntry(
            "mlp-300-150-10",
            summary="multilayer perceptron with ReLU, 784-300-150-10 on MNIST",
            citation="LeCun1998",
            params=MLP,
            run="synobench_models.ordinary:mlp",
        ),
        ModelEntry(
            "mlp-residual",
            summary="ten linear layers of 128 units with GELU, with or without skip connections",
            citation="He2016",
            params=ResidualMLP,
            run="synobench_models.ordinary:residual_mlp",
        ),
        ModelEntry(
            "lenet5",
            summary="LeNet-5 as pruning papers use it (20-50-500, max pooling, ReLU; 431,080 parameters on MNIST)",
            citation="LeCun1998",
            run="synobench_models.ordinary:lenet5",
        ),
        ModelEntry(
            "resnet20",
            summary="ResNet of 20 layers for CIFAR",
            citation="He2016",
            params=ResNet20,
            run="synobench_models.resnet:resnet20",
            prunable=_RESNET20,
        ),
        ModelEntry(
            "vgg5",
            summary="VGG-5 of predictive coding: four 3x3 convolutions with pooling, one linear layer, no batch norm",
            citation="Simonyan2015",
            params=VGG5,
            run="synobench_models.ordinary:vgg5",
        ),
        ModelEntry(
            "vgg16",
            summary="VGG-16 with batch norm and one linear layer, for images of 32x32 and more",
            citation="Simonyan2015",
            run="synobench_models.ordinary:vgg16",
        ),
    )


def _spiking() -> tuple[ModelEntry, ...]:
    return (
        ModelEntry(
            "snn-mlp",
            summary="spiking multilayer perceptron, 784-300-150-10 on MNIST",
            citation="Neftci2019",
            params=SpikingMLP,
            run="synobench_models.spiking:mlp",
            spiking=True,
        ),
        ModelEntry(
            "snn-conv",
            summary="two 3x3 convolutions (16 and 32 channels), average pooling, a linear head",
            citation="Neftci2019",
            params=SpikingConv,
            run="synobench_models.spiking:conv",
            spiking=True,
        ),
        ModelEntry(
            "snn-vgg9",
            summary="spiking VGG-9: seven 3x3 convolutions with batch norm, two linear layers",
            citation="Lee2020",
            params=SpikingVGG,
            run="synobench_models.spiking:vgg9",
            spiking=True,
        ),
        ModelEntry(
            "snn-vgg16",
            summary="spiking VGG-16: thirteen 3x3 convolutions with batch norm, one linear layer",
            citation="Simonyan2015",
            params=SpikingVGG,
            run="synobench_models.spiking:vgg16",
            spiking=True,
        ),
        ModelEntry(
            "snn-resnet18",
            summary="spiking ResNet-18 for CIFAR; currents are added before the neuron, so that spikes stay binary",
            citation="Zheng2021",
            params=SpikingResNet,
            run="synobench_models.spiking_resnet:resnet18",
            spiking=True,
        ),
    )
