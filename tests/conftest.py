"""What tests of the bench share: the registry, small suites, jobs on the digits data, pruners of a few lines."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from synobench import registry as registries
from synobench.registry import Registry
from synobench.suite import Cell, cells, parse

# Before torch is imported: tests share their machine, and one thread gives the same sums everywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts its background jobs deaf to Ctrl-C, and they hand that on to what the tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# On a machine that many share, no time of a single example says anything. Examples are the same in every run, so that
# nobody's change is stopped by what another one did; SYNOBENCH_SEARCH=1 looks for new ones.
settings.register_profile(
    "shared",
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=not os.environ.get("SYNOBENCH_SEARCH"),
)
settings.load_profile("shared")

TINY = Path(__file__).parent / "support" / "tiny_pruners.py"

SUITE = """
name = "tiny"
version = "1.0"
question = "Does it run?"
counter = "effective"
seeds = {seeds}
pruners = {pruners}
[[targets]]
name = "{target}"
values = {values}
{counter}
[[networks]]
dataset = "digits"
model = "{model}"
rule = "{rule}"
train_epochs = {train}
tune_epochs = {tune}
batch = {batch}
{more}
"""

USUAL = {
    "seeds": [0],
    "pruners": ["magnitude"],
    "target": "sparsity",
    "values": [0.5],
    "counter": "",
    "model": "mlp-300-150-10[widths=12]",
    "rule": "backprop[rate=0.1]",
    "train": 2,
    "tune": 1,
    "batch": 128,
    "more": "",
}


@pytest.fixture(scope="session")
def registry() -> Registry:
    """Return the registry of the built-in plugins."""
    return registries.load(strict=True, strangers=False)


@pytest.fixture(scope="session")
def tiny_registry() -> Registry:
    """Return the built-in plugins and the tiny pruners."""
    return registries.load([TINY], strict=True, strangers=False)


@pytest.fixture(scope="session")
def suite_text() -> Callable[..., str]:
    """Return what writes the TOML of a suite of one network on the digits data."""

    def write(**fields: Any) -> str:
        told = {k: str(v).replace("'", '"') if isinstance(v, list) else v for k, v in {**USUAL, **fields}.items()}
        return SUITE.format(**told)

    return write


@pytest.fixture(scope="session")
def suite_cells(tiny_registry: Registry, suite_text: Callable[..., str]) -> Callable[..., list[Cell]]:
    """Return what resolves such a suite into its cells."""

    def resolve(**fields: Any) -> list[Cell]:
        return cells(parse(suite_text(**fields)), tiny_registry)[0]

    return resolve


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the third of a second that measuring the machine takes, and keep torch at one thread."""
    from synobench import provenance

    told = {"gflops": 1.0, "gbps": 1.0, "threads": 1}
    monkeypatch.setattr(provenance, "yardstick", lambda *_: dict(told))


@pytest.fixture(scope="session")
def job_in() -> Callable[..., dict[str, Any]]:
    """Return what writes the job of a cell below a folder, as the runner does."""

    def write(cell: Cell, folder: Path, kind: str = "cell", **more: Any) -> dict[str, Any]:
        return {
            "job": kind,
            "key": cell.key if kind == "cell" else cell.parent_key,
            "label": cell.label,
            "suite": "tiny",
            "inputs": dict(cell.inputs),
            "parent": dict(cell.parent),
            "parent_key": cell.parent_key,
            "root": str(folder / "leaderboards"),
            "cache": str(folder / "cache"),
            "plugins": [str(TINY)],
            "strict": True,
            "offline": True,
            "checkpoint_seconds": 0,
            **more,
        }

    return write


@pytest.fixture
def job_of(job_in: Callable[..., dict[str, Any]], tmp_path: Path, quiet: None) -> Callable[..., dict[str, Any]]:
    """Return what writes the job of a cell below the test's own folder."""
    return lambda cell, *more, **fields: job_in(cell, tmp_path, *more, **fields)
