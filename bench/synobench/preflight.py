"""What would fail every run alike is found before the first worker starts: no folder, no device, no data."""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from synobench.checkpoints import bring
from synobench.errors import BenchError, nearest
from synobench.layouts import data_folder, find_layout, layouts_of
from synobench.registry import Registry
from synobench.runner import Plan, Settings, parent_path
from synobench.store import HALF, Store

CHECKPOINT = "SYNOBENCH_CHECKPOINT_SECONDS"
"""The environment variable that says how many seconds lie between two checkpoints at least."""


def check_run(todo: Plan, registry: Registry, settings: Settings, site: Path) -> None:
    """Make sure that what is pending can be run and shown: folders, records, device and data, downloaded if need be.

    Raises:
        BenchError: it cannot.
    """
    for _ in Store(settings.root).records(todo.suite.name):
        pass  # The board at the end reads them all: what it would refuse is refused before hours of work.
    check_device(settings.device)
    check_data(todo, registry, settings)
    check_checkpoints(todo, registry, settings)
    for option, folder in {"--leaderboards": settings.root, "--cache": settings.cache, "--site": site}.items():
        check_folder(option, folder)
    sweep(settings.root, settings.cache)


def check_folder(option: str, folder: Path) -> None:
    """Make sure that a folder is there and can be written to.

    Raises:
        BenchError: it is a file, or may not be written.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise BenchError(f"{option} {folder}: {there} is a file, not a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise BenchError(f"{option} {folder} cannot be written to: {error.strerror}; name another folder") from None


def check_device(device: str) -> None:
    """Make sure that torch can compute on a device; torch is imported for an accelerator only.

    Raises:
        BenchError: the device is unknown, or this machine has none of the kind or not as many.
    """
    if device == "cpu":
        return
    if not re.fullmatch(r"cuda(:\d+)?", device):
        raise BenchError(f"--device {device} is not cpu or cuda:N{nearest(device, ['cpu', 'cuda:0'])}")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(device.partition(":")[2] or 0) >= count:
        known = f"torch sees {count}, cuda:0 to cuda:{count - 1}" if count else "torch sees no CUDA device here"
        raise BenchError(f"--device {device}: {known}; --device cpu works everywhere")


def check_data(todo: Plan, registry: Registry, settings: Settings) -> None:
    """Make sure that the data of what is pending lies in the data folder, and download what does not.

    Raises:
        BenchError: it is absent and the run is offline, or it cannot be downloaded.
    """
    folder = data_folder(settings.data)
    for name in dict.fromkeys(str(cell.inputs["dataset"]["name"]) for cell in todo.pending):
        entry = registry.get("dataset", name)
        if layouts_of(entry) and find_layout(layouts_of(entry), folder) is None:
            from synobench.fetch import fetch

            fetch(entry, folder, settings.offline)


def check_checkpoints(todo: Plan, registry: Registry, settings: Settings) -> None:
    """Make sure that the checkpoints of what is pending are here, but for those whose parents are kept already.

    Raises:
        BenchError: one is absent and the run is offline, or it cannot be downloaded.
    """
    missing = {k: cells[0] for k, cells in todo.parents().items() if not parent_path(settings.cache, k).exists()}
    for name in dict.fromkeys(c.parent["checkpoint"]["name"] for c in missing.values() if "checkpoint" in c.parent):
        bring(registry.get("checkpoint", name), settings.offline)


def sweep(*folders: Path, age: float = 3600.0) -> None:
    """Remove what kills in the middle of a write left behind, so that nobody commits it.

    What is younger than `age` seconds may be a file that another run is writing now.
    """
    for path in (path for folder in folders for path in folder.rglob(".*")):
        with contextlib.suppress(OSError):
            if HALF.fullmatch(path.name) and time.time() - path.stat().st_mtime > age:
                path.unlink()


def checkpoint_seconds(environment: Mapping[str, str]) -> float:
    """Return how many seconds lie between two checkpoints at least: ``SYNOBENCH_CHECKPOINT_SECONDS``, or 10.

    Raises:
        BenchError: it is no number of seconds.
    """
    told = environment.get(CHECKPOINT, "10")
    try:
        seconds = float(told)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise BenchError(f"{CHECKPOINT}={told} is not a number of seconds")
    return seconds
