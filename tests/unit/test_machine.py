"""What the machine is, and what it gives."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from synobench import machine


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_measured", {})


def files(monkeypatch: pytest.MonkeyPatch, **texts: str) -> None:
    """Let the kernel's files say this, by the last part of their path with dots for underscores."""
    monkeypatch.setattr(machine, "_text", lambda path: texts.get(Path(path).name.replace(".", "_")))


def test_a_machine_is_told_by_its_processor_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    info = "processor: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: Other\n"
    files(monkeypatch, cpuinfo=info, meminfo="MemTotal:       16777216 kB\nMemFree: 1 kB\n")
    found = machine.describe()
    assert found["cpu"] == "Some CPU @ 2 GHz"
    assert found["memory_gib"] == 16.0


def test_where_the_kernel_tells_nothing_there_are_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    files(monkeypatch)
    found = machine.describe()
    assert found["memory_gib"] is None
    assert found["cpu"]
    assert found["cores"] >= 1


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 8), ("300000 100000", 3), ("50000 100000", 1), ("9900000 100000", 8), ("", 8), ("5 0", 8)],
)
def test_cores_are_bounded_by_affinity_and_quota(monkeypatch: pytest.MonkeyPatch, quota: str, expected: int) -> None:
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)))
    files(monkeypatch, cpu_max=quota)
    assert machine.cores() == expected


def test_a_gpu_is_told_by_name_and_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    version = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\nGCC version: 12\n"
    files(monkeypatch, version=version)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device}")
    found = machine.describe("cuda:1")
    assert (found["gpu"], found["driver"]) == ("GPU cuda:1", "580.65.06")
    files(monkeypatch, version="NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.1.2  Fri\n")
    assert machine.describe("cuda:0")["driver"] == "535.1.2"
    files(monkeypatch)
    assert machine.describe("cuda:0")["driver"] is None


def test_the_yardstick_measures_and_leaves_torch_as_it_was() -> None:
    before = torch.get_num_threads()
    found = machine.yardstick("cpu", 1)
    assert set(found) == {"gflops", "gbps", "threads"}
    assert 0.1 < found["gflops"] < 1e5
    assert 0.01 < found["gbps"] < 1e4
    assert found["threads"] == 1
    assert torch.get_num_threads() == before


def test_a_yardstick_takes_little_time() -> None:
    machine.yardstick("cpu", 1)
    machine._measured.clear()
    start = time.process_time()
    machine.yardstick("cpu", 1)
    assert time.process_time() - start < 1.0


def test_the_arithmetic_of_the_yardstick(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []

    def fastest(work: Any, device: str, seconds: float) -> float:
        work()
        calls.append(seconds)
        return 0.5

    monkeypatch.setattr(machine, "_fastest", fastest)
    assert machine._gflops("cpu") == round(2 * 1024**3 / 0.5 / 1e9, 2)
    assert machine._gbps("cpu") == round(2 * 4 * 2**23 / 0.5 / 1e9, 2)
    monkeypatch.setattr(machine, "_fastest", lambda *_: 1e-4)
    assert machine._gflops("cpu") == round(2 * 2048**3 / 1e-4 / 1e9, 2)


def test_the_least_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now, takes = 0.0, iter([3.0, 0.5, 2.0, 9.0])

    def work() -> None:
        nonlocal now
        now += next(takes)

    monkeypatch.setattr(machine.time, "perf_counter", lambda: now)
    assert machine._fastest(work, "cpu", 5.0) == 0.5
    assert machine._fastest(work, "cpu", 0.0) == 9.0


def test_a_yardstick_stands_for_two_minutes_by_device_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[tuple[str, int]] = []

    def measure(device: str, threads: int) -> dict[str, float]:
        measured.append((device, threads))
        return {"gflops": float(len(measured))}

    now = 1000.0
    monkeypatch.setattr(machine, "_measure", measure)
    monkeypatch.setattr(machine.time, "monotonic", lambda: now)
    machine.yardstick()["gflops"] = 9.0
    now += 119
    assert machine.yardstick()["gflops"] == 1.0
    machine.yardstick("cpu", 2)
    now += 2
    assert machine.yardstick()["gflops"] == 3.0
    assert measured == [("cpu", 1), ("cpu", 2), ("cpu", 1)]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the resident set from the Linux kernel")
def test_the_yardstick_keeps_no_memory() -> None:
    def resident() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) * 1024

    machine.yardstick("cpu", 1)
    before = resident()
    machine._measured.clear()
    machine.yardstick("cpu", 1)
    assert resident() - before < 20 * 2**20
