"""Checkpoints: written now and then, trusted only where they are whole and the same plugins made them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from synobench.parents import Checkpoint

MADE = {"backprop": ("synobench", "1.0", "sha256:aa"), "mine": ("local file", "", "sha256:bb")}


def checkpoint(path: Path, plugins: dict[str, tuple[str, str, str]] = MADE, **facts: Any) -> Checkpoint:
    job: Any = SimpleNamespace(facts=facts, plugins=plugins, device="cpu")
    return Checkpoint(path, job)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cells" / "ab" / "resume.safetensors"


def test_what_was_saved_comes_back(path: Path) -> None:
    assert checkpoint(path).load() is None
    checkpoint(path, checkpoint_seconds=0).save({"epoch": 3, "model": {"w": torch.arange(3.0)}})
    tree = checkpoint(path).load()
    assert tree["epoch"] == 3
    assert torch.equal(tree["model"]["w"], torch.arange(3.0))


def test_what_other_code_began_is_not_gone_on_with(path: Path) -> None:
    checkpoint(path, checkpoint_seconds=0).save({"epoch": 3})
    mended = {**MADE, "mine": ("local file", "", "sha256:cc")}
    assert checkpoint(path, mended).load() is None
    assert not path.exists()


def test_another_version_with_the_same_source_goes_on(path: Path) -> None:
    checkpoint(path, checkpoint_seconds=0).save({"epoch": 3})
    renamed = {**MADE, "mine": ("my-plugin", "2.0", "sha256:bb")}
    assert checkpoint(path, renamed).load()["epoch"] == 3


@pytest.mark.parametrize("spoil", [lambda data: data[:40], lambda data: data[:0], lambda data: data[:-4]])
def test_a_damaged_file_counts_as_none(path: Path, spoil: Any) -> None:
    checkpoint(path, checkpoint_seconds=0).save({"epoch": 3, "w": torch.ones(3)})
    path.write_bytes(spoil(path.read_bytes()))
    assert checkpoint(path).load() is None
    assert not path.exists()


def test_nothing_is_saved_before_its_time(path: Path) -> None:
    checkpoint(path, checkpoint_seconds=3600).save({"epoch": 3})
    assert not path.exists()
    checkpoint(path).save({"epoch": 3})  # 10 seconds, where the job names none
    assert not path.exists()


def test_a_cell_leaves_no_folder_and_a_parent_keeps_its_own(path: Path) -> None:
    kept = checkpoint(path, checkpoint_seconds=0)
    kept.save({"epoch": 3})
    (path.parent / ".resume.safetensors.abcdefgh").touch()  # a write that a kill cut short
    kept.clear()
    assert not path.parent.exists()
    kept.save({"epoch": 3})
    (path.parent / "parent.json").touch()
    kept.clear()
    kept.clear()
    assert [p.name for p in path.parent.iterdir()] == ["parent.json"]
