"""The networks: sizes counted by hand, layers by name, checkpoints, and shortcuts that change no number."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import synobench_models
from synobench.entries import ModelEntry
from synobench.errors import BenchError
from synobench.neurons import LIF
from synobench.params import resolve
from synobench_models import temporal
from synobench_neurons.module import FusedLIF

ENTRIES: dict[str, ModelEntry] = {entry.name: entry for entry in synobench_models.synobench_models()}
SPIKING = [name for name, entry in ENTRIES.items() if entry.spiking]
MNIST, CIFAR, TINY = (1, 28, 28), (3, 32, 32), (3, 64, 64)


def build(name: str, shape: tuple[int, int, int] = CIFAR, classes: int = 10, **overrides: Any) -> nn.Module:
    entry = ENTRIES[name]
    params = resolve(entry.params, overrides, name)
    torch.manual_seed(0)
    neuron = (lambda: FusedLIF(LIF(threshold=0.3))) if entry.spiking else None
    model: nn.Module = entry.load()(params, shape, classes, neuron)
    return model


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


VGG16_CONVOLUTIONS = sum(
    9 * fan_in * width + 3 * width  # weights; bias, batch-norm scale and shift
    for fan_in, width in [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256)]
    + [(256, 512)]
    + 5 * [(512, 512)]
)
RESNET20 = 9 * (3 * 16 + 6 * 16 * 16 + 16 * 32 + 5 * 32 * 32 + 32 * 64 + 5 * 64 * 64) + 2 * (7 * 16 + 6 * 32 + 6 * 64)


@pytest.mark.parametrize(
    ("name", "shape", "overrides", "parameters"),
    [
        ("mlp-300-150-10", MNIST, {}, 784 * 300 + 300 + 300 * 150 + 150 + 150 * 10 + 10),
        ("mlp-300-150-10", MNIST, {"widths": "40/20", "bias": "false"}, 784 * 40 + 40 * 20 + 20 * 10),
        ("lenet5", MNIST, {}, 25 * 20 + 20 + 20 * 25 * 50 + 50 + 800 * 500 + 500 + 5000 + 10),
        ("mlp-residual", MNIST, {}, 784 * 128 + 128 + 8 * (128 * 128 + 128) + 1280 + 10),
        ("vgg5", CIFAR, {}, 27 * 32 + 9 * (32 * 64 + 64 * 128 + 128 * 128) + 352 + 5120 + 10),
        ("resnet20", CIFAR, {}, RESNET20 + 650),
        ("resnet20", CIFAR, {"shortcut": "conv"}, RESNET20 + 650 + 16 * 32 + 64 + 32 * 64 + 128),
        ("vgg16", CIFAR, {}, VGG16_CONVOLUTIONS + 5130),
        ("snn-vgg16", CIFAR, {}, 14_728_266),
        ("snn-mlp", MNIST, {}, 282_160),
        ("snn-conv", MNIST, {}, 9 * 16 + 16 + 9 * 16 * 32 + 32 + 32 * 49 * 10 + 10),
        ("snn-conv", MNIST, {"width": 32}, 9 * 32 + 32 + 9 * 32 * 64 + 64 + 64 * 49 * 10 + 10),
    ],
)
def test_parameters_counted_by_hand(name: str, shape: Any, overrides: dict[str, str], parameters: int) -> None:
    assert size(build(name, shape, **overrides)) == parameters


def test_a_skip_adds_to_its_input_and_the_gain_scales_the_weights() -> None:
    plain, skipped, strong = (build("mlp-residual", MNIST, **o) for o in ({"skip": "false"}, {}, {"gain": "1.5"}))
    x = torch.randn(2, *MNIST)
    first, inner = plain.get_submodule("fc1"), plain.get_submodule("fc2")
    held = nn.functional.gelu(first(x.flatten(1)))
    with torch.no_grad():
        assert torch.allclose(plain.stages()[1](held), nn.functional.gelu(inner(held)))  # type: ignore[operator]
        expected = held + nn.functional.gelu(skipped.get_submodule("fc2")(held)) / 10**0.5
        assert torch.allclose(skipped.stages()[1](held), expected)  # type: ignore[operator]
    assert torch.allclose(strong.get_parameter("fc3.weight"), 1.5 * plain.get_parameter("fc3.weight"))


def test_citations_are_in_the_plugins_references() -> None:
    references = (Path(synobench_models.__file__).parent / "references.bib").read_text(encoding="utf-8")
    assert [e.name for e in ENTRIES.values() if f"{{{e.citation}," not in references] == []


def test_the_figures_of_the_literature() -> None:
    assert size(build("resnet20")) == 269_722  # He et al. 2016, table 6: 0.27 M
    assert size(build("vgg16")) == 14_728_266
    assert size(build("lenet5", MNIST)) == 431_080
    assert size(build("snn-resnet18")) == 11_173_962
    assert size(build("mlp-300-150-10", MNIST)) == size(build("snn-mlp", MNIST)) == 282_160


SHAPES = [(name, shape) for name in ENTRIES for shape in (MNIST, CIFAR, (1, 8, 8))]
SHAPES += [(name, TINY) for name in ("vgg16", "snn-vgg16", "resnet20")]


@pytest.mark.parametrize("classes", [10, 7])
@pytest.mark.parametrize(("name", "shape"), SHAPES)
def test_shapes(name: str, shape: tuple[int, int, int], classes: int) -> None:
    small = {"lenet5": 16, "vgg5": 16, "vgg16": 32, "snn-vgg16": 32}.get(name, 0)
    if shape[1] < small:
        with pytest.raises(BenchError, match=f"{name} needs images of at least {small}x{small}, not {shape[1]}x"):
            build(name, shape, classes)
        return
    model = build(name, shape, classes).eval()
    with torch.no_grad():
        out = model(torch.randn(2, *shape))
    assert out.shape == ((4, 2, classes) if ENTRIES[name].spiking else (2, classes))
    assert bool(out.isfinite().all())


@pytest.mark.parametrize("name", SPIKING)
def test_spiking_networks_keep_time_and_learn_in_every_layer(name: str) -> None:
    shape = CIFAR if name == "snn-vgg16" else (3, 16, 16)
    model = build(name, shape, steps=3)
    assert model.steps == 3
    out = model(torch.randn(2, *shape) * 2)
    assert out.shape[0] == 3
    assert not torch.equal(out[0], out[2])
    out.square().sum().backward()
    for path, parameter in model.named_parameters():
        assert parameter.grad is not None, path
        # what stands before a batch norm has a zero gradient of its bias, but for rounding
        assert path.endswith("conv.bias") or float(parameter.grad.abs().max()) > 0, path


@pytest.mark.parametrize("name", SPIKING)
def test_the_number_of_neuron_layers(name: str) -> None:
    layers = [m for m in build(name).modules() if getattr(m, "spiking", False)]
    expected = {"snn-mlp": 2, "snn-conv": 2, "snn-vgg9": 8, "snn-vgg16": 13, "snn-resnet18": 17}
    assert len(layers) == expected[name]


class Plain(nn.Module):
    """The neuron without its shortcuts, as another backend's would be."""

    spiking = True

    def __init__(self, equation: LIF) -> None:
        super().__init__()
        self.inner = FusedLIF(equation)

    def forward(self, currents: Tensor) -> Tensor:
        out: Tensor = self.inner(currents)
        return out


