"""Checkpoints as parents: read without running what a file says, known by their tensors, batch norm made good."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from synobench import checkpoints, networks, seeds
from synobench.entries import CheckpointEntry, Rebuild
from synobench.errors import BenchError
from synobench.feed import Feed
from synobench.jobs import Job
from synobench.store import document, write_atomically
from synobench.tensors import digest, save_tree

Tensors = Mapping[str, Tensor]

_STRANGE = re.compile(r"Unsupported global: GLOBAL (\S+) ")
"""How torch names what it does not run."""


class _Inert:
    """Stands in for a class that a pickled file names: it takes what it is given and keeps nothing."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def read(entry: CheckpointEntry, path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint's file under the model's names.

    Raises:
        BenchError: the file cannot be read without running its code, or its tensors have another digest.
    """
    try:
        held = load_file(path) if path.suffix == ".safetensors" else _unpickled(entry, path)
    except Exception as error:
        raise BenchError(f"checkpoint {entry.name}: {path} cannot be read: {_cause(error)}") from error
    tensors = {new: value for old, value in held.items() if (new := _renamed(old, entry.names))}
    if (found := digest(tensors)) != entry.digest:
        raise BenchError(
            f"checkpoint {entry.name}: the tensors of {path} give {found}, not {entry.digest}; "
            f"delete it and fetch it again, from {', '.join(entry.file.urls)}"
        )
    return tensors


def _cause(error: Exception) -> str:
    if found := _STRANGE.search(str(error)):
        told = f"it names {found[1]}, and nothing that a file names is run"
        return f"{told}; an entry may list under 'inert' what is to be passed over"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _unpickled(entry: CheckpointEntry, path: Path) -> Tensors:
    """Read a pickled file by torch's closed list of types, and return the mapping that holds most tensors."""
    with torch.serialization.safe_globals([(_Inert, name) for name in entry.inert]):
        tree = torch.load(path, map_location="cpu", weights_only=True)
    return max(_mappings(tree), key=len, default={})


def _mappings(tree: Any) -> Iterator[Tensors]:
    """Yield the tree itself and what lies directly in it, where these are mappings of names to tensors."""
    for node in (tree, *(tree.values() if isinstance(tree, Mapping) else ())):
        if isinstance(node, Mapping) and node and all(isinstance(value, Tensor) for value in node.values()):
            yield node


def _renamed(name: str, names: tuple[tuple[str, str], ...]) -> str:
    for pattern, new in names:
        name = re.sub(pattern, new, name)
    return name


def adopt(job: Job, folder: Path) -> None:
    """Make the parent out of the checkpoint that a job's inputs name, and keep it as a trained one is kept."""
    told = job.facts["parent"]["checkpoint"]
    found = job.registry.find("checkpoint", told["name"])
    entry = found.entry
    assert isinstance(entry, CheckpointEntry)
    with job.stage.at("checkpoint", found):
        tensors = read(entry, checkpoints.bring(entry, bool(job.facts.get("offline"))))
    with job.stage.at("build"):
        model = networks.build({**job.facts["parent"], "seed": 0}, job.registry, job.device)
        fill(model, tensors, entry.name)
    if told["rebuild"] is not None:
        black = [-mean / std for mean, std in zip(told["mean"], told["std"], strict=True)]
        with job.stage.at("rebuild", found), job.meter.watch(model), job.meter.phase("train"):
            rebuild(model, job.training, Rebuild(**told["rebuild"]), black)
    save_tree(folder / "weights.safetensors", {"model": model.state_dict(), "masks": {}, "state": {}})
    facts = {
        "inputs": job.facts["parent"],
        "cost": job.meter.as_dict(),
        "curve": [],
        "measurements": {},
        "shared": {},
        "weights": digest(model.state_dict()),
        "device": job.device,
        "plugins": {name: {"digest": source} for name, (_, _, source) in job.plugins.items()},
        "resumed": False,
        "yardstick": job.facts.get("yardstick"),
    }
    write_atomically(folder / "parent.json", document(facts).encode())


def fill(model: nn.Module, tensors: Tensors, name: str) -> None:
    """Load tensors into a network; counters of batches may be missing, nothing else may.

    Raises:
        BenchError: a tensor is missing, is unknown to the network, or has another shape.
    """
    own = model.state_dict()
    wrong = [n for n in own if n not in tensors and not n.endswith("num_batches_tracked")]
    wrong += [n for n, value in tensors.items() if n not in own or own[n].shape != value.shape]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise BenchError(f"checkpoint {name} does not fit its model: {wrong[0]}{more} is missing, unknown or misshapen")
    model.load_state_dict(tensors, strict=False)


@torch.no_grad()
def rebuild(model: nn.Module, feed: Feed, how: Rebuild, black: list[float]) -> None:
    """Renew batch-norm statistics by one pass in training mode; each module's mode is as it was afterwards.

    Args:
        model: its running statistics are updated in place, by the momentum that they have.
        feed: the training split.
        how: order, crops and mirrors, all drawn from its own seed.
        black: by channel, what a black pixel is as an input; it stands around an image before it is cropped.
    """
    draws = seeds.generator(how.seed, "rebuild", 0)
    edge = torch.tensor(black, dtype=torch.float32, device=feed.device).view(1, -1, 1, 1)
    modes = [(module, module.training) for module in model.modules()]
    model.train()
    try:
        for inputs, _ in feed.batches(how.batch, torch.randperm(len(feed), generator=draws)):
            model(_augmented(inputs - edge, how, draws) + edge)
    finally:
        for module, mode in modes:
            module.training = mode


def _augmented(images: Tensor, how: Rebuild, draws: torch.Generator) -> Tensor:
    """Crop each image [N, C, H, W] out of its zero-padded self at a place of its own, and mirror about half."""
    n, _, height, width = images.shape
    top, left = torch.randint(0, 2 * how.margin + 1, (2, n, 1), generator=draws).to(images.device)
    rows = top + torch.arange(height, device=images.device)
    columns = left + torch.arange(width, device=images.device)
    if how.flip:
        mirrored = torch.rand(n, 1, generator=draws).to(images.device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    padded = F.pad(images, (how.margin,) * 4)
    each = torch.arange(n, device=images.device)
    # Two dimensions indexed around a sliced one come first: [N, H, W, C].
    return padded[each[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
