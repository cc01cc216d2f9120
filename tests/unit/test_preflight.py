"""What would fail every run alike is told before the first one starts."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from synobench import preflight
from synobench.errors import BenchError
from synobench.registry import Registry
from synobench.runner import Plan, Settings, parent_path, plan
from synobench.store import Store, write_atomically
from synobench.suite import parse


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "leaderboards", tmp_path / "cache", data=str(tmp_path / "data"), offline=True)


@pytest.fixture
def todo(tiny_registry: Registry, suite_text: Any, settings: Settings) -> Plan:
    return plan(parse(suite_text()), tiny_registry, Store(settings.root))


@pytest.mark.parametrize("device", ["tpu", "cuda:", "cuda:one", "cuda:-1", "CUDA", "cpu:0", ""])
def test_a_device_of_no_known_kind_is_refused_without_torch(device: str) -> None:
    with pytest.raises(BenchError, match=r"is not cpu or cuda:N"):
        preflight.check_device(device)


@pytest.mark.parametrize(
    ("device", "count", "told"),
    [
        ("cuda", 0, "torch sees no CUDA device here"),
        ("cuda:0", 0, "torch sees no CUDA device here"),
        ("cuda:2", 2, "torch sees 2, cuda:0 to cuda:1"),
    ],
)
def test_a_device_that_is_not_there_is_refused(
    device: str, count: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda(monkeypatch, count)
    with pytest.raises(BenchError, match=f"^--device {device}: {told}; --device cpu works everywhere$"):
        preflight.check_device(device)


def test_a_device_that_is_there_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda(monkeypatch, 2)
    for device in ("cpu", "cuda", "cuda:0", "cuda:1"):
        preflight.check_device(device)


def cuda(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_what_ships_with_the_install_needs_no_folder(todo: Plan, tiny_registry: Registry, settings: Settings) -> None:
    preflight.check_data(todo, tiny_registry, settings)
    assert not (settings.cache.parent / "data").exists()


def test_absent_data_are_told_once_and_only_where_something_is_pending(
    tiny_registry: Registry, suite_text: Any, settings: Settings
) -> None:
    absent = parse(suite_text().replace('"digits"', '"mnist"'))
    todo = plan(absent, tiny_registry, Store(settings.root))
    with pytest.raises(BenchError, match=r"^offline, and mnist is missing from "):
        preflight.check_data(todo, tiny_registry, settings)
    todo.pending.clear()
    preflight.check_data(todo, tiny_registry, settings)


def test_absent_checkpoints_are_told_but_where_their_parent_is_kept(
    tiny_registry: Registry, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SYNOBENCH_CHECKPOINTS", str(tmp_path / "released"))
    text = """
        name = "demo"
        version = "1.0"
        question = "?"
        counter = "effective"
        seeds = [0, 1]
        pruners = ["none"]
        networks = [{ checkpoint = "mlpnet-mnist", tune_epochs = 0, batch = 8 }]
    """
    todo = plan(parse(text), tiny_registry, Store(settings.root))
    with pytest.raises(
        BenchError, match=r"^offline, and checkpoint mlpnet-mnist is not in .*released: it lacks mnist_"
    ):
        preflight.check_checkpoints(todo, tiny_registry, settings)
    (key,) = todo.parents()
    write_atomically(parent_path(settings.cache, key), b"{}")
    preflight.check_checkpoints(todo, tiny_registry, settings)


def test_folders_are_made_and_tried(tmp_path: Path) -> None:
    preflight.check_folder("--cache", tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    preflight.check_folder("--cache", tmp_path / "a" / "b")


@pytest.mark.parametrize("below", ["file", "file/below", "file/far/below"])
def test_a_folder_that_is_a_file_is_refused(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match=r"^--site .*: .*/file is a file, not a folder$"):
        preflight.check_folder("--site", tmp_path / below)


def test_a_folder_that_takes_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(preflight.tempfile, "TemporaryFile", full)
    with pytest.raises(BenchError, match=r"cannot be written to: No space left on device; name another folder$"):
        preflight.check_folder("--cache", tmp_path)


def test_nothing_is_made_where_something_is_missing(todo: Plan, tiny_registry: Registry, tmp_path: Path) -> None:
    settings = Settings(tmp_path / "leaderboards", tmp_path / "cache", device="tpu")
    with pytest.raises(BenchError, match="tpu"):
        preflight.check_run(todo, tiny_registry, settings, tmp_path / "site")
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_record_of_the_suite_stops_the_run(
    todo: Plan, tiny_registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    preflight.check_run(todo, tiny_registry, settings, tmp_path / "site")
    write_atomically(Store(settings.root).record_path("other", "0" * 64), b"{")
    preflight.check_run(todo, tiny_registry, settings, tmp_path / "site")
    write_atomically(Store(settings.root).record_path("tiny", "0" * 64), b"{")
    with pytest.raises(BenchError, match=f"{'0' * 64}.json cannot be read as a record"):
        preflight.check_run(todo, tiny_registry, settings, tmp_path / "site")


def test_halves_of_files_are_swept_once_nobody_can_be_writing_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names are those of the real writer, so that they cannot drift apart."""
    whole = tmp_path / "records" / "tiny" / "ab" / "abcd.json"
    monkeypatch.setattr("os.replace", lambda *_: None)
    for name in ("abcd.json", "abcd.ledger", "resume.safetensors", "README.md"):
        write_atomically(whole.with_name(name), b"half")
    halves = list(whole.parent.iterdir())
    assert len(halves) == 4
    keep = [tmp_path / ".gitignore", tmp_path / ".mine.json.longerthaneight", whole]
    for path in keep:
        path.touch()
    preflight.sweep(tmp_path)
    assert all(path.exists() for path in halves)
    for path in (*halves, *keep):
        os.utime(path, (time.time() - 3700, time.time() - 3700))
    preflight.sweep(tmp_path, tmp_path / "nowhere")
    assert not any(path.exists() for path in halves)
    assert all(path.exists() for path in keep)


@pytest.mark.parametrize(("told", "seconds"), [(None, 10.0), ("0", 0.0), ("2.5", 2.5)])
def test_seconds_between_checkpoints(told: str | None, seconds: float) -> None:
    environment = {} if told is None else {preflight.CHECKPOINT: told}
    assert preflight.checkpoint_seconds(environment) == seconds


@pytest.mark.parametrize("told", ["", "soon", "-1", "nan", "inf"])
def test_seconds_that_are_no_number_are_refused(told: str) -> None:
    with pytest.raises(BenchError, match=f"^SYNOBENCH_CHECKPOINT_SECONDS={told} is not a number of seconds$"):
        preflight.checkpoint_seconds({preflight.CHECKPOINT: told})
