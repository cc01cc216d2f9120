"""Where a record came from: code, plugins, libraries, machine and its yardstick; never a host, a user or a path."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from synobench.errors import BenchError
from synobench.machine import cores, describe, yardstick

__all__ = ["cores", "gather", "source_digest", "yardstick"]

LIBRARIES = (
    "numpy",
    "scipy",
    "pandas",
    "torch",
    "scikit-learn",
    "snntorch",
    "spikingjelly",
    "safetensors",
    "torch-pruning",
    "nir",
    "onnx",
    "onnxruntime",
    "pluggy",
    "pillow",
)
"""The distributions whose versions can move a figure."""

ALLOCATOR = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX", "PYTORCH_CUDA_ALLOC_CONF")
SOURCES = (".py", ".toml")


def gather(
    plugins: Mapping[str, tuple[str, str, str]], device: str = "cpu", threads: int | None = None
) -> dict[str, Any]:
    """Return the part of a record's provenance that stands as a run starts, as plain data.

    Args:
        plugins: by name, each one's distribution, version and source digest.
        device: where the run computes, ``cpu`` or ``cuda:0``.
        threads: what the run may use; None: what torch would.
    """
    used = {
        name: {"distribution": _nameless(distribution), "version": version, "digest": digest}
        for name, (distribution, version, digest) in plugins.items()
    }
    return {
        "code": dict(_code()),
        "plugins": used,
        "python": platform.python_version(),
        "libraries": dict(_libraries()),
        "device": describe(device),
        "threads": threads if threads is not None else _torch_threads(),
        "allocator": {name: os.environ[name] for name in ALLOCATOR if name in os.environ},
    }


def source_digest(source: ModuleType | Path | str) -> str:
    """Return ``sha256:hex`` over the source files of a plugin: every .py and .toml of its package, in order of path.

    Args:
        source: a module or the name of one (its outermost package counts), or the path of a file or folder.

    Raises:
        BenchError: there is no such module or path.
    """
    root = _located(source)
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.suffix in SOURCES and p.is_file())
    names = [p.name if root.is_file() else p.relative_to(root).as_posix() for p in files]
    digest = hashlib.sha256()
    for name, path in sorted(zip(names, files, strict=True)):
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return f"sha256:{digest.hexdigest()}"


@functools.cache
def _code() -> dict[str, Any]:
    from synobench.registry import HOME

    try:
        version: str | None = importlib.metadata.version(HOME)
    except importlib.metadata.PackageNotFoundError:
        version = None
    return {"version": version, **_checkout(Path(__file__).resolve())}


def _checkout(path: Path) -> dict[str, Any]:
    """Return commit and dirty flag of the checkout that tracks `path`; null where none does."""
    unknown: dict[str, Any] = {"commit": None, "dirty": None}
    # An environment inside somebody's repository is no checkout of the bench: git must know this very file.
    if _git(path.parent, "ls-files", "--error-unmatch", path.name) is None:
        return unknown
    commit = _git(path.parent, "rev-parse", "HEAD")
    changed = _git(path.parent, "status", "--porcelain", "--", ":(top)bench", ":(top)plugins")
    return {"commit": commit, "dirty": bool(changed)} if commit and changed is not None else unknown


def _git(folder: Path, *arguments: str) -> str | None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@functools.cache
def _libraries() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _torch_threads() -> int | None:
    torch = sys.modules.get("torch")
    threads: int | None = torch.get_num_threads() if torch is not None else None
    return threads


def _nameless(distribution: str) -> str:
    """Keep the last part of what looks like a path."""
    return re.split(r"[/\\]", distribution)[-1]


def _located(source: ModuleType | Path | str) -> Path:
    if isinstance(source, ModuleType):
        package = sys.modules.get(source.__name__.partition(".")[0], source)
        roots = list(getattr(package, "__path__", ())) or [str(package.__file__)]
    elif isinstance(source, Path) or "/" in source or source.endswith(".py"):
        roots = [str(source)]
    else:
        spec = importlib.util.find_spec(source.partition(".")[0])
        roots = list((spec and spec.submodule_search_locations) or [spec.origin or "" if spec else ""])
    root = Path(roots[0])
    if not roots[0] or not root.exists():
        raise BenchError(f"there is no source of {source!r} to take the digest of")
    return root
