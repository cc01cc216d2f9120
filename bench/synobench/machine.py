"""The machine under a run: what it is, and what it gives at this moment."""

from __future__ import annotations

import mmap
import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

YARDSTICK_AGE = 120.0
"""Seconds for which a measured yardstick stands."""

_measured: dict[tuple[str, int], tuple[float, dict[str, float]]] = {}


def describe(device: str = "cpu") -> dict[str, Any]:
    """Return what the machine is: processor, cores, memory (GiB), kernel, and the GPU where `device` is one."""
    return {**_machine(), **_accelerator(device)}


def yardstick(device: str = "cpu", threads: int = 1) -> dict[str, float]:
    """Measure what the machine gives at this moment, in about 0.3 s; what is younger than two minutes is told again.

    Returns:
        ``gflops``: float32 matrix product of 1024 or 2048 rows; ``gbps``: a memory copy, read and written bytes
        (1e9); ``threads``.
    """
    key = (device, threads)
    known = _measured.get(key)
    if known is None or time.monotonic() - known[0] > YARDSTICK_AGE:
        known = _measured[key] = (time.monotonic(), _measure(device, threads))
    return dict(known[1])


def cores() -> int:
    """Return how many cores this process may use: its affinity, bounded by the control group's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = (_first_line("/sys/fs/cgroup/cpu.max") or "max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        count = min(count, max(1, int(quota) // int(period)))
    return count


def memory(device: str = "cpu") -> int:
    """Return the bytes of memory that this process may use: the machine's or its control group's, or a GPU's."""
    if str(device).startswith("cuda"):
        import torch

        return int(torch.cuda.get_device_properties(torch.device(device)).total_memory)
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    allowed = _first_line("/sys/fs/cgroup/memory.max") or ""
    return min(whole, int(allowed)) if allowed.isdigit() else whole


def _machine() -> dict[str, Any]:
    info = _text("/proc/cpuinfo") or ""
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB", _text("/proc/meminfo") or "", re.MULTILINE)
    return {
        "cpu": model[1].strip() if model else platform.machine(),
        "cores": cores(),
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "kernel": f"{platform.system()} {platform.release()}",
    }


def _accelerator(device: str) -> dict[str, Any]:
    if not device.startswith("cuda"):
        return {}
    import torch

    driver = re.search(r"Module\s+(?:for \S+\s+)?([\d.]+)", _first_line("/proc/driver/nvidia/version") or "")
    name = torch.cuda.get_device_name(torch.device(device))
    return {"gpu": name, "driver": driver[1] if driver else None, "cuda": torch.version.cuda}


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _first_line(path: str) -> str | None:
    lines = (_text(path) or "").splitlines()
    return lines[0] if lines else None


def _measure(device: str, threads: int) -> dict[str, float]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            return {"gflops": _gflops(device), "gbps": _gbps(device), "threads": threads}
    finally:
        torch.set_num_threads(before)


def _gflops(device: str) -> float:
    import torch

    def rate(size: int, seconds: float) -> float:
        with _arena(device, 3 * size * size) as pool:
            left, right, out = (part.view(size, size) for part in pool.fill_(0.5).chunk(3))
            return 2e-9 * size**3 / _fastest(lambda: torch.mm(left, right, out=out), device, seconds)

    size = 2048 if rate(512, 0.01) > 250 else 1024
    return round(rate(size, 0.1), 2)


def _gbps(device: str) -> float:
    count = 2**26 if device.startswith("cuda") else 2**23
    with _arena(device, 2 * count) as pool:
        source, target = pool.fill_(0.5).chunk(2)
        return round(8e-9 * count / _fastest(lambda: target.copy_(source), device, 0.05), 2)


@contextmanager
def _arena(device: str, count: int) -> Iterator[Any]:
    """Lend `count` float32 that go back to the system afterwards, so that no run's peak memory shows them."""
    import torch

    if device.startswith("cuda"):
        yield torch.empty(count, device=device)
        torch.cuda.empty_cache()
        return
    block = mmap.mmap(-1, 4 * count)
    yield torch.frombuffer(block, dtype=torch.float32)


def _fastest(work: Callable[[], Any], device: str, seconds: float) -> float:
    """Return the least time of one call, over as many as fit in `seconds`, one at least."""
    import torch

    def wait() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        wait()
        start = time.perf_counter()
        work()
        wait()
        best = min(best, time.perf_counter() - start)
    return best
