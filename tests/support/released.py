"""A tiny checkpoint of the digits data: its file, in any form, and the plugin that registers it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from synobench import CheckpointEntry, RemoteFile
from synobench.tensors import digest

WIDTH = 12
ADDRESS = "http://127.0.0.1:9/tiny.pth.tar"

PLUGIN = """
from synobench import CheckpointEntry, Rebuild, RemoteFile, hookimpl

@hookimpl
def synobench_checkpoints():
    yield CheckpointEntry(
        "tiny",
        summary="a perceptron of the digits data",
        file=RemoteFile("tiny.pth.tar", ("http://127.0.0.1:9/tiny.pth.tar",), "sha256:00"),
        also=("tiny.safetensors",),
        dataset="digits",
        model="mlp-300-150-10[widths=12]",
        digest="{digest}",
        mean=(0.25,),
        std=(0.5,),
        names=((r"^module\\\\.", ""),),
    )
"""


def tensors(seed: int = 0) -> dict[str, Tensor]:
    """Return the weights of the perceptron 64-12-10 under the model's names."""
    draws = torch.Generator().manual_seed(seed)
    shapes = {"fc1.weight": (WIDTH, 64), "fc1.bias": (WIDTH,), "fc2.weight": (10, WIDTH), "fc2.bias": (10,)}
    return {name: torch.randn(*shape, generator=draws) / 4 for name, shape in shapes.items()}


def write(folder: Path, name: str = "tiny.safetensors", held: dict[str, Tensor] | None = None, **beside: Any) -> Path:
    """Write the tensors as a file of safetensors, or pickled as training code does, every name behind ``module.``."""
    folder.mkdir(parents=True, exist_ok=True)
    path, held = folder / name, held or tensors()
    if path.suffix == ".safetensors":
        save_file(held, path)
    else:
        state = {f"module.{n}": v for n, v in held.items()}
        torch.save({"epoch": 3, "state_dict": state, **beside}, path)
    return path


def entry(**fields: Any) -> CheckpointEntry:
    """Return the checkpoint's entry; `fields` stand in the place of its own."""
    told: dict[str, Any] = {
        "summary": "a perceptron of the digits data",
        "file": RemoteFile("tiny.pth.tar", (ADDRESS,), "sha256:00", 10_000),
        "also": ("tiny.safetensors",),
        "dataset": "digits",
        "model": f"mlp-300-150-10[widths={WIDTH}]",
        "digest": digest(tensors()),
        "mean": (0.25,),
        "std": (0.5,),
        "names": ((r"^module\.", ""),),
    }
    return CheckpointEntry("tiny", **{**told, **fields})


def plugin(folder: Path) -> Path:
    """Write the plugin that registers the checkpoint and return its file."""
    path = folder / "released_tiny.py"
    path.write_text(PLUGIN.format(digest=digest(tensors())).replace("\\\\", "\\"))
    return path