@pytest.mark.parametrize(("name", "pool"), [("snn-conv", None), ("snn-vgg9", "average"), ("snn-vgg9", "max")])
def test_shortcuts_change_no_number(name: str, pool: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, found = (1, 16, 16), []
    used: list[str] = []
    for method in ("forward_constant", "forward_pooled"):
        plain = getattr(FusedLIF, method)
        monkeypatch.setattr(FusedLIF, method, lambda *a, m=method, f=plain, **k: used.append(m) or f(*a, **k))
    for kind in (FusedLIF, Plain):
        torch.manual_seed(0)
        params = resolve(ENTRIES[name].params, {} if pool is None else {"pool": pool}, name)
        model = ENTRIES[name].load()(params, shape, 10, lambda k=kind: k(LIF(threshold=0.3))).double()
        torch.manual_seed(1)
        out = model(torch.randn(3, *shape, dtype=torch.float64))
        out.square().sum().backward()
        found.append((out.detach(), [p.grad for p in model.parameters()]))
        if kind is FusedLIF:
            assert set(used) == ({"forward_constant"} if pool == "max" else {"forward_constant", "forward_pooled"})
            used.clear()
    assert not used
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-12, rtol=0)
    for ours, theirs in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)


def test_a_watched_module_is_called_as_itself() -> None:
    model = build("snn-conv", MNIST)
    image = torch.randn(2, *MNIST)
    plain, seen = model(image), {}
    for name, module in model.named_modules():
        if name in ("lif1", "pool1", "lif2", "pool2"):
            module.register_forward_hook(lambda _m, _a, out, n=name: seen.update({n: tuple(out.shape)}))
    assert torch.equal(model(image), plain)
    assert seen == {
        "lif1": (4, 2, 16, 28, 28),
        "pool1": (8, 16, 14, 14),
        "lif2": (4, 2, 32, 14, 14),
        "pool2": (8, 32, 7, 7),
    }


