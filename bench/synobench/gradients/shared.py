"""Gradients on disk: written as they lie in memory, and mapped, not read, by whoever stands on them."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from synobench.errors import BenchError
from synobench.gradients.matrix import SampleGradients, Span

REVISION = 1
"""Raised whenever the same question gets other gradients: part of the name under which they are kept."""

_TENSORS = ("matrix", "total", "weights", "squares", "index")


def save(path: Path, gradients: SampleGradients, cost: Mapping[str, Any]) -> None:
    """Write gradients and what they cost to one safetensors file, whole or not at all, without a copy in memory."""
    plain = {f.name: getattr(gradients, f.name) for f in dataclasses.fields(gradients) if f.name not in _TENSORS}
    facts = {**plain, "spans": [dataclasses.astuple(span) for span in gradients.spans], "cost": dict(cost)}
    tensors = {name: getattr(gradients, name).cpu().contiguous() for name in _TENSORS}
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        save_file(tensors, temporary, {"facts": json.dumps(facts)})
        os.fsync(handle)
        os.replace(temporary, path)  # noqa: PTH105
    finally:
        os.close(handle)
        Path(temporary).unlink(missing_ok=True)


def load(path: Path, device: str = "cpu") -> tuple[SampleGradients, dict[str, Any]]:
    """Return gradients and what they cost. On the CPU the file is mapped: nothing is read before it is looked at.

    Raises:
        BenchError: the file is damaged or was not written by `save`.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            facts = json.loads(file.metadata()["facts"])
            tensors = {name: file.get_tensor(name).to(torch.device(device)) for name in _TENSORS}
        cost = facts.pop("cost")
        facts["spans"] = tuple(Span(n, start, stop, tuple(shape)) for n, start, stop, shape in facts["spans"])
        return SampleGradients(**tensors, **facts), cost
    except Exception as error:
        raise BenchError(f"{path} cannot be read: {' '.join(str(error).split())}; delete it and run again") from error
