"""Trees of tensors and plain data on disk: safetensors, never pickle; written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from synobench.errors import BenchError
from synobench.store import write_atomically

Tree = Any
"""Nested dicts, lists and tuples of tensors and plain data."""


def save_tree(path: Path, tree: Tree) -> None:
    """Write a tree to one safetensors file, its structure in the file's metadata."""
    tensors: dict[str, Tensor] = {}
    structure = _encode(tree, tensors)
    # An empty file of tensors is not valid safetensors for every reader, so one placeholder always goes in.
    tensors = {k: v.detach().to("cpu").contiguous().clone() for k, v in tensors.items()} or {"empty": torch.zeros(0)}
    write_atomically(path, save_tensors(tensors, metadata={"tree": json.dumps(structure)}))


def load_tree(path: Path, device: str = "cpu") -> Tree:
    """Read a tree back, its tensors on `device`.

    Raises:
        BenchError: the file is damaged or was not written by `save_tree`.
    """
    try:
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        structure = json.loads(header["__metadata__"]["tree"])
        tensors = load_tensors(data)
        return _decode(structure, {k: v.to(device) for k, v in tensors.items()})
    except Exception as error:
        raise BenchError(f"{path} cannot be read: {' '.join(str(error).split())}; delete it and run again") from error


def _encode(node: Tree, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, Tensor):
        name = f"t{len(tensors)}"
        tensors[name] = node
        return {"t": name}
    if isinstance(node, Mapping):
        return {"m": [[_encode(k, tensors), _encode(v, tensors)] for k, v in node.items()]}
    if isinstance(node, (list, tuple)):
        return {"l" if isinstance(node, list) else "u": [_encode(v, tensors) for v in node]}
    if node is None or isinstance(node, (bool, int, float, str)):
        return {"p": node}
    raise BenchError(f"{type(node).__name__} cannot be stored: use tensors, numbers, text, lists and mappings")


def _decode(node: Any, tensors: Mapping[str, Tensor]) -> Tree:
    ((kind, value),) = node.items()
    if kind == "t":
        return tensors[value]
    if kind == "m":
        return {_decode(k, tensors): _decode(v, tensors) for k, v in value}
    if kind in "lu":
        items = [_decode(v, tensors) for v in value]
        return items if kind == "l" else tuple(items)
    return value


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return ``sha256:hex`` over named tensors: names, shapes, dtypes and little-endian bytes, sorted by name.

    `num_batches_tracked` is left out: it counts training steps and changes nothing that a network computes.
    """
    told = hashlib.sha256()
    for name in sorted(tensors):
        if name.endswith("num_batches_tracked"):
            continue
        value = tensors[name].detach().to("cpu").contiguous()
        told.update(f"{name}\0{list(value.shape)}\0{value.dtype}\0".encode())
        told.update(value.view(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return f"sha256:{told.hexdigest()}"