def test_odd_images_are_pooled_without_their_last_row() -> None:
    neuron, pool = FusedLIF(LIF(threshold=0.3)), nn.AvgPool2d(2)
    current = torch.randn(2, 3, 7, 6)
    spikes = temporal.fire_constant(neuron, current, 4, pool)
    assert torch.equal(spikes, temporal.over_time(pool, neuron(current.expand(4, *current.shape))))
    assert spikes.shape == (4, 2, 3, 3, 3)


def test_the_first_layer_is_computed_once() -> None:
    model, rows = build("snn-vgg9", (3, 16, 16)), {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _m, args, _out, n=name: rows.update({n: len(args[0])}))
    model(torch.randn(2, 3, 16, 16))
    assert rows.pop("features.0.conv") == 2
    assert set(rows.values()) == {8}


def test_resnet20_prunes_what_the_papers_prune() -> None:
    model = build("resnet20", shortcut="conv")
    patterns = ENTRIES["resnet20"].prunable
    weights = {n: p.numel() for n, p in model.named_parameters() if any(fnmatch(n, q) for q in patterns)}
    assert sum(weights.values()) == 268_336
    assert not any("downsample" in n or "bn" in n for n in weights)
    assert len(weights) == 20


# ------------------------------------------------------------------------------------------------ checkpoints


def checkpoint(name: str) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    named = os.environ.get("SYNOBENCH_CHECKPOINTS")
    if not named or not (Path(named) / name).is_file():
        pytest.skip(f"SYNOBENCH_CHECKPOINTS holds no {name}")
    tensors: dict[str, Tensor] = load_file(Path(named) / name)
    return tensors


def cifar(mean: tuple[float, ...], std: tuple[float, ...], count: int) -> tuple[Tensor, Tensor]:
    """Return held-out training images of CIFAR-10, normalised, and their labels."""
    import synobench_datasets
    from synobench.data import open_dataset
    from synobench.layouts import status

    entry = next(e for e in synobench_datasets.synobench_datasets() if e.name == "cifar-10")
    named = os.environ.get("SYNOBENCH_DATA")
    if not named or status(entry, Path(named)).state == "absent":
        pytest.skip("SYNOBENCH_DATA holds no CIFAR-10")
    view = open_dataset(entry, named, offline=True).validation
    pixels = torch.as_tensor(view.images[:count]).float() / 255
    scaled = (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    return scaled, torch.as_tensor(view.labels[:count]).long()


@pytest.mark.parametrize(
    ("file", "name", "shape", "overrides"),
    [
        ("resnet20-cifar10-optionA.safetensors", "resnet20", CIFAR, {}),
        ("resnet20-cifar10-mfac.safetensors", "resnet20", CIFAR, {"shortcut": "conv"}),
        ("mlpnet-mnist.safetensors", "mlp-300-150-10", MNIST, {"widths": "40/20", "bias": "false"}),
    ],
)
def test_checkpoints_load_strictly(file: str, name: str, shape: Any, overrides: dict[str, str]) -> None:
    model, tensors = build(name, shape, **overrides), checkpoint(file)
    model.load_state_dict(tensors, strict=True)
    learnt = {n for n in tensors if not n.endswith(("running_mean", "running_var", "num_batches_tracked"))}
    assert learnt == {n for n, _ in model.named_parameters()}


def test_resnet20_with_identity_shortcuts_recognises_images() -> None:
    model = build("resnet20").eval()
    model.load_state_dict(checkpoint("resnet20-cifar10-optionA.safetensors"))
    images, labels = cifar((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 200)
    with torch.no_grad():
        assert float((model(images).argmax(1) == labels).float().mean()) > 0.95  # it was trained on them


def test_resnet20_with_convolutional_shortcuts_recognises_images() -> None:
    model = build("resnet20", shortcut="conv").train()  # its stored statistics are stale: the batch's own serve
    model.load_state_dict(checkpoint("resnet20-cifar10-mfac.safetensors"))
    images, labels = cifar((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), 200)
    with torch.no_grad():
        assert float((model(images).argmax(1) == labels).float().mean()) > 0.95
