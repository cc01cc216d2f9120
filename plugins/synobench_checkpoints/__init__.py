"""Trained networks in public files: those that papers on one-shot pruning stand on. None of them is shipped.

Their digests are of the tensors, so that a file of safetensors with the same tensors is the same checkpoint. All three
were trained on every training image of their data set, those that the bench holds out for validation too: on them
validation accuracy is optimistic. Citations are keys of ``references.bib`` in this package.
"""

from __future__ import annotations

from collections.abc import Iterable

from synobench import CheckpointEntry, Rebuild, RemoteFile, hookimpl

_GITHUB = "https://raw.githubusercontent.com"
_PARALLEL = (r"^module\.", "")


@hookimpl
def synobench_checkpoints() -> Iterable[CheckpointEntry]:
    """Register the three checkpoints."""
    return (_resnet20_mfac(), _resnet20(), _mlpnet())


def _resnet20_mfac() -> CheckpointEntry:
    return CheckpointEntry(
        "resnet20-cifar10-mfac",
        summary="ResNet20 with convolutional shortcuts, of M-FAC, WoodFisher and CHITA; its batch norm is stale",
        citation="Frantar2021",
        file=RemoteFile(
            path="resnet20_cifar10.pth.tar",
            urls=tuple(f"{_GITHUB}/{r}/checkpoints/resnet20_cifar10.pth.tar" for r in _MFAC_HOMES),
            digest="sha256:e08b9b71ee33c3abad25588ed63999501673c02f7809364e27d965399e58bf8b",
            size=2_220_302,
        ),
        also=("resnet20-cifar10-mfac.safetensors",),
        dataset="cifar-10",
        model="resnet20[shortcut=conv]",
        digest="sha256:3b5a2e951536f853fbbde5617b42d5bea9e09ae6357f7598cabbde7ca262f1b6",
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        names=(_PARALLEL,),
        rebuild=Rebuild(),
        license="MIT",
        homepage="https://github.com/IST-DASLab/M-FAC",
    )


_MFAC_HOMES = ("IST-DASLab/M-FAC/master", "mazumder-lab/CHITA/main")


def _resnet20() -> CheckpointEntry:
    return CheckpointEntry(
        "resnet20-cifar10",
        summary="ResNet20 with identity shortcuts, as He et al. describe it; 91.73 % on the test images",
        citation="Idelbayev2018",
        file=RemoteFile(
            path="resnet20-12fca82f.th",
            urls=(f"{_GITHUB}/akamaster/pytorch_resnet_cifar10/master/pretrained_models/resnet20-12fca82f.th",),
            digest="sha256:12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8",
            size=1_099_231,
        ),
        also=("resnet20-cifar10-optionA.safetensors",),
        dataset="cifar-10",
        model="resnet20",
        digest="sha256:256ad6a851edb7beb6d0c6ca3c0269c381b19f3312f48146c1980eeb0e12b8ad",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        names=(_PARALLEL,),
        license="BSD-2-Clause",
        homepage="https://github.com/akamaster/pytorch_resnet_cifar10",
    )


def _mlpnet() -> CheckpointEntry:
    return CheckpointEntry(
        "mlpnet-mnist",
        summary="MLPNet, 784-40-20-10 without biases, of WoodFisher, CBS and CHITA; 93.97 % on the test images",
        citation="Benbaki2023",
        file=RemoteFile(
            path="mnist_25_epoch_93.97.ckpt",
            urls=(f"{_GITHUB}/mazumder-lab/CHITA/main/checkpoints/mnist_25_epoch_93.97.ckpt",),
            digest="sha256:56083559fe28b22bf9fac71134322d7c4fe55ea5f7d6eba30b4c300783900f12",
            size=390_621,
        ),
        also=("mlpnet-mnist.safetensors",),
        dataset="mnist",
        model="mlp-300-150-10[widths=40/20,bias=false]",
        digest="sha256:677feca3c69d78ba4d8b8d84b5244ee92c1199825dcc097b372c33f06b19fe89",
        mean=(0.1307,),
        std=(0.3081,),
        # Each layer lies beside a mask of ones, from training code that could prune.
        names=(_PARALLEL, (r"^.*\._weight_mask$", ""), (r"\._layer\.", ".")),
        inert=("torch.optim.sgd.SGD", "torch.optim.lr_scheduler.ExponentialLR"),
        license="none stated",
        homepage="https://github.com/mazumder-lab/CHITA",
    )
